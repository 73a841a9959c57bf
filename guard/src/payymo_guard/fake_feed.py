"""A feed of revocations in memory, for tests: guards hear of an entry in the very call that adds it.

Part of `payymo_guard.testing`. The guard that listens decides as it always does; only the network is missing.
"""

import itertools
import math
import time
from collections.abc import Callable
from typing import Literal, TypeAlias

import msgspec

from payymo_guard.claims import Claims
from payymo_guard.errors import Refused
from payymo_guard.feed import Entry
from payymo_guard.keyset import VerificationKey
from payymo_guard.revocations import Revocations
from payymo_guard.source import SourceStatus
from payymo_guard.verify import inspect

Kind: TypeAlias = Literal["token", "session", "user", "tenant", "permissions", "key"]
LIFETIME_SECONDS = 86_400
"""No token of a test lives for longer."""


def clock_of_test() -> float:
    """The time of day; looked up each time, for libraries that freeze it in a test put another function there."""
    return time.time()  # noqa: TID251 - the default of the one parameter by which time is handed in


class FakeFeed:
    """What was revoked, and which guards have heard of it."""

    def __init__(self, clock: Callable[[], float], elapsed: Callable[[], float]) -> None:
        self.entries: list[Entry] = []
        self.elapsed = elapsed
        self.stale_since: float | None = None
        """The moment of the elapsed time from which on no guard hears anything; None: they hear all."""
        self.can_be_asked = True
        self._clock = clock
        self._numbers = itertools.count(1)
        self._truth = Revocations()
        self._sources: list[FakeSource] = []

    @property
    def rev(self) -> int:
        """The number of the last entry."""
        return self.entries[-1].seq if self.entries else 0

    def add(self, kind: Kind, identifier: str, tenant_id: str | None = None) -> None:
        """Revoke something."""
        now = int(self._clock())
        entry = Entry(next(self._numbers), kind, identifier, now, now + LIFETIME_SECONDS, tenant_id)
        self.entries.append(entry)
        self._truth.apply([entry], elapsed=self.elapsed())
        self.tell()

    def tell(self) -> None:
        """Let every guard hear what it has not heard yet."""
        for source in self._sources:
            source.hear()

    def listen(self, source: "FakeSource") -> None:
        """Tell this one, too, from the beginning."""
        self._sources.append(source)
        source.hear()

    def judge(self, token: str) -> None:
        """Raise Refused if the token is revoked, whatever guards have heard. Why, an issuer tells nobody."""
        if not self.can_be_asked:
            raise Refused("revocations_stale")
        said = inspect(token)
        try:
            self._truth.check_key(str(said.untrusted_header.get("kid")))
            self._truth.check(msgspec.convert(said.untrusted_claims, Claims))
        except Refused as refused:
            raise Refused("token_revoked") from refused


class FakeKeys:
    """An issuer's keys, at hand for ever."""

    usable_until = math.inf

    def __init__(self, find: Callable[[str], VerificationKey | None]) -> None:
        self.find = find


class FakeSource:
    """A `Source` that hears a feed without any network."""

    def __init__(self, feed: FakeFeed, find: Callable[[str], VerificationKey | None], revocations: Revocations) -> None:
        self._feed = feed
        self._keys = FakeKeys(find)
        self._revocations = revocations
        self._heard = 0
        feed.listen(self)

    @property
    def keys(self) -> FakeKeys:
        """The issuer's keys."""
        return self._keys

    def hear(self) -> None:
        """Apply what is new, or be as old as the feed wants it."""
        feed = self._feed
        if feed.stale_since is not None:
            self._revocations.complete(feed.stale_since)
            return
        self._revocations.apply(feed.entries[self._heard :], elapsed=feed.elapsed())
        self._heard = len(feed.entries)
        self._revocations.complete(math.inf)

    def start(self) -> None:
        """Nothing: it hears."""

    def wait(self) -> None:
        """Nothing: it has heard."""

    def ask(self, token: str) -> None:
        """Ask the feed itself. Raises Refused."""
        self._feed.judge(token)

    def status(self) -> SourceStatus:
        """How it is doing."""
        return SourceStatus(cursor=str(self._heard), kids=(), started_at=None, last_error=None)

    def after_fork(self) -> None:
        """The child has heard as much."""
        self.hear()

    def close(self) -> None:
        """Nothing: there is no thread."""
