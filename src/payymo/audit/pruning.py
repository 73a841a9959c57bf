"""SQL that takes something out of the audit tables, in platform work. A third store, for its size."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from payymo.audit.model import REMOVED
from payymo.audit.store import StoredCheckpoint
from payymo.db.schema import TENANT
from payymo.db.schema import audit_checkpoints as k
from payymo.db.schema import audit_erasures as x
from payymo.db.schema import audit_events as e
from payymo.db.schema import audit_logs as g
from payymo.db.schema import audit_payloads as p
from payymo.db.schema import audit_retention as r
from payymo.db.work import Transaction
from payymo.errors import Conflict

_OF = sa.bindparam("of_log", type_=sa.Uuid())
_MOMENT = sa.bindparam("moment", type_=sa.BigInteger())
_COUNT = sa.bindparam("count", type_=sa.Integer())

Concern = Literal["about", "by"]
"""What an event has to do with a user."""
CONCERNS: Final[tuple[Concern, ...]] = ("about", "by")

# ── what is personal of a user ───────────────────────────────────────────────────────────────────────────────────────

_AFTER = sa.bindparam("after", type_=sa.BigInteger())


def _next_of(*conditions: sa.ColumnElement[bool]) -> sa.Select[int]:
    """Where the next events stand that have something personal still. What is gone costs a look at an index."""
    return (
        sa.select(e.c.position)
        .select_from(e.join(p, sa.and_(p.c.tenant_id == _OF, p.c.id == e.c.id)))
        .where(e.c.tenant_id == _OF, e.c.position > _AFTER, *conditions)
        .order_by(e.c.position)
        .limit(_COUNT)
    )


def _payloads_of(*conditions: sa.ColumnElement[bool]) -> sa.Delete:
    reached = sa.bindparam("reached", type_=sa.BigInteger())
    found = sa.select(e.c.id).where(e.c.tenant_id == _OF, e.c.position > _AFTER, e.c.position <= reached, *conditions)
    return sa.delete(p).where(p.c.tenant_id == _OF, p.c.id.in_(found))


def _locking(delete: sa.Delete) -> sa.Select[uuid.UUID]:
    """Locks what is deleted next in the order of its identifiers, as whoever seals it again does.

    The duty and an administrator may erase the same person: they wait for each other, and not in a circle.
    """
    these = sa.true() if delete.whereclause is None else delete.whereclause
    return sa.select(p.c.id).where(these).order_by(p.c.id).with_for_update()


_IS_NOT_ITS_END = e.c.type != "user.erased"
"""The address in that one is of whoever has erased them."""
_CONCERNED: Final[Mapping[Concern, Sequence[sa.ColumnElement[bool]]]] = {
    "about": (e.c.user_id == sa.bindparam("of_user", type_=sa.Uuid()), _IS_NOT_ITS_END),
    "by": (e.c.actor == sa.bindparam("of_actor"),),
}
_NEXT: Final = {concern: _next_of(*conditions) for concern, conditions in _CONCERNED.items()}
_ERASE: Final = {concern: _payloads_of(*conditions) for concern, conditions in _CONCERNED.items()}
_LOCK_ERASED: Final = {concern: _locking(delete) for concern, delete in _ERASE.items()}
_ADD_ERASURE = sa.insert(x).values(
    tenant_id=TENANT, user_id=sa.bindparam("of_user", type_=sa.Uuid()), erased_at=_MOMENT
)
_FIND_ERASURE = sa.select(x.c.user_id).where(
    x.c.tenant_id == TENANT, x.c.user_id == sa.bindparam("of_user", type_=sa.Uuid())
)
_ERASURES = sa.select(x.c.tenant_id, x.c.user_id, x.c.erased_at)
_FORGET_ERASURE = sa.delete(x).where(x.c.tenant_id == _OF, x.c.user_id == sa.bindparam("of_user", type_=sa.Uuid()))


def add_erasure(tx: Transaction, user_id: uuid.UUID, *, now: int) -> None:
    """Step, in a tenant: this user is erased."""
    tx.execute(_ADD_ERASURE, {"of_user": user_id, "moment": now})


def is_erased(tx: Transaction, user_id: uuid.UUID) -> bool:
    """Step, in a tenant: whether this user was erased a moment ago."""
    return tx.execute(_FIND_ERASURE, {"of_user": user_id}).scalar() is not None


def list_erasures(tx: Transaction) -> list[tuple[uuid.UUID, uuid.UUID, int]]:
    """Tenants and users who were erased a moment ago, and when."""
    return [(row.tenant_id, row.user_id, row.erased_at) for row in tx.execute(_ERASURES)]


def erase_payloads(
    tx: Transaction, log: uuid.UUID, user_id: uuid.UUID, concern: Concern, *, after: int, count: int
) -> tuple[int, int] | None:
    """Erase what is personal in the next events of a log behind a position. Answers how many, and the last one's.

    None: there are no more. Whoever goes on from there looks at each event once, however many there are. How many may
    be 0: another process erases, too.
    """
    whom = {"of_user": user_id} if concern == "about" else {"of_actor": f"user:{user_id}"}
    values = {"of_log": log, "after": after, **whom}
    positions = tx.execute(_NEXT[concern], {**values, "count": count}).scalars().all()
    if not positions:
        return None
    tx.execute(_LOCK_ERASED[concern], {**values, "reached": positions[-1]})
    return tx.execute(_ERASE[concern], {**values, "reached": positions[-1]}).rowcount, positions[-1]


def forget_erasure(tx: Transaction, log: uuid.UUID, user_id: uuid.UUID) -> None:
    """Nothing of them can come any more."""
    tx.execute(_FORGET_ERASURE, {"of_log": log, "of_user": user_id})


# ── what is too old ──────────────────────────────────────────────────────────────────────────────────────────────────

_RETENTION = sa.select(r.c.keep_days).where(r.c.tenant_id == _OF)
_SET_RETENTION = sa.insert(r)
_UNSET_RETENTION = sa.delete(r).where(r.c.tenant_id == _OF)
_LOGS = sa.select(
    g.c.tenant_id,
    g.c.first,
    r.c.keep_days,
    sa.select(e.c.position)
    .where(e.c.tenant_id == g.c.tenant_id, e.c.position < g.c.first)
    .exists()
    .label("is_unswept"),
).select_from(g.outerjoin(r, r.c.tenant_id == g.c.tenant_id))
_FIRST = sa.select(g.c.first).where(g.c.tenant_id == _OF)
_LOCK = _FIRST.with_for_update()
_ADVANCE = sa.update(g).where(g.c.tenant_id == _OF).values(first=sa.bindparam("new_first", type_=sa.BigInteger()))
_SIGNED_BY_THEN = (
    sa.select(k.c.size, k.c.note, k.c.created_at)
    .where(k.c.tenant_id == _OF, k.c.size > sa.bindparam("first", type_=sa.BigInteger()), k.c.created_at <= _MOMENT)
    .order_by(k.c.size.desc())
    .limit(1)
)
_AT = sa.select(e.c.at).where(e.c.tenant_id == _OF, e.c.position == sa.bindparam("place", type_=sa.BigInteger()))
_OTHER = (
    sa.select(e.c.position)
    .where(e.c.tenant_id == _OF, e.c.type != REMOVED)
    .where(e.c.position >= sa.bindparam("first", type_=sa.BigInteger()))
    .where(e.c.position < sa.bindparam("end", type_=sa.BigInteger()))
    .limit(1)
)
_KEEP = (
    sa.update(k)
    .where(k.c.tenant_id == _OF, k.c.size == sa.bindparam("of_size", type_=sa.BigInteger()))
    .values(is_kept=True)
)
_FIRST_THERE = sa.select(sa.func.min(e.c.position)).where(e.c.tenant_id == _OF)
_REMOVED = (e.c.tenant_id == _OF, e.c.position < sa.bindparam("end", type_=sa.BigInteger()))
_SWEEP_PAYLOADS = sa.delete(p).where(p.c.tenant_id == _OF, p.c.id.in_(sa.select(e.c.id).where(*_REMOVED)))
_LOCK_PAYLOADS = _locking(_SWEEP_PAYLOADS)
_SWEEP = sa.delete(e).where(*_REMOVED)
_later = k.alias("later")


def _thinning(seconds: int) -> sa.Delete:
    """All but the last checkpoint of each hour or day before a moment."""
    bucket = sa.literal(seconds, sa.BigInteger())
    is_followed = (
        sa.select(_later.c.size)
        .where(
            _later.c.tenant_id == k.c.tenant_id,
            _later.c.size > k.c.size,
            _later.c.created_at // bucket == k.c.created_at // bucket,
        )
        .correlate(k)
        .exists()
    )
    some = (
        sa.select(k.c.tenant_id, k.c.size).where(k.c.created_at <= _MOMENT, k.c.is_kept.is_(False), is_followed)
    ).limit(_COUNT)
    return sa.delete(k).where(sa.tuple_(k.c.tenant_id, k.c.size).in_(some))


_THIN: Final = {seconds: _thinning(seconds) for seconds in (3600, 86_400)}


@dataclass(frozen=True, slots=True)
class Kept:
    """A log, from where on it is there, and how many days it keeps its events where it has a time of its own.

    `is_unswept`: events before that are still in the table.
    """

    log: uuid.UUID
    first: int
    keep_days: int | None
    is_unswept: bool


def list_logs(tx: Transaction) -> list[Kept]:
    """Every log."""
    return [Kept(row.tenant_id, row.first, row.keep_days, bool(row.is_unswept)) for row in tx.execute(_LOGS)]


def find_retention(tx: Transaction, log: uuid.UUID) -> int | None:
    """How many days a log keeps its events, 0: for ever; None: it has no time of its own."""
    found: int | None = tx.execute(_RETENTION, {"of_log": log}).scalar()
    return found


def set_retention(tx: Transaction, log: uuid.UUID, keep_days: int | None) -> None:
    """Another time; None: none of its own. Raises Conflict: somebody is doing the same."""
    tx.execute(_UNSET_RETENTION, {"of_log": log})
    if keep_days is not None:
        try:
            tx.execute(_SET_RETENTION, {"tenant_id": log, "keep_days": keep_days})
        except IntegrityError:
            raise Conflict("Somebody else is setting how long this log is kept. Look, and try again.") from None


def lock_first(tx: Transaction, log: uuid.UUID) -> int:
    """From where on a log is there. Nobody grows or shortens it before the transaction ends."""
    first: int = tx.execute(_LOCK, {"of_log": log}).scalar_one()
    return first


def find_first(tx: Transaction, log: uuid.UUID) -> int:
    """From where on a log is there."""
    first: int = tx.execute(_FIRST, {"of_log": log}).scalar_one()
    return first


def find_signed_by(tx: Transaction, log: uuid.UUID, *, first: int, moment: int) -> StoredCheckpoint | None:
    """The largest checkpoint beyond `first` that was signed by then."""
    row: Any = tx.execute(_SIGNED_BY_THEN, {"of_log": log, "first": first, "moment": moment}).one_or_none()
    return None if row is None else StoredCheckpoint(*row)


def find_at(tx: Transaction, log: uuid.UUID, position: int) -> int | None:
    """When the event at a position happened, in milliseconds; None: it is not there."""
    found: int | None = tx.execute(_AT, {"of_log": log, "place": position}).scalar()
    return found


def is_any_there(tx: Transaction, log: uuid.UUID, *, first: int, end: int) -> bool:
    """Whether there is anything between these positions but that something was removed."""
    return tx.execute(_OTHER, {"of_log": log, "first": first, "end": end}).scalar() is not None


def advance(tx: Transaction, log: uuid.UUID, first: int) -> None:
    """The log is there from this position on; the checkpoint of that size stays."""
    tx.execute(_ADVANCE, {"of_log": log, "new_first": first})
    tx.execute(_KEEP, {"of_log": log, "of_size": first})


def sweep(tx: Transaction, log: uuid.UUID, first: int, *, count: int) -> int:
    """Delete up to `count` events before `first`, from the front, and what is personal in them. Answers how many."""
    begin = tx.execute(_FIRST_THERE, {"of_log": log}).scalar()
    if begin is None or begin >= first:
        return 0
    values = {"of_log": log, "end": min(begin + count, first)}
    tx.execute(_LOCK_PAYLOADS, values)
    tx.execute(_SWEEP_PAYLOADS, values)
    return tx.execute(_SWEEP, values).rowcount


def thin_checkpoints(tx: Transaction, *, before: int, seconds: int, count: int) -> int:
    """Of those signed before then, forget up to `count` that another one followed in the same hour or day."""
    return tx.execute(_THIN[seconds], {"moment": before, "count": count}).rowcount
