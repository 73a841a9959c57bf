"""One look-up, asked over and over, in one round trip: for what every protected request has to know.

It runs outside of any transaction, on connections of its own, as the platform role on PostgreSQL, because a unit of
work costs four round trips. The statement still has to name its tenant in every table (`payymo.db.tenancy`); this
module fills the tenant in, and takes no values but identifiers and numbers.
"""

import os
import uuid
from collections import deque
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from payymo.db import schema
from payymo.db.file import note_file, require_file
from payymo.db.process import leave_to_parent
from payymo.db.tenancy import require_tenant
from payymo.errors import Unavailable


class Question:
    """A statement that answers one row. Several threads may ask at once: each has a connection meanwhile."""

    def __init__(self, engine: sa.Engine, statement: sa.Executable) -> None:
        require_tenant(statement)
        self._is_postgres = engine.dialect.name == "postgresql"
        self._engine = engine
        self._pool = _pool_beside(engine)
        compiled = statement.compile(dialect=engine.dialect)  # type: ignore[attr-defined]
        self._text = str(compiled)
        self._order: tuple[str, ...] | None = None if self._is_postgres else tuple(compiled.positiontup)
        self._constants = {name: value for name, value in compiled.params.items() if value is not None}
        self._failures = (SQLAlchemyError, engine.dialect.loaded_dbapi.Error)
        self._idle: deque[sa.PoolProxiedConnection] = deque()
        self._process = os.getpid()

    def ask(self, tenant_id: uuid.UUID | None = None, **values: uuid.UUID | int) -> Sequence[Any]:
        """The row. `tenant_id`: for what is about a tenant. Raises Unavailable when the database does not answer.

        A connection that lay idle may have died unnoticed, as after a restart of the database: then a new one is asked.
        """
        if self._process != os.getpid():
            leave_to_parent(self._idle)
            self._idle, self._process = deque(), os.getpid()
        given = {**self._constants, schema.TENANT.key: tenant_id, **values}
        parameters: Any = given if self._order is None else [_plain(given[name]) for name in self._order]
        try:
            try:
                return self._ask(self._idle.pop(), parameters)
            except (IndexError, *self._failures):
                return self._ask(self._open(), parameters)
        except self._failures as error:
            raise Unavailable(private=type(error).__name__) from error

    def close(self) -> None:
        """Give the idle connections back."""
        while self._idle:
            self._idle.pop().close()

    def _ask(self, connection: sa.PoolProxiedConnection, parameters: Any) -> Sequence[Any]:
        cursor = connection.cursor()
        try:
            if not self._is_postgres:
                require_file(self._engine, connection.info)
            cursor.execute(self._text, parameters)
            row: Sequence[Any] = cursor.fetchone() or ()
            cursor.close()
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return row

    def _open(self) -> sa.PoolProxiedConnection:
        """A connection on which each statement is a transaction of its own."""
        connection = self._pool.connect()
        driver: Any = connection.driver_connection
        if self._is_postgres:
            driver.autocommit = True
            driver.execute(f"SET ROLE {schema.PLATFORM_ROLE}")
        else:
            driver.isolation_level = None
            note_file(self._engine, connection.info)
        return connection


def _pool_beside(engine: sa.Engine) -> sa.NullPool:
    """Opens connections as the engine does. An engine of its own would ask the server anew what it can do."""
    dialect = engine.dialect
    words, options = dialect.create_connect_args(engine.url)
    given = engine.get_execution_options()
    options |= given.get("payymo_connect_args", {})
    connect = given.get("payymo_connect", dialect.connect)
    return sa.NullPool(
        lambda: connect(*words, **options),
        reset_on_return=None,  # there is no transaction to take back
        dialect=dialect,
    )


def _plain(value: Any) -> Any:
    """As SQLite keeps it."""
    return value.hex if isinstance(value, uuid.UUID) else value
