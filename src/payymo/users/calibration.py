"""Measures what Argon2id costs on this machine, and suggests parameters within OWASP's lines."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median
from typing import Final

from payymo.users.hashes import ARGON2_LINES, MAX_ARGON2_ITERATIONS, MAX_ARGON2_KIB, Argon2Cost

ROUNDS: Final = 3
_PASSWORD: Final = "a password to be measured"  # noqa: S105 - nobody's
_GROWTH: Final = 5 / 4
"""From one step of the ladder to the next: finer than what two measurements of the same differ by."""


@dataclass(frozen=True, slots=True)
class Measured:
    """How long one hash takes while every core computes one."""

    cost: Argon2Cost
    seconds: float


def calibrate(
    measure: Callable[[Argon2Cost], float], *, target_seconds: float, memory_kib: int, told: Callable[[Measured], None]
) -> tuple[Measured, bool]:
    """The dearest cost within the target, and whether there is one; otherwise the cheapest that OWASP allows.

    `memory_kib`: what one hash may take. `told` hears of each measurement. Raises ValueError: that is too little.
    """
    best = None
    for cost in _ladder(memory_kib):
        found = Measured(cost, measure(cost))
        told(found)
        if found.seconds > target_seconds:
            return best or found, best is not None
        best = found
    if best is None:
        raise ValueError(f"{memory_kib} KiB for a hash: OWASP's lines begin at {min(ARGON2_LINES.values())} KiB")
    return best, True


def _ladder(memory_kib: int) -> Iterator[Argon2Cost]:
    """Costs that grow: memory first, which hurts guessers most, then iterations. Within this memory for each hash."""
    most = min(memory_kib, MAX_ARGON2_KIB)
    within = [line for line in ARGON2_LINES.items() if line[1] <= most and line[0] > 1]
    if not within:
        return
    iterations, memory = min(within)
    while memory < most:
        yield Argon2Cost(memory, iterations)
        memory = min(most, int(memory * _GROWTH))
    for passes in range(iterations, MAX_ARGON2_ITERATIONS + 1):
        yield Argon2Cost(most, passes)


def stopwatch(cores: int, timer: Callable[[], float]) -> Callable[[Argon2Cost], float]:
    """What measures: the median, in seconds, while as many hashes run at once as there are cores."""

    def measure(cost: Argon2Cost) -> float:
        def once(_: int) -> float:
            begun = timer()
            cost.hash(_PASSWORD)
            return timer() - begun

        with ThreadPoolExecutor(cores) as pool:
            return median(pool.map(once, range(cores * ROUNDS)))

    return measure
