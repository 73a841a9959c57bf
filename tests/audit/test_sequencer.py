"""From the transaction of a change to a position in the log: nothing lost, nothing twice, in commit order."""

import sqlalchemy as sa

from payymo.audit.merkle import EMPTY_ROOT
from payymo.audit.model import decode
from payymo.db.schema import audit_events, audit_inbox, audit_logs, audit_payloads
from tests.support.house import House


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
    assert rows(house, audit_events) == []
    assert house.services.sequencer.integrate_all() == len(rows(house, audit_events))
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
    assert house.services.checkpoints.sign_due() == 2
    assert house.services.checkpoints.sign_due() == 0
    assert rows(house, audit_payloads)
