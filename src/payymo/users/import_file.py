"""Reads users from a file, one at a time: JSON lines or CSV. What is wrong with a line is said of that line alone."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, Final, Literal, TypeVar, get_args

from payymo.errors import InvalidInput
from payymo.roles.model import MEMBER
from payymo.users.hashes import scheme_of
from payymo.users.model import require_names
from payymo.users.stored_hash import HashRefused

Format = Literal["json", "csv"]
Status = Literal["active", "disabled"]
"""Who is imported is never `unverified`: that is for registration, and forgotten when no link is opened."""
T = TypeVar("T")
LONGEST_LINE: Final = 16 * 1024
TOO_LONG: Final = f"longer than {LONGEST_LINE} bytes"
REQUIRED: Final = ("email", "username", "password_hash")
OPTIONAL: Final = ("roles", "status")
MAX_ROLES: Final = 20


class LineRefused(ValueError):
    """A line that names no user whom we could take. The text says why and what to do, without the hash."""


@dataclass(frozen=True, slots=True, repr=False)
class Newcomer:
    """A user as another system had them. The keys are the names in the form in which they are compared."""

    email: str
    email_key: str
    username: str
    username_key: str
    password_hash: str
    scheme: str
    roles: tuple[str, ...]
    status: Status


@dataclass(frozen=True, slots=True, repr=False)
class Line:
    """A line of the file, as it stands there, and whom it names, or why nobody."""

    number: int
    text: bytes
    found: Newcomer | LineRefused


def read_lines(file: BinaryIO, form: Format) -> Iterator[Line]:
    """The lines, read as they are asked for; empty ones are left out.

    Raises InvalidInput: a CSV file whose first line does not name the columns.
    """
    return _read_json(file) if form == "json" else _read_csv(file)


def header_of(file: BinaryIO, form: Format) -> bytes:
    """What a file of rejected lines begins with."""
    return b"" if form == "json" else file.readline(LONGEST_LINE)


def _read_json(file: BinaryIO) -> Iterator[Line]:
    for number, text in _numbered(file):
        if text.strip():
            yield Line(number, text, _judged(partial(_from_json, text)))


def _read_csv(file: BinaryIO) -> Iterator[Line]:
    """A quoted field may hold line breaks: the number is that of the last line."""
    consumed: list[bytes] = []
    rows = csv.reader(_decoded(file, consumed), strict=True)
    try:
        columns = next(rows, [])
    except csv.Error:
        columns = []
    if not set(REQUIRED) <= set(columns) <= {*REQUIRED, *OPTIONAL} or len(set(columns)) != len(columns):
        names = ", ".join(REQUIRED)
        raise InvalidInput(detail=f"The first line has to name the columns: {names}, and maybe {', '.join(OPTIONAL)}.")
    consumed.clear()
    while True:
        found = _judged(partial(_next_row, rows, columns))
        if found is None:
            return
        if any(len(piece) > LONGEST_LINE for piece in consumed):
            found = LineRefused(TOO_LONG)
        text = b"".join(consumed)
        consumed.clear()
        if text.strip():
            yield Line(rows.line_num, text, found)


def _next_row(rows: Any, columns: Sequence[str]) -> Newcomer | None:
    """Whom the next row names; None at the end."""
    try:
        row = next(rows, None)
    except csv.Error as error:
        raise LineRefused(f"not CSV ({error}): put text with commas or quotes in double quotes") from None
    if row is None:
        return None
    if len(row) != len(columns):
        raise LineRefused(f"{len(row)} fields, and the first line names {len(columns)}")
    given: dict[str, Any] = {name: value for name, value in zip(columns, row, strict=True) if value or name in REQUIRED}
    if "roles" in given:
        given["roles"] = given["roles"].split()
    return _newcomer(given)


def _judged(find: Callable[[], T]) -> T | LineRefused:
    try:
        return find()
    except LineRefused as refused:
        return refused


def _numbered(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Every line, none of them longer than one byte over the longest: what is beyond it is read and thrown away."""
    number = 0
    while text := file.readline(LONGEST_LINE + 1):
        number += 1
        rest = text
        while len(rest) > LONGEST_LINE and not rest.endswith(b"\n"):
            rest = file.readline(LONGEST_LINE + 1) or b"\n"
        yield number, text


def _decoded(file: BinaryIO, consumed: list[bytes]) -> Iterator[str]:
    """The lines as text. What is not UTF-8 stays recognisable, and is then in no name and no hash that we take."""
    for number, text in _numbered(file):
        consumed.append(text)
        kept = b"\n" if len(text) > LONGEST_LINE else text
        yield kept.decode("utf-8-sig" if number == 1 else "utf-8", "surrogateescape")


def _from_json(text: bytes) -> Newcomer:
    return _newcomer(_object(text))


def _object(text: bytes) -> Mapping[str, Any]:
    if len(text) > LONGEST_LINE:
        raise LineRefused(TOO_LONG)
    try:
        found = json.loads(text.decode("utf-8-sig"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        reason = error if isinstance(error, LineRefused) else "not JSON: write one object per line, in UTF-8"
        raise LineRefused(str(reason)) from None
    if not isinstance(found, dict):
        raise LineRefused('write an object: {"email": …, "username": …, "password_hash": …}')
    return found


def _without_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise LineRefused("a member is there twice")
    return dict(pairs)


def _newcomer(given: Mapping[str, Any]) -> Newcomer:
    if unknown := set(given) - {*REQUIRED, *OPTIONAL}:
        raise LineRefused(f"unknown: {', '.join(sorted(unknown))}. Known are {', '.join((*REQUIRED, *OPTIONAL))}")
    for name in REQUIRED:
        if not isinstance(given.get(name), str):
            raise LineRefused(f"{name}: missing, or no text")
    roles, status = given.get("roles", [MEMBER]), given.get("status", "active")
    if not isinstance(roles, list) or len(roles) > MAX_ROLES or not all(isinstance(role, str) for role in roles):
        raise LineRefused(f"roles: at most {MAX_ROLES} names")
    if status not in get_args(Status):
        raise LineRefused("status: active or disabled")
    try:
        email_key, username_key = require_names(given["email"], given["username"])
        scheme = scheme_of(given["password_hash"])
    except InvalidInput as refused:
        problems = (f"{found.pointer.lstrip('/')}: {found.detail}" for found in refused.errors)
        raise LineRefused("; ".join(problems)) from None
    except HashRefused as refused:
        raise LineRefused(f"password_hash: {refused}") from None
    return Newcomer(
        email=given["email"],
        email_key=email_key,
        username=given["username"],
        username_key=username_key,
        password_hash=given["password_hash"],
        scheme=scheme,
        roles=tuple(roles),
        status=status,
    )
