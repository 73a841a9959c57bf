"""Waiting for news: one look at the database for all followers of a process, and none when nobody waits.

Numbers become visible in order, so that one number says whether there is anything new for somebody.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from payymo.feed.model import Cursor
from payymo.feed.service import Feed

LOOK_SECONDS: Final = 0.05
"""How long news may wait for being seen."""
FAILED_SECONDS: Final = 1.0
"""How long a database that did not answer is left alone."""


class Watch:
    """Wakes whoever waits when the feed has moved. Its thread looks only while somebody waits."""

    def __init__(self, feed: Feed, *, look_seconds: float = LOOK_SECONDS) -> None:
        self._feed = feed
        self._look = look_seconds
        self._waiting: dict[object, tuple[Cursor, Callable[[], None]]] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def watch(self, place: Cursor, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` once, from another thread, when the feed is somewhere else than here. Answers how to give up."""
        ticket = object()
        with self._changed:
            self._waiting[ticket] = (place, wake)
            if self._thread is None or not self._thread.is_alive():  # a fork takes no threads along
                self._thread = threading.Thread(target=self._run, name="payymo-feed", daemon=True)
                self._thread.start()
            self._changed.notify()

        def give_up() -> None:
            with self._changed:
                self._waiting.pop(ticket, None)

        return give_up

    def wait(self, place: Cursor, seconds: float) -> None:
        """Return when the feed is somewhere else, or after so long."""
        moved = threading.Event()
        give_up = self.watch(place, moved.set)
        try:
            moved.wait(seconds)
        finally:
            give_up()

    def wake_all(self) -> None:
        """Wake whoever waits, though there is nothing new."""
        self._wake(None)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
            try:
                self._wake(self._feed.head())
                pause = self._look
            except Exception:  # noqa: BLE001 - whoever waits asks when they have waited, and is told; this goes on
                pause = FAILED_SECONDS
            time.sleep(pause)

    def _wake(self, head: Cursor | None) -> None:
        with self._changed:
            moved = [ticket for ticket, (place, _) in self._waiting.items() if place != head]
            woken = [self._waiting.pop(ticket)[1] for ticket in moved]
        for wake in woken:
            wake()
