"""SQL for `one_time_links`."""

import uuid
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from payymo.db.schema import TENANT, tenants
from payymo.db.schema import one_time_links as t
from payymo.db.work import Transaction
from payymo.links.model import Link, LinkKind

_OWN = t.c.tenant_id == TENANT
_MOMENT = sa.bindparam("moment", type_=sa.BigInteger())
_FIELDS = tuple(Link.__dataclass_fields__)
_FIND = sa.select(*(t.c[name] for name in _FIELDS)).where(_OWN, t.c.id == sa.bindparam("of_id"))
_LOCK = _FIND.with_for_update()
_ADD = sa.insert(t).values(tenant_id=TENANT, **{name: sa.bindparam(f"new_{name}") for name in _FIELDS})
_REMOVE = sa.delete(t).where(_OWN, t.c.id == sa.bindparam("of_id"))
_END = sa.delete(t).where(
    _OWN, t.c.user_id == sa.bindparam("of_user"), t.c.kind.in_(sa.bindparam("of_kinds", expanding=True))
)
_LIST = sa.select(t.c.kind, t.c.subject, t.c.expires_at).where(_OWN, t.c.user_id == sa.bindparam("of_user"))
_SLUG = sa.select(tenants.c.slug).where(tenants.c.id == TENANT)
_EXPIRED = sa.select(t.c.id).where(t.c.expires_at <= _MOMENT).limit(sa.bindparam("count"))
_PRUNE = sa.delete(t).where(t.c.id.in_(_EXPIRED.with_for_update(skip_locked=True)))


def find(tx: Transaction, link_id: uuid.UUID) -> Link | None:
    """The link, or None."""
    row = tx.execute(_FIND, {"of_id": link_id}).one_or_none()
    return None if row is None else Link(*row)


def lock(tx: Transaction, link_id: uuid.UUID) -> Link | None:
    """The same; nobody else uses it before the transaction ends."""
    row = tx.execute(_LOCK, {"of_id": link_id}).one_or_none()
    return None if row is None else Link(*row)


def add(tx: Transaction, link: Link) -> None:
    """Add a link."""
    tx.execute(_ADD, {f"new_{name}": getattr(link, name) for name in _FIELDS})


def remove(tx: Transaction, link_id: uuid.UUID) -> None:
    """It is used."""
    tx.execute(_REMOVE, {"of_id": link_id})


def end(tx: Transaction, user_id: uuid.UUID, kinds: Sequence[LinkKind]) -> None:
    """Refuse a user's links of these kinds from now on."""
    tx.execute(_END, {"of_user": user_id, "of_kinds": kinds})


def list_facts(tx: Transaction, user_id: uuid.UUID) -> list[dict[str, Any]]:
    """What is stored of a user's links, but for what they are checked by."""
    return [dict(row) for row in tx.execute(_LIST, {"of_user": user_id}).mappings()]


def find_slug(tx: Transaction) -> str:
    """How requests name the transaction's tenant."""
    slug: str = tx.execute(_SLUG).scalar_one()
    return slug


def prune(tx: Transaction, *, now: int, count: int) -> int:
    """Platform step: forget up to `count` links that have expired. Answers how many."""
    return tx.execute(_PRUNE, {"moment": now, "count": count}).rowcount
