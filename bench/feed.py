"""The feed of revocations between processes: how soon guards refuse, and what those who follow cost a server."""

import http.client
import json
import math
import os
import signal
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from itertools import cycle
from typing import Any

from bench.filling import fill
from bench.measure import Effort, Figure
from bench.programs import Program, program
from bench.scene import EMAIL, Scene, Stage
from bench.server import HOST, Running, serving
from payymo.logs import Trace
from payymo.sessions.model import Device
from payymo_guard import Guard
from tests.support.house import PASSWORD, settings_for

SERVERS = 2
GUARDS = 4
LEAST_REVOCATIONS = 200
LIMIT_SECONDS = 10.0
"""How old a guard's knowledge may be, unless it is told otherwise."""
SLACK_SECONDS = 0.1
"""For whoever looks every few milliseconds, and for the scheduler."""
PAUSE_SECONDS = 0.02
SETTLE_SECONDS = 2.0


def revoking(stage: Stage, effort: Effort) -> list[Figure]:
    """From the acknowledged logout to the refusal by each of four guards, on two servers that others use meanwhile."""
    scene = stage.scene("postgresql")
    tokens = _tokens(scene, max(LEAST_REVOCATIONS, effort.few))
    with ExitStack() as stack:
        servers = [stack.enter_context(_serving(scene)) for _ in range(SERVERS)]
        sentries = [stack.enter_context(_sentry(scene, server)) for server in servers * (GUARDS // SERVERS)]
        bustle = stack.enter_context(program("bustle", EMAIL, PASSWORD, *(server.port for server in servers)))
        bustle.hear()
        begun = time.monotonic()
        for sentry in sentries:
            sentry.tell(tokens)
        for sentry in sentries:
            sentry.hear()
        acknowledged = _log_out(tokens, servers)
        refusals = [sentry.hear() for sentry in sentries]
        bustle.tell("end")
        succeeded, failed = bustle.hear()
        pace = succeeded / (time.monotonic() - begun)
    delays = sorted(_delays(acknowledged, refusals))
    p99 = delays[math.ceil(len(delays) * 0.99) - 1]
    load = f"meanwhile {pace:.0f} requests/s, {failed} failed"
    name = f"from logout to refusal, {len(tokens):,} times at {GUARDS} guards"
    return [
        Figure(f"{name}, median", statistics.median(delays) * 1000, "ms", parts=load),
        Figure(f"{name}, p99", p99 * 1000, "ms", at_most=250.0),
        Figure(f"{name}, worst", delays[-1] * 1000, "ms", at_most=1000.0),
    ]


def cut_off(stage: Stage, effort: Effort) -> list[Figure]:
    """A server that hangs, connections open: its guard refuses when what it knows has become too old, and says why."""
    scene = stage.scene("postgresql")
    found: list[float] = []
    with _serving(scene) as server:
        for _ in range(max(1, effort.rounds // 4)):
            with _sentry(scene, server) as sentry:
                sentry.tell(_tokens(scene, 1))
                sentry.hear()
                time.sleep(SETTLE_SECONDS)
                stopped = time.monotonic()
                os.killpg(server.process_id, signal.SIGSTOP)
                try:
                    [(code, at)] = sentry.hear()
                finally:
                    os.killpg(server.process_id, signal.SIGCONT)
                if code != "revocations_stale":
                    raise RuntimeError(f"refused for another reason: {code}")
                found.append(at - stopped)
    return [
        Figure(
            f"a guard that is cut off refuses, limit {LIMIT_SECONDS:.0f} s",
            max(found),
            "s",
            at_most=LIMIT_SECONDS + SLACK_SECONDS,
            parts=f"{len(found)} times, the earliest after {min(found):.2f} s",
        )
    ]


def followers(stage: Stage, effort: Effort) -> list[Figure]:
    """Many who wait at one server: what they cost while nothing happens, and how soon all have heard of one entry."""
    scene, count = stage.scene("postgresql", "followers"), effort.few
    tokens = _tokens(scene, effort.rounds + 1)
    with _serving(scene) as server:
        server.log_in()
        alone = _load(server, SETTLE_SECONDS)
        before = server.resident_megabytes()[1]
        with program("crowd", server.port, count, _read_all(server)[0]) as crowd:
            crowd.hear()
            time.sleep(SETTLE_SECONDS)
            load = _load(server, effort.rounds * 2.5)
            delays = [_tell_all(server, crowd, token, count) for token in tokens][1:]
            after = server.resident_megabytes()[1]
    of = f"{count:,} followers"
    return [
        Figure(f"cores that {of} cost a server", load, "", parts=f"{alone:.3f} without them"),
        Figure(f"memory that {of} cost its worker", after - before, "MB", parts=f"{after:.0f} MB in all"),
        Figure(
            f"until {of} have heard of an entry",
            statistics.median(delays) * 1000,
            "ms",
            parts=f"worst of {len(delays)}: {max(delays) * 1000:.0f} ms",
        ),
    ]


def snapshot(stage: Stage, effort: Effort) -> list[Figure]:
    """All live revocations, as a guard that begins reads them: by a bare client, and by a guard."""
    scene, count = stage.scene("postgresql", "feed"), effort.many
    fill(scene, count)
    with _serving(scene) as server:
        begun, computed = time.monotonic(), server.cpu_seconds()
        _, sizes, pages = _read_all(server)
        seconds, computed = time.monotonic() - begun, server.cpu_seconds() - computed
        own = time.process_time()
        guarded = _until_known(scene, server, count)
        own = time.process_time() - own
    name = f"snapshot of {count:,} revocations"
    size = f"{sizes / count:.0f} bytes for each, {pages} answers"
    return [
        Figure(f"{name}, size", sizes / 1e6, "MB", parts=size),
        Figure(f"{name}, read by a bare client", seconds, "s", parts=f"the server computed for {computed:.1f} s"),
        Figure(f"{name}, known by a guard", guarded, "s", parts=f"it computed for {own:.1f} s"),
    ]


def _serving(scene: Scene) -> AbstractContextManager[Running]:
    """A server that is the same issuer as the scene."""
    return serving(scene.database, PAYYMO_ISSUER=settings_for(scene.database).issuer)


def _sentry(scene: Scene, server: Running) -> AbstractContextManager[Program]:
    """A guard that follows this server."""
    return program("sentry", server.port, settings_for(scene.database).issuer, LIMIT_SECONDS)


def _tokens(scene: Scene, count: int) -> list[str]:
    """The access tokens of so many new sessions of one user."""
    sessions, device = scene.services.sessions, Device("127.0.0.1", "bench")
    return [
        sessions.log_in(
            scene.tenant.id, email=EMAIL, password=PASSWORD, device=device, trace=Trace()
        ).tokens.access_token
        for _ in range(count)
    ]


def _log_out(tokens: Sequence[str], servers: Sequence[Running]) -> list[float]:
    """The moments at which each logout was acknowledged. The pauses are uneven, so that they fit nobody's rhythm."""
    connections = cycle([http.client.HTTPConnection(HOST, server.port, timeout=20) for server in servers])
    found = []
    for token in tokens:
        found.append(_end_session(next(connections), token))
        time.sleep(os.urandom(1)[0] / 255 * PAUSE_SECONDS)
    return found


def _end_session(connection: http.client.HTTPConnection, token: str) -> float:
    connection.request("POST", "/api/auth/logout", headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    answer.read()
    acknowledged = time.monotonic()
    if answer.status != 200:
        raise RuntimeError(f"logout: {answer.status}")
    return acknowledged


def _delays(acknowledged: Sequence[float], refusals: Sequence[Sequence[Any]]) -> Iterator[float]:
    for of_guard in refusals:
        for at, refusal in zip(acknowledged, of_guard, strict=True):
            if refusal is None or refusal[0] != "token_revoked":
                raise RuntimeError(f"not refused, or for another reason: {refusal}")
            yield refusal[1] - at


def _load(server: Running, seconds: float) -> float:
    """How many cores the server keeps busy."""
    before, begun = server.cpu_seconds(), time.monotonic()
    time.sleep(seconds)
    return (server.cpu_seconds() - before) / (time.monotonic() - begun)


def _tell_all(server: Running, crowd: Program, token: str, count: int) -> float:
    """Seconds from an acknowledged logout until everybody has heard of it."""
    acknowledged = _end_session(http.client.HTTPConnection(HOST, server.port, timeout=20), token)
    crowd.tell("report")
    heard, last = crowd.hear()
    if heard != count:
        raise RuntimeError(f"{heard} of {count} have heard of it")
    return float(last - acknowledged)


def _read_all(server: Running) -> tuple[str, int, int]:
    """The cursor at the end of the feed, and what it took to get there: bytes, answers."""
    connection = http.client.HTTPConnection(HOST, server.port, timeout=20)
    after, size, pages = "", 0, 0
    while True:
        connection.request("GET", f"/api/revocations{after}")
        body = connection.getresponse().read()
        page = json.loads(body)["data"]
        size, pages = size + len(body), pages + 1
        if not page["more"]:
            return page["cursor"], size, pages
        after = f"?after={page['cursor']}"


def _until_known(scene: Scene, server: Running, count: int) -> float:
    """Seconds from the start of a guard until it knows all of them and may decide."""
    url = f"http://{HOST}:{server.port}/.well-known/payymo"
    begun = time.monotonic()
    with Guard(issuer=settings_for(scene.database).issuer, audience="payymo-api", discovery_url=url) as guard:
        guard.start()
        while guard.status().stale_seconds > LIMIT_SECONDS:
            time.sleep(0.01)
        if len(guard.revocations) < count:
            raise RuntimeError("it does not know all of them")
        return time.monotonic() - begun
