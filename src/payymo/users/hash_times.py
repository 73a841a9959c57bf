"""How long each kind of password hash takes on this machine, as it is loaded now. Pure, but for a lock.

A kind is a scheme with its parameters (`hashes.kind_of`). Rare kinds are judged by the frequent ones: what slows the
machine slows all.
"""

import threading
from collections import deque
from collections.abc import Iterable
from typing import Final

RECENT: Final = 50
SLOW: Final = 0.95
MIDDLE: Final = 0.5
ENOUGH: Final = 10
LEAST_TAIL: Final = 1.25
"""How much longer than the middle one the slow ones take, at least."""
ASSUMED_SECONDS: Final = 1.0
"""What a kind is taken to need of which nothing is known yet."""


class HashTimes:
    """What the recent verifications of each kind took. Thread-safe."""

    def __init__(self) -> None:
        self._recent: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def note(self, kind: str, seconds: float) -> None:
        """One verification has taken so long."""
        with self._lock:
            self._recent.setdefault(kind, deque(maxlen=RECENT)).append(seconds)

    def knows(self, kind: str) -> bool:
        """Whether any verification of this kind has been seen."""
        with self._lock:
            return kind in self._recent

    def slowest(self, kinds: Iterable[str], *, usual: str) -> float:
        """The seconds in which nearly all verifications of the slowest of these kinds are done, as of late.

        `usual`: the kind that is seen most; how far its slow ones lie from the middle goes for all.
        """
        with self._lock:
            seen = {kind: sorted(self._recent.get(kind, ())) for kind in (*kinds, usual)}
        common = seen[usual]
        tail = max(LEAST_TAIL, _share(common, SLOW) / _share(common, MIDDLE)) if len(common) >= ENOUGH else LEAST_TAIL
        return max(_nearly_all(seen[kind], tail) for kind in kinds)


def _nearly_all(seen: list[float], tail: float) -> float:
    return max(_share(seen, SLOW), _share(seen, MIDDLE) * tail) if seen else ASSUMED_SECONDS


def _share(ordered: list[float], share: float) -> float:
    return ordered[int(len(ordered) * share)]
