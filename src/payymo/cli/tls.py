"""The listener's TLS certificate: read, checked, and followed by its successor while the service runs.

Workers read certificate and key from files when they begin. What they read is a copy that was checked before: whatever
is done to the originals meanwhile, a worker that has to be started again still finds a pair that fits. On Linux the
copies are in memory and on no disk; elsewhere, in a folder for their owner alone.
"""

import multiprocessing
import os
import signal
import tempfile
import threading
import time
import weakref
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from payymo.certificates.validation import lacking, names_of
from payymo.cli.tls_pair import Pair, PairSource, check_pair
from payymo.clock import Clock
from payymo.errors import Misconfigured

LOOK_SECONDS: Final = 1.0
AGAIN_SECONDS: Final = 30.0
WARN_SECONDS: Final = 30 * 86_400


class ListenerTls:
    """What the listener shows. One process renews it; those that it starts find what it has last been told to show."""

    def __init__(self, source: PairSource, clock: Clock, *, minimum: str) -> None:
        """Raises Misconfigured, with the reason why nobody would accept the certificate."""
        self._source = source
        self._clock = clock
        self._minimum = minimum
        self._unusable, self._tried, self._tried_at = "", "", 0.0
        self.mark = source.look()
        self._shown = CheckedPair(source.read(), self.mark, clock())
        self.expires_at = self._shown.expires_at

    def __getstate__(self) -> dict[str, Any]:
        """What travels to a worker that is not forked (macOS): all that it needs to know."""
        return {"mark": self.mark, "expires_at": self.expires_at}

    @property
    def context(self) -> tuple[Any, ...]:
        """What Granian hands to its workers."""
        return (True, self._shown.chain.path, self._shown.key.path, None, self._minimum, None, [], False)

    def prepare(self) -> "CheckedPair | None":
        """Another pair that can be used: a candidate, nothing is shown yet. None: there is none, or not again so soon.

        Raises Misconfigured, once for each pair that can't be used, and Unavailable.
        """
        mark = self._source.look()
        if mark in {self.mark, self._unusable} or self._was_just_tried(mark):
            return None
        try:
            pair = self._source.read()
            if pair != self._shown.pair:
                found, self._unusable = CheckedPair(pair, mark, self._clock()), ""
                return found
        except Misconfigured:
            self._unusable = mark
            raise
        self._shown.mark = self.mark = mark
        return None

    def show(self, pair: "CheckedPair") -> "CheckedPair":
        """Let this one be what workers are given when they begin. Answers the one that it was until now."""
        was, self._shown, self.mark = self._shown, pair, pair.mark
        self.expires_at = pair.expires_at
        return was

    @property
    def expires_soon(self) -> bool:
        """Whether it has to be renewed by now."""
        return self.expires_at - self._clock() < WARN_SECONDS

    def _was_just_tried(self, mark: str) -> bool:
        """Each worker asks again by itself: without this, many workers would ask many times as often."""
        now = time.monotonic()
        if mark == self._tried and now - self._tried_at < AGAIN_SECONDS / 2:
            return True
        self._tried, self._tried_at = mark, now
        return False


class CheckedPair:
    """A pair that clients accept, with the copies that workers read, and the look that it had."""

    def __init__(self, pair: Pair, mark: str, now: float) -> None:
        """Raises Misconfigured."""
        chain, key = check_pair(pair, now)
        self.pair, self.mark = pair, mark
        self.expires_at = chain[0].not_valid_after_utc.timestamp()
        self.names = names_of(chain[0])
        # Written anew: what the runtime reads is what was checked, and not what another parser finds in the file.
        self.chain = _Copy(b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain))
        self.key = _Copy(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    def lacks(self, other: "CheckedPair") -> list[str]:
        """The names of the other one that this one is not made out for: who goes there would refuse it."""
        return lacking(other.names, self.names)


class _Copy:
    """A file for the processes that this one starts. It is gone with this object, or with the process."""

    def __init__(self, content: bytes) -> None:
        if hasattr(os, "memfd_create"):  # Linux
            self._file = open(os.memfd_create("payymo-tls"), "wb", buffering=0)  # noqa: SIM115, PTH123
            # Forked processes inherit it. Another's files can't be read when that process has capabilities.
            process = "self" if multiprocessing.get_start_method() == "fork" else str(os.getpid())
            self.path = f"/proc/{process}/fd/{self._file.fileno()}"
        else:
            self._file = tempfile.NamedTemporaryFile(prefix="payymo-tls-", buffering=0)  # type: ignore[assignment]  # noqa: SIM115
            self.path = self._file.name
        weakref.finalize(self, self._file.close)
        self._file.write(content)


def watch(source: PairSource, mark: str) -> None:
    """In a worker: tell the parent when there is another pair than the one that had this mark.

    And again from time to time, as long as this worker is there: the parent may have found that nobody answers.
    """
    parent, stopping = os.getppid(), threading.Event()

    def look() -> None:
        seen, told_at = mark, 0.0
        while not stopping.wait(LOOK_SECONDS):
            found, now = source.look(), time.monotonic()
            if found != mark and (found != seen or now - told_at > AGAIN_SECONDS) and os.getppid() == parent:
                seen, told_at = found, now
                os.kill(parent, signal.SIGHUP)

    threading.Thread(target=look, name="payymo-tls", daemon=True).start()
