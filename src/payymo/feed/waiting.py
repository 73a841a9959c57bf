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


class Ticket:
    """Somebody's wait. To call it is to give up."""

    def __init__(self, place: Cursor, wake: Callable[[], None], give_up: Callable[["Ticket"], None]) -> None:
        self.place = place
        self.wake = wake
        self.since = time.monotonic()
        """When there was last nothing new at this place, by the monotonic clock: news are no older."""
        self.has_news = False
        self._give_up = give_up

    def __call__(self) -> None:
        """Don't wake me."""
        self._give_up(self)


class Watch:
    """Wakes whoever waits when the feed has moved. Its thread looks only while somebody waits."""

    def __init__(self, feed: Feed, *, look_seconds: float = LOOK_SECONDS) -> None:
        self._feed = feed
        self._look = look_seconds
        self._waiting: set[Ticket] = set()
        self._observers: list[Callable[[float], None]] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def observe(self, observe: Callable[[float], None]) -> None:
        """Let somebody hear, of each follower who was answered with news, how many seconds these had been there.

        At most that is: it is counted from the look before, when they were not there yet.
        """
        self._observers.append(observe)

    def answered(self, since: float) -> None:
        """A follower has its answer now. `since`: of its ticket."""
        for observe in self._observers:
            observe(time.monotonic() - since)

    def watch(self, place: Cursor, wake: Callable[[], None]) -> Ticket:
        """Call `wake` once, from another thread, when the feed is somewhere else than here. To call it gives up."""
        ticket = Ticket(place, wake, self._forget)
        with self._changed:
            self._waiting.add(ticket)
            if self._thread is None or not self._thread.is_alive():  # a fork takes no threads along
                self._thread = threading.Thread(target=self._run, name="payymo-feed", daemon=True)
                self._thread.start()
            self._changed.notify()
        return ticket

    def _forget(self, ticket: Ticket) -> None:
        with self._changed:
            self._waiting.discard(ticket)

    def wait(self, place: Cursor, seconds: float) -> Ticket:
        """Return when the feed is somewhere else, or after so long."""
        moved = threading.Event()
        ticket = self.watch(place, moved.set)
        try:
            moved.wait(seconds)
        finally:
            ticket()
        return ticket

    def wake_all(self) -> None:
        """Wake whoever waits, though there is nothing new."""
        self._wake(None)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
            try:
                began = time.monotonic()
                self._wake(self._feed.head(), began)
                pause = self._look
            except Exception:  # noqa: BLE001 - whoever waits asks when they have waited, and is told; this goes on
                pause = FAILED_SECONDS
            time.sleep(pause)

    def _wake(self, head: Cursor | None, looked_at: float = 0.0) -> None:
        with self._changed:
            woken = [ticket for ticket in self._waiting if ticket.place != head]
            self._waiting.difference_update(woken)
            for ticket in self._waiting:  # there was nothing new when the look began
                ticket.since = max(ticket.since, looked_at)
        for ticket in woken:
            ticket.has_news = head is not None
            ticket.wake()
