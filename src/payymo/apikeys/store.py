"""SQL for `api_keys`."""

import uuid
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from payymo.apikeys.model import ApiKey
from payymo.db.schema import TENANT, tenants, users
from payymo.db.schema import api_keys as k
from payymo.db.work import Transaction
from payymo.feed.store import POSITION

LISTED_AT_MOST: Final = 200
_OWN = k.c.tenant_id == TENANT
_OF_ID = k.c.id == sa.bindparam("of_id")
_MOMENT = sa.bindparam("moment", type_=sa.BigInteger())
_IS_LIVING = sa.and_(k.c.revoked_at.is_(None), k.c.expires_at > _MOMENT)
_NAMES: Final = tuple(column.name for column in k.c)
_INSERTS: Final = (("postgresql", postgresql.insert), ("sqlite", sqlite.insert))

_FIND_ANYWHERE = sa.select(*k.c, tenants.c.status).join(tenants, tenants.c.id == k.c.tenant_id).where(_OF_ID)
_LIST = (
    sa.select(*k.c, users.c.username.label("creator"))
    .select_from(k.outerjoin(users, sa.and_(users.c.tenant_id == TENANT, users.c.id == k.c.created_by)))
    .where(_OWN)
    .order_by(sa.case((_IS_LIVING, 0), else_=1), k.c.created_at.desc(), k.c.id)
    .limit(LISTED_AT_MOST)
)
_FIND = sa.select(*k.c).where(_OWN, _OF_ID)
_LOCK = _FIND.with_for_update()
_LOCK_LIVING = sa.select(k.c.id).where(_OWN, _IS_LIVING).order_by(k.c.id).with_for_update()
_COUNT_LIVING = sa.select(sa.func.count(k.c.id)).where(_OWN, _IS_LIVING)
_ADD = {
    name: insert(k)
    .values(tenant_id=TENANT, **{name: sa.bindparam(f"new_{name}", type_=k.c[name].type) for name in _NAMES[1:]})
    .on_conflict_do_nothing()
    .returning(k.c.id)
    for name, insert in _INSERTS
}
_END_EXPIRED = (
    sa.update(k)
    .where(_OWN, k.c.name == sa.bindparam("of_name"), k.c.revoked_at.is_(None), k.c.expires_at <= _MOMENT)
    .values(revoked_at=k.c.expires_at)
)
_END = sa.update(k).where(_OWN, _OF_ID).values(revoked_at=_MOMENT)
_STANDING = sa.select(
    k.c.revoked_at,
    k.c.access_expires_at,
    sa.select(tenants.c.status).where(tenants.c.id == TENANT).scalar_subquery().label("tenant_status"),
    POSITION.label("position"),
).where(_OWN, _OF_ID)
_NOTE_USE = (
    sa.update(k)
    .where(_OWN, _OF_ID, k.c.revoked_at.is_(None), k.c.access_expires_at < sa.bindparam("least"))
    .values(
        last_used_at=_MOMENT, last_used_address=sa.bindparam("from_address"), access_expires_at=sa.bindparam("until")
    )
)


class Standing(NamedTuple):
    """What is asked of a key at the moment at which it is exchanged: of one snapshot."""

    revoked_at: int | None
    access_expires_at: int
    tenant_status: str | None
    position: int


def find_anywhere(tx: Transaction, key_id: uuid.UUID) -> tuple[ApiKey, str] | None:
    """Platform step: the key of this id, and the status of its tenant; None: there is none."""
    row = tx.execute(_FIND_ANYWHERE, {"of_id": key_id}).mappings().one_or_none()
    return None if row is None else (_read(row), row["status"])


def list_keys(tx: Transaction, *, now: int) -> tuple[tuple[ApiKey, str | None], ...]:
    """Every living key and the newest of the others, each with the name of who made it, if they are still there."""
    return tuple((_read(row), row["creator"]) for row in tx.execute(_LIST, {"moment": now}).mappings())


def find(tx: Transaction, key_id: uuid.UUID) -> ApiKey | None:
    """The key, or None."""
    row = tx.execute(_FIND, {"of_id": key_id}).mappings().one_or_none()
    return None if row is None else _read(row)


def lock(tx: Transaction, key_id: uuid.UUID) -> ApiKey | None:
    """The key, locked until the transaction ends, or None."""
    row = tx.execute(_LOCK, {"of_id": key_id}).mappings().one_or_none()
    return None if row is None else _read(row)


def count_living(tx: Transaction, *, now: int) -> int:
    """How many there are. They are locked, so that of two who add one, the second counts that of the first."""
    tx.execute(_LOCK_LIVING, {"moment": now}).all()
    count: int = tx.execute(_COUNT_LIVING, {"moment": now}).scalar_one()
    return count


def add(tx: Transaction, key: ApiKey) -> bool:
    """Add one. False: the name is in use. One of that name that has expired gives way."""
    tx.execute(_END_EXPIRED, {"of_name": key.name, "moment": key.created_at})
    values = asdict(key) | {"permissions": list(key.permissions)}
    row = {f"new_{name}": values[name] for name in _NAMES[1:]}
    return tx.execute(_ADD[tx.dialect], row).scalar() is not None


def end(tx: Transaction, key_id: uuid.UUID, *, now: int) -> None:
    """Revoke it."""
    tx.execute(_END, {"of_id": key_id, "moment": now})


def find_standing(tx: Transaction, key_id: uuid.UUID) -> Standing | None:
    """Whether it still counts, and of which changes that is known; None: it is gone."""
    row = tx.execute(_STANDING, {"of_id": key_id}).one_or_none()
    return None if row is None else Standing(*row)


def note_use(tx: Transaction, key_id: uuid.UUID, *, now: int, address: str, least: int, until: int) -> None:
    """It was used just now, and no token of it lives longer than `until`.

    Nothing, if somebody else has written meanwhile that none lives longer than what is at `least` or later.
    """
    values = {"of_id": key_id, "moment": now, "from_address": address, "least": least, "until": until}
    tx.execute(_NOTE_USE, values)


def _read(row: Mapping[Any, Any]) -> ApiKey:
    facts = {name: row[name] for name in _NAMES}
    return ApiKey(digest=bytes(facts.pop("digest")), permissions=tuple(facts.pop("permissions")), **facts)
