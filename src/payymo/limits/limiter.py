"""Spends limits by tier, per address, account or service credential; and what happens while the counters are away.

Always count first: a limit that is checked before and counted after lets parallel tries pass together. While the shared
counters don't answer, each process counts for itself against a share of every limit: never none (a flood could then
take the counters away first).
"""

import hashlib
import ipaddress
import math
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar, cast

from limits import RateLimitItem
from limits.storage import MemoryStorage, RedisStorage, SlidingWindowCounterSupport, Storage
from limits.strategies import SlidingWindowCounterRateLimiter

from payymo.clock import Clock
from payymo.errors import TooManyRequests
from payymo.limits.model import Counted, Tier
from payymo.limits.overrides import Overrides
from payymo.limits.storage import SqlStorage
from payymo.limits.usage import Usage

Strategy = SlidingWindowCounterRateLimiter
Key = tuple[str, ...]
T = TypeVar("T")
Observe = Callable[[Tier], None]
"""Hears of every try that is refused, by tier."""
PREFIX = "payymo/sliding-window-counter"
"""The strategy is part of every key: another strategy would read another kind of value under it and fail."""
RETRY_STORAGE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class LimitPolicy:
    """The limits of each tier; a tier without any is lifted."""

    tiers: Mapping[Tier, tuple[RateLimitItem, ...]]
    fallback_percent: int


@dataclass(frozen=True, slots=True)
class Quota:
    """What is left, for the headers of the answer. Times in seconds."""

    tier: str
    limit: int
    window_seconds: int
    remaining: int
    reset_seconds: int


class _Tried(NamedTuple):
    """What came of a try. `amount`: of the limit that it was counted against. `number`: its own, in its window.

    That is not how much is used up, which is part of the window before, too: who comes all the time uses as much at
    their first try as at their last, and none of them would be anybody's first.
    """

    has_passed: bool
    amount: int
    number: int
    remaining: int
    reset_seconds: int


def address_key(address: str) -> str:
    """Whom an address stands for: itself, or its /64, because one IPv6 user has 2^64 addresses."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.IPv6Network((parsed, 64), strict=False))
    return str(parsed)


def account_key(tenant_id: uuid.UUID, name: str) -> str:
    """Whom a login name stands for, without keeping the name. Existing or not makes no difference."""
    return _key_of(tenant_id.bytes + name.encode("utf-8", "replace"))


def known_key(tenant_id: uuid.UUID, name: str) -> str:
    """The same, for somebody who asks from a device that is known there. 0xFE is in no text in UTF-8 (RFC 3629 §3)."""
    return _key_of(tenant_id.bytes + b"\xfe" + name.encode("utf-8", "replace"))


def user_key(tenant_id: uuid.UUID, user_id: uuid.UUID) -> str:
    """What a user does who is logged in. No login name has this key: 0xFF is in no text in UTF-8 (RFC 3629 §3)."""
    return _key_of(tenant_id.bytes + b"\xff" + user_id.bytes)


def _key_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


class RateLimiter:
    """Counts tries. Thread-safe."""

    def __init__(
        self,
        storage: Storage | None,
        policy: LimitPolicy,
        clock: Clock,
        *,
        overrides: Overrides | None = None,
        usage: Usage | None = None,
        advise: Callable[[str], None] = lambda _detail: None,
    ) -> None:
        self._shared = None if storage is None else Strategy(storage)
        self._rows = storage if isinstance(storage, SqlStorage) else None
        self._server = storage if isinstance(storage, RedisStorage) else None
        self._failures: tuple[type[Exception], ...] = (OSError, ValueError)
        """A counter that somebody else wrote over can't be read as a number: no reason to answer 500, or to count."""
        if storage is not None:
            base = storage.base_exceptions
            self._failures += base if isinstance(base, tuple) else (base,)
        self._own = Strategy(MemoryStorage())
        self._policy = policy
        self._clock = clock
        self._overrides = overrides
        self._usage = usage
        self._advise = advise
        self._is_away = False
        """What was said last of the shared counters."""
        self._away_until = 0.0
        self._observers: list[Observe] = []
        self._lock = threading.Lock()

    @property
    def is_degraded(self) -> bool:
        """Whether the shared counters did not answer a moment ago."""
        return 0 < self._away_until - self._clock() <= RETRY_STORAGE_SECONDS  # also when the clock goes back

    def prune(self) -> int:
        """Forget a batch of counters that expired, where nobody else does. Answers how many; call until it is 0."""
        return 0 if self._rows is None else self._rows.prune()

    def close(self) -> None:
        """Give back what the counters hold on to."""
        if self._rows is not None:
            self._rows.close()

    def observe(self, observe: Observe) -> None:
        """Let somebody hear of every refusal from now on."""
        self._observers.append(observe)

    def spend(
        self,
        tier: Tier,
        scope: Counted,
        who: str,
        *,
        tenant: Callable[[], uuid.UUID | None] = lambda: None,
        service: str | None = None,
    ) -> Quota | None:
        """Count one try. Answers what is left of the tier's shortest limit, or None when the tier is lifted.

        `tenant`: asked for when a tenant has limits of its own. `service`: the name of the credential. Raises
        TooManyRequests.
        """
        tightest: Quota | None = None
        items, key = self._limits_of(tier, scope, who, tenant, service)
        for item in items:
            tried = self._run(_count, item, key)
            quota = Quota(tier, tried.amount, item.get_expiry(), tried.remaining, tried.reset_seconds)
            self._record(tier, scope, item, tried)
            if not tried.has_passed:
                for observe in self._observers:
                    observe(tier)
                raise TooManyRequests(
                    quota.reset_seconds, tier=tier, limit=quota.limit, window_seconds=quota.window_seconds
                )
            if tightest is None or quota.remaining < tightest.remaining:
                tightest = quota
        return tightest

    def forgive(self, tiers: Iterable[Tier], scope: Counted, who: str, *, tenant_id: uuid.UUID | None = None) -> None:
        """Forget the tries of an account that has now proven itself. Never done for addresses."""
        for tier in tiers:
            items, key = self._limits_of(tier, scope, who, lambda: tenant_id, None)
            for item in items:
                self._run(_clear, item, key)

    def _limits_of(
        self, tier: Tier, scope: Counted, who: str, tenant: Callable[[], uuid.UUID | None], service: str | None
    ) -> tuple[Iterable[RateLimitItem], Key]:
        """What holds for them: their own limits, their tenant's, or the usual ones; and what they are counted by.

        A lifted tier, and limits that are switched off, stay so.
        """
        usual = self._policy.tiers.get(tier, ())
        key: Key = (PREFIX, tier, scope, who)
        if self._overrides is None or not usual:
            return usual, key
        own = None
        if service is not None:
            own = self._overrides.of_service(service, tier)
        elif scope == "address":
            own = self._overrides.of_address(who, tier)
        if own is None and self._overrides.are_for_tenants and (tenant_id := tenant()) is not None:
            own = self._overrides.of_tenant(tenant_id, tier)
            key = key if own is None else (*key, tenant_id.hex)  # what is done elsewhere is counted there
        return usual if own is None else own, key

    def _record(self, tier: Tier, scope: Counted, item: RateLimitItem, tried: _Tried) -> None:
        if self._usage is not None and tried.amount == item.amount:  # else the shared counters are away
            used = tried.number if tried.has_passed else None
            self._usage.record(tier, scope, amount=item.amount, window_seconds=item.get_expiry(), used=used)

    def _run(self, act: Callable[[Strategy, RateLimitItem, Key], T], item: RateLimitItem, key: Key) -> T:
        if self._shared is not None and not self.is_degraded:
            try:
                answer = act(self._shared, item, key)
            except self._failures as error:
                with self._lock:
                    self._away_until = self._clock() + RETRY_STORAGE_SECONDS
                self._let_go()
                share = self._policy.fallback_percent
                self._tell(
                    f"the shared counters fail ({type(error).__name__}): each process grants {share} %", away=True
                )
            else:
                self._tell("the shared counters answer again", away=False)
                return answer
        if self._shared is not None:
            item = type(item)(max(1, item.amount * self._policy.fallback_percent // 100), item.multiples)
        return act(self._own, item, key)

    def _let_go(self) -> None:
        """Connect anew next time: who takes no writes may have been the first until now, and its name be another's."""
        if self._server is not None:
            self._server.storage.connection_pool.disconnect(inuse_connections=False)

    def _tell(self, detail: str, *, away: bool) -> None:
        """Say so once: a wrong password is no outage that passes, and nobody would see that limits hold no more."""
        if self._is_away == away:
            return
        with self._lock:
            is_news, self._is_away = self._is_away != away, away
        if is_news:
            self._advise(detail)


def _count(strategy: Strategy, item: RateLimitItem, key: Key) -> _Tried:
    has_passed, seconds = strategy.hit(item, *key), item.get_expiry()
    counted = cast("SlidingWindowCounterSupport", strategy.storage).get_sliding_window(item.key_for(*key), seconds)
    previous, previous_ends_in, current, current_ends_in = counted
    used = math.floor(previous * previous_ends_in / seconds + current)
    waits: list[float] = []  # until one more of the window before has slid out of the count, or this window is over
    if previous:
        waits.append(previous_ends_in % (seconds / previous))
    if current:
        waits.append(current_ends_in % seconds)
    reset = min(max(1, math.ceil(min(waits, default=0))), seconds)
    return _Tried(has_passed, item.amount, current, max(0, item.amount - used), reset)


def _clear(strategy: Strategy, item: RateLimitItem, key: Key) -> None:
    strategy.clear(item, *key)
