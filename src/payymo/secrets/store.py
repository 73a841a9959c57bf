"""SQL for `service_secrets`."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from payymo.db.schema import service_secrets
from payymo.db.work import Transaction

_FIND = sa.select(service_secrets.c.sealed).where(service_secrets.c.name == sa.bindparam("secret_name"))
_ADD = {
    "postgresql": postgresql.insert(service_secrets).on_conflict_do_nothing(),
    "sqlite": sqlite.insert(service_secrets).on_conflict_do_nothing(),
}


def find_sealed(tx: Transaction, name: str) -> bytes | None:
    """The sealed value, or None."""
    sealed: bytes | None = tx.execute(_FIND, {"secret_name": name}).scalar()
    return sealed


def add_sealed(tx: Transaction, name: str, sealed: bytes, *, created_at: int) -> None:
    """Add a sealed value; one that is there already stays."""
    tx.execute(_ADD[tx.dialect], {"name": name, "sealed": sealed, "created_at": created_at})
