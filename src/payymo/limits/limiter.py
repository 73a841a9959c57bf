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
from typing import Literal, TypeVar

from limits import RateLimitItem, parse_many
from limits.storage import MemoryStorage, Storage
from limits.strategies import SlidingWindowCounterRateLimiter

from payymo.clock import Clock
from payymo.errors import TooManyRequests

Tier = Literal["login", "refresh", "verify", "registration", "default", "service"]
Strategy = SlidingWindowCounterRateLimiter
Key = tuple[str, ...]
T = TypeVar("T")
Counted = Literal["address", "account", "credential"]
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


def parse_limits(text: str) -> tuple[RateLimitItem, ...]:
    """The limits that `5/hour;20/day` stands for; none for an empty text."""
    return tuple(parse_many(text)) if text else ()


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
    return hashlib.sha256(tenant_id.bytes + name.encode("utf-8", "replace")).hexdigest()[:32]


class RateLimiter:
    """Counts tries. Thread-safe."""

    def __init__(self, storage: Storage | None, policy: LimitPolicy, clock: Clock) -> None:
        self._shared = None if storage is None else Strategy(storage)
        self._failures: tuple[type[Exception], ...] = (OSError, ValueError)
        """A counter that somebody else wrote over can't be read as a number: no reason to answer 500, or to count."""
        if storage is not None:
            base = storage.base_exceptions
            self._failures += base if isinstance(base, tuple) else (base,)
        self._own = Strategy(MemoryStorage())
        self._policy = policy
        self._clock = clock
        self._away_until = 0.0
        self._lock = threading.Lock()

    @property
    def is_degraded(self) -> bool:
        """Whether the shared counters did not answer a moment ago."""
        return 0 < self._away_until - self._clock() <= RETRY_STORAGE_SECONDS  # also when the clock goes back

    def spend(self, tier: Tier, scope: Counted, who: str) -> Quota | None:
        """Count one try. Answers what is left of the tier's shortest limit, or None when the tier is lifted.

        Raises TooManyRequests.
        """
        tightest: Quota | None = None
        for item in self._policy.tiers.get(tier, ()):
            passed, quota = self._hit(tier, item, (PREFIX, tier, scope, who))
            if not passed:
                raise TooManyRequests(
                    quota.reset_seconds, tier=tier, limit=quota.limit, window_seconds=quota.window_seconds
                )
            if tightest is None or quota.remaining < tightest.remaining:
                tightest = quota
        return tightest

    def forgive(self, tiers: Iterable[Tier], scope: Counted, who: str) -> None:
        """Forget the tries of an account that has now proven itself. Never done for addresses."""
        for tier in tiers:
            for item in self._policy.tiers.get(tier, ()):
                self._run(_clear, item, (PREFIX, tier, scope, who))

    def _hit(self, tier: Tier, item: RateLimitItem, key: Key) -> tuple[bool, Quota]:
        passed, amount, remaining, reset_time = self._run(_count, item, key)
        reset = min(max(1, math.ceil(reset_time - self._clock())), item.get_expiry())
        return passed, Quota(tier, amount, item.get_expiry(), max(0, remaining), reset)

    def _run(self, act: Callable[[Strategy, RateLimitItem, Key], T], item: RateLimitItem, key: Key) -> T:
        if self._shared is not None and not self.is_degraded:
            try:
                return act(self._shared, item, key)
            except self._failures:
                with self._lock:
                    self._away_until = self._clock() + RETRY_STORAGE_SECONDS
        if self._shared is not None:
            item = type(item)(max(1, item.amount * self._policy.fallback_percent // 100), item.multiples)
        return act(self._own, item, key)


def _count(strategy: Strategy, item: RateLimitItem, key: Key) -> tuple[bool, int, int, float]:
    passed = strategy.hit(item, *key)
    stats = strategy.get_window_stats(item, *key)
    return passed, item.amount, stats.remaining, stats.reset_time


def _clear(strategy: Strategy, item: RateLimitItem, key: Key) -> None:
    strategy.clear(item, *key)
