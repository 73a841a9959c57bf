"""A lease: one process at a time, and another one when it has died."""

import sqlalchemy as sa

from payymo.background import Background
from tests.support.crew import Crew
from tests.support.house import Database, House
from tests.support.services import Postgres


def test_one_of_many_that_ask_at_once_gets_the_lease(house: House) -> None:
    """On both databases, without a wait."""
    leases = [house.services.lease("duty", seconds=30) for _ in range(8)]
    with Crew(8) as pool:
        assert sorted(pool.map(lambda lease: lease.take(), leases)) == [False] * 7 + [True]


def test_a_lease_is_renewed_by_its_holder_and_taken_from_a_dead_one(house: House) -> None:
    """To the second; another name is another lease."""
    mine, theirs = (house.services.lease("duty", seconds=30) for _ in range(2))
    assert mine.take()
    assert house.services.lease("other duty", seconds=30).take()
    house.clock.advance(29)
    assert not theirs.take()
    assert mine.take()
    house.clock.advance(29)
    assert not theirs.take()
    house.clock.advance(1)
    assert theirs.take()
    assert not mine.take()


def test_a_lease_that_is_given_back_is_free_at_once(house: House) -> None:
    """Who does not hold it can't give it back."""
    mine, theirs = (house.services.lease("duty", seconds=30) for _ in range(2))
    assert mine.take()
    theirs.give_back()
    assert not theirs.take()
    mine.give_back()
    assert theirs.take()


def test_a_lease_from_a_clock_that_was_ahead_for_a_moment_is_free_when_its_holder_has_died(house: House) -> None:
    """Nobody would do what it is for, for as long as the clock was ahead; some seconds between two change nothing."""
    theirs, mine = (house.services.lease("duty", seconds=30) for _ in range(2))
    house.clock.advance(5)
    assert theirs.take()
    house.clock.advance(-5)
    assert not mine.take()
    house.clock.advance(3600)
    assert theirs.take()
    house.clock.advance(-3600)
    assert mine.take()


def test_who_ends_while_the_database_is_away_ends_in_good_order(
    postgres_database: Database, postgres_server: Postgres
) -> None:
    """What it can't give back runs out; nothing that it has to end besides is left under way because of that."""
    house = House(postgres_database)
    background, name = Background(house.services), house.services.engine.url.database
    background.start()
    elsewhere = sa.create_engine(postgres_server.url(), isolation_level="AUTOCOMMIT")
    with elsewhere.connect() as connection:
        connection.exec_driver_sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        connection.exec_driver_sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        try:
            background.stop()
        finally:
            connection.exec_driver_sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    elsewhere.dispose()
    house.close()
