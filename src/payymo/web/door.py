"""The door for passwords: what a try costs before it is looked at, and the cookie that knows a device again.

The cookie proves nobody. It says that somebody has logged in from here before, so that a stranger's failures don't keep
them out; whoever steals it gets a few tries that are counted apart. (OWASP: "Slow Down Online Guessing Attacks with
Device Cookies".)
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from flask import Response

from payymo.attempts.model import DEVICE_SECONDS, Attempt, Origin, read_tokens
from payymo.attempts.service import Attempts
from payymo.errors import (
    Conflict,
    InsufficientScope,
    InvalidCredentials,
    InvalidInput,
    InvalidToken,
    LoginTooOld,
    MailOff,
    NotFound,
    Overloaded,
    TooManyRequests,
    Unavailable,
)
from payymo.limits.limiter import RateLimiter, account_key, address_key, known_key, user_key
from payymo.users.model import canonical_email, counted_name
from payymo.web.caller import DEVICE_COOKIE, Caller

PREFIX: Final = "__Host-"
"""Nobody but this host sets a cookie of this name (RFC 6265bis §4.1.3.2). For https alone."""
NOT_ABOUT_IT: Final = (
    *(Overloaded, Unavailable, InvalidInput, LoginTooOld, MailOff),
    *(InsufficientScope, Conflict, NotFound, InvalidToken),
)
"""Refusals that say nothing against a password. Whoever gets 503 learns nothing of it either, right or not; where the
database does not even take the try back, it stays counted."""


class Door:
    """Admits tries at passwords, and lets in who got one right."""

    def __init__(self, *, attempts: Attempts, limiter: RateLimiter, is_https: bool) -> None:
        self._attempts = attempts
        self._limiter = limiter
        self._is_https = is_https

    def admit(self, caller: Caller, email: str) -> Attempt:
        """Count a login before the password is looked at. Raises TooManyRequests, Unavailable.

        A stranger who uses up the limit of an address keeps a device that is known for the account from nothing: then
        it has as many logins of its own.
        """
        tenant_id, too_many = caller.tenant.id, caller.too_many
        key, tokens = canonical_email(email), self._tokens_of(caller, tenant_id)
        if too_many is not None:
            if not self._attempts.knows(tenant_id, tokens, key or "-"):
                raise too_many
            caller.too_many, own = None, known_key(tenant_id, counted_name(email))
            self._limiter.spend("login", "account", own, tenant=lambda: tenant_id)
        origin = Origin(account_key(tenant_id, counted_name(email)), key or "-", address_key(caller.address), tokens)
        attempt = self._attempts.admit(tenant_id, origin, trace=caller.trace)
        if attempt.device is None and too_many is not None:  # it was forgotten a moment ago
            self._attempts.give_back(attempt)
            raise too_many
        if attempt.device is None:
            self._spend(attempt)
        return attempt

    def admit_change(self, caller: Caller) -> Attempt:
        """Count a try of somebody who is logged in at their own password. Raises TooManyRequests, Unavailable.

        Apart from logins: a stranger who locks the account there must not keep its owner from acting here.
        """
        who = caller.principal
        account, network = user_key(who.tenant_id, who.user_id), address_key(caller.address)
        origin = Origin(account, "-", network, user_id=who.user_id)
        attempt = self._attempts.admit_again(who.tenant_id, origin)
        self._spend(attempt)
        return attempt

    @contextmanager
    def trying(self, caller: Caller, attempt: Attempt) -> Iterator[None]:
        """While the password is looked at: a failure counts, and what never came to that does not."""
        try:
            yield
        except InvalidCredentials:
            self._attempts.failed(attempt, trace=caller.trace)
            raise
        except NOT_ABOUT_IT:  # or it was right, and what was wanted with it is not acceptable
            self._attempts.give_back(attempt)
            raise

    def may_write_to(self, caller: Caller, email: str) -> bool:
        """Whether another letter may go to this address. Who asks for it isn't told: it is somebody else's mailbox.

        From a device that is known for the account it is counted apart: a stranger who asks again and again must not
        keep its owner from the letter that they need.
        """
        tenant_id = caller.user.tenant_id if caller.user else caller.tenant.id
        name = counted_name(email)
        tokens = self._tokens_of(caller, tenant_id)
        is_known = self._attempts.knows(tenant_id, tokens, canonical_email(email) or "-")
        who = known_key(tenant_id, name) if is_known else account_key(tenant_id, name)
        try:
            self._limiter.spend("mail", "account", who, tenant=lambda: tenant_id)
        except TooManyRequests:
            return False
        return True

    def let_act(self, attempt: Attempt, *, proven: bool) -> None:
        """Somebody who is logged in may act: the try does not count.

        `proven`: their password was right, and takes back what they failed before. A login of a moment ago, which
        stands for it, does not: whoever has such a session alone would have as many tries as they like.
        """
        if not proven:
            self._attempts.give_back(attempt)
            return
        self._attempts.proved(attempt)
        self._limiter.forgive(("login",), "account", attempt.origin.account, tenant_id=attempt.tenant_id)

    def let_in(self, attempt: Attempt, user_id: uuid.UUID, session_id: uuid.UUID) -> str | None:
        """Take back what the right password proves, and make the device known: by this cookie, if it is a new one."""
        cookie = self._attempts.succeeded(attempt, user_id, session_id)
        self._limiter.forgive(("login",), "account", attempt.origin.account, tenant_id=attempt.tenant_id)
        return cookie

    def remember(self, caller: Caller, user_id: uuid.UUID, session_id: uuid.UUID) -> str | None:
        """Make the device of somebody known who has proven themselves otherwise: by this cookie, if it is a new one."""
        tenant_id = caller.tenant.id
        return self._attempts.remember(tenant_id, user_id, session_id, self._tokens_of(caller, tenant_id))

    def let_change(self, caller: Caller, attempt: Attempt, email: str) -> str | None:
        """A user has changed their password: what was tried before is tried at another one.

        Every device of theirs is forgotten by it, except this one, which is known by this cookie from now on.
        """
        who = caller.principal
        unlocked = (attempt.origin.account, account_key(attempt.tenant_id, counted_name(email)))
        tokens = self._tokens_of(caller, attempt.tenant_id)
        cookie = self._attempts.remember(attempt.tenant_id, who.user_id, who.session_id, tokens, unlocks=unlocked)
        for account in unlocked:
            self._limiter.forgive(("login",), "account", account, tenant_id=attempt.tenant_id)
        return cookie

    def devices_of(self, caller: Caller) -> tuple[str, ...]:
        """What a browser says of itself whose user opens a link: the tokens of devices in the tenant of the request."""
        return self._tokens_of(caller, caller.tenant.id)

    def keep(self, response: Response, tenant_id: uuid.UUID, cookie: str | None) -> Response:
        """The answer, with the device's cookie; None: it has one, or gets none."""
        if cookie is not None:
            response.set_cookie(
                self._name(tenant_id),
                cookie,
                max_age=DEVICE_SECONDS,
                path="/",
                secure=self._is_https,
                httponly=True,
                samesite="Strict",
            )
        return response

    def _spend(self, attempt: Attempt) -> None:
        try:
            self._limiter.spend("login", "account", attempt.origin.account, tenant=lambda: attempt.tenant_id)
        except TooManyRequests:
            self._attempts.give_back(attempt)
            raise

    def _tokens_of(self, caller: Caller, tenant_id: uuid.UUID) -> tuple[str, ...]:
        return read_tokens(caller.request.cookies.get(self._name(tenant_id)))

    def _name(self, tenant_id: uuid.UUID) -> str:
        """One for each tenant: tenants of one host have nothing of each other's devices."""
        return f"{PREFIX if self._is_https else ''}{DEVICE_COOKIE}-{tenant_id.hex[:12]}"
