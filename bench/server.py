"""One `payymo serve` of our own: started, asked, looked at, and always ended."""

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.scene import EMAIL
from tests.support.house import PASSWORD, Database
from tests.support.processes import PAYYMO, environment

HOST = "127.0.0.1"
GIVE_UP_SECONDS = 30
POLL_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Running:
    """A server that has given its first answer."""

    port: int
    started_in: float
    process_id: int

    def log_in(self) -> None:
        """One login over the loopback. Raises RuntimeError when it is refused."""
        body = json.dumps({"email": EMAIL, "password": PASSWORD})
        status = _ask(self.port, "POST", "/api/auth/login", body)
        if status != 200:
            raise RuntimeError(f"login: {status}")

    def resident_megabytes(self) -> tuple[float, float]:
        """The memory of the parent and of its largest worker."""
        rows = [line.split() for line in _ps().splitlines()]
        sizes = {int(pid): int(size) / 1024 for pid, group, size in rows if int(group) == self.process_id}
        parent = sizes.pop(self.process_id)
        return parent, max(sizes.values())

    def cpu_seconds(self) -> float:
        """What the parent and its workers have computed until now."""
        parent = psutil.Process(self.process_id)
        times = [process.cpu_times() for process in (parent, *parent.children(recursive=True))]
        return float(sum(found.user + found.system for found in times))


@contextmanager
def serving(database: Database, *, into: Path | None = None, **more: str) -> Iterator[Running]:
    """A server on a prepared database, in a control group if one is named.

    Raises RuntimeError with its log when it does not start.
    """
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    log = database.data / f"server-{port}.log"
    with log.open("wb") as output:
        begun = time.perf_counter()
        process = subprocess.Popen(
            [*_entering(into), PAYYMO, "serve", "--port", str(port)],
            env=environment(database, **more),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # so that its workers can be told from everybody else's
        )
    try:
        _await(process, port, begun, log)
        yield Running(port, time.perf_counter() - begun, process.pid)
    finally:
        _end(process)


def _entering(group: Path | None) -> list[str | Path]:
    """What a command begins with that runs in a control group: its children are born there."""
    return [] if group is None else ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', group]


def _await(process: subprocess.Popen[bytes], port: int, begun: float, log: Path) -> None:
    while _ask(port, "GET", "/health/ready") != 200:
        if process.poll() is not None or time.perf_counter() - begun > GIVE_UP_SECONDS:
            raise RuntimeError(f"the server did not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(POLL_SECONDS)


def _ask(port: int, method: str, path: str, body: str | None = None) -> int | None:
    """The status of the answer, or None while nobody listens."""
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        return None
    else:
        return answer.status
    finally:
        connection.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # the group is the session that we made for it
        process.wait()


def _ps() -> str:
    return subprocess.run(["ps", "-o", "pid=,pgid=,rss=", "-A"], check=True, capture_output=True, text=True).stdout
