"""Finds every sentence that pages show and letters say, and brings the catalogues up to date: `make translations`.

Templates mark theirs (`trans`, `_`). In Python it is what `Phrase` is made of, what refusals say, and their titles: of
the packages whose refusals get into pages. What a library says comes from its own list.
"""

import ast
import gettext
import io
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import zxcvbn_rs_py
from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import read_po, write_po

SOURCE = Path(__file__).parents[2] / "src" / "payymo"
TEMPLATES = SOURCE / "web" / "console" / "templates"
LETTERS = SOURCE / "mail" / "templates"
TRANSLATIONS = SOURCE / "translations"
PACKAGES = ("apikeys", "audit", "brands", "guards", "keys", "roles", "sessions", "tenants", "users", "web")
"""Where refusals come from that pages show, beside those of `payymo.errors`."""
APART = {"import_file.py", "proving.py"}
"""What only commands and the API say."""
REFUSALS = {
    *("NotFound", "Conflict", "InsufficientScope", "AlreadyTaken", "InvalidCredentials", "MalformedRequest"),
    *("UnsupportedMediaType", "Verdict"),
}
Message = str | tuple[str, str]


@cache
def find_messages() -> dict[Message, set[str]]:
    """Each message, one or (one, many), and in which files it stands."""
    found: dict[Message, set[str]] = {}
    for place, message in (*_in_templates(), *_in_python(), *_of_zxcvbn()):
        found.setdefault(message, set()).add(place)
    return found


def _in_templates() -> Iterator[tuple[str, Message]]:
    options = {
        "trimmed": "false",
        "silent": "false",
        "trim_blocks": "true",
        "lstrip_blocks": "true",
        "newstyle_gettext": "true",
    }
    for path in (*sorted(TEMPLATES.glob("*.html")), *sorted(LETTERS.glob("*.txt"))):
        told = extract("jinja2.ext:babel_extract", io.BytesIO(path.read_bytes()), options=options)
        for _line, message, _comments, _context in told:
            yield _place(path), message if isinstance(message, str) else (message[0], message[1])


def _in_python() -> Iterator[tuple[str, Message]]:
    paths = [SOURCE / "errors.py", *(path for name in PACKAGES for path in sorted((SOURCE / name).rglob("*.py")))]
    for path in paths:
        if path.name not in APART:
            for node in ast.walk(ast.parse(path.read_text())):
                for message in _of_node(node):
                    yield _place(path), message


def _of_node(node: ast.AST) -> Iterator[Message]:
    match node:
        case ast.Call(ast.Name("Phrase"), [ast.Constant(str(text)), *_]):
            yield text
        case ast.Call(ast.Attribute(ast.Name("Phrase"), "counted"), [ast.Constant(str(one)), ast.Constant(str(many))]):
            yield one, many
        case ast.Call(ast.Name("FieldError" | "Row"), [_, ast.Constant(str(text))]):
            yield text
        case ast.Call(ast.Name(name), [ast.Constant(str(text)), *_]) if name in REFUSALS:
            yield text
        case ast.Call(ast.Name(name), [ast.JoinedStr(), *_]) if name in REFUSALS:
            raise ValueError(f"line {node.lineno}: {name} says what no catalogue can know: make it a Phrase")
        case ast.Assign([ast.Name("default_detail")], ast.Constant(str(text))):
            yield text
        case ast.AnnAssign(ast.Name("default_detail"), _, ast.Constant(str(text))):
            yield text


def _of_zxcvbn() -> Iterator[tuple[str, Message]]:
    for kind in (zxcvbn_rs_py.Warning, zxcvbn_rs_py.Suggestion):
        for name in dir(kind):
            if name[0].isupper():
                yield "zxcvbn", str(getattr(kind, name))


def _place(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def template() -> Catalog:
    """All messages, in no language."""
    made = Catalog(project="Payymo", charset="utf-8", fuzzy=False)
    for message, places in find_messages().items():
        made.add(message, locations=[(place, 0) for place in sorted(places)])
    return made


def read_catalogue(path: Path) -> Catalog:
    """A catalogue from its file."""
    return read_po(io.BytesIO(path.read_bytes()))


def update(path: Path) -> tuple[int, int]:
    """Add what is new, take out what is gone. Answers how many messages there are, and how many have no translation."""
    catalogue = read_catalogue(path)
    catalogue.update(template(), no_fuzzy_matching=True, update_creation_date=False)
    catalogue.obsolete.clear()
    catalogue.creation_date = catalogue.revision_date = datetime(2026, 1, 1, tzinfo=UTC)  # or every run changes it
    with path.open("wb") as file:
        write_po(file, catalogue, width=120, include_lineno=False, sort_output=True)
    return len(catalogue), sum(1 for message in catalogue if message.id and not is_told(message.string))


def is_told(text: str | list[str] | tuple[str, ...]) -> bool:
    """Whether somebody has translated it, each form."""
    return bool(text) if isinstance(text, str) else bool(text) and all(text)


def forms(message: object) -> tuple[str, ...]:
    """A message's forms: of one, and of many."""
    return (message,) if isinstance(message, str) else tuple(message)  # type: ignore[arg-type]


class Pseudo(gettext.NullTranslations):
    """A language that says every message in brackets; what is to be found nowhere, without."""

    def __init__(self) -> None:
        super().__init__()
        self.known = {text for message in find_messages() for text in forms(message)}

    def gettext(self, message: str) -> str:
        """The message, in brackets."""
        return f"⟦{message}⟧" if message in self.known else message

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        """One of both."""
        return self.gettext(msgid1 if n == 1 else msgid2)


def without_brackets(text: str) -> str:
    """What is left of a text that was told so."""
    while (inner := re.sub(r"⟦[^⟦⟧]*⟧", " ", text)) != text:
        text = inner
    return text


def main() -> None:
    """Update every catalogue."""
    for path in sorted(TRANSLATIONS.glob("*/LC_MESSAGES/messages.po")):
        count, waiting = update(path)
        sys.stdout.write(f"{path.parents[1].name}: {count} messages, {waiting} without a translation.\n")


if __name__ == "__main__":
    main()
