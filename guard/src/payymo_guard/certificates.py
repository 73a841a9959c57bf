"""Validates client certificates against a named trust set (RFC 5280), and says for what reason one is refused.

The path is built and checked by `cryptography.x509.verification`. Around it: names, pins of public keys, revocation
lists, which that verifier knows nothing of, and a diagnosis, which it puts into free text only.
"""

import base64
import hashlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from payymo_guard.verify import AHEAD_SECONDS

CertificateCode: TypeAlias = Literal[
    "certificate_missing",
    "certificate_malformed",
    "certificate_expired",
    "certificate_not_yet_valid",
    "certificate_key_weak",
    "certificate_usage_wrong",
    "certificate_untrusted",
    "certificate_name_wrong",
    "certificate_pin_wrong",
    "certificate_revoked",
    "revocation_unknown",
]

DETAILS: Final[dict[CertificateCode, str]] = {
    "certificate_missing": "Show a client certificate.",
    "certificate_malformed": "This is not a well-formed certificate.",
    "certificate_expired": "The certificate, or one that it depends on, has expired.",
    "certificate_not_yet_valid": "The certificate, or one that it depends on, is not valid yet.",
    "certificate_key_weak": "The certificate's key is too weak.",
    "certificate_usage_wrong": "The certificate is not for client authentication.",
    "certificate_untrusted": "The certificate does not come from an authority that is trusted here.",
    "certificate_name_wrong": "The certificate is somebody else's.",
    "certificate_pin_wrong": "The certificate has another key than the ones that are expected.",
    "certificate_revoked": "The certificate, or one that it depends on, is revoked.",
    "revocation_unknown": "Whether the certificate is revoked can't be told right now.",
}
MIN_RSA_BITS: Final = 2048
CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
MAX_CERTIFICATE_BYTES: Final = 16 * 1024
MAX_INTERMEDIATES: Final = 8


class CertificateRefused(Exception):
    """The certificate is not accepted. `code` is for programs, `detail` for people, `private` for the log."""

    def __init__(self, code: CertificateCode, private: str = "") -> None:
        self.code: CertificateCode = code
        self.detail = DETAILS[code]
        self.private = private
        super().__init__(code, self.detail)


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """Who has proven to hold the key of an accepted certificate."""

    trust: str
    """The name of the trust set that accepted it."""
    subject: str
    """RFC 4514."""
    dns_names: tuple[str, ...]
    uris: tuple[str, ...]
    serial_number: int
    thumbprint: str
    """SHA-256 of the certificate in base64url: `x5t#S256` (RFC 8705 §3.1). Another one for each certificate."""
    pin: str
    """SHA-256 of its public key in base64 (RFC 7469 §2.4): stays when the certificate is renewed with the same key."""
    not_after: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustSet:
    """Whom one kind of sender may be: which authorities, names and keys, and how revocation is told.

    `names`: DNS names, or URIs (with a colon), one of which the certificate has to bear (subjectAltName); None: any.
    `pins`: if there are any, the key has to be one of them; two of them let a sender change keys without a pause.
    `revocation_lists`: if there are any, or with `revocation_required`, every certificate below the root has to be told
    unrevoked by a list of its issuer that is complete and valid now; none, or one that is out of date, refuses.
    """

    name: str
    roots: Sequence[x509.Certificate]
    intermediates: Sequence[x509.Certificate] = ()
    names: frozenset[str] | None = None
    pins: frozenset[str] = frozenset()
    revocation_lists: Sequence[x509.CertificateRevocationList] = ()
    revocation_required: bool = False
    _store: Store = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Raise ValueError when nobody could be trusted, or a pin could not be one."""
        if not self.roots:
            raise ValueError(f"trust set {self.name!r}: no root certificates")
        if self.names is not None and not self.names:
            raise ValueError(f"trust set {self.name!r}: no names; leave them out to accept any")
        for found in self.revocation_lists:
            _ = found.extensions  # raises ValueError now, instead of at every request
        for pin in self.pins:
            if len(_decoded(pin)) != 32:
                raise ValueError(f"trust set {self.name!r}: a pin is the SHA-256 of a public key in base64")
        object.__setattr__(self, "_store", Store(list(self.roots)))

    @classmethod
    def from_pem(
        cls,
        name: str,
        roots: bytes,
        *,
        intermediates: bytes = b"",
        revocation_lists: Iterable[bytes] = (),
        names: Iterable[str] | None = None,
        pins: Iterable[str] = (),
        revocation_required: bool = False,
    ) -> "TrustSet":
        """A trust set from PEM files: of several certificates each, and of one revocation list each (RFC 7468).

        Raises ValueError.
        """
        return cls(
            name=name,
            roots=x509.load_pem_x509_certificates(roots),
            intermediates=x509.load_pem_x509_certificates(intermediates) if intermediates else (),
            names=None if names is None else frozenset([names] if isinstance(names, str) else names),
            pins=frozenset(pins),
            revocation_lists=tuple(x509.load_pem_x509_crl(data) for data in revocation_lists),
            revocation_required=revocation_required,
        )

    def verify(self, certificate: bytes, chain: Sequence[bytes] = (), *, at: float) -> ClientCertificate:
        """Who shows this certificate (DER), with these others for the way to a root. Raises CertificateRefused.

        `at`: the present time, in seconds since 1970.
        """
        now = datetime.fromtimestamp(int(at), UTC)
        leaf = parse(certificate)
        others = [parse(der) for der in chain[:MAX_INTERMEDIATES]]
        _require_usable(leaf, now)
        path = self._path(leaf, [*others, *self.intermediates], now)
        found = self._describe(leaf)
        if self.names is not None and not self._is_named(found):
            raise CertificateRefused("certificate_name_wrong", f"{found.subject}: {found.dns_names + found.uris}")
        if self.pins and found.pin not in self.pins:
            raise CertificateRefused("certificate_pin_wrong", f"{found.subject}: {found.pin}")
        if self.revocation_lists or self.revocation_required:
            for child, issuer in itertools.pairwise(path):
                self._require_unrevoked(child, issuer, now)
        return found

    def _is_named(self, found: ClientCertificate) -> bool:
        """Whether a name is expected, as one of its kind: an authority may be bound to names of one kind alone.

        Of DNS names, capitals are as good as small letters (RFC 5280 §7.2).
        """
        names = self.names or frozenset()
        uris = {name for name in names if ":" in name}
        hosts = {name.lower() for name in names - uris}
        return not (uris.isdisjoint(found.uris) and hosts.isdisjoint(map(str.lower, found.dns_names)))

    def _path(
        self, leaf: x509.Certificate, others: list[x509.Certificate], now: datetime
    ) -> Sequence[x509.Certificate]:
        """From the certificate to a root."""
        verifier = PolicyBuilder().store(self._store).time(now).build_client_verifier()
        try:
            path = verifier.verify(leaf, others).chain
        except VerificationError as error:
            for other in [*others, *self.roots]:
                if other.subject == leaf.issuer:
                    _require_time(other, now)
            raise CertificateRefused("certificate_untrusted", str(error)) from None
        except ValueError as error:  # what the verifier can't read at all, such as an extension twice
            raise CertificateRefused("certificate_malformed", str(error)) from None
        if len(path) == 1:
            raise CertificateRefused("certificate_untrusted", "a root is nobody's client, and nobody could revoke it")
        return path

    def _describe(self, leaf: x509.Certificate) -> ClientCertificate:
        alternatives = _alternatives(leaf)
        return ClientCertificate(
            trust=self.name,
            subject=leaf.subject.rfc4514_string(),
            dns_names=tuple(alternatives.get_values_for_type(x509.DNSName)) if alternatives else (),
            uris=tuple(alternatives.get_values_for_type(x509.UniformResourceIdentifier)) if alternatives else (),
            serial_number=leaf.serial_number,
            thumbprint=thumbprint_of(leaf),
            pin=pin_of(leaf.public_key()),
            not_after=leaf.not_valid_after_utc,
        )

    def _require_unrevoked(self, child: x509.Certificate, issuer: x509.Certificate, now: datetime) -> None:
        """RFC 5280 §6.3, for complete lists of the issuer itself. Lists of another kind count as none."""
        valid = [found for found in self.revocation_lists if _tells_of(found, issuer, now)]
        if any(found.get_revoked_certificate_by_serial_number(child.serial_number) for found in valid):
            raise CertificateRefused("certificate_revoked", f"serial number {child.serial_number:x}")
        if not valid:
            raise CertificateRefused("revocation_unknown", f"no valid list of {issuer.subject.rfc4514_string()}")


def _tells_of(found: x509.CertificateRevocationList, issuer: x509.Certificate, now: datetime) -> bool:
    """Whether a list is the issuer's own, complete, and valid now."""
    partial = (x509.IssuingDistributionPoint, x509.DeltaCRLIndicator)
    if any(extension.critical or isinstance(extension.value, partial) for extension in found.extensions):
        return False  # a list of some of the certificates, or of some of the changes
    if found.issuer != issuer.subject:
        return False
    latest = now + timedelta(seconds=AHEAD_SECONDS)  # its issuer has made it just now, by a clock of their own
    if found.next_update_utc is None or not (found.last_update_utc <= latest and now < found.next_update_utc):
        return False
    try:
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return False
    key = issuer.public_key()
    signs = isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
    return usage.crl_sign and signs and found.is_signature_valid(key)  # type: ignore[arg-type]


def _require_usable(leaf: x509.Certificate, now: datetime) -> None:
    """What the verifier would refuse, too, but without a name for it."""
    _require_time(leaf, now)
    require_strong(leaf)
    try:
        usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        raise CertificateRefused("certificate_usage_wrong", "no extended key usage") from None
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usages:
        raise CertificateRefused("certificate_usage_wrong", ", ".join(usage.dotted_string for usage in usages))


def require_strong(certificate: x509.Certificate) -> None:
    """Raise CertificateRefused for a weak key.

    The verifier looks at signatures and at the authorities' keys; a client may come to it with any key.
    """
    match certificate.public_key():
        case rsa.RSAPublicKey(key_size=bits) if bits >= MIN_RSA_BITS:
            pass
        case ec.EllipticCurvePublicKey(curve=curve) if isinstance(curve, CURVES):
            pass
        case ed25519.Ed25519PublicKey():
            pass
        case key:
            raise CertificateRefused(
                "certificate_key_weak", f"{type(key).__name__}: {getattr(key, 'key_size', '?')} bits"
            )


def _require_time(certificate: x509.Certificate, now: datetime) -> None:
    """RFC 5280 §4.1.2.5: both ends belong to the validity, to the second."""
    if now < certificate.not_valid_before_utc:
        raise CertificateRefused("certificate_not_yet_valid", certificate.not_valid_before_utc.isoformat())
    if now > certificate.not_valid_after_utc:
        raise CertificateRefused("certificate_expired", certificate.not_valid_after_utc.isoformat())


def parse(der: bytes) -> x509.Certificate:
    """A certificate (DER) whose every part that is looked at can be read: some are read late.

    Raises CertificateRefused.
    """
    if len(der) > MAX_CERTIFICATE_BYTES:
        raise CertificateRefused("certificate_malformed", f"{len(der)} bytes")
    try:
        found = x509.load_der_x509_certificate(der)
        _ = found.extensions, found.subject, found.issuer, found.public_key()
        _ = found.not_valid_before_utc, found.not_valid_after_utc
    except Exception as error:  # noqa: BLE001 - any surprise on the way is a refusal
        raise CertificateRefused("certificate_malformed", type(error).__name__) from None
    return found


def _alternatives(leaf: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def thumbprint_of(certificate: x509.Certificate) -> str:
    """SHA-256 of the certificate in base64url (RFC 8705 §3.1)."""
    return (
        base64.urlsafe_b64encode(hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()).decode().rstrip("=")
    )


def pin_of(key: CertificatePublicKeyTypes) -> str:
    """SHA-256 of a public key in base64 (RFC 7469 §2.4)."""
    return base64.b64encode(
        hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    ).decode()


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""
