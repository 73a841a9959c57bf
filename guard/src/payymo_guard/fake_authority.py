"""A certificate authority for tests: issues whatever it is told to, also what nobody should accept.

For tests and development only: its keys are in memory, and as good as public.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
CLIENT: Final = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER: Final = ExtendedKeyUsageOID.SERVER_AUTH
_SHA256: Final = hashes.SHA256()
_DAY: Final = 86_400


@dataclass(frozen=True, slots=True, repr=False)
class FakeCertificate:
    """A certificate with its key, and the certificates between it and the root."""

    certificate: x509.Certificate
    key: PrivateKey
    intermediates: tuple[x509.Certificate, ...] = ()

    @property
    def der(self) -> bytes:
        """The certificate alone."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def chain(self) -> list[bytes]:
        """The certificates between it and the root (DER)."""
        return [found.public_bytes(serialization.Encoding.DER) for found in self.intermediates]

    @property
    def pem(self) -> bytes:
        """The certificate and those between it and the root, as TLS servers and clients are given them."""
        return b"".join(pem_of(found) for found in (self.certificate, *self.intermediates))

    @property
    def key_pem(self) -> bytes:
        """The private key, unencrypted."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


class FakeAuthority:
    """A root, or with `above` an authority between a root and its clients. Times in seconds since 1970."""

    def __init__(
        self,
        name: str = "Test root",
        *,
        now: float,
        above: "FakeAuthority | None" = None,
        days: int = 3650,
        key: PrivateKey | None = None,
    ) -> None:
        self.now = now
        self._above = above
        self._key = key or ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        builder = _builder(self._name, self._key, now - _DAY, now + days * _DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
        self.certificate = _sign(builder, above or self)

    @property
    def pem(self) -> bytes:
        """Its own certificate."""
        return pem_of(self.certificate)

    def issue(
        self,
        name: str = "client",
        *,
        dns_names: Iterable[str] = ("client.test",),
        uris: Iterable[str] = (),
        usages: Sequence[x509.ObjectIdentifier] = (CLIENT,),
        begins: float | None = None,
        ends: float | None = None,
        key: PrivateKey | None = None,
    ) -> FakeCertificate:
        """A new certificate; with `key` for that one, as when it is renewed."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        begins, ends = self.now - 60 if begins is None else begins, self.now + 30 * _DAY if ends is None else ends
        others = [*map(x509.DNSName, dns_names), *map(x509.UniformResourceIdentifier, uris)]
        builder = _builder(_name(name), key, begins, ends)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
        if others:
            builder = builder.add_extension(x509.SubjectAlternativeName(others), critical=False)
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(list(usages)), critical=False)
        between = (self.certificate,) if self._above else ()
        return FakeCertificate(_sign(builder, self), key, between)

    def revocation_list(
        self, revoked: Iterable[FakeCertificate] = (), *, begins: float | None = None, ends: float | None = None
    ) -> bytes:
        """A list (PEM) of this authority's certificates that are revoked."""
        begins, ends = self.now - 60 if begins is None else begins, self.now + _DAY if ends is None else ends
        builder = x509.CertificateRevocationListBuilder(self._name, _moment(begins), _moment(ends))
        for found in revoked:
            entry = x509.RevokedCertificateBuilder(found.certificate.serial_number, _moment(begins))
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self._key, _SHA256).public_bytes(serialization.Encoding.PEM)


def pem_of(certificate: x509.Certificate) -> bytes:
    """The certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def _builder(name: x509.Name, key: PrivateKey, begins: float, ends: float) -> x509.CertificateBuilder:
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_moment(begins))
        .not_valid_after(_moment(ends))
        .add_extension(identifier, critical=False)
    )


def _sign(builder: x509.CertificateBuilder, issuer: FakeAuthority) -> x509.Certificate:
    key = issuer._key
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    builder = builder.issuer_name(issuer._name).add_extension(identifier, critical=False)
    return builder.sign(key, _SHA256)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _moment(seconds: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(seconds))
