"""Measures turn by turn, so that a noisy machine is noisy to everybody alike.

A figure is the median of what the rounds say, and each round compares only what was measured within it.
"""

import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Act = Callable[[], object]
Sample = Callable[[], float]
Rounds = dict[str, list[float]]


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure."""

    rounds: int
    slice_seconds: float
    few: int
    many: int
    rows: int
    operations: int


FULL = Effort(rounds=12, slice_seconds=1.0, few=1_000, many=1_000_000, rows=100_000, operations=10_000)
QUICK = Effort(rounds=3, slice_seconds=0.2, few=100, many=10_000, rows=1_000, operations=500)


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report. `value` has to be at least, or at most, `target`; without a target it is for the record.

    `parts` says what the figure was made of.
    """

    name: str
    value: float
    unit: Literal["x", "us", "ms", "s", "MB", "/s", ""] = "x"
    at_least: float | None = None
    at_most: float | None = None
    parts: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether the target is reached; None when there is none."""
        if self.at_least is not None:
            return self.value >= self.at_least
        return None if self.at_most is None else self.value <= self.at_most


def interleave(samples: Mapping[str, Sample], *, rounds: int) -> Rounds:
    """What each sample says in each round. Everybody has a turn per round, and the first place goes around.

    A round before the first is thrown away: caches, pools and connections fill in it.
    """
    names = list(samples)
    found: Rounds = {name: [] for name in names}
    for number in range(rounds + 1):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            value = samples[name]()
            if number:
                found[name].append(value)
    return found


def timed(act: Act, *, repeat: int = 1) -> Sample:
    """A sample: the seconds that the act takes."""

    def sample() -> float:
        start = time.perf_counter()
        for _ in range(repeat):
            act()
        return (time.perf_counter() - start) / repeat

    return sample


def rated(make: Callable[[], Act], *, threads: int, seconds: float) -> Sample:
    """A sample: how often per second the act gets done by that many threads. Each thread has an act of its own."""

    def sample() -> float:
        return _rate([make() for _ in range(threads)], seconds)

    return sample


def _rate(acts: Sequence[Act], seconds: float) -> float:
    counts = [0] * len(acts)
    failures: list[Exception] = []
    start = threading.Barrier(len(acts) + 1)
    stop = threading.Event()

    def run(number: int) -> None:
        start.wait()
        try:
            while not stop.is_set():
                acts[number]()
                counts[number] += 1
        except Exception as error:  # noqa: BLE001 - raised below, where somebody can see it
            failures.append(error)

    workers = [threading.Thread(target=run, args=(number,)) for number in range(len(acts))]
    for worker in workers:
        worker.start()
    start.wait()
    begun = time.perf_counter()
    stop.wait(seconds)
    stop.set()
    for worker in workers:
        worker.join()
    elapsed = time.perf_counter() - begun
    if failures:
        raise failures[0]
    return sum(counts) / elapsed


def ratio(found: Rounds, over: str, under: str) -> float:
    """The median of `over` by `under`, round by round."""
    return statistics.median(a / b for a, b in zip(found[over], found[under], strict=True))


def difference(found: Rounds, more: str, less: str) -> float:
    """The median of `more` less `less`, round by round."""
    return statistics.median(a - b for a, b in zip(found[more], found[less], strict=True))


def milliseconds(found: Rounds) -> str:
    """The median of each, when seconds were measured."""
    return ", ".join(f"{name} {statistics.median(values) * 1000:.2f} ms" for name, values in found.items())


def per_second(found: Rounds) -> str:
    """The median of each, when rates were measured."""
    return ", ".join(f"{name} {statistics.median(values):.0f}/s" for name, values in found.items())
