"""What an endpoint is, what it is sent, and what comes of an attempt that failed. Pure.

Form and signature are those of Standard Webhooks (https://www.standardwebhooks.com).
"""

import base64
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec

from payymo.audit.model import PLATFORM, Record
from payymo.errors import FieldError
from payymo.events import CATALOGUE
from payymo.logs import Fact, Trace
from payymo.sealed import Sealed

ENDPOINTS_AT_MOST: Final = 20
"""Of a tenant, or of the platform."""
EVENTS_AT_MOST: Final = 100
DESCRIPTION_MAX: Final = 200
SECRET_BYTES: Final = 32
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - what secrets begin with
OVERLAP_SECONDS: Final = 86_400
OVERLAP_MAX: Final = 7 * 86_400
TEST: Final = "webhook.test"
"""The type of what `test` sends. It stands in no log."""
TRACE: Final = Trace(request_id="webhooks")
"""Where events come from that nobody has asked for: what follows from a delivery."""
CLAIM_SECONDS: Final = 120
"""For how long one process has an endpoint to itself. An attempt takes fifteen seconds, and what DNS needs."""
WAITING_AT_MOST: Final = 100
"""Events that wait for another attempt. With more, the endpoint reads no further: the log is the queue."""
WAITS: Final = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds before each further attempt: 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h; about three days."""
JITTER: Final = 0.2
"""A wait is longer by up to this share, so that what failed together does not come back together."""
WAITS_AT_MOST: Final = round(max(WAITS) * (1 + JITTER))
RESTS_AT_MOST: Final = max(WAITS)
"""For how long a receiver may want to be left alone: it is heard of again, whatever its clock says."""
SLOW_SECONDS: Final = 5.0
"""Whoever takes so long, and takes nothing, rests: a hundred events for one would hold a place for half an hour."""
SLOW_RESTS: Final = (15, 300)
"""Seconds at least and at most."""
_ASKS_TO_WAIT: Final = frozenset({429, 503})
_SECONDS: Final = re.compile("0*([0-9]+)", re.ASCII)
_DATES: Final = ("%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y")
"""RFC 9110 §5.6.7: what is sent today, and two that are to be understood."""
_TYPE: Final = re.compile(r"[a-z][a-z0-9-]*\.(?:[a-z][a-z0-9-]*)?")
_NAMED: Final = ("user_id", "role", "kid", "secret", "certificate", "service", "webhook", "apikey", "tenant_id")

Outcome = Literal["delivered", "delayed", "given-up"]
OUTCOMES: Final[tuple[Outcome, ...]] = ("delivered", "delayed", "given-up")


@dataclass(frozen=True, slots=True)
class Draft:
    """What is said of an endpoint when it is made, or changed."""

    url: str
    events: tuple[str, ...]
    """Types, or prefixes that end with a dot."""
    description: str = ""
    wants_personal: bool = False
    """Whether it gets what is personal in events, such as addresses."""
    certificate: str | None = None
    """The name of a certificate of the store that it is shown. The operator's to say."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where events of one log are sent. Times in seconds since 1970."""

    id: uuid.UUID
    url: str
    events: tuple[str, ...]
    description: str
    is_enabled: bool
    wants_personal: bool
    certificate: str | None
    created_at: int
    next_position: int
    """The position in its log that it reads next."""
    last_success_at: int | None = None
    failing_since: int | None = None
    """Since when it has taken nothing any more. None: the last attempt was a success, or there was none."""
    reason: str | None = None
    """Why the last attempt failed, or why it is disabled."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A sealed signing secret. `expires_at`: when it stops signing."""

    version: int
    sealed: Sealed = field(repr=False)
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event that an endpoint has not taken yet."""

    position: int
    event_id: uuid.UUID
    type: str
    subject: str
    attempts: int
    first_at: int
    """When it was to be sent first."""
    due_at: int
    given_up_at: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """What goes over the wire: the same bytes, under the same id, on each attempt. The signature is of the moment."""

    id: str
    type: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a receiver has not taken an event. `reason`: a code of our own. `is_gone`: it wants none any more (410)."""

    reason: str
    is_gone: bool = False
    not_before: int | None = None
    """When it wants to be spoken to again, in seconds since 1970. None: it has not said."""


REMOVED: Final = Failure("removed")
"""The event is no longer in the log."""


def draft_of(endpoint: Endpoint) -> Draft:
    """What is said of an endpoint."""
    return Draft(endpoint.url, endpoint.events, endpoint.description, endpoint.wants_personal, endpoint.certificate)


def facts_of(draft: Draft, origin: str) -> dict[str, Fact]:
    """What goes on record. Of the URL only where it leads: what stands behind it may be a password."""
    return {
        "origin": origin,
        "events": list(draft.events),
        "personal": draft.wants_personal,
        "certificate": draft.certificate,
    }


def problems_of(draft: Draft) -> list[FieldError]:
    """What is wrong with an endpoint, but for its URL."""
    found = []
    if not 1 <= len(draft.events) <= EVENTS_AT_MOST:
        found.append(FieldError("/events", f"1 to {EVENTS_AT_MOST} types of events"))
    for number, name in enumerate(draft.events):
        if not _TYPE.fullmatch(name) or not types_of([name]):
            known = "a type of event that is on record, such as session.login, or a prefix of such, such as session."
            found.append(FieldError(f"/events/{number}", known))
    if len(draft.description) > DESCRIPTION_MAX or not (draft.description or "-").isprintable():
        found.append(FieldError("/description", f"at most {DESCRIPTION_MAX} printable characters"))
    return found


def types_of(chosen: Iterable[str]) -> tuple[str, ...]:
    """The recorded types of events that names and prefixes stand for."""
    recorded = [name for name, kind in CATALOGUE.items() if kind.is_recorded]
    wanted = set(chosen)
    return tuple(name for name in recorded if name in wanted or f"{name.partition('.')[0]}." in wanted)


def subject_of(record: Record) -> str:
    """Whom or what an event is about. Events about the same are sent in their order."""
    named = (f"{name}:{record.about[name]}" for name in _NAMED if name in record.about)
    return next(named, record.type.partition(".")[0])


def message_of(record: Record, personal: Mapping[str, str] | None) -> Message:
    """The event as it is sent."""
    data: dict[str, Any] = {
        "id": str(record.id),
        "log": PLATFORM if record.log is None else str(record.log),
        "version": record.version,
        "actor": record.actor,
        "request_id": record.request_id,
        "outcome": record.outcome,
        "about": dict(record.about),
        "old": record.old,
        "new": record.new,
        "personal": None if personal is None else dict(personal),
    }
    present = {name: value for name, value in data.items() if value is not None}
    return _message(str(record.id), record.type, record.at_ms, present)


def trial_of(event_id: uuid.UUID, log: uuid.UUID | None, now: float) -> Message:
    """What `test` sends."""
    data = {"id": str(event_id), "log": PLATFORM if log is None else str(log)}
    return _message(str(event_id), TEST, int(now * 1000), data)


def _message(message_id: str, kind: str, at_ms: int, data: Mapping[str, Any]) -> Message:
    moment = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Message(message_id, kind, msgspec.json.encode({"type": kind, "timestamp": moment, "data": data}))


def secret_text(secret: bytes) -> str:
    """A signing secret as its owner is given it, once."""
    return SECRET_PREFIX + base64.b64encode(secret).decode()


def wait_seconds(attempts: int, share: float) -> int | None:
    """How long to wait after so many failed attempts; None: no longer. `share`, from 0 to 1, spreads it."""
    if attempts > len(WAITS):
        return None
    return round(WAITS[attempts - 1] * (1 + JITTER * share))


def not_before(status: int, retry_after: str | None, now: int) -> int | None:
    """When a receiver that answers so wants to be spoken to again, in seconds since 1970, a day from now at most.

    None: it has not said, or in no way that is one (RFC 9110 §10.2.3: seconds, or a date).
    """
    if status not in _ASKS_TO_WAIT or retry_after is None:
        return None
    asked = retry_after.strip(" \t")
    seconds = _SECONDS.fullmatch(asked)
    if seconds is not None:
        is_long = len(seconds[1]) > len(str(RESTS_AT_MOST))
        return now + (RESTS_AT_MOST if is_long else min(int(seconds[1]), RESTS_AT_MOST))
    moment = _read_date(asked)
    return None if moment is None else min(moment, now + RESTS_AT_MOST)


def _read_date(text: str) -> int | None:
    for form in _DATES:
        with suppress(ValueError):
            return int(datetime.strptime(text, form).replace(tzinfo=UTC).timestamp())
    return None


def after_slow(failure: Failure, endpoint: Endpoint, now: int) -> Failure:
    """The failure of a receiver that was slow: it rests as long as it has taken nothing by now, within limits."""
    shortest, longest = SLOW_RESTS
    failing = now - (now if endpoint.failing_since is None else endpoint.failing_since)
    rested_at = now + min(max(failing, shortest), longest)
    return replace(failure, not_before=max(rested_at, failure.not_before or 0))


def is_at_its_end(endpoint: Endpoint, delivery: Delivery) -> bool:
    """Whether an endpoint has taken nothing at all since this event, which is given up, was to be sent first.

    Then it is disabled. One that takes others has something against this one.
    """
    return endpoint.last_success_at is None or endpoint.last_success_at < delivery.first_at


def newest_first(secrets: Sequence[Secret], now: float) -> list[Secret]:
    """The secrets that sign now."""
    living = (secret for secret in secrets if secret.expires_at is None or now < secret.expires_at)
    return sorted(living, key=lambda secret: -secret.version)
