"""What the links in mails lead to; and the page that asks for such a mail.

The token stands behind the `#` of a link, so that it gets into no log and no Referer. A script of ours moves it into
the form; without scripts, people paste the link. Opening a page changes nothing: mail scanners open every link.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated
from urllib.parse import parse_qs

from pydantic import Field

from payymo.errors import FieldError, InvalidInput, InvalidLink
from payymo.phrases import Phrase
from payymo.sessions.addresses import Addresses
from payymo.sessions.credentials import Credentials
from payymo.sessions.lockouts import Lockouts
from payymo.web.console.pages import Answer, Onward, Sheet, page
from payymo.web.console.visit import Visit
from payymo.web.door import Door
from payymo.web.models import Email, Password, Token
from payymo.web.pacing import ALL_ALIKE, PASSWORD_PROOF, TOKEN_PROOF
from payymo.web.routing import Input

Slug = Annotated[str, Field(max_length=63)]


class ForgotForm(Input):
    """Whose password was forgotten."""

    email: Email
    tenant: Slug = ""


class LinkForm(Input):
    """The token of a link, or the whole link."""

    token: Token
    tenant: Slug = ""


class ResetForm(LinkForm):
    """The same, and the new password."""

    new_password: Password


class LinksDesk:
    """Redeems what was sent by mail."""

    def __init__(self, *, credentials: Credentials, addresses: Addresses, lockouts: Lockouts, door: Door) -> None:
        self._credentials = credentials
        self._addresses = addresses
        self._lockouts = lockouts
        self._door = door

    @page("GET", "/forgot-password", access="anyone")
    def show_forgot(self, visit: Visit) -> Answer:
        """Ask for the address."""
        return Sheet("forgot.html")

    @page("POST", "/forgot-password", access="anyone", limit="login", refused="show_forgot", pace=ALL_ALIKE)
    def forgot(self, visit: Visit, form: ForgotForm) -> Answer:
        """Have a link sent. The answer is the same for every address."""
        tenant_id = visit.caller.tenant.id
        is_wanted = self._door.may_write_to(visit.caller, form.email)
        self._credentials.request_reset(tenant_id, form.email, is_wanted=is_wanted, trace=visit.caller.trace)
        return Sheet("sent.html", {"what": "reset-password"})

    @page("GET", "/reset-password", access="anyone")
    def show_reset(self, visit: Visit) -> Answer:
        """Ask for a new password."""
        return _link(Phrase("Choose a new password"), Phrase("Change password"), asks_password=True)

    @page("POST", "/reset-password", access="anyone", limit="login", refused="show_reset", pace=PASSWORD_PROOF)
    def reset(self, visit: Visit, form: ResetForm) -> Answer:
        """Replace a forgotten password. Every session ends, also the one in this browser, and none begins."""
        with at("/new_password"):
            token, caller = _read(visit, form.token), visit.caller
            devices = self._door.devices_of(caller)
            user_id, cookie = self._credentials.confirm_reset(
                caller.tenant.id, token, form.new_password, devices=devices, trace=caller.trace
            )
        self._know(visit, cookie)
        if visit.visitor is not None and visit.actor is None and visit.user.id == user_id:
            visit.leave()  # or they are sent to a page of theirs, and from there to sign in, without a word of why
        return _sign_in(visit, "password-reset")

    @page("GET", "/verify-email", access="anyone")
    def show_verify(self, visit: Visit) -> Answer:
        """Ask whether the address is theirs."""
        return _link(Phrase("Verify your address"), Phrase("Yes, it is my address"))

    @page("POST", "/verify-email", access="anyone", limit="login", refused="show_verify", pace=TOKEN_PROOF)
    def verify(self, visit: Visit, form: LinkForm) -> Answer:
        """The address is theirs."""
        token, caller = _read(visit, form.token), visit.caller
        devices = self._door.devices_of(caller)
        self._know(visit, self._addresses.verify(caller.tenant.id, token, devices=devices, trace=caller.trace))
        return _sign_in(visit, "email-verified")

    @page("GET", "/change-email", access="anyone")
    def show_change(self, visit: Visit) -> Answer:
        """Ask whether the new address is theirs."""
        return _link(Phrase("Your new address"), Phrase("Yes, use this address"))

    @page("POST", "/change-email", access="anyone", limit="login", refused="show_change", pace=TOKEN_PROOF)
    def change(self, visit: Visit, form: LinkForm) -> Answer:
        """The new address takes the place of the old one."""
        token = _read(visit, form.token)
        self._addresses.confirm_change(visit.caller.tenant.id, token, trace=visit.caller.trace)
        return _sign_in(visit, "email-changed")

    @page("GET", "/unlock", access="anyone")
    def show_unlock(self, visit: Visit) -> Answer:
        """Ask whether it is them."""
        return _link(Phrase("Sign in again"), Phrase("Let me sign in again"))

    @page("POST", "/unlock", access="anyone", limit="login", refused="show_unlock", pace=TOKEN_PROOF)
    def unlock(self, visit: Visit, form: LinkForm) -> Answer:
        """Admit logins again."""
        token, caller = _read(visit, form.token), visit.caller
        devices = self._door.devices_of(caller)
        self._know(visit, self._lockouts.unlock_by_link(caller.tenant.id, token, devices=devices, trace=caller.trace))
        return _sign_in(visit, "unlocked")

    def _know(self, visit: Visit, cookie: str | None) -> None:
        """Strangers who try the password keep nobody out of a browser in which a link from the mailbox was opened."""
        visit.after.append(partial(self._door.keep, tenant_id=visit.caller.tenant.id, cookie=cookie))


def _link(heading: str, verb: str, *, asks_password: bool = False) -> Sheet:
    return Sheet("link.html", {"heading": heading, "verb": verb, "asks_password": asks_password})


def _read(visit: Visit, text: str) -> str:
    """The token, also of a whole link that was pasted: then the link says the tenant. Raises InvalidLink."""
    _, is_whole, fragment = text.strip().partition("#")
    if not is_whole:
        return text.strip()
    try:
        parts = parse_qs(fragment, max_num_fields=4)
    except ValueError:
        raise InvalidLink from None
    if len(parts.get("token", ())) != 1:
        raise InvalidLink
    visit.caller.name_tenant(parts.get("tenant", [visit.caller.slug or ""])[0] or None)
    return parts["token"][0]


def _sign_in(visit: Visit, notice: str) -> Onward:
    return Onward("/account" if visit.visitor else f"/sign-in?tenant={visit.caller.tenant.slug}", notice)


@contextmanager
def at(pointer: str) -> Iterator[None]:
    """The rule for passwords doesn't know what the field is called here."""
    try:
        yield
    except InvalidInput as refused:
        raise InvalidInput([FieldError(pointer, found.detail) for found in refused.errors]) from None
