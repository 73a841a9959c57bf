"""Whether rows of a log say what was recorded: the record can be read, is of this log, and the columns repeat it. Pure.

Each row costs a microsecond, column by column. Only what the columns repeat is decoded; the tree speaks for the rest.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from payymo.audit.findings import Finding
from payymo.audit.model import FORM, Moment
from payymo.audit.pages import Page


class _About(msgspec.Struct, gc=False):
    user_id: str | None = None


class Repeated(msgspec.Struct, gc=False):
    """What the columns repeat of a record; and its commitment, if there is one."""

    form: int
    id: str
    log: str
    type: str
    at: Moment
    actor: str
    about: _About
    personal: str | None = None


_decode = msgspec.json.Decoder(Repeated).decode
BLOCK: Final = 512
"""So many records, and what is read of them, stay in the cache of a core: columns are gone through many times."""
COLUMNS = ("id", "type", "at", "actor", "user_id")


def read_forms(page: Page) -> list[Repeated | None]:
    """What the records say; None for what is no record of ours."""
    try:
        return list(map(_decode, page.records))
    except (msgspec.DecodeError, ValueError, RecursionError):
        return [_read(record) for record in page.records]


def check_rows(page: Page, log: str) -> Iterator[Finding]:
    """The first row whose record can't be read, and the first whose columns say something else."""
    seen: set[str] = set()
    for block in page.blocks(BLOCK):
        forms = read_forms(block)
        if _are_as_recorded(block, [form for form in forms if form], log):
            continue
        for position, form, *stored in zip(block.positions, forms, *block[2:], strict=True):
            finding = _check(position, form, stored, log)
            if finding is not None and finding.kind not in seen:
                seen.add(finding.kind)
                yield finding


def _are_as_recorded(page: Page, forms: Sequence[Repeated], log: str) -> bool:
    """Whether there is nothing to find. It compares whole columns, to be quick."""
    count = len(page.records)
    return (
        [form.form for form in forms] == [FORM] * count
        and [form.log for form in forms] == [log] * count
        and [form.type for form in forms] == page.types
        and [form.at for form in forms] == page.ats
        and [form.actor for form in forms] == page.actors
        and _are_written([form.id for form in forms], page.ids)
        and _are_written([form.about.user_id for form in forms], page.user_ids)
    )


def _are_written(said: Sequence[str | None], stored: Sequence[str | None]) -> bool:
    """Whether these are the identifiers, with dashes or, as SQLite writes them, without."""
    return said == stored or [text and text.replace("-", "") for text in said] == stored


def _check(at: int, form: Repeated | None, stored: Sequence[Any], log: str) -> Finding | None:
    if form is None or form.form != FORM:
        return Finding("unreadable", at, at, "no record that this version can read")
    if form.log != log:
        return Finding("columns", at, at, "the record says that it is of another log")
    said = (form.id, form.type, form.at, form.actor, form.about.user_id)
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
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
