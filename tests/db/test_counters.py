"""The file in which SQLite counts for rate limits. It is worth nothing, and never a reason not to serve."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from payymo.clock import system_clock
from payymo.compose import compose
from payymo.db.counters import counters_engine
from payymo.errors import Misconfigured
from payymo.limits.limiter import RateLimiter
from payymo.limits.storage import SqlStorage
from tests.limits.test_limiter import passed, policy
from tests.support.house import Database, settings_for

Damage = Callable[[Path], object]


def scramble(path: Path) -> None:
    """As after a power cut: this file is never synced to disk."""
    path.write_bytes(b"\xa5" * path.stat().st_size)


def scramble_rows(path: Path) -> None:
    """The same, of all but the first page, which says what there is."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))


def test_the_service_begins_with_counters_that_a_power_cut_has_damaged(sqlite_database: Database) -> None:
    """They are begun anew, and hold from the first try on."""
    settings = settings_for(sqlite_database, limits={"login": "5/hour"})
    opened = compose(settings)
    passed(opened.limiter, "1.2.3.4", 3)
    opened.close()
    scramble(sqlite_database.data / "counters.db")
    again = compose(settings)
    assert passed(again.limiter, "1.2.3.4", 40) == 5
    again.close()


@pytest.mark.parametrize("damage", [scramble_rows, Path.unlink])
def test_counters_that_are_damaged_or_removed_meanwhile_are_begun_anew(tmp_path: Path, damage: Damage) -> None:
    """Within the second for which the limiter leaves them alone, and for every process."""
    path, told = tmp_path / "counters.db", list[str]()
    now = system_clock()
    storages = [SqlStorage(counters_engine(f"sqlite:///{path}"), lambda: now) for _ in range(2)]
    one, two = (RateLimiter(storage, policy(login="8/hour"), lambda: now, advise=told.append) for storage in storages)
    assert passed(one, "1.2.3.4", 4) == passed(two, "1.2.3.4", 4) == 4
    damage(path)
    passed(one, "1.2.3.4", 1)
    passed(two, "1.2.3.4", 1)
    now += 2
    assert passed(one, "5.6.7.8", 5) + passed(two, "5.6.7.8", 20) + passed(one, "5.6.7.8", 20) == 8
    for storage in storages:
        storage.close()


def test_counters_that_cannot_be_opened_are_named(tmp_path: Path) -> None:
    """A sentence, and no traceback; and what is not ours is left where it is."""
    (tmp_path / "counters.db").mkdir()
    with pytest.raises(Misconfigured, match=r"counters\.db can't be used: unable to open"):
        counters_engine(f"sqlite:///{tmp_path / 'counters.db'}")
    assert (tmp_path / "counters.db").is_dir()
