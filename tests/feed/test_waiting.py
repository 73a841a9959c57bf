"""Waiting for news: whoever waits is woken, once, and nobody looks when nobody waits."""

import threading
import time
import uuid

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import NoResultFound

from payymo.errors import Unavailable
from payymo.feed.model import Cursor, Subject
from payymo.feed.waiting import Watch
from tests.support.crew import Crew
from tests.support.house import House

LONG = 30


def move(house: House) -> None:
    with house.services.work(house.default.id) as tx:
        subject = Subject(uuid.UUID(int=house.services.feed.head().seq + 1), None, 4_000_000_000)
        house.services.feed.add(tx, "session", [subject], reason="x")


def test_everybody_who_waits_is_woken_by_one_entry(house: House) -> None:
    """Also who is somewhere else already."""
    feed = house.services.feed
    here, watch, woken = feed.head(), Watch(feed), threading.Semaphore(0)
    for _ in range(20):
        watch.watch(here, woken.release)
    watch.watch(Cursor(7, "0" * 16), woken.release)
    assert woken.acquire(timeout=LONG)
    assert not woken.acquire(timeout=0.2)
    move(house)
    assert all(woken.acquire(timeout=LONG) for _ in range(20))


def test_news_are_no_older_than_the_look_that_found_none(sqlite_house: House) -> None:
    """From there on it is measured how long they take: what is said is never less than it was."""
    watch, woken, began = Watch(sqlite_house.services.feed, look_seconds=0.001), threading.Event(), time.monotonic()
    ticket = watch.watch(sqlite_house.services.feed.head(), woken.set)
    first, deadline = ticket.since, began + LONG
    while ticket.since == first:
        assert time.monotonic() < deadline
    assert not ticket.has_news
    move(sqlite_house)
    after = time.monotonic()
    assert woken.wait(LONG)
    assert ticket.has_news
    assert began <= first < ticket.since <= after


def test_who_gives_up_is_not_woken(house: House) -> None:
    """And a wait ends by itself."""
    feed = house.services.feed
    watch, woken, other = Watch(feed), threading.Event(), threading.Event()
    watch.watch(feed.head(), woken.set)()
    watch.watch(feed.head(), other.set)
    watch.wait(feed.head(), 0.01)
    move(house)
    assert other.wait(LONG)
    assert not woken.is_set()


def test_a_wait_ends_with_the_news(house: House) -> None:
    """Long before it would by itself."""
    feed = house.services.feed
    watch, here = Watch(feed), feed.head()
    with Crew(4) as crew:
        waits = [crew.submit(watch.wait, here, LONG * 10) for _ in range(4)]
        move(house)
        for wait in waits:
            wait.result(LONG)


@pytest.mark.parametrize("failure", [Unavailable, sa.exc.ProgrammingError("", None, Exception()), NoResultFound])
def test_a_database_that_was_away_wakes_nobody_and_is_asked_again(
    house: House, monkeypatch: pytest.MonkeyPatch, failure: type[Exception] | Exception
) -> None:
    """Invariant 25: whatever it says. Who waits is not left alone until somebody else comes."""
    feed = house.services.feed
    here, asked, real = feed.head(), threading.Semaphore(0), feed.head

    def fail() -> Cursor:
        asked.release()
        raise failure

    monkeypatch.setattr("payymo.feed.waiting.FAILED_SECONDS", 0.01)
    monkeypatch.setattr(feed, "head", fail)
    watch, woken = Watch(feed), threading.Event()
    watch.watch(here, woken.set)
    assert all(asked.acquire(timeout=LONG) for _ in range(3))
    assert not woken.is_set()
    monkeypatch.setattr(feed, "head", real)
    move(house)
    assert woken.wait(LONG)


def test_nobody_looks_when_nobody_waits(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service without followers costs its database nothing."""
    feed = house.services.feed
    looks: list[None] = []
    here, real = feed.head(), feed.head

    def count() -> Cursor:
        looks.append(None)
        return real()

    monkeypatch.setattr(feed, "head", count)
    watch = Watch(feed, look_seconds=0.001)
    assert watch._thread is None
    watch.wait(here, 0.05)
    settled = threading.Event()
    settled.wait(0.05)
    seen = len(looks)
    settled.wait(0.2)
    assert seen
    assert len(looks) == seen
