"""What an event is on record: the bytes that the log commits to, and what is personal in it, apart. Pure."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec

from payymo.logs import Event, Fact, Trace
from payymo.sealed import Sealed

FORM: Final = 1
"""The version of the form of a record. Each type of event has a version of its own besides."""
PLATFORM: Final = "platform"
REMOVED: Final = "audit.removed"
"""The type of the events by which a log says what was removed by age: `new.to` is where it begins from then on."""
TYPE_MAX: Final = 48
ACTOR_MAX: Final = 80
OUTCOME_MAX: Final = 8
"""Characters of the columns. A longer one is searched by what fits; the record has it whole."""
LATEST_MS: Final = 32_503_679_999_999
"""The end of the year 2999: who reckons on from there does not come to the end of the calendar (9999) so soon."""
Moment = Annotated[int, msgspec.Meta(ge=0, le=LATEST_MS)]
"""Milliseconds since 1970 that people can be shown, and columns take."""
DUTIES: Final = frozenset({"maintenance", "courier", "listener", "metrics", "audit", "start", "webhooks"})
"""The `request_id` of what the service does by itself."""


@dataclass(frozen=True, slots=True)
class Record:
    """One event, as it stands in the log. Members that an event doesn't have are not in its bytes."""

    id: uuid.UUID
    log: uuid.UUID | None
    """Whose log: a tenant's, or None for the platform's."""
    type: str
    version: int
    at_ms: int
    """Milliseconds since 1970."""
    actor: str
    """`user:ID`, `service:NAME`, `operator:NAME`, `system:DUTY` or `anonymous`."""
    request_id: str
    outcome: str
    about: Mapping[str, Fact]
    """Whom and what it is about: `user_id`, `session_id`, `role`, `kid`, … and `reason`. `on_behalf_of`: as whom the
    actor acted."""
    old: Mapping[str, Fact] | None
    new: Mapping[str, Fact] | None
    personal: str | None
    """The commitment to what is personal, if anything is."""

    def encode(self) -> bytes:
        """JSON, always the same bytes for the same record."""
        members: dict[str, Any] = {
            "form": FORM,
            "id": str(self.id),
            "log": PLATFORM if self.log is None else str(self.log),
            "type": self.type,
            "version": self.version,
            "at": self.at_ms,
            "actor": self.actor,
            "request": self.request_id,
            "outcome": self.outcome,
            "about": dict(self.about),
            "old": self.old,
            "new": self.new,
            "personal": self.personal,
        }
        kept = {name: value for name, value in members.items() if value is not None or name == "personal"}
        return msgspec.json.encode(kept)


class _Form(msgspec.Struct, forbid_unknown_fields=True):
    form: int
    id: uuid.UUID
    log: str
    type: str
    version: int
    at: Moment
    actor: str
    request: str
    outcome: str
    about: dict[str, Any]
    old: dict[str, Any] | None = None
    new: dict[str, Any] | None = None
    personal: str | None = None


_decoder = msgspec.json.Decoder(_Form)
_LEVELS: Final = 4
"""More than anything has that we record. What writes records out again goes down into them, and not for ever."""


def _is_shallow(value: object, levels: int = _LEVELS) -> bool:
    match value:
        case dict():
            return levels > 0 and all(_is_shallow(part, levels - 1) for part in value.values())
        case list():
            return levels > 0 and all(_is_shallow(part, levels - 1) for part in value)
        case _:
            return True


def decode(data: bytes) -> Record:
    """The record that these bytes are. Raises ValueError: they are none."""
    try:
        form = _decoder.decode(data)
        log = None if form.log == PLATFORM else uuid.UUID(form.log)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ValueError(f"not a record of the audit log: {error}") from None
    if not all(map(_is_shallow, (form.about, form.old, form.new))):
        raise ValueError("not a record of the audit log: lists in lists in lists")
    if _NO_TEXT in form.type + form.actor + form.outcome:
        raise ValueError("not a record of the audit log: a letter that no column takes")
    if form.form != FORM:
        raise ValueError(f"a record of form {form.form}, which this version can't read")
    return Record(
        id=form.id,
        log=log,
        type=form.type,
        version=form.version,
        at_ms=form.at,
        actor=form.actor,
        request_id=form.request,
        outcome=form.outcome,
        about=form.about,
        old=form.old,
        new=form.new,
        personal=form.personal,
    )


@dataclass(frozen=True, slots=True)
class Indexed:
    """What of a record the log can be searched by."""

    type: str
    at_ms: int
    actor: str
    user_id: uuid.UUID | None
    outcome: str


class _About(msgspec.Struct):
    user_id: uuid.UUID | None = None


class _Index(msgspec.Struct):
    type: str
    at: Moment
    actor: str
    outcome: str
    about: _About


_index_decoder = msgspec.json.Decoder(_Index)
_NO_TEXT: Final = "\0"
"""What PostgreSQL has no text with."""
UNREADABLE: Final = Indexed("unreadable", 0, "-", None, "-")
"""Of what stands in the inbox and is no record of ours. It gets a position: whoever put it there is found."""


def index(data: bytes) -> Indexed:
    """What a record is found by. Never fails, and says nothing that a column does not take.

    One that did would hold up its log, and those of all others with it.
    """
    try:
        found = _index_decoder.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return UNREADABLE
    if _NO_TEXT in found.type + found.actor + found.outcome:
        return UNREADABLE
    return Indexed(found.type, found.at, found.actor, found.about.user_id, found.outcome)


def actor_of(trace: Trace) -> str:
    """Who has done it, as far as that is known."""
    if trace.actor_id is not None:
        return f"user:{trace.actor_id}"
    if trace.service is not None:
        return f"service:{trace.service}"
    if trace.request_id == "console":
        return f"operator:{trace.operator or '-'}"
    return f"system:{trace.request_id}" if trace.request_id in DUTIES else "anonymous"


def about(event: Event, log: uuid.UUID | None) -> dict[str, Fact]:
    """What an event names, without the tenant whose log it stands in."""
    found = {name: str(value) if isinstance(value, uuid.UUID) else value for name, value in event.named()}
    if event.trace.on_behalf_of is not None:
        found["on_behalf_of"] = str(event.trace.on_behalf_of)
    if log is not None:
        found.pop("tenant_id", None)
    return found


def personal_of(event: Event) -> dict[str, str]:
    """What is personal in an event: values that it brings, and where it came from."""
    address = {} if event.trace.address == "-" else {"address": event.trace.address}
    return address | dict(event.personal or {})


@dataclass(frozen=True, slots=True)
class Pending:
    """An event that has been committed and has no position yet. What is personal is sealed."""

    id: uuid.UUID
    record: bytes
    sealed: Sealed | None
