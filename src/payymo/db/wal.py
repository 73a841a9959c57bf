"""Turning an SQLite file to its write-ahead log while other processes do the same."""

import sqlite3
from typing import Final

ATTEMPTS: Final = 50


def use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Readers go on while one writes, from now on and for everybody who opens the file.

    SQLite doesn't wait here as it does elsewhere: whoever reads the file's header and then wants to change it is told
    "locked" at once, because two who do that would wait for each other. So we let the other one finish, and try again.
    Raises sqlite3.OperationalError: somebody else has kept the file all the while.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as refused:
            if refused.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            connection.execute("BEGIN EXCLUSIVE")  # this does wait, as long as the connection's timeout says
            connection.execute("COMMIT")
        else:
            return
    connection.execute("PRAGMA journal_mode=WAL")
