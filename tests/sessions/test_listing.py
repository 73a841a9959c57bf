"""All sessions of a tenant: page by page, each once, and none that is over."""

import uuid

import pytest

from payymo.errors import InvalidInput
from payymo.sessions.model import NEWEST, Place
from payymo.sessions.store import _LIST_OF_TENANT
from tests.support.house import Client, Database, House


def ids_of(house: House, *, count: int) -> list[uuid.UUID]:
    """Every page, one after the other."""
    found, after = [], ""
    while True:
        page = house.services.sessions.page(house.default.id, after=after, count=count)
        assert len(page.sessions) <= count
        found += [listed.session.id for listed in page.sessions]
        if page.next is None:
            return found
        after = page.next


def test_each_living_session_is_on_one_page(house: House) -> None:
    """The newest first; those of the same second, too; those that ended or ran out, and another tenant's, are not."""
    other = house.tenant("other")
    users = [house.user(f"user-{number}") for number in range(3)]
    house.user("user-0", tenant=other)
    house.logged_in("user-0", tenant=other)
    clients: list[Client] = []
    for number in range(9):
        clients.append(house.logged_in(f"user-{number % 3}"))
        house.clock.advance(number % 2)
    clients[4].post("/api/auth/logout")
    lists = [house.services.sessions.list_sessions(house.default.id, user.id) for user in users]
    living = sorted((session for sessions in lists for session in sessions), key=lambda one: (one.started_at, one.id))
    assert len(living) == 8
    for count in (1, 3, 8, 50):
        assert ids_of(house, count=count) == [session.id for session in reversed(living)]
    house.clock.advance(max(session.expires_at for session in living) - house.clock())
    assert ids_of(house, count=3) == []


@pytest.mark.parametrize(
    "text", ["x", "-", "1", "1-", "-1", "1-x", "٣-00000000-0000-0000-0000-000000000000", f"{10**18}-{NEWEST.id}"]
)
def test_a_place_that_is_none_is_refused(sqlite_house: House, text: str) -> None:
    """A sentence, and no error of the program."""
    with pytest.raises(InvalidInput):
        sqlite_house.services.sessions.page(sqlite_house.default.id, after=text, count=5)
    assert Place.read(str(NEWEST)) == NEWEST


def test_a_page_is_read_along_its_index(database: Database) -> None:
    """Flat to a million sessions: the place is looked up, and nothing is sorted."""
    engine = database.owner()
    values = {"own_tenant": str(uuid.UUID(int=0)), "before": 5, "of_id": uuid.UUID(int=0), "moment": 1, "count": 3}
    with engine.connect() as connection:
        if database.is_postgres:
            connection.exec_driver_sql("SET enable_seqscan = off")
            connection.exec_driver_sql("SET enable_bitmapscan = off")
        word = "EXPLAIN" if database.is_postgres else "EXPLAIN QUERY PLAN"
        compiled = _LIST_OF_TENANT.compile(engine)
        given = compiled.params | values
        if compiled.positiontup is None:
            rows = connection.exec_driver_sql(f"{word} {compiled}", given | {"of_id": str(values["of_id"])})
        else:
            given["of_id"] = uuid.UUID(int=0).hex
            rows = connection.exec_driver_sql(f"{word} {compiled}", tuple(given[name] for name in compiled.positiontup))
        plan = [str(row[-1]) for row in rows]
    engine.dispose()
    assert any("ix_sessions_running" in line for line in plan), plan
    if database.is_postgres:
        assert any("Index Cond" in line and "started_at" in line for line in plan), plan
    else:
        assert any("ix_sessions_running (tenant_id=? AND (started_at,id)<(?,?))" in line for line in plan), plan
    assert not any("Sort" in line or "TEMP B-TREE" in line for line in plan), plan
