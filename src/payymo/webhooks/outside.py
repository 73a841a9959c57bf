"""What somebody waits for while somebody outside is asked: a name server, a receiver under test.

Whoever makes both slow on purpose must not hold the threads that others log in with.
"""

import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from payymo.errors import Overloaded
from payymo.webhooks.model import Failure, Message
from payymo.webhooks.sender import Identity, Sender
from payymo.webhooks.targets import Target

AT_ONCE: Final = 2
"""Requests that may wait at once, in each process, and one of a tenant. The next one is told to come again."""


class Outside:
    """Asks on behalf of requests, few at once."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._waiting: set[uuid.UUID | None] = set()
        self._lock = threading.Lock()

    def admits(self, log: uuid.UUID | None, target: Target) -> bool:
        """Whether events may go to where this name leads now. Raises Overloaded."""
        with self.place(log):
            return bool(self._sender.policy.choose(target, self._sender.resolve))

    def send(
        self,
        log: uuid.UUID | None,
        url: str,
        message: Message,
        secrets: Sequence[bytes],
        *,
        identity: Identity | None,
    ) -> Failure | None:
        """None: the receiver has taken it. Raises Overloaded."""
        with self.place(log):
            return self._sender.send(url, message, secrets, identity=identity)

    @contextmanager
    def place(self, log: uuid.UUID | None) -> Iterator[None]:
        """One of the few. Raises Overloaded: there is none, or the tenant has one."""
        with self._lock:
            if log in self._waiting or len(self._waiting) >= AT_ONCE:
                raise Overloaded(retry_after=5)
            self._waiting.add(log)
        try:
            yield
        finally:
            with self._lock:
                self._waiting.remove(log)
