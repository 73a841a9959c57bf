"""SQL for master keys, data keys and named secrets.

What belongs to a tenant and what belongs to the service stand in two tables of the same form. Which one is meant is
said by the transaction: tenant work sees its tenant's, platform work the service's.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from payymo.db.closing import ASIDE
from payymo.db.schema import (
    PLATFORM_LOG,
    TENANT,
    audit_inbox,
    audit_payloads,
    data_keys,
    master_keys,
    secrets,
    service_data_keys,
    service_secrets,
    tenants,
)
from payymo.db.work import Transaction
from payymo.errors import Conflict
from payymo.sealed import Sealed, SealedRow
from payymo.secrets.model import DataKey, SecretVersion

_INSERTS: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


# ── master keys ──────────────────────────────────────────────────────────────────────────────────────────────────────

_MASTER_KEYS = sa.select(master_keys.c.id, master_keys.c.state, master_keys.c.is_development)
_CURRENT = sa.select(master_keys.c.id).where(master_keys.c.state == "current")
_ADD_MASTER = {
    name: insert(master_keys)
    .on_conflict_do_nothing()
    .execution_options(**{ASIDE: "at the first start nothing is sealed yet, and no event can be; a change is recorded"})
    for name, insert in _INSERTS.items()
}
_LOCK_MASTERS = {"postgresql": sa.text("SELECT pg_advisory_xact_lock(:key)").bindparams(key=0x6D61_7374)}
_LEAVE = sa.update(master_keys).where(master_keys.c.state == "current").values(state="leaving")
_MAKE_CURRENT = sa.update(master_keys).where(master_keys.c.id == sa.bindparam("of_id")).values(state="current")
_DROP_MASTER = sa.delete(master_keys).where(master_keys.c.id == sa.bindparam("of_id"), master_keys.c.state == "leaving")


@dataclass(frozen=True, slots=True)
class KnownMaster:
    """What the database knows of a master key."""

    id: str
    state: str
    is_development: bool


def list_masters(tx: Transaction) -> tuple[KnownMaster, ...]:
    """The master keys that something is wrapped under."""
    return tuple(KnownMaster(*row) for row in tx.execute(_MASTER_KEYS))


def find_current_master(tx: Transaction) -> str | None:
    """The id of the master key that new data keys are wrapped under, or None."""
    found: str | None = tx.execute(_CURRENT).scalar()
    return found


def lock_masters(tx: Transaction) -> None:
    """Let one process at a time change which master key is current. SQLite's writers are alone anyway."""
    if tx.dialect in _LOCK_MASTERS:
        tx.execute(_LOCK_MASTERS[tx.dialect])


def add_master(tx: Transaction, master_id: str, state: str, *, is_development: bool, now: int) -> None:
    """Know a master key; one that is known stays as it is."""
    row = {"id": master_id, "state": state, "is_development": is_development, "created_at": now}
    tx.execute(_ADD_MASTER[tx.dialect], row)


def make_current(tx: Transaction, master_id: str) -> None:
    """Wrap new data keys under this master key from now on."""
    tx.execute(_LEAVE)
    tx.execute(_MAKE_CURRENT, {"of_id": master_id})


def drop_master(tx: Transaction, master_id: str) -> bool:
    """Forget a master key that leaves. False while a data key, of whatever age, still needs it."""
    try:
        tx.execute(_DROP_MASTER, {"of_id": master_id})
    except IntegrityError:
        return False
    return True


# ── data keys ────────────────────────────────────────────────────────────────────────────────────────────────────────

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


# ── named secrets ────────────────────────────────────────────────────────────────────────────────────────────────────


class _SecretTable:
    """The statements on one of the two tables of named secrets."""

    def __init__(self, table: sa.Table, *own: sa.ColumnElement[bool]) -> None:
        self.table = table
        c = table.c
        named = c.name == sa.bindparam("of_name")
        version = c.version == sa.bindparam("of_version")
        alive = c.retired_at.is_(None)
        value = sa.select(c.version, c.sealed, c.data_key_id)
        self.newest = value.where(*own, named, alive).order_by(c.version.desc()).limit(1)
        self.one = value.where(*own, named, version, alive)
        self.last = sa.select(sa.func.max(c.version)).where(*own, named)
        self.list_all = sa.select(c.name, c.version, c.created_at, c.retired_at).where(*own).order_by(c.name, c.version)
        fields: dict[str, Any] = {
            name: sa.bindparam(f"new_{name}") for name in ("name", "version", "sealed", "data_key_id")
        }
        fields["created_at"] = sa.bindparam("moment")
        if own:
            fields["tenant_id"] = TENANT
        self.add = sa.insert(table).values(fields)
        self.retire = (
            sa.update(table)
            .where(*own, named, version, alive)
            .values(sealed=None, data_key_id=None, retired_at=sa.bindparam("moment"))
        )
        under_others = (c.data_key_id.is_not(None), c.data_key_id != sa.bindparam("newest"))
        self.list_sealed = (
            sa.select(c.name, c.version, c.sealed, c.data_key_id)
            .where(*own, *under_others)
            .limit(sa.bindparam("count"))
        )
        self.count_sealed = sa.select(sa.func.count(c.version)).where(*own, *under_others)
        self.reseal = (
            sa.update(table)
            .where(*own, named, version, c.data_key_id == sa.bindparam("old_key"))
            .values(sealed=sa.bindparam("new_sealed"), data_key_id=sa.bindparam("new_key"))
            .execution_options(**{ASIDE: "what is sealed stays what it is, and data-keys.rotated tells of it"})
        )


_TENANT_SECRETS = _SecretTable(secrets, secrets.c.tenant_id == TENANT)
_SERVICE_SECRETS = _SecretTable(service_secrets)


def _secrets(tx: Transaction) -> _SecretTable:
    return _SERVICE_SECRETS if tx.tenant_id is None else _TENANT_SECRETS


def secret_place(name: str, version: int) -> tuple[str, ...]:
    """What the value of a version is bound to."""
    return ("secrets", name, str(version), "value")


def find_secret(tx: Transaction, name: str, version: int | None) -> tuple[int, Sealed] | None:
    """A version that is not retired, the newest if None is named; or None."""
    if version is None:
        row = tx.execute(_secrets(tx).newest, {"of_name": name}).one_or_none()
    else:
        row = tx.execute(_secrets(tx).one, {"of_name": name, "of_version": version}).one_or_none()
    return None if row is None else (row.version, Sealed(bytes(row.sealed), row.data_key_id))


def last_version(tx: Transaction, name: str) -> int:
    """The highest version that there ever was; 0 when there was none."""
    return tx.execute(_secrets(tx).last, {"of_name": name}).scalar() or 0


def add_secret(tx: Transaction, name: str, version: int, sealed: Sealed, *, now: int) -> None:
    """Add a version. Raises Conflict when somebody else has added it a moment ago."""
    row = {"new_name": name, "new_version": version, "new_sealed": sealed.data, "new_data_key_id": sealed.data_key_id}
    try:
        tx.execute(_secrets(tx).add, {**row, "moment": now})
    except IntegrityError:
        raise Conflict("Somebody has put another version at the same moment. Please try again.") from None


def list_secrets(tx: Transaction) -> tuple[SecretVersion, ...]:
    """Every version, without values."""
    return tuple(SecretVersion(*row) for row in tx.execute(_secrets(tx).list_all))


def retire_secret(tx: Transaction, name: str, version: int, *, now: int) -> bool:
    """Destroy the value of a version. False: there is none."""
    return tx.execute(_secrets(tx).retire, {"of_name": name, "of_version": version, "moment": now}).rowcount == 1


def list_sealed(tx: Transaction, newest: uuid.UUID, *, count: int) -> list[SealedRow]:
    """At most `count` versions whose values are sealed under another data key."""
    rows = tx.execute(_secrets(tx).list_sealed, {"newest": newest, "count": count})
    return [
        SealedRow((row.name, row.version), secret_place(row.name, row.version), Sealed(row.sealed, row.data_key_id))
        for row in rows
    ]


def count_sealed(tx: Transaction, newest: uuid.UUID) -> int:
    """How many versions are sealed under another data key."""
    return tx.execute(_secrets(tx).count_sealed, {"newest": newest}).scalar() or 0


def reseal(tx: Transaction, row: SealedRow, sealed: Sealed) -> None:
    """The same value under another data key. What somebody else has retired meanwhile stays so."""
    name, version = row.key
    values: Mapping[str, Any] = {
        "of_name": name,
        "of_version": version,
        "old_key": row.sealed.data_key_id,
        "new_sealed": sealed.data,
        "new_key": sealed.data_key_id,
    }
    tx.execute(_secrets(tx).reseal, values)
