"""`/account`: one's own profile, password, address, sessions, activity and data."""

import uuid
from functools import partial
from typing import Annotated

from flask import Response
from pydantic import Field

from payymo.audit.entries import Filters
from payymo.audit.reader import AuditReader
from payymo.limits.limiter import RateLimiter, user_key
from payymo.sessions.addresses import Addresses
from payymo.sessions.browsers import Browsers
from payymo.sessions.credentials import Credentials
from payymo.sessions.impersonation import Impersonation
from payymo.sessions.personal import PersonalData
from payymo.sessions.service import Sessions
from payymo.web.console.links import at
from payymo.web.console.pages import Answer, Onward, Sheet, page
from payymo.web.console.visit import Visit
from payymo.web.console.words import tell
from payymo.web.door import Door
from payymo.web.models import Email, Password
from payymo.web.pacing import PASSWORD_PROOF
from payymo.web.routing import Input

EVENTS_A_PAGE = 25
SESSIONS = "/account/sessions"


class PasswordForm(Input):
    """The present password and the new one."""

    current_password: Password
    new_password: Password


class EmailForm(Input):
    """The new address, and the present password."""

    new_email: Email
    current_password: Password


class ActivityQuery(Input):
    """A page of a list."""

    cursor: Annotated[str, Field(max_length=256)] = ""


class AccountDesk:
    """One's own account."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        browsers: Browsers,
        impersonation: Impersonation,
        credentials: Credentials,
        addresses: Addresses,
        personal: PersonalData,
        reader: AuditReader,
        door: Door,
        limiter: RateLimiter,
    ) -> None:
        self._sessions = sessions
        self._browsers = browsers
        self._impersonation = impersonation
        self._credentials = credentials
        self._addresses = addresses
        self._personal = personal
        self._reader = reader
        self._door = door
        self._limiter = limiter

    @page("GET", "/account")
    def profile(self, visit: Visit) -> Answer:
        """Show who one is."""
        return Sheet("account.html")

    @page("GET", "/account/password")
    def show_password(self, visit: Visit) -> Answer:
        """Ask for both passwords."""
        return Sheet("account_password.html")

    @page("POST", "/account/password", limit="login", refused="show_password", pace=PASSWORD_PROOF)
    def change_password(self, visit: Visit, form: PasswordForm) -> Answer:
        """Change the password. Other sessions end, and this browser gets another cookie."""
        caller, browser = visit.caller, visit.browser
        attempt = self._door.admit_change(caller)
        with at("/new_password"), self._door.trying(caller, attempt):
            self._credentials.change_password(
                browser.tenant_id,
                browser.user_id,
                browser.session_id,
                current=form.current_password,
                new=form.new_password,
                trace=caller.trace,
            )
        cookie = self._door.let_change(caller, attempt, visit.user.email)
        visit.after.append(partial(self._door.keep, tenant_id=browser.tenant_id, cookie=cookie))
        visit.carry(self._browsers.renew(browser, trace=caller.trace))
        return Onward("/account", "password-changed")

    @page("GET", "/account/email")
    def show_email(self, visit: Visit) -> Answer:
        """Ask for the new address."""
        return Sheet("account_email.html")

    @page("POST", "/account/email", limit="login", refused="show_email", pace=PASSWORD_PROOF)
    def change_email(self, visit: Visit, form: EmailForm) -> Answer:
        """Have a link sent to the new address, which counts once the link is opened."""
        caller, browser = visit.caller, visit.browser
        own = user_key(browser.tenant_id, browser.user_id)
        self._limiter.spend("mail", "account", own, tenant=lambda: browser.tenant_id)
        attempt = self._door.admit_change(caller)
        with self._door.trying(caller, attempt):
            self._addresses.request_change(
                browser.tenant_id,
                browser.user_id,
                browser.session_id,
                new_email=form.new_email,
                current_password=form.current_password,
                is_wanted=lambda: self._door.may_write_to(caller, form.new_email),
                trace=caller.trace,
            )
        self._door.let_act(attempt, proven=True)
        return Sheet("sent.html", {"what": "change-email"})

    @page("GET", SESSIONS)
    def list_sessions(self, visit: Visit) -> Answer:
        """Show where one is signed in."""
        browser = visit.browser
        found = self._sessions.list_sessions(browser.tenant_id, browser.user_id)
        actors = self._impersonation.names_of_actors(browser.tenant_id, found)
        return Sheet("account_sessions.html", {"sessions": found, "actors": actors})

    @page("POST", f"{SESSIONS}/<uuid:session_id>/end", refused="list_sessions")
    def end_session(self, visit: Visit, session_id: uuid.UUID) -> Answer:
        """End one session."""
        browser = visit.browser
        self._sessions.end(browser.tenant_id, browser.user_id, session_id, trace=visit.caller.trace)
        return Onward(SESSIONS, "session-ended")

    @page("POST", f"{SESSIONS}/end-others", refused="list_sessions")
    def end_others(self, visit: Visit) -> Answer:
        """End every session but this one."""
        browser = visit.browser
        self._sessions.end_others(browser.tenant_id, browser.user_id, browser.session_id, trace=visit.caller.trace)
        return Onward(SESSIONS, "sessions-ended")

    @page("GET", "/account/activity")
    def activity(self, visit: Visit, query: ActivityQuery) -> Answer:
        """Show what happened to one's account."""
        browser = visit.browser
        found = self._reader.page(
            browser.tenant_id,
            Filters(user_id=browser.user_id, without_quiet=True),
            cursor=query.cursor or None,
            count=EVENTS_A_PAGE,
            newest_first=True,
        )
        lines = [tell(entry, browser.user_id) for entry in found.entries]
        onward = None if found.next is None else f"/account/activity?cursor={found.next}"
        return Sheet("account_activity.html", {"lines": lines, "next": onward})

    @page("GET", "/account/export", is_dangerous=True)
    def show_export(self, visit: Visit) -> Answer:
        """Ask whether the file is to be made: making it is on record."""
        return Sheet("account_export.html")

    @page("POST", "/account/export", is_dangerous=True, refused="show_export")
    def export(self, visit: Visit) -> Answer:
        """Everything that is stored of oneself, as one JSON document."""
        browser = visit.browser
        who, trace = (browser.tenant_id, browser.user_id), visit.caller.trace
        whole = self._personal.export_whole(*who, reason="by-user", trace=trace)
        response = Response(whole, content_type="application/json")  # all of it: or it is refused
        response.headers["Content-Disposition"] = 'attachment; filename="my-data.json"'
        return response
