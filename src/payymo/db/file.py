"""The file of an SQLite database, which somebody may remove, or put another one in the place of, as from a backup.

A connection goes on with the file that it has opened, whatever has become of its name: what it commits would be lost.
"""

import sqlite3
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError

_KEY = "payymo_file"


def follow_file(engine: sa.Engine) -> None:
    """Let the pool hand out no connection to a file that is not there any more under its name."""

    def remember(_connection: object, record: Any) -> None:
        note_file(engine, record.info)

    def compare(_connection: object, record: Any, _proxy: object) -> None:
        try:
            require_file(engine, record.info)
        except sqlite3.OperationalError as error:
            raise DisconnectionError(str(error)) from error

    event.listen(engine, "connect", remember)
    event.listen(engine, "checkout", compare)


def note_file(engine: sa.Engine, info: MutableMapping[Any, Any]) -> None:
    """Remember, with a connection, which file it has opened."""
    info[_KEY] = _identity_of(engine)


def require_file(engine: sa.Engine, info: MutableMapping[Any, Any]) -> None:
    """Raise OperationalError when the file of that name is another one by now."""
    if info.get(_KEY) != _identity_of(engine):
        raise sqlite3.OperationalError("the file of the database was replaced")


def _identity_of(engine: sa.Engine) -> tuple[int, int] | None:
    try:
        facts = Path(engine.url.database or "").stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino
