"""Real server processes: `payymo serve` on a free port of the loopback, ended by the test that started them."""

import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from tests.guard.ports import free_port
from tests.support.house import MASTER_KEY, PASSWORD, Database

PAYYMO = Path(sys.executable).parent / "payymo"
ISSUER = "http://127.0.0.1:5999"
START_SECONDS = 60
_NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients of plain HTTP. Each would read the system's authorities otherwise, which takes longer than a request."""


def environment(database: Database, **more: str) -> dict[str, str]:
    """What a server or a command on this database finds in its environment."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PAYYMO_")}
    return inherited | {
        "PAYYMO_DATA": str(database.data),
        "PAYYMO_MASTER_KEY": MASTER_KEY,
        "PAYYMO_DATABASE__URL": database.url,
        "PAYYMO_ISSUER": ISSUER,
        "PAYYMO_LIMITS__ENABLED": "false",
        "PAYYMO_LOCKOUT__ENABLED": "false",
        **more,
    }


def command(database: Database, *words: str) -> str:
    """The output of `payymo …`, which has to succeed."""
    done = subprocess.run(
        [PAYYMO, *words], env=environment(database), check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout


class Server:
    """One `payymo serve`."""

    def __init__(self, database: Database, environ: Mapping[str, str], *, authority: Path | None = None) -> None:
        self._verify = ssl.create_default_context(cafile=authority) if authority else _NO_AUTHORITIES
        self._environ = dict(environ)
        self.log_path = database.data / f"server-{time.monotonic_ns()}.log"
        self.port = free_port()
        self.base = f"{'https' if authority else 'http'}://localhost:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and return when it is ready."""
        greeted = self._greetings()
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [PAYYMO, "serve", "--port", str(self.port)],
                env=self._environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while self._greetings() == greeted or not self._is_ready():
            if time.monotonic() > deadline or self._process.poll() is not None:
                self.kill()
                raise RuntimeError(f"the server did not start:\n{self.log_path.read_text()[-3000:]}")
            time.sleep(0.05)

    def terminate(self) -> None:
        """SIGTERM, and wait until it has ended."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)

    def wait(self) -> int | None:
        """With what it has ended, once it has."""
        return None if self._process is None else self._process.wait(20)

    def kill(self) -> None:
        """SIGKILL to the server and its workers: no last words."""
        if self._process is not None:
            with suppress(ProcessLookupError):  # all of them have ended
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(20)

    def kill_parent(self) -> None:
        """SIGKILL to the server alone: its workers are orphans then."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(20)

    @property
    def pid(self) -> int:
        """The server's own process, which starts the others."""
        if self._process is None:
            raise RuntimeError("the server was not started")
        return self._process.pid

    def pids(self) -> tuple[int, ...]:
        """The server's process and its workers."""
        if self._process is None:
            return ()
        return tuple(pid for pid, group in _groups() if group == self._process.pid)

    def client(self) -> httpx.Client:
        """A client with connections of its own."""
        return httpx.Client(base_url=self.base, timeout=20, verify=self._verify)

    def _greetings(self) -> int:
        """How often it has said that it begins. Before, it opens its port for a moment, to see that it is free.

        Whoever connects in that moment is thrown out, and Python forgets to close a TLS socket that is reset so early.
        """
        return self.log_path.read_text().count("Stop with Ctrl-C.") if self.log_path.exists() else 0

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.base}/health/ready", timeout=2, verify=self._verify).status_code == 200
        except httpx.TransportError:
            return False


def _groups() -> Iterator[tuple[int, int]]:
    """Every process with its process group. Read where Linux tells of them: a program that lists them takes longer."""
    if not Path("/proc/self/stat").exists():
        listed = subprocess.run(["ps", "-o", "pid=,pgid=", "-A"], check=True, capture_output=True, text=True).stdout
        for line in listed.splitlines():
            pid, group = line.split()
            yield int(pid), int(group)
        return
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            _, _, facts = (folder / "stat").read_text().rpartition(")")
            yield int(folder.name), int(facts.split()[2])


@contextmanager
def servers(database: Database, count: int, *, authority: Path | None = None, **more: str) -> Iterator[list[Server]]:
    """`count` servers on one database, ended afterwards whatever happened. `authority`: of those that speak TLS."""
    started = [Server(database, environment(database, **more), authority=authority) for _ in range(count)]
    try:
        for server in started:
            server.start()
        yield started
    finally:
        for server in started:
            if server._process is not None and server._process.poll() is None:
                server.kill()


def log_in(client: httpx.Client, email: str = "alice@example.com") -> dict[str, Any]:
    """The data of a login, which has to succeed."""
    answer = client.post("/api/auth/login", json={"email": email, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def bearer(token: str) -> dict[str, str]:
    """The header that presents an access token."""
    return {"Authorization": f"Bearer {token}"}
