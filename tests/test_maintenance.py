"""The duties of a running service go on, whatever happens to one round of them."""

import time

import sqlalchemy as sa
from sqlalchemy import event

from payymo.db.schema import token_revocations
from payymo.maintenance import Maintenance
from tests.support.house import House


def test_expired_revocations_go_away_even_after_a_failed_round(house: House) -> None:
    """Invariant 25: a database error in one round does not end the cleaning for good."""
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
