"""How often refusals take more than their budget, and the chance by which others take as long. Pure, but for a lock.

A budget covers nearly all verifications of a tenant's slowest kind of hash. One in a hundred takes longer, and its
refusal waits for a second budget to end. Whoever is never late is nobody, then, or somebody with a quicker hash: a few
hundred tries would tell. So the others are late as often, without a reason.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias

Kinds: TypeAlias = tuple[str, ...]
"""The foreign kinds of hashes that a tenant has."""
RECENT: Final = 1_000
ASSUMED_LATE: Final = 1
ASSUMED_SEEN: Final = 50
"""What a foreign kind is taken to have done before it was seen: late once in fifty refusals."""
ENOUGH: Final = 200
"""Refusals of a kind after which nothing is assumed of it any more."""
TWICE: Final = 2


class _Seen:
    """The latest refusals of a kind: the budgets that each of the late ones took, by its number."""

    def __init__(self) -> None:
        self.count = 0
        self.late: deque[tuple[int, int]] = deque()

    def add(self, turns: int) -> None:
        self.count += 1
        if turns > 1:
            self.late.append((self.count, turns))
        while self.late and self.late[0][0] <= self.count - RECENT:
            self.late.popleft()


_UNSEEN: Final = _Seen()


class Lateness:
    """The budgets that recent refusals took, by the kind of hash that was verified for them. Thread-safe.

    `chance`: a number from 0 up to 1, another one each time. `usual`: today's kind, whose own lateness is all there is
    where a tenant has no other: then everybody is late as often anyway.
    """

    def __init__(self, usual: str, chance: Callable[[], float]) -> None:
        self._usual = usual
        self._chance = chance
        self._seen: dict[tuple[Kinds, str], _Seen] = {}
        self._lock = threading.Lock()

    def turns(self, own: str, turns: int, kinds: Kinds) -> int:
        """How many budgets a refusal takes that needs `turns` of them, in a tenant with foreign `kinds` of hashes.

        `own`: the kind that was verified for it; empty where none was.
        """
        with self._lock:
            self._seen.setdefault((kinds, own), _Seen()).add(turns)
            theirs, latest = max((self._share(kinds, kind), kind) for kind in (self._usual, *kinds))
            ours = self._share(kinds, own)
            if theirs <= ours or self._chance() >= (theirs - ours) / (1 - ours):
                return turns
            seen = self._seen.get((kinds, latest), _UNSEEN)
            taken = seen.late[int(self._chance() * len(seen.late))][1] if seen.late else TWICE
        return max(turns, taken)

    def _share(self, kinds: Kinds, kind: str) -> float:
        """Of the refusals of a kind, those that were late, where there are such kinds: the budget goes by them."""
        seen = self._seen.get((kinds, kind), _UNSEEN)
        late, count = len(seen.late), min(seen.count, RECENT)
        if kind not in {self._usual, ""} and count < ENOUGH:
            late, count = late + ASSUMED_LATE, count + ASSUMED_SEEN
        return late / count if count else 0.0
