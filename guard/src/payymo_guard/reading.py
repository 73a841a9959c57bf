"""Reads the feed of revocations, an answer at a time, and says as of which moment what it has read is complete."""

from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import urlencode

from payymo_guard.discovery import Endpoints
from payymo_guard.feed import MAX_PAGE_BYTES, read_page
from payymo_guard.http import Client, Unreachable
from payymo_guard.revocations import Revocations

LONGEST_WAIT_SECONDS: Final = 20
MAX_KIDS: Final = 16
ANSWER_SECONDS: Final = 5
"""What an answer may take beyond the time for which it was held, where nobody is let in before it is here."""
TRY_SECONDS: Final = 2
NEWS_SECONDS: Final = 0.1
"""From news to the next question: what comes meanwhile comes in one answer. Where much is revoked for a while, guards
that asked for each entry would use up the limit of their credential, and be told to stay away for too long."""


class FeedReader:
    """A place in the feed. Used by one thread."""

    def __init__(
        self,
        revocations: Revocations,
        max_stale_seconds: float,
        *,
        clock: Callable[[], float],
        elapsed: Callable[[], float],
    ) -> None:
        self.cursor: str | None = None
        self.is_complete = False
        """Whether the answer that was read last was the last one for now."""
        self.has_key_news = False
        """A key was revoked: another one is likely to sign already."""
        self._revocations = revocations
        # So that a quiet feed is heard of twice before what is known is too old. Without a limit there is no hurry.
        limit = max_stale_seconds or LONGEST_WAIT_SECONDS
        self._wait = int(min(LONGEST_WAIT_SECONDS, limit / 2))
        self._pace = max(0.1, min(1.0, limit / 4))
        self._rest = min(NEWS_SECONDS, limit / 8)
        # Something between may swallow an answer that was held: then there is time left to ask again before that.
        self._patience = min(ANSWER_SECONDS, limit / 4)
        self._clock = clock
        self._elapsed = elapsed

    def read(
        self, client: Client, endpoints: Endpoints, headers: dict[str, str], name: str, kids: Iterable[str]
    ) -> float:
        """Read and apply one answer. Answers how long to wait before the next one. Raises Unreachable."""
        longest = min(self._wait, endpoints.wait_seconds)
        wait = longest if self.is_complete else 0
        path = f"{endpoints.revocations}?{self._query(wait, name, kids)}"
        sent = self._elapsed()
        longest_seconds = wait + (self._patience if wait else ANSWER_SECONDS)
        answer = client.request("GET", path, headers=headers, timeout_seconds=longest_seconds, max_bytes=MAX_PAGE_BYTES)
        body = answer.require_ok("revocations")
        received = self._elapsed()
        try:
            page = read_page(body)
        except ValueError as error:
            raise Unreachable(str(error)) from error
        if page.more and page.cursor == self.cursor:
            raise Unreachable("revocations: there is said to be more, but it never comes")
        if page.restart:
            self._revocations.begin_again()
        self._revocations.apply(page.entries, elapsed=received)
        self.has_key_news |= any(entry.kind == "key" for entry in page.entries)
        has_moved = page.cursor != self.cursor
        self.cursor, self.is_complete = page.cursor, not page.more
        if not page.more:
            # No more than what has passed here, whatever the server says: nothing is known of the future. What a cache
            # has held is as old as it says.
            self._revocations.complete(sent + min(page.waited_seconds, received - sent) - answer.age_seconds)
        self._revocations.forget(now=self._clock(), elapsed=received)
        if has_moved and page.entries and not page.more:
            return 0 if self.has_key_news else self._rest
        if (has_moved and page.more) or (longest and not wait):
            return 0
        # Nothing new, and nothing was waited for: by our wish, or because the server does not do it now.
        return self._pace if received - sent <= wait / 2 else 0

    def try_out(self, client: Client, endpoints: Endpoints, headers: dict[str, str]) -> None:
        """Ask without reading, from any thread: whether we may. Raises Unreachable."""
        path = endpoints.revocations if self.cursor is None else f"{endpoints.revocations}?after={self.cursor}"
        answer = client.request("GET", path, headers=headers, timeout_seconds=TRY_SECONDS, max_bytes=MAX_PAGE_BYTES)
        answer.require_ok("revocations")

    def begin_again(self) -> None:
        """Read from the beginning next time."""
        if self.cursor is not None:
            self.cursor = None
            self._revocations.begin_again()

    def _query(self, wait: int, name: str, kids: Iterable[str]) -> str:
        fitting = [kid for kid in kids if "," not in kid][:MAX_KIDS]
        values = {"after": self.cursor, "wait": wait or None, "follower": name, "keys": ",".join(fitting) or None}
        return urlencode({key: value for key, value in values.items() if value is not None})
