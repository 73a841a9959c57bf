"""Admits tries at passwords, and settles them: before the password is looked at, and after.

What an account can take is counted in the database, one locked row for each try, so that it holds over threads,
processes and nodes. Nobody existing behind an account makes no difference: the same statements run. When the database
does not answer, nobody is admitted (Unavailable).
"""

import uuid
from collections.abc import Callable, Sequence
from typing import Any

from payymo.attempts import device_rows, notice_rows, store
from payymo.attempts.model import (
    DEVICE_SECONDS,
    DEVICES_AT_MOST,
    TOKEN_BYTES,
    Attempt,
    GuessingPolicy,
    Notice,
    Origin,
    Refused,
    decide,
    digest,
    give_back,
    make_token,
    neighbourhood,
    succeed,
    write_tokens,
)
from payymo.audit.log import AuditLog
from payymo.clock import Clock
from payymo.db.work import Transaction, Work
from payymo.entropy import Entropy
from payymo.errors import TooManyRequests
from payymo.logs import Event, Trace

MINUTE_SECONDS = 60
PRUNED_AT_ONCE = 1000
Observe = Callable[[], None]
"""Hears of every try that is refused."""


class Attempts:
    """Tries at passwords. Without a policy all are admitted, and nothing is remembered."""

    def __init__(
        self, work: Work, clock: Clock, entropy: Entropy, *, policy: GuessingPolicy | None, audit: AuditLog
    ) -> None:
        self._work = work
        self._clock = clock
        self._entropy = entropy
        self._policy = policy
        self._audit = audit
        self._observers: list[Observe] = []

    def observe(self, observe: Observe) -> None:
        """Let somebody hear of every try that is refused from now on."""
        self._observers.append(observe)

    def admit(self, tenant_id: uuid.UUID, origin: Origin, *, trace: Trace) -> Attempt:
        """Count a login before the password is looked at. Raises TooManyRequests, Unavailable.

        From a device that is known for this account it is counted there alone, and strangers are in nobody's way.
        """
        policy = self._policy
        if policy is None:
            return Attempt(tenant_id, origin)
        with self._work(tenant_id) as tx:
            known, lost = self._admit_device(tx, origin, policy)
            attempt: Attempt | Refused
            if known is not None:
                attempt = Attempt(tenant_id, origin, device=known)
            else:
                suspected = self._suspect(tx, origin, policy)
                attempt = suspected or self._count(tx, tenant_id, origin, policy)
                if isinstance(attempt, Attempt) and attempt.waited:
                    self._audit.record(tx, Event("login.wait-over", trace=trace))
            if lost:
                self._audit.record(tx, Event("device.forgotten", "refused", trace=trace, reason="failures"))
        return self._admitted(attempt, policy)

    def admit_again(self, tenant_id: uuid.UUID, origin: Origin) -> Attempt:
        """Count a try of somebody who is logged in. Raises TooManyRequests, Unavailable."""
        if self._policy is None:
            return Attempt(tenant_id, origin)
        with self._work(tenant_id) as tx:
            attempt = self._count(tx, tenant_id, origin, self._policy)
        return self._admitted(attempt, self._policy)

    def failed(self, attempt: Attempt, *, trace: Trace) -> None:
        """The password was wrong. The account has counted it already; its network and its tenant do now."""
        policy, origin = self._policy, attempt.origin
        if policy is None or attempt.device is not None:
            return
        now, around, suspected = int(self._clock()), neighbourhood(origin.network), []
        with self._work(attempt.tenant_id) as tx:
            # First, because it holds the user: whoever erases them holds them, too, before they forget what was tried.
            user_id = None if attempt.began is None else notice_rows.note(tx, origin, attempt.began, now)
            is_new = store.count_failure(tx, origin.account, origin.network, around, now)
            store.count_minute(tx, now // MINUTE_SECONDS)
            tried = store.list_tried_around(
                tx, around, since=now - policy.network_seconds, count=policy.network_accounts + 1
            )
            if is_new and len(tried) == policy.network_accounts:
                suspected.append("network")
            if store.count_since(tx, _minutes_ago(now, policy))[0] == policy.tenant_failures:
                suspected.append("tenant")
            if attempt.began is not None:
                name = {"wait": "login.waits", "stop": "login.stopped"}[attempt.began]
                new = {"wait_seconds": policy.wait_after(attempt.counted)}
                reason = origin.reason
                self._audit.record(tx, Event(name, "refused", trace=trace, user_id=user_id, reason=reason, new=new))
            for reason in suspected:
                self._audit.record(tx, Event("login.stuffing", "refused", trace=trace, reason=reason))

    def give_back(self, attempt: Attempt) -> None:
        """The password was never looked at: the try does not count."""
        if self._policy is None:
            return
        with self._work(attempt.tenant_id) as tx:
            if attempt.device is not None:
                device_rows.give_back_device(tx, digest(attempt.device))
            elif attempt.counted:
                account, now = attempt.origin.account, int(self._clock())
                standing = store.lock_account(tx, account)
                left = give_back(standing, attempt.counted, now=now, policy=self._policy)
                store.save_account(tx, account, left)

    def succeeded(self, attempt: Attempt, user_id: uuid.UUID, session_id: uuid.UUID) -> str | None:
        """The password was right: take back what that proves, and know the device from now on.

        `session_id`: what it has begun. Answers the cookie for it; None: there is no policy.
        """
        policy, origin, now = self._policy, attempt.origin, int(self._clock())
        if policy is None:
            return None
        token = attempt.device or self._new_token()
        with self._work(attempt.tenant_id) as tx:
            self._save_device(tx, token, user_id, session_id, now)  # holds the user, whom an unlocking locks first, too
            _take_back(tx, attempt, now, policy)
        return write_tokens(token, origin.tokens)

    def proved(self, attempt: Attempt) -> None:
        """The password of somebody who is logged in was right, and stays what it is: take back what that proves."""
        if self._policy is None:
            return
        with self._work(attempt.tenant_id) as tx:
            _take_back(tx, attempt, int(self._clock()), self._policy)

    def remember(
        self,
        tenant_id: uuid.UUID,
        user_id: uuid.UUID,
        session_id: uuid.UUID,
        tokens: tuple[str, ...],
        *,
        unlocks: Sequence[str] = (),
    ) -> str | None:
        """Know the device of a user who has just proven themselves otherwise. Answers the cookie for it, or None.

        `unlocks`: accounts of theirs where earlier failures mean nothing any more.
        """
        if self._policy is None:
            return None
        token = self._new_token()
        with self._work(tenant_id) as tx:
            self._save_device(tx, token, user_id, session_id, int(self._clock()))
            if unlocks:
                self.unlock(tx, user_id, *unlocks)
        return write_tokens(token, tokens)

    def know(self, tx: Transaction, user_id: uuid.UUID, tokens: tuple[str, ...]) -> str | None:
        """Step: know the device of a locked user who opens a link from their mailbox. Answers the cookie, or None."""
        if self._policy is None:
            return None
        token, now = self._new_token(), int(self._clock())
        until = now + DEVICE_SECONDS
        device_rows.add_device(tx, digest(token), user_id, now=now, until=until, at_most=DEVICES_AT_MOST)
        return write_tokens(token, tokens)

    def knows(self, tenant_id: uuid.UUID, tokens: tuple[str, ...], email_key: str) -> bool:
        """Whether one of these devices is known for the account with this address. Raises Unavailable."""
        if self._policy is None or not tokens:
            return False
        with self._work.reading(tenant_id) as tx:
            digests = [digest(token) for token in tokens]
            return device_rows.find_device(tx, digests, email_key, int(self._clock())) is not None

    def unlock(self, tx: Transaction, user_id: uuid.UUID, *accounts: str) -> bool:
        """Step: admit tries at these accounts of a locked user again, as if none had failed. Whether any had."""
        notice_rows.forget_notices(tx, user_id)
        return store.forget_accounts(tx, accounts)

    def forget(self, tx: Transaction, *accounts: str) -> None:
        """Step: forget that these accounts were tried in vain, and from where."""
        store.forget_accounts(tx, accounts)
        store.forget_failures(tx, accounts)

    def list_failures(self, tx: Transaction, *accounts: str) -> list[dict[str, Any]]:
        """Step: from which networks these accounts were tried in vain, how often, and when last."""
        return store.list_failures(tx, accounts)

    def list_waits(self, tx: Transaction, *accounts: str) -> list[dict[str, Any]]:
        """Step: how often these accounts were tried in vain, and until when strangers wait there; null: for good."""
        return store.list_accounts(tx, accounts)

    def list_notices(self, tx: Transaction, user_id: uuid.UUID) -> list[dict[str, Any]]:
        """Step: what a user was to hear of within the last day: that somebody tries their password."""
        return notice_rows.list_of(tx, user_id)

    def list_devices(self, tx: Transaction, user_id: uuid.UUID) -> list[dict[str, Any]]:
        """Step: what is stored of the devices that a user has logged in from."""
        return device_rows.list_devices(tx, user_id)

    def makes_wait(self, tx: Transaction, account: str) -> bool:
        """Step: whether so many tries at this account were in vain that the next ones have to wait."""
        policy, standing = self._policy, store.find_account(tx, account)
        return policy is not None and policy.wait_after(standing.at(int(self._clock())).failures) > 0

    def list_untold(self, *, count: int) -> Sequence[Notice]:
        """What users have not heard of yet, the oldest first; `count` at most."""
        with self._work.platform(writes=False) as tx:
            return notice_rows.list_untold(tx, count=count)

    def take_notice(self, tx: Transaction, notice: Notice) -> int | None:
        """Step: the user is told now. Answers since when there is something to tell; None: somebody has told them."""
        return notice_rows.take_notice(tx, notice.user_id, notice.kind, int(self._clock()))

    def prune(self) -> int:
        """Forget one batch of what has run out. Answers how many rows; call until it is 0."""
        with self._work.platform() as tx:
            now = int(self._clock())
            return sum(rows.prune(tx, now, count=PRUNED_AT_ONCE) for rows in (store, device_rows, notice_rows))

    def _admitted(self, attempt: Attempt | Refused, policy: GuessingPolicy) -> Attempt:
        """Raises TooManyRequests: after the commit, so that what was counted stays counted."""
        if isinstance(attempt, Refused):
            for observe in self._observers:
                observe()
            raise TooManyRequests(
                attempt.retry_after, tier="lockout", limit=policy.failures, window_seconds=policy.longest_wait_seconds
            )
        return attempt

    def _admit_device(self, tx: Transaction, origin: Origin, policy: GuessingPolicy) -> tuple[str | None, bool]:
        """The token of the known device, with this try counted; and whether one has just used up its tries."""
        if not origin.tokens:
            return None, False
        named = {digest(token): token for token in origin.tokens}
        found = device_rows.find_device(tx, list(named), origin.email_key, int(self._clock()))
        if found is None:
            return None, False
        if device_rows.count_device(tx, found, at_most=policy.device_failures):
            return named[found], False
        return None, True

    def _suspect(self, tx: Transaction, origin: Origin, policy: GuessingPolicy) -> Refused | None:
        """Whether a stranger from there has to wait because many accounts are tried, from there or in the tenant."""
        now = int(self._clock())
        around, since = neighbourhood(origin.network), now - policy.network_seconds
        tried = store.list_tried_around(tx, around, since=since, count=policy.network_accounts)
        if 0 < policy.network_accounts <= len(tried):
            return Refused(tried[-1] + policy.network_seconds - now)
        count, first = store.count_since(tx, _minutes_ago(now, policy))
        if 0 < policy.tenant_failures <= count:
            return Refused(first * MINUTE_SECONDS + policy.tenant_seconds - now)
        return None

    def _count(
        self, tx: Transaction, tenant_id: uuid.UUID, origin: Origin, policy: GuessingPolicy
    ) -> Attempt | Refused:
        standing = store.lock_account(tx, origin.account)
        # Only now: whoever waited for the lock would decide by an older time than the one before them.
        decision = decide(standing, int(self._clock()), policy)
        if isinstance(decision, Refused):
            return decision
        store.save_account(tx, origin.account, decision.standing)
        counted, waited = decision.standing.failures, bool(standing.wait_until)
        return Attempt(tenant_id, origin, counted=counted, began=decision.began, waited=waited)

    def _save_device(self, tx: Transaction, token: str, user_id: uuid.UUID, session_id: uuid.UUID, now: int) -> None:
        until = now + DEVICE_SECONDS
        device_rows.save_device(tx, digest(token), user_id, session_id, now=now, until=until, at_most=DEVICES_AT_MOST)

    def _new_token(self) -> str:
        return make_token(self._entropy.bytes(TOKEN_BYTES))


def _take_back(tx: Transaction, attempt: Attempt, now: int, policy: GuessingPolicy) -> None:
    """Step: the try, and what the same network failed at this account before, count no more."""
    origin = attempt.origin
    standing = store.lock_account(tx, origin.account)
    own_failures = store.take_failures(tx, origin.account, origin.network, now)
    own_try = 1 if attempt.counted else 0
    left = succeed(standing, own_try=own_try, own_failures=own_failures, now=now, policy=policy)
    store.save_account(tx, origin.account, left)


def _minutes_ago(now: int, policy: GuessingPolicy) -> int:
    return (now - policy.tenant_seconds) // MINUTE_SECONDS
