"""How a worker leaves: no new connections, an end to those that are there, and an answer to whoever waits for news."""

import os
import signal
import socket
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

LEAVE: Final = signal.SIGUSR1


class Leaving:
    """A worker that is told to leave takes no new connections, and asks clients to close those that they have.

    Granian, told to stop, finishes requests and drops everything else at once: connections in mid-handshake, too.
    """

    def __init__(self) -> None:
        self.has_begun = False
        self._told: list[Callable[[], None]] = []

    def tell(self, who: Callable[[], None]) -> None:
        """Call this, from another thread, when it begins; who is told too late looks at `has_begun`."""
        self._told.append(who)

    def await_it(self) -> None:
        """Be ready for it. Before any other thread begins: they inherit that the signal is not for them."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {LEAVE})
        threading.Thread(target=self._wait, name="payymo-leaving", daemon=True).start()

    def _wait(self) -> None:
        signal.sigwait({LEAVE})
        try:
            _stop_accepting()
        finally:
            self.begin()

    def begin(self) -> None:
        """From now on."""
        self.has_begun = True
        for call in self._told:
            call()


def _stop_accepting() -> None:
    """Put a socket to which nobody connects in the place of every listening socket of this process.

    The server's runtime holds them by number, and offers no way to be told. The connections that wait stay where they
    are: with the socket itself, which other processes have, too.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=1) as nobody:
        nobody.settimeout(0)
        for number in (int(path.name) for path in list(Path("/dev/fd").iterdir())):
            with suppress(OSError):
                if number != nobody.fileno() and stat.S_ISSOCK(os.fstat(number).st_mode) and _is_listening(number):
                    os.dup2(nobody.fileno(), number, inheritable=False)


def _is_listening(number: int) -> bool:
    with socket.socket(fileno=os.dup(number)) as found:
        return bool(found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
