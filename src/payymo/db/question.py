"""One look-up, asked over and over, in one round trip: for what every protected request has to know.

It runs outside of any transaction, on connections of its own, as the platform role on PostgreSQL, because a unit of
work costs four round trips. The statement still has to name its tenant in every table (`payymo.db.tenancy`); this
module fills the tenant in, and takes no values but identifiers.
"""

import uuid
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError

from payymo.db import schema
from payymo.db.tenancy import require_tenant
from payymo.errors import Unavailable


class Question:
    """A statement that answers one row."""

    def __init__(self, engine: sa.Engine, statement: sa.Executable) -> None:
        require_tenant(statement)
        self._engine = _unhurried_by_transactions(engine)
        self._is_postgres = engine.dialect.name == "postgresql"
        compiled = statement.compile(dialect=engine.dialect)  # type: ignore[attr-defined]
        self._text = str(compiled)
        self._order: tuple[str, ...] | None = None if self._is_postgres else tuple(compiled.positiontup)
        self._failures = (SQLAlchemyError, engine.dialect.loaded_dbapi.Error)

    def ask(self, tenant_id: uuid.UUID, **identifiers: uuid.UUID) -> Sequence[Any]:
        """The row. Raises Unavailable when the database does not answer.

        A pooled connection may have died unnoticed, as after a restart of the database: it is asked twice.
        """
        given = {schema.TENANT.key: tenant_id, **identifiers}
        parameters: Any = given if self._order is None else [given[name].hex for name in self._order]
        try:
            try:
                return self._ask(parameters)
            except self._failures:
                self._engine.dispose()
                return self._ask(parameters)
        except self._failures as error:
            raise Unavailable(private=type(error).__name__) from error

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def _ask(self, parameters: Any) -> Sequence[Any]:
        connection = self._engine.raw_connection()
        try:
            cursor = connection.cursor()
            try:
                cursor.execute(self._text, parameters)
                row: Sequence[Any] = cursor.fetchone() or ()
                return row
            finally:
                cursor.close()
        finally:
            connection.close()


def _unhurried_by_transactions(engine: sa.Engine) -> sa.Engine:
    """The same database, on connections that each statement is a transaction of its own on."""
    pool = engine.pool
    copy = sa.create_engine(
        engine.url,
        pool_size=pool.size() if isinstance(pool, sa.QueuePool) else 5,
        pool_reset_on_return=None,
        connect_args=engine.get_execution_options().get("payymo_connect_args", {}),
        hide_parameters=True,
    )

    @event.listens_for(copy, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        if engine.dialect.name == "postgresql":
            connection.autocommit = True
            connection.execute(f"SET ROLE {schema.PLATFORM_ROLE}")
        else:
            connection.isolation_level = None

    return copy
