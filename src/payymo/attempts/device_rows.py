"""SQL for `known_devices`."""

import uuid
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from payymo.db.batches import COUNT, forget_some
from payymo.db.schema import TENANT, users
from payymo.db.schema import known_devices as d
from payymo.db.schema import sessions as s
from payymo.db.work import Transaction

_MOMENT = sa.bindparam("moment", type_=sa.BigInteger())
_DEVICE = (d.c.tenant_id == TENANT, d.c.digest == sa.bindparam("of_digest"))
_FIND_DEVICE = (
    sa.select(d.c.digest)
    .select_from(d.join(users, sa.and_(users.c.tenant_id == TENANT, users.c.id == d.c.user_id)))
    .where(
        d.c.tenant_id == TENANT,
        d.c.digest.in_(sa.bindparam("of_digests", expanding=True)),
        d.c.expires_at > _MOMENT,
        users.c.email_key == sa.bindparam("of_email"),
        users.c.password_changed_at == d.c.password_changed_at,
    )
)
_COUNT_DEVICE = sa.update(d).where(*_DEVICE, d.c.failures < sa.bindparam("at_most")).values(failures=d.c.failures + 1)
_GIVE_BACK_DEVICE = sa.update(d).where(*_DEVICE, d.c.failures > 0).values(failures=d.c.failures - 1)
_DROP_DEVICE = sa.delete(d).where(*_DEVICE)
_OF_USER = (users.c.tenant_id == TENANT, users.c.id == sa.bindparam("of_user"))
_HOLD_USER = sa.select(users.c.id).where(*_OF_USER).with_for_update(read=True, key_share=True)
_IS_ALIVE = (
    sa.select(s.c.id)
    .where(
        s.c.tenant_id == TENANT,
        s.c.user_id == sa.bindparam("of_user"),
        s.c.id == sa.bindparam("of_session"),
        s.c.ended_at.is_(None),
    )
    .exists()
)
"""Whatever changes a password ends sessions with it. So the password of who has such a session is what was proven."""
_UNTIL = sa.bindparam("until", type_=sa.BigInteger())
_RENEW_DEVICE = (
    sa.update(d)
    .where(*_DEVICE, d.c.user_id == sa.bindparam("of_user"), _IS_ALIVE)
    .values(
        password_changed_at=sa.select(users.c.password_changed_at).where(*_OF_USER).scalar_subquery(),
        failures=0,
        last_used_at=_MOMENT,
        expires_at=_UNTIL,
    )
)
_NAMES = ("tenant_id", "digest", "user_id", "password_changed_at", "failures", "last_used_at", "expires_at")
_NEW = sa.select(
    TENANT,
    sa.bindparam("of_digest", type_=sa.String()),
    users.c.id,
    users.c.password_changed_at,
    sa.literal(0),
    _MOMENT,
    _UNTIL,
).where(*_OF_USER)
_ADD_DEVICE = sa.insert(d).from_select(_NAMES, _NEW.where(_IS_ALIVE))
_ADD_OF_LOCKED = sa.insert(d).from_select(_NAMES, _NEW)
_DEVICES = sa.select(d.c.last_used_at, d.c.failures, d.c.expires_at).where(
    d.c.tenant_id == TENANT, d.c.user_id == sa.bindparam("of_user")
)
_NEWEST = (
    sa.select(d.c.digest)
    .where(d.c.tenant_id == TENANT, d.c.user_id == sa.bindparam("of_user"))
    .order_by(d.c.last_used_at.desc(), d.c.digest)
    .limit(sa.bindparam("at_most"))
)
_DROP_OLDEST = sa.delete(d).where(
    d.c.tenant_id == TENANT, d.c.user_id == sa.bindparam("of_user"), d.c.digest.not_in(_NEWEST)
)
_PRUNE_DEVICES = forget_some(d, d.c.expires_at <= _MOMENT, oldest=d.c.expires_at)


def list_devices(tx: Transaction, user_id: uuid.UUID) -> list[dict[str, Any]]:
    """What is stored of a user's devices, but for what they are known by."""
    return [dict(row) for row in tx.execute(_DEVICES, {"of_user": user_id}).mappings()]


def find_device(tx: Transaction, digests: Sequence[str], email_key: str, now: int) -> str | None:
    """The device that the user with this address has logged in from with their present password, or None."""
    values: dict[str, Any] = {"of_digests": digests, "of_email": email_key, "moment": now}
    found: str | None = tx.execute(_FIND_DEVICE, values).scalars().first()
    return found


def count_device(tx: Transaction, device: str, *, at_most: int) -> bool:
    """One more try from a device. False: it has used them up, and is forgotten."""
    if tx.execute(_COUNT_DEVICE, {"of_digest": device, "at_most": at_most}).rowcount == 1:
        return True
    tx.execute(_DROP_DEVICE, {"of_digest": device})
    return False


def give_back_device(tx: Transaction, device: str) -> None:
    """One try less from a device."""
    tx.execute(_GIVE_BACK_DEVICE, {"of_digest": device})


def save_device(
    tx: Transaction, device: str, user_id: uuid.UUID, session_id: uuid.UUID, *, now: int, until: int, at_most: int
) -> None:
    """The user has logged in from this device, if their session still lives: else the password may be another one now.

    Of more than `at_most` the one unused for longest is forgotten. The user is held first, as whoever unlocks or erases
    them does; a device that is known stays in its row, so that a login beside this one from the same browser finds it.
    """
    tx.execute(_HOLD_USER, {"of_user": user_id})
    values = {"of_digest": device, "of_user": user_id, "of_session": session_id, "moment": now, "until": until}
    if not tx.execute(_RENEW_DEVICE, values).rowcount:
        tx.execute(_DROP_DEVICE, {"of_digest": device})
        tx.execute(_ADD_DEVICE, values)
    tx.execute(_DROP_OLDEST, {"of_user": user_id, "at_most": at_most})


def add_device(tx: Transaction, device: str, user_id: uuid.UUID, *, now: int, until: int, at_most: int) -> None:
    """A new device of a user whom the caller has locked: nobody gives them another password before this commits."""
    tx.execute(_ADD_OF_LOCKED, {"of_digest": device, "of_user": user_id, "moment": now, "until": until})
    tx.execute(_DROP_OLDEST, {"of_user": user_id, "at_most": at_most})


def prune(tx: Transaction, now: int, *, count: int) -> int:
    """Platform step: forget up to `count` devices that have run out. Answers how many."""
    return tx.execute(_PRUNE_DEVICES, {"moment": now, COUNT: count}).rowcount
