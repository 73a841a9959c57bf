"""The duties of a running service go on, whatever happens to one round of them."""

import threading
import time
from queue import SimpleQueue
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from payymo.attempts import service
from payymo.audit.damage import LogsDamaged
from payymo.clock import system_clock
from payymo.db.schema import token_revocations
from payymo.errors import Misconfigured
from payymo.limits import storage
from payymo.logs import Trace
from payymo.maintenance import Maintenance, Round
from tests.support.house import Database, House
from tests.support.tampering import damaged_tree
from tests.web.scene import contents


def test_expired_revocations_go_away_even_after_a_failed_round(house: House) -> None:
    """Invariant 25: a database error in one round does not end the cleaning for good."""
    house.clock.now = system_clock() - 1000
    house.user("alice")
    house.logged_in().post("/api/auth/logout")
    house.clock.advance(1000)
    failures = iter([True])

    def fail_once(*_: object) -> None:
        if next(failures, False):
            raise RuntimeError("the database stumbles")

    owner = house.database.owner()
    event.listen(house.services.engine, "before_cursor_execute", fail_once)
    maintenance = Maintenance(house.services, every_seconds=0.01)
    maintenance.start()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with owner.connect() as connection:
            if not connection.execute(sa.select(sa.func.count()).select_from(token_revocations)).scalar():
                break
    else:
        raise AssertionError("nothing was pruned")
    maintenance.stop()
    owner.dispose()
    assert [found["error"] for found in house.events() if found["event"] == "failure"] == ["RuntimeError"]


def test_a_duty_that_fails_keeps_none_of_the_others_from_being_done(database: Database) -> None:
    """Somebody was erased whose log was changed: keys rotate all the same, and it is heard of."""
    house = House(database, keys={"rotate_every_seconds": 3600, "jwks_max_age_seconds": 300})
    acme = house.tenant("acme")
    alice, before = house.user("alice", tenant=acme), house.services.ring.active_kid("access")
    with damaged_tree(house, acme.id):
        house.services.personal_data.erase(acme.id, alice.id, by=None, trace=Trace())
        house.clock.advance(3 * 3600)
        with pytest.raises(LogsDamaged):
            house.services.do_duties(Trace())
    assert house.services.ring.active_kid("access") != before
    house.close()


def test_figures_that_can_not_be_written_keep_no_duty_from_being_done(
    sqlite_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How the limits were used is for people to look at: keys rotate without it."""

    def fail() -> None:
        raise ArithmeticError

    rounds: SimpleQueue[Round] = SimpleQueue()
    monkeypatch.setattr(sqlite_house.services.limit_usage, "flush", fail)
    maintenance = Maintenance(sqlite_house.services, every_seconds=0.01, observe=rounds.put)
    maintenance.start()
    found = rounds.get(timeout=20)
    maintenance.stop()
    assert (found.is_leader, found.has_failed) == (True, True)
    assert {said["error"] for said in sqlite_house.events() if said["event"] == "failure"} == {"ArithmeticError"}


def test_what_can_not_be_forgotten_keeps_nothing_else_from_it(
    sqlite_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counters that can't be opened are one thing: what comes after them runs out as ever, keys and all."""

    def fail() -> int:
        raise OSError

    sqlite_house.services.limit_usage.record("login", "address", amount=10, window_seconds=60, used=1)
    sqlite_house.services.limit_usage.flush()
    sqlite_house.clock.advance(36 * 86_400)
    monkeypatch.setattr(sqlite_house.services.limiter, "prune", fail)
    monkeypatch.setattr(sqlite_house.services.guards, "prune", fail)
    with pytest.raises(ExceptionGroup) as several:
        sqlite_house.services.do_duties(Trace())
    assert [type(failure) for failure in several.value.exceptions] == [OSError, OSError]
    assert contents(sqlite_house)["limit_usage"] == []


def test_however_much_has_run_out_it_goes_in_small_batches(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a week without duties: one statement for all of it would be given up, again and again."""
    monkeypatch.setattr(storage, "PRUNED_AT_ONCE", 10)
    monkeypatch.setattr(service, "PRUNED_AT_ONCE", 10)
    house = House(database, lockout={"enabled": True, "failures": 1}, limits={"enabled": True, "login": "3/minute"})
    for number in range(25):
        house.client().log_in(f"nobody{number}@example.com", "wrong password 1")
        house.clock.advance(60)
    counts: list[int] = []

    def count(_c: object, cursor: Any, statement: str, *_: object) -> None:
        if statement.startswith(("DELETE FROM rate_limits", "DELETE FROM login_")):
            counts.append(cursor.rowcount)

    house.clock.advance(366 * 86_400)
    event.listen(sa.Engine, "after_cursor_execute", count)
    try:
        house.services.prune()
    finally:
        event.remove(sa.Engine, "after_cursor_execute", count)
    assert max(counts) == 10
    assert sum(counts) >= 4 * 25
    left = contents(house)
    assert (left["login_attempts"], left["login_failures"], left["login_minutes"]) == ([], [], [])
    house.close()


def test_each_duty_that_has_failed_is_heard_of(sqlite_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """One failure does not hide another one."""

    def fail(*_: object) -> None:
        raise LogsDamaged([sqlite_house.default.id])

    heard = threading.Event()
    monkeypatch.setattr(sqlite_house.services.lockouts, "tell_due", fail)
    monkeypatch.setattr(sqlite_house.services.ring, "rotate_due", fail)
    maintenance = Maintenance(sqlite_house.services, every_seconds=0.01, observe=lambda _round: heard.set())
    maintenance.start()
    assert heard.wait(20)
    maintenance.stop()
    failures = [found for found in sqlite_house.events() if found["event"] == "failure"]
    assert len(failures) >= 2
    assert {found["error"] for found in failures} == {"LogsDamaged"}


@pytest.mark.parametrize("ahead", [3600.0, -3600.0])
def test_a_node_whose_clock_is_wrong_forgets_nothing_for_the_others(postgres_database: Database, ahead: float) -> None:
    """It is out of rotation, and does no harm behind: what it took for expired is refused, or alive, elsewhere."""
    right = House(postgres_database, clock=system_clock)
    right.user("alice")
    kept, ended = right.logged_in(), right.logged_in()
    assert ended.post("/api/auth/logout").status_code == 200
    wrong = House(postgres_database, clock=lambda: system_clock() + ahead)
    rounds: SimpleQueue[Round] = SimpleQueue()
    maintenance = Maintenance(wrong.services, every_seconds=0.01, observe=rounds.put)
    maintenance.start()
    assert [rounds.get(timeout=20).is_leader for _ in range(3)] == [False] * 3
    maintenance.stop()
    assert [client.get("/api/auth/me").status_code for client in (kept, ended)] == [200, 401]
    [said] = [event["detail"] for event in wrong.events() if event["event"] == "duties"]
    assert said.startswith("left to others: this machine is 3600 s ")
    with pytest.raises(Misconfigured, match="can't say what has expired"):
        wrong.services.require_clock()
    for house in (right, wrong):
        house.close()
