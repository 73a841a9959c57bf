"""The tests and estimates that a verdict rests on. Samples are whole nanoseconds, so that order statistics are exact.

Welch's t finds what shifts the mean, on cropped samples also below the noise of the slowest, on squares what changes
the spread (Reparaz, Balasch, Verbauwhede: "Dude, is my code constant time?", 2017). The mean of pairs hears of a few
that are much slower, the rank test asks nothing of the shape. The estimates by Hodges and Lehmann say how large a shift
is, and between which bounds it lies; those of pairs do not see what drifts for both classes.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

Z_99: Final = 2.5758293035489004
"""Of the standard normal distribution 99 % lie within ± this."""
CUT_OFFS: Final = (50, 75, 90, 95, 99)
"""Percentiles of both classes together. What is slower is left out: it is mostly the machine's own noise."""
SPREAD_CUT_OFF: Final = 95


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the bounds of its confidence interval, in nanoseconds: how much slower the second class is."""

    estimate: float
    low: float
    high: float

    def is_within(self, bound: float) -> bool:
        """Whether all of it lies within ± `bound`."""
        return -bound <= self.low and self.high <= bound

    def is_beyond(self, bound: float) -> bool:
        """Whether all of it lies outside, on one side."""
        return self.low > bound or self.high < -bound


@dataclass(frozen=True, slots=True)
class Score:
    """What one test says: how many standard errors the classes lie apart, and how much that is."""

    name: str
    value: float
    difference: Interval


def welch(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """Welch's t and its degrees of freedom (Welch 1947); positive when the second class is greater."""
    error_1, error_2 = (_variance(one) / len(one) for one in (first, second))
    apart = _mean(second) - _mean(first)
    if error_1 + error_2 == 0:
        return (math.copysign(math.inf, apart) if apart else 0.0), float(len(first) + len(second) - 2)
    freedom = (error_1 + error_2) ** 2 / (error_1**2 / (len(first) - 1) + error_2**2 / (len(second) - 1))
    return apart / math.sqrt(error_1 + error_2), freedom


def rank_sum(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """Mann and Whitney's U of the second class, and its standard score with the correction for ties."""
    n, m = len(first), len(second)
    merged = sorted([(value, 0) for value in first] + [(value, 1) for value in second])
    ranks, ties, start = 0.0, 0, 0
    while start < n + m:
        end = start
        while end < n + m and merged[end][0] == merged[start][0]:
            end += 1
        of_second = sum(which for _, which in merged[start:end])
        ranks += of_second * (start + 1 + end) / 2
        ties += (end - start) ** 3 - (end - start)
        start = end
    u = ranks - m * (m + 1) / 2
    variance = n * m / 12 * (n + m + 1 - ties / ((n + m) * (n + m - 1)))
    return u, 0.0 if variance == 0 else (u - n * m / 2) / math.sqrt(variance)


def shift(first: Sequence[int], second: Sequence[int], *, z: float = Z_99) -> Interval:
    """How much slower the second class is: the median of all differences, with the interval that ranks give it.

    (Hodges and Lehmann 1963; Hollander and Wolfe, "Nonparametric Statistical Methods", §4.3, large samples.)
    """
    a, b = sorted(first), sorted(second)
    n, m = len(a), len(b)
    aside = round(n * m / 2 - z * math.sqrt(n * m * (n + m + 1) / 12))
    middle = _nth_difference(a, b, (n * m + 1) // 2), _nth_difference(a, b, n * m // 2 + 1)
    lower, upper = max(aside, 1), min(n * m - aside + 1, n * m)
    return Interval(sum(middle) / 2, _nth_difference(a, b, lower), _nth_difference(a, b, upper))


def signed_rank(first: Sequence[int], second: Sequence[int]) -> tuple[float, float]:
    """Wilcoxon's T+ of the pairs, and its standard score with the correction for ties; positive: the second is greater.

    Pairs without a difference are left out. (Hollander and Wolfe §3.1, large samples.)
    """
    apart = sorted((b - a for a, b in zip(first, second, strict=True) if a != b), key=abs)
    ranks, ties, start = 0.0, 0, 0
    for _, equals in groupby(apart, key=abs):
        group = list(equals)
        ranks += sum(value > 0 for value in group) * (2 * start + 1 + len(group)) / 2
        ties += len(group) ** 3 - len(group)
        start += len(group)
    n = len(apart)
    variance = (n * (n + 1) * (2 * n + 1) - ties / 2) / 24
    return ranks, 0.0 if variance == 0 else (ranks - n * (n + 1) / 4) / math.sqrt(variance)


def paired_shift(first: Sequence[int], second: Sequence[int], *, z: float = Z_99) -> Interval:
    """How much slower the second of a pair is: the median of the means of any two differences, with its interval.

    (Hollander and Wolfe §3.2 and §3.3, large samples.)
    """
    apart = sorted(b - a for a, b in zip(first, second, strict=True))
    n = len(apart)
    count = n * (n + 1) // 2
    aside = round(n * (n + 1) / 4 - z * math.sqrt(n * (n + 1) * (2 * n + 1) / 24))
    middle = _nth_sum(apart, (count + 1) // 2), _nth_sum(apart, count // 2 + 1)
    lower, upper = max(aside, 1), min(count - aside + 1, count)
    return Interval(sum(middle) / 4, _nth_sum(apart, lower) / 2, _nth_sum(apart, upper) / 2)


def examine(first: Sequence[int], second: Sequence[int]) -> tuple[Score, ...]:
    """Every test of two classes: of means and of the spread, raw and cropped; of pairs; and last, of ranks in them."""
    pooled = sorted([*first, *second])
    found = [_means("mean", first, second)]
    for percent in CUT_OFFS:
        cropped = _cropped(pooled, percent, first, second)
        if cropped is not None:
            found.append(_means(f"mean below {percent} %", *cropped))
    found.append(_spreads("spread", first, second))
    cropped = _cropped(pooled, SPREAD_CUT_OFF, first, second)
    if cropped is not None:
        found.append(_spreads(f"spread below {SPREAD_CUT_OFF} %", *cropped))
    _, score = rank_sum(first, second)
    _, paired = signed_rank(first, second)
    return (
        *found,
        _mean_of_pairs(first, second),
        Score("ranks", score, shift(first, second)),
        Score("pairs", paired, paired_shift(first, second)),
    )


def _means(name: str, first: Sequence[float], second: Sequence[float]) -> Score:
    t, _ = welch(first, second)
    apart = _mean(second) - _mean(first)
    margin = Z_99 * math.sqrt(sum(_variance(one) / len(one) for one in (first, second)))
    return Score(name, t, Interval(apart, apart - margin, apart + margin))


def _mean_of_pairs(first: Sequence[int], second: Sequence[int]) -> Score:
    """Student's t of the differences. It hears of a few that are much slower where both drift by more than that."""
    apart = [b - a for a, b in zip(first, second, strict=True)]
    mean, error = _mean(apart), math.sqrt(_variance(apart) / len(apart))
    value = mean / error if error else math.copysign(math.inf, mean) if mean else 0.0
    return Score("mean of pairs", value, Interval(mean, mean - Z_99 * error, mean + Z_99 * error))


def _spreads(name: str, first: Sequence[float], second: Sequence[float]) -> Score:
    """On the squares of what is left without the mean. The difference is one of standard deviations."""
    squares = [[(value - mean) ** 2 for value in one] for one in (first, second) for mean in [_mean(one)]]
    of_variances = _means(name, *squares)
    deviations = [math.sqrt(_mean(one)) for one in squares]
    scale = sum(deviations)  # a² - b² = (a - b)(a + b)
    if scale == 0:
        return Score(name, 0.0, Interval(0.0, 0.0, 0.0))
    found = of_variances.difference
    return Score(name, of_variances.value, Interval(found.estimate / scale, found.low / scale, found.high / scale))


def _cropped(
    pooled: Sequence[int], percent: int, first: Sequence[int], second: Sequence[int]
) -> tuple[list[int], list[int]] | None:
    """What is not slower than that percentile of both; None when too little of either is left to speak of."""
    limit = pooled[min(len(pooled) * percent // 100, len(pooled) - 1)]
    left, right = ([value for value in one if value <= limit] for one in (first, second))
    return (left, right) if min(len(left), len(right)) > 1 else None


def _nth_difference(a: Sequence[int], b: Sequence[int], number: int) -> int:
    """The `number`-th smallest of all b - a, both sorted. By bisection: there may be a hundred million of them."""
    return _least(b[0] - a[-1], b[-1] - a[0], lambda limit: _count_differences(a, b, limit) >= number)


def _count_differences(a: Sequence[int], b: Sequence[int], limit: int) -> int:
    """How many b - a are not greater than `limit`."""
    return sum(bisect_right(b, value + limit) for value in a)


def _nth_sum(values: Sequence[int], number: int) -> int:
    """The `number`-th smallest of all sums of two of them, a value with itself among these. They are sorted."""
    return _least(2 * values[0], 2 * values[-1], lambda limit: _count_sums(values, limit) >= number)


def _count_sums(values: Sequence[int], limit: int) -> int:
    """How many sums of two are not greater than `limit`: the larger one falls while the smaller one rises."""
    found, last = 0, len(values) - 1
    for first, value in enumerate(values):
        while last >= first and value + values[last] > limit:
            last -= 1
        if last < first:
            break
        found += last - first + 1
    return found


def _least(low: int, high: int, holds: Callable[[int], bool]) -> int:
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _variance(values: Sequence[float]) -> float:
    mean = _mean(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
