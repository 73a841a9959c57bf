"""The vocabulary of a token's payload: which claims there are, of which shape, and what a permission allows.

Types and sizes only. Whether the values fit this place and this moment is the business of `payymo_guard.verify`.
"""

from collections.abc import Iterable
from typing import Annotated, Final, Protocol, TypeAlias

import msgspec

MAX_TIME: Final = 253_402_300_799
"""9999-12-31T23:59:59Z, the last second that `datetime` can name."""

Seconds: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=MAX_TIME)]
"""Whole seconds since 1970. RFC 7519 would allow fractions, and with them NaN, infinity and rounding."""

Identifier: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Sequence: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A place in the issuer's feed of revocations."""

Uri: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
Audience: TypeAlias = Uri | Annotated[tuple[Uri, ...], msgspec.Meta(min_length=1, max_length=32)]


class TokenClaims(Protocol):
    """What every kind of token says; what a verifier needs to know."""

    @property
    def iss(self) -> str:
        """The issuer."""

    @property
    def aud(self) -> str | tuple[str, ...]:
        """The audience, or several."""

    @property
    def exp(self) -> int:
        """The first second at which the token is no longer valid."""

    @property
    def nbf(self) -> int:
        """The first second at which the token is valid."""

    @property
    def iat(self) -> int:
        """When the token was issued."""

    @property
    def tenant_id(self) -> str:
        """The tenant that the token belongs to."""


class Act(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Who acts as the subject (RFC 8693 §4.1). Chains, and whatever else could stand here, are refused."""

    sub: Identifier


class Claims(msgspec.Struct, frozen=True, gc=False):
    """An access token's claims (RFC 9068 §2.2). Further claims in the payload are tolerated and dropped."""

    iss: Uri
    aud: Audience
    sub: Identifier
    exp: Seconds
    nbf: Seconds
    iat: Seconds
    jti: Identifier
    client_id: Identifier
    sid: Identifier
    tenant_id: Identifier
    permissions: tuple[Identifier, ...]
    roles: tuple[Identifier, ...]
    rev: Sequence = 0
    """The last entry of the feed of revocations that the issuer knew when it wrote this. Without it, none."""
    act: Act | msgspec.UnsetType = msgspec.UNSET
    """An administrator acts as the subject. Unset, and not None, in nearly all tokens: so they are read as written."""

    @property
    def actor(self) -> str | None:
        """Who acts as the subject; None: the subject themselves."""
        return None if isinstance(self.act, msgspec.UnsetType) else self.act.sub

    @property
    def is_service(self) -> bool:
        """Whether a program asks for itself, by an API key: the client is the subject (RFC 9068 §2.2).

        `sub` is the key's identifier then, and never that of a user.
        """
        return self.client_id == self.sub

    def allows(self, permission: str) -> bool:
        """Whether the permissions cover `permission`, a concrete "resource:action"."""
        return permits(self.permissions, permission)


class RefreshClaims(msgspec.Struct, frozen=True, gc=False):
    """A refresh token's claims. They name the session; what counts is the issuer's record of it."""

    iss: Uri
    aud: Audience
    sub: Identifier
    exp: Seconds
    nbf: Seconds
    iat: Seconds
    jti: Identifier
    sid: Identifier
    tenant_id: Identifier


def permits(granted: Iterable[str], required: str) -> bool:
    """Whether one of `granted` covers `required`.

    Granted permissions may be "invoices:*", "*:read" or "*:*"; a bare "*" grants nothing. `required` is concrete:
    asking for a wildcard is never permitted, not even by the same wildcard.
    """
    resource, _, action = required.partition(":")
    if not (resource and action) or "*" in required or ":" in action:
        return False
    return not {required, f"{resource}:*", f"*:{action}", "*:*"}.isdisjoint(granted)
