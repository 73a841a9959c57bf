"""A session and its refresh family, as one state machine. Pure.

A session has one live refresh token, and remembers the one before it. Presenting the live one makes a successor;
presenting the one before it within the grace window gets that *same* successor again, a bounded number of times;
presenting any other token of the session means that a consumed one came back, and ends the session (RFC 9700 §4.14.2).
Our signature on the token vouches that the session issued it, so no list of consumed tokens is needed, and a restored
backup, which remembers an older token as the live one, ends sessions instead of reviving them.
"""

import uuid
from dataclasses import dataclass
from typing import Literal

from payymo.feed.model import Subject

EndReason = Literal["logout", "logout-everywhere", "ended-by-user", "ended-by-administrator", "refresh-reuse"]
MoreReasons = Literal["password-changed", "user-disabled", "user-erased", "tenant-suspended", "key-compromised"]
ReasonsOfActing = Literal["impersonation-stopped", "actor-ended", "permissions-changed", "expired"]
Reason = EndReason | MoreReasons | ReasonsOfActing


@dataclass(frozen=True, slots=True)
class Device:
    """Where a session was started from, as its owner will see it in the list of their sessions."""

    address: str
    user_agent: str


RECENT_SECONDS = 300
APART_SECONDS = 5
"""How far the clocks of two nodes may be apart: what one has just done has happened for the other, too."""
"""How long a login stands for the password, when something is changed that needs it."""


@dataclass(frozen=True, slots=True, repr=False)
class TokenPair:
    """What a login or a refresh hands out. Its `repr` hides the tokens."""

    access_token: str
    refresh_token: str
    expires_in: int

    def __repr__(self) -> str:
        return f"TokenPair(expires_in={self.expires_in})"


@dataclass(frozen=True, slots=True)
class RefreshPolicy:
    """How long refresh tokens and sessions live, and how forgiving retries are. Times in seconds."""

    refresh_ttl_seconds: int
    session_ttl_seconds: int
    grace_seconds: int
    grace_replays: int


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """The facts of a refresh token; its text follows from them, because its signature is deterministic."""

    id: uuid.UUID
    kid: str
    issued_at: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class Live:
    """Whose session goes on, until when at most, the refresh token that it goes on with, and since when.

    `position`: the number in the revocation feed up to which what is read afterwards knows of everything.
    """

    user_id: uuid.UUID
    expires_at: int
    token: RefreshToken
    position: int


@dataclass(frozen=True, slots=True)
class Session:
    """One login on one device."""

    id: uuid.UUID
    tenant_id: uuid.UUID
    user_id: uuid.UUID
    started_at: int
    last_seen_at: int
    expires_at: int
    access_expires_at: int
    ended_at: int | None
    address: str
    user_agent: str
    live: RefreshToken
    consumed_id: uuid.UUID | None
    replays: int
    actor_user_id: uuid.UUID | None = None
    """The administrator who acts as the user in it."""
    actor_session_id: uuid.UUID | None = None
    """Their own session, with which it ends."""

    def is_alive_at(self, now: int) -> bool:
        """Whether it has neither ended nor run out."""
        return self.ended_at is None and now < self.expires_at

    def is_recent_at(self, now: int) -> bool:
        """Whether it began so lately that the password need not be asked for again: never one as another."""
        return self.actor_user_id is None and self.is_alive_at(now) and is_within(RECENT_SECONDS, self.started_at, now)


@dataclass(frozen=True, slots=True)
class Ended(Subject):
    """A session that was still running, and is now to be refused."""

    actor_user_id: uuid.UUID | None


@dataclass(frozen=True, slots=True)
class Pruned:
    """A session that is forgotten. Not `had_ended`: it has run out, and until now nothing has told so."""

    tenant_id: uuid.UUID
    session: Ended
    had_ended: bool


@dataclass(frozen=True, slots=True)
class Listed:
    """A session among all of its tenant's, and the name of whose it is."""

    session: Session
    username: str


@dataclass(frozen=True, slots=True)
class Place:
    """Between two sessions of a list, the newest first: what began before this, or was made then with a lesser id."""

    started_at: int
    id: uuid.UUID

    def __str__(self) -> str:
        """As a list says where its next page begins."""
        return f"{self.started_at}-{self.id}"

    @classmethod
    def read(cls, text: str) -> "Place":
        """The place of which this is the text. Raises ValueError."""
        moment, _, name = text.partition("-")
        if not (moment.isascii() and moment.isdecimal() and len(moment) <= MOMENT_DIGITS):
            raise ValueError("no moment")
        return cls(int(moment), uuid.UUID(name))


MOMENT_DIGITS = 18
"""Seconds that fit into 64 bits."""
NEWEST = Place(10**MOMENT_DIGITS - 1, uuid.UUID(int=2**128 - 1))
"""Before the first page."""


@dataclass(frozen=True, slots=True)
class Rotate:
    """Consume the presented token, issue a successor. Neither outlives the session."""


@dataclass(frozen=True, slots=True)
class Replay:
    """A retry: hand out the same successor once more."""

    successor: RefreshToken


@dataclass(frozen=True, slots=True)
class Reused:
    """A consumed token came back: end the session."""


@dataclass(frozen=True, slots=True)
class Over:
    """The session has ended or run out, or the token has."""


Decision = Rotate | Replay | Reused | Over


def is_within(seconds: int, since: int, now: int) -> bool:
    """Whether it was no longer ago; what is still to come was just now, on a node whose clock is ahead."""
    return -APART_SECONDS <= now - since <= seconds


def decide(session: Session, presented_id: uuid.UUID, now: int, policy: RefreshPolicy) -> Decision:
    """What presenting a refresh token of this session comes to.

    The grace window runs from the rotation and is never extended by a replay. A consumed token is reuse whatever else
    is true of a living session, expired or not: its thief must not be told to simply log in again.
    """
    if not session.is_alive_at(now):
        return Over()
    if presented_id == session.live.id:
        if now >= session.live.expires_at:
            return Over()
        return Rotate()
    # Whole seconds: the one in which the window ends still belongs to it, or some windows would be a second short.
    within_grace = policy.grace_seconds > 0 and is_within(policy.grace_seconds, session.live.issued_at, now)
    if presented_id == session.consumed_id and within_grace and session.replays < policy.grace_replays:
        return Replay(session.live)
    return Reused()
