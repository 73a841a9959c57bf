"""What a signing key is, and which keys do what. Pure."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from payymo.sealed import Sealed

Purpose = Literal["access", "refresh", "audit"]
"""What a key signs: access tokens, refresh tokens, or the heads of the audit logs."""
PURPOSES: tuple[Purpose, ...] = ("access", "refresh", "audit")
AUDIT_ALGORITHM: Final = "EdDSA"
"""The only one that readers of transparency logs have to understand (C2SP signed-note)."""
DATABASE = "database:"
State = Literal["next", "active", "retiring", "retired", "revoked"]
"""next: published, not signing yet · active: signs · retiring: verifies what it has signed · retired: nothing any more
· revoked: nothing at once, because somebody else may have it."""
SPREAD_SECONDS = 5
"""How long it may take until every process publishes a key that one has made; their clocks may differ, too."""
PATIENCE = 10
"""For how many times the life of a published key set a guard that reports an old one may hold a rotation up."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key: the public half, the calendar, and the private half."""

    kid: str
    """RFC 7638 thumbprint of the public half, so that a kid can't name two keys."""
    purpose: Purpose
    algorithm: str
    state: State
    public_jwk: dict[str, Any]
    sealed: Sealed | None
    """The private half as it is at rest in the database; None when it is elsewhere, or destroyed."""
    location: str | None
    """Where the private half is if it is elsewhere; None once it is destroyed."""
    token_ttl_seconds: int
    """How long the longest-lived token lives that it may have signed."""
    created_at: int
    activated_at: int | None = None
    retires_at: int | None = None

    @property
    def place(self) -> str:
        """The place of the private half: `database:`, `file:/folder` or `pkcs11:token=NAME`."""
        return DATABASE if self.location is None else place_of(self.location)

    def verifies_at(self, now: int) -> bool:
        """Whether tokens signed by it are accepted."""
        match self.state:
            case "active" | "next":
                return True
            case "retiring":
                return self.retires_at is not None and now < self.retires_at
            case "retired" | "revoked":
                return False


def raw_public(key: SigningKey) -> bytes:
    """The 32 bytes of an Ed25519 key (RFC 8032 §5.1.5). Raises KeyError for keys of other kinds."""
    return base64.urlsafe_b64decode(key.public_jwk["x"] + "=")


def place_of(location: str) -> str:
    """Of `file:/folder/name.pem` and `pkcs11:token=NAME;object=NAME`: without what names the key in it."""
    return location.partition(";object=")[0] if location.startswith("pkcs11:") else location.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class Calendar:
    """How often keys change, and how long the published key set may be kept by those who verify. In seconds."""

    rotate_every: int
    jwks_max_age: int


@dataclass(frozen=True, slots=True)
class KeyPolicy:
    """Which algorithms sign, for how long what they sign lives, and when keys change."""

    algorithm: str
    refresh_algorithm: str
    access_ttl_seconds: int
    session_ttl_seconds: int
    calendar: Calendar
    access_place: str = DATABASE
    refresh_place: str = DATABASE

    def place_of(self, purpose: Purpose) -> str:
        """Where new private keys of a purpose are put."""
        places: dict[Purpose, str] = {"access": self.access_place, "refresh": self.refresh_place}
        return places.get(purpose, DATABASE)

    def algorithm_of(self, purpose: Purpose) -> str:
        """The JWS algorithm of a purpose."""
        algorithms: dict[Purpose, str] = {"access": self.algorithm, "refresh": self.refresh_algorithm}
        return algorithms.get(purpose, AUDIT_ALGORITHM)

    def token_ttl_of(self, purpose: Purpose) -> int:
        """How long, in seconds, what a key of this purpose signs lives at most. Heads of logs have no end."""
        lives: dict[Purpose, int] = {"access": self.access_ttl_seconds, "refresh": self.session_ttl_seconds}
        return lives.get(purpose, 0)


@dataclass(frozen=True, slots=True)
class SigningPlan:
    """Which key signs the next access token, and whether signing it, or the refresh token beside it, may fail.

    It may where somebody else keeps a key, or has to open it first, and may not answer. Then whoever signs does so
    before anything is final.
    """

    access_kid: str
    may_fail: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What somebody who verifies, and follows our feed, said they hold."""

    kids: frozenset[str]
    reported_at: int


def seconds_until_known(key: SigningKey, now: int, calendar: Calendar, reports: Sequence[Report] = ()) -> int:
    """How long a next key has to wait before it may sign; 0 when every verifier can be expected to have it.

    Those who don't report have it after the life of a published key set. Of those who reported within such a life,
    each has to hold it; but whoever goes on reporting an old set can't stop rotation for ever. What the other keys
    sign is verified by us, and by those who look a key up.
    """
    if key.purpose != "access":
        return 0
    published = now - key.created_at - SPREAD_SECONDS
    if published < calendar.jwks_max_age:
        return calendar.jwks_max_age - published
    late = [report for report in reports if now - report.reported_at <= calendar.jwks_max_age]
    if all(key.kid in report.kids for report in late):
        return 0
    return max(0, PATIENCE * calendar.jwks_max_age - published)


def due_at(active: SigningKey, calendar: Calendar) -> int:
    """When the calendar asks for another key in the place of this one."""
    since = active.created_at if active.activated_at is None else active.activated_at
    return since + calendar.rotate_every


def is_due(
    active: SigningKey, following: SigningKey, now: int, calendar: Calendar, reports: Sequence[Report] = ()
) -> bool:
    """Whether the calendar, another algorithm or another place asks for a rotation, and no verifier lacks the key."""
    is_other = (following.algorithm, following.place) != (active.algorithm, active.place)
    is_wanted = is_other or now >= due_at(active, calendar)
    return is_wanted and not seconds_until_known(following, now, calendar, reports)


def find_one(keys: Iterable[SigningKey], purpose: Purpose, state: State) -> SigningKey | None:
    """The key of this purpose in this state, of which there is one at most: active or next."""
    return next((key for key in keys if (key.purpose, key.state) == (purpose, state)), None)


def published(keys: Iterable[SigningKey], now: int) -> list[dict[str, Any]]:
    """The public JWKS members (RFC 7517 §5). Refresh keys are nobody's business but the issuer's."""
    return [key.public_jwk for key in keys if key.purpose == "access" and key.verifies_at(now)]
