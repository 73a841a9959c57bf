"""Connections of another process: a child that was forked has its parent's, and both would speak over the same ones.

An application that mounts the service is forked once it is built, by servers that load it first (gunicorn's --preload,
uWSGI). Each would read the other's answers then, whoever they are about.
"""

import os
import weakref
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError

_KEY: Final = "payymo_process"
_engines: Final = weakref.WeakSet[sa.Engine]()
_inherited: Final[list[object]] = []


def leave_to_parent(what: object) -> None:
    """Never use it again, and never let it go: whatever closes it here may end it there, too."""
    _inherited.append(what)


def keep_to_process(engine: sa.Engine) -> None:
    """Let the pool hand out no connection that another process has opened."""

    def remember(_connection: object, record: Any) -> None:
        record.info[_KEY] = os.getpid()

    def compare(connection: object, record: Any, proxy: Any) -> None:
        if record.info.get(_KEY) != os.getpid():  # of a fork that Python was not told of, else the pool is another one
            leave_to_parent(connection)
            record.dbapi_connection = proxy.dbapi_connection = None
            raise DisconnectionError("it was opened by the process that this one was forked from")

    event.listen(engine, "connect", remember)
    event.listen(engine, "checkout", compare)
    _engines.add(engine)


def _begin_anew() -> None:
    """In the child: with another pool, for the lock of this one may be held by a thread that is not here."""
    for engine in list(_engines):
        leave_to_parent(engine.pool)
        engine.dispose(close=False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
