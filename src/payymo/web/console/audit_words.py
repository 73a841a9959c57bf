"""Events of a log in words for who runs a tenant or the platform: what each tells, with nothing left out."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from payymo.audit.entries import Entry
from payymo.audit.model import PLATFORM
from payymo.events import CATALOGUE
from payymo.logs import Fact
from payymo.phrases import Phrase

OUTCOMES: Final = {"success": Phrase("succeeded"), "refused": Phrase("refused"), "error": Phrase("failed")}
_DOERS: Final = {
    "user": Phrase("User"),
    "service": Phrase("Service credential"),
    "operator": Phrase("Operator at the command line:"),
    "system": Phrase("The service by itself:"),
}
_RECORDED: Final = tuple(name for name, kind in CATALOGUE.items() if kind.is_recorded)
FAMILIES: Final = tuple(dict.fromkeys(f"{name.partition('.')[0]}." for name in _RECORDED))
ALL: Final = ("", Phrase("All"))
TYPE_CHOICES: Final = (ALL, *((name, f"{name}*") for name in FAMILIES), *((name, name) for name in _RECORDED))
OUTCOME_CHOICES: Final = (ALL, *OUTCOMES.items())


@dataclass(frozen=True, slots=True)
class Row:
    """An event in the list. `at`: seconds since 1970."""

    id: str
    type: str
    at: float
    doer: str
    outcome: str
    is_good: bool


@dataclass(frozen=True, slots=True)
class Change:
    """What was, and what is from now on."""

    name: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Story:
    """Everything in an event. `raw`: the record as the log commits to it, a member a line."""

    row: Row
    position: int
    log: str
    meaning: str
    version: int
    actor: str
    request_id: str
    about: tuple[tuple[str, str], ...]
    changes: tuple[Change, ...]
    personal: tuple[tuple[str, str], ...]
    is_erased: bool
    is_damaged: bool
    raw: str


def row_of(entry: Entry) -> Row:
    """The event in a line."""
    record = entry.record
    is_good, outcome = record.outcome == "success", OUTCOMES.get(record.outcome, record.outcome)
    return Row(str(entry.id), record.type, record.at_ms / 1000, doer_of(record.actor), outcome, is_good)


def story_of(entry: Entry) -> Story:
    """The event with all that is in it."""
    record = entry.record
    known = CATALOGUE.get(record.type)
    old, new = record.old or {}, record.new or {}
    names = dict.fromkeys([*old, *new])
    return Story(
        row=row_of(entry),
        position=entry.position,
        log=PLATFORM if record.log is None else str(record.log),
        meaning="A type of event that this version does not know." if known is None else f"{_sentence(known.when)}.",
        version=record.version,
        actor=record.actor,
        request_id=record.request_id,
        about=tuple(_spell(record.about.items())),
        changes=tuple(Change(_name(name), text_of(old.get(name)), text_of(new.get(name))) for name in names),
        personal=tuple(_spell((entry.personal or {}).items())),
        is_erased=entry.is_erased,
        is_damaged=entry.is_damaged,
        raw=_pretty(entry.data),
    )


def doer_of(actor: str) -> str:
    """Who has done it."""
    kind, _, name = actor.partition(":")
    known = _DOERS.get(kind)
    return Phrase("Somebody who was not signed in") if known is None else Phrase.joined((known, name))


def text_of(value: Fact | Mapping[str, Fact]) -> str:
    """A value, as people write it."""
    match value:
        case None:
            return "-"
        case bool():
            return Phrase("yes") if value else Phrase("no")
        case str() | int():
            return str(value)
        case Mapping():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return ", ".join(map(str, value)) or Phrase("none")


def _spell(members: Iterable[tuple[str, Fact]]) -> Iterator[tuple[str, str]]:
    return ((_name(name), text_of(value)) for name, value in members)


def _name(member: str) -> str:
    return _sentence(member.replace("_", " ").removesuffix(" id"))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _pretty(data: bytes) -> str:
    """The same record, to be read. What is no JSON is shown as it is."""
    try:
        return json.dumps(json.loads(data), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return data.decode(errors="backslashreplace")
