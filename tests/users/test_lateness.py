"""Refusals are late as often as those of the slowest kind of hash are, whoever they are about."""

import random  # noqa: TID251 - tests may roll dice
from collections import Counter

import pytest

from payymo.users.lateness import ENOUGH, RECENT, TWICE, Lateness

USUAL, FOREIGN, OTHER = "argon2id", "bcrypt,cost=12", "scrypt,n=16384"
REFUSALS = 20_000


@pytest.mark.parametrize("share", [0.001, 0.01, 0.2])
def test_everybody_is_late_as_often(share: float) -> None:
    """Whether the hash is of the slowest kind, of another one, of today's, or nobody's; and by as many budgets.

    Within four standard errors: of so many tries, and of the thousand that the chance is taken from.
    """
    dice = random.Random(1)
    lateness = Lateness(USUAL, dice.random)
    natural = {FOREIGN: share, OTHER: share / 2, USUAL: share / 10, "": 0.0}
    told: dict[str, Counter[int]] = {kind: Counter() for kind in natural}
    for _ in range(REFUSALS):
        for kind, late in natural.items():
            needed = dice.choice([2, 3]) if dice.random() < late else 1
            told[kind][lateness.turns(kind, needed, (FOREIGN, OTHER))] += 1
    error = 4 * (share * (1 - share) / RECENT) ** 0.5 / 5 + 4 * (share * (1 - share) / REFUSALS) ** 0.5 + 5 / REFUSALS
    for kind, counted in told.items():
        assert counted[2] + counted[3] == pytest.approx(share * REFUSALS, abs=error * REFUSALS), kind
        assert counted[3] == pytest.approx(share / 2 * REFUSALS, abs=error * REFUSALS), kind


def test_nobody_is_earlier_than_they_need() -> None:
    """What took three budgets takes three, whatever chance says."""
    lateness = Lateness(USUAL, lambda: 0.0)
    assert lateness.turns(FOREIGN, 2, (FOREIGN,)) == 2
    assert lateness.turns(USUAL, 3, (FOREIGN,)) == 3
    assert lateness.turns("", 1, (FOREIGN,)) == 3


def test_a_kind_that_nobody_has_met_is_taken_to_be_late_at_times() -> None:
    """Else the first of them that is would be told from everybody."""
    lateness = Lateness(USUAL, lambda: 0.0)
    assert lateness.turns(USUAL, 1, (FOREIGN,)) == TWICE
    assert Lateness(USUAL, lambda: 0.5).turns(USUAL, 1, (FOREIGN,)) == 1
    for _ in range(ENOUGH):
        lateness.turns(FOREIGN, 1, (FOREIGN,))
    assert lateness.turns(USUAL, 1, (FOREIGN,)) == 1


def test_where_all_hashes_are_of_today_nobody_waits_without_a_reason() -> None:
    """They are late alike."""
    lateness = Lateness(USUAL, lambda: 0.0)
    assert [lateness.turns(USUAL, turns, ()) for turns in (1, 2, 1, 1)] == [1, 2, 1, 1]


def test_a_budget_of_other_kinds_is_another_one() -> None:
    """Who is never late where others are slower may be late elsewhere."""
    lateness = Lateness(USUAL, lambda: 0.0)
    for _ in range(ENOUGH):
        lateness.turns(OTHER, 1, (FOREIGN, OTHER))
        lateness.turns(OTHER, 2, (OTHER,))
    assert lateness.turns(USUAL, 1, (OTHER,)) == 2
    assert lateness.turns(OTHER, 1, (OTHER,)) == 1
