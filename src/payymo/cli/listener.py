"""The server's processes: one that listens and renews, and workers that answer. Replacing them costs no request."""

import multiprocessing
import os
import resource
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Final

from granian import Granian
from granian.net import SocketHolder  # type: ignore[attr-defined]

from payymo.cli.beginning import SHUTDOWN_SECONDS, STEADY_SECONDS, Announced, Respite
from payymo.cli.leaving import LEAVE
from payymo.cli.tls import CheckedPair, ListenerTls
from payymo.cli.tls_pair import TRACE
from payymo.errors import Misconfigured, PayymoError
from payymo.logs import Event, SecurityLog

CONNECTIONS: Final = 4096
"""How many connections a worker takes at a time; the next wait."""
OPEN_FILES: Final = 2 * CONNECTIONS
"""Connections are open files. Many systems allow 1,024 unless a program asks for more: too few for a server."""
UNREAD_SECONDS: Final = 15
"""How long an answer may lie unread. A thousand clients that read nothing would hold every connection there is."""
READY_SECONDS: Final = 30
"""How long new workers have to begin, all of them."""
SETTLE_SECONDS: Final = 1
"""How long they have to live then before the old ones leave: the runtime reads the key last, and may fail."""
LEAVE_SECONDS: Final = 5
"""How long workers that leave finish handshakes and conversations. Granian ends what is not a request yet."""
LOOK_SECONDS: Final = 0.1
HEAR_SECONDS: Final = 0.2
"""How long after a worker this process may hear of a signal to both."""


class Listener(Granian):  # type: ignore[misc, valid-type]  # a class that is chosen when the module is loaded
    """Granian, on a listening socket whose connections end when the client does not read (RFC 9293 §3.9.1, RFC 5482).

    The workers share it, so that what waits for one that was killed, or that leaves, is answered by another.
    """

    _tls: ListenerTls | None = None
    _log: SecurityLog
    _has_begun = False
    _is_futile = False

    def use(self, tls: ListenerTls | None, log: SecurityLog) -> None:
        """Speak TLS with this certificate, and its successors."""
        self._tls, self._log, self._respite = tls, log, Respite()
        self.main_loop_interrupt = Attention(self._is_wanted)
        if tls is not None:
            self.ssl_ctx = tls.context

    def _is_wanted(self) -> bool:
        """Whether there is something to do, as when the time has come to try again whether a dead worker begins."""
        if not self.interrupt_signal:  # who is dead then is no reason to end with 1
            self.interrupt_children.extend(self._respite.due(time.monotonic()))
        return bool(self.interrupt_signal or self.reload_signal or self.interrupt_children)

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
        """On SIGHUP: other workers with the certificate that is there now. Whatever goes wrong changes nothing."""
        self.reload_signal = False
        try:
            self._renew(spawn_target, target_loader)
        except PayymoError as error:
            self._refuse(error.code)
            self._log.advise("tls", str(error))
        except Exception as error:  # noqa: BLE001 - what answers must not end because of what would come next
            self._refuse(PayymoError.code)
            self._log.failure(error, trace=TRACE)

    def _renew(self, spawn_target: Any, target_loader: Any) -> None:
        if self._tls is None:
            self._replace_workers(spawn_target, target_loader)
            return
        found = self._tls.prepare()
        if found is None:
            return
        was, has_begun = self._show(self._tls, found), False
        try:
            has_begun = self._replace_workers(spawn_target, target_loader)
        finally:
            if not has_begun:
                self._show(self._tls, was)
        if has_begun and (lost := found.lacks(was)):
            told = ", ".join(lost[:5]) + (" …" if len(lost) > 5 else "")
            self._log.advise("tls", f"the certificate that is shown now lacks {told}, which the one before bore")

    def _show(self, tls: ListenerTls, pair: CheckedPair) -> CheckedPair:
        """Let workers that begin from now on show this one. Answers the one that they showed until now."""
        was = tls.show(pair)
        self.ssl_ctx = tls.context
        return was

    def _refuse(self, reason: str) -> None:
        if self._tls is not None:
            self._log.write(Event("certificate.replaced", "refused", trace=TRACE, reason=reason))

    def _replace_workers(self, spawn_target: Any, target_loader: Any) -> bool:
        """All at once, and the old ones only when the new ones have begun. False: they have not, the old ones stay."""
        new: list[Any] = []
        have_begun = False
        reader, writer = multiprocessing.Pipe(duplex=False)
        try:
            with reader, writer:
                for index in range(self.workers):
                    worker = self._spawn_worker(
                        idx=index, target=spawn_target, callback_loader=Announced(target_loader, writer)
                    )
                    worker.interrupt_by_parent = True  # until it is accepted, its death concerns nobody else
                    new.append(worker)
                    worker.start()
                have_begun = self._have_begun(new, reader)
        finally:
            if not have_begun:
                self._end(new)
        if have_begun:
            self._accept(new)
        elif not self.interrupt_signal:
            self._refuse("workers_did_not_begin")
            self._log.advise("workers", "the new ones did not begin: the old ones stay")
        return have_begun

    def _have_begun(self, new: Sequence[Any], reader: Connection) -> bool:
        """Whether all of them have built what answers, and lived on when the runtime had read the key."""
        ready = 0

        def is_decided() -> bool:
            nonlocal ready
            while ready < len(new) and reader.poll():
                reader.recv_bytes()
                ready += 1
            return ready == len(new) or not all(worker.is_alive() for worker in new)

        self._pause(READY_SECONDS, is_decided)
        if ready == len(new):
            self._pause(SETTLE_SECONDS)
        return ready == len(new) and not self.interrupt_signal and all(worker.is_alive() for worker in new)

    def _accept(self, new: list[Any]) -> None:
        old, self.wrks[:], self._has_begun = list(self.wrks), new, True
        for worker in old:
            worker.interrupt_by_parent = True  # its death would be taken for that of its successor
        for worker in new:
            worker.interrupt_by_parent = False
        self._find_the_dead()
        if self._tls is not None:
            self._log.write(Event("certificate.replaced", trace=TRACE))
        _ask_to_leave(old)
        self._pause(LEAVE_SECONDS, lambda: not any(worker.is_alive() for worker in old))
        self._end(old)

    def _find_the_dead(self) -> None:
        """Let the loop know which workers have to be started again.

        First nobody, then those that are dead by now: whoever dies in between adds itself, if need be a second time.
        """
        self.interrupt_children.clear()
        self.respawned_wrks.clear()
        self.interrupt_children.extend(worker.idx for worker in list(self.wrks) if not worker.is_alive())

    def _respawn_workers(self, workers: Iterable[int], spawn_target: Any, target_loader: Any, delay: float = 0) -> None:
        """Start those again that are dead: it may have been said twice of one, or of its predecessor.

        Granian ends everything when one can't begin twice. Here the others go on, unless none has ever begun.
        """
        now = time.monotonic()
        for index in dict.fromkeys(workers):
            if not self.wrks[index].is_alive():
                self._note_end(index, lived=now - self.wrks[index].birth, now=now)
        if self.interrupt_signal:
            return
        due = [index for index in self._respite.due(now) if not self.wrks[index].is_alive()]
        for index in self._respite.due(now):
            self._respite.begin(index)
        super()._respawn_workers(due, spawn_target, target_loader, delay)
        self.respawned_wrks.clear()

    def _note_end(self, index: int, *, lived: float, now: float) -> None:
        self._has_begun |= lived >= STEADY_SECONDS
        wait = self._respite.ended(index, lived=lived, now=now)
        if wait and not self._has_begun and not any(worker.is_alive() for worker in self.wrks):
            self.interrupt_signal = self._is_futile = True
            self._log.advise("workers", "they end while they begin: the lines before this one say why")
        elif wait:
            self._log.advise("workers", f"number {index + 1} has not begun: it is tried again in {wait:.0f} s")

    def _end(self, workers: Sequence[Any]) -> None:
        """End them. When the service is told to end meanwhile, they end with all the others."""
        started = [worker for worker in workers if worker.inner.pid is not None]
        for worker in started:
            worker.terminate()
        self._pause(SHUTDOWN_SECONDS, lambda: not any(worker.is_alive() for worker in started))
        if self.interrupt_signal:
            self.wrks.extend(started)
            return
        for worker in started:
            if worker.is_alive():
                worker.kill()
            worker.join()

    def signal_handler_interrupt(self, *_: Any) -> None:
        """A terminal's Ctrl-C, and systemd, tell the workers, too: those that end now have not crashed."""
        for worker in self.wrks:
            worker.interrupt_by_parent = True
        super().signal_handler_interrupt()

    def _spawn_worker(self, *args: Any, **kwargs: Any) -> Any:
        """A worker whose end is looked at a moment later: it may hear of ours before this process does."""
        worker = super()._spawn_worker(*args, **kwargs)
        look = worker._watcher

        def look_later() -> None:
            worker.inner.join()
            self._pause(HEAR_SECONDS)
            look()

        worker._watcher = look_later
        return worker

    def shutdown(self, exit_code: int = 0) -> None:
        """Who ended before this process had heard of it was told to, as well: unless none ever began."""
        if self.interrupt_signal:
            self.interrupt_children.clear()
        super().shutdown(1 if self._is_futile else exit_code)

    def _stop_workers(self) -> None:
        """Those who wait for news inside a worker hear first that it ends: it would wait for them."""
        _ask_to_leave(self.wrks)
        super()._stop_workers()

    def _pause(self, seconds: float, is_enough: Callable[[], bool] = lambda: False) -> None:
        """Until then, or until it is enough, or until the service is told to end."""
        until = time.monotonic() + seconds
        while not self.interrupt_signal and time.monotonic() < until and not is_enough():
            time.sleep(LOOK_SECONDS)


def _ask_to_leave(workers: Iterable[Any]) -> None:
    for worker in workers:
        if worker.is_alive():
            with suppress(ProcessLookupError):
                os.kill(worker.inner.pid, LEAVE)


class Attention:
    """What Granian's loop waits for, in the place of its Event.

    An Event has a lock. A signal handler that sets it while the loop holds that lock waits for the loop, which waits
    for the handler: for ever. This one has none, and asks what there is to do rather than being told: nothing that
    happens between two looks can be cleared away unseen.
    """

    def __init__(self, is_wanted: Callable[[], bool]) -> None:
        self._is_wanted = is_wanted

    def set(self) -> None:
        """Who says so has already written down what there is to do."""

    def clear(self) -> None:
        """It is over when nothing is left to do."""

    def wait(self) -> None:
        """Return when there is something to do."""
        while not self._is_wanted():
            time.sleep(LOOK_SECONDS)  # goes on after a signal (PEP 475)


def listen(address: str, port: int, *, backlog: int) -> socket.socket:
    """A listening socket. Raises Misconfigured: somebody else listens there, or nobody may."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family, backlog=backlog)
    except OSError as error:
        raise Misconfigured([f"{address}:{port}: {error.strerror}"]) from None


def allow_open_files() -> int:
    """Allow as many as are wanted, or as the system lets us. Answers how many that are."""
    allowed, at_most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if at_most == resource.RLIM_INFINITY else min(OPEN_FILES, at_most)
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, at_most))
    return wanted
