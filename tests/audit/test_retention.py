"""Events that are too old go: from the front of the log, all at once to a reader, and with a record of it."""

import uuid
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from payymo.audit import retention as retention_module
from payymo.audit import store
from payymo.audit.entries import Filters
from payymo.audit.merkle import TileDamaged, leaf_hash, prove_inclusion, root_at
from payymo.audit.merkle_proofs import verify_inclusion
from payymo.audit.notes import open_checkpoint
from payymo.audit.retention import DAY_SECONDS, HOUR_SECONDS
from payymo.db.schema import audit_checkpoints, audit_events, audit_payloads, audit_tiles
from payymo.logs import Event, Trace
from tests.support.house import House


def record(house: House, count: int, tenant_id: uuid.UUID) -> None:
    """So many events, integrated and signed."""
    for _ in range(count):
        event = Event("role.created", trace=Trace("request", "192.0.2.7"), tenant_id=tenant_id, role="clerk")
        house.services.audit.record_apart(event)
    house.services.sequencer.integrate_all()
    house.services.checkpoints.sign_due()


def rows(house: House, table: sa.Table, tenant_id: uuid.UUID) -> list[Any]:
    engine = house.database.owner()
    with engine.connect() as connection:
        found = list(connection.execute(sa.select(table).where(table.c.tenant_id == tenant_id)).mappings())
    engine.dispose()
    return found


def positions(house: House, tenant_id: uuid.UUID) -> list[int]:
    found = house.services.audit_reader.batches(tenant_id, Filters())
    return [entry.position for batch in found for entry in batch]


def test_what_is_older_goes_and_the_rest_is_proved_as_before(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the age and a second before it; in batches; the removal is on record, under a checkpoint that stays."""
    monkeypatch.setattr(retention_module, "ROWS_AT_A_TIME", 3)
    retention, own = house.services.retention, house.default.id
    other = house.tenant("other").id
    record(house, 10, own)
    record(house, 2, other)
    house.clock.advance(5)
    record(house, 300, own)
    retention.set(own, 2, trace=Trace())
    house.clock.advance(2 * DAY_SECONDS - 5)
    assert retention.remove_due() == 0
    house.clock.advance(1)
    assert retention.remove_due() == 10
    assert retention.remove_due() == 0
    record(house, 0, own)
    assert positions(house, own) == list(range(10, 312))
    assert len(rows(house, audit_events, own)) == len(rows(house, audit_payloads, own)) + 2 == 302
    assert positions(house, other) == [0, 1]
    [*_, changed, removed] = [entry for batch in house.services.audit_reader.batches(own, Filters()) for entry in batch]
    assert (changed.record.type, removed.record.type) == ("audit.retention-changed", "audit.removed")
    [kept] = [row for row in rows(house, audit_checkpoints, own) if row["is_kept"]]
    keys = house.services.checkpoints.verifier_keys(own)
    signed = open_checkpoint(kept["note"].encode(), keys).checkpoint
    assert removed.record.new == {"from": 0, "to": 10, "root": signed.root.hex()}
    assert signed.size == 10
    with house.services.work.platform(writes=False) as tx:
        read = partial(store.read_tile, tx, own)
        proof = prove_inclusion(311, 312, read)
        assert verify_inclusion(leaf_hash(removed.data), 311, 312, proof, root_at(312, read))


def test_a_log_in_which_nothing_happens_comes_to_rest(house: House) -> None:
    """That something was removed is an event, too, and gets old: each one would bring the next, every hour for ever."""
    own, retention = house.default.id, house.services.retention
    record(house, 5, own)
    retention.set(own, 1, trace=Trace())
    for _ in range(5):
        house.clock.advance(DAY_SECONDS + 1)
        retention.remove_due()
        record(house, 0, own)
    assert positions(house, own) == [7]  # it tells of 5 and 6, of which 6 told of the first five
    record(house, 1, own)
    house.clock.advance(DAY_SECONDS + 1)
    assert retention.remove_due() == 2


def test_a_run_that_was_killed_leaves_no_hole_and_is_finished(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between two batches: readers see the log begin where it says; the next run removes what is left."""
    monkeypatch.setattr(retention_module, "ROWS_AT_A_TIME", 2)
    own, retention = house.default.id, house.services.retention
    record(house, 5, own)
    retention.set(own, 1, trace=Trace())
    house.clock.advance(DAY_SECONDS + 1)
    sweep, calls = retention_module.pruning.sweep, []

    def killed(*args: Any, **options: Any) -> int:
        if calls:
            raise KeyboardInterrupt
        calls.append(sweep(*args, **options))
        return calls[0]

    monkeypatch.setattr(retention_module.pruning, "sweep", killed)
    with pytest.raises(KeyboardInterrupt):
        retention.remove_due()
    monkeypatch.undo()
    house.services.sequencer.integrate_all()
    assert sorted(row["position"] for row in rows(house, audit_events, own)) == [2, 3, 4, 5, 6]
    assert positions(house, own) == [5, 6]
    assert retention.remove_due() == 3
    assert sorted(row["position"] for row in rows(house, audit_events, own)) == [5, 6]
    assert len([row for row in rows(house, audit_checkpoints, own) if row["is_kept"]]) == 1


def test_nothing_is_removed_from_a_log_that_is_not_what_was_signed(sqlite_house: House) -> None:
    """Whoever has changed it must not have their traces removed; other logs go on."""
    house, own = sqlite_house, sqlite_house.default.id
    other = house.tenant("other").id
    record(house, 5, own)
    record(house, 4, other)
    house.services.retention.set(own, 1, trace=Trace())
    house.services.retention.set(other, 1, trace=Trace())
    house.clock.advance(DAY_SECONDS + 1)
    engine = house.database.owner()
    with engine.begin() as connection:
        connection.execute(sa.update(audit_tiles).where(audit_tiles.c.tenant_id == own).values(hashes=bytes(160)))
    engine.dispose()
    with pytest.raises(TileDamaged):
        house.services.retention.remove_due()
    assert positions(house, own) == [0, 1, 2, 3, 4]
    assert [row["position"] for row in rows(house, audit_events, other)] == []


def test_nothing_is_removed_on_the_word_of_a_checkpoint_that_nobody_has_signed(sqlite_house: House) -> None:
    """Of the right log and the right root, with another log's signature below it, or none that is known."""
    house, own, retention = sqlite_house, sqlite_house.default.id, sqlite_house.services.retention
    record(house, 5, own)
    retention.set(own, 1, trace=Trace())
    house.clock.advance(DAY_SECONDS + 1)
    [row] = rows(house, audit_checkpoints, own)
    text, _, signature = row["note"].partition("\n\n")
    platform = str(house.services.checkpoints.verifier_keys(None)[0]).partition("+")[0]
    for wrong in (signature[:-8] + "AAAAAA=\n", signature.replace(text.partition("\n")[0], platform)):
        engine = house.database.owner()
        with engine.begin() as connection:
            note = f"{text}\n\n{wrong}"
            connection.execute(sa.update(audit_checkpoints).where(audit_checkpoints.c.size == 5).values(note=note))
        engine.dispose()
        assert retention.remove_due() == 0
    engine = house.database.owner()
    with engine.begin() as connection:
        connection.execute(sa.update(audit_checkpoints).where(audit_checkpoints.c.size == 5).values(note=row["note"]))
    engine.dispose()
    assert retention.remove_due() == 5


@pytest.mark.parametrize(("default", "own", "expected"), [(None, None, 0), (3, None, 3), (3, 0, 0), (None, 4, 4)])
def test_a_log_has_its_own_time_or_that_of_the_settings(
    sqlite_house: House, default: int | None, own: int | None, expected: int
) -> None:
    """For ever, where neither says anything; a log of its own for ever, whatever the settings say."""
    house = sqlite_house
    services, keys = house.services, house.services.checkpoints.verifier_keys
    found = retention_module.Retention(services.work, house.clock, services.audit, keys=keys, keep_days=default)
    found.set(house.default.id, own, trace=Trace())
    assert found.get(house.default.id) == (expected, own is not None)
    record(house, 1, house.default.id)
    house.clock.advance((expected or 1000) * DAY_SECONDS)
    found.remove_due()
    assert positions(house, house.default.id) == [0, 1]
    house.clock.advance(1)
    found.remove_due()
    assert positions(house, house.default.id) == ([] if expected else [0, 1])


def test_old_checkpoints_are_thinned_out(house: House) -> None:
    """All of a day, then the last of each hour, after thirty days the last of each day; those of removals stay."""
    own = house.default.id
    start = 1_800_000_000 // DAY_SECONDS * DAY_SECONDS
    engine = house.database.owner()
    made = [(60 * minute, minute) for minute in range(1, 60 * 30)]  # every minute of thirty hours
    with engine.begin() as connection:
        rows_ = [
            {"tenant_id": own, "size": size, "note": "", "created_at": start + at, "is_kept": size == 7}
            for at, size in made
        ]
        connection.execute(sa.insert(audit_checkpoints), rows_)
    engine.dispose()

    def sizes() -> list[int]:
        return sorted(row["size"] for row in rows(house, audit_checkpoints, own))

    house.clock.now = start + 26 * HOUR_SECONDS
    house.services.retention.thin_checkpoints()
    assert sizes() == [7, 59, 119, *range(120, 1800)]
    house.clock.now = start + 40 * DAY_SECONDS
    house.services.retention.thin_checkpoints()
    assert sizes() == [7, 24 * 60 - 1, 1799]
