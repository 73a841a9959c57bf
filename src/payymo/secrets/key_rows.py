"""SQL for data keys: what wraps secrets, and is itself wrapped under a master key.

What belongs to a tenant and what belongs to the service stand in two tables of the same form. Which one is meant is
said by the transaction: tenant work sees its tenant's, platform work the service's.
"""

import uuid
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from payymo.db.schema import (
    PLATFORM_LOG,
    TENANT,
    audit_inbox,
    audit_payloads,
    data_keys,
    service_data_keys,
    tenants,
)
from payymo.db.work import Transaction
from payymo.secrets.model import DataKey

_INSERTS: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}

_FIELDS = ("id", "purpose", "generation", "wrapped", "master_key_id", "created_at")


class _KeyTable:
    """The statements on one of the two tables of data keys."""

    def __init__(self, table: sa.Table, *own: sa.ColumnElement[bool]) -> None:
        columns = tuple(table.c[name] for name in _FIELDS)
        purpose = table.c.purpose == sa.bindparam("of_purpose")
        newest = sa.select(sa.func.max(table.c.generation)).where(*own, purpose).scalar_subquery()
        self.newest = sa.select(*columns).where(*own, purpose).order_by(table.c.generation.desc()).limit(1)
        self.by_id = sa.select(*columns).where(*own, table.c.id == sa.bindparam("of_id"))
        self.older = sa.select(table.c.id).where(*own, purpose, table.c.generation < newest)
        log = TENANT if own else sa.literal(PLATFORM_LOG, sa.Uuid())
        self.drop = sa.delete(table).where(
            *own,
            table.c.id == sa.bindparam("of_id"),
            # Logs outlive tenants, so that no foreign key says it: a key stays while an event is sealed under it.
            *(
                ~sa.exists(
                    sa.select(sealed.c.id).where(
                        sealed.c.tenant_id == log, sealed.c.data_key_id == sa.bindparam("of_id")
                    )
                )
                for sealed in (audit_inbox, audit_payloads)
            ),
        )
        values: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in _FIELDS}
        if own:
            values["tenant_id"] = TENANT
        self.add = {name: insert(table).values(values).on_conflict_do_nothing() for name, insert in _INSERTS.items()}
        self.list_wrapped = (
            sa.select(*(columns if "tenant_id" not in table.c else (*columns, table.c.tenant_id)))
            .where(table.c.master_key_id == sa.bindparam("of_master"))
            .order_by(table.c.created_at, table.c.id)
            .limit(sa.bindparam("count"))
        )
        self.oldest = self.list_wrapped.where(table.c.wrapped != b"")
        self.count_wrapped = sa.select(sa.func.count()).where(table.c.master_key_id == sa.bindparam("of_master"))
        self.rewrap = (
            sa.update(table)
            .where(
                table.c.id == sa.bindparam("of_id"),
                table.c.master_key_id == sa.bindparam("of_master"),
                table.c.wrapped == sa.bindparam("of_wrapped"),  # not what was shredded meanwhile
            )
            .values(wrapped=sa.bindparam("new_wrapped"), master_key_id=sa.bindparam("new_master"))
        )


_OF_TENANTS = _KeyTable(data_keys, data_keys.c.tenant_id == TENANT)
_OF_SERVICE = _KeyTable(service_data_keys)
_TENANT_PURPOSES = (
    sa.select(data_keys.c.tenant_id, data_keys.c.purpose)
    .join(tenants, tenants.c.id == data_keys.c.tenant_id)
    .where(tenants.c.status != "deleted")
    .distinct()
)
_TENANT_STATUS = sa.select(tenants.c.status).where(tenants.c.id == TENANT)
_SHRED = sa.update(data_keys).where(data_keys.c.tenant_id == sa.bindparam("of_tenant")).values(wrapped=b"")
_SERVICE_PURPOSES = sa.select(sa.null(), service_data_keys.c.purpose).distinct()


def find_tenant_status(tx: Transaction) -> str | None:
    """The status of the transaction's tenant, or None."""
    found: str | None = tx.execute(_TENANT_STATUS).scalar()
    return found


def _keys(tx: Transaction) -> _KeyTable:
    return _OF_SERVICE if tx.tenant_id is None else _OF_TENANTS


def find_newest_key(tx: Transaction, purpose: str) -> DataKey | None:
    """The data key that values of this purpose are sealed under now, or None."""
    row = tx.execute(_keys(tx).newest, {"of_purpose": purpose}).one_or_none()
    return None if row is None else DataKey(*row)


def find_key(tx: Transaction, key_id: uuid.UUID) -> DataKey | None:
    """The data key, or None."""
    row = tx.execute(_keys(tx).by_id, {"of_id": key_id}).one_or_none()
    return None if row is None else DataKey(*row)


def add_key(tx: Transaction, key: DataKey) -> None:
    """Add a data key; when its generation is there already, that one stays."""
    tx.execute(_keys(tx).add[tx.dialect], {f"new_{name}": value for name, value in asdict(key).items()})


def list_older_keys(tx: Transaction, purpose: str) -> Sequence[uuid.UUID]:
    """The data keys that have a successor."""
    return tx.execute(_keys(tx).older, {"of_purpose": purpose}).scalars().all()


def drop_key(tx: Transaction, key_id: uuid.UUID) -> bool:
    """Destroy a data key. False while a row is sealed under it."""
    try:
        tx.execute(_keys(tx).drop, {"of_id": key_id})
    except IntegrityError:
        return False
    return True


def list_purposes(tx: Transaction) -> tuple[tuple[uuid.UUID | None, str], ...]:
    """Whose data keys there are, and what for; None is the service. Platform work."""
    return tuple((row[0], row[1]) for text in (_SERVICE_PURPOSES, _TENANT_PURPOSES) for row in tx.execute(text))


def shred(tx: Transaction, tenant_id: uuid.UUID) -> None:
    """Overwrite every data key of a tenant. The rows stay, because others refer to them. Platform work."""
    tx.execute(_SHRED, {"of_tenant": tenant_id})


def list_wrapped(tx: Transaction, master_id: str, *, count: int) -> list[tuple[uuid.UUID | None, DataKey]]:
    """At most `count` data keys under this master key, and whose they are. Platform work."""
    values = {"of_master": master_id, "count": count}
    found: list[tuple[uuid.UUID | None, DataKey]] = [
        (None, DataKey(*row)) for row in tx.execute(_OF_SERVICE.list_wrapped, values)
    ]
    return found or [(row.tenant_id, DataKey(*row[:-1])) for row in tx.execute(_OF_TENANTS.list_wrapped, values)]


def list_oldest(tx: Transaction, master_id: str, *, count: int) -> list[tuple[uuid.UUID | None, DataKey]]:
    """At most `count` data keys under this master key that are not shredded, the oldest first. Platform work."""
    values = {"of_master": master_id, "count": count}
    found: list[tuple[uuid.UUID | None, DataKey]] = [
        (None, DataKey(*row)) for row in tx.execute(_OF_SERVICE.oldest, values)
    ]
    found += [(row.tenant_id, DataKey(*row[:-1])) for row in tx.execute(_OF_TENANTS.oldest, values)]
    return sorted(found, key=lambda one: one[1].created_at)[:count]


def count_wrapped(tx: Transaction, master_id: str) -> int:
    """How many data keys are under this master key. Platform work."""
    return sum(
        tx.execute(table.count_wrapped, {"of_master": master_id}).scalar() or 0 for table in (_OF_SERVICE, _OF_TENANTS)
    )


def rewrap(tx: Transaction, tenant_id: uuid.UUID | None, key: DataKey, wrapped: bytes, *, master_id: str) -> bool:
    """The same data key under another master key. False: it is not what it was any more. Platform work."""
    table = _OF_SERVICE if tenant_id is None else _OF_TENANTS
    values = {
        "of_id": key.id,
        "of_master": key.master_key_id,
        "of_wrapped": key.wrapped,
        "new_wrapped": wrapped,
        "new_master": master_id,
    }
    return tx.execute(table.rewrap, values).rowcount == 1
