"""A PostgreSQL that takes no writes: a failover has gone the wrong way, or has only begun."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from tests.cli.test_commands import Shell
from tests.support.house import Database, House


@pytest.fixture
def house(postgres_database: Database) -> Iterator[House]:
    built = House(postgres_database)
    built.user("alice")
    yield built
    built.close()


def demote(house: House, *, reads_only: bool) -> None:
    """Every session from now on, as on a standby, or as on the server that was one."""
    owner = house.database.owner()
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("SET default_transaction_read_only = off")
        name = connection.execute(sa.text("SELECT current_database()")).scalar_one()
        standing = "on" if reads_only else "off"
        connection.exec_driver_sql(f'ALTER DATABASE "{name}" SET default_transaction_read_only = {standing}')
    owner.dispose()


def test_what_writes_is_unavailable_until_there_is_a_server_that_takes_it(house: House) -> None:
    """503, as while the database is away: it passes. A connection that was refused once is not asked again."""
    client = house.client()
    house.services.engine.dispose()
    demote(house, reads_only=True)
    refused = client.log_in()
    assert (refused.status_code, refused.get_json()["code"]) == (503, "unavailable")
    ready = client.get("/health/ready")
    assert (ready.status_code, ready.get_json()["data"]["checks"]["database"]) == (503, "failing")
    demote(house, reads_only=False)
    client.log_in()
    assert client.log_in().status_code == 200


def test_a_command_says_that_nothing_can_be_written(house: House) -> None:
    """In a sentence."""
    demote(house, reads_only=True)
    done = Shell(house.database).run("db", "prune")
    assert (done.exit_code, type(done.exception)) == (1, SystemExit)
    assert "ReadOnlySqlTransaction" in done.stderr
    status = Shell(house.database).run("status")
    assert status.exit_code == 1
    assert "it takes no writes" in status.stdout
    demote(house, reads_only=False)
