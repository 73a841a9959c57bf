"""Whether rows of a log say what was recorded: the record can be read, is of this log, and the columns repeat it. Pure.

Each row costs two microseconds. Only what the columns repeat is decoded; the tree speaks for the rest.
"""

from collections.abc import Iterator, Sequence

import msgspec

from payymo.audit.findings import Finding
from payymo.audit.model import FORM
from payymo.audit.pages import Row


class _About(msgspec.Struct, gc=False):
    user_id: str | None = None


class Repeated(msgspec.Struct, gc=False):
    """What the columns repeat of a record; and its commitment, if there is one."""

    form: int
    id: str
    log: str
    type: str
    at: int
    actor: str
    about: _About
    personal: str | None = None


_decode = msgspec.json.Decoder(Repeated).decode
COLUMNS = ("id", "type", "at", "actor", "user_id")


def read_forms(rows: Sequence[Row]) -> list[Repeated | None]:
    """What the records say; None for what is no record of ours."""
    try:
        return [_decode(row[1]) for row in rows]
    except (msgspec.DecodeError, ValueError):
        return [_read(row[1]) for row in rows]


def check_rows(rows: Sequence[Row], forms: Sequence[Repeated | None], log: str) -> Iterator[Finding]:
    """The first row whose record can't be read, and the first whose columns say something else."""
    if None not in forms:
        told = [(form.id, form.type, form.at, form.actor, form.about.user_id) for form in forms if form]
        if told == [tuple(row[2:]) for row in rows] and {(form.form, form.log) for form in forms if form} <= {
            (FORM, log)
        }:
            return
    seen: set[str] = set()
    for row, form in zip(rows, forms, strict=True):
        finding = _check(Row(*row), form, log)
        if finding is not None and finding.kind not in seen:
            seen.add(finding.kind)
            yield finding


def _check(row: Row, form: Repeated | None, log: str) -> Finding | None:
    at = row.position
    if form is None or form.form != FORM:
        return Finding("unreadable", at, at, "no record that this version can read")
    if form.log != log:
        return Finding("columns", at, at, "the record says that it is of another log")
    said = (form.id, form.type, form.at, form.actor, form.about.user_id)
    stored = (row.id, row.type, row.at, row.actor, row.user_id)
    differing = [name for name, one, other in zip(COLUMNS, said, stored, strict=True) if _plain(one) != _plain(other)]
    if not differing:
        return None
    return Finding("columns", at, at, f"not what was recorded, where one searches: {', '.join(differing)}")


def _plain(value: str | int | None) -> str | int | None:
    """SQLite writes identifiers without dashes."""
    return value.replace("-", "") if isinstance(value, str) else value


def _read(record: bytes) -> Repeated | None:
    try:
        return _decode(record)
    except (msgspec.DecodeError, ValueError):
        return None
