"""SQL for the audit tables."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from payymo.audit.merkle import TileDamaged
from payymo.audit.model import ACTOR_MAX, OUTCOME_MAX, TYPE_MAX, Pending, index
from payymo.db.closing import Value
from payymo.db.moments import has_come
from payymo.db.schema import PLATFORM_LOG, TENANT
from payymo.db.schema import audit_checkpoints as k
from payymo.db.schema import audit_events as e
from payymo.db.schema import audit_inbox as i
from payymo.db.schema import audit_logs as g
from payymo.db.schema import audit_payloads as p
from payymo.db.schema import audit_tiles as t
from payymo.db.work import Transaction
from payymo.sealed import Sealed, SealedRow

_INSERTS = (("postgresql", postgresql.insert), ("sqlite", sqlite.insert))
_OF = sa.bindparam("of_log", type_=sa.Uuid())
_WAITING = sa.select(i.c.tenant_id).distinct()
_BACKLOG = sa.select(sa.func.count()).select_from(i)
_FIRST = sa.select(i.c.seq).where(i.c.tenant_id == _OF).order_by(i.c.seq).limit(sa.bindparam("count")).scalar_subquery()
_TAKE = (
    sa.delete(i)
    .where(i.c.tenant_id == _OF, i.c.seq.in_(_FIRST))
    .returning(i.c.seq, i.c.id, i.c.record, i.c.sealed, i.c.data_key_id)
)
_BEGIN = {name: insert(g).on_conflict_do_nothing() for name, insert in _INSERTS}
_LOCK = sa.select(g.c.size, g.c.root, g.c.first).where(g.c.tenant_id == _OF).with_for_update()
_ADVANCE = (
    sa.update(g)
    .where(g.c.tenant_id == _OF)
    .values(
        size=sa.bindparam("new_size"),
        root=sa.bindparam("new_root"),
        integrated_at=sa.bindparam("now"),
        damaged_at=sa.null(),
    )
)
_MARK_DAMAGED = (
    sa.update(g).where(g.c.tenant_id == _OF, g.c.damaged_at.is_(None)).values(damaged_at=sa.bindparam("now"))
)
_ADD_EVENTS = sa.insert(e)
_ADD_PAYLOADS = {name: insert(p).on_conflict_do_nothing() for name, insert in _INSERTS}
_TILE = sa.select(t.c.hashes).where(
    t.c.tenant_id == _OF, t.c.level == sa.bindparam("of_level"), t.c.position == sa.bindparam("of_position")
)


def _putting(insert: Any) -> Any:
    made = insert(t)
    return made.on_conflict_do_update(
        index_elements=["tenant_id", "level", "position"], set_={"hashes": made.excluded.hashes}
    )


_PUT_TILES = {name: _putting(insert) for name, insert in _INSERTS}
_ADD_CHECKPOINT = {name: insert(k).on_conflict_do_nothing() for name, insert in _INSERTS}
_REPLACE_CHECKPOINT = (
    sa.update(k)
    .where(k.c.tenant_id == _OF, k.c.size == sa.bindparam("of_size"))
    .values(note=sa.bindparam("new_note"), created_at=sa.bindparam("now"))
)
_HEADS = sa.select(g.c.tenant_id, g.c.size, g.c.root)
_HEAD = _HEADS.where(g.c.tenant_id == _OF)
_SIGNED = sa.select(sa.func.max(k.c.size)).where(k.c.tenant_id == g.c.tenant_id).correlate(g).scalar_subquery()
_SIGNED_AT = (
    sa.select(k.c.created_at)
    .where(k.c.tenant_id == g.c.tenant_id)
    .order_by(k.c.size.desc())
    .limit(1)
    .correlate(g)
    .scalar_subquery()
)
_UNSIGNED = sa.select(g.c.tenant_id, g.c.size, g.c.root).where(
    g.c.size != sa.func.coalesce(_SIGNED, 0),
    has_come(sa.func.coalesce(_SIGNED_AT, 0), sa.bindparam("before", type_=sa.BigInteger()), longest_seconds=0),
)
_NEWEST_CHECKPOINT = (
    sa.select(k.c.size, k.c.note, k.c.created_at).where(k.c.tenant_id == _OF).order_by(k.c.size.desc()).limit(1)
)


@dataclass(frozen=True, slots=True)
class Head:
    """Where a log ends. `first`: the first position that has not been removed by age."""

    size: int
    root: bytes
    first: int


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A signed head, and when it was signed."""

    size: int
    note: str
    created_at: int


def place_of(event_id: uuid.UUID) -> tuple[str, str, str]:
    """Where what is personal in an event is sealed for, before and after it has a position."""
    return (p.name, event_id.hex, p.c.sealed.name)


def add(tx: Transaction, pending: Pending) -> None:
    """Step: put an event into the inbox, as the last thing that the transaction does."""
    row: dict[str, Value] = {
        "tenant_id": PLATFORM_LOG if tx.tenant_id is None else tx.tenant_id,
        "id": pending.id,
        "record": pending.record,
        "sealed": None if pending.sealed is None else pending.sealed.data,
        "data_key_id": None if pending.sealed is None else pending.sealed.data_key_id,
    }
    tx.write_last(i, row)


# ── for the sequencer: platform work ─────────────────────────────────────────────────────────────────────────────────


def list_waiting(tx: Transaction) -> Sequence[uuid.UUID]:
    """Whose logs have events in the inbox."""
    return tx.execute(_WAITING).scalars().all()


def count_waiting(tx: Transaction) -> int:
    """How many events have no position yet."""
    return tx.execute(_BACKLOG).scalar() or 0


def lock(tx: Transaction, log: uuid.UUID, *, empty_root: bytes, now: int) -> Head:
    """Where the log ends. Nobody else gives positions in it before this transaction ends."""
    tx.execute(_BEGIN[tx.dialect], {"tenant_id": log, "size": 0, "root": empty_root, "first": 0, "integrated_at": now})
    return Head(*tx.execute(_LOCK, {"of_log": log}).one())


def take(tx: Transaction, log: uuid.UUID, *, count: int) -> list[Pending]:
    """At most `count` events out of the inbox, in their order. What is sealed under no key opens for nobody."""
    rows = tx.execute(_TAKE, {"of_log": log, "count": count}).all()
    return [
        Pending(row.id, bytes(row.record), Sealed(bytes(row.sealed), row.data_key_id) if _is_sealed(row) else None)
        for row in sorted(rows, key=lambda row: row.seq)
    ]


def _is_sealed(row: Any) -> bool:
    return row.sealed is not None and row.data_key_id is not None


def append(tx: Transaction, log: uuid.UUID, position: int, events: Sequence[Pending]) -> None:
    """Add events from this position on, and what is personal in them. Raises TileDamaged: one stands there already."""
    rows = []
    for number, pending in enumerate(events, position):
        found = index(pending.record)
        rows.append(
            {
                "tenant_id": log,
                "position": number,
                "id": pending.id,
                "record": pending.record,
                "type": found.type[:TYPE_MAX],
                "at": found.at_ms,
                "actor": found.actor[:ACTOR_MAX],
                "user_id": found.user_id,
                "outcome": found.outcome[:OUTCOME_MAX],
            }
        )
    try:
        tx.execute(_ADD_EVENTS, rows)
    except IntegrityError:
        raise TileDamaged(private=f"log {log}: an event behind its end, at {position} or later") from None
    payloads = [
        {"tenant_id": log, "id": pending.id, "sealed": pending.sealed.data, "data_key_id": pending.sealed.data_key_id}
        for pending in events
        if pending.sealed is not None
    ]
    if payloads:
        tx.execute(_ADD_PAYLOADS[tx.dialect], payloads)


def read_tile(tx: Transaction, log: uuid.UUID, level: int, position: int) -> bytes:
    """The hashes of a tile; nothing, where there is none."""
    found = tx.execute(_TILE, {"of_log": log, "of_level": level, "of_position": position}).scalar_one_or_none()
    return b"" if found is None else bytes(found)


def advance(
    tx: Transaction, log: uuid.UUID, *, size: int, root: bytes, tiles: Mapping[tuple[int, int], bytes], now: int
) -> None:
    """The new end of the log, and the tiles that have changed."""
    rows = [
        {"tenant_id": log, "level": level, "position": position, "hashes": hashes}
        for (level, position), hashes in tiles.items()
    ]
    tx.execute(_PUT_TILES[tx.dialect], rows)
    tx.execute(_ADVANCE, {"of_log": log, "new_size": size, "new_root": root, "now": now})


def mark_damaged(tx: Transaction, log: uuid.UUID, *, now: int) -> None:
    """Remember that the tree of this log was found to be changed, until it grows again."""
    tx.execute(_MARK_DAMAGED, {"of_log": log, "now": now})


def put_checkpoint(
    tx: Transaction, log: uuid.UUID, size: int, note: str, *, now: int, is_instead: bool = False
) -> None:
    """Keep a signed head, if there is none of this size; `is_instead`: in its place."""
    if is_instead:
        tx.execute(_REPLACE_CHECKPOINT, {"of_log": log, "of_size": size, "new_note": note, "now": now})
    else:
        row = {"tenant_id": log, "size": size, "note": note, "created_at": now}
        tx.execute(_ADD_CHECKPOINT[tx.dialect], row)


def list_heads(tx: Transaction) -> list[tuple[uuid.UUID, int, bytes]]:
    """Every log, with its size and root."""
    return [(row.tenant_id, row.size, bytes(row.root)) for row in tx.execute(_HEADS)]


def find_head(tx: Transaction, log: uuid.UUID) -> tuple[uuid.UUID, int, bytes]:
    """A log that there is, with its size and root."""
    row = tx.execute(_HEAD, {"of_log": log}).one()
    return row.tenant_id, row.size, bytes(row.root)


def list_unsigned(tx: Transaction, *, before: int) -> list[tuple[uuid.UUID, int, bytes]]:
    """Logs of another size than their newest checkpoint has, which is at least as old; with their size and root."""
    return [(row.tenant_id, row.size, bytes(row.root)) for row in tx.execute(_UNSIGNED, {"before": before})]


def find_newest_checkpoint(tx: Transaction, log: uuid.UUID) -> StoredCheckpoint | None:
    """The newest signed head."""
    row = tx.execute(_NEWEST_CHECKPOINT, {"of_log": log}).one_or_none()
    return None if row is None else StoredCheckpoint(*row)


# ── what is personal, to be sealed again ─────────────────────────────────────────────────────────────────────────────


class _Payloads:
    """The statements of one kind of transaction: a tenant's, or the platform's."""

    def __init__(self, log: Any) -> None:
        others = (p.c.tenant_id == log, p.c.data_key_id != sa.bindparam("newest"))
        self.list = sa.select(p.c.id, p.c.sealed, p.c.data_key_id).where(*others).limit(sa.bindparam("count"))
        self.count = sa.select(sa.func.count(p.c.id)).where(*others)
        self.reseal = (
            sa.update(p)
            .where(p.c.tenant_id == log, p.c.id == sa.bindparam("of_id"), p.c.data_key_id == sa.bindparam("old_key"))
            .values(sealed=sa.bindparam("new_sealed"), data_key_id=sa.bindparam("new_key"))
        )


_OF_TENANT, _OF_PLATFORM = _Payloads(TENANT), _Payloads(sa.literal(PLATFORM_LOG, sa.Uuid()))


def _payloads(tx: Transaction) -> _Payloads:
    return _OF_PLATFORM if tx.tenant_id is None else _OF_TENANT


def list_sealed(tx: Transaction, newest: uuid.UUID, *, count: int) -> list[SealedRow]:
    """At most `count` payloads that are sealed under another data key."""
    rows = tx.execute(_payloads(tx).list, {"newest": newest, "count": count})
    return [SealedRow((row.id,), place_of(row.id), Sealed(bytes(row.sealed), row.data_key_id)) for row in rows]


def count_sealed(tx: Transaction, newest: uuid.UUID) -> int:
    """How many payloads are sealed under another data key."""
    return tx.execute(_payloads(tx).count, {"newest": newest}).scalar() or 0


def reseal(tx: Transaction, row: SealedRow, sealed: Sealed) -> None:
    """The same payload under another data key. What was erased meanwhile stays so."""
    values = {"of_id": row.key[0], "old_key": row.sealed.data_key_id}
    tx.execute(_payloads(tx).reseal, {**values, "new_sealed": sealed.data, "new_key": sealed.data_key_id})
