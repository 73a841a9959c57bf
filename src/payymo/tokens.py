"""Mints JWTs: access tokens (RFC 9068) and refresh tokens with a type, an audience and a key of their own."""

import uuid
from dataclasses import dataclass
from typing import Any

import msgspec
import pybase64

from payymo.clock import Clock
from payymo.entropy import Entropy
from payymo.keys.keeper import KeyGone
from payymo.keys.model import Purpose, SigningPlan
from payymo.keys.service import KeyRing
from payymo_guard import Claims, RefreshClaims, Verifier

ACCESS_TYPE = "at+jwt"
REFRESH_TYPE = "rt+jwt"
EVENT_TYPE = "secevent+jwt"
CLIENT_ID = "first-party"
"""RFC 9068 §2.2 asks for a client: this is Payymo's own login. The others are API keys."""


@dataclass(frozen=True, slots=True)
class TokenPolicy:
    """What every token of this deployment says about itself."""

    issuer: str
    audience: str
    refresh_audience: str
    access_ttl_seconds: int


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a token is about."""

    tenant_id: uuid.UUID
    user_id: uuid.UUID
    session_id: uuid.UUID
    roles: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()
    position: int = 0
    """The number in the revocation feed up to which roles and permissions know of every change."""
    actor_id: uuid.UUID | None = None
    """Who acts as them."""
    client_id: str = CLIENT_ID
    """Who asked for the token. Of an API key's the subject itself (RFC 9068 §2.2): nobody stands behind it."""


class TokenMinter:
    """Mints and signs tokens."""

    def __init__(self, ring: KeyRing, entropy: Entropy, policy: TokenPolicy) -> None:
        self._ring = ring
        self._entropy = entropy
        self.policy = policy
        self._headers: dict[tuple[str, str], bytes] = {}

    def mint_access(self, subject: Subject, *, kid: str, issued_at: int, expires_at: int) -> str:
        """A new access token in compact form (RFC 7515 §3.1), signed by the key that was planned.

        A key that is revoked while it was about to sign is followed by the next one. Raises KeyGone after that.
        """
        claims: dict[str, Any] = {
            "iss": self.policy.issuer,
            "aud": self.policy.audience,
            "sub": str(subject.user_id),
            "exp": expires_at,
            "nbf": issued_at,
            "iat": issued_at,
            "jti": str(self._entropy.uuid()),
            "client_id": subject.client_id,
            "sid": str(subject.session_id),
            "tenant_id": str(subject.tenant_id),
            "permissions": subject.permissions,
            "roles": subject.roles,
            "rev": subject.position,
        }
        if subject.actor_id is not None:
            claims["act"] = {"sub": str(subject.actor_id)}  # RFC 8693 §4.1
        try:
            return self._mint(ACCESS_TYPE, "access", kid, claims)
        except KeyGone:
            return self._mint(ACCESS_TYPE, "access", self._ring.active_kid("access"), claims)

    def mint_refresh(self, subject: Subject, *, token_id: uuid.UUID, kid: str, issued_at: int, expires_at: int) -> str:
        """The refresh token with these facts: the same facts give the same text. Raises KeyGone."""
        claims = {
            "iss": self.policy.issuer,
            "aud": self.policy.refresh_audience,
            "sub": str(subject.user_id),
            "exp": expires_at,
            "nbf": issued_at,
            "iat": issued_at,
            "jti": str(token_id),
            "sid": str(subject.session_id),
            "tenant_id": str(subject.tenant_id),
        }
        return self._mint(REFRESH_TYPE, "refresh", kid, claims)

    def mint_event(self, claims: dict[str, Any]) -> str:
        """A security event token (RFC 8417), signed as access tokens are. Its type says that it is none."""
        return self._mint(EVENT_TYPE, "access", self._ring.active_kid("access"), claims)

    def plan(self) -> SigningPlan:
        """Which key signs the next access token, and whether signing may fail. Raises Unavailable."""
        return self._ring.plan()

    def active_refresh_kid(self) -> str:
        """The kid that new refresh tokens name."""
        return self._ring.active_kid("refresh")

    def _mint(self, kind: str, purpose: Purpose, kid: str, claims: dict[str, Any]) -> str:
        signing_input = self._header(kind, purpose, kid) + b"." + _encode(msgspec.json.encode(claims))
        return (signing_input + b"." + _encode(self._ring.sign(purpose, signing_input, kid=kid))).decode()

    def _header(self, kind: str, purpose: Purpose, kid: str) -> bytes:
        if (kind, kid) not in self._headers:
            header = {"alg": self._ring.algorithm_of(purpose, kid), "typ": kind, "kid": kid}
            self._headers[kind, kid] = _encode(msgspec.json.encode(header))
        return self._headers[kind, kid]


def _encode(data: bytes) -> bytes:
    """base64url without padding (RFC 7515 §2)."""
    return pybase64.urlsafe_b64encode(data).rstrip(b"=")


def access_verifier(policy: TokenPolicy, ring: KeyRing, clock: Clock, *, cache_size: int) -> Verifier[Claims]:
    """What tells our own access tokens: the verifier that guards use, too."""
    return Verifier(
        issuer=policy.issuer,
        audience=policy.audience,
        keys=ring.find_access_key,
        token_type=ACCESS_TYPE,
        clock=clock,
        cache_size=cache_size,
    )


def refresh_verifier(policy: TokenPolicy, ring: KeyRing, clock: Clock) -> Verifier[RefreshClaims]:
    """The same for refresh tokens, which nobody else can check."""
    return Verifier(
        issuer=policy.issuer,
        audience=policy.refresh_audience,
        keys=ring.find_refresh_key,
        token_type=REFRESH_TYPE,
        claims_type=RefreshClaims,
        clock=clock,
    )
