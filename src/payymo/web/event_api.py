"""Polling for Security Event Tokens (RFC 8936): the feed for receivers that don't speak it. Each has a credential.

What a receiver has not acknowledged is delivered again; what it has, or could not use, never is. Its place is kept with
its credential.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from flask import Response
from pydantic import Field

from payymo.clock import Clock
from payymo.errors import MissingToken
from payymo.feed.events import event_claims
from payymo.feed.model import Entry
from payymo.feed.service import Feed
from payymo.guards.model import ServiceCredential
from payymo.guards.service import Guards
from payymo.logs import Event, SecurityLog
from payymo.tokens import TokenMinter
from payymo.web.caller import Caller
from payymo.web.feed_api import Waiting
from payymo.web.routing import Input, route

EVENTS_MAX: Final = 100
"""In an answer: each is signed on its own."""
ACKNOWLEDGED_MAX: Final = 200
WAIT_SECONDS: Final = 10
JTI_MAX: Final = 64


class EventError(Input):
    """Why a receiver could not use an event (RFC 8936 §2.3)."""

    err: str = Field(max_length=64)
    description: str = Field("", max_length=500)


class PollBody(Input):
    """What a receiver asks for, and has got (RFC 8936 §2.4). Waits for events unless told to return at once."""

    max_events: int = Field(EVENTS_MAX, ge=0, le=1_000_000, alias="maxEvents")
    return_immediately: bool = Field(default=False, alias="returnImmediately")
    ack: list[str] = Field([], max_length=ACKNOWLEDGED_MAX)
    set_errs: dict[str, EventError] = Field({}, max_length=ACKNOWLEDGED_MAX, alias="setErrs")


@dataclass(frozen=True, slots=True)
class _Event:
    entry: Entry
    claims: dict[str, Any] | None
    """None: there is no such event."""


class EventApi:
    """For receivers of security events."""

    def __init__(
        self, *, feed: Feed, waiting: Waiting, guards: Guards, minter: TokenMinter, clock: Clock, log: SecurityLog
    ) -> None:
        self._feed = feed
        self._waiting = waiting
        self._guards = guards
        self._minter = minter
        self._clock = clock
        self._log = log

    @route(
        "POST",
        "/api/revocations/events",
        limit="service",
        authentication="service",
        scope="feed",
        also={200: "`sets`: event tokens by `jti`; `moreAvailable`: whether there are more."},
    )
    def poll(self, caller: Caller, body: PollBody) -> Response:
        """Acknowledge security event tokens (RFC 8417), and get the next ones, by RFC 8936."""
        receiver = caller.service
        if receiver is None:  # from an open network; whose place would it be?
            raise MissingToken("Send a service credential: what was acknowledged is remembered with it.")
        if not caller.comes_again:
            self._acknowledge(caller, receiver, body)
        count = min(body.max_events, EVENTS_MAX)
        head = self._feed.head()  # first: what comes while we read is news
        events = self._undelivered(receiver, count + 1)
        if not (events or body.return_immediately or caller.comes_again) and count:
            if self._waiting.wait(caller, head, WAIT_SECONDS) is None:
                return Response()
            events = self._undelivered(receiver, count + 1)
        answer = self._answer(events, count)
        if events:
            self._waiting.answered(caller)
        return answer

    def _acknowledge(self, caller: Caller, receiver: ServiceCredential, body: PollBody) -> None:
        """Move the receiver's place behind what it has, up to the first event that it has not."""
        for error in body.set_errs.values():
            self._log.write(
                Event("event.received", "refused", trace=caller.trace, service=receiver.name, reason=error.err)
            )
        settled, place = {*body.ack, *body.set_errs}, None
        for event in self._events(receiver):
            if event.claims is not None and event.claims["jti"] not in settled:
                break
            place = event.entry.cursor
        if place is not None:
            self._guards.acknowledge(receiver, str(place))

    def _undelivered(self, receiver: ServiceCredential, count: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for event in self._events(receiver):
            if len(found) == count:
                break
            if event.claims is not None:
                found.append(event.claims)
        return found

    def _events(self, receiver: ServiceCredential) -> Iterator[_Event]:
        """Everything after the receiver's place, page by page."""
        policy, now, place, more = self._minter.policy, int(self._clock()), self._guards.acknowledged(receiver), True
        while more:
            page = self._feed.read(place)
            for entry in page.entries:
                yield _Event(entry, event_claims(entry, issuer=policy.issuer, audience=policy.audience, now=now))
            place, more = str(page.cursor), page.more

    def _answer(self, events: list[dict[str, Any]], count: int) -> Response:
        sets = {claims["jti"]: self._minter.mint_event(claims) for claims in events[:count]}
        body = msgspec.json.encode({"sets": sets, "moreAvailable": len(events) > count})
        return Response(body, content_type="application/json")
