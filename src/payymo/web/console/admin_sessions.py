"""`/admin/sessions`: who is signed in to one's tenant, and from where."""

import uuid
from typing import Annotated, Final

from pydantic import Field

from payymo.sessions.administration import Administration
from payymo.sessions.impersonation import Impersonation
from payymo.sessions.service import Sessions
from payymo.web.console.pages import Answer, Onward, Sheet, page
from payymo.web.console.visit import Visit
from payymo.web.routing import Input

SESSIONS: Final = "/admin/sessions"
SESSIONS_A_PAGE: Final = 50


class SessionsQuery(Input):
    """`after`: where the page before has ended."""

    after: Annotated[str, Field(max_length=64, pattern=r"^[0-9a-f-]*$")] = ""


class AdminSessionsDesk:
    """Everybody's sessions in one's own tenant."""

    def __init__(self, *, sessions: Sessions, impersonation: Impersonation, administration: Administration) -> None:
        self._sessions = sessions
        self._impersonation = impersonation
        self._administration = administration

    @page("GET", SESSIONS, permission="sessions:read", refused="list_sessions")
    def list_sessions(self, visit: Visit, query: SessionsQuery) -> Answer:
        """List living sessions, the newest first."""
        found = self._sessions.page(visit.tenant_id, after=query.after, count=SESSIONS_A_PAGE)
        facts = {
            "found": found.sessions,
            "actors": self._impersonation.names_of_actors(visit.tenant_id, [one.session for one in found.sessions]),
            "may_end": visit.may("sessions:write"),
            "may_see_users": visit.may("users:read"),
            "first": SESSIONS if query.after else None,
            "next": None if found.next is None else f"{SESSIONS}?after={found.next}",
        }
        return Sheet("admin_sessions.html", facts)

    @page(
        "POST",
        f"{SESSIONS}/<uuid:user_id>/<uuid:session_id>/end",
        permission="sessions:write",
        refused="list_sessions",
    )
    def end_session(self, visit: Visit, user_id: uuid.UUID, session_id: uuid.UUID) -> Answer:
        """End one of them."""
        who = visit.caller
        self._administration.end_session(visit.tenant_id, user_id, session_id, by=who.actor, trace=who.trace)
        return Onward(SESSIONS, "session-ended")
