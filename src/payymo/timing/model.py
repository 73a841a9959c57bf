"""The verdict. Three words, and none of them is a promise beyond what was measured. Pure.

A difference that is certain may still be far too small to be of use to anybody: what counts is the bound. And where
the samples don't say, no verdict does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from payymo.timing.statistics import Interval, Score, examine

Verdict = Literal["leak", "no leak within the bound", "undecided"]
EVIDENCE: Final = 4.5
ALARM: Final = 10.0
ENOUGH: Final = 10_000
"""Samples per class from which evidence counts. An alarm always does."""
FEWEST: Final = 50
"""Samples per class below which nothing is said."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What the samples of two classes say. Differences in nanoseconds: how much slower the second one is."""

    verdict: Verdict
    samples: int
    shift: Interval | None
    strongest: Score | None

    @property
    def is_certain_difference(self) -> bool:
        """Whether the classes differ beyond doubt, however little."""
        return self.strongest is not None and _counts(self.strongest, self.samples)


def judge(first: Sequence[int], second: Sequence[int], *, bound: float) -> Finding:
    """The verdict on two classes, for a bound in nanoseconds.

    `leak`: a test that counts, whose difference lies wholly outside. `no leak within the bound`: the shift lies wholly
    inside, and so does the difference of every test that counts. Anything else is undecided.
    """
    samples = min(len(first), len(second))
    if samples < FEWEST:
        return Finding("undecided", samples, None, None)
    tests = examine(first, second)
    shift = tests[-1].difference
    counting = [test for test in tests if _counts(test, samples)]
    strongest = max(tests, key=lambda test: abs(test.value))
    verdict: Verdict = "undecided"
    if any(test.difference.is_beyond(bound) for test in counting):
        verdict = "leak"
    elif shift.is_within(bound) and all(test.difference.is_within(bound) for test in counting):
        verdict = "no leak within the bound"
    return Finding(verdict, samples, shift, strongest)


def _counts(test: Score, samples: int) -> bool:
    return abs(test.value) > (EVIDENCE if samples >= ENOUGH else ALARM)
