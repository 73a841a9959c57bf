"""An issuer for tests: signs with keys in memory, so that a test needs no server and no network.

For tests only. It signs whatever it is told to, which is what makes it useful there.
"""

import itertools
import time
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from payymo_guard.claims import Claims
from payymo_guard.keyset import Algorithm, KeySet, PublicKey, VerificationKey
from payymo_guard.verify import Verifier
from payymo_guard.wire import encode_base64url

PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

_SHA256: Final = SHA256()
_system_clock: Final = time.time  # noqa: TID251 - the default of the one parameter by which time is handed in


class FakeIssuer:
    """Mints access tokens that `verifier()` accepts. Keys are named key-1, key-2 and so on."""

    def __init__(
        self,
        *,
        issuer: str = "https://issuer.test",
        audience: str = "https://api.test",
        algorithm: Algorithm = "ES256",
        clock: Callable[[], float] = _system_clock,
    ) -> None:
        self.issuer = issuer
        self.audience = audience
        self.clock = clock
        self._signers: dict[str, tuple[Algorithm, PrivateKey]] = {}
        self._keys = KeySet()
        self._numbers = itertools.count(1)
        self._key_numbers = itertools.count(1)
        self.active_kid = self.rotate(algorithm)

    def find(self, kid: str) -> VerificationKey | None:
        """Return the published key named `kid`, or None: what a Verifier takes as `keys`."""
        return self._keys.find(kid)

    def verifier(self, *, leeway_seconds: int = 0, cache_size: int = 0) -> Verifier[Claims]:
        """Return a verifier that trusts this issuer, with its clock."""
        return Verifier(
            issuer=self.issuer,
            audience=self.audience,
            keys=self.find,
            leeway_seconds=leeway_seconds,
            clock=self.clock,
            cache_size=cache_size,
        )

    def jwks(self) -> bytes:
        """Return the public JWK Set, as `/.well-known/jwks.json` would answer."""
        return msgspec.json.encode({"keys": [public_jwk(key) for key in self._keys]})

    def rotate(self, algorithm: Algorithm, private_key: PrivateKey | None = None) -> str:
        """Return the kid of a new key that signs from now on. Earlier keys stay published until `retire`."""
        kid = f"key-{next(self._key_numbers)}"
        private_key = private_key or generate_key(algorithm)
        self._signers[kid] = (algorithm, private_key)
        self._keys = KeySet([*self._keys, VerificationKey(kid, algorithm, private_key.public_key())])
        self.active_kid = kid
        return kid

    def retire(self, kid: str) -> None:
        """Stop publishing a key: its tokens are to be refused from now on."""
        self._keys = KeySet(key for key in self._keys if key.kid != kid)

    def claims(
        self,
        *,
        subject: str = "user-1",
        tenant_id: str = "tenant-1",
        permissions: tuple[str, ...] = (),
        roles: tuple[str, ...] = (),
        ttl_seconds: int = 900,
    ) -> dict[str, object]:
        """Return a complete payload, to be changed before `sign`."""
        now = int(self.clock())
        return {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": subject,
            "exp": now + ttl_seconds,
            "nbf": now,
            "iat": now,
            "jti": f"jti-{next(self._numbers)}",
            "client_id": "client-1",
            "sid": "session-1",
            "tenant_id": tenant_id,
            "permissions": permissions,
            "roles": roles,
        }

    def mint(
        self,
        *,
        subject: str = "user-1",
        tenant_id: str = "tenant-1",
        permissions: tuple[str, ...] = (),
        roles: tuple[str, ...] = (),
        ttl_seconds: int = 900,
    ) -> str:
        """Return a valid access token. A `ttl_seconds` of zero or less makes one that is refused."""
        return self.sign(
            self.claims(
                subject=subject, tenant_id=tenant_id, permissions=permissions, roles=roles, ttl_seconds=ttl_seconds
            )
        )

    def sign(
        self,
        payload: Mapping[str, object] | bytes,
        *,
        kid: str | None = None,
        header: Mapping[str, object] | bytes | None = None,
    ) -> str:
        """Return a token of exactly this payload (and header), rightly signed by `kid`, however wrong they are."""
        kid = kid or self.active_kid
        algorithm, private_key = self._signers[kid]
        header = {"alg": algorithm, "typ": "at+jwt", "kid": kid} if header is None else header
        signing_input = encode_base64url(_json(header)) + b"." + encode_base64url(_json(payload))
        signature = sign(algorithm, private_key, signing_input)
        return (signing_input + b"." + encode_base64url(signature)).decode()


def generate_key(algorithm: Algorithm) -> PrivateKey:
    """Return a new private key for `algorithm`. RSA takes a good part of a second."""
    match algorithm:
        case "RS256" | "PS256":
            return rsa.generate_private_key(65_537, 2048)
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()


def sign(algorithm: Algorithm, private_key: PrivateKey, text: bytes) -> bytes:
    """Return a signature as it stands in a token (RFC 7518 §3). Raises ValueError if the key doesn't fit."""
    match algorithm, private_key:
        case "RS256", rsa.RSAPrivateKey():
            return private_key.sign(text, padding.PKCS1v15(), _SHA256)
        case "PS256", rsa.RSAPrivateKey():
            return private_key.sign(text, padding.PSS(padding.MGF1(_SHA256), _SHA256.digest_size), _SHA256)
        case "ES256", ec.EllipticCurvePrivateKey():
            r, s = decode_dss_signature(private_key.sign(text, ec.ECDSA(_SHA256)))
            return r.to_bytes(32) + s.to_bytes(32)
        case "EdDSA", ed25519.Ed25519PrivateKey():
            return private_key.sign(text)
        case _:
            raise ValueError("the key does not fit its algorithm")


def public_jwk(key: VerificationKey) -> dict[str, str]:
    """Return the JWK (RFC 7517) of a verification key."""
    return {"kid": key.kid, "alg": key.algorithm, "use": "sig", **_key_members(key.public_key)}


def _key_members(key: PublicKey) -> dict[str, str]:
    match key:
        case rsa.RSAPublicKey():
            numbers = key.public_numbers()
            return {"kty": "RSA", "n": _number(numbers.n, (key.key_size + 7) // 8), "e": _number(numbers.e, 3)}
        case ec.EllipticCurvePublicKey():
            point = key.public_numbers()
            return {"kty": "EC", "crv": "P-256", "x": _number(point.x, 32), "y": _number(point.y, 32)}
        case ed25519.Ed25519PublicKey():
            return {"kty": "OKP", "crv": "Ed25519", "x": encode_base64url(key.public_bytes_raw()).decode()}


def _number(value: int, length: int) -> str:
    return encode_base64url(value.to_bytes(length)).decode()


def _json(value: Mapping[str, object] | bytes) -> bytes:
    return value if isinstance(value, bytes) else msgspec.json.encode(value)
