"""The revocation feed, for whoever verifies tokens elsewhere: a long poll that holds no thread where that is possible.

A server that can puts `PARK` into the environment: a request that finds nothing new is left with it and comes again,
with `WAITED`, when there is. Other servers hold a thread meanwhile, and only a few at a time; where a process has but
one, nobody waits.
"""

import threading
import time
from collections.abc import Callable
from typing import Final, Literal

import msgspec
from flask import Response, g
from pydantic import Field

from payymo.feed.model import CURSOR_MAX, Cursor, Entry, Page
from payymo.feed.service import Feed
from payymo.feed.waiting import Watch
from payymo.guards.service import Guards
from payymo.web.caller import NEWS, WAITED, Caller
from payymo.web.routing import Input, Output, route

PARK: Final = "payymo.park"
Park = Callable[[Cursor, int], bool]
"""What a server puts there: wait so many seconds for the feed to leave this place, and ask again. False: no room."""
WAIT_MAX_SECONDS: Final = 20
WAITING_THREADS: Final = 4
KEYS_MAX: Final = 1100
"""Sixteen kids, with commas."""


class FeedQuery(Input):
    """Where a follower is, how long it waits, and what it reports."""

    after: str | None = Field(None, min_length=1, max_length=CURSOR_MAX, pattern=r"^[0-9A-Za-z._-]+$")
    wait: int = Field(0, ge=0, le=WAIT_MAX_SECONDS)
    follower: str | None = Field(None, pattern=r"^[0-9A-Za-z_-]{8,64}$")
    keys: str = Field("", max_length=KEYS_MAX, pattern=r"^[0-9A-Za-z_,-]*$")


class FeedEntry(Output):
    """What must no longer be accepted."""

    seq: int
    kind: Literal["token", "session", "user", "tenant", "permissions", "key"]
    id: str
    tenant_id: str | None
    not_before: int
    expires_at: int


class FeedPage(Output):
    """Entries in order, and the place behind them."""

    cursor: str
    restart: bool
    more: bool
    waited_seconds: float
    entries: list[FeedEntry]


class Waiting:
    """Waiting for news, for as many as the server can hold."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._threads = threading.BoundedSemaphore(WAITING_THREADS)

    def wait(self, caller: Caller, place: Cursor, seconds: int) -> float | None:
        """Return when the feed has left this place, or after so long. Answers how long that was, in seconds.

        None: the request is parked and comes again. What is answered now, nobody sees.
        """
        park: Park | None = caller.request.environ.get(PARK)
        if park is not None:
            if not park(place, seconds):  # a guard that hears at once what there is stays in the know, and comes again
                return 0.0
            g.payymo_is_parked = True
            return None
        if not caller.request.is_multithread:  # PEP 3333: nobody else would be answered meanwhile
            return 0.0
        if not self._threads.acquire(blocking=False):
            return 0.0
        began = time.monotonic()
        try:
            ticket = self._watch.wait(place, seconds)
            if ticket.has_news:
                caller.request.environ[NEWS] = ticket.since
            return time.monotonic() - began
        finally:
            self._threads.release()

    def answered(self, caller: Caller) -> None:
        """The request is answered with news: measured, if it was these that it has waited for."""
        since: float | None = caller.request.environ.get(NEWS)
        if since is not None:
            self._watch.answered(since)


class FeedApi:
    """For guards."""

    def __init__(self, *, feed: Feed, waiting: Waiting, guards: Guards) -> None:
        self._feed = feed
        self._guards = guards
        self._waiting = waiting

    @route("GET", "/api/revocations", limit="service", authentication="service", scope="feed", shape=FeedPage)
    def revocations(self, caller: Caller, query: FeedQuery) -> Response:
        """What must no longer be accepted, after a place in the feed; waits for news when asked to."""
        page = self._feed.read(query.after)
        self._take_down(caller, query)
        waited: float = caller.request.environ.get(WAITED, 0.0)
        if query.wait and not (page.entries or page.restart or caller.comes_again):
            held = self._waiting.wait(caller, page.cursor, query.wait)
            if held is None:
                return Response()
            waited, page = held, self._feed.read(query.after)
        answer = _render(page, waited)
        if page.entries:
            self._waiting.answered(caller)
        return answer

    def _take_down(self, caller: Caller, query: FeedQuery) -> None:
        """Where a follower says that it is: what it has read, and not what it reads now."""
        place = Cursor.parse(query.after or "")
        if query.follower is not None:
            self._guards.report(
                query.follower,
                credential=caller.service,
                address=caller.address,
                seq=place.seq if place else 0,
                kids=query.keys.split(",") if query.keys else (),
            )


def _render(page: Page, waited: float) -> Response:
    """In the shape of `FeedPage`, without its checks: there may be thousands of entries, and we have written them."""
    data = {
        "cursor": str(page.cursor),
        "restart": page.restart,
        "more": page.more,
        "waited_seconds": round(waited, 3),
        "entries": [_entry(entry) for entry in page.entries],
    }
    return Response(msgspec.json.encode({"data": data}), content_type="application/json")


def _entry(entry: Entry) -> dict[str, object]:
    return {
        "seq": entry.cursor.seq,
        "kind": entry.kind,
        "id": entry.id,
        "tenant_id": entry.tenant_id,
        "not_before": entry.not_before,
        "expires_at": entry.expires_at,
    }
