"""Due duties of a running service: forget what expired. Any number of processes may do it at once."""

import threading

from payymo.compose import Services
from payymo.errors import PayymoError
from payymo.logs import Trace

EVERY_SECONDS = 60.0
TRACE = Trace(request_id="maintenance")


def start_maintenance(services: Services, *, every_seconds: float = EVERY_SECONDS) -> threading.Event:
    """Start a thread that prunes every `every_seconds`. Set the event that is answered to stop it."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(every_seconds):
            try:
                services.prune()
            except PayymoError as error:
                services.log.failure(error, trace=TRACE, private=error.private)

    threading.Thread(target=run, name="payymo-maintenance", daemon=True).start()
    return stop
