"""Grows the audit logs of a running service, and signs their heads: within a second of the commit, whoever is killed.

Every process looks; the one that holds the lease does it, and another takes over when it dies. Two at once do no harm:
a log is locked while it grows. Another thread sends checkpoints away, so that nothing waits for a network.
"""

import threading
import uuid
from typing import Final

from payymo.audit.damage import LogsDamaged
from payymo.logs import Trace
from payymo.services import Services

TRACE: Final = Trace(request_id="audit")
LEASE: Final = "audit"
LEASE_SECONDS: Final = 5
SENDING: Final = "audit-checkpoints"
SENDING_SECONDS: Final = 15
LOOK_SECONDS: Final = 0.2
WAIT_SECONDS: Final = 1.0
"""How long a process waits that has not got the lease, or that has failed."""
LOOKS_PER_LEASE: Final = 8


class Auditor:
    """A thread that integrates what has been committed, until it is stopped or the process ends."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._lease = services.lease(LEASE, seconds=LEASE_SECONDS)
        self._damaged: frozenset[uuid.UUID] = frozenset()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="payymo-audit", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Return when the round that may be under way has ended. Another process may go on at once."""
        self._stopping.set()
        self._thread.join()
        self._lease.give_back()

    def _run(self) -> None:
        pause, looks = 0.0, 0
        while not self._stopping.wait(pause):
            try:
                if looks % LOOKS_PER_LEASE == 0 and not self._lease.take():
                    pause = WAIT_SECONDS
                    continue
                looks += 1
                self._go_on()
                pause = LOOK_SECONDS
            except Exception as error:  # noqa: BLE001 - it outlives whatever the database does to it
                pause, looks = WAIT_SECONDS, 0
                self._services.log.failure(error, trace=TRACE, private=getattr(error, "private", None))

    def _go_on(self) -> None:
        """A damaged log stops none of the others, and is told of once."""
        damaged: frozenset[uuid.UUID] = frozenset()
        for act in (self._services.sequencer.integrate_all, self._services.checkpoints.sign_due):
            try:
                act()
            except LogsDamaged as error:
                damaged |= error.logs
                if not error.logs <= self._damaged:
                    self._services.log.failure(error, trace=TRACE, private=error.private)
        self._damaged = damaged


class Sender:
    """A thread that sends checkpoints to where they are kept besides, if anywhere. Nothing waits for it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._lease = services.lease(SENDING, seconds=SENDING_SECONDS)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="payymo-checkpoints", daemon=True)

    def start(self) -> None:
        """Begin to look, if there is anywhere to send to."""
        if self._services.delivery.is_on:
            self._thread.start()

    def stop(self) -> None:
        """Return when what may be under way has ended."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
            self._lease.give_back()

    def _run(self) -> None:
        while not self._stopping.wait(WAIT_SECONDS):
            try:
                if self._lease.take():
                    self._services.delivery.deliver_due()
            except Exception as error:  # noqa: BLE001 - as above
                self._services.log.failure(error, trace=TRACE, private=getattr(error, "private", None))
