"""Makes private keys, requests (PKCS#10, RFC 2986), and the certificates of the development authority."""

import ipaddress
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Literal
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from payymo.certificates.model import Usage, refusal
from payymo.certificates.reading import PrivateKey, require_kind
from payymo.certificates.validation import AUTHORITY_NAME

Algorithm = Literal["p-256", "p-384", "rsa-3072", "rsa-4096", "ed25519"]
ALGORITHMS: Final[tuple[Algorithm, ...]] = ("p-256", "p-384", "rsa-3072", "rsa-4096", "ed25519")
MAX_NAMES: Final = 100
MAX_URI_LENGTH: Final = 2048
EXPORT_ROUNDS: Final = 600_000
"""PBKDF2 with SHA-256. The integrity check beside it has rounds of its own, which can't be set."""
SKEW_SECONDS: Final = 300
"""How far back a development certificate begins: other machines' clocks differ."""
_SERIAL_BYTES: Final = 16
_LABEL: Final = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
_DNS: Final = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*", re.IGNORECASE)
_SHA256: Final = hashes.SHA256()


def generate(algorithm: Algorithm) -> PrivateKey:
    """A new private key. For RSA this takes longer than a transaction should."""
    match algorithm:
        case "p-256":
            return ec.generate_private_key(ec.SECP256R1())
        case "p-384":
            return ec.generate_private_key(ec.SECP384R1())
        case "rsa-3072" | "rsa-4096":
            return rsa.generate_private_key(public_exponent=65537, key_size=int(algorithm[4:]))
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()


def serialize(key: PrivateKey) -> bytes:
    """PKCS#8 DER, unencrypted: for the sealer alone."""
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def deserialize(data: bytes) -> PrivateKey:
    """The key that `serialize` wrote. Our own seal vouches for it, so RSA's slow self-check is left out."""
    return require_kind(serialization.load_der_private_key(data, password=None, unsafe_skip_rsa_key_validation=True))


def pem_of_key(key: PrivateKey) -> bytes:
    """PKCS#8 PEM, unencrypted: for a listener in this process alone."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def pack(name: str, key: PrivateKey, chain: Sequence[x509.Certificate], password: str) -> bytes:
    """PKCS#12, encrypted with AES-256; what OpenSSL 1.1 and newer read."""
    encryption = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(EXPORT_ROUNDS)
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(_SHA256)
        .build(password.encode())
    )
    return pkcs12.serialize_key_and_certificates(name.encode(), key, chain[0], chain[1:], encryption)


def parse_names(dns: Sequence[str], ips: Sequence[str], uris: Sequence[str]) -> list[x509.GeneralName]:
    """What a certificate is to be made out for. Raises InvalidInput."""
    if not 0 < len(dns) + len(ips) + len(uris) <= MAX_NAMES:
        raise refusal("names", f"give 1 to {MAX_NAMES} names: --dns, --ip, --uri")
    for name in dns:
        if len(name) > 253 or _DNS.fullmatch(name) is None or name.rpartition(".")[2].isdecimal():
            raise refusal("dns", f"{name!r} is no DNS name; write it in ASCII (punycode), an address with --ip")
    for uri in uris:
        if len(uri) > MAX_URI_LENGTH or not _is_uri(uri):
            raise refusal("uri", f"{uri[:80]!r} is no absolute URI in ASCII, such as spiffe://example.com/payymo")
    try:
        addresses = [x509.IPAddress(_address(ip)) for ip in ips]
    except ValueError:
        raise refusal("ip", "write an IPv4 or IPv6 address, such as 127.0.0.1 or ::1") from None
    return [*map(x509.DNSName, map(str.lower, dns)), *addresses, *map(x509.UniformResourceIdentifier, uris)]


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Raises ValueError, also for one with a zone (RFC 4007 §11): that means something on one machine alone."""
    if "%" in text:
        raise ValueError
    return ipaddress.ip_address(text)


def require_reachable(names: Sequence[x509.GeneralName], usage: Usage) -> None:
    """Raise InvalidInput when clients could call a server by none of its names: they know no others."""
    if usage == "server" and not any(isinstance(name, x509.DNSName | x509.IPAddress) for name in names):
        raise refusal("names", "a server needs a DNS name or an address (--dns, --ip): clients look at nothing else")


def _is_uri(text: str) -> bool:
    try:
        return text.isascii() and text.isprintable() and " " not in text and bool(urlsplit(text).scheme)
    except ValueError:
        return False


def request(key: PrivateKey, names: Sequence[x509.GeneralName], usage: Usage) -> str:
    """A certificate signing request, PEM."""
    subject = _subject(names)
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not list(subject))
    builder = builder.add_extension(_purposes(usage), critical=False)
    return builder.sign(key, _hash_for(key)).public_bytes(Encoding.PEM).decode()


def self_certified(key: PrivateKey, *, serial: bytes, begin: int, end: int) -> x509.Certificate:
    """The development authority's own certificate. The number in its name tells authorities apart in trust stores."""
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, AUTHORITY_NAME),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, serial.hex()[:16]),
        ]
    )
    builder = _builder(name, name, key, serial, (begin, end))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(is_authority=True), critical=True)
    return builder.add_extension(_issuer_of(key), critical=False).sign(key, _SHA256)


def certify(
    key: PrivateKey,
    names: Sequence[x509.GeneralName],
    usage: Usage,
    *,
    authority: x509.Certificate,
    authority_key: PrivateKey,
    serial: bytes,
    begin: int,
    end: int,
) -> x509.Certificate:
    """A certificate of the development authority."""
    subject = _subject(names)
    builder = _builder(subject, authority.subject, key, serial, (begin, end))
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(is_authority=False), critical=True)
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not list(subject))
    builder = builder.add_extension(_purposes(usage), critical=False)
    return builder.add_extension(_issuer_of(authority_key), critical=False).sign(
        authority_key, _hash_for(authority_key)
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PrivateKey, serial: bytes, span: tuple[int, int]
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(serial[:_SERIAL_BYTES]) | 1)
        .not_valid_before(datetime.fromtimestamp(span[0], UTC))
        .not_valid_after(datetime.fromtimestamp(span[1], UTC))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _subject(names: Sequence[x509.GeneralName]) -> x509.Name:
    """The first name, where it fits: people look at it, programs don't.

    Where there is none, the alternative names are critical (RFC 5280 §4.2.1.6).
    """
    text = str(names[0].value)
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if len(text) <= 64 else [])


def _purposes(usage: Usage) -> x509.ExtendedKeyUsage:
    return x509.ExtendedKeyUsage(
        [ExtendedKeyUsageOID.CLIENT_AUTH if usage == "client" else ExtendedKeyUsageOID.SERVER_AUTH]
    )


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _issuer_of(key: PrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _hash_for(key: PrivateKey) -> hashes.SHA256 | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else _SHA256
