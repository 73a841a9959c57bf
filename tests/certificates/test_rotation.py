"""Warnings: once per certificate and threshold, whoever looks, however often; and none once somebody has renewed."""

from collections.abc import Callable

import pytest

from payymo.certificates.model import DAY_SECONDS
from payymo.logs import Trace
from tests.support.certificates import NAME, Issuer, add, duties, rows, states, told
from tests.support.house import START, House

ISSUER = Issuer()
TRACE = Trace()


@pytest.mark.parametrize(("days", "reason"), [(30, "30-days"), (7, "7-days"), (1, "1-day")], ids=str)
def test_each_threshold_is_warned_of_once_and_to_the_second(house: House, days: int, reason: str) -> None:
    """At t-1 nothing new, at t the warning, at t+1 and ever after nothing."""
    add(house, ISSUER.material(days=90))
    earlier = [told_of for threshold, told_of in ((30, "30-days"), (7, "7-days")) if threshold > days]
    for threshold in (30, 7):
        if threshold > days:
            house.clock.now = START + (90 - threshold) * DAY_SECONDS
            duties(house)
    house.clock.now = START + (90 - days) * DAY_SECONDS - 1
    duties(house)
    assert told(house) == [("1", found) for found in earlier]
    for offset in (0, 0, 1, 3600):
        house.clock.now = START + (90 - days) * DAY_SECONDS + offset
        duties(house)
        assert told(house) == [("1", found) for found in [*earlier, reason]]


def test_the_end_is_told_once(house: House) -> None:
    """The second after the last one; as an error, because nobody is served any more."""
    add(house, ISSUER.material(days=90))
    for offset, wanted in ((-1, "1-day"), (0, "1-day"), (1, "expired"), (2, "expired"), (99, "expired")):
        house.clock.now = START + 90 * DAY_SECONDS + offset
        duties(house)
        assert told(house)[-1] == ("1", wanted)
    assert told(house) == [("1", "1-day"), ("1", "expired")]
    assert [event["outcome"] for event in house.events() if event["event"] == "certificate.expiring"][-1] == "error"
    assert states(house) == ["active"]


def test_restarts_and_other_nodes_do_not_repeat_a_warning(house: House) -> None:
    """What was warned of stands in the row."""
    add(house, ISSUER.material(days=20))
    other = House(house.database, clock=house.clock)
    for each in (house, other, house, other):
        duties(each)
    other.close()
    third = House(house.database, clock=house.clock)
    duties(third)
    assert [len(told(each)) for each in (house, other, third)] == [1, 0, 0]
    third.close()


def test_who_looks_late_hears_the_latest_alone(house: House) -> None:
    """Nobody was there at 30 days: at 5 days one warning is enough."""
    add(house, ISSUER.material(days=90))
    house.clock.now = START + 85 * DAY_SECONDS
    for _ in range(3):
        duties(house)
    assert told(house) == [("1", "7-days")]


def test_a_renewal_silences_the_warnings(house: House) -> None:
    """From when the successor is there; it is warned of itself, when its own time has come."""
    add(house, ISSUER.material(days=90))
    house.clock.now = START + 60 * DAY_SECONDS
    duties(house)
    add(house, ISSUER.material(days=180))
    # Around the days on which something could be told.
    for day in (61, 82, 83, 84, 88, 89, 90, 91, 120, 148, 149):
        house.clock.now = START + day * DAY_SECONDS
        duties(house)
    assert told(house) == [("1", "30-days")]
    assert states(house) == ["retired", "active"]
    house.clock.now = START + 150 * DAY_SECONDS
    duties(house)
    assert told(house) == [("1", "30-days"), ("2", "30-days")]


@pytest.mark.parametrize(
    "act",
    [
        lambda house: house.services.certificates.revoke(NAME, 2, trace=TRACE),
        lambda house: house.services.certificates.retire(NAME, 2, trace=TRACE),
    ],
    ids=["revoked", "retired"],
)
def test_a_successor_that_is_gone_silences_nothing(house: House, act: Callable[[House], object]) -> None:
    """Nor does one that lives no longer than the active one."""
    add(house, ISSUER.material(days=90))
    add(house, ISSUER.material(days=180))
    house.clock.now = START + 80 * DAY_SECONDS
    duties(house)
    assert told(house) == []
    act(house)
    duties(house)
    assert told(house) == [("1", "30-days")]
    add(house, ISSUER.material(days=90, names=("auth.example.com",)))
    house.clock.now = START + 83 * DAY_SECONDS - 1
    duties(house)
    assert told(house) == [("1", "30-days")]


def test_a_round_with_nothing_to_do_writes_nothing(house: House) -> None:
    """It is one look-up, and no lock."""
    add(house, ISSUER.material(days=90))
    before = rows(house)
    duties(house)
    assert rows(house) == before


def test_a_successor_that_expired_waiting_is_ended(house: House) -> None:
    """It was never in use; its private half is destroyed all the same."""
    add(house, ISSUER.material(days=90))
    add(house, ISSUER.material(days=10), activates_at=int(START) + 10 * DAY_SECONDS)
    house.clock.now = START + 10 * DAY_SECONDS + 1
    duties(house)
    assert states(house) == ["active", "retired"]
    assert rows(house)[1].private_key is None
