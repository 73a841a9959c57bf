"""Public keys that verify tokens: from JWK (RFC 7517) to a check of one signature.

A key has one algorithm, its own (RFC 8725 §3.1): nothing that a token says can make it verify by another. Symmetric
keys don't exist here, so no public text can serve as a secret. Where keys come from is not known here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, get_args

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from payymo_guard.errors import Refused
from payymo_guard.wire import decode_base64url, decode_object

Algorithm: TypeAlias = Literal["RS256", "PS256", "ES256", "EdDSA"]
PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
Verify: TypeAlias = Callable[[bytes, bytes], None]

ALGORITHMS: Final[frozenset[str]] = frozenset(get_args(Algorithm))
MAX_KID_CHARS: Final = 128
MAX_DOCUMENT_BYTES: Final = 262_144

_KEY_TYPES: Final[Mapping[str, str]] = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}
_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})
_RSA_BITS: Final = range(2048, 8192 + 1)
"""Below, RFC 7518 §3.3 forbids it; above, one verification costs so much that a key would be a weapon."""
_RSA_EXPONENTS: Final = range(65_537, 2**32, 2)

_SHA256: Final = SHA256()
_PKCS1: Final = padding.PKCS1v15()
_PSS: Final = padding.PSS(padding.MGF1(_SHA256), _SHA256.digest_size)
"""RFC 7518 §3.5: the salt is as long as the digest, and not whatever length the signature claims."""
_ECDSA: Final = ec.ECDSA(_SHA256)
_DIGEST_INFO: Final = bytes.fromhex("3031300d060960864801650304020105000420")
"""What stands before a digest of SHA-256 (RFC 8017 §9.2, note 1)."""


@dataclass(frozen=True, slots=True, eq=False)
class VerificationKey:
    """One public key, its name and its one algorithm. Equal only to itself. Raises ValueError if they don't fit."""

    kid: str
    algorithm: Algorithm
    public_key: PublicKey = field(repr=False)
    verify: Verify = field(init=False, repr=False)
    """`verify(signature, signing_input)` returns if the signature is right, and raises Refused (signature_invalid).

    There is no boolean that a caller could forget to look at.
    """

    def __post_init__(self) -> None:
        if not is_kid(self.kid):
            raise ValueError("a kid is 1 to 128 printable ASCII characters")
        object.__setattr__(self, "verify", _scheme(self.algorithm, self.public_key))

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, object]) -> "VerificationKey":
        """Return the key of a public JWK with `kid` and `alg`. Raises ValueError for anything else."""
        if not _PRIVATE_MEMBERS.isdisjoint(jwk):
            raise ValueError("the JWK holds private members")
        _refuse_other_uses(jwk)
        algorithm = jwk.get("alg")
        match algorithm:
            case "RS256" | "PS256" | "ES256" | "EdDSA":
                if jwk.get("kty") != _KEY_TYPES[algorithm]:
                    raise ValueError("the JWK's kty does not fit its alg")
                return cls(_text(jwk, "kid"), algorithm, _public_key(jwk))
            case _:
                raise ValueError("the JWK has no accepted alg")


@dataclass(frozen=True, slots=True, init=False, eq=False)
class KeySet:
    """Verification keys by `kid`. Never changes: a new document is a new set."""

    _keys: Mapping[str, VerificationKey] = field(repr=False)

    def __init__(self, keys: Iterable[VerificationKey] = ()) -> None:
        by_kid: dict[str, VerificationKey] = {}
        for key in keys:
            if by_kid.setdefault(key.kid, key) is not key:
                raise ValueError("two keys have the same kid")
        object.__setattr__(self, "_keys", MappingProxyType(by_kid))

    @classmethod
    def from_jwks(cls, document: bytes) -> "KeySet":
        """Return the keys of a JWK Set (RFC 7517 §5). Raises ValueError: one bad key or duplicate refuses all of it."""
        if len(document) > MAX_DOCUMENT_BYTES:
            raise ValueError("the JWK Set is too large")
        members = decode_object(document).get("keys")
        if not isinstance(members, list) or not all(isinstance(member, dict) for member in members):
            raise ValueError("a JWK Set has an array of objects, keys")
        return cls(VerificationKey.from_jwk(member) for member in members)

    def find(self, kid: str) -> VerificationKey | None:
        """Return the key named `kid`, or None."""
        return self._keys.get(kid)

    def __iter__(self) -> Iterator[VerificationKey]:
        return iter(self._keys.values())

    def __len__(self) -> int:
        return len(self._keys)


def is_kid(value: object) -> bool:
    """Whether this may name a key. Printable ASCII, since some look keys up in files and databases by it."""
    return isinstance(value, str) and 0 < len(value) <= MAX_KID_CHARS and value.isascii() and value.isprintable()


def _scheme(algorithm: Algorithm, key: PublicKey) -> Verify:
    """What raises unless a signature of this key is right."""
    match algorithm, key:
        case "RS256", rsa.RSAPublicKey():
            _refuse_weak_rsa(key)
            return _pkcs1(key)
        case "PS256", rsa.RSAPublicKey():
            _refuse_weak_rsa(key)
            return _refusing(key.key_size // 8, lambda signature, text: key.verify(signature, text, _PSS, _SHA256))
        case "ES256", ec.EllipticCurvePublicKey(curve=ec.SECP256R1()):
            return _refusing(64, lambda signature, text: key.verify(_der(signature), text, _ECDSA))
        case "EdDSA", ed25519.Ed25519PublicKey():
            return _refusing(64, key.verify)
        case _:
            raise ValueError("the key does not fit its algorithm")


def _pkcs1(key: rsa.RSAPublicKey) -> Verify:
    """RSASSA-PKCS1-v1_5 by comparison (RFC 8017 §8.2.2): what was signed has to be what we would have signed.

    OpenSSL takes off the padding, and refuses any but the one there is: what is left is as long as it should be only if
    the padding is, so that all of the block is compared and nothing in it is parsed. The key's own `verify` comes to
    the same, and takes longer to get ready for it. Not inside `_refusing`: a call more would take back a part of that.
    """
    recover, length = key.recover_data_from_signature, key.key_size // 8

    def verify(signature: bytes, signing_input: bytes) -> None:
        try:
            expected = _DIGEST_INFO + sha256(signing_input).digest()
            if len(signature) != length or recover(signature, _PKCS1, None) != expected:
                raise Refused("signature_invalid")
        except (InvalidSignature, ValueError) as error:
            raise Refused("signature_invalid") from error

    return verify


def _refusing(length: int, check: Verify) -> Verify:
    """The same check, for signatures of so many octets, with the refusal that is ours."""

    def verify(signature: bytes, signing_input: bytes) -> None:
        if len(signature) != length:
            raise Refused("signature_invalid")
        try:
            check(signature, signing_input)
        except (InvalidSignature, ValueError) as error:
            raise Refused("signature_invalid") from error

    return verify


def _refuse_weak_rsa(key: rsa.RSAPublicKey) -> None:
    if key.key_size not in _RSA_BITS or key.key_size % 8:
        raise ValueError("an RSA key has 2048 to 8192 bits, in whole octets")
    if key.public_numbers().e not in _RSA_EXPONENTS:
        raise ValueError("an RSA exponent is odd, at least 65537 and below 2^32")


def _der(signature: bytes) -> bytes:
    """Return the form that the library wants; on the wire it is r and s, 32 octets each (RFC 7518 §3.4)."""
    return encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))


def _refuse_other_uses(jwk: Mapping[str, object]) -> None:
    if jwk.get("use", "sig") != "sig":
        raise ValueError("the JWK is not for signatures")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise ValueError("the JWK is not for verification")


def _public_key(jwk: Mapping[str, object]) -> PublicKey:
    match jwk.get("kty"), jwk.get("crv"):
        case "RSA", None:
            return rsa.RSAPublicNumbers(_natural(jwk, "e"), _natural(jwk, "n")).public_key()
        case "EC", "P-256":
            x, y = (int.from_bytes(_octets(jwk, name, length=32)) for name in ("x", "y"))
            return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        case "OKP", "Ed25519":
            return ed25519.Ed25519PublicKey.from_public_bytes(_octets(jwk, "x", length=32))
        case _:
            raise ValueError("the JWK's kty and crv name no accepted kind of key")


def _text(jwk: Mapping[str, object], name: str) -> str:
    value = jwk.get(name)
    if not isinstance(value, str):
        raise ValueError(f"the JWK has no {name}")  # noqa: TRY004 - whatever is wrong with a JWK is a ValueError
    return value


def _octets(jwk: Mapping[str, object], name: str, *, length: int) -> bytes:
    value = decode_base64url(_text(jwk, name).encode())
    if len(value) != length:
        raise ValueError(f"the JWK's {name} has the wrong length")
    return value


def _natural(jwk: Mapping[str, object], name: str) -> int:
    """Return a Base64urlUInt (RFC 7518 §2): big-endian, in as few octets as it takes."""
    value = decode_base64url(_text(jwk, name).encode())
    if not 0 < len(value) <= _RSA_BITS.stop // 8 or value[0] == 0:
        raise ValueError(f"the JWK's {name} is not a positive number in its shortest form")
    return int.from_bytes(value)
