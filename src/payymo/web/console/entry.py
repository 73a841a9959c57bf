"""Before and around being signed in: sign in, register, sign out, and give one's password again."""

import json
import re
from dataclasses import replace
from functools import partial
from typing import Annotated, Final

from pydantic import Field

from payymo.errors import RegistrationClosed, TenantSuspended
from payymo.sessions.addresses import Addresses
from payymo.sessions.browsers import Browsers, SignedIn
from payymo.sessions.service import Sessions
from payymo.web.console.pages import Answer, Onward, Sheet, page
from payymo.web.console.visit import Visit
from payymo.web.door import Door
from payymo.web.models import Email, Password
from payymo.web.pacing import PASSWORD_PROOF
from payymo.web.routing import Input

HOME: Final = "/account"
SIGN_OUT: Final = "/sign-out"
CONFIRM: Final = "/confirm"
_WITHIN: Final = re.compile(r"/(?![/\\])[!-\[\]-~]{0,1000}", re.ASCII)
"""A path of this site: no other host (`//`), no backslash that browsers take for a slash, no spaces or controls."""

Next = Annotated[str, Field(max_length=16_384)]


class NextQuery(Input):
    """Where to go on."""

    next: Next = ""


class SignInForm(Input):
    """Who, the proof, and where to go on: `kept` is a form that was under way, as JSON."""

    email: Email
    password: Password
    tenant: Annotated[str, Field(max_length=63)] = ""
    next: Next = ""
    kept: Annotated[str, Field(max_length=16_384)] = ""


class RegisterForm(Input):
    """A new user."""

    email: Email
    username: Annotated[str, Field(min_length=1, max_length=64)]
    password: Password
    tenant: Annotated[str, Field(max_length=63)] = ""


class ConfirmForm(Input):
    """The password again, and where to go on."""

    password: Password
    next: Next = ""
    kept: Annotated[str, Field(max_length=16_384)] = ""


class EntryDesk:
    """Lets people in and out."""

    def __init__(
        self,
        *,
        browsers: Browsers,
        sessions: Sessions,
        addresses: Addresses,
        door: Door,
        registration_is_open: bool,
        verification_is_required: bool,
    ) -> None:
        self._browsers = browsers
        self._sessions = sessions
        self._addresses = addresses
        self._door = door
        self._registration_is_open = registration_is_open
        self._verification_is_required = verification_is_required

    @page("GET", "/", access="anyone")
    def home(self, visit: Visit) -> Answer:
        """Go to one's account."""
        return Onward(HOME)

    @page("GET", "/sign-in", access="anyone")
    def show_sign_in(self, visit: Visit, query: NextQuery) -> Answer:
        """Ask who it is; who is signed in already goes on."""
        if visit.visitor is not None:
            return Onward(within(query.next))
        return Sheet("sign_in.html", {"next": within(query.next), "kept": ""})

    @page(
        "POST",
        "/sign-in",
        access="anyone",
        limit="login",
        spares_devices=True,
        refused="show_sign_in",
        pace=PASSWORD_PROOF,
    )
    def sign_in(self, visit: Visit, form: SignInForm) -> Answer:
        """Begin a session in this browser. One that was there before ends."""
        caller = visit.caller
        tenant = caller.tenant
        if not tenant.is_active:
            raise TenantSuspended
        attempt = self._door.admit(caller, form.email)
        with self._door.trying(caller, attempt):
            done = self._browsers.sign_in(
                tenant.id,
                email=form.email,
                password=form.password,
                wish=visit.wish,
                device=caller.device,
                trace=caller.trace,
            )
        device = self._door.let_in(attempt, done.user.id, done.session_id)
        self._welcome(visit, done, device)
        return go_on(form.next, form.kept)

    def _welcome(self, visit: Visit, done: SignedIn, device: str | None) -> None:
        if visit.visitor is not None:
            end = visit.own
            if visit.actor is not None:
                visit.act_no_more()
            trace = replace(visit.caller.trace, actor_id=end.user_id)
            self._sessions.log_out(end.tenant_id, end.user_id, end.session_id, everywhere=False, trace=trace)
        visit.visitor = None
        visit.carry(done.cookie)
        visit.after.append(partial(self._door.keep, tenant_id=done.user.tenant_id, cookie=device))

    @page("GET", "/register", access="anyone")
    def show_register(self, visit: Visit) -> Answer:
        """Ask for what makes an account."""
        if not self._registration_is_open:
            raise RegistrationClosed
        return Sheet("register.html")

    @page("POST", "/register", access="anyone", limit="registration", refused="show_register", pace=PASSWORD_PROOF)
    def register(self, visit: Visit, form: RegisterForm) -> Answer:
        """Make an account, and sign in; with verification required, the rest stands in a mail."""
        if not self._registration_is_open:
            raise RegistrationClosed
        caller = visit.caller
        tenant_id = caller.tenant.id
        if self._verification_is_required:
            self._addresses.request_registration(
                tenant_id,
                email=form.email,
                username=form.username,
                password=form.password,
                language=visit.wish.code,
                is_wanted=lambda: self._door.may_write_to(caller, form.email),
                trace=caller.trace,
            )
            return Sheet("sent.html", {"title": "Look into your mailbox", "what": "verify-email"})
        done = self._browsers.register(
            tenant_id,
            email=form.email,
            username=form.username,
            password=form.password,
            language=visit.wish.code,
            device=caller.device,
            trace=caller.trace,
        )
        self._welcome(visit, done, self._door.remember(caller, done.user.id, done.session_id))
        return Onward(HOME)

    @page("POST", SIGN_OUT, is_for_actors=True)
    def sign_out(self, visit: Visit) -> Answer:
        """End the session of this browser; of who acts as somebody, their own, and with it the other one."""
        browser, trace = visit.own, replace(visit.caller.trace, on_behalf_of=None)
        self._sessions.log_out(browser.tenant_id, browser.user_id, browser.session_id, everywhere=False, trace=trace)
        visit.leave()
        return Onward(f"/sign-in?tenant={browser.tenant_slug}", "signed-out")

    @page("GET", CONFIRM, is_for_actors=False)
    def show_confirm(self, visit: Visit, query: NextQuery) -> Answer:
        """Ask for the password again."""
        return Sheet("confirm.html", {"next": within(query.next), "kept": ""})

    @page("POST", CONFIRM, limit="login", refused="show_confirm", pace=PASSWORD_PROOF)
    def confirm(self, visit: Visit, form: ConfirmForm) -> Answer:
        """Let dangerous acts pass for a while. The browser gets another cookie."""
        attempt = self._door.admit_change(visit.caller)
        with self._door.trying(visit.caller, attempt):
            cookie = self._browsers.confirm(visit.browser, form.password, trace=visit.caller.trace)
        self._door.let_act(attempt, proven=True)
        visit.carry(cookie)
        return go_on(form.next, form.kept)


def within(path: str) -> str:
    """Where to go on: this path, if it is one of this site, else one's account."""
    return path if _WITHIN.fullmatch(path) else HOME


def go_on(path: str, kept: str) -> Answer:
    """What somebody wanted when they had to prove themselves: a page; or a form, which they send off once more."""
    target = within(path)
    try:
        typed = [(_readable(name), _readable(value)) for name, value in json.loads(kept)] if kept else []
    except (ValueError, TypeError, RecursionError):
        typed = []
    if not kept:
        return Onward(target)
    return Sheet("resume.html", {"target": target, "typed": typed})


def _readable(part: object) -> str:
    """A text that can be written: JSON has names for halves of characters."""
    return str(part).encode("utf-8", "replace").decode()
