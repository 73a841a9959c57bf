"""SQL for which checkpoints have left for where."""

import uuid
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from payymo.db.moments import has_come
from payymo.db.schema import audit_checkpoints as k
from payymo.db.schema import audit_destinations as d
from payymo.db.schema import audit_logs as g
from payymo.db.work import Transaction

_LONGEST_SECONDS: Final = 86_400
"""Between two checkpoints for the same place, where the settings say so; after a failure it is less."""
_TO = sa.bindparam("to", type_=sa.String())
_LARGEST = sa.select(sa.func.max(k.c.size)).where(k.c.tenant_id == g.c.tenant_id).correlate(g).scalar_subquery()
_NEWEST = sa.and_(k.c.tenant_id == g.c.tenant_id, k.c.size == _LARGEST)
_MINE = sa.and_(d.c.log == g.c.tenant_id, d.c.destination == _TO)
_NEXT = sa.func.coalesce(d.c.next_try_at, 0)
_UNSENT = k.c.size > sa.func.coalesce(d.c.size, 0)
_DUE = (
    sa.select(g.c.tenant_id, k.c.size, k.c.note, sa.func.coalesce(d.c.size, 0), sa.func.coalesce(d.c.failures, 0))
    .select_from(g.join(k, _NEWEST).outerjoin(d, _MINE))
    .where(_UNSENT, has_come(_NEXT, sa.bindparam("now", type_=sa.BigInteger()), longest_seconds=_LONGEST_SECONDS))
    .order_by(_NEXT, g.c.tenant_id)
    .limit(sa.bindparam("count"))
)
_LAG = (
    sa.select(sa.func.count(), sa.func.min(k.c.created_at), sa.func.max(d.c.failures), sa.func.max(d.c.reason))
    .select_from(g.join(k, _NEWEST).outerjoin(d, _MINE))
    .where(_UNSENT)
)
_PUT: dict[str, Any] = {}
for _name, _insert in (("postgresql", postgresql.insert), ("sqlite", sqlite.insert)):
    _made: Any = _insert(d)
    _changed = {name: _made.excluded[name] for name in ("size", "sent_at", "failures", "next_try_at", "reason")}
    _changed["sent_at"] = sa.func.coalesce(_made.excluded.sent_at, d.c.sent_at)
    _PUT[_name] = _made.on_conflict_do_update(index_elements=["destination", "log"], set_=_changed)
_POSTPONE = (
    sa.update(d)
    .where(d.c.destination == _TO, d.c.next_try_at < sa.bindparam("until"))
    .values(next_try_at=sa.bindparam("until"))
)
_NOTE = sa.select(k.c.note).where(
    k.c.tenant_id == sa.bindparam("of_log", type_=sa.Uuid()), k.c.size == sa.bindparam("of_size")
)
_COSIGN = (
    sa.update(k)
    .where(k.c.tenant_id == sa.bindparam("of_log", type_=sa.Uuid()), k.c.size == sa.bindparam("of_size"))
    .values(note=sa.bindparam("cosigned"))
)


@dataclass(frozen=True, slots=True)
class Due:
    """A checkpoint that is to go somewhere. `sent`: the size of the one that is there."""

    log: uuid.UUID
    size: int
    note: str
    sent: int
    failures: int


@dataclass(frozen=True, slots=True)
class Lag:
    """How far behind a destination is: of how many logs it lacks the newest checkpoint, and since when."""

    destination: str
    logs: int
    since: int | None
    failures: int
    reason: str | None


def list_due(tx: Transaction, destination: str, *, now: int, count: int) -> list[Due]:
    """The newest checkpoints that a destination has not got, and may be sent now."""
    return [Due(*row) for row in tx.execute(_DUE, {"to": destination, "now": now, "count": count})]


def find_lag(tx: Transaction, destination: str) -> Lag:
    """How far behind a destination is."""
    logs, since, failures, reason = tx.execute(_LAG, {"to": destination}).one()
    return Lag(destination, logs, since, failures or 0, reason)


def put(
    tx: Transaction,
    destination: str,
    due: Due,
    *,
    size: int,
    sent_at: int | None,
    next_try_at: int,
    reason: str | None = None,
) -> None:
    """What became of it."""
    row = {
        "destination": destination,
        "log": due.log,
        "size": size,
        "sent_at": sent_at,
        "failures": 0 if reason is None else due.failures + 1,
        "next_try_at": next_try_at,
        "reason": reason,
    }
    tx.execute(_PUT[tx.dialect], row)


def postpone(tx: Transaction, destination: str, *, until: int) -> None:
    """Leave a destination alone for a while, with every log that was sent there before."""
    tx.execute(_POSTPONE, {"to": destination, "until": until})


def cosign(tx: Transaction, log: uuid.UUID, size: int, lines: str) -> None:
    """Put signature lines below a stored checkpoint, if they are not there."""
    note = tx.execute(_NOTE, {"of_log": log, "of_size": size}).scalar_one_or_none()
    if note is not None and lines not in note:
        tx.execute(_COSIGN, {"of_log": log, "of_size": size, "cosigned": note + lines})
