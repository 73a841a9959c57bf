"""The file of an SQLite database is replaced while the service runs."""

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.support.house import House


def test_what_is_answered_stands_in_the_file_that_bears_the_name(sqlite_house: House) -> None:
    """From the next transaction on, for what is written and for what is only asked."""
    path = Path(sqlite_house.services.engine.url.database or "")
    sqlite_house.user("alice")
    alice, backup = sqlite_house.logged_in("alice"), path.with_name("backup")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(backup)) as target:
        source.backup(target)
    sqlite_house.user("bob")
    alice.post("/api/auth/logout")
    assert alice.get("/api/auth/me").status_code == 401
    for name in ("-wal", "-shm"):
        path.with_name(path.name + name).unlink(missing_ok=True)
    backup.replace(path)
    assert alice.get("/api/auth/me").status_code == 200, "the logout is not in there"
    assert sqlite_house.client().register("carol").status_code == 201
    with closing(sqlite3.connect(path)) as found:
        names = [name for (name,) in found.execute("SELECT username FROM users ORDER BY username")]
    assert names == ["alice", "carol"]
