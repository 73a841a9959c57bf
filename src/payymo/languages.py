"""In which languages people are spoken to, and how each writes sentences, times and numbers: for pages and letters.

The language is the present one while something is written: `speaking`. A catalogue is compiled from its text once in a
process, so that there is nothing beside it that could be of yesterday.
"""

import gettext
import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib import resources
from typing import Final

from babel import Locale
from babel.dates import format_date, format_time
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from babel.units import format_unit

from payymo.phrases import Phrase

ENGLISH: Final = "en"
_FOLDER: Final = resources.files("payymo") / "translations"
_CATALOGUE: Final = "LC_MESSAGES/messages.po"
_LOCALES: Final = {ENGLISH: "en_GB"}
"""The day before the month, and 24 hours."""
_UNITS: Final = ((86_400, "day", 2), (3_600, "hour", 1), (60, "minute", 1), (1, "second", 0))
"""From how many on a time is said in a unit: a link is good for 24 hours, not for a day."""


@dataclass(frozen=True, slots=True)
class Language:
    """A language that pages and letters can be in. `name`: as it calls itself."""

    code: str
    name: str
    locale: Locale
    catalogue: gettext.NullTranslations


def make_language(code: str, catalogue: gettext.NullTranslations) -> Language:
    """The language of a code, told with this catalogue."""
    locale = Locale.parse(_LOCALES.get(code, code))
    return Language(code, Locale.parse(code).display_name or code, locale, catalogue)


@cache
def list_codes() -> tuple[str, ...]:
    """The code of every language there is: English, and each that has a catalogue. None is compiled for that."""
    return (ENGLISH, *sorted(folder.name for folder in _FOLDER.iterdir() if (folder / _CATALOGUE).is_file()))


@cache
def list_languages() -> Mapping[str, Language]:
    """Every language there is, by its code."""
    english, *others = list_codes()
    found = {english: make_language(english, gettext.NullTranslations())}
    return found | {code: make_language(code, _compile((_FOLDER / code / _CATALOGUE).read_bytes())) for code in others}


def _compile(text: bytes) -> gettext.GNUTranslations:
    compiled = io.BytesIO()
    write_mo(compiled, read_po(io.BytesIO(text)))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def first_known(tags: Iterable[str]) -> str | None:
    """The code of the first of these languages that there is, of any country (RFC 5646); None: there is none."""
    codes = (tag.partition("-")[0].lower() for tag in tags)
    return next((code for code in codes if code in list_codes()), None)


def language_of(*wishes: str | None) -> Language:
    """The first of these codes that is of a language, else English: one that there was may be gone."""
    known = (code for code in wishes if code is not None and code in list_codes())
    return list_languages()[next(known, ENGLISH)]


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody would rather read: a language that there is; None: nobody knows. `is_chosen`: by hand."""

    code: str | None = None
    is_chosen: bool = False

    def instead_of(self, kept: str | None) -> str | None:
        """What is to be remembered in the place of this; None: nothing else. A browser's wish makes up for none."""
        return self.code if self.code != kept and (self.is_chosen or kept is None) else None


NO_WISH: Final = Wish()
_PRESENT: Final[ContextVar[Language | None]] = ContextVar("payymo-language", default=None)


def present() -> Language:
    """The language of what is being written."""
    return _PRESENT.get() or list_languages()[ENGLISH]


@contextmanager
def speaking(language: Language) -> Iterator[None]:
    """Let this be the present language."""
    token = _PRESENT.set(language)
    try:
        yield
    finally:
        _PRESENT.reset(token)


def one(text: str) -> str:
    """A sentence, as the catalogue has it."""
    return present().catalogue.gettext(text)


def one_or_many(singular: str, plural: str, count: int) -> str:
    """The same by a number."""
    return present().catalogue.ngettext(singular, plural, count)


def say(text: object) -> object:
    """What is a sentence of ours in the present language; what is none, as it is."""
    if not isinstance(text, Phrase):
        return one(text) if isinstance(text, str) and text else text
    count = text.values.get("n")
    if text.many is not None and isinstance(count, int):
        pattern = one_or_many(text.template, text.many, count)
    else:
        pattern = one(text.template)
    values = {name: say_phrase(value) for name, value in text.values.items()}
    return pattern.format(**values) if values else pattern


def say_phrase(value: object) -> object:
    """The same, where what is no sentence may be anything: a name stays what it is."""
    return say(value) if isinstance(value, Phrase) else value


def moment(seconds: float) -> str:
    """A time for people, in UTC."""
    return _moment(present().locale, int(seconds), "short")


def clock_time(seconds: float) -> str:
    """A time of today for people, in UTC."""
    at = datetime.fromtimestamp(int(seconds), UTC)
    return f"{format_time(at, 'short', locale=present().locale)} UTC"


def exact_moment(seconds: float) -> str:
    """The same to the second."""
    return _moment(present().locale, int(seconds), "medium")


@lru_cache(maxsize=4096)
def _moment(locale: Locale, seconds: int, width: str) -> str:
    at = datetime.fromtimestamp(seconds, UTC)
    day = format_date(at, "medium", locale=locale)
    return f"{day}, {format_time(at, 'short' if width == 'short' else 'medium', locale=locale)} UTC"


def number(value: float) -> str:
    """A number for people."""
    return _number(present().locale, value)


@lru_cache(maxsize=1024)
def _number(locale: Locale, value: float) -> str:
    return format_decimal(value, locale=locale)


def duration(seconds: int) -> str:
    """How long, in the largest unit of which it is a whole number."""
    count, unit = largest_unit(seconds)
    return format_unit(count, f"duration-{unit}", locale=present().locale)


def largest_unit(seconds: int) -> tuple[int, str]:
    """How many of which unit."""
    unit, name = next((unit, name) for unit, name, least in _UNITS if not seconds % unit and seconds // unit >= least)
    return seconds // unit, name
