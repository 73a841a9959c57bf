"""What a signing key is, and which keys do what. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Purpose = Literal["access", "refresh"]
PURPOSES: tuple[Purpose, ...] = ("access", "refresh")
State = Literal["next", "active", "retiring", "retired"]
"""next: published, not signing yet · active: signs · retiring: verifies what it has signed · retired: nothing."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key: the public half, the calendar, and the private half as it is at rest."""

    kid: str
    """RFC 7638 thumbprint of the public half, so that a kid can't name two keys."""
    purpose: Purpose
    algorithm: str
    state: State
    public_jwk: dict[str, Any]
    sealed: bytes
    created_at: int
    activated_at: int | None = None
    retires_at: int | None = None

    def verifies_at(self, now: int) -> bool:
        """Whether tokens signed by it are accepted."""
        match self.state:
            case "active" | "next":
                return True
            case "retiring":
                return self.retires_at is not None and now < self.retires_at
            case "retired":
                return False


def published(keys: Iterable[SigningKey], now: int) -> list[dict[str, Any]]:
    """The public JWKS members (RFC 7517 §5). Refresh keys are nobody's business but the issuer's."""
    return [key.public_jwk for key in keys if key.purpose == "access" and key.verifies_at(now)]
