"""Which languages there are to speak to people in, and which of them somebody would rather read."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

ENGLISH: Final = "en"
_FOLDER: Final = resources.files("payymo") / "translations"
_CATALOGUE: Final = "LC_MESSAGES/messages.po"


@cache
def list_codes() -> tuple[str, ...]:
    """The code of every language there is: English, and each that has a catalogue. None is compiled for that."""
    return (ENGLISH, *sorted(folder.name for folder in _FOLDER.iterdir() if (folder / _CATALOGUE).is_file()))


def read_catalogue(code: str) -> bytes:
    """The text of the catalogue of a language other than English."""
    return (_FOLDER / code / _CATALOGUE).read_bytes()


def first_known(tags: Iterable[str]) -> str | None:
    """The code of the first of these languages that there is, of any country (RFC 5646); None: there is none."""
    codes = (tag.partition("-")[0].lower() for tag in tags)
    return next((code for code in codes if code in list_codes()), None)


def code_of(*wishes: str | None) -> str:
    """The first of these codes that is of a language, else English: one that there was may be gone."""
    return next((code for code in wishes if code is not None and code in list_codes()), ENGLISH)


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody would rather read: a language that there is; None: nobody knows. `is_chosen`: by hand."""

    code: str | None = None
    is_chosen: bool = False

    def instead_of(self, kept: str | None) -> str | None:
        """What is to be remembered in the place of this; None: nothing else. A browser's wish makes up for none."""
        return self.code if self.code != kept and (self.is_chosen or kept is None) else None


NO_WISH: Final = Wish()
