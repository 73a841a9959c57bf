"""Gathers samples of two classes in turn, in an order that nobody can foresee.

Whatever drifts (heat, caches, other programs) drifts for both. Within each pair of samples a coin says who is first.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

Measure = Callable[[], int]
"""Does it once, and answers how many nanoseconds that took."""


@dataclass(slots=True)
class Samples:
    """Nanoseconds, class by class."""

    first: list[int] = field(default_factory=list)
    second: list[int] = field(default_factory=list)
    is_complete: bool = False


def gather(
    first: Measure,
    second: Measure,
    *,
    count: int,
    warm_up: int,
    toss: Callable[[], bool],
    tell: Callable[[Samples], None] = lambda _so_far: None,
    found: Samples | None = None,
) -> Samples:
    """`count` samples of each, after `warm_up` of each that are thrown away. `toss`: a fair coin.

    `found`: samples from before, which count. Who interrupts it (Ctrl-C) gets what there is.
    """
    found = Samples() if found is None else found
    before = len(found.first)
    try:
        for number in range(before - (warm_up if before < count else 0), count):
            swapped = toss()
            one = (second if swapped else first)()
            other = (first if swapped else second)()
            if number < before:
                continue
            found.first.append(other if swapped else one)
            found.second.append(one if swapped else other)
            tell(found)
    except KeyboardInterrupt:
        del found.first[len(found.second) :]  # it came between the two
        return found
    found.is_complete = True
    return found
