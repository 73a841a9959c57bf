"""SQL that ends `sessions`, and forgets those that have run out."""

import uuid
from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from payymo.db.schema import TENANT
from payymo.db.schema import sessions as s
from payymo.db.work import Transaction
from payymo.sessions.model import Ended, Pruned, Reason

_OF_ID = s.c.id == sa.bindparam("of_id")
_OF_USER = s.c.user_id == sa.bindparam("of_user")
_RETURNING = (s.c.id, s.c.user_id, s.c.access_expires_at, s.c.actor_user_id)
_IS_ACTED = s.c.actor_user_id.is_not(None)
"""Said each time: only then an index of these few is used."""
_OF_ACTOR = sa.and_(_IS_ACTED, s.c.actor_user_id == sa.bindparam("of_user"))
_OF_THESE: Final[sa.BindParameter[Any]] = sa.bindparam("of_users", expanding=True)


def _ending(*conditions: sa.ColumnElement[bool]) -> sa.Update:
    values = {"ended_at": sa.bindparam("moment", type_=sa.BigInteger()), "end_reason": sa.bindparam("why")}
    return sa.update(s).where(s.c.tenant_id == TENANT, s.c.ended_at.is_(None), *conditions).values(**values)


_END_ONE = _ending(_OF_ID, _OF_USER).returning(*_RETURNING)
_END_OF_USER = _ending(_OF_USER).returning(*_RETURNING)
_END_OTHERS = _ending(_OF_USER, s.c.id != sa.bindparam("kept")).returning(*_RETURNING)
_END_ALL_OWN = _ending(s.c.actor_user_id.is_(None))
_END_ACTED = _ending(_OF_ACTOR).returning(*_RETURNING)
_END_ACTED_FROM = _ending(_OF_ACTOR, s.c.actor_session_id == sa.bindparam("of_id")).returning(*_RETURNING)
_END_ACTED_AROUND = _ending(_IS_ACTED, sa.or_(s.c.actor_user_id.in_(_OF_THESE), s.c.user_id.in_(_OF_THESE))).returning(
    *_RETURNING
)
_END_ALL_ACTED = _ending(_IS_ACTED).returning(*_RETURNING)
_EXPIRED = sa.select(s.c.id).where(s.c.expires_at <= sa.bindparam("moment")).order_by(s.c.expires_at)
_PRUNE = (
    sa.delete(s)
    .where(s.c.id.in_(_EXPIRED.limit(sa.bindparam("count")).with_for_update(skip_locked=True)))
    .returning(s.c.tenant_id, s.c.ended_at, *_RETURNING)
)
"""Rows that another cleaner has locked are left to it."""


def end_one(tx: Transaction, session_id: uuid.UUID, *, of_user: uuid.UUID, now: int, reason: Reason) -> list[Ended]:
    """End one session of a user. Answers each that was still running."""
    return _end(tx, _END_ONE, now, reason, of_id=session_id, of_user=of_user)


def end_of_user(tx: Transaction, user_id: uuid.UUID, *, now: int, reason: Reason) -> list[Ended]:
    """End every session of a user. Answers each that was still running."""
    return _end(tx, _END_OF_USER, now, reason, of_user=user_id)


def end_others(tx: Transaction, user_id: uuid.UUID, *, kept: uuid.UUID, now: int, reason: Reason) -> list[Ended]:
    """End every session of a user but one. Answers each that was still running."""
    return _end(tx, _END_OTHERS, now, reason, of_user=user_id, kept=kept)


def end_acted(
    tx: Transaction, by: uuid.UUID, *, session_id: uuid.UUID | None = None, now: int, reason: Reason
) -> list[Ended]:
    """End every session in which somebody acts as another one; of those from one session of theirs, if it is given."""
    if session_id is None:
        return _end(tx, _END_ACTED, now, reason, of_user=by)
    return _end(tx, _END_ACTED_FROM, now, reason, of_user=by, of_id=session_id)


def end_acted_around(tx: Transaction, user_ids: Sequence[uuid.UUID] | None, *, now: int, reason: Reason) -> list[Ended]:
    """End every session in which one of these acts, or is acted as; None: whoever it is."""
    if user_ids is None:
        return _end(tx, _END_ALL_ACTED, now, reason)
    return _end(tx, _END_ACTED_AROUND, now, reason, of_users=user_ids)


def _end(tx: Transaction, statement: sa.Executable, now: int, reason: Reason, **which: Any) -> list[Ended]:
    return [Ended(*row) for row in tx.execute(statement, {**which, "moment": now, "why": reason})]


def end_all_own(tx: Transaction, *, now: int, reason: Reason) -> int:
    """End every session of the tenant in which nobody acts as another one. Answers how many were still running."""
    return tx.execute(_END_ALL_OWN, {"moment": now, "why": reason}).rowcount


def prune(tx: Transaction, *, now: int, count: int) -> list[Pruned]:
    """Platform step: forget up to `count` sessions that ran out. Answers which."""
    rows = tx.execute(_PRUNE, {"moment": now, "count": count})
    return [Pruned(tenant_id, Ended(*facts), ended_at is not None) for tenant_id, ended_at, *facts in rows]
