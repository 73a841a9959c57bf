"""One certificate by itself (RFC 5280): read whole or not at all, its key, times and usage, and why it is refused.

Whose it is and who vouches for it is the business of `payymo_guard.certificates`.
"""

import base64
import hashlib
from datetime import datetime
from typing import Final, Literal, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

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


class CertificateRefused(Exception):
    """The certificate is not accepted. `code` is for programs, `detail` for people, `private` for the log."""

    def __init__(self, code: CertificateCode, private: str = "") -> None:
        self.code: CertificateCode = code
        self.detail = DETAILS[code]
        self.private = private
        super().__init__(code, self.detail)


def require_usable(leaf: x509.Certificate, now: datetime) -> None:
    """What the verifier would refuse, too, but without a name for it."""
    require_time(leaf, now)
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


def require_time(certificate: x509.Certificate, now: datetime) -> None:
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


def alternatives_of(leaf: x509.Certificate) -> x509.SubjectAlternativeName | None:
    """The names that it bears beside its subject (RFC 5280 §4.2.1.6); None: it has no such extension."""
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
