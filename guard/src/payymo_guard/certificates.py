"""Validates client certificates against a named trust set (RFC 5280), and says for what reason one is refused.

The path is built and checked by `cryptography.x509.verification`. Around it: names, pins of public keys, revocation
lists, which that verifier knows nothing of, and a diagnosis, which it puts into free text only.
"""

import base64
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from payymo_guard.certificate_reading import (
    CertificateRefused,
    alternatives_of,
    parse,
    pin_of,
    require_time,
    require_usable,
    thumbprint_of,
)
from payymo_guard.verify import AHEAD_SECONDS

MAX_INTERMEDIATES: Final = 8


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
        require_usable(leaf, now)
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
                    require_time(other, now)
            raise CertificateRefused("certificate_untrusted", str(error)) from None
        except ValueError as error:  # what the verifier can't read at all, such as an extension twice
            raise CertificateRefused("certificate_malformed", str(error)) from None
        if len(path) == 1:
            raise CertificateRefused("certificate_untrusted", "a root is nobody's client, and nobody could revoke it")
        return path

    def _describe(self, leaf: x509.Certificate) -> ClientCertificate:
        alternatives = alternatives_of(leaf)
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


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""
