"""A PostgreSQL that vanishes without a word is given up, instead of holding every thread for a quarter of an hour."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from payymo.db.patience import SILENT_SECONDS, TIME_TAKEN_SECONDS, arguments_for, patience_for
from payymo.db.question import Question
from payymo.db.work import Work, connect
from payymo.errors import Unavailable
from payymo.feed import store
from tests.support.house import Database
from tests.support.services import Postgres

STUCK_SECONDS = 30
_ITS_PROCESSES = sa.text(
    "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


def settings_of(descriptor: int) -> list[int]:
    """What the system was told of a connection: after how long it ends when nothing is acknowledged."""
    with socket.socket(fileno=os.dup(descriptor)) as found:
        asked = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE), (socket.IPPROTO_TCP, socket.TCP_KEEPCNT)]
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            asked.append((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))
        return [found.getsockopt(*option) for option in asked]


def test_what_a_lost_server_does_not_acknowledge_ends_the_connection(postgres_database: Database) -> None:
    """Of transactions, and of what is asked on every protected route."""
    expected = [1, SILENT_SECONDS // 2, SILENT_SECONDS * 1000]
    engine = connect(postgres_database.url)
    with engine.connect() as connection:
        found = settings_of(connection.connection.driver_connection.fileno())  # type: ignore[union-attr]
    assert found == expected[: len(found)]
    question = Question(engine, store.HEAD)
    question.ask()
    assert settings_of(question._idle[0].driver_connection.fileno()) == found  # type: ignore[union-attr]
    question.close()
    engine.dispose()


@pytest.fixture
def frozen(postgres_database: Database, postgres_server: Postgres) -> Iterator[Callable[[], None]]:
    """Lets every process of PostgreSQL stand still, as when its machine is paused: the system goes on acknowledging."""
    stopped: list[int] = []

    def freeze() -> None:
        owner = sa.create_engine(postgres_database.owner_url)
        with owner.connect() as connection:
            stopped.extend(connection.execute(_ITS_PROCESSES).scalars())
        owner.dispose()
        stopped.append(postgres_server.pid)
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)

    yield freeze
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)


def test_a_server_that_stands_still_is_not_waited_for(postgres_database: Database, frozen: Callable[[], None]) -> None:
    """Neither in a transaction nor in a question; the connection is gone, for the answer may yet come."""
    engine = connect(postgres_database.url, timeout_seconds=1)
    work, question = Work(engine), Question(engine, store.HEAD)
    question.ask()
    with work.platform(writes=False) as tx:  # its connection is there, and idle
        tx.execute(sa.text("SELECT 1"))

    def sqlalchemy_asks() -> None:
        with work.platform(writes=False):
            pass

    frozen()
    began = time.monotonic()
    for asked in (sqlalchemy_asks, question.ask):
        with pytest.raises(Unavailable):
            asked()
    assert time.monotonic() - began < STUCK_SECONDS
    work.close()
    question.close()


def test_what_is_known_to_take_long_is_waited_for(postgres_database: Database) -> None:
    """Until the connection is given back."""
    engine = connect(postgres_database.url, timeout_seconds=1)
    work = Work(engine)
    driver = []
    with work.platform() as tx:
        tx.take_time()
        driver.append(tx._connection.connection.driver_connection)
        assert driver[0].patience_seconds > TIME_TAKEN_SECONDS
    assert driver[0].patience_seconds == patience_for(1)
    engine.dispose()


@pytest.mark.parametrize("name", ["connect_timeout", "tcp_user_timeout", "keepalives_idle"])
def test_what_the_url_says_of_the_connection_counts(name: str) -> None:
    """Who knows their network better is not overruled; what ends statements is ours."""
    url = sa.make_url(f"postgresql+psycopg://db/payymo?{name}=7&options=x")
    found = arguments_for(url, timeout_seconds=5)
    assert name not in found
    assert "statement_timeout=5000" in found["options"]
    assert arguments_for(url, timeout_seconds=20)["keepalives_count"] == 5
