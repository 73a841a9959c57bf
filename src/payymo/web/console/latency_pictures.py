"""How long answers take, as bars on one scale. Pure.

What is known are buckets: a share of all answers took no longer than the bound of the one that it ends in. The scale is
logarithmic: a check takes a millisecond, a login fifty and more.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from payymo.web.console.charts import WIDTH
from payymo.web.console.figures import INFINITE, Buckets

SHARES: Final = (0.5, 0.95, 0.99)
MARKS: Final = (0.001, 0.01, 0.1, 1.0, 10.0)
_FROM, _TO = 0.0005, 20.0
"""The ends of the scale, in seconds. What took longer than any bound reaches to its end."""
_ROW: Final = 46
_TOP: Final = 8


@dataclass(frozen=True, slots=True)
class Spread:
    """A row: its name, how often, and within how many seconds half, 95 and 99 of a hundred were done.

    None: they took longer than any bound that is known.
    """

    name: str
    total: int
    half: float | None
    most: float | None
    nearly_all: float | None
    y: int
    half_width: float
    most_width: float
    nearly_all_width: float


@dataclass(frozen=True, slots=True)
class Mark:
    """A place on the scale."""

    seconds: float
    x: float


@dataclass(frozen=True, slots=True)
class Spreads:
    """Rows one below the other, over one scale."""

    rows: tuple[Spread, ...]
    marks: tuple[Mark, ...]
    height: int


def spreads(named: Iterable[tuple[str, Buckets]]) -> Spreads | None:
    """A row for each that was measured at all. None: none was."""
    known = [(name, found) for name, found in named if found.total]
    if not known:
        return None
    rows = tuple(_row(name, found, number * _ROW + _TOP) for number, (name, found) in enumerate(known))
    return Spreads(rows, tuple(Mark(at, _place(at)) for at in MARKS), len(rows) * _ROW + _TOP + 24)


def _row(name: str, found: Buckets, y: int) -> Spread:
    half, most, nearly_all = (found.within(share) for share in SHARES)
    widths = _place(half), _place(most), _place(nearly_all)
    return Spread(name, found.total, _told(half), _told(most), _told(nearly_all), y, *widths)


def _told(seconds: float) -> float | None:
    return None if seconds == INFINITE else seconds


def _place(seconds: float) -> float:
    share = math.log(min(max(seconds, _FROM), _TO) / _FROM) / math.log(_TO / _FROM)
    return float(WIDTH) if seconds == INFINITE else round(share * WIDTH, 1)
