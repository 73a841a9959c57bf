"""SQL for `tenants`."""

import uuid
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from payymo.db.schema import LOGS, TENANT_TABLES
from payymo.db.schema import tenants as t
from payymo.db.work import Transaction
from payymo.errors import Conflict
from payymo.tenants.model import Tenant, TenantStatus

_COLUMNS = (t.c.id, t.c.slug, t.c.name, t.c.host, t.c.status, t.c.created_at)
_BY_SLUG = sa.select(*_COLUMNS).where(t.c.slug == sa.bindparam("of_slug"))
_BY_HOST = sa.select(*_COLUMNS).where(t.c.host == sa.bindparam("of_host"))
_BY_ID = sa.select(*_COLUMNS).where(t.c.id == sa.bindparam("of_id"))
_LIST = sa.select(*_COLUMNS).where(t.c.slug > sa.bindparam("after")).order_by(t.c.slug).limit(sa.bindparam("count"))
_ADD = sa.insert(t)
_SET_STATUS = (
    sa.update(t)
    .where(t.c.id == sa.bindparam("of_id"), t.c.status.in_(sa.bindparam("from", expanding=True)))
    .values(status=sa.bindparam("new_status"))
)
_DELETE = sa.delete(t).where(t.c.id == sa.bindparam("of_id"), t.c.status == "deleted")


def _delete_some(table: sa.Table) -> sa.Delete:
    key = [column for column in table.primary_key if column.name != "tenant_id"] or [table.c.tenant_id]
    own = table.c.tenant_id == sa.bindparam("of_id")
    some = sa.select(*key).where(own).limit(sa.bindparam("count"))
    return sa.delete(table).where(own, (sa.tuple_(*key) if len(key) > 1 else key[0]).in_(some))


_LOCK = {"postgresql": sa.text("SELECT pg_advisory_xact_lock(:key)").bindparams(key=0x7465_6E61)}
_DELETE_SOME = [_delete_some(table) for table in reversed(TENANT_TABLES) if table not in LOGS]
"""Whatever a tenant has, by the catalogue; what refers to something goes before it. Its log stays."""


def find_by_slug(tx: Transaction, slug: str) -> Tenant | None:
    """The tenant with this slug, or None."""
    row = tx.execute(_BY_SLUG, {"of_slug": slug}).one_or_none()
    return None if row is None else Tenant(*row)


def find_by_host(tx: Transaction, host: str) -> Tenant | None:
    """The tenant that this host name belongs to, or None."""
    row = tx.execute(_BY_HOST, {"of_host": host}).one_or_none()
    return None if row is None else Tenant(*row)


def find_by_id(tx: Transaction, tenant_id: uuid.UUID) -> Tenant | None:
    """The tenant, or None."""
    row = tx.execute(_BY_ID, {"of_id": tenant_id}).one_or_none()
    return None if row is None else Tenant(*row)


def list_tenants(tx: Transaction, *, after: str, count: int) -> tuple[Tenant, ...]:
    """`count` tenants whose slugs come after `after`, in order."""
    return tuple(Tenant(*row) for row in tx.execute(_LIST, {"after": after, "count": count}))


def add_tenant(tx: Transaction, tenant: Tenant) -> None:
    """Add a tenant. Raises Conflict when the slug or the host name is taken."""
    values = {name: getattr(tenant, name) for name in ("id", "slug", "name", "host", "status", "created_at")}
    try:
        tx.execute(_ADD, values)
    except IntegrityError:
        raise Conflict("A tenant with this slug or host name exists.") from None


def set_status(tx: Transaction, tenant_id: uuid.UUID, status: TenantStatus, *, of: Sequence[TenantStatus]) -> bool:
    """Change the status, if it is one of these. Whether it was."""
    return tx.execute(_SET_STATUS, {"of_id": tenant_id, "new_status": status, "from": of}).rowcount == 1


def delete_some(tx: Transaction, tenant_id: uuid.UUID, *, count: int) -> int:
    """Delete at most `count` rows of a tenant. Answers how many there were; 0 when nothing is left.

    One process at a time: what another one is deleting must not be taken for gone. When a row comes in that refers to
    those which are deleted, nothing is, and the answer is 1: there is more to do.
    """
    if tx.dialect in _LOCK:
        tx.execute(_LOCK[tx.dialect])
    try:
        for statement in _DELETE_SOME:
            if (deleted := tx.execute(statement, {"of_id": tenant_id, "count": count}).rowcount) > 0:
                return deleted
    except IntegrityError:
        return 1
    return 0


def delete_tenant(tx: Transaction, tenant_id: uuid.UUID) -> None:
    """Delete the row of a tenant that is marked as deleted."""
    tx.execute(_DELETE, {"of_id": tenant_id})
