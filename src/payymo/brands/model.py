"""What a tenant's pages and mails look like, and what is acceptable in that. Pure."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from payymo.errors import FieldError, InvalidInput
from payymo.languages import list_codes
from payymo.phrases import Phrase

NAME_MAX: Final = 60
_ACCENT: Final = re.compile(r"#[0-9a-f]{6}")
_INVISIBLE: Final = frozenset(
    map(
        chr,
        (
            *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0),
            *range(0x180B, 0x1810),
            *range(0xFE00, 0xFE10),
            *range(0xE0100, 0xE01F0),
        ),
    )
)
"""What shows nothing though Unicode calls it letters, marks or signs: fillers, blanks, variation selectors."""


@dataclass(frozen=True, slots=True)
class Brand:
    """What a tenant is called and looks like. `accent`: `#rrggbb`, `logo`: a PNG's SHA-256; None: there is none.

    `language`: the code of that in which its letters are, to readers whose own is not known. It was one that there is.
    `name`: in NFC, without controls, formats (which turn the direction of what follows) and what shows nothing.
    """

    name: str
    accent: str | None = None
    logo: str | None = None
    language: str | None = None

    def __post_init__(self) -> None:
        """Raise InvalidInput when a member is not acceptable."""
        problems = [FieldError("/name", detail) for detail in _name_problems(self.name)]
        if self.accent is not None and not _ACCENT.fullmatch(self.accent):
            problems.append(FieldError("/accent", "a colour as # and six of 0-9 and a-f, such as #0b5d63"))
        if problems:
            raise InvalidInput(problems)


def brand_of(name: str, accent: str | None, language: str | None = None) -> Brand:
    """The brand that somebody has typed. Raises InvalidInput."""
    made = Brand(unicodedata.normalize("NFC", name).strip(" "), accent and accent.lower(), language=language)
    if language is not None and language not in list_codes():
        raise InvalidInput([FieldError("/language", "one of the languages that there are")])
    return made


def _name_problems(name: str) -> list[Phrase]:
    problems = []
    if not 1 <= len(name) <= NAME_MAX or name != name.strip():
        problems.append(Phrase("1 to {most} characters, without spaces around them", most=NAME_MAX))
    if not name.isprintable() or not _INVISIBLE.isdisjoint(name) or not unicodedata.is_normalized("NFC", name):
        problems.append(
            Phrase("leave out line breaks, and characters that can't be seen or that turn the direction of text")
        )
    return problems
