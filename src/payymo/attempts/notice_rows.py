"""SQL for `lockout_notices`: what users are to hear of."""

import uuid
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from payymo.attempts.model import DAY_SECONDS, Notice, Origin, Step
from payymo.db.batches import COUNT, forget_some
from payymo.db.schema import TENANT, tenants, users
from payymo.db.schema import lockout_notices as n
from payymo.db.work import Transaction

_MOMENT = sa.bindparam("moment", type_=sa.BigInteger())
_AT = (users.c.tenant_id == TENANT, users.c.email_key == sa.bindparam("of_email"))
_OF = (users.c.tenant_id == TENANT, users.c.id == sa.bindparam("of_user"))
_HOLD_USER_AT = sa.select(users.c.id).where(*_AT).with_for_update(read=True, key_share=True)
_HOLD_USER = sa.select(users.c.id).where(*_OF).with_for_update(read=True, key_share=True)


def _noting(whose: Sequence[sa.ColumnElement[bool]]) -> dict[str, sa.Insert]:
    kind = sa.bindparam("of_kind", type_=sa.String())
    found = sa.select(TENANT, users.c.id, kind, _MOMENT).where(*whose)
    names = ["tenant_id", "user_id", "kind", "noted_at"]
    inserts = (("postgresql", postgresql.insert), ("sqlite", sqlite.insert))
    return {name: insert(n).from_select(names, found).on_conflict_do_nothing() for name, insert in inserts}


_NOTE_AT, _NOTE = _noting(_AT), _noting(_OF)
_FORGET_NOTICES = sa.delete(n).where(n.c.tenant_id == TENANT, n.c.user_id == sa.bindparam("of_user"))
_OF_USER = sa.select(n.c.kind, n.c.noted_at, n.c.told_at).where(
    n.c.tenant_id == TENANT, n.c.user_id == sa.bindparam("of_user")
)
_UNTOLD = (
    sa.select(n.c.tenant_id, n.c.user_id, n.c.kind)
    .join_from(n, tenants, tenants.c.id == n.c.tenant_id)
    .where(n.c.told_at.is_(None), tenants.c.status != "deleted")
    .order_by(n.c.noted_at)
    .limit(sa.bindparam("count"))
)
_TAKE_NOTICE = (
    sa.update(n)
    .where(
        n.c.tenant_id == TENANT,
        n.c.user_id == sa.bindparam("of_user"),
        n.c.kind == sa.bindparam("of_kind"),
        n.c.told_at.is_(None),
    )
    .values(told_at=_MOMENT)
    .returning(n.c.noted_at)
)
_PRUNE_NOTICES = forget_some(n, n.c.noted_at <= _MOMENT - DAY_SECONDS, oldest=n.c.noted_at)


def note(tx: Transaction, origin: Origin, kind: Step, now: int) -> uuid.UUID | None:
    """Note that the user whose password is tried is to hear of it, unless they have. Answers who that is.

    They are held first: nobody erases them meanwhile. A stop of who is logged in is no more than a wait to them: it
    locks nobody out.
    """
    if origin.user_id is not None:
        found: uuid.UUID | None = tx.execute(_HOLD_USER, {"of_user": origin.user_id}).scalar()
        tx.execute(_NOTE[tx.dialect], {"of_user": origin.user_id, "of_kind": "wait", "moment": now})
        return found
    found = tx.execute(_HOLD_USER_AT, {"of_email": origin.email_key}).scalar()
    tx.execute(_NOTE_AT[tx.dialect], {"of_email": origin.email_key, "of_kind": kind, "moment": now})
    return found


def forget_notices(tx: Transaction, user_id: uuid.UUID) -> None:
    """What happens to this user next is news again."""
    tx.execute(_FORGET_NOTICES, {"of_user": user_id})


def list_of(tx: Transaction, user_id: uuid.UUID) -> list[dict[str, Any]]:
    """What there is, or was of late, for a user to hear of."""
    return [dict(row) for row in tx.execute(_OF_USER, {"of_user": user_id}).mappings()]


def list_untold(tx: Transaction, *, count: int) -> Sequence[Notice]:
    """Platform step: what users have not heard of yet, the oldest first. A deleted tenant writes no letters."""
    return [Notice(*row) for row in tx.execute(_UNTOLD, {"count": count})]


def take_notice(tx: Transaction, user_id: uuid.UUID, kind: Step, now: int) -> int | None:
    """Mark that the user is told now. Answers since when there is something to tell; None: somebody has told them."""
    values = {"of_user": user_id, "of_kind": kind, "moment": now}
    found: int | None = tx.execute(_TAKE_NOTICE, values).scalar()
    return found


def prune(tx: Transaction, now: int, *, count: int) -> int:
    """Platform step: forget up to `count` notices of the day before. Answers how many."""
    return tx.execute(_PRUNE_NOTICES, {"moment": now, COUNT: count}).rowcount
