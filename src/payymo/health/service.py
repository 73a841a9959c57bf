"""Asks the checks, in a thread of its own and about once a second at most, however many want to know.

A database that hangs must not cost the threads of whoever asks: nobody waits longer than `patience_seconds`, counted
from when the look began, and while one who waits is there, others are told what was found before.
"""

import threading
import time
from collections.abc import Sequence
from typing import Final

from payymo.clock import Clock
from payymo.errors import Misconfigured, PayymoError
from payymo.health.model import Check, Finding, Health, Name
from payymo.logs import SecurityLog

FRESH_SECONDS: Final = 1.0
"""How long an answer is given again."""
USABLE_SECONDS: Final = 10.0
"""How old an answer may be that is given while a new one is awaited."""
PATIENCE_SECONDS: Final = 2.0
"""How long an answer is waited for. Load balancers wait about five."""
ABANDONED_SECONDS: Final = 30.0
"""After which a look that hangs is left to itself, and another one begins."""


class Monitor:
    """The checks of this process, and what they last found. Thread-safe."""

    def __init__(
        self, checks: Sequence[Check], clock: Clock, log: SecurityLog, *, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self._checks = tuple(checks)
        self._clock = clock
        self._log = log
        self._patience = patience_seconds
        self._lock = threading.Lock()
        self._look: _Look | None = None
        self._found: Health | None = None
        self._found_at = float("-inf")

    def health(self) -> Health:
        """How it is, about a second old at most; or what can be said of a database that does not answer."""
        with self._lock:
            age = self._clock() - self._found_at
            if self._found is not None and 0 <= age < FRESH_SECONDS:  # a clock that went back makes nothing fresh
                return self._found
            look, is_mine = self._join()
            if not is_mine and self._found is not None and 0 <= age < USABLE_SECONDS:
                return self._found
        if look.done.wait(max(0.0, look.began + self._patience - time.monotonic())):
            return look.found
        return self._keep(self._hanging(look), of=look)

    def _join(self) -> "tuple[_Look, bool]":
        """The look that is under way, and whether it was begun by this call. Under the lock."""
        look = self._look
        if look is not None and time.monotonic() - look.began < ABANDONED_SECONDS:
            return look, False
        look = _Look(self._checks)
        threading.Thread(target=self._run, args=(look,), name="payymo-health", daemon=True).start()
        self._look = look  # not before the thread is there: the machine may have none to give
        return look, True

    def _run(self, look: "_Look") -> None:
        look.run()
        self._keep(look.found, of=look, has_ended=True)
        look.done.set()

    def _keep(self, found: Health, *, of: "_Look", has_ended: bool = False) -> Health:
        """Tell this to whoever asks from now on. A look that was left to itself has nothing new to say."""
        with self._lock:
            if self._look is not of:
                return found
            if has_ended:
                self._look = None
            before, self._found, self._found_at = self._found, found, self._clock()
        for name, finding in found.findings.items():
            if finding.standing != ("ok" if before is None else before.findings[name].standing):
                self._log.advise("health", f"{name}: {finding.standing}: {finding.reason}")
        return found

    def _hanging(self, look: "_Look") -> Health:
        """What is known of a look that has not ended: the check that hangs, and those behind it, are not answered."""
        late = f"no answer within {self._patience:g} s"
        found = dict(look.so_far)
        for check in self._checks:
            found.setdefault(check.name, Finding(check.worst, late, check.remedy))
        return Health(found)


def ask(checks: Sequence[Check]) -> Health:
    """What the checks find now, however long that takes: for who asks once."""
    look = _Look(checks)
    look.run()
    return look.found


class _Look:
    """One look: the checks in their order."""

    def __init__(self, checks: Sequence[Check]) -> None:
        self._checks = checks
        self.began = time.monotonic()
        self.done = threading.Event()
        self.so_far: dict[Name, Finding] = {}
        self.found = Health({})

    def run(self) -> None:
        for check in self._checks:
            self.so_far[check.name] = self._ask(check)
        self.found = Health(dict(self.so_far))

    def _ask(self, check: Check) -> Finding:
        lacking = [name for name in check.needs if self.so_far[name].standing == "failing"]
        if lacking:
            return Finding(check.worst, f"not asked: {lacking[0]}")
        try:
            return check.ask()
        except Exception as error:  # noqa: BLE001 - whatever happens to a check is what it has found
            return Finding(check.worst, why(error), check.remedy)


def why(error: Exception) -> str:
    """What an error of ours says; the text of foreign ones may hold data, and stays out."""
    if isinstance(error, Misconfigured):
        return "; ".join(error.reasons)
    if isinstance(error, PayymoError):
        return error.private or error.detail
    return type(error).__name__
