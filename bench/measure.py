"""Measures turn by turn, so that a noisy machine is noisy to everybody alike."""

import statistics
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Act = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report. `value` has to be at least, or at most, `target`."""

    name: str
    value: float
    target: float
    at_most: bool
    unit: str = "x"

    @property
    def is_met(self) -> bool:
        """Whether the target is reached."""
        return self.value <= self.target if self.at_most else self.value >= self.target


def seconds_each(acts: Mapping[str, Act], *, rounds: int, repeat: int = 1) -> dict[str, float]:
    """The median time of each act, in seconds. In each round every act takes its turn."""
    times: dict[str, list[float]] = {name: [] for name in acts}
    for _ in range(rounds):
        for name, act in acts.items():
            start = time.perf_counter()
            for _ in range(repeat):
                act()
            times[name].append((time.perf_counter() - start) / repeat)
    return {name: statistics.median(found) for name, found in times.items()}


def rates(acts: Mapping[str, Callable[[int], Act]], *, threads: int, seconds: float, rounds: int) -> dict[str, float]:
    """The median rate of each act per second, with all threads at it. Each thread gets an act of its own."""
    found: dict[str, list[float]] = {name: [] for name in acts}
    for _ in range(rounds):
        for name, make in acts.items():
            found[name].append(_rate([make(number) for number in range(threads)], seconds))
    return {name: statistics.median(values) for name, values in found.items()}


def _rate(acts: list[Act], seconds: float) -> float:
    counts = [0] * len(acts)
    start = threading.Barrier(len(acts) + 1)
    stop = threading.Event()

    def run(number: int) -> None:
        start.wait()
        while not stop.is_set():
            acts[number]()
            counts[number] += 1

    workers = [threading.Thread(target=run, args=(number,)) for number in range(len(acts))]
    for worker in workers:
        worker.start()
    start.wait()
    begun = time.perf_counter()
    stop.wait(seconds)
    stop.set()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.perf_counter() - begun)
