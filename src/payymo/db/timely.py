"""Connections to PostgreSQL that wait for an answer for so long, and no longer.

The server ends a statement that takes too long, unless it stands still itself: its machine is paused, or its disk does
not answer. Then the system goes on acknowledging, and only who waits can tell. Loaded where there is a PostgreSQL.
"""

import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg

R = TypeVar("R")


class ServerSilent(psycopg.OperationalError):
    """No answer came in time. The connection is closed: it may yet come, to another question."""


class TimelyConnection(psycopg.Connection[Any]):
    """As long as `patience_seconds` is None, it waits as long as it takes."""

    patience_seconds: float | None = None

    def wait(self, gen: Generator[Any, Any, R], *more: Any, **named: Any) -> R:
        """What is waited for, whatever it is. Raises ServerSilent."""
        if self.patience_seconds is None:
            return super().wait(gen, *more, **named)
        try:
            return super().wait(_until(gen, time.monotonic() + self.patience_seconds), *more, **named)
        except ServerSilent:
            self.close()
            raise


def _until(gen: Generator[Any, Any, R], end: float) -> Generator[Any, Any, R]:
    """The same, with an end. While nothing comes, it is asked several times in a second."""
    try:
        state = next(gen)
        while True:
            ready = yield state
            if not ready and time.monotonic() >= end:
                raise ServerSilent("the server does not answer")
            state = gen.send(ready)
    except StopIteration as found:
        result: R = found.value
        return result
