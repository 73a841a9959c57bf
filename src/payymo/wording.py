"""How each language writes sentences, times and numbers, for pages and letters.

The language is the present one while something is written: `speaking`. A catalogue is compiled from its text once in a
process, so that there is nothing beside it that could be of yesterday.
"""

import gettext
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Final

from babel import Locale
from babel.dates import format_date, format_time
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from babel.units import format_unit

from payymo.languages import ENGLISH, code_of, list_codes, read_catalogue
from payymo.phrases import Phrase

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
def list_languages() -> Mapping[str, Language]:
    """Every language there is, by its code."""
    english, *others = list_codes()
    found = {english: make_language(english, gettext.NullTranslations())}
    return found | {code: make_language(code, _compile(read_catalogue(code))) for code in others}


def _compile(text: bytes) -> gettext.GNUTranslations:
    compiled = io.BytesIO()
    write_mo(compiled, read_po(io.BytesIO(text)))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def language_of(*wishes: str | None) -> Language:
    """The language of the first of these codes that there is, else English."""
    return list_languages()[code_of(*wishes)]


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
