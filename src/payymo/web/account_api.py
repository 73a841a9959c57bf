"""`/api/auth/email/…`, `/api/auth/password/…`, `/api/auth/unlock`: one's address and password, also by links.

Links are made from configuration: nothing of a request, such as its Host, gets into a mail.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from flask import Response

from payymo.errors import FieldError, InvalidInput
from payymo.limits.limiter import RateLimiter, user_key
from payymo.sessions.addresses import Addresses
from payymo.sessions.credentials import Credentials
from payymo.sessions.lockouts import Lockouts
from payymo.users.service import Users
from payymo.web.caller import Caller
from payymo.web.dispatch import render
from payymo.web.door import Door
from payymo.web.models import Email, Password, Token
from payymo.web.pacing import ALL_ALIKE, PASSWORD_PROOF, TOKEN_PROOF
from payymo.web.routing import Input, Nothing, route


class ChangePasswordBody(Input):
    """The new password; and the present one, unless the session has just begun."""

    current_password: Password | None = None
    new_password: Password


class ChangeEmailBody(Input):
    """The new address; and the present password, unless the session has just begun."""

    new_email: Email
    current_password: Password | None = None


class LinkBody(Input):
    """The token of a link."""

    token: Token


class ResetBody(Input):
    """Whose password was forgotten."""

    email: Email


class ConfirmResetBody(LinkBody):
    """The token of a link, and the new password."""

    new_password: Password


class AccountApi:
    """One's own address and password, and what opens one's account again."""

    def __init__(
        self,
        *,
        credentials: Credentials,
        addresses: Addresses,
        lockouts: Lockouts,
        users: Users,
        door: Door,
        limiter: RateLimiter,
    ) -> None:
        self._credentials = credentials
        self._addresses = addresses
        self._lockouts = lockouts
        self._users = users
        self._door = door
        self._limiter = limiter

    @route("POST", "/api/auth/email/verify", limit="login", authentication=None, pace=TOKEN_PROOF, shape=Nothing)
    def verify_email(self, caller: Caller, body: LinkBody) -> Response:
        """Verify one's address with the token of the link from the mail. Nobody is logged in by it."""
        tenant_id, devices = caller.tenant.id, self._door.devices_of(caller)
        cookie = self._addresses.verify(tenant_id, body.token, devices=devices, trace=caller.trace)
        return self._door.keep(render(Nothing(), 200), tenant_id, cookie)

    @route("POST", "/api/auth/email/change", limit="login", authentication="bearer", status=202, pace=PASSWORD_PROOF)
    def change_email(self, caller: Caller, body: ChangeEmailBody) -> Nothing:
        """Have a link sent to one's new address, which counts once the link is opened."""
        who = caller.principal
        own = user_key(who.tenant_id, who.user_id)
        self._limiter.spend("mail", "account", own, tenant=lambda: who.tenant_id)
        attempt = self._door.admit_change(caller)
        with self._door.trying(caller, attempt):
            self._addresses.request_change(
                who.tenant_id,
                who.user_id,
                who.session_id,
                new_email=body.new_email,
                current_password=body.current_password,
                is_wanted=lambda: self._door.may_write_to(caller, body.new_email),
                trace=caller.trace,
            )
        self._door.let_act(attempt, proven=body.current_password is not None)
        return Nothing()

    @route("POST", "/api/auth/unlock", limit="login", authentication=None, pace=TOKEN_PROOF, shape=Nothing)
    def unlock(self, caller: Caller, body: LinkBody) -> Response:
        """Unlock one's account with the token of the link from the mail. Nobody is logged in by it."""
        tenant_id, devices = caller.tenant.id, self._door.devices_of(caller)
        cookie = self._lockouts.unlock_by_link(tenant_id, body.token, devices=devices, trace=caller.trace)
        return self._door.keep(render(Nothing(), 200), tenant_id, cookie)

    @route("POST", "/api/auth/email/change/confirm", limit="login", authentication=None, pace=TOKEN_PROOF)
    def confirm_email_change(self, caller: Caller, body: LinkBody) -> Nothing:
        """Let one's new address count, with the token of the link from the mail to it."""
        self._addresses.confirm_change(caller.tenant.id, body.token, trace=caller.trace)
        return Nothing()

    @route(
        "POST",
        "/api/auth/password/change",
        limit="login",
        authentication="bearer",
        pace=PASSWORD_PROOF,
        shape=Nothing,
    )
    def change_password(self, caller: Caller, body: ChangePasswordBody) -> Response:
        """Change one's password. Ends every other session of the user; this one goes on."""
        who = caller.principal
        user, _ = self._users.get(who.tenant_id, who.user_id)
        attempt = self._door.admit_change(caller)
        with _at_new_password(), self._door.trying(caller, attempt):
            self._credentials.change_password(
                who.tenant_id,
                who.user_id,
                who.session_id,
                current=body.current_password,
                new=body.new_password,
                trace=caller.trace,
            )
        cookie = self._door.let_change(caller, attempt, user.email)
        return self._door.keep(render(Nothing(), 200), who.tenant_id, cookie)

    @route("POST", "/api/auth/password/reset", limit="login", authentication=None, status=202, pace=ALL_ALIKE)
    def reset_password(self, caller: Caller, body: ResetBody) -> Nothing:
        """Have a link sent with which a forgotten password is replaced. The answer is the same for every address."""
        tenant_id = caller.tenant.id
        is_wanted = self._door.may_write_to(caller, body.email)
        self._credentials.request_reset(tenant_id, body.email, is_wanted=is_wanted, trace=caller.trace)
        return Nothing()

    @route(
        "POST",
        "/api/auth/password/reset/confirm",
        limit="login",
        authentication=None,
        pace=PASSWORD_PROOF,
        shape=Nothing,
    )
    def confirm_reset(self, caller: Caller, body: ConfirmResetBody) -> Response:
        """Replace a password with the token of the link from the mail. Ends every session, and begins none."""
        tenant_id, devices = caller.tenant.id, self._door.devices_of(caller)
        with _at_new_password():
            _, cookie = self._credentials.confirm_reset(
                tenant_id, body.token, body.new_password, devices=devices, trace=caller.trace
            )
        return self._door.keep(render(Nothing(), 200), tenant_id, cookie)


@contextmanager
def _at_new_password() -> Iterator[None]:
    """The rule for passwords doesn't know what the member is called here."""
    try:
        yield
    except InvalidInput as refused:
        raise InvalidInput([FieldError("/new_password", found.detail) for found in refused.errors]) from None
