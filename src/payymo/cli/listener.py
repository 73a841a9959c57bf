"""The server's processes: one that listens and renews, and workers that answer. Replacing them costs no request."""

import os
import resource
import signal
import socket
import stat
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from granian import Granian
from granian.net import SocketHolder  # type: ignore[attr-defined]

from payymo.cli.tls import TRACE, ListenerTls
from payymo.errors import PayymoError
from payymo.logs import SecurityLog

CONNECTIONS: Final = 4096
"""How many connections a worker takes at a time; the next wait."""
OPEN_FILES: Final = 2 * CONNECTIONS
"""Connections are open files. Many systems allow 1,024 unless a program asks for more: too few for a server."""
UNREAD_SECONDS: Final = 15
"""How long an answer may lie unread. A thousand clients that read nothing would hold every connection there is."""
SHUTDOWN_SECONDS: Final = 10
BEGIN_SECONDS: Final = 3
"""How long new workers have to prove that they don't fail at once, before the old ones leave."""
LEAVE_SECONDS: Final = 5
"""How long workers that leave finish handshakes and conversations. Granian ends what is not a request yet."""
LEAVE: Final = signal.SIGUSR1


class Listener(Granian):  # type: ignore[misc, valid-type]  # a class that is chosen when the module is loaded
    """Granian, on a listening socket whose connections end when the client does not read (RFC 9293 §3.9.1, RFC 5482).

    The workers share it, so that what waits for one that was killed, or that leaves, is answered by another.
    """

    _tls: ListenerTls | None = None
    _log: SecurityLog

    def use(self, tls: ListenerTls | None, log: SecurityLog) -> None:
        """Speak TLS with this certificate, and its successors."""
        self._tls, self._log = tls, log
        if tls is not None:
            self.ssl_ctx = tls.context

    def _init_shared_socket(self) -> None:
        listener = listen(self.bind_addr, self.bind_port, backlog=self.backlog)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)
        listener.settimeout(0)
        listener.set_inheritable(True)
        self._sso = listener
        self._sfd = listener.fileno()
        self._shd = SocketHolder(self._sfd, False, self.backlog)  # type: ignore[call-arg]  # noqa: FBT003
        self._ssp = None

    def _reload(self, spawn_target: Any, target_loader: Any) -> None:
        """On SIGHUP: other workers with the certificate that is there now. One that can't be used changes nothing."""
        self.reload_signal = False
        self.main_loop_interrupt.clear()
        if self._tls is not None:
            try:
                if not self._tls.renew():
                    return
            except PayymoError as error:
                self._log.event("certificate.replaced", "refused", trace=TRACE, reason=error.code)
                self._log.advise("tls", str(error))
                return
            self.ssl_ctx = self._tls.context
            self._log.event("certificate.replaced", "success", trace=TRACE)
        self._replace_workers(spawn_target, target_loader)

    def _replace_workers(self, spawn_target: Any, target_loader: Any) -> None:
        """All at once, and the old ones only when the new ones have begun."""
        old, new = (
            list(self.wrks),
            [
                self._spawn_worker(idx=index, target=spawn_target, callback_loader=target_loader)
                for index in range(self.workers)
            ],
        )
        for worker in new:
            worker.start()
        self._pause(BEGIN_SECONDS)
        if not all(worker.is_alive() for worker in new):
            self._log.advise("workers", "the new ones ended at once: the old ones stay")
            self._end(new)
            self.interrupt_children.clear()
            return
        self.wrks[:] = new
        for worker in old:
            with suppress(ProcessLookupError):
                os.kill(worker.inner.pid, LEAVE)
        self._pause(LEAVE_SECONDS)
        self._end(old)

    def _end(self, workers: Sequence[Any]) -> None:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join(SHUTDOWN_SECONDS)
            if worker.is_alive():
                worker.kill()
                worker.join()

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self.interrupt_signal and time.monotonic() < until:
            time.sleep(0.1)


class Leaving:
    """A worker that is told to leave takes no new connections, and asks clients to close those that they have.

    Granian, told to stop, finishes requests and drops everything else at once: connections in mid-handshake, too.
    """

    def __init__(self) -> None:
        self.has_begun = False

    def await_it(self) -> None:
        """Be ready for it. Before any other thread begins: they inherit that the signal is not for them."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {LEAVE})
        threading.Thread(target=self._wait, name="payymo-leaving", daemon=True).start()

    def _wait(self) -> None:
        signal.sigwait({LEAVE})
        self.has_begun = True
        _stop_accepting()


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


def listen(address: str, port: int, *, backlog: int) -> socket.socket:
    """A listening socket. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, port), family=family, backlog=backlog)


def allow_open_files() -> int:
    """Allow as many as are wanted, or as the system lets us. Answers how many that are."""
    allowed, at_most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if at_most == resource.RLIM_INFINITY else min(OPEN_FILES, at_most)
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, at_most))
    return wanted
