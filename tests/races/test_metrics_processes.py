"""The metrics of a real server with several processes: one sum, whoever answers, whoever dies."""

import os
import re
import signal
import time

import httpx

from tests.guard.ports import free_port
from tests.support.house import Database
from tests.support.processes import Server, servers

JWKS = 'payymo_http_requests_total{method="GET",route="/.well-known/jwks.json",status="2xx"}'


def scrape(port: int) -> dict[str, float]:
    """Every sample, as it is written."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=20).text
    return {name: float(value) for name, value in re.findall(r"^(payymo\S+) (\S+)$", text, re.MULTILINE)}


def workers(server: Server) -> set[int]:
    return set(server.pids()) - {server.pid}


def test_counters_go_on_when_a_worker_is_killed(sqlite_database: Database) -> None:
    """Each answered request counts once, before and after; who is gone is no worker; nothing is on the public port."""
    port = free_port()
    more = {"PAYYMO_METRICS__BIND": f"127.0.0.1:{port}", "PAYYMO_SERVER__WORKERS": "2"}
    with servers(sqlite_database, 1, **more) as [server]:
        for number in range(3):
            for _ in range(20):
                assert httpx.get(f"{server.base}/.well-known/jwks.json").status_code == 200
            found = scrape(port)
            assert found[JWKS] == 20 * (number + 1)
            assert found["payymo_worker_starts_total"] == 2 + number
            if number < 2:
                victim = min(workers(server))
                os.kill(victim, signal.SIGKILL)
                _wait_for_another(server, port, victim, starts=3 + number)
        assert httpx.get(f"{server.base}/metrics").status_code == 404
        assert [path.stat().st_mode & 0o777 for path in sqlite_database.data.glob("metrics-*")] == [0o700]
        server.terminate()
        assert not list(sqlite_database.data.glob("metrics-*"))


def _wait_for_another(server: Server, port: int, victim: int, *, starts: int) -> None:
    """A scrape is no snapshot: it may find the start of a worker counted and not yet find it there."""
    deadline = time.monotonic() + 30
    while True:
        found = scrape(port)
        assert found["payymo_workers"] <= 2
        assert found["payymo_worker_starts_total"] <= starts
        is_counted = found["payymo_worker_starts_total"] == starts and found["payymo_workers"] == 2
        if is_counted and victim not in workers(server):
            return
        assert time.monotonic() < deadline
