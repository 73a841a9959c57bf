"""SQL for how far each endpoint has come: whose it is for a while, what it has read, what it has not taken.

What a delivery leaves behind in the row of an endpoint is aside: the events that were delivered are on record
themselves. The endpoints of the platform's own log are rows with its identifier, and platform work.
"""

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from payymo.db.closing import ASIDE
from payymo.db.moments import has_come, is_to_come
from payymo.db.schema import PLATFORM_LOG, TENANT, audit_events, audit_logs, tenants
from payymo.db.schema import webhook_deliveries as d
from payymo.db.schema import webhook_endpoints as e
from payymo.db.work import Transaction
from payymo.webhooks.model import CLAIM_SECONDS, RESTS_AT_MOST, WAITING_AT_MOST, WAITS_AT_MOST, Delivery, Failure

_DELIVERY: Final = [d.c[name] for name in Delivery.__dataclass_fields__]
_MOMENT: Final = sa.bindparam("moment", type_=sa.BigInteger())
_OF_ID: Final = sa.bindparam("of_id", type_=sa.Uuid())
_OWN: Final = (e.c.tenant_id == TENANT, e.c.id == _OF_ID)
_ASIDE: Final = {ASIDE: "how far an endpoint has come"}

# ── one process at a time ────────────────────────────────────────────────────────────────────────────────────────────

_OTHER: Final = e.alias("other")
_TENANT_IS_SERVED: Final = sa.exists().where(
    _OTHER.c.tenant_id == e.c.tenant_id,
    _OTHER.c.id != e.c.id,
    is_to_come(_OTHER.c.claimed_until, _MOMENT, longest_seconds=CLAIM_SECONDS),
)
"""One endpoint of a tenant at a time: receivers that are slow on purpose hold up nobody else."""
_IS_GONE: Final = sa.exists().where(tenants.c.id == e.c.tenant_id, tenants.c.status == "deleted")
_COUNT_WAITING: Final = (
    sa.select(sa.func.count())
    .select_from(d)
    .where(d.c.tenant_id == e.c.tenant_id, d.c.endpoint_id == e.c.id, d.c.given_up_at.is_(None))
    .correlate(e)
    .scalar_subquery()
)
_IS_BEHIND: Final = sa.exists().where(audit_logs.c.tenant_id == e.c.tenant_id, audit_logs.c.size > e.c.next_position)
_EARLIER: Final = d.alias("earlier")
_IS_HELD: Final = (
    sa.exists()
    .where(
        _EARLIER.c.tenant_id == d.c.tenant_id,
        _EARLIER.c.endpoint_id == d.c.endpoint_id,
        _EARLIER.c.subject == d.c.subject,
        _EARLIER.c.position < d.c.position,
        _EARLIER.c.given_up_at.is_(None),
    )
    .correlate(d)
)
_HAS_DUE: Final = (
    sa.exists()
    .where(
        d.c.tenant_id == e.c.tenant_id,
        d.c.endpoint_id == e.c.id,
        d.c.given_up_at.is_(None),
        has_come(d.c.due_at, _MOMENT, longest_seconds=WAITS_AT_MOST),
        ~_IS_HELD,
    )
    .correlate(e)
)
_READY: Final = (
    sa.select(e.c.id)
    .where(
        e.c.is_enabled,
        has_come(e.c.rests_until, _MOMENT, longest_seconds=RESTS_AT_MOST),
        has_come(e.c.claimed_until, _MOMENT, longest_seconds=CLAIM_SECONDS),
        ~_TENANT_IS_SERVED,
        ~_IS_GONE,
        sa.or_(_HAS_DUE, sa.and_(_IS_BEHIND, _COUNT_WAITING < WAITING_AT_MOST)),
    )
    .order_by(e.c.claimed_until, e.c.id)
    .limit(1)
)
"""What was served longest ago comes first."""
_PICK: Final = _READY.with_for_update(skip_locked=True, of=e)
"""Apart from the claim: PostgreSQL may run a subquery that locks more than once."""
_CLAIM: Final = (
    sa.update(e)
    .where(e.c.id == _OF_ID)
    .values(claimed_until=sa.bindparam("until"), claims=e.c.claims + 1)
    .returning(e.c.tenant_id, e.c.id, e.c.claims)
    .execution_options(**_ASIDE)
)
_STILL_OURS: Final = (*_OWN, e.c.claims == sa.bindparam("of_claim"))
_KEEP: Final = (
    sa.update(e)
    .where(*_STILL_OURS, e.c.is_enabled)
    .values(claimed_until=sa.bindparam("until"))
    .execution_options(**_ASIDE)
)
_GIVE_BACK: Final = sa.update(e).where(*_STILL_OURS).values(claimed_until=_MOMENT).execution_options(**_ASIDE)
_MOVE: Final = sa.update(e).where(*_STILL_OURS).values(next_position=sa.bindparam("to")).execution_options(**_ASIDE)
_SUCCEEDED: Final = (
    sa.update(e)
    .where(*_OWN)
    .values(last_success_at=_MOMENT, failing_since=None, reason=None)
    .execution_options(**_ASIDE)
)
_FAILED: Final = (
    sa.update(e)
    .where(*_OWN)
    .values(
        failing_since=sa.func.coalesce(e.c.failing_since, _MOMENT),
        reason=sa.bindparam("why"),
        rests_until=sa.bindparam("rests"),
    )
    .execution_options(**_ASIDE)
)
_WAKE: Final = sa.update(e).where(*_OWN).values(rests_until=0).execution_options(**_ASIDE)
_COUNT_FAILING: Final = sa.select(sa.func.count()).select_from(e).where(e.c.failing_since.is_not(None))
_OLDEST_WAITING: Final = (
    sa.select(sa.func.min(d.c.first_at))
    .join_from(d, e, sa.and_(e.c.tenant_id == d.c.tenant_id, e.c.id == d.c.endpoint_id))
    .where(d.c.given_up_at.is_(None), e.c.is_enabled)
)
_OLDEST_UNREAD: Final = (
    sa.select(sa.func.min(audit_events.c.at))
    .join_from(
        e,
        audit_events,
        sa.and_(audit_events.c.tenant_id == e.c.tenant_id, audit_events.c.position == e.c.next_position),
    )
    .where(e.c.is_enabled)
)

# ── deliveries ───────────────────────────────────────────────────────────────────────────────────────────────────────

_IN_IT: Final = (d.c.tenant_id == TENANT, d.c.endpoint_id == _OF_ID)
_WAITING: Final = (*_IN_IT, d.c.given_up_at.is_(None))
_IS_HELD_HERE: Final = sa.exists(
    sa.select(_EARLIER.c.position).where(
        d.c.tenant_id == TENANT,  # said inside, too, for who examines the statement
        _EARLIER.c.tenant_id == TENANT,
        _EARLIER.c.endpoint_id == d.c.endpoint_id,
        _EARLIER.c.subject == d.c.subject,
        _EARLIER.c.position < d.c.position,
        _EARLIER.c.given_up_at.is_(None),
    )
)
_DUE: Final = (
    sa.select(*_DELIVERY)
    .where(*_WAITING, has_come(d.c.due_at, _MOMENT, longest_seconds=WAITS_AT_MOST), ~_IS_HELD_HERE)
    .order_by(d.c.due_at, d.c.position)
    .limit(1)
)
_SUBJECTS: Final = sa.select(d.c.subject).where(*_WAITING)
_LIST_DELIVERIES: Final = sa.select(*_DELIVERY).where(*_IN_IT).order_by(d.c.position).limit(sa.bindparam("count"))
_INSERTS: Final = (("postgresql", postgresql.insert), ("sqlite", sqlite.insert))
_NEW_DELIVERY: Final[dict[str, Any]] = {name: sa.bindparam(f"new_{name}") for name in Delivery.__dataclass_fields__}
_ADD_DELIVERY: Final = {
    name: insert(d).values(tenant_id=TENANT, endpoint_id=_OF_ID, **_NEW_DELIVERY).on_conflict_do_nothing()
    for name, insert in _INSERTS
}
_AT: Final = (*_IN_IT, d.c.position == sa.bindparam("at_position"))
_DELIVERED: Final = sa.delete(d).where(*_AT)
_PUT_OFF: Final = (
    sa.update(d)
    .where(*_AT)
    .values(
        attempts=sa.bindparam("tried"),
        due_at=sa.bindparam("until"),
        given_up_at=sa.bindparam("ended", type_=sa.BigInteger()),
        reason=sa.bindparam("why", type_=sa.String()),
    )
)
_OLD: Final = sa.select(d.c.position, d.c.endpoint_id).where(d.c.given_up_at <= _MOMENT).limit(sa.bindparam("count"))
_PRUNE: Final = sa.delete(d).where(sa.tuple_(d.c.position, d.c.endpoint_id).in_(_OLD))


@dataclass(frozen=True, slots=True)
class Claim:
    """An endpoint that one process has to itself for a while. `log`: None is the platform's."""

    log: uuid.UUID | None
    endpoint_id: uuid.UUID
    number: int
    """Tells this claim from a later one."""


def is_any_ready(tx: Transaction, *, now: int) -> bool:
    """Platform step: whether there is an endpoint that has something to get, and is nobody's now."""
    return tx.execute(_READY, {"moment": now}).scalar() is not None


def claim(tx: Transaction, *, now: int, until: int) -> Claim | None:
    """Platform step: an endpoint that has something to get. None: there is none."""
    picked = tx.execute(_PICK, {"moment": now}).scalar()
    if picked is None:
        return None
    row = tx.execute(_CLAIM, {"of_id": picked, "until": until}).one()
    return Claim(None if row.tenant_id == PLATFORM_LOG else row.tenant_id, row.id, row.claims)


def keep(tx: Transaction, claim: Claim, *, until: int) -> bool:
    """Have it until then. False: it is another's by now, or was disabled."""
    return _run(tx, _KEEP, {**_ours(claim), "until": until}).rowcount == 1


def give_back(tx: Transaction, claim: Claim, *, now: int) -> None:
    """Leave it to others, unless it is another's."""
    _run(tx, _GIVE_BACK, {**_ours(claim), "moment": now})


def move(tx: Transaction, claim: Claim, to: int) -> None:
    """It has read up to there."""
    _run(tx, _MOVE, {**_ours(claim), "to": to})


def note_success(tx: Transaction, endpoint_id: uuid.UUID, *, now: int) -> None:
    """It has taken something."""
    _run(tx, _SUCCEEDED, {"of_id": endpoint_id, "moment": now})


def note_failure(tx: Transaction, endpoint_id: uuid.UUID, failure: Failure, *, now: int) -> None:
    """It has not, and is left alone until then if it has asked for that."""
    rests = failure.not_before or 0
    _run(tx, _FAILED, {"of_id": endpoint_id, "moment": now, "why": failure.reason, "rests": rests})


def wake(tx: Transaction, endpoint_id: uuid.UUID) -> None:
    """Whatever it has asked for, it may be spoken to."""
    _run(tx, _WAKE, {"of_id": endpoint_id})


def measure(tx: Transaction) -> tuple[int, int | None]:
    """Platform step: how many endpoints fail, or did until they were disabled; since when the oldest event waits."""
    unread = tx.execute(_OLDEST_UNREAD).scalar()
    since = [moment for moment in (tx.execute(_OLDEST_WAITING).scalar(), unread and unread // 1000) if moment]
    return tx.execute(_COUNT_FAILING).scalar() or 0, min(since, default=None)


def find_due(tx: Transaction, endpoint_id: uuid.UUID, *, now: int) -> Delivery | None:
    """What is to be tried again now: behind nothing that waits about the same."""
    row = _run(tx, _DUE, {"of_id": endpoint_id, "moment": now}).one_or_none()
    return None if row is None else Delivery(*row)


def list_subjects(tx: Transaction, endpoint_id: uuid.UUID) -> list[str]:
    """Whom and what the events are about that wait, one for each event."""
    return list(_run(tx, _SUBJECTS, {"of_id": endpoint_id}).scalars())


def list_deliveries(tx: Transaction, endpoint_id: uuid.UUID, *, count: int) -> tuple[Delivery, ...]:
    """What it has not taken, the oldest first."""
    return tuple(Delivery(*row) for row in _run(tx, _LIST_DELIVERIES, {"of_id": endpoint_id, "count": count}))


def add_delivery(tx: Transaction, endpoint_id: uuid.UUID, delivery: Delivery) -> None:
    """Let an event wait. One that waits already stays as it is."""
    values = {f"new_{name}": value for name, value in asdict(delivery).items()}
    _run(tx, _ADD_DELIVERY[tx.dialect], {"of_id": endpoint_id, **values})


def delivered(tx: Transaction, endpoint_id: uuid.UUID, position: int) -> None:
    """It has taken this one."""
    _run(tx, _DELIVERED, {"of_id": endpoint_id, "at_position": position})


def prune(tx: Transaction, *, given_up_before: int, count: int) -> int:
    """Platform step: forget some of what was given up long ago. Answers how many."""
    return tx.execute(_PRUNE, {"moment": given_up_before, "count": count}).rowcount


def put_off(tx: Transaction, endpoint_id: uuid.UUID, delivery: Delivery) -> None:
    """Try this one again when it says, or never."""
    values = {
        "of_id": endpoint_id,
        "at_position": delivery.position,
        "tried": delivery.attempts,
        "until": delivery.due_at,
        "ended": delivery.given_up_at,
        "why": delivery.reason,
    }
    _run(tx, _PUT_OFF, values)


def _run(
    tx: Transaction, statement: sa.Executable, values: Mapping[str, Any] | None = None
) -> sa.CursorResult[*tuple[Any, ...]]:
    """In platform work it is about the endpoints of the platform's own log."""
    whose = {TENANT.key: PLATFORM_LOG} if tx.tenant_id is None else {}
    return tx.execute(statement, {**(values or {}), **whose})


def _ours(claim: Claim) -> dict[str, Any]:
    return {"of_id": claim.endpoint_id, "of_claim": claim.number}
