"""`/api/admin/audit`: the log of one's own tenant; `/api/admin/platform/audit`: the platform's; and one's own activity.

Which log it is depends on the route alone: a tenant's is the token's, the platform's needs a permission that no
tenant's role can have.
"""

import uuid
from typing import Annotated, Literal

from flask import Response
from pydantic import Field, JsonValue

from payymo.audit.checkpoints import Checkpoints
from payymo.audit.entries import Entry, Filters, shown_to
from payymo.audit.reader import AuditReader, Page, Proven
from payymo.errors import NotFound
from payymo.logs import Outcome
from payymo.web.caller import Caller
from payymo.web.routing import Input, Output, route

Moment = Annotated[int, Field(ge=0, le=100_000_000_000)]
By = Literal["you", "anonymous", "administrator", "service", "operator", "system"]
_BY: dict[str, By] = {"user": "administrator", "service": "service", "operator": "operator", "system": "system"}


class CursorQuery(Input):
    """A page of a list of events: what comes after the place that `cursor` stands for, at most `limit` of it."""

    cursor: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_-]+$")] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class EventsQuery(CursorQuery):
    """Which events, and in which order. `type` is one, or all that begin alike: `session.`. Times are in seconds."""

    actor: Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$")] | None = None
    type: Annotated[str, Field(max_length=48, pattern=r"^[a-z][a-z-]*\.([a-z-]+)?$")] | None = None
    user_id: uuid.UUID | None = None
    outcome: Outcome | None = None
    since: Moment | None = None
    before: Moment | None = None
    order: Literal["newest", "oldest"] = "newest"

    @property
    def filters(self) -> Filters:
        """What is asked for."""
        return Filters(
            actor=self.actor,
            type=self.type,
            user_id=self.user_id,
            outcome=self.outcome,
            since_ms=None if self.since is None else self.since * 1000,
            before_ms=None if self.before is None else self.before * 1000,
        )


class EventOut(Output):
    """An event on record. `at`: milliseconds since 1970. `erased`: what was personal in it is gone for good.

    `damaged`: its record, or what is personal in it, is not what it was: `payymo audit verify` says more.
    """

    position: int
    id: uuid.UUID
    log: str
    type: str
    version: int
    at: int
    actor: str
    request_id: str
    outcome: str
    about: dict[str, JsonValue]
    old: dict[str, JsonValue] | None
    new: dict[str, JsonValue] | None
    personal: dict[str, str] | None
    erased: bool
    damaged: bool


class EventsOut(Output):
    """A page of events. `next`: give it as `cursor` to go on; null on the last page."""

    events: list[EventOut]
    next: str | None

    @classmethod
    def of(cls, page: Page) -> "EventsOut":
        """The page."""
        return cls(events=[EventOut.model_validate(entry.facts()) for entry in page.entries], next=page.next)


class ProvenOut(Output):
    """An event, and the text of its proof (C2SP tlog-proof v1), which ends with a signed checkpoint.

    `proof` is null as long as no checkpoint is as new as the event: ask again in a second.
    It stays null where the stored tree was changed, so that it proves nothing: `payymo audit verify` says more.
    """

    event: EventOut
    proof: str | None

    @classmethod
    def of(cls, found: Proven) -> "ProvenOut":
        """The event with its proof."""
        return cls(event=EventOut.model_validate(found.entry.facts()), proof=found.proof)


class LogKeysOut(Output):
    """What a log is called, and the public keys that sign it, or have: `name+id+base64`, as in C2SP signed-note."""

    origin: str
    keys: list[str]

    @classmethod
    def of(cls, checkpoints: Checkpoints, tenant_id: uuid.UUID | None) -> "LogKeysOut":
        """Those of a log."""
        return cls(
            origin=checkpoints.origin(tenant_id), keys=[str(key) for key in checkpoints.verifier_keys(tenant_id)]
        )


class ActivityOut(Output):
    """Something that happened to one's account. `at`: milliseconds since 1970. `by`: who has done it.

    `address` and `user_agent` are null where they are somebody else's, unknown, or erased.
    """

    id: uuid.UUID
    at: int
    type: str
    outcome: str
    reason: str | None
    session_id: str | None
    by: By
    address: str | None
    user_agent: str | None

    @classmethod
    def of(cls, entry: Entry, user_id: uuid.UUID) -> "ActivityOut":
        """The event, as its user may see it."""
        record, personal = entry.record, shown_to(entry, user_id) or {}
        kind = record.actor.partition(":")[0]
        return cls(
            id=entry.id,
            at=record.at_ms,
            type=record.type,
            outcome=record.outcome,
            reason=_text(record.about.get("reason")),
            session_id=_text(record.about.get("session_id")),
            by="you" if record.actor == f"user:{user_id}" else _BY.get(kind, "anonymous"),
            address=personal.get("address"),
            user_agent=personal.get("user_agent"),
        )


class ActivitiesOut(Output):
    """A page of one's own activity, the newest first. `next`: give it as `cursor` to go on; null on the last page."""

    events: list[ActivityOut]
    next: str | None


class AuditApi:
    """The log of one's own tenant."""

    def __init__(self, *, reader: AuditReader, checkpoints: Checkpoints) -> None:
        self._reader = reader
        self._checkpoints = checkpoints

    @route("GET", "/api/admin/audit/events", limit="default", authentication="bearer", permission="audit:read")
    def list_events(self, caller: Caller, query: EventsQuery) -> EventsOut:
        """List what is on record in one's own tenant."""
        return _list(self._reader, caller.principal.tenant_id, query)

    @route(
        "GET",
        "/api/admin/audit/events/<uuid:event_id>",
        limit="default",
        authentication="bearer",
        permission="audit:read",
    )
    def get_event(self, caller: Caller, event_id: uuid.UUID) -> ProvenOut:
        """Show an event, and prove that it is in the log."""
        return ProvenOut.of(self._reader.get(caller.principal.tenant_id, event_id))

    @route("GET", "/api/admin/audit/checkpoint", limit="default", authentication="bearer", permission="audit:read")
    def get_checkpoint(self, caller: Caller) -> Response:
        """The newest signed head of the log (C2SP tlog-checkpoint): keep it, and hold the log to it."""
        return _checkpoint(self._checkpoints, caller.principal.tenant_id)

    @route("GET", "/api/admin/audit/keys", limit="default", authentication="bearer", permission="audit:read")
    def list_log_keys(self, caller: Caller) -> LogKeysOut:
        """List the public keys that the log's checkpoints are verified with."""
        return LogKeysOut.of(self._checkpoints, caller.principal.tenant_id)


class PlatformAuditApi:
    """The platform's own log: tenants, keys, certificates, and what is done for all."""

    def __init__(self, *, reader: AuditReader, checkpoints: Checkpoints) -> None:
        self._reader = reader
        self._checkpoints = checkpoints

    @route(
        "GET", "/api/admin/platform/audit/events", limit="default", authentication="bearer", permission="platform:read"
    )
    def list_platform_events(self, caller: Caller, query: EventsQuery) -> EventsOut:
        """List what is on record of the platform."""
        del caller
        return _list(self._reader, None, query)

    @route(
        "GET",
        "/api/admin/platform/audit/events/<uuid:event_id>",
        limit="default",
        authentication="bearer",
        permission="platform:read",
    )
    def get_platform_event(self, caller: Caller, event_id: uuid.UUID) -> ProvenOut:
        """Show an event of the platform, and prove that it is in its log."""
        del caller
        return ProvenOut.of(self._reader.get(None, event_id))

    @route(
        "GET",
        "/api/admin/platform/audit/checkpoint",
        limit="default",
        authentication="bearer",
        permission="platform:read",
    )
    def get_platform_checkpoint(self, caller: Caller) -> Response:
        """The newest signed head of the platform's log (C2SP tlog-checkpoint)."""
        del caller
        return _checkpoint(self._checkpoints, None)

    @route(
        "GET", "/api/admin/platform/audit/keys", limit="default", authentication="bearer", permission="platform:read"
    )
    def list_platform_log_keys(self, caller: Caller) -> LogKeysOut:
        """List the public keys that the checkpoints of the platform's log are verified with."""
        del caller
        return LogKeysOut.of(self._checkpoints, None)


class ActivityApi:
    """What happened to one's own account."""

    def __init__(self, *, reader: AuditReader) -> None:
        self._reader = reader

    @route("GET", "/api/auth/activity", limit="default", authentication="bearer")
    def list_activity(self, caller: Caller, query: CursorQuery) -> ActivitiesOut:
        """List what happened to one's own account: logins, passwords, sessions that ended, and from where."""
        who = caller.principal
        filters = Filters(user_id=who.user_id, without_quiet=True)
        page = self._reader.page(who.tenant_id, filters, cursor=query.cursor, count=query.limit, newest_first=True)
        return ActivitiesOut(events=[ActivityOut.of(entry, who.user_id) for entry in page.entries], next=page.next)


def _list(reader: AuditReader, tenant_id: uuid.UUID | None, query: EventsQuery) -> EventsOut:
    is_newest_first = query.order == "newest"
    page = reader.page(tenant_id, query.filters, cursor=query.cursor, count=query.limit, newest_first=is_newest_first)
    return EventsOut.of(page)


def _checkpoint(checkpoints: Checkpoints, tenant_id: uuid.UUID | None) -> Response:
    found = checkpoints.newest(tenant_id)
    if found is None:
        raise NotFound("Nothing is on record in this log yet.")
    return Response(found.note, content_type="text/plain; charset=utf-8")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
