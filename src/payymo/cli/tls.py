"""The listener's TLS certificate: read, checked, and followed by its successor while the service runs.

Workers read certificate and key from files when they begin. What they read is a copy that was checked before: whatever
is done to the originals meanwhile, a worker that has to be started again still finds a pair that fits. On Linux the
copies are in memory and on no disk; elsewhere, in a folder for their owner alone.
"""

import multiprocessing
import os
import signal
import stat
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import PublicKeyAlgorithmOID

from payymo.certificates.service import Certificates
from payymo.clock import Clock
from payymo.errors import Misconfigured, PayymoError
from payymo.files import require_private
from payymo.logs import Trace

TRACE: Final = Trace(request_id="listener")
LOOK_SECONDS: Final = 1.0
AGAIN_SECONDS: Final = 30.0
WARN_SECONDS: Final = 30 * 86_400
MAX_FILE: Final = 256 * 1024
USABLE_KEYS: Final = "RSA with 2048, 3072 or 4096 bits and the exponent 65537, P-256, P-384 or Ed25519"

PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
_RSA_BITS: Final = {2048, 3072, 4096}  # with any other, or another exponent, the runtime does not start
_RSA_EXPONENT: Final = 65537
_ALGORITHMS: Final = {  # RSA-PSS has one of its own, and many clients don't take it
    PublicKeyAlgorithmOID.RSAES_PKCS1_v1_5,
    PublicKeyAlgorithmOID.EC_PUBLIC_KEY,
    PublicKeyAlgorithmOID.ED25519,
}
_UNREADABLE: Final = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion)


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
        chain = _read("PAYYMO_SERVER__TLS_CERTIFICATE", self.certificate)
        key = _read("PAYYMO_SERVER__TLS_KEY", self.key)
        require_private(self.key, group_may_read=True)
        return Pair(chain, key)


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
        # Written anew: what the runtime reads is what was checked, and not what another parser finds in the file.
        self.chain = _Copy(b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain))
        self.key = _Copy(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


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


def check_pair(pair: Pair, now: float) -> tuple[Sequence[x509.Certificate], PrivateKey]:
    """The certificates, the server's first, and its key. `now`: in seconds since 1970.

    Raises Misconfigured: clients would refuse it, or nothing could be signed. Whether they trust who has issued it,
    they know themselves.
    """
    try:
        chain = x509.load_pem_x509_certificates(pair.chain)
        begins, ends = chain[0].not_valid_before_utc, chain[0].not_valid_after_utc
    except _UNREADABLE:
        raise Misconfigured(["PAYYMO_SERVER__TLS_CERTIFICATE: no certificate in PEM"]) from None
    try:
        key: Any = load_pem_private_key(pair.key, password=None)
    except _UNREADABLE:
        raise Misconfigured(["PAYYMO_SERVER__TLS_KEY: no private key in PEM, or an encrypted one"]) from None
    if not _is_usable(chain[0], key):
        raise Misconfigured([f"PAYYMO_SERVER__TLS_KEY: use {USABLE_KEYS}"])
    if _spki(chain[0].public_key()) != _spki(key.public_key()):
        raise Misconfigured(["PAYYMO_SERVER__TLS_KEY: not the key of the first certificate"])
    if ends.timestamp() <= now:
        raise Misconfigured([f"PAYYMO_SERVER__TLS_CERTIFICATE: expired at {ends.isoformat()}"])
    if begins.timestamp() > now:
        raise Misconfigured([f"PAYYMO_SERVER__TLS_CERTIFICATE: valid from {begins.isoformat()}"])
    return chain, key


def _is_usable(certificate: x509.Certificate, key: Any) -> bool:
    """Whether clients and our runtime take keys like these two."""
    try:
        is_ordinary = certificate.public_key_algorithm_oid in _ALGORITHMS
        return is_ordinary and _is_taken(certificate.public_key()) and _is_taken(key.public_key())
    except _UNREADABLE:
        return False


def _is_taken(key: Any) -> bool:
    match key:
        case rsa.RSAPublicKey():
            return key.key_size in _RSA_BITS and key.public_numbers().e == _RSA_EXPONENT
        case ec.EllipticCurvePublicKey():
            return isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1)
    return isinstance(key, ed25519.Ed25519PublicKey)


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
    # The last one changes with the mode, too: who was told `chmod 600` need not do anything else.
    return f"{facts.st_ino}.{facts.st_size}.{facts.st_mtime_ns}.{facts.st_ctime_ns}"


def _read(setting: str, path: Path) -> bytes:
    """The content of a file. Raises Misconfigured, also for what is none: nobody may ever write into a pipe."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Misconfigured([f"{setting}: {path}: not a file"])
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read(MAX_FILE + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Misconfigured([f"{setting}: {path}: can't be read ({error.strerror})"]) from None
    if len(content) > MAX_FILE:
        raise Misconfigured([f"{setting}: {path}: more than {MAX_FILE} bytes"])
    return content


def _spki(key: Any) -> bytes:
    found: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return found
