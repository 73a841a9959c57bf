"""Due duties of a running service: forget what expired, rotate keys and certificates by the calendar.

Every process looks, the one that holds the lease does them; when it dies, another takes the lease.
"""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from payymo.db.lease import DUTIES
from payymo.errors import Misconfigured, PayymoError, Unavailable
from payymo.logs import Trace
from payymo.services import Services

TRACE = Trace(request_id="maintenance")
ROUNDS_PER_LEASE = 3


@dataclass(frozen=True, slots=True)
class Round:
    """How one look went. `seconds`: how long the duties took; None: another process does them, or nobody could ask."""

    is_leader: bool
    has_failed: bool
    seconds: float | None


class Maintenance:
    """A thread that does what is due every `every_seconds`, until it is stopped or the process ends."""

    def __init__(
        self, services: Services, *, every_seconds: float, observe: Callable[[Round], None] | None = None
    ) -> None:
        """`observe` hears of every round."""
        self._services = services
        self._observe = observe
        self._every = every_seconds
        self._lease = services.lease(DUTIES, seconds=math.ceil(every_seconds * ROUNDS_PER_LEASE))
        self._is_on_time = True
        """What was said last of the clock."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="payymo-maintenance", daemon=True)

    def start(self) -> None:
        """Begin, with the first round after one interval."""
        self._thread.start()

    def stop(self) -> None:
        """Return when the round that may be under way has ended. Another process may go on at once."""
        self._stopping.set()
        self._thread.join()
        self._lease.give_back()

    def _run(self) -> None:
        while not self._stopping.wait(self._every):
            done = self._look()
            if self._observe is not None:
                self._observe(done)

    def _look(self) -> Round:
        began: float | None = None
        failures: list[Exception] = []
        try:
            failures += self._write_down()
            if self._has_the_time() and self._lease.take():
                began = time.monotonic()
                self._services.do_duties(TRACE)
                self._lease.note_done()
        except Exception as error:  # noqa: BLE001 - the cleaner outlives whatever the database does to it
            failures += error.exceptions if isinstance(error, ExceptionGroup) else (error,)
        for failure in failures:
            self._services.log.failure(failure, trace=TRACE, private=reason_of(failure))
        return Round(began is not None, bool(failures), None if began is None else time.monotonic() - began)

    def _write_down(self) -> list[Exception]:
        """Note how the limits were used. That is for people to look at, and nothing that is due depends on it.

        Answers what has kept it from that. Raises Unavailable: then nothing else can be done either.
        """
        try:
            self._services.limit_usage.flush()
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            return [error]
        return []

    def _has_the_time(self) -> bool:
        """Whether the clock can be gone by. One that can't takes no lease either: each would seem to have run out."""
        try:
            self._services.require_clock()
        except Misconfigured as error:
            if self._is_on_time:
                self._services.log.advise("duties", f"left to others: {reason_of(error)}")
            self._is_on_time = False
        else:
            self._is_on_time = True
        return self._is_on_time


def reason_of(error: Exception) -> str | None:
    """What an error of ours says; the text of foreign ones stays out of the log."""
    if isinstance(error, Misconfigured):
        return "; ".join(error.reasons)
    return error.private if isinstance(error, PayymoError) else None
