"""Workers that can't begin: the others answer, and it is tried again until it works."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from payymo.cli.beginning import LONGEST_SECONDS, STEADY_SECONDS, Respite
from payymo.cli.listener import Listener, listen
from payymo.errors import Misconfigured
from tests.guard.ports import free_port
from tests.support.house import Database, House
from tests.support.processes import PAYYMO, Server, environment, log_in, servers

PATIENCE_SECONDS = 60


def await_that(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.05)  # what it is waited for needs the processor


def test_who_ends_while_it_begins_is_tried_again_later_each_time() -> None:
    """At once the first time: most of those that end have been killed for a reason of their own."""
    respite, waits = Respite(), list[float | None]()
    for _ in range(8):
        waits.append(respite.ended(0, lived=STEADY_SECONDS - 0.1, now=100.0))
        assert respite.ended(0, lived=STEADY_SECONDS, now=100.0) is None, "it is dead already"
        respite.begin(0)
    assert waits == [0, 1, 2, 4, 8, 16, LONGEST_SECONDS, LONGEST_SECONDS]
    assert respite.ended(0, lived=STEADY_SECONDS, now=100.0) == 0
    respite.begin(0)
    assert respite.ended(0, lived=1, now=100.0) == 0


def test_one_is_due_when_its_time_has_come() -> None:
    """And not twice: another one may have died, and been replaced, meanwhile."""
    respite = Respite()
    for _ in range(3):
        respite.begin(1)
        respite.ended(1, lived=0, now=100.0)
    respite.ended(0, lived=60, now=100.0)
    assert (respite.due(100.0), respite.due(101.9), respite.due(102.0)) == ([0], [0], [1, 0])
    respite.begin(0)
    assert respite.due(102.0) == [1]


def hide(database: Database) -> Path:
    """The database, away for a while."""
    path = Path(database.url.removeprefix("sqlite:///"))
    path.rename(path.with_suffix(".hidden"))
    return path


def bring_back(path: Path) -> None:
    path.unlink(missing_ok=True)  # an empty one, which they have made
    path.with_suffix(".hidden").rename(path)


def kill_one(server: Server) -> int:
    worker = next(pid for pid in server.pids() if pid != server.pid)
    os.kill(worker, signal.SIGKILL)
    return worker


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_worker_that_dies_while_the_database_is_away_ends_nobody(sqlite_database: Database, workers: str) -> None:
    """Once that is over, everything is as before, and nobody had to do anything."""
    house = House(sqlite_database)
    house.user("alice")
    house.close()
    with servers(sqlite_database, 1, PAYYMO_SERVER__WORKERS=workers) as [server]:
        before = len(server.pids())
        began = time.monotonic()
        await_that(lambda: time.monotonic() - began > STEADY_SECONDS)  # who lives no longer has not begun
        path = hide(sqlite_database)
        kill_one(server)
        await_that(lambda: "it is tried again in 2 s" in server.log_path.read_text())
        with server.client() as client:
            if workers == "2":
                assert client.get("/health/live").status_code == 200
            bring_back(path)
            await_that(lambda: len(server.pids()) == before)
            log_in(client)
        said = server.log_path.read_text()
        assert "request_id=worker" in said
        assert "Traceback" not in said


def test_a_server_whose_workers_never_begin_ends(sqlite_database: Database, tmp_path: Path) -> None:
    """Whoever has started it sees that, instead of a port that answers nobody."""
    fault = tmp_path / "sitecustomize.py"
    fault.write_text("import payymo.cli.bridge as b\nb.Bridge.__init__ = lambda *_a, **_k: 1 / 0\n")
    done = subprocess.run(
        [PAYYMO, "serve", "--port", str(free_port())],
        env=environment(sqlite_database, PYTHONPATH=str(tmp_path)),
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "they end while they begin" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_somebody_takes_at_the_last_moment_is_named() -> None:
    """Two that start together have both seen it free: a sentence for one of them, and no traceback."""
    with listen("127.0.0.1", 0, backlog=1) as taken:
        port = taken.getsockname()[1]
        late = object.__new__(Listener)
        late.bind_addr, late.bind_port, late.backlog = "127.0.0.1", port, 1
        with pytest.raises(Misconfigured, match=f"127.0.0.1:{port}: Address already in use"):
            late._init_shared_socket()
