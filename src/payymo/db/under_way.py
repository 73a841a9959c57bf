"""Transactions that have begun and not ended: what they write is seen by nobody else yet."""

from typing import Final

import sqlalchemy as sa

from payymo.db.work import Work

_UNDER_WAY: Final = sa.text(
    "SELECT DISTINCT l.virtualtransaction FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid"
    " WHERE l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock' AND l.granted"
    " AND a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.usesysid IS NOT NULL"
)
"""Each has one such lock from its first statement to its end (PostgreSQL: pg_locks). Whose it is, anybody may see:
nobody's is that of an autovacuum, which writes nothing of ours, and may take hours."""


def list_under_way(work: Work) -> frozenset[str]:
    """The names of those that are under way in the database, whoever's they are; no name is used again.

    None on SQLite: who writes there is alone.
    """
    with work.platform(writes=False) as tx:
        return frozenset() if tx.dialect == "sqlite" else frozenset(tx.execute(_UNDER_WAY).scalars())
