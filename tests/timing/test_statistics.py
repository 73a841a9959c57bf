"""The statistics against published values, and against distributions whose truth is known."""

import random  # noqa: TID251 - tests may roll dice
from collections.abc import Callable
from math import sin
from statistics import median

import pytest

from payymo.timing.gathering import gather
from payymo.timing.model import ALARM, ENOUGH, EVIDENCE, FEWEST, Finding, judge
from payymo.timing.statistics import Interval, Score, paired_shift, rank_sum, shift, signed_rank, welch

PERMEABILITY = [80, 83, 189, 104, 145, 138, 191, 164, 73, 146], [115, 88, 90, 74, 121]
"""Hollander and Wolfe, table 4.1, in hundredths: the example of R's `wilcox.test`."""
DEPRESSION = [1830, 500, 1620, 2480, 1680, 1880, 1550, 3060, 1300], [878, 647, 598, 2050, 1060, 1290, 1060, 3140, 1290]
"""Hollander and Wolfe, table 3.1, in thousandths: nine patients before and after."""
US = 1000
MANY = 4_000
BOUND = 250 * US


def noisy(dice: random.Random, count: int, *, shift_ns: float = 0, spread_ns: float = 300_000) -> list[int]:
    """As requests are: a floor, jitter to the right, and now and then somebody else's turn."""
    return [
        int(20_000_000 + shift_ns + dice.expovariate(1 / spread_ns) + (dice.random() < 0.02) * dice.uniform(0, 2e7))
        for _ in range(count)
    ]


def test_welch_is_as_published() -> None:
    """Snedecor and Cochran's kind of table: unequal variances and sizes; t and freedom worked out by hand."""
    t, freedom = welch([10, 12, 14], [20, 30, 40, 50])
    # means 12 and 35, variances 4 and 500/3: 23 / sqrt(4/3 + 125/3) = 23 / sqrt(43)
    assert t == pytest.approx(23 / 43**0.5)
    assert freedom == pytest.approx(43**2 / ((4 / 3) ** 2 / 2 + (125 / 3) ** 2 / 3))


def test_ranks_and_shift_are_as_published() -> None:
    """Hollander and Wolfe 4.1: W = 35 (of the first), shift 0.305, interval of 95 % by R: -0.15 to 0.76."""
    first, second = PERMEABILITY
    u, _ = rank_sum(second, first)
    assert u == 35
    found = shift(second, first, z=1.959964)
    assert found.estimate == 30.5
    assert (found.low, found.high) == (-15, 76)


def test_ranks_and_shift_of_pairs_are_as_published() -> None:
    """Hollander and Wolfe 3.1 to 3.3: T+ = 5, shift -0.46, the exact interval of 96 % from -0.786 to -0.010."""
    before, after = DEPRESSION
    ranks, score = signed_rank(before, after)
    assert ranks == 5
    assert score == pytest.approx((5 - 22.5) / (9 * 10 * 19 / 24) ** 0.5)
    found = paired_shift(before, after, z=1.959964)
    assert (found.estimate, found.low, found.high) == (-460, -786, -10)


def test_ties_are_corrected_for() -> None:
    """Two samples of two values each: mid-ranks, and the variance that is left of n·m·(N+1)/12."""
    u, score = rank_sum([1, 1, 1, 2], [1, 2, 2, 2])
    # ranks 2.5 for the four ones, 6.5 for the four twos: 2.5 + 3 * 6.5 - 10 = 12; variance 16/12 * (9 - 120/56)
    assert u == 12
    assert score == pytest.approx(4 / (16 / 12 * (9 - 120 / 56)) ** 0.5)
    assert rank_sum([7, 7], [7, 7])[1] == 0.0
    # Differences 2, -2, 2 and 0: ranks of 2 each, the last one is left out; variance 3*4*7/24 less (27-3)/48
    assert signed_rank([1, 3, 1, 4], [3, 1, 3, 4]) == (4.0, pytest.approx((4 - 3) / (84 / 24 - 24 / 48) ** 0.5))
    assert signed_rank([7, 7], [7, 7])[1] == 0.0


def test_the_shift_is_the_median_of_all_differences() -> None:
    """Found by bisection, it is what writing them all down would find; the interval is one of them, too."""
    dice = random.Random(7)
    first, second = noisy(dice, 41), noisy(dice, 60)
    every = sorted(b - a for a in first for b in second)
    found = shift(first, second)
    assert found.estimate == (every[41 * 30 - 1] + every[41 * 30]) / 2
    assert {found.low, found.high} <= set(every)
    assert found.low < found.estimate < found.high


@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_the_shift_of_pairs_is_the_median_of_all_means_of_two(count: int) -> None:
    """As above, with a difference itself among these means."""
    dice = random.Random(count)
    first, second = noisy(dice, count), noisy(dice, count)
    apart = [b - a for a, b in zip(first, second, strict=True)]
    every = [(apart[i] + apart[j]) / 2 for i in range(count) for j in range(i, count)]
    found = paired_shift(first, second)
    assert found.estimate == median(every)
    assert {found.low, found.high} <= set(every)


@pytest.mark.parametrize(("shift_ns", "verdict"), [(0, "no leak within the bound"), (400 * US, "leak")])
def test_what_drifts_for_both_hides_nothing(shift_ns: float, verdict: str) -> None:
    """Another program takes a core for minutes: everything gets slower and quicker by far more than the bound."""
    dice = random.Random(11)
    drift = [round(20_000_000 * (1 + sin(number / 500))) for number in range(MANY)]
    first, second = (
        [a + b for a, b in zip(drift, noisy(dice, MANY, shift_ns=by), strict=True)] for by in (0, shift_ns)
    )
    assert judge(first, second, bound=BOUND).verdict == verdict
    assert not shift(first, second).is_within(BOUND)


def test_a_few_that_are_much_slower_are_found_where_both_drift() -> None:
    """Four logins in a thousand take twice as long, and what all of them take changes by as much from time to time.

    No shift, rank or percentile shows it: somebody who counts would.
    """
    dice = random.Random(12)
    budgets = [dice.choice([150, 175, 200, 225, 250, 300]) * 1_000 * US for _ in range(ENOUGH // 50) for _ in range(50)]
    first = [a + b for a, b in zip(budgets, noisy(dice, ENOUGH), strict=True)]
    second = [
        budget * (2 if dice.random() < 0.004 else 1) + noise
        for budget, noise in zip(budgets, noisy(dice, ENOUGH), strict=True)
    ]
    found = judge(first, second, bound=BOUND)
    assert (found.verdict, found.strongest and found.strongest.name) == ("leak", "mean of pairs")
    assert found.shift is not None
    assert found.shift.is_within(BOUND)


def test_no_difference_is_no_leak() -> None:
    """The same distribution twice, ten thousandfold: nothing is found in it, and the bound is kept."""
    dice = random.Random(0)
    found = judge(noisy(dice, ENOUGH), noisy(dice, ENOUGH), bound=BOUND)
    assert found.verdict == "no leak within the bound"
    assert not found.is_certain_difference


@pytest.mark.parametrize(
    "second",
    [
        lambda dice: noisy(dice, MANY, shift_ns=300 * US),
        lambda dice: noisy(dice, MANY, shift_ns=-300 * US),
        lambda dice: noisy(dice, MANY, spread_ns=900_000),
        lambda dice: noisy(dice, MANY * 9 // 10) + noisy(dice, MANY // 10, shift_ns=15_000_000),
    ],
    ids=["slower", "faster", "wider", "a tenth of them much slower"],
)
def test_a_planted_difference_is_found(second: Callable[[random.Random], list[int]]) -> None:
    """Whether it moves everything, the spread, or a few."""
    dice = random.Random(1)
    assert judge(noisy(dice, MANY), second(dice), bound=BOUND).verdict == "leak"


def test_a_certain_difference_within_the_bound_is_no_leak() -> None:
    """Half of the bound, beyond doubt: too little to be of use, and said to be certain."""
    dice = random.Random(2)
    found = judge(noisy(dice, MANY), noisy(dice, MANY, shift_ns=120 * US), bound=BOUND)
    assert found.verdict == "no leak within the bound"
    assert found.is_certain_difference
    assert found.strongest is not None
    assert abs(found.strongest.value) > ALARM


def test_what_the_samples_do_not_say_stays_undecided() -> None:
    """At the very bound; with too much noise for it; with too few samples."""
    dice = random.Random(3)
    at_the_bound = judge(noisy(dice, MANY), noisy(dice, MANY, shift_ns=BOUND), bound=BOUND)
    assert at_the_bound.verdict == "undecided"
    loud = judge(noisy(dice, 100, spread_ns=9e6), noisy(dice, 100, spread_ns=9e6), bound=BOUND)
    assert loud.verdict == "undecided"
    few = judge([1] * (FEWEST - 1), [10**9] * (FEWEST - 1), bound=BOUND)
    assert few.verdict == "undecided"
    assert judge([1] * FEWEST, [10**9] * FEWEST, bound=BOUND).verdict == "leak"


@pytest.mark.parametrize(
    ("value", "samples", "counts"),
    [
        (EVIDENCE, ENOUGH, False),
        (-EVIDENCE - 0.01, ENOUGH, True),
        (ALARM, ENOUGH - 1, False),
        (ALARM + 0.01, ENOUGH - 1, True),
    ],
)
def test_evidence_counts_from_ten_thousand_samples_on(value: float, samples: int, counts: bool) -> None:  # noqa: FBT001 - a table
    """dudect: |t| > 4.5 is evidence then, > 10 an alarm always."""
    strongest = Score("mean", value, Interval(0.0, 0.0, 0.0))
    assert Finding("undecided", samples, None, strongest).is_certain_difference is counts


def test_samples_that_never_vary_are_compared_as_they_are() -> None:
    """No spread is no reason to divide by it."""
    assert judge([5] * 100, [5] * 100, bound=1).verdict == "no leak within the bound"
    assert judge([5] * 100, [9] * 100, bound=1).verdict == "leak"


def test_classes_are_measured_in_turn_and_told_apart() -> None:
    """A coin says who is first in each pair; what is measured goes to the class that it is of; warm-up goes nowhere."""
    order: list[str] = []
    coins = iter([False, True, True, False, True])

    def class_of(name: str, nanoseconds: int) -> Callable[[], int]:
        return lambda: order.append(name) or nanoseconds  # type: ignore[func-returns-value]

    told: list[int] = []
    found = gather(
        class_of("a", 1),
        class_of("b", 2),
        count=3,
        warm_up=2,
        toss=lambda: next(coins),
        tell=lambda so_far: told.append(len(so_far.first)),
    )
    assert "".join(order) == "abbabaabba"
    assert (found.first, found.second, found.is_complete) == ([1, 1, 1], [2, 2, 2], True)
    assert told == [1, 2, 3]


def test_who_interrupts_gets_what_there_is() -> None:
    """Ctrl-C in the middle of a pair: whole pairs are kept, and it is said that there are fewer."""
    numbers = iter(range(5))

    def measure() -> int:
        try:
            return next(numbers)
        except StopIteration:
            raise KeyboardInterrupt from None

    found = gather(measure, measure, count=100, warm_up=0, toss=lambda: False)
    assert (found.first, found.second, found.is_complete) == ([0, 2], [1, 3], False)
