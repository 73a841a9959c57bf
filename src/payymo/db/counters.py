"""The file in which SQLite counts for rate limits: made on the spot, and made anew when it is damaged or gone.

It is never synced to disk, so that a power cut may leave anything of it. What it holds is worth nothing after that, and
no reason not to serve.
"""

import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import DBAPIError

from payymo.db.file import follow_file
from payymo.db.process import keep_to_process
from payymo.db.schema import rate_limits
from payymo.db.wal import use_write_ahead_log
from payymo.db.work import reaching

_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_TABLE: Final = str(sa.schema.CreateTable(rate_limits, if_not_exists=True).compile(dialect=sqlite.dialect()))


def counters_engine(url: str) -> sa.Engine:
    """An engine on that file. Raises Misconfigured: there can't be one."""
    engine = sa.create_engine(url, connect_args={"timeout": 5})
    keep_to_process(engine)
    event.listen(engine, "connect", _prepare)
    follow_file(engine)
    event.listen(engine, "begin", _begin)
    event.listen(engine, "handle_error", _leave_damaged)
    with suppress(DBAPIError):  # damaged: it is gone then
        engine.connect().close()
    with reaching(engine):
        engine.connect().close()
    return engine


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None
    use_write_ahead_log(connection)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute(_TABLE)


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _leave_damaged(context: ExceptionContext) -> None:
    """Remove what can't be read. Everybody's next connection begins a new one (`payymo.db.file`)."""
    code = getattr(context.original_exception, "sqlite_errorcode", sqlite3.SQLITE_OK)
    if context.engine is None or code & 0xFF not in _DAMAGED:
        return
    context.is_disconnect = True
    path = Path(context.engine.url.database or "")
    for name in (f"{path.name}-wal", f"{path.name}-shm", path.name):  # the log first: it belongs to no other file
        with suppress(OSError):
            path.with_name(name).unlink()
