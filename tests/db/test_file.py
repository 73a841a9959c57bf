"""The file of an SQLite database: what is written goes into the one of that name, and what is deleted is gone."""

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import event

from payymo.db.work import connect
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


def test_what_is_deleted_is_written_over_however_sqlite_was_built(tmp_path: Path) -> None:
    """Erased people and destroyed keys would lie about in free pages: Debian's SQLite sees to it, others don't."""
    path = tmp_path / "payymo.db"
    engine = connect(f"sqlite:///{path}")
    event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA secure_delete=OFF"), insert=True)
    for statement in ("CREATE TABLE t (a)", "INSERT INTO t VALUES ('alice@example.com')", "DELETE FROM t"):
        with engine.begin() as connection:
            connection.exec_driver_sql(statement)
    engine.dispose()
    assert not path.with_name("payymo.db-wal").exists()
    assert b"alice" not in path.read_bytes()
