"""Threads that compute password hashes, and let everything else go first.

A hash takes a core for tens of milliseconds. Where all cores hash, a request that verifies a token for a fraction of
one would wait for its share of them like any other; so hashing has the smaller claim on the machine.
"""

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, TypeVar

Result = TypeVar("Result")

NICENESS: Final = 10
"""How far below the rest of the process: about a tenth of its claim on a busy core (sched(7)), all of an idle one."""


class Hashers:
    """As many threads as may hash at a time. They begin with the first hash, in whichever process that is."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._beginning = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0

    def run(self, work: Callable[[], Result]) -> Result:
        """What `work` answers, or raises."""
        return self._living().submit(work).result()

    def _living(self) -> ThreadPoolExecutor:
        with self._beginning:
            if self._pool is None or self._process != os.getpid():  # a fork takes no threads along
                self._pool = ThreadPoolExecutor(self._threads, "payymo-hashing", initializer=_step_back)
                self._process = os.getpid()
            return self._pool


def _step_back() -> None:
    """Where a thread has a priority of its own, which is on Linux; elsewhere it would be the whole process's."""
    if sys.platform == "linux":
        with suppress(OSError):  # a sandbox may forbid it; then hashes have the usual claim
            thread = threading.get_native_id()
            # Beyond the last one the system takes the last: a service that was started with a niceness keeps behind it.
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS)
