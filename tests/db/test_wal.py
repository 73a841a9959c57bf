"""Many processes may open the same new SQLite file at once: none of them is told that it is locked."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from payymo.db.wal import use_write_ahead_log

FILES = 3
PROGRAM = """
import sys
{imports}
for path in sys.argv[1:]:
    print(flush=True)
    sys.stdin.read(1)
    {opening}
"""
OPENERS = {
    "the database": ("from payymo.db.work import connect", "connect('sqlite:///' + path).connect().close()"),
    "the counters": (
        "from payymo.db.counters import counters_engine",
        "counters_engine('sqlite:///' + path)",
    ),
    "the receiver's memory": (
        "from pathlib import Path; from payymo_guard.webhooks import Memory",
        "Memory(Path(path)).is_first(b'1', now=1, until=2)",
    ),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that exists and has no write-ahead log yet."""
    with closing(sqlite3.connect(tmp_path / "new.db")) as connection:
        connection.execute("CREATE TABLE t (a)")
    return tmp_path / "new.db"


def test_whoever_finds_the_file_in_use_waits_and_tries_again(path: Path) -> None:
    """SQLite itself does not wait here, whatever the timeout."""
    with closing(sqlite3.connect(path, isolation_level=None)) as reader, closing(sqlite3.connect(path)) as other:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM t")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("PRAGMA journal_mode=WAL")
        other.set_trace_callback(lambda sql: reader.execute("COMMIT") if sql == "BEGIN EXCLUSIVE" else None)
        use_write_ahead_log(other)
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_file_that_somebody_keeps_is_refused_in_the_end(path: Path) -> None:
    """No loop for ever."""
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as reader,
        closing(sqlite3.connect(path, timeout=0)) as other,
    ):
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM t")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            use_write_ahead_log(other)


@pytest.mark.parametrize("what", OPENERS)
def test_processes_that_make_the_file_at_once_all_get_it(what: str, tmp_path: Path) -> None:
    """They start together, as the workers of a server and the receivers of a machine do."""
    imports, opening = OPENERS[what]
    paths = [str(tmp_path / f"{number}.db") for number in range(FILES)]
    arguments = [sys.executable, "-c", PROGRAM.format(imports=imports, opening=opening), *paths]
    started = [
        subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    for _ in paths:
        for one in started:
            assert one.stdout is not None
            one.stdout.readline()
        for one in started:
            assert one.stdin is not None
            one.stdin.write("g")
            one.stdin.flush()
    assert [one.communicate(timeout=60)[1] for one in started] == [""] * 6
