"""SQL for named secrets.

What belongs to a tenant and what belongs to the service stand in two tables of the same form. Which one is meant is
said by the transaction: tenant work sees its tenant's, platform work the service's.
"""

import uuid
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from payymo.db.closing import ASIDE
from payymo.db.schema import (
    TENANT,
    secrets,
    service_secrets,
)
from payymo.db.work import Transaction
from payymo.errors import Conflict
from payymo.sealed import Sealed, SealedRow
from payymo.secrets.model import SecretVersion

_INSERTS: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


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
