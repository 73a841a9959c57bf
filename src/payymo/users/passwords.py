"""Hashes and verifies passwords, a bounded number at a time. What a hash is, is `payymo.users.hashes`' business.

Hashing is bounded to the machine's cores: each hash holds 19 MiB or more, and a login flood must end in 503s, not in
the memory of the process. Behind `payymo serve` strangers wait before that, without a thread (`payymo.cli.admission`);
here wait administrators, and whoever comes to an application that mounts Payymo. How long each takes is kept, for
`payymo.users.budget`.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from payymo.errors import Overloaded
from payymo.spans import Span, untraced
from payymo.users import hashes
from payymo.users.hash_times import HashTimes
from payymo.users.hashers import Hashers
from payymo.users.hashes import Argon2Cost, kind_of


@dataclass(frozen=True, slots=True)
class Load:
    """How busy this process is with hashing: hashes that run, callers that wait, and how many were sent away so far."""

    running: int
    waiting: int
    shed: int


class Passwords:
    """Hashes passwords, a bounded number at a time: as many as there are cores for each of `processes`."""

    def __init__(
        self,
        *,
        cost: Argon2Cost | None = None,
        parallel: int | None = None,
        processes: int = 1,
        waiting: int = 32,
        patience_seconds: float = 5.0,
    ) -> None:
        self.cost = cost or Argon2Cost()
        self.parallel = parallel or max(1, (os.cpu_count() or 1) // processes)
        self.times = HashTimes()
        self._hashers = Hashers(self.parallel)
        self._running = threading.BoundedSemaphore(self.parallel)
        self._queue = threading.BoundedSemaphore(waiting)
        self._patience = patience_seconds
        self._counting = threading.Lock()
        self._inside = self._hashing = self._shed = 0
        self._span: Span = untraced
        self._latest = threading.local()

    def trace(self, span: Span) -> None:
        """Let a tracer hear of every hash from now on, with the wait for its turn."""
        self._span = span

    def hash(self, password: str) -> str:
        """The PHC string of a new hash. Raises Overloaded."""
        with self._turn():
            return self._hashers.run(lambda: self.cost.hash(password))

    def verify(self, password: str, stored: str) -> bool:
        """Whether this is the password behind `stored`. Raises Overloaded. A hash that we can't read is a no."""
        with self._turn():
            began = time.monotonic()
            is_right = self._hashers.run(lambda: hashes.verify(password, stored))
            kind, now = kind_of(stored), time.monotonic()
            self.times.note(kind, now - began)
            self._latest.kind, self._latest.at = kind, now
            return is_right

    def kind_since(self, moment: float) -> str:
        """The kind of hash that this thread has verified last; empty if that was before a monotonic moment."""
        return str(self._latest.kind) if getattr(self._latest, "at", moment) > moment else ""

    def dummy_password_check(self, password: str) -> bool:
        """The same work as `verify`, for nobody; always False. So an unknown user takes as long as a known one."""
        self.verify(password, self.cost.dummy)
        return False

    def load(self) -> Load:
        """How busy it is at this moment."""
        with self._counting:
            return Load(self._hashing, self._inside - self._hashing, self._shed)

    def needs_replacement(self, stored: str) -> bool:
        """Whether a hash was made with another scheme or other parameters than today's."""
        return kind_of(stored) != self.cost.kind

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with self._span("password hash"), self._place():
            yield

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._queue.acquire(blocking=False):
            self._count(shed=1)
            raise Overloaded
        self._count(inside=1)
        try:
            if not self._running.acquire(timeout=self._patience):
                self._count(shed=1)
                raise Overloaded
            self._count(hashing=1)
            try:
                yield
            finally:
                self._running.release()
                self._count(hashing=-1)
        finally:
            self._queue.release()
            self._count(inside=-1)

    def _count(self, *, inside: int = 0, hashing: int = 0, shed: int = 0) -> None:
        with self._counting:
            self._inside += inside
            self._hashing += hashing
            self._shed += shed
