"""From the transaction of a change to a position in the log: nothing lost, nothing twice, in commit order."""

import json
import threading
import uuid
from typing import Any

import pytest
import sqlalchemy as sa

from payymo.audit.merkle import EMPTY_ROOT
from payymo.audit.model import decode
from payymo.audit.verification import Question
from payymo.db.schema import PLATFORM_LOG, audit_events, audit_inbox, audit_logs, audit_payloads, sessions
from payymo.logs import Event, Trace
from tests.support.crew import Crew
from tests.support.house import House
from tests.support.moments import kill_points


def rows(house: House, table: sa.Table, *order: str) -> list[sa.RowMapping]:
    """What stands in a table, as somebody who sees everything finds it."""
    engine = house.database.owner()
    with engine.connect() as connection:
        found = list(connection.execute(sa.select(table).order_by(*(table.c[name] for name in order))).mappings())
    engine.dispose()
    return found


def test_what_has_been_done_is_on_record_in_the_order_in_which_it_was_done(house: House) -> None:
    """Invariants 8 and 9."""
    house.user("alice")
    client = house.logged_in()
    client.refresh()
    client.post("/api/auth/logout")
    before = len(rows(house, audit_events))
    assert house.services.sequencer.integrate_all() == len(rows(house, audit_events)) - before > 0
    assert rows(house, audit_inbox) == []
    own = [row for row in rows(house, audit_events, "position") if row["tenant_id"] == house.default.id]
    assert [row["position"] for row in own] == list(range(len(own)))
    assert [row["type"] for row in own] == ["user.created", "session.login", "session.refresh", "session.logout"]
    for row in own:
        record = decode(bytes(row["record"]))
        assert (record.id, record.type, record.at_ms, record.log) == (
            row["id"],
            row["type"],
            row["at"],
            house.default.id,
        )
    [head] = [row for row in rows(house, audit_logs) if row["tenant_id"] == house.default.id]
    assert head["size"] == 4
    assert head["root"] != EMPTY_ROOT
    assert house.services.checkpoints.sign_due() == len(rows(house, audit_logs)) == 2
    assert house.services.checkpoints.sign_due() == 0
    assert rows(house, audit_payloads)


def test_a_session_is_there_if_and_only_if_its_login_is_on_record(house: House) -> None:
    """Invariant 9: at every statement that a login may die at, and after the one that it does not die at."""
    house.user("alice")
    for dying in kill_points(house):
        with dying:
            house.logged_in()
    house.services.sequencer.integrate_all()
    logged_in = [row for row in rows(house, audit_events) if row["type"] == "session.login"]
    assert len(logged_in) == len(rows(house, sessions)) > 0


def test_positions_are_given_once_whoever_dies_or_comes_at_once(house: House) -> None:
    """Invariant 8: a sequencer that dies at any statement leaves the rest to the next; several take turns."""
    for dying in kill_points(house):
        for _ in range(3):
            house.services.audit.record_apart(Event("session.login", "refused", trace=Trace(address="192.0.2.1")))
        with dying:
            house.services.sequencer.integrate()
    house.services.sequencer.integrate_all()
    before = len(rows(house, audit_events))
    with Crew(8) as crew:
        list(crew.map(lambda _: house.services.audit.record_apart(Event("user.unlocked", trace=Trace())), range(40)))
        list(crew.map(lambda _: house.services.sequencer.integrate_all(), range(8)))
    found = [row for row in rows(house, audit_events, "position") if row["tenant_id"] == PLATFORM_LOG]
    assert [row["position"] for row in found] == list(range(len(found)))
    assert len({row["id"] for row in found}) == len(found)
    assert len(rows(house, audit_events)) == before + 40


def test_what_waits_for_another_transaction_comes_after_it(house: House) -> None:
    """Invariant 8: of two that change the same user, the one that commits first stands first, whoever began first."""
    user = house.user("alice")
    first, second = threading.Event(), threading.Event()

    def late() -> None:
        with house.services.work(house.default.id) as tx:
            first.set()
            house.services.audit.record(tx, Event("user.reset-forced", trace=Trace(), user_id=user.id))
            assert second.wait(20)
            house.services.users.lock(tx, user.id, by=None)

    if house.database.is_postgres:  # SQLite has one writer at a time
        with Crew(1) as crew:
            done = crew.submit(late)
            assert first.wait(20)
            with house.services.work(house.default.id) as tx:
                house.services.users.lock(tx, user.id, by=None)
                second.set()
                house.services.audit.record(tx, Event("user.unlocked", trace=Trace(), user_id=user.id))
            done.result()
        house.services.sequencer.integrate_all()
        found = [row["type"] for row in rows(house, audit_events, "position") if row["user_id"] == user.id]
        assert found == ["user.created", "user.unlocked", "user.reset-forced"]


def test_what_is_in_the_inbox_and_no_event_of_ours_holds_nothing_up(house: House) -> None:
    """Whoever can write there is found by it: it gets a position, and everything after it, too."""
    with house.services.work.platform() as tx:
        tx.write_last(audit_inbox, {"tenant_id": PLATFORM_LOG, "id": house.default.id, "record": b"\xff not JSON"})
    house.services.audit.record_apart(Event("user.unlocked", trace=Trace()))
    house.services.sequencer.integrate_all()
    assert [row["type"] for row in rows(house, audit_events, "position")][-2:] == ["unreadable", "user.unlocked"]


@pytest.mark.parametrize(
    ("members", "columns", "kept_as"),
    [
        ({"at": 10**30}, {}, "unreadable"),
        ({"at": -(10**30)}, {}, "unreadable"),
        ({"type": "user.\0"}, {}, "unreadable"),
        ({"actor": "user:\0"}, {}, "unreadable"),
        ({"about": {"role": "deep"}}, {}, "unreadable"),
        ({}, {"sealed": b"under no key"}, "user.unlocked"),
    ],
    ids=repr,
)
def test_whatever_stands_in_one_inbox_every_log_goes_on(
    house: House, members: dict[str, Any], columns: dict[str, bytes], kept_as: str
) -> None:
    """Of our form, with what no column takes: one row of one log would stop all others, for as long as it waits."""
    record = {"form": 1, "id": str(uuid.UUID(int=7)), "log": "platform", "type": "user.unlocked", "version": 1}
    record |= {"at": 1, "actor": "anonymous", "request": "-", "outcome": "success", "about": {}}
    data = json.dumps(record | members).encode().replace(b'"deep"', b"[" * 100_000 + b"]" * 100_000)
    house.services.sequencer.integrate_all()
    with house.services.work.platform() as tx:
        tx.write_last(audit_inbox, {"tenant_id": PLATFORM_LOG, "id": uuid.UUID(int=7), "record": data, **columns})
    for log in (None, house.default.id):
        house.services.audit.record_apart(Event("user.reset-forced", trace=Trace(), tenant_id=log))
    assert house.services.sequencer.integrate_all() == 3
    events = rows(house, audit_events, "position")
    found = {
        log: [row["type"] for row in events if row["tenant_id"] == log] for log in (PLATFORM_LOG, house.default.id)
    }
    assert found[PLATFORM_LOG][-2:] == [kept_as, "user.reset-forced"]
    assert found[house.default.id][-1] == "user.reset-forced"
    report = house.services.verification.verify(Question(None), house.services.checkpoints.vouchers())
    assert [finding.first for finding in report.findings] == ([] if not members else [len(found[PLATFORM_LOG]) - 2])
