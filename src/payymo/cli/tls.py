"""The listener's TLS certificate: read, checked, and followed by its successor while the service runs.

Workers read certificate and key from files when they begin. What they read is a copy that was checked before: whatever
is done to the originals meanwhile, a worker that has to be started again still finds a pair that fits. On Linux the
copies are in memory and on no disk; elsewhere, in a folder for their owner alone.
"""

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from payymo.certificates.service import Certificates
from payymo.clock import Clock
from payymo.errors import Misconfigured, PayymoError, Unavailable
from payymo.files import read_private
from payymo.logs import Trace

TRACE: Final = Trace(request_id="listener")
LOOK_SECONDS: Final = 1.0
AGAIN_SECONDS: Final = 30.0
WARN_SECONDS: Final = 30 * 86_400


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate chain, the server's first, and its private key, both in PEM."""

    chain: bytes
    key: bytes = field(repr=False)


class PairSource(Protocol):
    """Where certificate and key come from."""

    def look(self) -> str:
        """Something that is another when there is another pair. Cheap; never raises."""
        ...

    def read(self) -> Pair:
        """The pair that is there now. Raises Misconfigured."""
        ...


@dataclass(frozen=True, slots=True)
class PairFiles:
    """Two files, as an ACME client or an orchestrator leaves them. The key is for its owner, and its group, alone."""

    certificate: Path
    key: Path

    def look(self) -> str:
        """See PairSource."""
        return f"{_mark(self.certificate)} {_mark(self.key)}"

    def read(self) -> Pair:
        """See PairSource."""
        try:
            chain = self.certificate.read_bytes()
        except OSError as error:
            raise Misconfigured([f"{self.certificate}: can't be read ({error.strerror})"]) from None
        return Pair(chain, read_private(self.key, group_may_read=True))


class StoredPair:
    """A named certificate of the store: whatever version of it is active."""

    def __init__(self, name: str, opening: Callable[[], AbstractContextManager[Certificates]]) -> None:
        self._name = name
        self._opening = opening
        self._last = ""

    def look(self) -> str:
        """See PairSource. While the database does not answer, nothing has changed."""
        with suppress(PayymoError), self._opening() as certificates:
            self._last = str(certificates.active_version(self._name))
        return self._last

    def read(self) -> Pair:
        """See PairSource."""
        with self._opening() as certificates:
            found = certificates.current(self._name, trace=TRACE)
        if found is None:
            remedy = f"payymo certificate import {self._name} FILE"
            raise Misconfigured([f"PAYYMO_SERVER__TLS_CERTIFICATE: no active certificate {self._name!r}: {remedy}"])
        return Pair(found.chain_pem, found.private_key_pem)


class ListenerTls:
    """What the listener shows. One process renews it; those that it starts find what it has last read."""

    def __init__(self, source: PairSource, clock: Clock, *, minimum: str) -> None:
        """Raises Misconfigured, with the reason why nobody would accept the certificate."""
        self._source = source
        self._clock = clock
        self._minimum = minimum
        self.mark = self._tried = source.look()
        self._pair = source.read()
        self._keep(self._pair)

    def __getstate__(self) -> dict[str, str]:
        """What travels to a worker that is not forked (macOS): all that it needs to know."""
        return {"mark": self.mark}

    @property
    def context(self) -> tuple[Any, ...]:
        """What Granian hands to its workers."""
        return (True, self._chain.path, self._key.path, None, self._minimum, None, [], False)

    def renew(self) -> bool:
        """Read the pair anew, if that was not tried before. False: it is the same.

        Raises Misconfigured, once for each pair that can't be used, and Unavailable; the present one stays.
        """
        mark = self._source.look()
        if mark == self._tried:
            return False
        try:
            pair = self._source.read()
            if pair != self._pair:
                self._keep(pair)
        except Unavailable:
            raise
        except PayymoError:
            self._tried = mark
            raise
        self._tried = mark
        was, self._pair, self.mark = self._pair, pair, mark
        return pair != was

    @property
    def expires_soon(self) -> bool:
        """Whether it has to be renewed by now."""
        return self._expires_at - self._clock() < WARN_SECONDS

    def _keep(self, pair: Pair) -> None:
        leaf = check_pair(pair, self._clock())
        self._expires_at = leaf.not_valid_after_utc.timestamp()
        self._chain, self._key = _Copy(pair.chain), _Copy(pair.key)


class _Copy:
    """A file for the processes that this one starts. It is gone with this object, or with the process."""

    def __init__(self, content: bytes) -> None:
        if hasattr(os, "memfd_create"):  # Linux
            self._file = open(os.memfd_create("payymo-tls"), "wb", buffering=0)  # noqa: SIM115, PTH123
            self.path = f"/proc/{os.getpid()}/fd/{self._file.fileno()}"
        else:
            self._file = tempfile.NamedTemporaryFile(prefix="payymo-tls-", buffering=0)  # type: ignore[assignment]  # noqa: SIM115
            self.path = self._file.name
        self._file.write(content)


def check_pair(pair: Pair, now: float) -> x509.Certificate:
    """The server's certificate. `now`: in seconds since 1970.

    Raises Misconfigured: clients would refuse it, or nothing could be signed. Whether they trust who has issued it,
    they know themselves.
    """
    try:
        leaf, *_ = x509.load_pem_x509_certificates(pair.chain)
    except ValueError:
        raise Misconfigured(["PAYYMO_SERVER__TLS_CERTIFICATE: no certificate in PEM"]) from None
    try:
        key: Any = load_pem_private_key(pair.key, password=None)
    except (ValueError, TypeError):
        raise Misconfigured(["PAYYMO_SERVER__TLS_KEY: no private key in PEM, or an encrypted one"]) from None
    if _spki(leaf.public_key()) != _spki(key.public_key()):
        raise Misconfigured(["PAYYMO_SERVER__TLS_KEY: not the key of the first certificate"])
    if leaf.not_valid_after_utc.timestamp() <= now:
        raise Misconfigured([f"PAYYMO_SERVER__TLS_CERTIFICATE: expired at {leaf.not_valid_after_utc.isoformat()}"])
    if leaf.not_valid_before_utc.timestamp() > now:
        raise Misconfigured([f"PAYYMO_SERVER__TLS_CERTIFICATE: valid from {leaf.not_valid_before_utc.isoformat()}"])
    return leaf


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


def _mark(path: Path) -> str:
    try:
        facts = path.stat()
    except OSError as error:
        return str(error.errno)
    return f"{facts.st_ino}.{facts.st_size}.{facts.st_mtime_ns}"


def _spki(key: Any) -> bytes:
    found: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return found
