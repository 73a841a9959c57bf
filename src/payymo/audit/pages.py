"""SQL for who reads a log in pages, to check it: all of it, quickly, and as it is stored."""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa

from payymo.audit.merkle import HASH_BYTES, TILE_BYTES, TILE_WIDTH
from payymo.audit.model import REMOVED, decode
from payymo.audit.store import place_of
from payymo.db.schema import PLATFORM_LOG
from payymo.db.schema import audit_checkpoints as k
from payymo.db.schema import audit_events as e
from payymo.db.schema import audit_inbox as i
from payymo.db.schema import audit_logs as g
from payymo.db.schema import audit_payloads as p
from payymo.db.schema import audit_tiles as t
from payymo.db.work import Transaction
from payymo.sealed import Sealed, SealedRow

_OF = sa.bindparam("of_log", type_=sa.Uuid())
_BEGIN, _END = sa.bindparam("begin", type_=sa.BigInteger()), sa.bindparam("until", type_=sa.BigInteger())


def _of(table: sa.Table, column: Any) -> Any:
    return sa.select(column).where(table.c.tenant_id == _OF)


_LOGS = (
    sa.select(g.c.tenant_id)
    .union(sa.select(k.c.tenant_id), sa.select(t.c.tenant_id).where(t.c.level == 0, t.c.position == 0))
    .order_by("tenant_id")
)
_STATE = sa.select(
    _of(g, g.c.size).scalar_subquery(),
    _of(g, g.c.root).scalar_subquery(),
    _of(g, g.c.first).scalar_subquery(),
    _of(e, sa.func.max(e.c.position)).scalar_subquery(),
    _of(k, sa.func.max(k.c.size)).scalar_subquery(),
    _of(i, sa.func.count(i.c.seq)).scalar_subquery(),
)
"""In one statement, so that all of it is of one moment."""
_EVENTS = (
    sa.select(
        e.c.position,
        sa.cast(e.c.record, sa.LargeBinary()).label("record"),  # on SQLite anything may stand there
        sa.cast(e.c.id, sa.Text()).label("id"),
        e.c.type,
        e.c.at,
        e.c.actor,
        sa.cast(e.c.user_id, sa.Text()).label("user_id"),
    )
    .where(e.c.tenant_id == _OF, e.c.position >= _BEGIN, e.c.position < _END)
    .order_by(e.c.position)
)
_ROW = (
    sa.select(t.c.position, t.c.hashes)
    .where(t.c.tenant_id == _OF, t.c.level == 0, t.c.position >= _BEGIN, t.c.position <= _END)
    .order_by(t.c.position)
)
_CHECKPOINTS = (
    sa.select(k.c.size, k.c.note)
    .where(k.c.tenant_id == _OF, k.c.size > _BEGIN, k.c.size <= _END)
    .order_by(k.c.size)
    .limit(sa.bindparam("count"))
)
_PAYLOADS = (
    sa.select(p.c.id, p.c.sealed, p.c.data_key_id)
    .join(e, sa.and_(e.c.tenant_id == p.c.tenant_id, e.c.id == p.c.id))
    .where(p.c.tenant_id == _OF, e.c.position >= _BEGIN, e.c.position < _END)
)
_EVENT = (
    sa.select(e.c.position, e.c.record, p.c.sealed, p.c.data_key_id)
    .outerjoin(p, sa.and_(p.c.tenant_id == e.c.tenant_id, p.c.id == e.c.id))
    .where(e.c.tenant_id == _OF, e.c.id == sa.bindparam("of_id", type_=sa.Uuid()))
    .order_by(e.c.position)
    .limit(1)
)
_IS_PLATFORM = g.c.tenant_id == PLATFORM_LOG
_SIGNED = sa.select(sa.func.max(k.c.size)).where(k.c.tenant_id == g.c.tenant_id).correlate(g).scalar_subquery()
_STANDING = sa.select(
    sa.func.coalesce(sa.func.sum(sa.case((_IS_PLATFORM, g.c.size), else_=0)), 0),
    sa.func.coalesce(sa.func.sum(sa.case((_IS_PLATFORM, 0), else_=g.c.size)), 0),
    sa.func.coalesce(sa.func.sum(g.c.size - sa.func.coalesce(_SIGNED, 0)), 0),
    sa.func.count(g.c.damaged_at),
    sa.select(sa.func.count(i.c.seq)).scalar_subquery(),
    sa.select(sa.func.max(k.c.created_at)).scalar_subquery(),
)
_OLDEST_WAITING = sa.select(i.c.record).order_by(i.c.seq).limit(1)
_REMOVED = sa.select(e.c.record).where(e.c.tenant_id == _OF, e.c.type == REMOVED).order_by(e.c.position.desc()).limit(1)
_WAITING = sa.select(i.c.record).where(i.c.tenant_id == _OF)
_FROM_ID, _TO_ID = sa.bindparam("from_id", type_=sa.Uuid()), sa.bindparam("to_id", type_=sa.Uuid())
_ID_TWICE = (  # all in the index: positions are not
    sa.select(e.c.id)
    .where(e.c.tenant_id == _OF, e.c.id >= _FROM_ID, e.c.id <= _TO_ID)
    .group_by(e.c.id)
    .having(sa.func.count() > 1)
    .limit(1)
    .scalar_subquery()
)
_TWICE = sa.select(sa.func.min(e.c.position), sa.func.max(e.c.position)).where(
    e.c.tenant_id == _OF, e.c.id == _ID_TWICE
)
IDS_AT_ONCE: Final = 100_000


class Page(NamedTuple):
    """Events as they are stored, column by column. Identifiers are texts, as the database writes them."""

    positions: list[int]
    records: list[bytes]
    ids: list[str]
    types: list[str]
    ats: list[int]
    actors: list[str]
    user_ids: list[str | None]

    def blocks(self, size: int) -> "Iterator[Page]":
        """The same events, so many at a time."""
        for at in range(0, len(self.records), size):
            block: list[Any] = [column[at : at + size] for column in self]
            yield Page(*block)


@dataclass(frozen=True, slots=True)
class State:
    """Where a log ends, by everything that says so."""

    size: int
    root: bytes | None
    """None: there is no head."""
    first: int
    end: int
    """Behind the last event that is there."""
    signed: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How all logs stand together. Moments in seconds since 1970; None: there is nothing."""

    platform: int
    tenants: int
    unsigned: int
    damaged: int
    waiting: int
    signed_at: int | None
    oldest_at: int | None
    """When the oldest event happened that waits for a position."""


def read_standing(tx: Transaction) -> Standing:
    """How all logs stand."""
    platform, tenants, unsigned, damaged, waiting, signed_at = tx.execute(_STANDING).one()
    oldest = tx.execute(_OLDEST_WAITING).scalar()
    counts = (int(platform), int(tenants), max(0, int(unsigned)), damaged, waiting)
    return Standing(*counts, signed_at, None if oldest is None else _moment_of(bytes(oldest)))


class _Removed(msgspec.Struct):
    type: str
    new: dict[str, Any] = {}


def _end_of_removed(record: bytes) -> int:
    try:
        found = msgspec.json.decode(record, type=_Removed)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return 0
    end = found.new.get("to")
    return end if found.type == REMOVED and isinstance(end, int) else 0


def _moment_of(record: bytes) -> int | None:
    try:
        return decode(record).at_ms // 1000
    except ValueError:
        return None


def list_logs(tx: Transaction) -> Sequence[uuid.UUID]:
    """Whose logs have left any trace; the platform's has the smallest id."""
    return tx.execute(_LOGS).scalars().all()


def read_state(tx: Transaction, log: uuid.UUID) -> State:
    """Where the log ends now."""
    size, root, first, last, signed, waiting = tx.execute(_STATE, {"of_log": log}).one()
    found = None if root is None else bytes(root)
    return State(size or 0, found, first or 0, 0 if last is None else last + 1, signed or 0, waiting)


def read_events(tx: Transaction, log: uuid.UUID, begin: int, end: int) -> Page:
    """Events at positions from `begin` up to `end`, in their order."""
    return Page(*tx.read_columns(_EVENTS, of_log=log, begin=begin, until=end))


def read_beginning(tx: Transaction, log: uuid.UUID) -> int:
    """Where a log begins by its own word: the end of what was last removed by age; 0, if nothing was."""
    records = [*tx.execute(_WAITING, {"of_log": log}).scalars(), *tx.execute(_REMOVED, {"of_log": log}).scalars()]
    return max((_end_of_removed(bytes(record)) for record in records), default=0)


def read_row(tx: Transaction, log: uuid.UUID, begin: int, end: int) -> bytes:
    """Leaf hashes from `begin` up to `end` as the tiles have them; behind the first tile that is damaged, nothing."""
    first, last = begin // TILE_WIDTH, (end - 1) // TILE_WIDTH
    rows = tx.execute(_ROW, {"of_log": log, "begin": first, "until": last})
    tiles = {row.position: row.hashes for row in rows}
    found = bytearray()
    for position in range(first, last + 1):
        hashes = bytes(tiles.get(position, b""))
        found += hashes
        if len(hashes) != TILE_BYTES:
            break
    begin, end = begin - first * TILE_WIDTH, end - first * TILE_WIDTH
    return bytes(found[begin * HASH_BYTES : end * HASH_BYTES])


def list_checkpoints(tx: Transaction, log: uuid.UUID, begin: int, end: int, *, count: int) -> list[tuple[int, str]]:
    """Signed heads of sizes above `begin`, up to `end`; the smallest first, `count` at most."""
    rows = tx.execute(_CHECKPOINTS, {"of_log": log, "begin": begin, "until": end, "count": count})
    return [(row.size, row.note) for row in rows]


def read_payloads(tx: Transaction, log: uuid.UUID, begin: int, end: int) -> dict[str, SealedRow]:
    """What is personal in events at these positions, sealed, by the identifier of the event in hexadecimal digits."""
    rows = tx.execute(_PAYLOADS, {"of_log": log, "begin": begin, "until": end})
    return {
        row.id.hex: SealedRow((row.id,), place_of(row.id), Sealed(bytes(row.sealed), row.data_key_id)) for row in rows
    }


def find_duplicate(tx: Transaction, log: uuid.UUID, part: int, parts: int) -> tuple[int, int] | None:
    """The positions of an identifier that two events have, in a part of all identifiers; `parts` is a power of two."""
    width = 2**128 // parts
    bounds = {"from_id": uuid.UUID(int=part * width), "to_id": uuid.UUID(int=(part + 1) * width - 1)}
    first, last = tx.execute(_TWICE, {"of_log": log} | bounds).one()
    return None if first is None else (first, last)


def find_event(tx: Transaction, log: uuid.UUID, event_id: uuid.UUID) -> tuple[int, bytes, SealedRow | None] | None:
    """The position and the record of an event, and what is personal in it, sealed, unless that was erased."""
    row = tx.execute(_EVENT, {"of_log": log, "of_id": event_id}).first()
    if row is None:
        return None
    sealed = None if row.sealed is None else Sealed(bytes(row.sealed), row.data_key_id)
    place = None if sealed is None else SealedRow((event_id,), place_of(event_id), sealed)
    return row.position, bytes(row.record), place
