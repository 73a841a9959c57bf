"""Sessions that are led in a browser: no tokens, but an opaque cookie, of which only a digest is kept.

They are sessions like others: they stand in the same list, and whatever ends sessions ends them, at once. The secret is
another one after every proof of the password, so that who has planted or seen one before gains nothing by it.
"""

import uuid
from dataclasses import dataclass, replace

from payymo import opaque
from payymo.audit.log import AuditLog
from payymo.clock import Clock
from payymo.db.work import Transaction, Work
from payymo.entropy import Entropy
from payymo.errors import InvalidCredentials, InvalidToken
from payymo.languages import NO_WISH, Wish
from payymo.logs import Event, Trace
from payymo.roles.model import common
from payymo.roles.service import Roles
from payymo.sessions import browser_rows as rows
from payymo.sessions.beginning import Beginning, Begun, Terms
from payymo.sessions.browser import TOUCH_SECONDS, Browser, BrowserPolicy, Cookie, Visitor, read_cookie
from payymo.sessions.model import Device
from payymo.users.languages import keep_language
from payymo.users.model import User
from payymo.users.service import Users


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who has signed in, in which session, and the cookie that stands for it."""

    user: User
    session_id: uuid.UUID
    cookie: Cookie


class Browsers:
    """The browsers in which somebody of a tenant is signed in."""

    def __init__(
        self,
        work: Work,
        clock: Clock,
        entropy: Entropy,
        *,
        beginning: Beginning,
        users: Users,
        roles: Roles,
        policy: BrowserPolicy,
        audit: AuditLog,
    ) -> None:
        self._work = work
        self._clock = clock
        self._entropy = entropy
        self._beginning = beginning
        self._users = users
        self._roles = roles
        self._idle_seconds = policy.idle_seconds
        self._terms = Terms(policy.session_seconds, access_seconds=0, refresh_seconds=0)
        self._audit = audit
        self._nobody = opaque.digest(entropy.bytes(32))

    def sign_in(
        self,
        tenant_id: uuid.UUID,
        *,
        email: str,
        password: str,
        wish: Wish = NO_WISH,
        device: Device,
        trace: Trace,
    ) -> SignedIn:
        """Begin a session. Raises InvalidCredentials (one sentence for every reason), Overloaded.

        `wish`: in which language they would rather be written to.
        """

        def begin(tx: Transaction, begun: Begun) -> Cookie:
            keep_language(tx, begun.user, wish)
            return self.add(tx, begun)

        begun, cookie = self._beginning.log_in(
            tenant_id,
            email=email,
            password=password,
            device=device,
            terms=self._terms,
            inside=begin,
            trace=trace,
        )
        return SignedIn(begun.user, begun.session_id, cookie)

    def register(
        self,
        tenant_id: uuid.UUID,
        *,
        email: str,
        username: str,
        password: str,
        language: str | None,
        device: Device,
        trace: Trace,
    ) -> SignedIn:
        """A new user of the tenant, signed in. Raises what `Users.register` raises, TenantSuspended."""
        begun, cookie = self._beginning.register(
            tenant_id,
            email=email,
            username=username,
            password=password,
            language=language,
            device=device,
            terms=self._terms,
            inside=self.add,
            trace=trace,
        )
        return SignedIn(begun.user, begun.session_id, cookie)

    def find(self, text: str, *, actor: Visitor | None = None) -> Visitor | None:
        """Who is behind a cookie; None: nobody, or not any more. Raises Unavailable: then nobody gets in.

        `actor`: who acts as them, from the session that this one was begun from. Such a cookie is worth nothing alone.
        """
        given = read_cookie(text)
        if given is None:
            return None
        now = int(self._clock())
        with self._work.reading(given.tenant_id) as tx:
            browser = rows.find(tx, given.secret.id)
            is_theirs = opaque.matches(given.secret.secret, self._nobody if browser is None else browser.digest)
            if browser is None or not is_theirs or not browser.is_alive_at(now, idle_seconds=self._idle_seconds):
                return None
            if browser.actor_session_id != (None if actor is None else actor.browser.session_id):
                return None
            user, grants = self._users.get_in(tx, browser.user_id), self._roles.grants_of(tx, browser.user_id)
        if now - browser.used_at >= min(TOUCH_SECONDS, self._idle_seconds // 10):
            with self._work(browser.tenant_id) as tx:
                rows.touch(tx, browser, now=now)
        if actor is not None:
            grants = replace(grants, permissions=common(grants.permissions, actor.grants.permissions))
        return Visitor(browser, user, grants, given.secret.secret, actor)

    def confirm(self, browser: Browser, password: str, *, trace: Trace) -> Cookie:
        """The cookie that stands for the session from now on, for somebody who has given their password again.

        Raises InvalidCredentials, Overloaded, InvalidToken: the session has ended meanwhile.
        """
        proof = self._users.prove_again(browser.tenant_id, browser.user_id, password)
        event = Event(
            "session.confirmed",
            "refused",
            trace=trace,
            tenant_id=browser.tenant_id,
            user_id=browser.user_id,
            session_id=browser.session_id,
        )
        cookie: Cookie | None = None
        if proof is None:
            self._audit.record_apart(event)
            raise InvalidCredentials("The password is wrong.")
        with self._work(browser.tenant_id) as tx:
            if self._users.lock_proven(tx, proof) is not None:
                cookie = self._confirmed(tx, browser, trace)
            else:
                self._audit.record(tx, event)
        if cookie is None:
            raise InvalidCredentials("The password is wrong.")
        return cookie

    def renew(self, browser: Browser, *, trace: Trace) -> Cookie:
        """The same, after an act that has asked for the password itself. Raises InvalidToken."""
        with self._work(browser.tenant_id) as tx:
            return self._confirmed(tx, browser, trace)

    def _confirmed(self, tx: Transaction, browser: Browser, trace: Trace) -> Cookie:
        cookie = self.replace_cookie(tx, browser, proven_at=int(self._clock()))
        event = Event("session.confirmed", trace=trace, user_id=browser.user_id, session_id=browser.session_id)
        self._audit.record(tx, event)
        return cookie

    def replace_cookie(self, tx: Transaction, browser: Browser, *, proven_at: int) -> Cookie:
        """Step: the cookie that stands for the session from now on. Raises InvalidToken."""
        cookie, now = Cookie(browser.tenant_id, opaque.make(self._entropy)), int(self._clock())
        secret = cookie.secret
        digest = opaque.digest(secret.secret)
        if not rows.renew(tx, browser.id, secret.id, digest, proven_at=proven_at, now=now):
            raise InvalidToken(private="another request has renewed this browser's session, or it is gone")
        return cookie

    def add(self, tx: Transaction, begun: Begun) -> Cookie:
        """Step: the cookie that stands for a session that begins."""
        cookie = Cookie(begun.user.tenant_id, opaque.make(self._entropy))
        secret = cookie.secret
        rows.add(tx, begun.session_id, secret.id, opaque.digest(secret.secret), now=int(self._clock()))
        return cookie
