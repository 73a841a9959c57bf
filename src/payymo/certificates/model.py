"""What a certificate of ours is, its states, and the rules of its calendar. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

from payymo.errors import FieldError, InvalidInput
from payymo.sealed import Sealed

Usage = Literal["server", "client", "authority"]
State = Literal["requested", "next", "active", "retiring", "retired", "revoked"]
"""requested: we have the key, nobody has certified it yet · next: takes over by the calendar · active: in use ·
retiring: no longer in use, still accepted · retired: its private half is destroyed · revoked: the same at once,
because somebody else may have it, or because the request was given up."""
AUTHORITY: Final = "development-authority"
"""The name of the development authority itself."""
DAY_SECONDS: Final = 86_400
WARN_DAYS: Final = (30, 7, 1)
EXPIRED: Final = 0
"""What stands for a threshold when the end has passed."""
MAX_VERSION: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class CertificateVersion:
    """One version of a named certificate: public facts, the calendar, and the sealed private half."""

    name: str
    version: int
    usage: Usage
    state: State
    is_development: bool
    pin: str
    """SHA-256 of the public key in base64 (RFC 7469 §2.4)."""
    created_at: int
    request_pem: str | None = None
    chain_pem: str | None = None
    """The certificate, and the ones between it and a root, in this order; None while it is requested."""
    thumbprint: str | None = None
    """SHA-256 of the certificate in base64url (RFC 8705 §3.1)."""
    not_before: int | None = None
    not_after: int | None = None
    """First and last second at which all of the chain is valid."""
    sealed: Sealed | None = field(default=None, repr=False)
    """None once it is destroyed."""
    activates_at: int | None = None
    activated_at: int | None = None
    retires_at: int | None = None
    warned_days: int | None = None
    """The last threshold that was warned of."""

    def is_valid_at(self, now: int) -> bool:
        """RFC 5280 §4.1.2.5: both ends belong to the validity."""
        return self.not_before is not None and self.not_after is not None and self.not_before <= now <= self.not_after

    def has_expired_at(self, now: int) -> bool:
        """Whether its last second has passed."""
        return self.not_after is not None and now > self.not_after


@dataclass(frozen=True, slots=True, repr=False)
class ServerCredential:
    """What a TLS listener presents: the active version, with its private half in the clear. Its `repr` hides it."""

    version: int
    chain_pem: bytes
    private_key_pem: bytes
    not_after: int
    """The last second at which it is valid."""
    is_development: bool

    def __repr__(self) -> str:
        return f"ServerCredential(version={self.version}, not_after={self.not_after})"


@dataclass(frozen=True, slots=True)
class CertificatePolicy:
    """When a successor takes over, how long the one before is still accepted, and whether development ones are."""

    activate_before_seconds: int
    overlap_seconds: int
    is_production: bool


def one(versions: Iterable[CertificateVersion], state: State) -> CertificateVersion | None:
    """The version of a name in one of the states that one alone can be in."""
    return next((found for found in versions if found.state == state), None)


def activation_of(
    not_before: int, active: CertificateVersion | None, now: int, *, is_development: bool, policy: CertificatePolicy
) -> int:
    """When a new version takes over, unless somebody says when.

    At once where there is none, or only one for development; otherwise a while before the active one expires.
    """
    begin = max(not_before, now)
    if active is None or active.not_after is None or (active.is_development and not is_development):
        return begin
    return max(begin, active.not_after - policy.activate_before_seconds)


def is_due(
    following: CertificateVersion, active: CertificateVersion | None, now: int, policy: CertificatePolicy
) -> bool:
    """Whether a next version takes over now: its time has come, or the active one's is over."""
    if not following.is_valid_at(now) or (policy.is_production and following.is_development):
        return False
    has_come = following.activates_at is None or following.activates_at <= now
    return has_come or (active is not None and active.has_expired_at(now))


def is_over(version: CertificateVersion, now: int) -> bool:
    """Whether a version that is not in use is of no use any more."""
    if version.state == "retiring":
        return version.has_expired_at(now) or version.retires_at is None or version.retires_at <= now
    return version.state == "next" and version.has_expired_at(now)


def warning_of(version: CertificateVersion, following: CertificateVersion | None, now: int) -> int | None:
    """The threshold, in days before its end, that an active version has reached; `EXPIRED`, or None.

    A successor that is valid for longer says that somebody has taken care.
    """
    if version.state != "active" or version.not_after is None:
        return None
    if version.has_expired_at(now):
        return EXPIRED
    if following is not None and following.not_after is not None and following.not_after > version.not_after:
        return None
    return min((days for days in WARN_DAYS if version.not_after - now <= days * DAY_SECONDS), default=None)


def refusal(member: str, detail: str) -> InvalidInput:
    """What is wrong with something that was handed in."""
    return InvalidInput([FieldError(f"/{member}", detail)])
