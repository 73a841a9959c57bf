"""SQL that reads the audit logs: one statement a page, of one log, along an index. A second store, for its size."""

import functools
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from payymo.audit.entries import QUIET, Filters
from payymo.audit.store import StoredCheckpoint
from payymo.db.schema import PLATFORM_LOG, TENANT
from payymo.db.schema import audit_checkpoints as k
from payymo.db.schema import audit_events as e
from payymo.db.schema import audit_logs as g
from payymo.db.schema import audit_payloads as p
from payymo.db.schema import audit_tiles as t
from payymo.db.work import Transaction
from payymo.sealed import Sealed


def _as_it_is(word: str) -> sa.BindParameter[str]:
    """Written into the statement, so that PostgreSQL sees that a partial index will do."""
    return sa.bindparam(word, word, literal_execute=True)


_CONDITIONS: Final[dict[str, sa.ColumnElement[bool]]] = {
    "actor": e.c.actor == sa.bindparam("of_actor"),
    "types": e.c.type.in_(sa.bindparam("of_types", expanding=True)),
    "user_id": e.c.user_id == sa.bindparam("of_user"),
    "success": e.c.outcome == _as_it_is("success"),
    **{
        outcome: sa.and_(
            e.c.outcome == _as_it_is(outcome),
            e.c.outcome != _as_it_is("success"),
        )
        for outcome in ("refused", "error")
    },
    "since": e.c.at >= sa.bindparam("since", type_=sa.BigInteger()),
    "before": e.c.at < sa.bindparam("before", type_=sa.BigInteger()),
    "without_quiet": sa.or_(e.c.type.not_in(QUIET), e.c.outcome != "success"),
    "later": e.c.position > sa.bindparam("place", type_=sa.BigInteger()),
    "earlier": e.c.position < sa.bindparam("place", type_=sa.BigInteger()),
    "id": e.c.id == sa.bindparam("of_id"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """An event as it is stored, and what is personal in it, sealed."""

    position: int
    id: uuid.UUID
    record: bytes
    sealed: Sealed | None


def _whose(*, is_platform: bool) -> Any:
    return sa.literal(PLATFORM_LOG, sa.Uuid()) if is_platform else TENANT


_TILES: Final = {
    is_platform: sa.select(t.c.hashes).where(
        t.c.tenant_id == _whose(is_platform=is_platform),
        t.c.level == sa.bindparam("of_level"),
        t.c.position == sa.bindparam("of_position"),
    )
    for is_platform in (False, True)
}
_NEWEST: Final = {
    is_platform: sa.select(k.c.size, k.c.note, k.c.created_at)
    .where(k.c.tenant_id == _whose(is_platform=is_platform))
    .order_by(k.c.size.desc())
    .limit(1)
    for is_platform in (False, True)
}


@functools.cache
def _select(names: frozenset[str], *, is_platform: bool, newest_first: bool) -> sa.Select[Any]:
    """Remembered, so that each is examined once (`payymo.db.tenancy`); there are not many."""
    whose = _whose(is_platform=is_platform)
    first = sa.select(g.c.first).where(g.c.tenant_id == whose).scalar_subquery()
    return (
        sa.select(e.c.position, e.c.id, e.c.record, p.c.sealed, p.c.data_key_id)
        .select_from(e.outerjoin(p, sa.and_(p.c.tenant_id == whose, p.c.id == e.c.id)))
        .where(e.c.tenant_id == whose, e.c.position >= first, *(_CONDITIONS[name] for name in sorted(names)))
        .order_by(e.c.position.desc() if newest_first else e.c.position)
        .limit(sa.bindparam("count", type_=sa.Integer()))
    )


def list_events(
    tx: Transaction, filters: Filters, *, beyond: int | None, newest_first: bool, count: int
) -> Iterator[Row]:
    """`count` events of the transaction's log, after or before the position `beyond`, in order of their positions."""
    given = dict(_values(filters))
    names = {name for name in given if name != "outcome"} | {filters.outcome or ""} - {""}
    if filters.without_quiet:
        names.add("without_quiet")
    if beyond is not None:
        names.add("earlier" if newest_first else "later")
        given["beyond"] = ("place", beyond)
    statement = _select(frozenset(names), is_platform=tx.tenant_id is None, newest_first=newest_first)
    return map(_read, tx.execute(statement, {**dict(given.values()), "count": count}))


def find_event(tx: Transaction, event_id: uuid.UUID) -> Row | None:
    """One event of the transaction's log."""
    statement = _select(frozenset({"id"}), is_platform=tx.tenant_id is None, newest_first=False)
    row = tx.execute(statement, {"of_id": event_id, "count": 1}).one_or_none()
    return None if row is None else _read(row)


def read_tile(tx: Transaction, level: int, position: int) -> bytes:
    """The hashes of a tile of the transaction's log; nothing, where there is none."""
    found = tx.execute(_TILES[tx.tenant_id is None], {"of_level": level, "of_position": position}).scalar_one_or_none()
    return b"" if found is None else bytes(found)


def find_newest_checkpoint(tx: Transaction) -> StoredCheckpoint | None:
    """The newest signed head of the transaction's log."""
    row = tx.execute(_NEWEST[tx.tenant_id is None]).one_or_none()
    return None if row is None else StoredCheckpoint(*row)


def _values(filters: Filters) -> Iterator[tuple[str, tuple[str, object]]]:
    """The condition of each filter that is given, with its parameter."""
    found = {
        "actor": ("of_actor", filters.actor),
        "types": ("of_types", filters.types),
        "user_id": ("of_user", filters.user_id),
        "since": ("since", filters.since_ms),
        "before": ("before", filters.before_ms),
    }
    return ((name, pair) for name, pair in found.items() if pair[1] is not None)


def _read(row: Any) -> Row:
    sealed = None if row.sealed is None else Sealed(bytes(row.sealed), row.data_key_id)
    return Row(row.position, row.id, bytes(row.record), sealed)
