"""Reading the logs: every event once, whatever the filter and the order; and nobody else's."""

import dataclasses
import uuid
from typing import Any

import pytest
import sqlalchemy as sa

from payymo.audit import reader as reader_module
from payymo.audit.entries import Entry, Filters
from payymo.audit.proofs import InclusionProof
from payymo.audit.search import _select
from payymo.db.schema import audit_events, audit_payloads
from payymo.errors import InvalidInput, NotFound
from payymo.logs import Event, Trace
from tests.support.house import House

ADDRESS = "192.0.2.7"


def put(house: House, name: str, tenant_id: uuid.UUID | None, **members: Any) -> None:
    trace = Trace("request", ADDRESS, members.pop("actor_id", None))
    outcome = members.pop("outcome", "success")
    house.services.audit.record_apart(Event(name, outcome, trace=trace, tenant_id=tenant_id, **members))
    house.clock.advance(1)


def read(
    house: House, filters: Filters, *, newest_first: bool = True, tenant_id: uuid.UUID | None = None
) -> list[Entry]:
    """All of it, in pages of two."""
    own, found, cursor = tenant_id or house.default.id, [], None
    while True:
        page = house.services.audit_reader.page(own, filters, cursor=cursor, count=2, newest_first=newest_first)
        assert len(page.entries) <= 2
        found += page.entries
        cursor = page.next
        if cursor is None:
            return found


def test_pages_hold_what_the_filter_means_and_nothing_twice(house: House) -> None:
    """Against the same filter in Python, in both orders, while the log grows at its end."""
    alice, bob = uuid.UUID(int=1), uuid.UUID(int=2)
    own = house.default.id
    for index in range(6):
        put(house, "session.login", own, user_id=alice, outcome="refused" if index % 3 == 0 else "success")
        put(house, "session.logout", own, user_id=bob, actor_id=alice)
        put(house, "role.created", own, actor_id=bob, role="clerk")
    put(house, "tenant.active", None)
    house.services.sequencer.integrate_all()
    everything = read(house, Filters(), newest_first=False)
    assert [entry.position for entry in everything] == list(range(18))
    moment = everything[9].record.at_ms
    cases = {
        Filters(actor=f"user:{alice}"): lambda one: one.actor == f"user:{alice}",
        Filters(type="session."): lambda one: one.type.startswith("session."),
        Filters(type="role.created"): lambda one: one.type == "role.created",
        Filters(type="nothing."): lambda _: False,
        Filters(user_id=alice): lambda one: one.about.get("user_id") == str(alice),
        Filters(outcome="refused"): lambda one: one.outcome == "refused",
        Filters(outcome="success", user_id=alice): lambda one: (
            one.outcome == "success" and one.about.get("user_id") == str(alice)
        ),
        Filters(since_ms=moment): lambda one: one.at_ms >= moment,
        Filters(before_ms=moment, type="session."): lambda one: one.at_ms < moment and one.type.startswith("session."),
    }
    for filters, is_meant in cases.items():
        expected = [entry for entry in everything if is_meant(entry.record)]
        assert read(house, filters, newest_first=False) == expected
        assert read(house, filters) == expected[::-1]
    page = house.services.audit_reader.page(own, Filters(), cursor=None, count=17, newest_first=False)
    put(house, "role.removed", own)
    house.services.sequencer.integrate_all()
    rest = house.services.audit_reader.page(own, Filters(), cursor=page.next, count=17, newest_first=False)
    assert [entry.position for entry in rest.entries] == [17, 18]


def test_a_cursor_is_good_for_its_own_list_alone(house: House) -> None:
    """Another tenant's, another filter's, another order's, a changed or a made-up one: each is refused by name."""
    other = house.tenant("other")
    for tenant_id in (house.default.id, other.id, None):
        for _ in range(3):
            put(house, "role.created", tenant_id, role="clerk")
    house.services.sequencer.integrate_all()
    pages = house.services.audit_reader.page
    given = {"cursor": None, "count": 1, "newest_first": True}
    cursors = {own: pages(own, Filters(), **given).next for own in (house.default.id, other.id, None)}
    cursor = cursors[house.default.id]
    assert cursor is not None
    assert pages(house.default.id, Filters(), **{**given, "cursor": cursor}).entries
    flipped = ("B" if cursor[30] == "A" else "A").join((cursor[:30], cursor[31:]))
    foreign = [found for own, found in cursors.items() if own != house.default.id]
    for wrong in (*foreign, flipped, cursor[:-1], cursor + "A", cursor + "=", "", "A" * 71, "é"):
        with pytest.raises(InvalidInput) as refused:
            pages(house.default.id, Filters(), **{**given, "cursor": wrong})
        assert [error.pointer for error in refused.value.errors] == ["/cursor"]
    for filters, newest_first in ((Filters(type="role.created"), True), (Filters(), False)):
        with pytest.raises(InvalidInput):
            pages(house.default.id, filters, cursor=cursor, count=1, newest_first=newest_first)


def test_what_is_personal_is_shown_until_it_is_erased_and_never_when_it_was_changed(house: House) -> None:
    """Erased, swapped with another event's, and without its tenant's keys; the event itself stays."""
    for name in ("a@example.com", "b@example.com", "c@example.com"):
        put(house, "user.created", house.default.id, personal={"email": name})
    house.services.sequencer.integrate_all()
    first, second, third = read(house, Filters(), newest_first=False)
    assert first.personal == {"address": ADDRESS, "email": "a@example.com"}
    owner = house.database.owner()
    with owner.begin() as connection:
        sealed = connection.execute(sa.select(audit_payloads).where(audit_payloads.c.id == second.id)).mappings().one()
        connection.execute(sa.delete(audit_payloads).where(audit_payloads.c.id == first.id))
        change = sa.update(audit_payloads).where(audit_payloads.c.id == third.id)
        connection.execute(change.values(sealed=sealed["sealed"]))
    owner.dispose()
    found = read(house, Filters(), newest_first=False)
    assert [(one.personal, one.is_erased, one.is_damaged) for one in found] == [
        (None, True, False),
        (second.personal, False, False),
        (None, False, True),
    ]


def test_an_event_is_proved_by_a_file_that_shows_nothing_personal(house: House) -> None:
    """Under the newest checkpoint; before there is one as new as the event, there is no proof yet."""
    put(house, "user.created", house.default.id, personal={"email": "a@example.com"})
    house.services.sequencer.integrate_all()
    [entry] = read(house, Filters())
    assert house.services.audit_reader.get(house.default.id, entry.id).proof is None
    house.services.checkpoints.sign_due()
    proven = house.services.audit_reader.get(house.default.id, entry.id)
    assert proven.entry == entry
    assert proven.proof is not None
    proof = InclusionProof.parse(proven.proof.encode())
    assert (proof.index, proof.record, proof.disclosure) == (0, entry.data, None)
    for tenant_id in (house.tenant("other").id, None):
        with pytest.raises(NotFound):
            house.services.audit_reader.get(tenant_id, entry.id)


def test_a_record_that_can_not_be_read_keeps_nobody_from_the_others(sqlite_house: House) -> None:
    """Somebody has written into the table: it is shown as damaged, at its position."""
    house = sqlite_house
    for _ in range(3):
        put(house, "role.created", house.default.id, role="clerk")
    house.services.sequencer.integrate_all()
    owner = house.database.owner()
    with owner.begin() as connection:
        connection.execute(sa.update(audit_events).where(audit_events.c.position == 1).values(record=b"{"))
    owner.dispose()
    assert [(one.record.type, one.is_damaged) for one in read(house, Filters(), newest_first=False)] == [
        ("role.created", False),
        ("unreadable", True),
        ("role.created", False),
    ]


def test_no_filter_reads_another_tenants_rows(sqlite_house: House) -> None:
    """Every statement searches an index that begins with whose log it is."""
    engine = sqlite_house.database.owner()
    fields = [field.name for field in dataclasses.fields(Filters) if field.name not in {"type", "outcome"}]
    names = {"since_ms": "since", "before_ms": "before"}
    for condition in (*(names.get(name, name) for name in fields), "types", "refused", "success", "earlier", "id"):
        statement = _select(frozenset({condition}), is_platform=True, newest_first=True)
        values = dict.fromkeys(("place", "since", "before", "count"), 1) | {
            "of_types": ["a"],
            "of_actor": "a",
            "of_user": uuid.UUID(int=1),
            "of_id": uuid.UUID(int=1),
        }
        with engine.connect() as connection:
            compiled = statement.params(values).compile(
                connection, compile_kwargs={"literal_binds": True, "render_postcompile": True}
            )
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}")]
        steps = [step for step in plan if step.startswith(("SEARCH", "SCAN"))]
        assert steps
        assert all(step.startswith("SEARCH") and "(tenant_id=?" in step for step in steps), (condition, plan)
        if condition == "refused":
            assert any("ix_audit_events_outcome" in step for step in steps)
    engine.dispose()


def test_batches_leave_nothing_out_at_their_borders(sqlite_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as fit, one more, one less."""
    monkeypatch.setattr(reader_module, "BATCH", 3)
    for count in range(1, 8):
        put(sqlite_house, "role.created", sqlite_house.default.id, role="clerk")
        sqlite_house.services.sequencer.integrate_all()
        found = sqlite_house.services.audit_reader.batches(sqlite_house.default.id, Filters())
        assert [one.position for batch in found for one in batch] == list(range(count))
