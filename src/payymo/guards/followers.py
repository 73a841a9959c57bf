"""Takes down who follows the revocation feed and what they hold, without ever being in the feed's way.

What is taken down decides when a signing key may be used, and fills a list for the operator. Both can wait, and both do
without: verifiers that don't report are waited for anyway. Revocations can't wait. So one request of a process at a
time waits for the database, none does for a while after one has waited in vain, and what could not be written is
forgotten: they report again.
"""

import threading

from payymo.clock import Clock
from payymo.db.work import Work
from payymo.guards import store
from payymo.guards.model import Follower

WRITE_SECONDS = 5.0
"""How often a process writes down that nothing is new, and how long it leaves the database alone after a failure. What
is new is written at once."""
REMEMBER_AT_MOST = store.FOLLOWERS_AT_MOST
"""Whoever is not remembered is new each time, and written at once: with fewer, a process whose followers are more would
do nothing else."""
WAITING_AT_MOST = 500
Whose = tuple[str | None, str]


class Followers:
    """The reports of this process, on their way to the database. Thread-safe."""

    def __init__(self, work: Work, clock: Clock) -> None:
        self._work = work
        self._clock = clock
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._written: dict[Whose, tuple[str, ...]] = {}
        self._waiting: dict[Whose, Follower] = {}
        self._is_urgent = False
        self._wrote_at = float("-inf")
        self._failed_at = float("-inf")

    def report(self, report: Follower) -> None:
        """Take a report down. Written at once when what they hold has changed, else with the next ones.

        Raises Unavailable, and whatever else the database may have against it: for the caller to put aside.
        """
        whose = (report.credential, report.id)
        with self._lock:
            if whose in self._waiting or len(self._waiting) < WAITING_AT_MOST:
                self._waiting[whose] = report
            self._is_urgent |= self._written.get(whose) != report.kids
        # Who finds somebody writing leaves it to them: they look again when they are done.
        while self._is_due() and self._writing.acquire(blocking=False):
            try:
                self._write()
            except BaseException:
                self._failed_at = self._clock()
                raise
            finally:
                self._writing.release()

    def _is_due(self) -> bool:
        now = self._clock()
        with self._lock:
            is_time = self._is_urgent or not _is_recent(self._wrote_at, now)
            return bool(self._waiting) and is_time and not _is_recent(self._failed_at, now)

    def _write(self) -> None:
        with self._lock:
            taken, self._waiting, self._is_urgent = self._waiting, {}, False
            self._wrote_at = self._clock()
        with self._work.platform() as tx:
            store.save_followers(tx, taken.values())
        with self._lock:
            for whose, report in taken.items():
                self._written.pop(whose, None)
                self._written[whose] = report.kids
            while len(self._written) > REMEMBER_AT_MOST:
                self._written.pop(next(iter(self._written)))  # the longest silent; it is written at once if it comes


def _is_recent(moment: float, now: float) -> bool:
    return 0 <= now - moment < WRITE_SECONDS  # a clock that went back makes nothing recent
