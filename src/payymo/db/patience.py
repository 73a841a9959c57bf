"""How long PostgreSQL is waited for: a server that is slow ends a statement itself, one that is gone says nothing.

A machine that has died, or a firewall that has forgotten the connection, drops what it is sent. Without an end of its
own the system tries again for a quarter of an hour, and waits for an answer for two hours; every thread would.
"""

from typing import Any, Final

import sqlalchemy as sa

SILENT_SECONDS: Final = 10
"""After which a transaction is over whose client says nothing, or a connection whose server acknowledges nothing."""
PROBE_SECONDS: Final = 2


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
