"""A log whose stored tree was changed neither grows nor is signed, and stops none of the others."""

import pytest
import sqlalchemy as sa

from payymo.audit.damage import LogsDamaged
from payymo.db.schema import PLATFORM_LOG, audit_events, audit_inbox, audit_logs, audit_tiles
from tests.support.house import House
from tests.support.moments import before
from tests.support.tampering import Tampered


def rows(house: House, table: sa.Table, *order: str) -> list[sa.RowMapping]:
    """What stands in a table, as somebody who sees everything finds it."""
    engine = house.database.owner()
    with engine.connect() as connection:
        found = list(connection.execute(sa.select(table).order_by(*(table.c[name] for name in order))).mappings())
    engine.dispose()
    return found


def test_a_damaged_log_stops_none_of_the_others(house: House) -> None:
    """Its events wait in the inbox, and go on when its tree is what it was."""
    services = house.services
    services.sequencer.integrate_all()
    house.user("alice")
    house.tenant("acme")
    services.sequencer.integrate_all()
    ours = audit_tiles.c.tenant_id == house.default.id
    [tile] = [row for row in rows(house, audit_tiles) if row["tenant_id"] == house.default.id]
    change(house, sa.update(audit_tiles).where(ours).values(hashes=bytes(len(tile["hashes"]))))
    house.user("bob")
    house.tenant("globex")
    with pytest.raises(LogsDamaged) as damaged:
        services.sequencer.integrate_all()
    assert damaged.value.logs == {house.default.id}
    assert {row["tenant_id"] for row in rows(house, audit_inbox)} == {house.default.id}
    assert (services.sequencer.standing().damaged, services.sequencer.standing().waiting) == (1, 1)
    change(house, sa.update(audit_tiles).where(ours).values(hashes=tile["hashes"]))
    assert services.sequencer.integrate_all() == 1
    assert (services.sequencer.standing().damaged, services.sequencer.standing().waiting) == (0, 0)


def test_an_event_where_the_next_one_belongs_stops_none_of_the_other_logs(house: House) -> None:
    """Somebody has written it there, without a leaf in the tree: its log waits until it is gone."""
    services, own = house.services, house.default.id
    house.user("alice")
    services.sequencer.integrate_all()
    *_, last = [row for row in rows(house, audit_events, "position") if row["tenant_id"] == own]
    behind = last["position"] + 1
    change(house, sa.insert(audit_events).values(**(dict(last) | {"position": behind})))
    for name in ("bob", "carol"):
        house.user(name)
        house.tenant(f"of-{name}")
        with pytest.raises(LogsDamaged) as damaged:
            services.sequencer.integrate_all()
        assert damaged.value.logs == {own}
        assert {row["tenant_id"] for row in rows(house, audit_inbox)} == {own}
    change(house, sa.delete(audit_events).where(audit_events.c.tenant_id == own, audit_events.c.position == behind))
    assert services.sequencer.integrate_all() == 2
    assert services.sequencer.standing().damaged == 0


@pytest.mark.parametrize("size", [-1, 2**56, 2**62])
def test_whatever_size_is_written_down_of_a_log_the_others_grow_and_are_signed(house: House, size: int) -> None:
    """Nobody signs the number: it is one that there can't be, or one that no tree of it has."""
    services, own = house.services, audit_logs.c.tenant_id == house.default.id
    house.user("alice")
    services.sequencer.integrate_all()
    change(house, sa.update(audit_logs).where(own).values(size=size))
    house.user("bob")
    house.tenant("acme")
    with pytest.raises(LogsDamaged) as grown:
        services.sequencer.integrate_all()
    with pytest.raises(LogsDamaged) as signed:
        services.checkpoints.sign_due(at_once=True)
    assert grown.value.logs == signed.value.logs == {house.default.id}
    newest = services.checkpoints.newest(None)
    assert newest is not None
    assert newest.size == next(row["size"] for row in rows(house, audit_logs) if row["tenant_id"] == PLATFORM_LOG)
    assert services.checkpoints.newest(house.default.id) is None
    assert services.sequencer.standing().damaged == 1


@pytest.mark.parametrize("is_shorter", [False, True])
def test_a_log_signs_nothing_that_contradicts_its_own_checkpoint(house: House, *, is_shorter: bool) -> None:
    """Also when events, tiles and head were all made to agree: the other logs are signed."""
    with Tampered(house, count=40) as world:
        with world.engine.begin() as connection:
            before = world.rows(connection)
            world.write(connection, before[:10] if is_shorter else [*before[:-1], world.altered(before[-1])])
            world.rebuild(connection)
        house.user("alice")
        house.tenant("acme")
        services = house.services
        services.sequencer.integrate_all()
        newest = services.checkpoints.newest(world.log)
        with pytest.raises(LogsDamaged) as damaged:
            services.checkpoints.sign_due(at_once=True)
        assert damaged.value.logs == {world.log}
        assert services.checkpoints.newest(world.log) == newest
        newest = services.checkpoints.newest(None)
        assert newest is not None
        assert newest.size == next(row["size"] for row in rows(house, audit_logs) if row["tenant_id"] == PLATFORM_LOG)


def test_a_log_that_was_signed_meanwhile_is_not_taken_for_damaged(house: House) -> None:
    """As by `payymo audit checkpoint` beside a running service: the longer head is as good, and nobody is alarmed."""
    services = house.services
    house.user("alice")
    services.sequencer.integrate_all()

    def go_on() -> None:
        house.user("bob")
        services.sequencer.integrate_all()
        services.checkpoints.sign_due(at_once=True)

    with before(house, lambda statement: "SELECT audit_checkpoints.size" in statement, go_on):
        services.checkpoints.sign_due(at_once=True)
    assert services.sequencer.standing().damaged == 0
    newest = services.checkpoints.newest(house.default.id)
    assert newest is not None
    assert newest.size == next(row["size"] for row in rows(house, audit_logs) if row["tenant_id"] == house.default.id)


def change(house: House, statement: sa.Update | sa.Insert | sa.Delete) -> None:
    engine = house.database.owner()
    with engine.begin() as connection:
        connection.execute(statement)
    engine.dispose()
