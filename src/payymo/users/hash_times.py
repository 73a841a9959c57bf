"""How long each kind of password hash takes on this machine, as it is loaded now. Pure, but for a lock.

A kind is a scheme with its parameters. Rare kinds are judged by the frequent ones: what slows the machine slows all.
"""

import re
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
_COST = re.compile(
    r"""
      (?:[a-z0-9_]+\$)?\$2[abxy]?\$\d\d\$                          # bcrypt, and as Django writes it
    | (?:argon2)?\$?argon2\w*\$(?:[a-z]+=[^$]*\$)*                 # PHC strings, and as Django writes them
    | \$[A-Za-z0-9_-]+\$(?:[a-z]+=[^$]*\$)*                        # any other PHC string
    | [A-Za-z0-9_-]+(?::[A-Za-z0-9-]+)*\$(?:\d{1,9}\$)*            # scrypt:32768:8:1$, pbkdf2_sha256$600000$
    """,
    re.VERBOSE,
)


def cost_of(stored: str) -> str:
    """The beginning of a hash that says what verifying it costs: scheme and parameters. Unknown forms: all of it."""
    found = _COST.match(stored)
    return found[0] if found else stored


class HashTimes:
    """What the recent verifications of each kind took. Thread-safe."""

    def __init__(self) -> None:
        self._recent: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def note(self, cost: str, seconds: float) -> None:
        """One verification has taken so long."""
        with self._lock:
            self._recent.setdefault(cost, deque(maxlen=RECENT)).append(seconds)

    def slowest(self, costs: Iterable[str], *, usual: str) -> float:
        """The seconds in which nearly all verifications of the slowest of these kinds are done, as of late.

        `usual`: the kind that is seen most; how far its slow ones lie from the middle goes for all.
        """
        with self._lock:
            seen = {cost: sorted(self._recent.get(cost, ())) for cost in (*costs, usual)}
        common = seen[usual]
        tail = max(LEAST_TAIL, _share(common, SLOW) / _share(common, MIDDLE)) if len(common) >= ENOUGH else LEAST_TAIL
        return max(_nearly_all(seen[cost], tail) for cost in costs)


def _nearly_all(seen: list[float], tail: float) -> float:
    return max(_share(seen, SLOW), _share(seen, MIDDLE) * tail) if seen else ASSUMED_SECONDS


def _share(ordered: list[float], share: float) -> float:
    return ordered[int(len(ordered) * share)]
