"""Hashes and verifies passwords, a bounded number at a time. What a hash is, is `payymo.users.hashes`' business.

Hashing is bounded to the machine's cores: each hash holds 19 MiB or more, and a login flood must end in 503s, not in
the memory of the process.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from payymo.errors import Overloaded
from payymo.users import hashes
from payymo.users.hashes import Argon2Cost


class Passwords:
    """Hashes passwords, a bounded number at a time."""

    def __init__(
        self,
        *,
        cost: Argon2Cost | None = None,
        parallel: int | None = None,
        waiting: int = 32,
        patience_seconds: float = 5.0,
    ) -> None:
        self.cost = cost or Argon2Cost()
        self._running = threading.BoundedSemaphore(parallel or max(1, os.cpu_count() or 1))
        self._queue = threading.BoundedSemaphore(waiting)
        self._patience = patience_seconds

    def hash(self, password: str) -> str:
        """The PHC string of a new hash. Raises Overloaded."""
        with self._turn():
            return self.cost.hash(password)

    def verify(self, password: str, stored: str) -> bool:
        """Whether this is the password behind `stored`. Raises Overloaded. A hash that we can't read is a no."""
        with self._turn():
            return hashes.verify(password, stored)

    def dummy_password_check(self, password: str) -> bool:
        """The same work as `verify`, for nobody; always False. So an unknown user takes as long as a known one."""
        self.verify(password, self.cost.dummy)
        return False

    def needs_replacement(self, stored: str) -> bool:
        """Whether a hash was made with another scheme or other parameters than today's."""
        return not stored.startswith(self.cost.prefix)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._queue.acquire(blocking=False):
            raise Overloaded
        try:
            if not self._running.acquire(timeout=self._patience):
                raise Overloaded
            try:
                yield
            finally:
                self._running.release()
        finally:
            self._queue.release()
