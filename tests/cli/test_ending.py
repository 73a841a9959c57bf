"""How `payymo serve` ends when everybody is told at once, as a terminal and systemd do it."""

import os
import signal

import pytest

from payymo.clock import system_clock
from tests.support.house import Database, House
from tests.support.processes import Server, environment, servers


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_all_processes_may_be_told_to_end_at_once(sqlite_database: Database, told: signal.Signals) -> None:
    """Ctrl-C reaches the whole group, and `systemctl stop` the whole unit: nothing has crashed, and it ends with 0."""
    server = Server(sqlite_database, environment(sqlite_database, PAYYMO_SERVER__WORKERS="2"))
    server.start()
    try:
        os.killpg(server.pid, told)
        assert server.wait() == 0
    finally:
        server.kill()
    assert "ERROR" not in server.log_path.read_text()


def test_what_was_used_of_the_limits_until_the_end_is_written_down(database: Database) -> None:
    """A server that ends, or whose workers are replaced, took the last minute of its figures along."""
    with servers(database, 1, PAYYMO_LIMITS__ENABLED="true") as (server,):
        with server.client() as client:
            for _ in range(7):
                client.post("/api/auth/token/verify", json={"token": "x"})
        server.terminate()
    house = House(database, clock=system_clock)
    used = house.services.limit_usage.read(days=1)
    assert {key.tier: sum(tally.steps) for key, tally in used.items() if key.tier == "verify"} == {"verify": 7}
    house.close()
