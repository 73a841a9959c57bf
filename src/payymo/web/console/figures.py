"""What a node has measured of itself, as pages are told it: distributions in buckets. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

INFINITE = float("inf")


@dataclass(frozen=True, slots=True)
class Buckets:
    """How often something took how long. `counts`: by the upper bound in seconds, not accumulated."""

    counts: Mapping[float, float]

    @property
    def total(self) -> int:
        """How often altogether."""
        return round(sum(self.counts.values()))

    def within(self, share: float) -> float:
        """What this share of all took at most, in seconds: the upper bound of the bucket that it ends in.

        Infinite: longer than the last bound. Raises ValueError: nothing was measured.
        """
        if not self.total:
            raise ValueError("nothing was measured")
        wanted, seen = share * sum(self.counts.values()), 0.0
        for bound in sorted(self.counts):
            seen += self.counts[bound]
            if seen >= wanted and seen:
                return bound
        return INFINITE


def together(parts: Iterable[Buckets]) -> Buckets:
    """All of them as one."""
    sums: dict[float, float] = {}
    for part in parts:
        for bound, count in part.counts.items():
            sums[bound] = sums.get(bound, 0.0) + count
    return Buckets(sums)


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything since `since`, when the node was started, in seconds since 1970; of all of its processes."""

    since: float
    requests: Mapping[tuple[str, str], Buckets]
    """How long answers took, by the template of the route and the method."""
    deliveries: Buckets
    """How long followers who waited had to wait for a revocation."""


Measured = Callable[[], Figures | None]
"""The figures as they are now; None: they can't be read."""
