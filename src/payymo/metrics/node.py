"""What the processes of one node share: a listening socket, and a folder to count in. One process makes it, all use it.

Whichever worker is free answers a scrape, for all of them. There is none that would have to be succeeded when it dies.
"""

import fcntl
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client import exposition
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics

from payymo.clock import Clock
from payymo.errors import Misconfigured
from payymo.files import make_private_folder
from payymo.logs import SecurityLog
from payymo.metrics.endpoint import Endpoint
from payymo.metrics.facts import Reading
from payymo.metrics.figures import Book
from payymo.metrics.lanes import Lanes
from payymo.metrics.meter import Meter
from payymo.services import Services

PREFIX: Final = "metrics-"
IN_USE: Final = "in-use"
BACKLOG: Final = 16


@dataclass(frozen=True, slots=True)
class Node:
    """It travels to the workers, inherited, or pickled where they are not forked."""

    listener: socket.socket
    folder: Path

    def join(self, clock: Clock) -> Meter:
        """What this process counts with. Raises OSError: there is no room for it."""
        return Meter(Lanes(self.folder).claim(), clock)

    def serve(self, services: Services, meter: Meter) -> None:
        """Answer scrapes from now on, until this process ends."""
        told = Exposition(Lanes(self.folder), Reading(services))
        Endpoint(self.listener, told.render, lambda: meter.sample(services), services.log).start()

    def book(self, log: SecurityLog) -> Book:
        """What its processes have measured since it was started."""
        return Book(Lanes(self.folder), since=(self.folder / IN_USE).stat().st_mtime, log=log)

    def close(self) -> None:
        """Leave nothing behind."""
        self.listener.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def open_node(address: str, port: int, data: Path) -> Node:
    """Listen, and make a folder below `data`; those of nodes that are gone are removed. Raises Misconfigured."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        listener = socket.create_server((address, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise Misconfigured([f"PAYYMO_METRICS__BIND: {address}:{port}: {error.strerror}"]) from None
    try:
        return Node(listener, _make_folder(data))
    except OSError as error:
        listener.close()
        raise Misconfigured([f"{data}: nothing can be written there ({error.strerror})"]) from None


def _make_folder(data: Path) -> Path:
    """A folder for its owner alone. It gets its name when it is held: before that, another node would sweep it away."""
    make_private_folder(data)
    for left in data.glob(f"{PREFIX}*"):
        if (held := _hold(left)) is not None:
            shutil.rmtree(left, ignore_errors=True)
            os.close(held)
    draft = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=data))
    _hold(draft)
    return draft.rename(data / draft.name.removeprefix("."))


class Exposition:
    """What a scrape gets."""

    def __init__(self, lanes: Lanes, reading: Reading) -> None:
        self._lanes = lanes
        self._reading = reading

    def collect(self) -> Iterator[Metric]:
        """Every metric: what the processes have counted, and what is read now."""
        yield from self._lanes.sum()
        yield from self._reading.tell()

    def render(self, accept: str) -> tuple[bytes, str]:
        """The metrics, and of what content type they are: OpenMetrics where an Accept header names it, else plain text.

        Nothing of the header comes back: the library would repeat the version that it names.
        """
        wanted = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
        if "application/openmetrics-text" in wanted:
            return openmetrics.generate_latest(self), openmetrics.CONTENT_TYPE_LATEST
        return exposition.generate_latest(self), exposition.CONTENT_TYPE_PLAIN_0_0_4


def _hold(folder: Path) -> int | None:
    """Mark a folder as in use until this process and those that it starts have ended; None: it is in use already.

    The lock is never closed: it ends with the processes.
    """
    with suppress(OSError):
        descriptor = os.open(folder / IN_USE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
        else:
            return descriptor
    return None
