"""Reads certificates and private keys from PEM (RFC 7468) and PKCS#12 (RFC 7292). Refuses in sentences, never a crash.

What it reads is taken apart and not yet believed: `payymo.certificates.validation` does that.
"""

import base64
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key, pkcs12

from payymo.certificates.model import refusal
from payymo.certificates.rounds import asks_too_much, is_whole
from payymo_guard.certificate_reading import MAX_CERTIFICATE_BYTES, CertificateRefused, parse
from payymo_guard.certificates import MAX_INTERMEDIATES

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
AskPassword = Callable[[], str]
"""Answers the password of what is encrypted; called only when something is."""
MAX_FILE_BYTES: Final = 256 * 1024
MAX_KEY_BYTES: Final = 16 * 1024
MAX_CERTIFICATES: Final = MAX_INTERMEDIATES + 2
"""The certificate itself, and a root that should not be there but often is."""
_BLOCK = re.compile(
    rb"-----BEGIN ([A-Z0-9 ]{1,40})-----\r?\n"
    rb"(?:Proc-Type: 4,ENCRYPTED\r?\nDEK-Info: [A-Z0-9,-]{1,80}\r?\n\r?\n)?"  # OpenSSL's older form of private keys
    rb"((?:[A-Za-z0-9+/=]{1,76}\r?\n){1,5000})-----END \1-----"
)
"""Strict (RFC 7468 §3): what we look at has to be what the library opens."""
_BEGIN = b"-----BEGIN "
_KEYS = (b"PRIVATE KEY", b"RSA PRIVATE KEY", b"EC PRIVATE KEY", b"ENCRYPTED PRIVATE KEY")
_IGNORED = (b"EC PARAMETERS", b"DH PARAMETERS")
TOO_MUCH_WORK: Final = "opening it would take too long: write it again with fewer rounds of key derivation"
NOT_DER: Final = "it is damaged, or not in DER: write it again with openssl pkcs12"
_PKCS7_DATA = bytes.fromhex("2a864886f70d0107")
"""The object identifier that every PKCS#12 file has near its beginning."""


@dataclass(frozen=True, slots=True, repr=False)
class Material:
    """What a file holds: certificates in its order, and the private key if there is one."""

    chain: tuple[x509.Certificate, ...]
    key: PrivateKey | None


def holds_a_key(data: bytes) -> bool:
    """Whether the content of a file is nobody else's to read."""
    return b"PRIVATE KEY-----" in data or _PKCS7_DATA in data[:200]


def read(data: bytes, ask: AskPassword, *, key: bytes | None = None) -> Material:
    """The certificates of a PEM or PKCS#12 file, and its private key, or the one of a PEM file of its own.

    Raises InvalidInput.
    """
    for content in (data, key or b""):
        if len(content) > MAX_FILE_BYTES:
            raise refusal("file", f"more than {MAX_FILE_BYTES} bytes: that is no certificate with its chain")
    found = _read_pem(data, ask) if _BEGIN in data else _read_pkcs12(data, ask)
    if not found.chain:
        raise refusal("file", "there is no certificate in it")
    if len(found.chain) > MAX_CERTIFICATES:
        raise refusal("file", f"{len(found.chain)} certificates: give the certificate and its chain, not a whole store")
    if key is None:
        return found
    if found.key is not None:
        raise refusal("key", "the file holds a private key already: leave --key out")
    alone = _read_pem(key, ask)
    if alone.key is None:
        raise refusal("key", "there is no private key in it")
    return Material(found.chain, alone.key)


def _read_pem(data: bytes, ask: AskPassword) -> Material:
    blocks = [(found[1], found[0], _decoded(found[2])) for found in _BLOCK.finditer(data)]
    if len(blocks) != data.count(_BEGIN) or not blocks:
        raise refusal("file", "no whole PEM file: a part of it is cut off, damaged or of another kind")
    strange = {label.decode() for label, *_ in blocks} - {part.decode() for part in (*_KEYS, *_IGNORED, b"CERTIFICATE")}
    if strange:
        raise refusal("file", f"it holds {', '.join(sorted(strange))}; give certificates and a private key alone")
    keys = [(block, der) for label, block, der in blocks if label in _KEYS]
    if len(keys) > 1:
        raise refusal("key", f"it holds {len(keys)} private keys: leave the one that belongs to the certificate")
    certificates = [der for label, _, der in blocks if label == b"CERTIFICATE"]
    if len(certificates) > MAX_CERTIFICATES:
        raise refusal("file", f"{len(certificates)} certificates: give the certificate and its chain, not a store")
    chain = tuple(_certificate(der, number) for number, der in enumerate(certificates, 1))
    return Material(chain, _private_key(*keys[0], ask) if keys else None)


def _certificate(der: bytes, number: int) -> x509.Certificate:
    try:
        return parse(der)
    except CertificateRefused:
        reason = f"more than {MAX_CERTIFICATE_BYTES} bytes" if len(der) > MAX_CERTIFICATE_BYTES else "damaged"
        raise refusal("file", f"certificate {number} can't be read: it is {reason}") from None


def _private_key(block: bytes, der: bytes, ask: AskPassword) -> PrivateKey:
    if len(block) > MAX_KEY_BYTES:
        raise refusal("key", f"more than {MAX_KEY_BYTES} bytes: no key of a kind that is accepted here")
    is_encrypted = b"ENCRYPTED" in block
    if block.startswith(b"-----BEGIN ENCRYPTED") and asks_too_much(der):  # the older form has one round
        raise refusal("key", TOO_MUCH_WORK)
    password = ask().encode() if is_encrypted else None
    try:
        found = load_pem_private_key(block, password)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        reason = "the password is wrong, or the key is damaged" if is_encrypted else "damaged, or of an unknown kind"
        raise refusal("key", f"it does not open: {reason}") from None
    return require_kind(found)


def _decoded(body: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(body.split()), validate=True)
    except ValueError:
        raise refusal("file", "no whole PEM file: a part of it is cut off or damaged") from None


def require_kind(key: object) -> PrivateKey:
    """The key, if it is of a kind that certificates here may have. Raises InvalidInput."""
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        raise refusal("key", "neither RSA nor an elliptic curve nor Ed25519: make another key")
    return key


def _read_pkcs12(data: bytes, ask: AskPassword) -> Material:
    if _PKCS7_DATA not in data[:200]:
        try:
            parse(data)
        except CertificateRefused:
            raise refusal("file", "neither PEM nor PKCS#12, or damaged at its beginning") from None
        raise refusal("file", "a certificate in DER: turn it into PEM with openssl x509 -inform DER -in FILE")
    if not is_whole(data):
        raise refusal("file", NOT_DER)
    if asks_too_much(data):
        raise refusal("file", TOO_MUCH_WORK)
    try:
        found = _open_pkcs12(data, ask)
        chain = [found.cert, *found.additional_certs] if found.cert else found.additional_certs
        certificates = [parse(part.certificate.public_bytes(Encoding.DER)) for part in chain]
    except (ValueError, TypeError, UnsupportedAlgorithm, CertificateRefused):
        raise refusal("file", "it does not open: the password is wrong, or the file is damaged") from None
    key = None if found.key is None else require_kind(found.key)
    return Material(_as_issued(certificates), key)


def _open_pkcs12(data: bytes, ask: AskPassword) -> pkcs12.PKCS12KeyAndCertificates:
    """Some have no password at all; whether one is needed is only told by trying. BER is read with a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*as BER")
        try:
            try:
                return pkcs12.load_pkcs12(data, None)
            except ValueError:
                return pkcs12.load_pkcs12(data, ask().encode())
        except UserWarning:
            raise refusal("file", NOT_DER) from None


def _as_issued(chain: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """PKCS#12 promises no order; programs write the chain forwards, or backwards. Nothing else is tried."""
    backwards = (*chain[:1], *reversed(chain[1:]))
    return backwards if first_break(chain) is not None and first_break(backwards) is None else tuple(chain)


def first_break(chain: Sequence[x509.Certificate]) -> int | None:
    """The index of the first certificate whose issuer is not the next one's subject; None: in order, by name."""
    return next((i for i in range(len(chain) - 1) if chain[i].issuer != chain[i + 1].subject), None)
