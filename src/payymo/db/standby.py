"""A server that only reads: one to which a failover has gone the wrong way, or that was the first before it."""

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import ExceptionContext

_READ_ONLY = "25006"
"""PostgreSQL's `read_only_sql_transaction`."""


def leave_standby(context: ExceptionContext) -> None:
    """Take a refused write for the end of the connection: the next one may lead to a server that takes it."""
    if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY:
        context.is_disconnect = True


def is_standby(engine: sa.Engine) -> bool:
    """Whether the server takes no writes."""
    if engine.dialect.name != "postgresql":
        return False
    with engine.connect().execution_options(payymo_begin="BEGIN") as connection:
        return connection.exec_driver_sql("SHOW transaction_read_only").scalar() == "on"
