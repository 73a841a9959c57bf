"""How workers begin, begin again, and end with who started them.

A worker that ends while the database or the keeper of the master key is away can't be replaced as long as that lasts.
The others answer meanwhile: it is no reason to end them. What keeps it from beginning is a line in the log.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final

from payymo.logs import SecurityLog, Trace
from payymo.maintenance import reason_of

STEADY_SECONDS: Final = 5.0
"""Who has lived for so long has begun, and does not end for the reason for which it could not begin."""
LONGEST_SECONDS: Final = 30.0
SHUTDOWN_SECONDS: Final = 10
PARENT_SECONDS: Final = 0.5
TRACE: Final = Trace(request_id="worker")


@contextmanager
def told(log: SecurityLog) -> Iterator[None]:
    """Let a worker that can't be built say why, in a line of the log, and end."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, the runtime would print it as a traceback
        log.failure(error, trace=TRACE, private=reason_of(error))
        raise SystemExit(1) from None


def forget_signals() -> None:
    """In a worker: while it is built, let it end when it is told to. Where it was forked, it has the parent's handlers.

    They would only write down, in a copy of the parent, that there is something to do.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def end_with_parent() -> None:
    """A worker whose parent was killed would go on for ever, and hold the port against the next server."""
    started_by = multiprocessing.parent_process()  # which may be gone by now
    parent = os.getppid() if started_by is None else started_by.pid

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)  # requests in flight finish
        time.sleep(SHUTDOWN_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="payymo-parent", daemon=True).start()


class Respite:
    """When a worker is started again: at once, or, if it has ended while it began, later each time."""

    def __init__(self) -> None:
        self._tries: dict[int, int] = {}
        self._due: dict[int, float] = {}

    def ended(self, index: int, *, lived: float, now: float) -> float | None:
        """It is dead. Answers for how many seconds nobody takes its place; None: that was known."""
        if index in self._due:
            return None
        tries = 0 if lived >= STEADY_SECONDS else self._tries.get(index, 0) + 1
        wait = min(2.0 ** (tries - 2), LONGEST_SECONDS) if tries > 1 else 0.0
        self._tries[index], self._due[index] = tries, now + wait
        return wait

    def due(self, now: float) -> list[int]:
        """Those whose time has come."""
        return [index for index, moment in self._due.items() if moment <= now]

    def begin(self, index: int) -> None:
        """Another one has its place."""
        self._due.pop(index, None)


@dataclass(frozen=True, slots=True)
class Announced:
    """A loader that tells the parent when it has loaded. It travels to the worker, pickled where that is not forked."""

    load: Callable[[], Any]
    writer: Connection

    def __call__(self) -> Any:
        """What was loaded."""
        loaded = self.load()
        with suppress(OSError):  # a parent that has given up waiting ends this worker
            self.writer.send_bytes(b"+")
        self.writer.close()
        return loaded
