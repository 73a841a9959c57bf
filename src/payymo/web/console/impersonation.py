"""`/admin/users/…/impersonate` and `/acting/stop`: an administrator acts as somebody else, and stops doing so."""

import uuid
from typing import Final

from payymo.roles.model import covers
from payymo.sessions.acting import Acting
from payymo.sessions.impersonation import PERMISSION
from payymo.users.service import Users
from payymo.web.console.admin_user import USER
from payymo.web.console.admin_users import USERS
from payymo.web.console.pages import Answer, Onward, Sheet, page
from payymo.web.console.visit import Visit
from payymo.web.impersonation_api import Why
from payymo.web.routing import Input

START: Final = f"{USER}/impersonate"


class ImpersonateForm(Input):
    """Why, in the administrator's words."""

    why: Why


class ImpersonationDesk:
    """Acting as a user of one's own tenant."""

    def __init__(self, *, users: Users, acting: Acting, longest_seconds: int) -> None:
        self._users = users
        self._acting = acting
        self._minutes = longest_seconds // 60

    @page("GET", START, permission=PERMISSION, is_dangerous=True)
    def show_start(self, visit: Visit, user_id: uuid.UUID) -> Answer:
        """Say what it means, and ask why."""
        user, grants = self._users.get(visit.tenant_id, user_id)
        is_stronger = not covers(visit.who.grants.permissions, grants.permissions)
        facts = {"user": user, "is_stronger": is_stronger, "is_self": user_id == visit.user.id}
        return Sheet("admin_user_impersonate.html", {**facts, "minutes": self._minutes})

    @page("POST", START, permission=PERMISSION, is_dangerous=True, refused="show_start")
    def start(self, visit: Visit, user_id: uuid.UUID, form: ImpersonateForm) -> Answer:
        """Act as the user from now on. The browser gets a second cookie, and another one in place of its own."""
        caller = visit.caller
        made = self._acting.begin(visit.browser, user_id, why=form.why, by=caller.actor, trace=caller.trace)
        visit.carry(made.own)
        visit.act_by(made.acting)
        return Onward("/account")

    @page("POST", "/acting/stop", is_for_actors=True)
    def stop(self, visit: Visit) -> Answer:
        """Be oneself again. Whoever has become it meanwhile is so already."""
        if visit.actor is None:
            return Onward("/account", "acting-over")
        cookie = self._acting.stop(visit.browser, visit.own, trace=visit.caller.trace)
        if cookie is not None:
            visit.carry(cookie)
        visit.act_no_more()
        back = f"{USERS}/{visit.user.id}" if visit.actor_may("users:read") else "/account"
        return Onward(back, "acting-stopped")
