"""Where a guard's knowledge comes from: what it asks of whoever follows the issuer, over the network or in a test."""

from dataclasses import dataclass
from typing import Protocol

from payymo_guard.keyset import VerificationKey


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """How the source is doing, for people."""

    cursor: str | None
    kids: tuple[str, ...]
    started_at: float | None
    """Seconds since 1970."""
    last_error: str | None


class Keys(Protocol):
    """Published keys."""

    @property
    def usable_until(self) -> float:
        """The moment of the elapsed time until which they are used."""

    def find(self, kid: str) -> VerificationKey | None:
        """The key of this name, or None."""


class Source(Protocol):
    """Brings keys, and applies the feed to the guard's `Revocations`."""

    @property
    def keys(self) -> Keys:
        """The keys, the same object for ever."""

    def start(self) -> None:
        """Begin, unless it has begun."""

    def wait(self) -> None:
        """Return once there are keys and the feed has been read, or it is time to go on without."""

    def ask(self, token: str) -> None:
        """Let the issuer decide on a token. Raises Refused: token_revoked, or revocations_stale without an answer."""

    def status(self) -> SourceStatus:
        """How it is doing."""

    def after_fork(self) -> None:
        """In the child: no thread, no connection and no held lock has come along."""

    def close(self) -> None:
        """End, within a moment."""
