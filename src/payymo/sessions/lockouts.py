"""Tells users that somebody tries their password, and forgets what was tried.

Telling is a duty, so that a failed login takes the same time for somebody and for nobody.
"""

import uuid
from typing import Final

from payymo.attempts.model import Notice
from payymo.attempts.service import Attempts
from payymo.audit.log import AuditLog
from payymo.db.work import Transaction, Work
from payymo.errors import InvalidLink, PayymoError, Unavailable
from payymo.limits.limiter import account_key, user_key
from payymo.links.service import Links
from payymo.logs import BY_ITSELF, Event, Outcome, Trace
from payymo.mail.model import Kind, Message
from payymo.mail.outbox import Outbox
from payymo.sessions.redeeming import redeem
from payymo.users.model import User, counted_name
from payymo.users.service import Users

AT_ONCE: Final = 100
LETTERS: Final[dict[str, Kind]] = {"wait": "password-tried", "stop": "account-locked"}


class Lockouts:
    """Guesses at the passwords of users, as far as it is known whose they are."""

    def __init__(
        self, work: Work, *, attempts: Attempts, users: Users, links: Links, outbox: Outbox, audit: AuditLog
    ) -> None:
        self._work = work
        self._attempts = attempts
        self._users = users
        self._links = links
        self._outbox = outbox
        self._audit = audit

    def unlock(self, tx: Transaction, user_id: uuid.UUID) -> None:
        """Step: admit logins of a user, and changes of their password, as if none had failed. Raises NotFound.

        For whoever may say so; and whenever the password has changed, for what was tried was tried at another one.
        """
        user = self._users.get_in(tx, user_id)
        own = account_key(user.tenant_id, counted_name(user.email)), user_key(user.tenant_id, user_id)
        self._attempts.unlock(tx, user_id, *own)

    def leave_address(self, tx: Transaction, user: User) -> None:
        """Step: forget what was tried at an address that a user has no more, and from where.

        It may be somebody else's next: they would wait for it, and be handed out where its last owner mistyped.
        """
        self._attempts.forget(tx, account_key(user.tenant_id, counted_name(user.email)))

    def know(self, tx: Transaction, user_id: uuid.UUID, devices: tuple[str, ...]) -> str | None:
        """Step: know the browser in which a locked user has opened a link, so that strangers' tries keep nobody out.

        Before what was tried is forgotten, as logins do. `devices`: what its cookie says already. Answers the cookie
        that it is to have; None: it needs none.
        """
        return self._attempts.know(tx, user_id, devices)

    def unlock_by_link(
        self, tenant_id: uuid.UUID, token: str, *, devices: tuple[str, ...] = (), trace: Trace
    ) -> str | None:
        """Admit logins of the user again who was sent this link. Nobody is logged in by it.

        Answers the cookie by which the browser is known from now on (see `know`). Raises InvalidLink.
        """
        cookie: str | None = None
        with self._work(tenant_id) as tx:
            done = redeem(tx, self._links, self._users, token, "unlock")
            if done is not None:
                cookie = self.know(tx, done[0].user.id, devices)
                self.unlock(tx, done[0].user.id)
            user_id = None if done is None else done[0].user.id
            outcome: Outcome = "refused" if done is None else "success"
            self._audit.record(tx, Event("user.unlocked", outcome, trace=trace, user_id=user_id, reason="by-mail"))
        if done is None:
            raise InvalidLink
        return cookie

    def tell_due(self) -> int:
        """Have a letter sent to each user who has not heard of it, and answer how many. Safe to do in parallel.

        A letter that can't be written, as in a tenant whose data key somebody has changed, keeps nobody elsewhere from
        theirs. Raises, in the end, what the first of these has raised; Unavailable at once.
        """
        told, failures = 0, list[PayymoError]()
        for notice in self._attempts.list_untold(count=AT_ONCE):
            try:
                told += self._tell(notice)
            except Unavailable:
                raise
            except PayymoError as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return told

    def _tell(self, notice: Notice) -> bool:
        with self._work(notice.tenant_id) as tx:
            account = self._users.lock_account(tx, notice.user_id)  # first, as whoever unlocks them does
            since = self._attempts.take_notice(tx, notice)
            if account is None or since is None:  # another process has told them, or an unlocking made it old news
                return False
            user, facts = account.user, {"when": str(since)}
            if self._attempts.makes_wait(tx, user_key(user.tenant_id, user.id)):
                facts["inside"] = "yes"
            if notice.kind == "stop" and account.may_act:
                facts |= self._links.issue(tx, "unlock", user.id, bound_to=account.binding).facts
            letter = Message(LETTERS[notice.kind], user.email, facts, user_id=user.id, language=user.language)
            self._outbox.put(tx, letter)
            self._audit.record(tx, Event("login.told", trace=BY_ITSELF, user_id=user.id, reason=notice.kind))
        return True
