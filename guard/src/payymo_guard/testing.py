"""An issuer for tests: signs with keys in memory and revokes at once, so that a test needs no server and no network.

For tests only. It signs whatever it is told to, which is what makes it useful there.
"""

import itertools
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from payymo_guard.claims import Claims
from payymo_guard.elapsed import system_elapsed
from payymo_guard.fake_feed import FakeFeed, FakeSource, clock_of_test
from payymo_guard.guard import Guard
from payymo_guard.keyset import Algorithm, KeySet, PublicKey, VerificationKey
from payymo_guard.staleness import WhenStale
from payymo_guard.verify import Verifier, inspect
from payymo_guard.wire import encode_base64url

PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

_SHA256: Final = SHA256()


class FakeIssuer:
    """Mints access tokens that `guard()` and `verifier()` accept. Keys are named key-1, key-2 and so on.

    What it revokes, its guards refuse with the next call; a verifier knows nothing of revocations.
    """

    def __init__(
        self,
        *,
        issuer: str = "https://issuer.test",
        audience: str = "https://api.test",
        algorithm: Algorithm = "ES256",
        clock: Callable[[], float] = clock_of_test,
        elapsed: Callable[[], float] = system_elapsed,
    ) -> None:
        self.issuer = issuer
        self.audience = audience
        self.clock = clock
        self._signers: dict[str, tuple[Algorithm, PrivateKey]] = {}
        self._keys = KeySet()
        self._elapsed = elapsed
        self._feed = FakeFeed(clock, elapsed)
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

    def guard(
        self,
        *,
        tenant_id: str | None = None,
        leeway_seconds: int = 0,
        cache_size: int = 10_000,
        max_stale_seconds: float = 10,
        when_stale: WhenStale = "refuse",
        accept_stale_seconds: float | None = None,
    ) -> Guard:
        """Return a guard that trusts this issuer and hears at once of what it revokes."""
        return Guard(
            issuer=self.issuer,
            audience=self.audience,
            tenant_id=tenant_id,
            leeway_seconds=leeway_seconds,
            cache_size=cache_size,
            max_stale_seconds=max_stale_seconds,
            when_stale=when_stale,
            accept_stale_seconds=accept_stale_seconds,
            clock=self.clock,
            elapsed=self._elapsed,
            source=lambda revocations: FakeSource(self._feed, self.find, revocations),
        )

    def revoke_token(self, token: str) -> None:
        """Revoke this token alone."""
        self._feed.add("token", str(inspect(token).untrusted_claims["jti"]))

    def revoke_session(self, session_id: str = "session-1") -> None:
        """Revoke every token of a session."""
        self._feed.add("session", session_id)

    def revoke_user(self, subject: str = "user-1") -> None:
        """Revoke every token that was minted for a user until now."""
        self._feed.add("user", subject)

    def revoke_tenant(self, tenant_id: str = "tenant-1") -> None:
        """Revoke every token that was minted for a tenant until now."""
        self._feed.add("tenant", tenant_id, tenant_id)

    def change_permissions(self, subject: str = "user-1") -> None:
        """Let the tokens of a user, or of a tenant, be refused until they are refreshed, as when a role was changed."""
        self._feed.add("permissions", subject)

    def revoke_key(self, kid: str | None = None) -> str:
        """Refuse everything that a key has signed (the active one, if none is named). Return the kid that signs now."""
        kid = kid or self.active_kid
        self.retire(kid)
        self._feed.add("key", kid)
        return self.rotate(self._signers[kid][0]) if kid == self.active_kid else self.active_kid

    def go_stale(self, seconds: float, *, can_be_asked: bool = True) -> None:
        """Let no guard hear anything from now on, as if the last news came `seconds` ago.

        `can_be_asked`: whether the issuer still answers questions about single tokens.
        """
        self._feed.stale_since = self._elapsed() - seconds
        self._feed.can_be_asked = can_be_asked
        self._feed.tell()

    def recover(self) -> None:
        """Let the guards hear again, also of what was revoked meanwhile."""
        self._feed.stale_since = None
        self._feed.can_be_asked = True
        self._feed.tell()

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
        session_id: str = "session-1",
        rev: int | None = None,
        actor: str | None = None,
    ) -> dict[str, object]:
        """Return a complete payload, to be changed before `sign`.

        `rev`: the last revocation that the token knows of; the last one that there is, if it is not given. `actor`: the
        administrator who acts as the subject. Raises msgspec.ValidationError for what can't be a claim.
        """
        now = int(self.clock())
        payload: dict[str, object] = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": subject,
            "exp": now + ttl_seconds,
            "nbf": now,
            "iat": now,
            "jti": f"jti-{next(self._numbers)}",
            "client_id": "client-1",
            "sid": session_id,
            "tenant_id": tenant_id,
            "permissions": permissions,
            "roles": roles,
            "rev": self._feed.rev if rev is None else rev,
            **({} if actor is None else {"act": {"sub": actor}}),
        }
        msgspec.json.decode(_json(payload), type=Claims)  # says now what a guard would not say later
        return payload

    def mint(
        self,
        *,
        subject: str = "user-1",
        tenant_id: str = "tenant-1",
        permissions: tuple[str, ...] = (),
        roles: tuple[str, ...] = (),
        ttl_seconds: int = 900,
        session_id: str = "session-1",
        rev: int | None = None,
        actor: str | None = None,
    ) -> str:
        """Return a valid access token. A `ttl_seconds` of zero or less makes one that is refused."""
        return self.sign(
            self.claims(
                subject=subject,
                tenant_id=tenant_id,
                permissions=permissions,
                roles=roles,
                ttl_seconds=ttl_seconds,
                session_id=session_id,
                rev=rev,
                actor=actor,
            )
        )

    def mint_service(
        self,
        key_id: str = "service-1",
        *,
        tenant_id: str = "tenant-1",
        permissions: tuple[str, ...] = (),
        ttl_seconds: int = 900,
    ) -> str:
        """Return a valid access token as an API key gets one: `revoke_session(key_id)` revokes it with the key."""
        claims = self.claims(
            subject=key_id,
            tenant_id=tenant_id,
            permissions=permissions,
            ttl_seconds=ttl_seconds,
            session_id=key_id,
        )
        return self.sign(claims | {"client_id": key_id})

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
