"""Due duties of a running service: forget what expired. Any number of processes may do it at once."""

import threading

from payymo.compose import Services
from payymo.logs import Trace

EVERY_SECONDS = 60.0
TRACE = Trace(request_id="maintenance")


class Maintenance:
    """A thread that prunes every `every_seconds`, until it is stopped or the process ends."""

    def __init__(self, services: Services, *, every_seconds: float = EVERY_SECONDS) -> None:
        self._services = services
        self._every = every_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="payymo-maintenance", daemon=True)

    def start(self) -> None:
        """Begin, with the first round after one interval."""
        self._thread.start()

    def stop(self) -> None:
        """Return when the round that may be under way has ended."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._every):
            try:
                self._services.prune()
            except Exception as error:  # noqa: BLE001 - the cleaner outlives whatever the database does to it
                self._services.log.failure(error, trace=TRACE)
