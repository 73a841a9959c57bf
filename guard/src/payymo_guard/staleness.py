"""What a guard does when it has not heard from the feed of revocations for too long."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

WhenStale: TypeAlias = Literal["refuse", "accept", "ask"]


@dataclass(frozen=True, slots=True)
class Staleness:
    """How old the knowledge of revocations may be, and what happens when it is older.

    `refuse`: nobody gets in until the feed is back. `accept`: go on with what is known, but no longer than until it is
    `accept_stale_seconds` old. `ask`: ask the issuer about each token, and refuse when it doesn't answer. With a limit
    of 0, always.
    """

    max_stale_seconds: float = 10
    when_stale: WhenStale = "refuse"
    accept_stale_seconds: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.max_stale_seconds < 86_400 * 7:
            raise ValueError("max_stale_seconds is a number of seconds from 0 to a week")
        if self.when_stale not in ("refuse", "accept", "ask"):
            raise ValueError("when_stale is refuse, accept or ask")
        accepts = self.accept_stale_seconds
        if (self.when_stale == "accept") != (accepts is not None):
            raise ValueError(
                "accept_stale_seconds says how long stale knowledge is accepted: with `accept`, and only then"
            )
        if accepts is not None and not self.max_stale_seconds <= accepts < 86_400 * 7:
            raise ValueError("accept_stale_seconds is at least max_stale_seconds, and less than a week")
