"""How long a refused login has to take, so that nobody's time is told from anybody's.

A dummy hash makes nobody as slow as somebody whose hash is of today's kind, and refusals that wait for the same moment
hide what is left between the two. Users who were imported have hashes of other kinds until they log in, and many never
do. Where a tenant has any, every refusal waits for the slowest of them, and is late as often as theirs are.
"""

import math
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from payymo.db.work import Work
from payymo.entropy import Entropy
from payymo.errors import Overloaded
from payymo.users import store
from payymo.users.hashes import kind_of
from payymo.users.lateness import Lateness
from payymo.users.passwords import Passwords

LOOK_SECONDS: Final = 30.0
"""How long a tenant may have had hashes of another kind before anybody waits for them; and how old times get."""
TENANTS: Final = 1_000
KINDS: Final = 200
"""A site of many years, whose framework has asked for more iterations in each of its versions, has dozens."""
TIMED_AT_ONCE: Final = 20
STEP_SECONDS: Final = 0.025
"""Budgets are multiples of this, so that they are the same from one request to the next."""
REST_SECONDS: Final = 0.010
"""What a login needs beside the hash."""
MARGIN: Final = 1.1


@dataclass(slots=True)
class _Kinds:
    """One hash of each kind that a tenant has beside today's, as of a moment. Whoever has `lock` may look again."""

    samples: tuple[str, ...] = ()
    at: float = -math.inf
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, slots=True)
class Budget:
    """What a refusal has to take: whole budgets of so many seconds, and how many instead of those that it needs."""

    seconds: float
    turns: Callable[[int], int] = lambda needed: needed


class Budgets:
    """The budget of each tenant. Thread-safe."""

    def __init__(
        self, work: Work, passwords: Passwords, entropy: Entropy, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._work = work
        self._passwords = passwords
        self._clock = clock
        self._lateness = Lateness(passwords.cost.kind, lambda: int.from_bytes(entropy.bytes(6)) / 2**48)
        self._found: dict[uuid.UUID, _Kinds] = {}
        self._lock = threading.Lock()

    def of(self, tenant_id: uuid.UUID, began: float) -> Budget:
        """The budget of a refusal in this tenant. Its thread works for it since `began`, a monotonic moment."""
        own = self._passwords.kind_since(began)  # before others are measured here
        kinds = tuple(kind_of(stored) for stored in self._samples(tenant_id))
        return Budget(self._seconds(kinds), lambda needed: self._lateness.turns(own, needed, kinds))

    def _seconds(self, foreign: Sequence[str]) -> float:
        usual = self._passwords.cost.kind
        if not self._passwords.times.knows(usual):  # the first refusal of a process, of what was not looked at
            self._measure(self._passwords.cost.dummy)
        needed = self._passwords.times.slowest([usual, *foreign], usual=usual) * MARGIN + REST_SECONDS
        return math.ceil(needed / STEP_SECONDS) * STEP_SECONDS

    def _samples(self, tenant_id: uuid.UUID) -> tuple[str, ...]:
        """Who comes while somebody looks waits for what is found. Nobody waits for others' measuring: that is slow."""
        kinds = self._kinds(tenant_id)
        with kinds.lock:
            now = self._clock()
            if 0 <= now - kinds.at < LOOK_SECONDS:
                return kinds.samples
            samples = kinds.samples = self._look(tenant_id)
            kinds.at = now
        for stored in self._slowest(samples):
            self._measure(stored)
        return samples

    def _kinds(self, tenant_id: uuid.UUID) -> _Kinds:
        with self._lock:
            if tenant_id not in self._found and len(self._found) >= TENANTS:
                self._found.clear()
            return self._found.setdefault(tenant_id, _Kinds())

    def _look(self, tenant_id: uuid.UUID) -> tuple[str, ...]:
        samples: list[str] = []
        kind = ""
        with self._work.reading(tenant_id) as tx:
            while len(samples) < KINDS and (found := store.find_hash_of_next_kind(tx, kind)) is not None:
                kind, stored = found
                if kind != self._passwords.cost.kind:
                    samples.append(stored)
        return tuple(samples)

    def _slowest(self, samples: Sequence[str]) -> Sequence[str]:
        """Those that are timed again. What was never timed is taken to be slow, and so is among them."""
        usual, times = self._passwords.cost.kind, self._passwords.times
        return sorted(samples, key=lambda one: times.slowest([kind_of(one)], usual=usual), reverse=True)[:TIMED_AT_ONCE]

    def _measure(self, stored: str) -> None:
        """A rare kind is timed whenever it is looked for: the sample is somebody's, and the password nobody's."""
        try:
            self._passwords.verify("", stored)
        except Overloaded:  # then it is assumed to be slow, until the next look
            return
