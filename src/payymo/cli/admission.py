"""Who may compute a password hash now, and until when an answer is held. Nobody who waits holds a thread.

Hashes take a core and much memory each. Threads that wait for one are threads that verify no tokens: so requests that
hash wait in the event loop, a bounded number of them, and the rest is turned away, not faster than it may come again.
"""

import asyncio
import heapq
import re
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from itertools import count
from typing import Final

from payymo.metrics.meter import Line
from payymo.web.console.opening import list_pages
from payymo.web.console.pages import Page
from payymo.web.mount import list_routes
from payymo.web.routing import Route

WAITING: Final = 32
PATIENCE_SECONDS: Final = 5.0
SHED_SECONDS: Final = 1.0
"""What Retry-After says to those who are turned away; they hear it no sooner, so that who does not read it obeys."""
GOLDEN: Final = 0.6180339887498949
"""Multiples of it, modulo one, lie evenly however many there are."""


class Hashing:
    """Which requests compute a password hash, as their routes and pages declare."""

    def __init__(self, routes: Iterable[Route | Page]) -> None:
        hashing = [route for route in routes if route.pace.hashes]
        self._fixed = {(route.method, route.path) for route in hashing if "<" not in route.path}
        patterns = ["".join(_pattern(part) for part in _PARAMETER.split(f"{r.method} {r.path}")) for r in hashing]
        self._others = re.compile("|".join(patterns) or "(?!)")

    def __call__(self, method: str, path: str) -> bool:
        """Whether this one does. A doubt costs a place in the line, nothing else."""
        return (method, path) in self._fixed or self._others.fullmatch(f"{method} {path}") is not None


def find_hashing() -> Hashing:
    """Of everything that the service serves."""
    return Hashing((*list_routes(), *list_pages()))


_PARAMETER: Final = re.compile(r"(<[^>]+>)")


def _pattern(part: str) -> str:
    return "[^/]+" if part.startswith("<") else re.escape(part)


class Admission:
    """Lets `parallel` requests in at a time; `waiting` more have `patience_seconds` to get in.

    Who is turned away is told so after `shed_seconds` to twice that, so that a crowd does not come again as one.
    """

    def __init__(
        self,
        parallel: int,
        *,
        waiting: int = WAITING,
        patience_seconds: float = PATIENCE_SECONDS,
        shed_seconds: float = SHED_SECONDS,
    ) -> None:
        self._shed = shed_seconds
        self._shed_before = 0
        self._turns = asyncio.Semaphore(parallel)
        self._parallel = parallel
        self._places = parallel + waiting
        self._patience = patience_seconds
        self._here = 0

    async def enter(self) -> bool:
        """Whether the request may go on. Who was let in has to `leave`."""
        if self._here >= self._places:
            return False
        self._here += 1
        try:
            async with asyncio.timeout(self._patience):
                await self._turns.acquire()
        except BaseException as error:
            self._here -= 1
            if isinstance(error, TimeoutError):
                return False
            raise
        return True

    def tell_at(self, now: float) -> float:
        """When somebody is told who is turned away now."""
        self._shed_before += 1
        return now + self._shed * (1 + self._shed_before * GOLDEN % 1)

    def line(self) -> Line:
        """How many wait at this moment, and how many were turned away so far. For any thread."""
        return Line(max(0, self._here - self._parallel), self._shed_before)

    def leave(self) -> None:
        """Make room for the next."""
        self._here -= 1
        self._turns.release()


class Holding:
    """Wakes who waits for a moment of the monotonic clock: within the tenth part of a millisecond.

    An event loop counts in milliseconds from when it last looked, which would tell how long the work took after all.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[tuple[float, int, asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._number = count()
        self._thread: threading.Thread | None = None

    async def until(self, moment: float) -> None:
        """Return then."""
        come = asyncio.Event()
        with self._changed:
            heapq.heappush(self._waiting, (moment, next(self._number), asyncio.get_running_loop(), come))
            if self._thread is None or not self._thread.is_alive():  # a fork takes no threads along
                self._thread = threading.Thread(target=self._run, name="payymo-holding", daemon=True)
                self._thread.start()
            self._changed.notify()
        await come.wait()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                moment, _, loop, come = self._waiting[0]
                left = moment - time.monotonic()
                if left > 0:
                    self._changed.wait(left)
                    continue
                heapq.heappop(self._waiting)
            with suppress(RuntimeError):  # the server has ended meanwhile
                loop.call_soon_threadsafe(come.set)
