"""Who follows the feed: taken down when something is new, bounded, and never in the way."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from payymo.db.schema import revocation_counter
from payymo.guards import followers, store
from payymo.guards.followers import WRITE_SECONDS
from payymo.guards.model import Follower
from payymo.guards.service import KEEP_SECONDS
from payymo.logs import Trace
from tests.support.house import Database, House

NAME = "follower-1"


def report(house: House, name: str = NAME, **more) -> None:
    given = {"credential": None, "address": "10.0.0.1", "seq": 7, "kids": ["b", "a"]}
    house.services.guards.report(name, **(given | more))


def only(house: House) -> Follower:
    [found] = house.services.guards.list_followers()
    return found


def writes(house: House) -> list[str]:
    """The statements on followers that change something, from now on."""
    seen: list[str] = []

    def look(*args: object) -> None:
        if "followers" in str(args[2]) and not str(args[2]).startswith("SELECT"):
            seen.append(str(args[2]).split()[0])

    event.listen(house.services.engine, "before_cursor_execute", look)
    return seen


def test_a_follower_is_known_from_its_first_report(house: House) -> None:
    """What it said, tidied, and by whose leave."""
    made = house.services.guards.create("billing", scopes=["feed"], trace=Trace())
    report(house, credential=made.credential)
    now = int(house.clock())
    assert only(house) == Follower(NAME, "billing", "10.0.0.1", 7, ("a", "b"), now, now)


def test_what_is_new_is_written_at_once_and_the_rest_once_in_a_while(house: House) -> None:
    """A rotation may wait for a kid; nobody waits for a time of day."""
    report(house)
    seen = writes(house)
    house.clock.advance(WRITE_SECONDS - 1)
    report(house, seq=8)
    assert (seen, only(house).cursor_seq) == ([], 7)
    report(house, seq=8, kids=["a", "b", "c"])
    assert (only(house).cursor_seq, only(house).kids) == (8, ("a", "b", "c"))
    house.clock.advance(WRITE_SECONDS)
    report(house, seq=9, address="10.0.0.2")
    found = only(house)
    assert (found.cursor_seq, found.address) == (9, "10.0.0.2")
    assert (found.first_seen_at, found.last_seen_at) == (int(house.clock()) - 9, int(house.clock()))


def test_many_followers_cost_one_transaction_in_a_while(sqlite_house: House) -> None:
    """On SQLite every commit is synced to disk, and logins wait for it."""
    for number in range(50):
        report(sqlite_house, f"follower-{number}")
    begun: list[str] = []
    event.listen(sqlite_house.services.engine, "begin", lambda _connection: begun.append("begin"))
    for _ in range(3):
        sqlite_house.clock.advance(WRITE_SECONDS - 1)
        for number in range(50):
            report(sqlite_house, f"follower-{number}")
    assert len(begun) <= 3


def test_as_many_as_are_listed_cost_no_more(sqlite_house: House) -> None:
    """Of thousands at one process, each that was forgotten had its report written at once, again and again."""
    inner = sqlite_house.services.guards._followers
    names = [f"follower-{number}" for number in range(store.FOLLOWERS_AT_MOST - 1)]
    inner._written.update({(None, name): ("a", "b") for name in names})
    report(sqlite_house, "the-last-one")
    seen = writes(sqlite_house)
    for name in names[::50]:
        report(sqlite_house, name)
    assert seen == []


def test_a_name_that_can_not_be_one_is_passed_over(house: House) -> None:
    """Whatever a route lets through: no failure, no row."""
    for name in ("", "short", "x" * 65, "follower\0", "follower 1"):
        report(house, name)
    assert house.services.guards.list_followers() == ()


def test_nobody_speaks_for_a_follower_of_another_credential(house: House) -> None:
    """Else a guard that is lost could say that all others hold the next key."""
    mine, theirs = (
        house.services.guards.create(name, scopes=["feed"], trace=Trace()).credential for name in ("mine", "theirs")
    )
    report(house, credential=mine)
    for other in (theirs, None):
        report(house, credential=other, kids=["forged"])
    assert (only(house).credential, only(house).kids) == ("mine", ("a", "b"))


@pytest.mark.parametrize("dimension", ["FOLLOWERS_AT_MOST", "FOLLOWERS_PER_CREDENTIAL"])
def test_a_stranger_does_not_fill_the_table(house: House, monkeypatch: pytest.MonkeyPatch, dimension: str) -> None:
    """As many rows as there is room for, those that are there go on, and none of it is an error."""
    monkeypatch.setattr(store, dimension, 3)
    for number in range(10):
        report(house, f"stranger-{number}")
    report(house, "stranger-0", kids=["c"])
    found = house.services.guards.list_followers()
    assert len(found) == 3
    assert next(one.kids for one in found if one.id == "stranger-0") == ("c",)
    credential = house.services.guards.create("billing", scopes=["feed"], trace=Trace()).credential
    report(house, credential=credential)
    assert len(house.services.guards.list_followers()) == (3 if dimension == "FOLLOWERS_AT_MOST" else 4)


def test_a_stranger_does_not_fill_the_memory(sqlite_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are forgotten when there are too many, the longest silent first."""
    monkeypatch.setattr(followers, "REMEMBER_AT_MOST", 5)
    monkeypatch.setattr(followers, "WAITING_AT_MOST", 4)
    for number in range(30):
        report(sqlite_house, f"stranger-{number:02}")
    inner = sqlite_house.services.guards._followers
    assert [name for _, name in inner._written] == [f"stranger-{number}" for number in range(25, 30)]
    assert inner._waiting == {}
    event.listen(sqlite_house.services.engine, "before_cursor_execute", _busy)
    for number in range(30):
        report(sqlite_house, f"stranger-{number:02}", kids=["new"])
    assert len(inner._waiting) == 4
    event.remove(sqlite_house.services.engine, "before_cursor_execute", _busy)


def _busy(*_: object) -> None:
    raise sa.exc.OperationalError("update", {}, Exception("database is locked"))


@pytest.mark.parametrize("failure", [sa.exc.OperationalError, sa.exc.InternalError])
def test_a_report_that_can_not_be_written_fails_nothing(sqlite_house: House, failure: type) -> None:
    """The revocations that were asked for matter more. The database is left alone for a while, and then told."""
    tries: list[int] = []

    def refuse(*args: object) -> None:
        tries.append(1)
        raise failure("update", {}, Exception("read only"))

    event.listen(sqlite_house.services.engine, "before_cursor_execute", refuse)
    for number in range(10):
        report(sqlite_house, f"follower-{number}")
    assert len(tries) == 1
    event.remove(sqlite_house.services.engine, "before_cursor_execute", refuse)
    sqlite_house.clock.advance(WRITE_SECONDS)
    report(sqlite_house, "follower-0")
    assert len(sqlite_house.services.guards.list_followers()) == 10


def test_one_request_at_a_time_waits_for_a_slow_database(sqlite_house: House) -> None:
    """The others go on at once, and what they said is written by the one that waited."""
    entered, go_on = threading.Event(), threading.Event()

    def hang(*args: object) -> None:
        if "followers" in str(args[2]) and not entered.is_set():
            entered.set()
            assert go_on.wait(20)

    event.listen(sqlite_house.services.engine, "before_cursor_execute", hang)
    slow = threading.Thread(target=report, args=(sqlite_house, "follower-slow"))
    slow.start()
    assert entered.wait(20)
    for number in range(5):
        report(sqlite_house, f"follower-{number}")
    go_on.set()
    slow.join(20)
    assert len(sqlite_house.services.guards.list_followers()) == 6


def test_parallel_reports_in_two_processes_are_all_there(database: Database) -> None:
    """Threads of two processes, the same followers: no error, one row each, the newest keys."""
    here = House(database)
    there = House(database, clock=here.clock)

    def speak(number: int) -> None:
        house = (here, there)[number % 2]
        report(house, f"follower-{number % 10}", kids=[f"kid-{number // 20}"])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(speak, range(100)))
    here.clock.advance(WRITE_SECONDS)
    for number in range(10):
        report(here, f"follower-{number}", kids=["kid-last"])
    found = there.services.guards.list_followers()
    assert sorted(one.id for one in found) == [f"follower-{number}" for number in range(10)]
    assert {one.kids for one in found} == {("kid-last",)}
    assert [e for e in here.events() + there.events() if e["event"] == "failure"] == []
    here.close()
    there.close()


def test_an_older_report_does_not_undo_a_newer_one_unless_the_clock_was_wrong(house: House) -> None:
    """Two processes write when they get to it; and a row from the future does not stay for ever."""
    now = int(house.clock())
    for moment, kids, kept in [
        (now, ("a",), ("a",)),
        (now - 1, ("b",), ("a",)),
        (now + 3600, ("c",), ("c",)),
        (now, ("d",), ("d",)),
    ]:
        with house.services.work.platform() as tx:
            store.save_followers(tx, [Follower(NAME, None, "-", 0, kids, moment, moment)])
        assert only(house).kids == kept


def test_followers_that_are_gone_are_forgotten(house: House) -> None:
    """After an hour, to the second, by the ordinary duties; and when their credential is revoked, at once."""
    report(house)
    house.clock.advance(KEEP_SECONDS)
    house.services.do_duties(Trace())
    assert only(house).id == NAME
    house.clock.advance(1)
    house.services.do_duties(Trace())
    assert house.services.guards.list_followers() == ()
    credential = house.services.guards.create("billing", scopes=["feed"], trace=Trace()).credential
    report(house, "follower-2", credential=credential)
    report(house, "follower-3")
    house.services.guards.revoke("billing", trace=Trace())
    assert only(house).id == "follower-3"


def test_how_far_a_follower_is_behind_is_counted_in_entries(house: House) -> None:
    """What the feed has, and it has not asked for; never less than nothing."""
    owner = house.database.owner()
    with owner.begin() as connection:
        connection.execute(sa.update(revocation_counter).values(last_seq=10))
    owner.dispose()
    for name, seq in (("follower-a", 0), ("follower-b", 10), ("follower-c", 12)):
        report(house, name, seq=seq)
    assert [(found.id, lag) for found, lag in house.services.guards.list_lags()] == [
        ("follower-a", 10),
        ("follower-b", 0),
        ("follower-c", 0),
    ]
