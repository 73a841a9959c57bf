"""Whether time tells anything, and whether tokens are verified while logins flood in.

`payymo prove timing` does the first; with 10,000 samples per class it takes a night, so here are fewer.
"""

import http.client
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from bench.cgroup import Limit, limited
from bench.measure import Effort, Figure
from bench.programs import Program, program
from bench.scene import EMAIL, Stage
from bench.server import HOST, Running, serving
from tests.support.house import PASSWORD
from tests.support.processes import PAYYMO, environment

BOUND_US = 250.0
LOGINS = 200
MEMORY_MEGABYTES = 256
PAUSE_SECONDS = 0.005


def indistinguishable(stage: Stage, effort: Effort) -> list[Figure]:
    """Every pair: in process and over HTTP, idle and with one core busy. The figure is the far end of the interval."""
    database = stage.scene("sqlite").database
    mail = f"file:{database.data}/mail"  # without any, asking for a reset is refused
    figures = []
    for busy in (False, True):
        when = "one core busy" if busy else "idle"
        with ExitStack() as stack:
            if busy:
                stack.enter_context(_busy_core())
            figures += _proven([], environment(database), effort, f"in process, {when}")
            running = stack.enter_context(serving(database, PAYYMO_MAIL__TRANSPORT=mail))
            url = ["--url", f"http://{HOST}:{running.port}"]
            figures += _proven(url, environment(database, PAYYMO_MAIL__TRANSPORT=mail), effort, f"HTTP, {when}")
    return figures


def _proven(words: list[str], surroundings: dict[str, str], effort: Effort, where: str) -> list[Figure]:
    command = [str(PAYYMO), "prove", "timing", "--json", "--samples", str(effort.operations // 10), *words]
    done = subprocess.run(command, env=surroundings, stdout=subprocess.PIPE, text=True, check=False)
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return [
        Figure(
            f"{row['pair']}, {where}",
            max(abs(row["from_us"]), abs(row["to_us"])),
            "us",
            at_most=BOUND_US,
            parts=f"{row['verdict']}: {row['shift_us']} us by {row['samples']} samples",
        )
        for row in rows
    ]


@contextmanager
def _busy_core() -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


def overload(stage: Stage, effort: Effort) -> list[Figure]:
    """200 logins at a time, again and again, against a service with 256 MB; somebody verifies tokens meanwhile."""
    database = stage.scene("sqlite").database
    with limited(MEMORY_MEGABYTES) as limit, serving(database, into=None if limit is None else limit.folder) as running:
        client = _Verifier(running)
        client.p99(effort.operations // 50)
        idle = client.p99(effort.operations // 5)
        with program("flood", running.port, LOGINS) as flood:
            flood.hear()
            time.sleep(effort.slice_seconds)  # the first wave
            _told(flood)
            began = time.perf_counter()
            flooded = client.p99(effort.operations // 5)
            statuses, seconds = _told(flood), time.perf_counter() - began
        return [
            Figure(
                f"p99 of a verification under {LOGINS} logins / idle",
                flooded / idle,
                at_most=5.0,
                parts=f"{flooded * 1000:.1f} ms, idle {idle * 1000:.1f} ms",
            ),
            Figure("logins answered meanwhile", statuses.get("401", 0) / seconds, "/s", parts=str(statuses)),
            Figure("connections that ended unanswered", statuses.get("none", 0), "", at_most=0),
            _memory(running, limit),
        ]


def _told(flood: Program) -> dict[str, int]:
    flood.tell("how many")
    found: dict[str, int] = flood.hear()
    return found


def _memory(running: Running, limit: Limit | None) -> Figure:
    """What the kernel counted against the limit; where it limits nothing, what parent and worker hold."""
    name, most = "memory under it", float(MEMORY_MEGABYTES)
    if limit is not None and limit.peak_megabytes() > 0:
        return Figure(name, limit.peak_megabytes(), "MB", at_most=most, parts="peak, the limit enforced by the kernel")
    return Figure(
        name, sum(running.resident_megabytes()), "MB", at_most=most, parts="resident; no limit to be had here"
    )


class _Verifier:
    """Verifies one good token, again and again, at a steady pace."""

    def __init__(self, running: Running) -> None:
        self._connection = http.client.HTTPConnection(HOST, running.port, timeout=30)
        tokens = self._post("login", {"email": EMAIL, "password": PASSWORD})["data"]
        self._body = {"token": tokens["access_token"]}

    def p99(self, count: int) -> float:
        """The seconds that one in a hundred takes longer than."""
        took = []
        for _ in range(max(count, 100)):
            began = time.perf_counter()
            self._post("token/verify", self._body)
            took.append(time.perf_counter() - began)
            time.sleep(PAUSE_SECONDS)
        return statistics.quantiles(took, n=100)[98]

    def _post(self, what: str, body: dict[str, str]) -> dict[str, Any]:
        self._connection.request("POST", f"/api/auth/{what}", json.dumps(body), {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        found: dict[str, Any] = json.loads(answer.read())
        if answer.status != 200:
            raise RuntimeError(f"{what}: {answer.status}: {found}")
        return found
