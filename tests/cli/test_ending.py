"""How `payymo serve` ends when everybody is told at once, as a terminal and systemd do it."""

import os
import signal

import pytest

from tests.support.house import Database
from tests.support.processes import Server, environment


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
