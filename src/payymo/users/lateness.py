"""How often refusals take more than their budget, and the chance by which others take as long. Pure, but for a lock.

A budget covers nearly all verifications of a tenant's slowest kind of hash. One in a hundred takes longer, and its
refusal waits for a second budget to end. Whoever is never late is nobody, then, or somebody with a quicker hash: a few
hundred tries would tell. So the others are late as often, without a reason.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

RECENT: Final = 1_000
ASSUMED_LATE: Final = 1
ASSUMED_SEEN: Final = 50
"""What a foreign kind is taken to have done before it was seen: late once in fifty refusals."""
TWICE: Final = 2


class Lateness:
    """The budgets that recent refusals took, by the kind of hash that was verified for them. Thread-safe.

    `chance`: a number from 0 up to 1, another one each time. `usual`: today's kind, whose own lateness is all there is
    where a tenant has no other: then everybody is late as often anyway.
    """

    def __init__(self, usual: str, chance: Callable[[], float]) -> None:
        self._usual = usual
        self._chance = chance
        self._turns: dict[str, deque[int]] = {}
        self._lock = threading.Lock()

    def turns(self, own: str, turns: int, kinds: Iterable[str]) -> int:
        """How many budgets a refusal takes that needs `turns` of them, in a tenant with foreign `kinds` of hashes.

        `own`: the kind that was verified for it; empty where none was.
        """
        with self._lock:
            self._turns.setdefault(own, deque(maxlen=RECENT)).append(turns)
            latest = max(kinds, key=self._share, default=self._usual)
            theirs, ours = self._share(latest), self._share(own)
            if theirs <= ours or self._chance() >= (theirs - ours) / (1 - ours):
                return turns
            late = [taken for taken in self._turns.get(latest, ()) if taken > 1] or [TWICE]
        return max(turns, late[int(self._chance() * len(late))])

    def _share(self, kind: str) -> float:
        """Of the refusals of a kind, those that were late."""
        seen = self._turns.get(kind, ())
        late, count = sum(taken > 1 for taken in seen), len(seen)
        if kind not in {self._usual, ""}:
            late, count = late + ASSUMED_LATE, count + ASSUMED_SEEN
        return late / count if count else 0.0
