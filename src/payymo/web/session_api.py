"""`/api/admin/sessions`: everybody's sessions in one's own tenant. Each is ended among those of its user."""

from payymo.sessions.model import Listed
from payymo.sessions.service import Sessions
from payymo.web.caller import Caller
from payymo.web.models import PageQuery, SessionOut
from payymo.web.routing import Output, route


class UserSessionOut(SessionOut):
    """A session, and the user name of whose it is."""

    username: str

    @classmethod
    def by(cls, listed: Listed, caller: Caller) -> "UserSessionOut":
        """As the caller sees it."""
        out = SessionOut.of(listed.session, current=caller.principal.session_id)
        return cls(**out.model_dump(), username=listed.username)


class UserSessionsOut(Output):
    """A page of sessions, the newest first. `next`: give it as `after` to go on; null on the last page."""

    sessions: list[UserSessionOut]
    next: str | None


class SessionsApi:
    """The sessions of one's own tenant."""

    def __init__(self, *, sessions: Sessions) -> None:
        self._sessions = sessions

    @route("GET", "/api/admin/sessions", limit="default", authentication="bearer", permission="sessions:read")
    def list_sessions(self, caller: Caller, query: PageQuery) -> UserSessionsOut:
        """List the living sessions of everybody, the newest first."""
        found = self._sessions.page(caller.principal.tenant_id, after=query.after, count=query.limit)
        return UserSessionsOut(
            sessions=[UserSessionOut.by(listed, caller) for listed in found.sessions], next=found.next
        )
