"""What is checked of a real service: each thing that can be wrong shows, alone, and strangers learn no reason."""

from collections.abc import Callable
from queue import SimpleQueue

import pytest
import sqlalchemy as sa

from payymo.clock import system_clock
from payymo.db.schema import leases, revocation_counter, signing_keys
from payymo.health.model import MISSED_ROUNDS, NAMES
from payymo.mail.model import Message
from payymo.maintenance import Maintenance, Round
from tests.support.house import Database, House


def broken(statement: sa.Executable) -> Callable[[House], None]:
    """How the owner of the database breaks something."""

    def do(house: House) -> None:
        owner = house.database.owner()
        with owner.begin() as connection:
            connection.execute(statement)
        owner.dispose()

    return do


def mail_lies(house: House) -> None:
    with house.services.work(house.default.id) as tx:
        house.services.outbox.put(tx, Message("test", "a@example.com"))
    house.clock.advance(601)
    house.services.sequencer.integrate_all()


def nobody_integrates(house: House) -> None:
    house.user("alice")
    house.clock.advance(10)


WAYS = {
    "migrations": (broken(sa.text("UPDATE alembic_version SET version_num = 'other'")), "failing"),
    "keys": (broken(sa.delete(signing_keys).where(signing_keys.c.purpose == "refresh")), "failing"),
    "feed": (broken(sa.delete(revocation_counter)), "failing"),
    "outbox": (mail_lies, "degraded"),
    "audit": (nobody_integrates, "degraded"),
    "duties": (broken(sa.insert(leases).values(name="maintenance", holder="x", expires_at=0, done_at=0)), "degraded"),
}


@pytest.mark.parametrize(("name", "way", "standing"), [(name, *way) for name, way in WAYS.items()], ids=WAYS)
def test_what_is_wrong_shows_and_nothing_else_does(
    sqlite_database: Database, name: str, way: Callable[[House], None], standing: str
) -> None:
    """200 or 503 by it; the body is names and standings, to the last octet."""
    house = House(sqlite_database, mail={"transport": "console"}, server={"maintenance_seconds": 3600})
    client = house.client()
    healthy = dict.fromkeys(NAMES, "ok")
    assert client.get("/health/ready").get_json() == {"data": {"status": "ready", "checks": healthy}}
    way(house)
    house.clock.advance(1)
    answer = client.get("/health/ready")
    expected = healthy | {name: standing}
    if name == "migrations":  # what stands in other tables is not asked
        expected |= {
            "clock": "failing",
            "feed": "failing",
            "outbox": "degraded",
            "audit": "degraded",
            "duties": "degraded",
        }
    is_ready = standing != "failing"
    assert answer.status_code == (200 if is_ready else 503)
    assert answer.get_json() == {"data": {"status": "ready" if is_ready else "not ready", "checks": expected}}
    house.close()


def test_a_machine_whose_clock_is_off_gets_no_requests(postgres_database: Database) -> None:
    """Against the database's clock, by which all nodes are measured; SQLite has none of its own."""
    house = House(postgres_database)
    seen = []
    for off in (0, 15, 45, -45):
        house.clock.now = system_clock() + off
        answer = house.client().get("/health/ready")
        seen.append((answer.status_code, answer.get_json()["data"]["checks"]["clock"]))
    assert seen == [(200, "ok"), (200, "degraded"), (503, "failing"), (503, "failing")]
    house.close()


def test_a_finished_round_of_duties_is_written_down_for_all_to_see(house: House) -> None:
    """By whoever did it, on both databases, and it outlives the process: the lease that is given back keeps it."""
    services = house.services
    every = services.settings.server.maintenance_seconds
    house.clock.now = system_clock() - MISSED_ROUNDS * every
    services.health.health()
    house.clock.now = system_clock()
    rounds: SimpleQueue[Round] = SimpleQueue()
    maintenance = Maintenance(services, every_seconds=0.01, observe=rounds.put)
    maintenance.start()
    assert not rounds.get(timeout=20).has_failed
    maintenance.stop()
    found = services.health.health().findings["duties"]
    assert (found.standing, found.reason) == ("ok", "last done 0 s ago")
