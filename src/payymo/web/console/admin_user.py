"""`/admin/users/…`: one user of one's tenant: what they are, where they are signed in, and what is done to them."""

import uuid
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from payymo.audit.entries import Filters
from payymo.audit.reader import AuditReader
from payymo.errors import FieldError, InsufficientScope, InvalidInput
from payymo.roles.model import covers
from payymo.roles.service import Roles
from payymo.sessions.administration import Administration
from payymo.sessions.impersonation import PERMISSION, Impersonation
from payymo.sessions.personal import PersonalData
from payymo.sessions.service import Sessions
from payymo.users.service import Users
from payymo.web.console.admin_users import USERS, RoleNames, offered_roles
from payymo.web.console.pages import Answer, Onward, Sheet, page
from payymo.web.console.visit import Visit
from payymo.web.models import Password
from payymo.web.personal_api import ERASED_AT_ONCE
from payymo.web.routing import Input

USER: Final = f"{USERS}/<uuid:user_id>"
EVENTS_SHOWN: Final = 10


class StatusForm(Input):
    """Whether the user may sign in."""

    status: Literal["active", "disabled"]


class RolesForm(Input):
    """All roles that the user is to have."""

    roles: RoleNames


class PasswordForm(Input):
    """A password that an administrator has chosen."""

    password: Password


class EraseForm(Input):
    """The user's name, typed by whoever erases them."""

    username: Annotated[str, Field(min_length=1, max_length=64)]


class AdminUserDesk:
    """One user of one's own tenant."""

    def __init__(
        self,
        *,
        users: Users,
        roles: Roles,
        sessions: Sessions,
        impersonation: Impersonation,
        administration: Administration,
        personal: PersonalData,
        reader: AuditReader,
    ) -> None:
        self._users = users
        self._roles = roles
        self._sessions = sessions
        self._impersonation = impersonation
        self._administration = administration
        self._personal = personal
        self._reader = reader

    @page("GET", USER, permission="users:read")
    def show(self, visit: Visit, user_id: uuid.UUID) -> Answer:
        """Show a user, with as much as one may see and do."""
        user, grants = self._users.get(visit.tenant_id, user_id)
        is_self = user_id == visit.user.id
        is_stronger = not covers(visit.who.grants.permissions, grants.permissions)
        may_write = visit.may("users:write") and not is_stronger
        facts = {
            "user": user,
            "grants": grants,
            "is_self": is_self,
            "is_stronger": is_stronger,
            "may_write": may_write,
            "may_end": visit.may("sessions:write") and not is_stronger,
            "offered": sorted({*offered_roles(self._roles, visit), *grants.roles}) if may_write else [],
            "may_act": visit.may(PERMISSION) and not (is_stronger or is_self) and user.status == "active",
            **self._list_sessions(visit, user_id),
            "events": self._list_events(visit, user_id),
        }
        return Sheet("admin_user.html", facts)

    def _list_sessions(self, visit: Visit, user_id: uuid.UUID) -> dict[str, Any]:
        """The sessions, and who acts in which of them."""
        if not visit.may("sessions:read"):
            return {"sessions": None, "actors": {}}
        found = self._sessions.list_sessions(visit.tenant_id, user_id)
        return {"sessions": found, "actors": self._impersonation.names_of_actors(visit.tenant_id, found)}

    def _list_events(self, visit: Visit, user_id: uuid.UUID) -> Any:
        if not visit.may("audit:read"):
            return None
        filters = Filters(user_id=user_id, without_quiet=True)
        return self._reader.page(visit.tenant_id, filters, cursor=None, count=EVENTS_SHOWN, newest_first=True).entries

    @page("POST", f"{USER}/status", permission="users:write", is_dangerous=True, refused="show")
    def change_status(self, visit: Visit, user_id: uuid.UUID, form: StatusForm) -> Answer:
        """Disable or enable. Whoever is disabled is signed out everywhere."""
        who = visit.caller
        self._administration.change_user(visit.tenant_id, user_id, status=form.status, by=who.actor, trace=who.trace)
        return Onward(f"{USERS}/{user_id}", "user-enabled" if form.status == "active" else "user-disabled")

    @page("POST", f"{USER}/roles", permission="users:write", is_dangerous=True, refused="show")
    def change_roles(self, visit: Visit, user_id: uuid.UUID, form: RolesForm) -> Answer:
        """Give them these roles, and no others."""
        who = visit.caller
        self._administration.change_user(visit.tenant_id, user_id, roles=form.roles, by=who.actor, trace=who.trace)
        return Onward(f"{USERS}/{user_id}", "saved")

    @page("POST", f"{USER}/unlock", permission="users:write", refused="show")
    def unlock(self, visit: Visit, user_id: uuid.UUID) -> Answer:
        """Let them try to sign in who have to wait because of wrong passwords."""
        who = visit.caller
        self._administration.unlock_user(visit.tenant_id, user_id, by=who.actor, trace=who.trace)
        return Onward(f"{USERS}/{user_id}", "user-unlocked")

    @page("POST", f"{USER}/force-reset", permission="users:write", is_dangerous=True, refused="show")
    def force_reset(self, visit: Visit, user_id: uuid.UUID) -> Answer:
        """Make their password worthless, and send them a link for another one."""
        who = visit.caller
        is_sent = self._administration.force_reset(visit.tenant_id, user_id, by=who.actor, trace=who.trace)
        return Onward(f"{USERS}/{user_id}", "reset-mailed" if is_sent else "reset-forced")

    @page("GET", f"{USER}/password", permission="users:write", is_dangerous=True)
    def show_password(self, visit: Visit, user_id: uuid.UUID) -> Answer:
        """Ask for the password that they are to have."""
        _require_another(visit, user_id)
        user, grants = self._users.get(visit.tenant_id, user_id)
        is_stronger = not covers(visit.who.grants.permissions, grants.permissions)
        return Sheet("admin_user_password.html", {"user": user, "is_stronger": is_stronger})

    @page("POST", f"{USER}/password", permission="users:write", is_dangerous=True, refused="show_password")
    def set_password(self, visit: Visit, user_id: uuid.UUID, form: PasswordForm) -> Answer:
        """Give them another password, where none can be chosen by mail. They are signed out everywhere."""
        _require_another(visit, user_id)
        who = visit.caller
        self._administration.change_user(
            visit.tenant_id, user_id, password=form.password, by=who.actor, trace=who.trace
        )
        return Onward(f"{USERS}/{user_id}", "user-password")

    @page("POST", f"{USER}/sessions/<uuid:session_id>/end", permission="sessions:write", refused="show")
    def end_session(self, visit: Visit, user_id: uuid.UUID, session_id: uuid.UUID) -> Answer:
        """End one of their sessions."""
        who = visit.caller
        self._administration.end_session(visit.tenant_id, user_id, session_id, by=who.actor, trace=who.trace)
        return Onward(f"{USERS}/{user_id}", "session-ended")

    @page("POST", f"{USER}/sessions/end", permission="sessions:write", refused="show")
    def end_sessions(self, visit: Visit, user_id: uuid.UUID) -> Answer:
        """End all of their sessions."""
        who = visit.caller
        self._administration.end_sessions(visit.tenant_id, user_id, by=who.actor, trace=who.trace)
        return Onward(f"{USERS}/{user_id}", "all-sessions-ended")

    @page("GET", f"{USER}/erase", permission="users:write", is_dangerous=True)
    def show_erase(self, visit: Visit, user_id: uuid.UUID) -> Answer:
        """Say what goes, and ask for the name."""
        user, grants = self._users.get(visit.tenant_id, user_id)
        is_stronger = not covers(visit.who.grants.permissions, grants.permissions)
        return Sheet("admin_user_erase.html", {"user": user, "is_stronger": is_stronger})

    @page("POST", f"{USER}/erase", permission="users:write", is_dangerous=True, refused="show_erase")
    def erase(self, visit: Visit, user_id: uuid.UUID, form: EraseForm) -> Answer:
        """Erase the user, for ever."""
        user, _ = self._users.get(visit.tenant_id, user_id)
        if form.username.strip().lower() != user.username.lower():
            raise InvalidInput([FieldError("/username", "This is not the name of this user.")])
        count = self._personal.erase(
            visit.tenant_id, user_id, by=visit.caller.actor, trace=visit.caller.trace, at_most=ERASED_AT_ONCE
        )
        return Onward(USERS, "user-erased" if count < ERASED_AT_ONCE else "user-erased-soon")


def _require_another(visit: Visit, user_id: uuid.UUID) -> None:
    """Raise InsufficientScope for oneself: one's own password is changed with the present one."""
    if user_id == visit.user.id:
        raise InsufficientScope("Change your own password on the pages of your account.")
