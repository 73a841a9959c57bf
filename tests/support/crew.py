"""Threads for a test: as ThreadPoolExecutor has them, but they never keep a run waiting for ever.

A pool waits for its threads without an end when its block is left, also by an exception: a test that fails while one of
them goes on becomes a run that never ends.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
PATIENCE_SECONDS = 60
"""How long what was submitted has to end after the block; a second when the test has failed already."""


class Crew:
    """`size` threads that do what is submitted, one thing at a time each."""

    def __init__(self, size: int) -> None:
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(size)]
        for thread in self._threads:
            thread.start()

    def submit(self, act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """What will come of `act`."""
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(act(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever asks for the result
                done.set_exception(error)

        self._work.put(run)
        return done

    def map(self, act: Callable[[Any], T], values: Iterable[Any]) -> Iterator[T]:
        """What comes of `act` for each value, in their order. All are begun at once."""
        submitted = [self.submit(act, value) for value in values]
        return (done.result() for done in submitted)

    def __enter__(self) -> "Crew":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _ in self._threads:
            self._work.put(None)
        deadline = time.monotonic() + (PATIENCE_SECONDS if kind is None else 1)
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if kind is None:
            assert not any(thread.is_alive() for thread in self._threads), "a thread of this test does not end"

    def _run(self) -> None:
        while (act := self._work.get()) is not None:
            act()
