"""Makes private keys and signs with them. Key objects are held: loading an RSA key from its bytes takes 37 ms."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from joserfc.jwk import ECKey, OKPKey, RSAKey

from payymo.keys.model import KeyPolicy, Purpose, SigningKey, State

RSA_BITS = 3072
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
Sign = Callable[[bytes], bytes]

_JWK: dict[str, Callable[[bytes], RSAKey | ECKey | OKPKey]] = {
    "RS256": RSAKey.import_key,
    "PS256": RSAKey.import_key,
    "ES256": ECKey.import_key,
    "EdDSA": OKPKey.import_key,
}
_SHA256 = hashes.SHA256()
_PKCS1 = padding.PKCS1v15()
_PSS = padding.PSS(mgf=padding.MGF1(_SHA256), salt_length=padding.PSS.DIGEST_LENGTH)
_ECDSA = ec.ECDSA(_SHA256, deterministic_signing=True)
"""RFC 6979: the same claims give the same token, so a retry within the grace window gets the same successor, and a weak
random generator can't give the private key away."""


@dataclass(frozen=True, slots=True, repr=False)
class NewKey:
    """A signing key that is not in the database yet, and its private half. No `repr`: it would show it."""

    key: SigningKey
    private: bytes | None
    """None where it is not for the database."""


def describe_key(public: PublicKey, purpose: Purpose, state: State, policy: KeyPolicy, now: int) -> SigningKey:
    """What the database is told of a new key."""
    algorithm = policy.algorithm_of(purpose)
    jwk = public_jwk(public, algorithm)
    return SigningKey(
        kid=jwk["kid"],
        purpose=purpose,
        algorithm=algorithm,
        state=state,
        public_jwk=jwk,
        sealed=None,
        location=None,
        token_ttl_seconds=policy.token_ttl_of(purpose),
        created_at=now,
        activated_at=now if state == "active" else None,
    )


def generate(algorithm: str) -> PrivateKey:
    """A new private key for a JWS algorithm (RFC 7518 §3.1, RFC 8037)."""
    match algorithm:
        case "RS256" | "PS256":
            return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()
        case _:
            raise ValueError(f"no signing key for {algorithm}")


def serialize(key: PrivateKey) -> bytes:
    """PKCS#8 DER, unencrypted: for the sealer alone."""
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def deserialize(data: bytes) -> PrivateKey:
    """The key that `serialize` wrote. Our own seal vouches for it, so RSA's slow self-check is left out."""
    return require_private_key(
        serialization.load_der_private_key(data, password=None, unsafe_skip_rsa_key_validation=True)
    )


def require_private_key(key: object) -> PrivateKey:
    """The key, if it is of a kind that signs here. Raises TypeError."""
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        raise TypeError("not a kind of key that signs here")
    return key


def public_jwk(key: PublicKey, algorithm: str) -> dict[str, Any]:
    """A public key as a JWK whose kid is its RFC 7638 thumbprint."""
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    jwk = _JWK[algorithm](pem)
    return {**jwk.as_dict(private=False), "use": "sig", "alg": algorithm, "kid": jwk.thumbprint()}


def signer(key: PrivateKey, algorithm: str) -> Sign:
    """A function from the signing input to the JWS signature."""
    match key, algorithm:
        case rsa.RSAPrivateKey(), "RS256":
            return lambda message: key.sign(message, _PKCS1, _SHA256)
        case rsa.RSAPrivateKey(), "PS256":
            return lambda message: key.sign(message, _PSS, _SHA256)
        case ec.EllipticCurvePrivateKey(), "ES256":
            return lambda message: _raw(key.sign(message, _ECDSA))
        case ed25519.Ed25519PrivateKey(), "EdDSA":
            return key.sign
        case _:
            raise ValueError(f"this key does not sign {algorithm}")


def _raw(signature: bytes) -> bytes:
    """An ECDSA signature as r || s (RFC 7518 §3.4)."""
    r, s = decode_dss_signature(signature)
    return r.to_bytes(32) + s.to_bytes(32)
