"""Geometry of the pictures: where bars and spans go. Pure; the templates draw, and put a table beside each.

Lengths are in units of the picture, which is `WIDTH` wide; times are seconds since 1970.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

WIDTH: Final = 720
BARS_AT_MOST: Final = 30
_STEPS: Final = (1, 5, 15, 60, 300, 900, 3600, 3 * 3600, 6 * 3600, 86_400, 7 * 86_400, 30 * 86_400)
_UP: Final = 110
"""Height for bars together: above the axis, and below it."""
_TOP: Final = 20
_GAP: Final = 0.15
_ROW: Final = 34
_LABELS: Final = 150
Look = Literal["waits", "works", "ends"]
"""How a span is drawn: an outline, a full bar, a thin one."""


@dataclass(frozen=True, slots=True)
class Bar:
    """Some time, and what happened in it: good things above the axis, bad ones below."""

    begins_at: int
    good: int
    bad: int
    x: float
    width: float
    up: float
    down: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """Bars beside one another. `axis`: where they stand."""

    bars: tuple[Bar, ...]
    step_seconds: int
    axis: float
    height: float


def histogram(moments: Sequence[tuple[float, bool]]) -> Histogram | None:
    """How much happened when. A moment comes with whether it was a good one. None: nothing happened."""
    if not moments:
        return None
    first, last = min(at for at, _ in moments), max(at for at, _ in moments)
    step = next((step for step in _STEPS if last // step - first // step < BARS_AT_MOST), None)
    step = step or math.ceil((last - first + 1) / (BARS_AT_MOST - 1))
    begin, count = int(first // step), int(last // step - first // step) + 1
    good, bad = [0] * count, [0] * count
    for at, is_good in moments:
        (good if is_good else bad)[int(at // step) - begin] += 1
    return columns(begin * step, step, list(zip(good, bad, strict=True)))


def columns(begins_at: int, step_seconds: int, counts: Sequence[tuple[int, int]]) -> Histogram | None:
    """Good and bad things of each step of time, one after the other. None: there were none."""
    most_good, most_bad = max(good for good, _ in counts), max(bad for _, bad in counts)
    if not most_good + most_bad:
        return None
    unit, width = _UP / (most_good + most_bad), WIDTH / max(len(counts), 8)
    bars = tuple(
        Bar(
            begins_at + number * step_seconds,
            good,
            bad,
            x=round(number * width, 1),
            width=round(width * (1 - _GAP), 1),
            up=round(good * unit, 1),
            down=round(bad * unit, 1),
        )
        for number, (good, bad) in enumerate(counts)
    )
    return Histogram(bars, step_seconds, round(_TOP + most_good * unit, 1), _TOP + _UP + 20)


@dataclass(frozen=True, slots=True)
class Span:
    """From when to when something was in a state. `name` is what it is called."""

    begins_at: float
    ends_at: float
    look: Look
    name: str


@dataclass(frozen=True, slots=True)
class Placed:
    """A span in the picture."""

    span: Span
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Lane:
    """A row of the picture: what it is of, and its spans."""

    label: str
    y: int
    spans: tuple[Placed, ...]


@dataclass(frozen=True, slots=True)
class Timeline:
    """Rows one below the other. `now`: where the present is."""

    lanes: tuple[Lane, ...]
    begins_at: float
    ends_at: float
    now: float
    height: int


def timeline(rows: Iterable[tuple[str, Sequence[Span]]], *, now: float) -> Timeline | None:
    """Spans along one scale of time, on which the present is, too. None: there is nothing to show."""
    named = [(label, tuple(spans)) for label, spans in rows]
    everything = [span for _, spans in named for span in spans]
    if not everything:
        return None
    begin = min(now, *(span.begins_at for span in everything))
    end = max(now, begin + 1, *(span.ends_at for span in everything))
    scale = (WIDTH - _LABELS - 10) / (end - begin)

    def place(at: float) -> float:
        return round(_LABELS + (at - begin) * scale, 1)

    lanes = tuple(
        Lane(
            label,
            number * _ROW + 30,
            tuple(
                Placed(span, place(span.begins_at), max(2.0, round((span.ends_at - span.begins_at) * scale, 1)))
                for span in spans
            ),
        )
        for number, (label, spans) in enumerate(named)
    )
    return Timeline(lanes, begin, end, place(now), len(lanes) * _ROW + 56)
