"""How a transaction ends: with an event for what it has changed, or not at all."""

import uuid

import pytest
import sqlalchemy as sa

from payymo.db.closing import ASIDE, ChangeUnrecorded
from payymo.db.schema import TENANT, audit_inbox, users
from payymo.db.tenancy import TenantWallBreached
from payymo.logs import Event, Trace
from tests.support.house import House

RENAME = sa.update(users).where(users.c.tenant_id == TENANT).values(username="mallory")
EVENT = Event("user.unlocked", trace=Trace())


def names(house: House) -> set[str]:
    """What users are called."""
    owner = house.database.owner()
    with owner.connect() as connection:
        found = set(connection.execute(sa.select(users.c.username)).scalars())
    owner.dispose()
    return found


def waiting(house: House) -> int:
    """How many events there are."""
    owner = house.database.owner()
    with owner.connect() as connection:
        found = connection.execute(sa.select(sa.func.count()).select_from(audit_inbox)).scalar() or 0
    owner.dispose()
    return found


def change(house: House, tenant_id: uuid.UUID, statement: sa.Update = RENAME) -> None:
    """Without an event."""
    with house.services.work(tenant_id) as tx:
        tx.execute(statement)


def change_and_fail(house: House) -> None:
    """With an event, and then something goes wrong."""
    with house.services.work(house.default.id) as tx:
        house.services.audit.record(tx, EVENT)
        tx.execute(RENAME)
        raise RuntimeError


def test_a_change_without_an_event_does_not_commit(house: House) -> None:
    """Invariant 9: whatever the code forgets. What changes nothing, and what is only noted aside, need none."""
    house.user("alice")
    with pytest.raises(ChangeUnrecorded) as caught:
        change(house, house.default.id)
    assert "users" in str(caught.value.private)
    assert names(house) == {"alice"}
    change(house, house.tenant("empty").id)
    change(house, house.default.id, RENAME.execution_options(**{ASIDE: "because"}))
    assert names(house) == {"mallory"}


def test_neither_the_change_nor_its_event_is_there_without_the_other(house: House) -> None:
    """Invariant 9: what is rolled back is neither on record nor in the log, and the other way round."""
    house.user("alice")
    events, lines = waiting(house), len(house.events())
    with pytest.raises(RuntimeError):
        change_and_fail(house)
    assert (names(house), waiting(house), len(house.events())) == ({"alice"}, events, lines)
    with house.services.work(house.default.id) as tx:
        house.services.audit.record(tx, EVENT)
        tx.execute(RENAME)
        assert len(house.events()) == lines
    assert (names(house), waiting(house), len(house.events())) == ({"mallory"}, events + 1, lines + 1)


def test_what_reads_has_nothing_to_put_on_record(house: House) -> None:
    """A look-up that wrote an event would lose it."""
    for looking in (house.services.work.reading(house.default.id), house.services.work.platform(writes=False)):
        with looking as tx, pytest.raises(TenantWallBreached):
            house.services.audit.record(tx, EVENT)
