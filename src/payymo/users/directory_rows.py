"""SQL for pages of `users`: two ranges of keys, each along its unique index, whatever the tenant's size.

The keys are ASCII, and compared byte by byte on both databases (see `payymo.db.schema`): only so is what begins alike a
range.
"""

from typing import Final

import sqlalchemy as sa

from payymo.db.schema import TENANT
from payymo.db.schema import users as t
from payymo.db.work import Transaction
from payymo.users.model import User, UserKeys

_COLUMNS = (
    *(t.c.id, t.c.tenant_id, t.c.email, t.c.username, t.c.status, t.c.created_at, t.c.email_verified_at),
    t.c.language,
)


def _range_of(key: sa.Column[str]) -> sa.Select[tuple[object, ...]]:
    """One lower bound alone: of two, SQLite would seek to one and filter by the other."""
    return (
        sa.select(*_COLUMNS, t.c.username_key, t.c.email_key)
        .where(t.c.tenant_id == TENANT, key >= sa.bindparam("least"), key < sa.bindparam("beyond"))
        .order_by(key)
        .limit(sa.bindparam("count"))
    )


_BY_USERNAME: Final = _range_of(t.c.username_key)
_BY_EMAIL: Final = _range_of(t.c.email_key)


def list_by_username(tx: Transaction, least: str, beyond: str, *, count: int) -> tuple[UserKeys, ...]:
    """Users whose names are at least `least` and less than `beyond`, in order."""
    return _read(tx, _BY_USERNAME, least, beyond, count)


def list_by_email(tx: Transaction, least: str, beyond: str, *, count: int) -> tuple[UserKeys, ...]:
    """The same of addresses."""
    return _read(tx, _BY_EMAIL, least, beyond, count)


def _read(
    tx: Transaction, statement: sa.Select[tuple[object, ...]], least: str, beyond: str, count: int
) -> tuple[UserKeys, ...]:
    rows = tx.execute(statement, {"least": least, "beyond": beyond, "count": count})
    return tuple(UserKeys(User(*row[:-2]), *row[-2:]) for row in rows)
