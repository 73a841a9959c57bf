"""What is read from a log: an event with what is personal in it, as far as that still exists. Pure."""

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import msgspec

from payymo.audit.commitments import SALT_BYTES, is_committed
from payymo.audit.model import PLATFORM, UNREADABLE, Record, decode, index
from payymo.events import CATALOGUE
from payymo.logs import Fact, Outcome

WHENCE: Final = frozenset({"address", "user_agent"})
"""What is personal of whoever did it, and not of whom it was done to."""
QUIET: Final = ("session.refresh", "user.password-rehashed")
"""What a user is not told of in their own activity as long as it succeeds: it happens by itself, all day."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Which events: those that meet every condition that is given. Times are milliseconds since 1970."""

    actor: str | None = None
    type: str | None = None
    """A type; or what types begin with, up to and with the dot: `session.`."""
    user_id: uuid.UUID | None = None
    """Whom it is about."""
    outcome: Outcome | None = None
    since_ms: int | None = None
    before_ms: int | None = None
    without_quiet: bool = False

    @property
    def types(self) -> tuple[str, ...] | None:
        """The types that are meant; None: all of them."""
        if self.type is None or not self.type.endswith("."):
            return None if self.type is None else (self.type,)
        return tuple(name for name in CATALOGUE if name.startswith(self.type))

    def fingerprint(self, *, newest_first: bool) -> str:
        """What a place in a list of these events, in this order, is bound to."""
        members = {**asdict(self), "newest_first": newest_first}
        return hashlib.sha256(msgspec.json.encode(members, order="sorted")).hexdigest()


@dataclass(frozen=True, slots=True)
class Entry:
    """An event at its position.

    `is_erased`: it had something personal, which nobody can read any more. `is_damaged`: the record can't be read, or
    what is personal is not what it commits to.
    """

    position: int
    id: uuid.UUID
    data: bytes
    """The record, as it was hashed."""
    record: Record
    personal: Mapping[str, str] | None
    is_erased: bool = False
    is_damaged: bool = False

    @property
    def user_id(self) -> uuid.UUID | None:
        """Whom it is about, if it is about a user."""
        return index(self.data).user_id

    def facts(self) -> dict[str, Any]:
        """For people and programs: JSON, when identifiers are written as text."""
        found, log = self.record, self.record.log
        return {
            "position": self.position,
            "id": str(self.id),
            "log": PLATFORM if log is None else str(log),
            "type": found.type,
            "version": found.version,
            "at": found.at_ms,
            "actor": found.actor,
            "request_id": found.request_id,
            "outcome": found.outcome,
            "about": dict(found.about),
            "old": found.old,
            "new": found.new,
            "personal": self.personal,
            "erased": self.is_erased,
            "damaged": self.is_damaged,
        }


def read_entry(position: int, event_id: uuid.UUID, data: bytes, opened: bytes | None, *, is_lost: bool) -> Entry:
    """The event that these bytes are. `opened`: salt and payload; `is_lost`: they are there, and don't open."""
    try:
        record = decode(data)
        commitment = bytes.fromhex(record.personal or "")
    except ValueError:
        broken = Record(event_id, None, UNREADABLE.type, 1, 0, "-", "-", "-", {}, None, None, None)
        return Entry(position, event_id, data, broken, None, is_damaged=True)
    entry = Entry(position, event_id, data, record, None, is_damaged=is_lost or record.id != event_id)
    if opened is None:
        return replace(entry, is_erased=bool(commitment) and not is_lost)
    salt, payload = opened[:SALT_BYTES], opened[SALT_BYTES:]
    if not is_committed(commitment, salt, payload):
        return replace(entry, is_damaged=True)
    return replace(entry, personal=msgspec.json.decode(payload, type=dict[str, str]))


def shown_to(entry: Entry, user_id: uuid.UUID) -> Mapping[str, Fact] | None:
    """What is personal in an event, and this user's own.

    Not from where an administrator changed something of theirs, and not the names of somebody whom they changed.
    """
    if entry.personal is None:
        return None
    is_own_act = entry.record.actor == f"user:{user_id}"
    is_about_them = entry.user_id in {user_id, None} if is_own_act else entry.user_id == user_id
    is_nobodys = entry.record.actor == "anonymous" and is_about_them
    own = {name for name in entry.personal if (is_own_act or is_nobodys if name in WHENCE else is_about_them)}
    return {name: value for name, value in entry.personal.items() if name in own}
