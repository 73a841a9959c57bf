"""For who follows a log: where it ends, its events from a position on, and what is personal in one of them.

All are steps in a transaction of whose log it is. Positions are given in one transaction with the new end of the log,
so whoever reads up to the end misses nothing. What was removed by age is passed over.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from payymo.audit.commitments import SALT_BYTES
from payymo.audit.model import Record, decode
from payymo.audit.store import place_of
from payymo.db.schema import PLATFORM_LOG, TENANT
from payymo.db.schema import audit_events as e
from payymo.db.schema import audit_logs as g
from payymo.db.schema import audit_payloads as p
from payymo.db.work import Transaction
from payymo.sealed import Sealed

Open = Callable[..., bytes]
"""As `payymo.secrets.envelope.Envelope.open`, which stands on a higher floor."""

_END: Final = sa.select(g.c.size).where(g.c.tenant_id == TENANT)
_EVENTS: Final = sa.select(e.c.position, e.c.record).where(e.c.tenant_id == TENANT).order_by(e.c.position)
_READ: Final = _EVENTS.where(
    e.c.position >= sa.bindparam("first"),
    e.c.position < sa.bindparam("end"),
    e.c.type.in_(sa.bindparam("types", expanding=True)),
).limit(sa.bindparam("count"))
_AT: Final = _EVENTS.where(e.c.position.in_(sa.bindparam("positions", expanding=True)))
_FIND: Final = _EVENTS.where(e.c.id == sa.bindparam("of_id"))
_PERSONAL: Final = sa.select(p.c.sealed, p.c.data_key_id).where(
    p.c.tenant_id == TENANT, p.c.id == sa.bindparam("of_id")
)


@dataclass(frozen=True, slots=True)
class Followed:
    """An event that has its position."""

    position: int
    record: Record


def end_of(tx: Transaction) -> int:
    """The position that the next event gets."""
    return _run(tx, _END).scalar() or 0


def read_between(
    tx: Transaction, first: int, end: int, types: Sequence[str], *, count: int
) -> tuple[list[Followed], int]:
    """At most `count` events of these types, from one position on and before another; and where reading ended."""
    values = {"first": first, "end": end, "types": list(types), "count": count}
    rows = _run(tx, _READ, values).all()
    return _followed(rows), end if len(rows) < count else rows[-1].position + 1


def read_at(tx: Transaction, positions: Sequence[int]) -> list[Followed]:
    """The events at these positions that are still there."""
    return _followed(_run(tx, _AT, {"positions": list(positions)}))


def find_event(tx: Transaction, event_id: uuid.UUID) -> Followed | None:
    """The event with this id, if it has a position."""
    found = _followed(_run(tx, _FIND, {"of_id": event_id}))
    return found[0] if found else None


def personal_in(tx: Transaction, record: Record, open_sealed: Open) -> dict[str, str] | None:
    """What is personal in an event; None: nothing is, or it was erased. Raises SealBroken."""
    if record.personal is None:
        return None
    row = _run(tx, _PERSONAL, {"of_id": record.id}).one_or_none()
    if row is None:
        return None
    opened = open_sealed(tx, Sealed(bytes(row.sealed), row.data_key_id), *place_of(record.id))
    return msgspec.json.decode(opened[SALT_BYTES:], type=dict[str, str])


def _run(
    tx: Transaction, statement: sa.Select[Any], values: Mapping[str, Any] | None = None
) -> sa.CursorResult[*tuple[Any, ...]]:
    """In platform work it is the platform's own log."""
    whose = {TENANT.key: PLATFORM_LOG} if tx.tenant_id is None else {}
    return tx.execute(statement, {**(values or {}), **whose})


def _followed(rows: Iterable[sa.Row[Any]]) -> list[Followed]:
    """What is no record of ours is passed over: whoever looks after the log finds it."""
    found = []
    for row in rows:
        try:
            found.append(Followed(row.position, decode(bytes(row.record))))
        except ValueError:
            continue
    return found
