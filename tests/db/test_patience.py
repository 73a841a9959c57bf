"""A PostgreSQL that vanishes without a word is given up, instead of holding every thread for a quarter of an hour."""

import os
import socket

import pytest
import sqlalchemy as sa

from payymo.db.patience import SILENT_SECONDS, arguments_for
from payymo.db.question import Question
from payymo.db.work import connect
from payymo.feed import store
from tests.support.house import Database


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


@pytest.mark.parametrize("name", ["connect_timeout", "tcp_user_timeout", "keepalives_idle"])
def test_what_the_url_says_of_the_connection_counts(name: str) -> None:
    """Who knows their network better is not overruled; what ends statements is ours."""
    url = sa.make_url(f"postgresql+psycopg://db/payymo?{name}=7&options=x")
    found = arguments_for(url, timeout_seconds=5)
    assert name not in found
    assert "statement_timeout=5000" in found["options"]
    assert arguments_for(url, timeout_seconds=20)["keepalives_count"] == 5
