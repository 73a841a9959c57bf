"""Who waits for a turn to hash holds no thread, and who is one too many is told so."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from payymo.cli.admission import Admission, Holding, find_hashing
from payymo.cli.bridge import Bridge
from payymo.metrics.meter import Line
from payymo.web.pacing import HOLD, SHED
from tests.cli.test_bridge import post

LONG = 30
HASH, OTHER = "/hash", "/other"


class Kitchen:
    """An application that computes hashes until it is told to go on."""

    def __init__(self) -> None:
        self.cooking = threading.Semaphore(0)
        self.go_on = threading.Event()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        if SHED in environ:
            start("503 Overloaded", [])
            return [b""]
        if environ["PATH_INFO"] == HASH:
            self.cooking.release()
            assert self.go_on.wait(LONG)
        start("200 OK", [])
        return [b""]


async def _ask(bridge: Bridge, path: str) -> int:
    scope, protocol = post(path, {}, "x")
    await bridge(scope, protocol)
    return int(protocol.status)


def test_a_flood_of_hashes_leaves_threads_for_the_rest() -> None:
    """Invariant 22: one hashes, one waits without a thread, the third is shed; whatever else is asked is answered."""
    kitchen, admission = Kitchen(), Admission(1, waiting=1, shed_seconds=0.0)
    bridge = Bridge(
        kitchen,
        threads=2,
        body_seconds=5,
        hashing=lambda _method, path: path == HASH,
        admission=admission,
    )

    async def flood() -> tuple[int, int, list[int]]:
        first, second = (asyncio.create_task(_ask(bridge, HASH)) for _ in range(2))
        assert await asyncio.to_thread(kitchen.cooking.acquire, timeout=LONG)
        third = await _ask(bridge, HASH)
        assert admission.line() == Line(waiting=1, shed=1)
        other = await _ask(bridge, OTHER)
        kitchen.go_on.set()
        return third, other, [await first, await second]

    assert asyncio.run(flood()) == (503, 200, [200, 200])
    assert admission.line() == Line(waiting=0, shed=1)


def test_the_turn_is_over_while_the_answer_is_still_held() -> None:
    """A held answer costs nobody anything: with one turn, the next one hashes while the first is held."""
    hashed = threading.Semaphore(0)

    def application(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        environ[HOLD](time.monotonic() + (LONG if environ["PATH_INFO"] == HASH else 0))
        start("401 No", [])
        hashed.release()
        return [b""]

    bridge = Bridge(application, threads=2, body_seconds=5, hashing=lambda *_: True, admission=Admission(1))

    async def two() -> int:
        held = asyncio.create_task(_ask(bridge, HASH))
        assert await asyncio.to_thread(hashed.acquire, timeout=LONG)
        found = await _ask(bridge, OTHER)
        assert not held.done()
        held.cancel()
        return found

    assert asyncio.run(two()) == 401


def test_whoever_loses_patience_is_turned_away_and_takes_no_place() -> None:
    """Who could not get in in time is shed; the places are free again afterwards."""

    async def crowd() -> list[bool]:
        admission = Admission(1, waiting=1, patience_seconds=0.0)
        seen = [await admission.enter(), await admission.enter(), await admission.enter()]
        admission.leave()
        return [*seen, await admission.enter()]

    assert asyncio.run(crowd()) == [True, False, False, True]


def test_answers_leave_in_the_order_of_their_moments_and_never_before() -> None:
    """Whoever came first; and what is due already leaves at once."""
    order: list[str] = []

    async def hold() -> None:
        holding, now = Holding(), time.monotonic()

        async def until(name: str, moment: float) -> None:
            await holding.until(moment)
            assert time.monotonic() >= moment
            order.append(name)

        await asyncio.gather(until("last", now + 0.05), until("second", now + 0.02), until("due", now - 1))

    asyncio.run(hold())
    assert order == ["due", "second", "last"]


@pytest.mark.parametrize(
    ("method", "path", "hashes"),
    [
        ("POST", "/api/auth/login", True),
        ("POST", "/api/auth/register", True),
        ("POST", "/api/auth/password/change", True),
        ("POST", "/sign-in", True),
        ("POST", "/register", True),
        ("POST", "/reset-password", True),
        ("POST", "/confirm", True),
        ("GET", "/sign-in", False),
        ("GET", "/api/auth/login", False),
        ("POST", "/api/auth/token/verify", False),
        ("POST", "/api/auth/refresh", False),
        ("POST", "/api/admin/users", False),
    ],
)
def test_what_a_stranger_can_have_hashed_waits_in_line(method: str, path: str, hashes: bool) -> None:  # noqa: FBT001 - a table
    """An administrator, who may have to end the flood, does not."""
    assert find_hashing()(method, path) is hashes
