"""Takes down how rate limits are used: added up in memory, written once a minute, a row for each hour and limit.

It is for the operator to choose limits by, so it is never in a request's way, and what can't be written is tried again.
"""

import threading

from payymo.clock import Clock
from payymo.db.work import Work
from payymo.limits import store
from payymo.limits.model import Counted, Tally, Tier, UsageKey

HOUR_SECONDS = 3600
KEEP_DAYS = 35
LIMITS_AT_MOST = 500
"""Limits in as many hours that a process keeps in memory while it can't write."""


class Usage:
    """The use of rate limits, as this process sees it. Thread-safe."""

    def __init__(self, work: Work, clock: Clock) -> None:
        self._work = work
        self._clock = clock
        self._lock = threading.Lock()
        self._tallies: dict[UsageKey, Tally] = {}

    def record(self, tier: Tier, scope: Counted, *, amount: int, window_seconds: int, used: int | None) -> None:
        """A try was number `used` of a window; None: it was refused."""
        key = UsageKey(int(self._clock()) // HOUR_SECONDS, tier, scope, amount, window_seconds)
        with self._lock:
            tally = self._tallies.get(key)
            if tally is None:
                if len(self._tallies) >= LIMITS_AT_MOST and not self._make_room(key.hour):
                    return
                tally = self._tallies[key] = Tally()
            if used is None:
                tally.refused += 1
            else:
                tally.count(used, amount)

    def _make_room(self, hour: int) -> bool:
        """Forget the oldest hour, where nobody writes for days: what was used of late says more. False: it is this."""
        oldest = min(key.hour for key in self._tallies)
        if oldest == hour:
            return False
        self._tallies = {key: tally for key, tally in self._tallies.items() if key.hour != oldest}
        return True

    def flush(self) -> None:
        """Write down what was added up. Raises Unavailable: then it is kept for the next time."""
        with self._lock:
            taken, self._tallies = self._tallies, {}
        if not taken:
            return
        try:
            with self._work.platform() as tx:
                store.add_usage(tx, taken)
        except BaseException:
            with self._lock:
                for key, tally in taken.items():
                    self._tallies.setdefault(key, Tally()).add(tally)
            raise

    def read(self, *, days: int) -> dict[UsageKey, Tally]:
        """How each limit was used in the last `days` days, all hours together (hour 0)."""
        whole: dict[UsageKey, Tally] = {}
        for key, tally in self.read_hours(hours=days * 24).items():
            together = UsageKey(0, key.tier, key.scope, key.amount, key.window_seconds)
            whole.setdefault(together, Tally()).add(tally)
        return whole

    def read_hours(self, *, hours: int) -> dict[UsageKey, Tally]:
        """How each limit was used in each of the last hours, and in the present one."""
        since = int(self._clock()) // HOUR_SECONDS - hours
        with self._work.platform(writes=False) as tx:
            return store.read_usage(tx, since_hour=since)

    def prune(self) -> int:
        """Forget what is older than 35 days. Answers how many rows."""
        with self._work.platform() as tx:
            return store.prune_usage(tx, before_hour=int(self._clock()) // HOUR_SECONDS - KEEP_DAYS * 24)
