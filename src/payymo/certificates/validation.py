"""Judges a certificate with its chain before it is kept and before it is used, and says what is wrong with it.

The path is checked by `cryptography.x509.verification`, up to the last certificate that was given: which roots the
others trust, only they know. Around it stand reasons in words, which that verifier does not give.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from payymo.certificates.model import Usage, refusal
from payymo.certificates.reading import first_break
from payymo.errors import Misconfigured
from payymo_guard.certificate_reading import CertificateRefused, pin_of, require_strong

MAX_RSA_BITS = 8192
"""Larger ones cost every handshake more than they give; verifiers have limits of their own."""
AUTHORITY_NAME = "Payymo development authority"
"""Who issues for development alone. Whoever else calls itself so is not accepted in production either."""
_USAGES = {
    "server": (ExtendedKeyUsageOID.SERVER_AUTH, "a server (TLS Web Server Authentication)"),
    "client": (ExtendedKeyUsageOID.CLIENT_AUTH, "a client (TLS Web Client Authentication)"),
}
_LACKING = re.compile(r"invalid extension: ([0-9.]+):.*missing required extension")
"""What the verifier says of an extension that has to be there: its number, and not whose it is."""
_ISSUER = ExtensionOID.AUTHORITY_KEY_IDENTIFIER.dotted_string
_EXTENSIONS = {
    _ISSUER: "authorityKeyIdentifier",
    ExtensionOID.KEY_USAGE.dotted_string: "keyUsage",
    ExtensionOID.BASIC_CONSTRAINTS.dotted_string: "basicConstraints",
}
"""What RFC 5280 §4.2.1 asks for, of whoever has an issuer and of issuers. OpenSSL leaves it out unless told not to."""


def validate(chain: Sequence[x509.Certificate], *, pin: str, usage: Usage, now: int) -> None:
    """Raise InvalidInput unless the chain is in order, valid now or later, and for the key with this pin.

    Whether it is valid already is another question: a certificate may be kept before its time.
    """
    leaf = chain[0]
    _require_key(chain, pin)
    for number, found in enumerate(chain, 1):
        _require_strong(found, number)
        if now > last_second(found):
            raise refusal("certificate", f"{_named(found, number)} has expired on {when(last_second(found))}: renew it")
    if usage != "authority":
        _require_usage(leaf, usage)
    _require_order(chain)
    begin, end = validity_of(chain)
    if begin > end:
        raise refusal("certificate", "there is no moment at which all of the chain is valid: ask its issuer")
    if usage != "authority":
        _require_path(chain, usage, max(now, begin))


def validity_of(chain: Sequence[x509.Certificate]) -> tuple[int, int]:
    """First and last second at which all of the chain is valid."""
    return max(int(found.not_valid_before_utc.timestamp()) for found in chain), min(map(last_second, chain))


def last_second(certificate: x509.Certificate) -> int:
    """The last second at which a certificate is valid."""
    return int(certificate.not_valid_after_utc.timestamp())


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Whether its own key vouches for it, and nobody else."""
    try:
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def names_of(found: x509.Certificate | x509.CertificateSigningRequest) -> tuple[str, ...]:
    """What it is made out for: `dns:…`, `ip:…`, `uri:…`, in small letters where case means nothing."""
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return (
        *(f"dns:{name.lower()}" for name in names.get_values_for_type(x509.DNSName)),
        *(f"ip:{name}" for name in names.get_values_for_type(x509.IPAddress)),
        *(f"uri:{name}" for name in names.get_values_for_type(x509.UniformResourceIdentifier)),
    )


def lacking(wanted: Iterable[str], borne: Collection[str]) -> list[str]:
    """The wanted names, as `names_of` writes them, that are neither among the borne ones nor under a wildcard there."""
    return sorted(name for name in wanted if name not in borne and _wildcard_of(name) not in borne)


def _wildcard_of(name: str) -> str | None:
    return f"dns:*.{name.partition('.')[2]}" if name.startswith("dns:") else None


def is_for_development(chain: Sequence[x509.Certificate]) -> bool:
    """Whether a development authority has issued it: this one, or that of another deployment."""
    names = [name for found in chain for name in (found.subject, found.issuer)]
    return any(
        part.value == AUTHORITY_NAME for name in names for part in name.get_attributes_for_oid(NameOID.COMMON_NAME)
    )


def load_chain(pem: str) -> tuple[x509.Certificate, ...]:
    """The certificates that `dump_chain` wrote. Raises Misconfigured: somebody else has written there."""
    try:
        return tuple(x509.load_pem_x509_certificates(pem.encode()))
    except (ValueError, x509.InvalidVersion):
        raise Misconfigured(["a certificate can't be read: it was changed in the database"]) from None


def dump_chain(chain: Sequence[x509.Certificate]) -> str:
    """PEM, in the order of the chain."""
    return "".join(found.public_bytes(Encoding.PEM).decode() for found in chain)


def when(seconds: int) -> str:
    """A moment, as people and programs read it (RFC 3339)."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _named(found: x509.Certificate, number: int) -> str:
    return f"certificate {number} in the file ({found.subject.rfc4514_string() or 'without a subject'})"


def _require_key(chain: Sequence[x509.Certificate], pin: str) -> None:
    pins = [pin_of(found.public_key()) for found in chain]
    if pins[0] == pin:
        return
    if pin in pins:
        where = pins.index(pin) + 1
        raise refusal("certificate", f"certificate {where} in the file is the one of the private key: put it first")
    raise refusal("key", "the private key belongs to another certificate: give the pair that belongs together")


def _require_strong(found: x509.Certificate, number: int) -> None:
    try:
        require_strong(found)
    except CertificateRefused as error:
        remedy = "use RSA with at least 2048 bits, P-256, P-384, P-521 or Ed25519"
        raise refusal(
            "certificate", f"the key of {_named(found, number)} is too weak ({error.private}): {remedy}"
        ) from None
    key = found.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size > MAX_RSA_BITS:
        raise refusal("certificate", f"the key of {_named(found, number)} has more than {MAX_RSA_BITS} bits")


def _require_usage(leaf: x509.Certificate, usage: Usage) -> None:
    wanted, words = _USAGES[usage]
    try:
        if leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            raise refusal("certificate", "it is the certificate of an authority: put the one that it has issued first")
    except x509.ExtensionNotFound:
        pass
    try:
        usages = list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        usages = []
    if wanted not in usages:
        raise refusal("certificate", f"it is not made out for {words}: have one issued that is")
    if not names_of(leaf):
        raise refusal("certificate", "it bears no name (subjectAltName), and nobody looks at the common name any more")


def _require_order(chain: Sequence[x509.Certificate]) -> None:
    for number, found in enumerate(chain, 1):
        if found in chain[: number - 1]:
            raise refusal("certificate", f"{_named(found, number)} is there twice: leave one of the two out")
    broken = first_break(chain)
    if broken is not None:
        wanted = chain[broken].issuer.rfc4514_string()
        problem = f"{_named(chain[broken + 1], broken + 2)} is not the issuer of the one before it, which is {wanted}"
        raise refusal("certificate", f"{problem}: put the certificate first, then each one's issuer")


def _require_path(chain: Sequence[x509.Certificate], usage: Usage, now: int) -> None:
    """The last certificate stands for the root."""
    if len(chain) == 1 and not is_self_signed(chain[0]):
        issuer = chain[0].issuer.rfc4514_string()
        raise refusal("certificate", f"it comes alone: put the certificate of its issuer ({issuer}) behind it")
    builder = PolicyBuilder().store(Store([chain[-1]])).time(datetime.fromtimestamp(now, UTC))
    between = list(chain[1:-1])
    try:
        if usage == "client":
            path = builder.build_client_verifier().verify(chain[0], between).chain
        else:
            path = builder.build_server_verifier(_subject_of(chain[0])).verify(chain[0], between)
    except VerificationError as error:
        reason = str(error).removeprefix("validation failed: ")
        _require_extensions(chain, reason)
        raise refusal("certificate", f"the chain does not hold: {reason}. Ask its issuer for another one") from None
    except ValueError:
        raise refusal("certificate", "the chain can't be read throughout: ask its issuer for another one") from None
    if list(path) != list(chain):
        raise refusal("certificate", "the chain holds certificates that nothing in it needs: leave them out")


def _require_extensions(chain: Sequence[x509.Certificate], reason: str) -> None:
    said = _LACKING.search(reason)
    oid = "" if said is None else said[1]
    for number, found in enumerate(chain, 1):
        is_meant = not is_self_signed(found) if oid == _ISSUER else number > 1
        if oid in _EXTENSIONS and is_meant and all(has.oid.dotted_string != oid for has in found.extensions):
            named = f"{_named(found, number)} lacks {_EXTENSIONS[oid]}"
            raise refusal("certificate", f"{named} (RFC 5280): have it made anew with it")


def _subject_of(leaf: x509.Certificate) -> x509.DNSName | x509.IPAddress:
    """One of its names, to ask the verifier for. Every DNS name has to be one."""
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    subjects: list[x509.DNSName | x509.IPAddress] = []
    for name in names.get_values_for_type(x509.DNSName):
        subject = x509.DNSName(f"any{name[1:]}" if name.startswith("*.") else name)
        try:
            PolicyBuilder().store(Store([leaf])).build_server_verifier(subject)
        except ValueError:
            raise refusal("certificate", f"{name!r} is no DNS name: have one issued without it") from None
        subjects.append(subject)
    subjects += [x509.IPAddress(name) for name in names.get_values_for_type(x509.IPAddress)]
    if not subjects:
        raise refusal("certificate", "it bears neither a DNS name nor an IP address: clients would not accept it")
    return subjects[0]
