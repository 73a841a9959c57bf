"""What a metric is: name, kind, help, and labels whose values are a closed vocabulary. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

Kind = Literal["counter", "gauge", "histogram"]
Mode = Literal["livesum", "max", "mostrecent", "livemostrecent"]
"""What the values of several processes come to. live…: only of processes that are there."""
Vocabulary = frozenset[str]
OTHER: Final = "other"
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, float("inf"))
"""Upper bounds of the buckets, in seconds: a check takes one millisecond, a login fifty and more."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. `labels`: their vocabularies; None for what the operator has named."""

    name: str
    """As it is exported; a counter's ends with `_total`."""
    kind: Kind
    help: str
    labels: Mapping[str, Vocabulary | None] = field(default_factory=dict)
    mode: Mode = "livesum"
    starts_at_zero: bool = True
    """Whether every series is there from the beginning, so that its first increase is seen as one."""

    @property
    def base(self) -> str:
        """The name without `_total`, as OpenMetrics calls the family of a counter."""
        return self.name.removesuffix("_total")

    def told(self, values: tuple[str, ...]) -> tuple[str, ...]:
        """The values of the labels, in their order, each from its vocabulary."""
        known = zip(values, self.labels.values(), strict=True)
        return tuple(value if words is None or value in words else OTHER for value, words in known)
