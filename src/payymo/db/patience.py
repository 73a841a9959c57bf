"""How long PostgreSQL is waited for: a server that is slow ends a statement itself, one that is gone says nothing.

A machine that has died, or a firewall that has forgotten the connection, drops what it is sent. Without an end of its
own the system tries again for a quarter of an hour, and waits for an answer for two hours; every thread would.
"""

from functools import partial
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event

SILENT_SECONDS: Final = 10
"""After which a transaction is over whose client says nothing, or a connection whose server acknowledges nothing."""
PROBE_SECONDS: Final = 2
TIME_TAKEN_SECONDS: Final = 600
"""For a statement about as many rows as there are."""


def patience_for(statement_seconds: float) -> float:
    """How long the answer to a statement is waited for that the server ends after so many seconds."""
    return statement_seconds + SILENT_SECONDS / 2


def arguments_for(url: sa.URL, *, timeout_seconds: int) -> dict[str, Any]:
    """What libpq is told besides the URL, which may say otherwise of the connection itself (`tcp_user_timeout=…`)."""
    connection: dict[str, Any] = {
        "connect_timeout": timeout_seconds,
        "tcp_user_timeout": max(SILENT_SECONDS, timeout_seconds) * 1000,
        "keepalives_idle": timeout_seconds,
        "keepalives_interval": PROBE_SECONDS,
        "keepalives_count": SILENT_SECONDS // PROBE_SECONDS,
    }
    limits = {"statement_timeout": timeout_seconds * 1000, "idle_in_transaction_session_timeout": SILENT_SECONDS * 1000}
    options = " ".join(f"-c {name}={value}" for name, value in limits.items())
    return {name: value for name, value in connection.items() if name not in url.query} | {"options": options}


def open_patiently(engine: sa.Engine, timeout_seconds: int) -> None:
    """Let each connection wait as long as the server may take, and begin transactions when it is told to."""
    seconds = patience_for(timeout_seconds)
    connect = partial(open_connection, patience_seconds=seconds)

    def open_one(_dialect: object, _record: object, words: list[Any], named: dict[str, Any]) -> object:
        return connect(*words, **named)

    def prepare(connection: Any, _record: object) -> None:
        connection.autocommit = True  # we say BEGIN ourselves, together with what else a transaction begins with

    def come_back(connection: Any, _record: object) -> None:
        if connection is not None:
            connection.patience_seconds = seconds

    engine.update_execution_options(payymo_connect=connect)
    event.listen(engine, "do_connect", open_one)
    event.listen(engine, "connect", prepare)
    event.listen(engine, "checkin", come_back)


def open_connection(*words: Any, patience_seconds: float, **named: Any) -> Any:
    """A connection that waits for so long. Raises what the driver raises."""
    from payymo.db.timely import TimelyConnection  # noqa: PLC0415 - the driver, which SQLite does without

    connection = TimelyConnection.connect(*words, **named)
    connection.patience_seconds = patience_seconds
    return connection


def take_time(connection: sa.Connection) -> None:
    """Let the statements of a transaction take minutes from here on."""
    connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{TIME_TAKEN_SECONDS}s'")
    be_patient(connection, patience_for(TIME_TAKEN_SECONDS))


def be_patient(connection: sa.Connection, seconds: float | None) -> None:
    """Let it wait for so long until it is given back; None: however long it takes."""
    driver: Any = connection.connection.dbapi_connection  # also of one that its pool has let go
    driver.patience_seconds = seconds
