"""A receiver that says when it wants to be spoken to again is left alone until then."""

from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from payymo.logs import Trace
from payymo.webhooks.model import RESTS_AT_MOST, SLOW_RESTS, SLOW_SECONDS, WAITS, not_before
from tests.support.house import House
from tests.support.receiver import Got, Receiver, deliver, endpoint
from tests.webhooks.test_deliveries import ALICE, BOB, about, happen, waiting

NOW = 784_111_777  # Sun, 06 Nov 1994 08:49:37 GMT


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("0", NOW),
        ("120", NOW + 120),
        (" 120\t", NOW + 120),
        ("000000000120", NOW + 120),
        (str(RESTS_AT_MOST - 1), NOW + RESTS_AT_MOST - 1),
        (str(RESTS_AT_MOST), NOW + RESTS_AT_MOST),
        (str(RESTS_AT_MOST + 1), NOW + RESTS_AT_MOST),
        ("9" * 60_000, NOW + RESTS_AT_MOST),
        ("Sun, 06 Nov 1994 08:49:38 GMT", NOW + 1),
        ("Sunday, 06-Nov-94 08:49:38 GMT", NOW + 1),
        ("Sun Nov  6 08:49:38 1994", NOW + 1),
        ("Mon, 07 Nov 1994 08:49:37 GMT", NOW + RESTS_AT_MOST),
        ("Mon, 07 Nov 1994 08:49:38 GMT", NOW + RESTS_AT_MOST),
        ("Fri, 31 Dec 9999 23:59:59 GMT", NOW + RESTS_AT_MOST),
    ],
)
def test_seconds_and_dates_are_understood_up_to_a_day(said: str, expected: int) -> None:
    """RFC 9110 §10.2.3 and §5.6.7, to the second."""
    assert not_before(429, said, NOW) == not_before(503, said, NOW) == expected
    assert [not_before(status, said, NOW) for status in (400, 410, 500, 502, 301)] == [None] * 5


@pytest.mark.parametrize(
    "said",
    [
        *("", " ", "-1", "+1", "1.5", "1e3", "0x10", "1_000", "1 2", "5, 10", "٣", "soon", "1" + "\n2"),
        *("Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 +0100", "Sun, 31 Feb 1994 08:49:37 GMT"),
        *("Sun, 06 Nov 1994 25:00:00 GMT", "1994-11-06T08:49:37Z", "Sun, 06 Nov 0000 08:49:37 GMT"),
    ],
)
def test_what_is_neither_is_as_if_it_were_not_there(said: str) -> None:
    """Nor is anything said by nothing."""
    assert not_before(429, said, NOW) is None
    assert not_before(429, None, NOW) is None


def busy(status: int, retry_after: str) -> Any:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Retry-After", retry_after)
        handler.end_headers()

    return lambda _got: answer


def test_nothing_is_sent_before_the_receiver_wants_it(house: House, there: Receiver) -> None:
    """Neither what it has refused nor what is about somebody else; then all of it, in its order."""
    found, _ = endpoint(house, there.url)
    there.answer = busy(429, "600")
    happen(house, ALICE, BOB)
    assert deliver(house) == 1
    assert waiting(house, found)[0].due_at == house.clock.now + 600
    happen(house, BOB)
    house.clock.advance(599)
    assert deliver(house) == 0
    there.answer = lambda _got: 204
    house.clock.advance(1)
    assert deliver(house) == 3
    assert about(there) == ["1", "1", "2", "2"]
    happen(house, ALICE)
    assert deliver(house) == 1


@pytest.mark.parametrize("said", ["0", "4", "Sun, 06 Nov 1994 08:49:37 GMT", "soon"])
def test_nobody_is_spoken_to_sooner_than_without_it(sqlite_house: House, there: Receiver, said: str) -> None:
    """The usual wait is the least; what can't be read, or is over, changes nothing."""
    found, _ = endpoint(sqlite_house, there.url)
    there.answer = busy(503, said)
    happen(sqlite_house, ALICE)
    deliver(sqlite_house)
    assert WAITS[0] <= waiting(sqlite_house, found)[0].due_at - sqlite_house.clock.now <= 1.2 * WAITS[0]


def test_who_sends_again_by_hand_does_not_wait(sqlite_house: House, there: Receiver) -> None:
    """A receiver that has asked for a day by mistake, and is mended, gets it at once."""
    found, _ = endpoint(sqlite_house, there.url)
    there.answer = busy(503, str(RESTS_AT_MOST))
    happen(sqlite_house, ALICE)
    deliver(sqlite_house)
    there.answer = lambda _got: 204
    [one] = waiting(sqlite_house, found)
    sqlite_house.services.webhooks.redeliver(sqlite_house.default.id, found.id, one.event_id, by=None, trace=Trace())
    assert deliver(sqlite_house) == 1


def test_who_is_slow_to_take_nothing_rests(house: House, there: Receiver) -> None:
    """The longer the longer it fails, so that receivers that are down do not have every place."""
    found, _ = endpoint(house, there.url)
    elapsed = Elapsed()
    house.services.webhook_courier._monotonic = elapsed

    def slow(_got: Got) -> int:
        elapsed.now += SLOW_SECONDS
        return 500

    there.answer = slow
    happen(house, ALICE, BOB)
    assert deliver(house) == 1
    for rest in (SLOW_RESTS[0], SLOW_RESTS[0], 2 * SLOW_RESTS[0]):
        house.clock.advance(rest - 1)
        assert deliver(house) == 0
        house.clock.advance(1)
        assert deliver(house) == 1
    house.clock.advance(86_400)
    assert deliver(house) == 1
    house.clock.advance(SLOW_RESTS[1] - 1)
    assert deliver(house) == 0
    house.clock.advance(1)
    there.answer = lambda _got: 500
    assert deliver(house) == 1
    there.answer = lambda _got: 204
    house.clock.advance(10 * 86_400)
    deliver(house)
    assert house.services.webhooks.list_deliveries(house.default.id, found.id) == ()


@pytest.mark.parametrize(("status", "seconds"), [(204, SLOW_SECONDS), (500, SLOW_SECONDS - 0.1)])
def test_who_takes_it_or_fails_sooner_does_not_rest(
    sqlite_house: House, there: Receiver, status: int, seconds: float
) -> None:
    """What is about another one is sent at once."""
    endpoint(sqlite_house, there.url)
    elapsed = Elapsed()
    sqlite_house.services.webhook_courier._monotonic = elapsed

    def slow(_got: Got) -> int:
        elapsed.now += seconds
        return status

    there.answer = slow
    happen(sqlite_house, ALICE, BOB)
    assert deliver(sqlite_house) == 2


class Elapsed:
    """Time that passes when somebody says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now
