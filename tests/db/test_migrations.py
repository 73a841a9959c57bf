"""Migrations on both databases: from nothing, down and up again, and killed in the middle."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

from payymo.db import migrate, schema
from payymo.db.revision import current_revision, is_current
from payymo.db.work import connect
from tests.support import services
from tests.support.house import Database, fresh_name

TABLES = {table.name for table in schema.metadata.sorted_tables}
OURS = "(SELECT oid FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema')"
CATALOGUE = {
    "sqlite": "SELECT type, name FROM sqlite_master",
    "postgresql": f"""
        SELECT 'class', relname::text FROM pg_class WHERE relnamespace IN {OURS}
        UNION ALL SELECT 'type', typname::text FROM pg_type WHERE typnamespace IN {OURS}
        UNION ALL SELECT 'function', proname::text FROM pg_proc WHERE pronamespace IN {OURS}
        UNION ALL SELECT 'policy', polname::text FROM pg_policy
        UNION ALL SELECT 'schema', nspname::text FROM pg_namespace
        UNION ALL SELECT 'acl', nspname || nspacl::text FROM pg_namespace WHERE nspacl IS NOT NULL
        UNION ALL SELECT 'default acl', defaclacl::text FROM pg_default_acl""",
}


class Killed(BaseException):
    """The process is gone."""


@dataclass(frozen=True, slots=True)
class Empty:
    """A database without anything in it."""

    url: str

    def engine(self) -> sa.Engine:
        """A new engine, as a process of its own would have."""
        return connect(self.url, pool_size=2)

    def tables(self) -> set[str]:
        """Our tables that are there."""
        engine = self.engine()
        found = set(sa.inspect(engine).get_table_names())
        engine.dispose()
        return found & TABLES

    def catalogue(self) -> set[tuple[str, ...]]:
        """Everything of ours that is there, by kind and name."""
        engine = self.engine()
        with engine.connect() as connection:
            found = {tuple(row) for row in connection.execute(sa.text(CATALOGUE[engine.dialect.name]))}
        engine.dispose()
        return found

    def wipe(self) -> None:
        """Take everything back."""
        engine = self.engine()
        migrate.downgrade(engine, "base")
        with engine.begin() as connection:
            connection.execute(sa.text("DROP TABLE alembic_version"))
        engine.dispose()

    def upgrade(self, *, until: int | None = None) -> int:
        """Migrate; lose the connection before statement number `until`. Answers how many statements ran."""
        engine = self.engine()
        count = 0

        @sa.event.listens_for(engine, "before_cursor_execute")
        def kill(*given: Any) -> None:
            nonlocal count
            if count == until:
                given[1].connection.close()  # as the end of the process would
                raise Killed
            count += 1

        try:
            migrate.upgrade(engine)
        finally:
            engine.dispose()
        return count


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Empty]:
    """An empty database of each kind in turn."""
    if request.param == "sqlite":
        yield Empty(f"sqlite:///{tmp_path / 'empty.db'}")
        return
    server: services.Postgres = request.getfixturevalue("postgres_server")
    name = fresh_name()
    server.create_database(name)
    yield Empty(server.url(name))
    server.drop_database(name)


def test_from_nothing_to_the_schema(empty: Empty) -> None:
    """An empty database comes to exactly the schema of this version, and upgrading again changes nothing."""
    engine = empty.engine()
    assert current_revision(engine) is None
    assert migrate.differences(engine) != ()
    for _ in range(2):
        migrate.upgrade(engine)
        assert migrate.differences(engine) == ()
        assert is_current(engine)
    engine.dispose()
    assert empty.tables() == TABLES


def test_the_schema_is_alembics_newest() -> None:
    """`schema.REVISION` is the one head that the migrations have; a service compares with it, and never loads them."""
    config = Config()
    config.set_main_option("script_location", str(resources.files("payymo.db") / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [schema.REVISION]


def test_down_to_nothing_and_up_again(empty: Empty) -> None:
    """Every migration takes back what it made, and can make it again."""
    engine = empty.engine()
    migrate.upgrade(engine)
    migrate.downgrade(engine, "base")
    assert current_revision(engine) is None
    assert empty.tables() == set()
    migrate.upgrade(engine)
    assert migrate.differences(engine) == ()
    engine.dispose()


def test_a_difference_is_told(database: Database) -> None:
    """`differences` sees a column, an index and a table that are missing or too many."""
    for damage in (
        "ALTER TABLE users ADD COLUMN extra INTEGER",
        "DROP INDEX ix_sessions_expires_at",
        "DROP TABLE rate_limits",
        "CREATE TABLE stranger (id INTEGER PRIMARY KEY)",
    ):
        engine = database.owner()
        before = migrate.differences(engine)
        with engine.begin() as connection:
            connection.exec_driver_sql(damage)
        assert len(migrate.differences(engine)) > len(before), damage
        engine.dispose()


KILLS = 24
"""A migration for each of its statements takes long, and there are more with each table."""


def test_killed_anywhere_it_leaves_nothing_half_done(empty: Empty) -> None:
    """A migration that dies before any of its statements has done nothing, and the next attempt does all of it.

    Tried at the first and at the last ones, and evenly between: at other ones on the other database.
    """
    statements = empty.upgrade()
    assert statements > 15
    everything = empty.catalogue()
    empty.wipe()
    nothing = empty.catalogue()
    step = max(1, statements // KILLS)
    begin = step // 2 if empty.url.startswith("postgresql") else 0
    for number in sorted({0, *range(begin, statements, step), *range(statements - 4, statements)}):
        with pytest.raises(Killed):
            empty.upgrade(until=number)
        left = empty.catalogue()
        if left == everything:  # the last statements come after the commit of the migration
            empty.upgrade()
            empty.wipe()
        else:
            assert left == nothing, number  # so that the next attempt begins where the first one did
    empty.upgrade()
    engine = empty.engine()
    assert migrate.differences(engine) == ()
    engine.dispose()


def test_the_lock_goes_with_the_migration(empty: Empty) -> None:
    """Two engines of one process migrate one after the other: the first keeps no lock that the second waits for."""
    first, second = empty.engine(), empty.engine()
    migrate.upgrade(first)
    migrate.upgrade(second)
    assert is_current(second)
    first.dispose()
    second.dispose()
