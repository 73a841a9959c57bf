"""Certificate and private key of the listener: where they come from, and whether clients would take them."""

import os
import stat
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, PublicKeyAlgorithmOID

from payymo.certificates.service import Certificates
from payymo.certificates.validation import names_of
from payymo.errors import Misconfigured, PayymoError
from payymo.files import require_private
from payymo.logs import Trace

TRACE: Final = Trace(request_id="listener")
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
_SERVING: Final = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
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
    if not _is_for_servers(chain[0]):
        purpose = "TLS Web Server Authentication"
        raise Misconfigured([f"PAYYMO_SERVER__TLS_CERTIFICATE: not made out for a server ({purpose})"])
    if ends.timestamp() <= now:
        raise Misconfigured([f"PAYYMO_SERVER__TLS_CERTIFICATE: expired at {ends.isoformat()}"])
    if begins.timestamp() > now:
        raise Misconfigured([f"PAYYMO_SERVER__TLS_CERTIFICATE: valid from {begins.isoformat()}"])
    return chain, key


def _is_for_servers(certificate: x509.Certificate) -> bool:
    """Whether clients take it from a server (RFC 5280 §4.2.1.3, §4.2.1.12), as far as it says what it is for."""
    try:
        for extension in certificate.extensions:
            match extension.value:
                case x509.ExtendedKeyUsage() as purposes if not _SERVING & set(purposes):
                    return False
                case x509.KeyUsage(digital_signature=False, key_encipherment=False):
                    return False
        names_of(certificate)
    except (*_UNREADABLE, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return False
    return True


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
