"""How much there is of whom: for an operator to see, and for nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from payymo.db.schema import sessions, tenants, users
from payymo.db.work import Work

_TENANTS = sa.select(tenants.c.status, sa.func.count()).group_by(tenants.c.status)
_USERS = sa.select(users.c.status, sa.func.count()).group_by(users.c.status)
_SESSIONS = sa.select(sa.func.count()).where(
    sessions.c.ended_at.is_(None), sessions.c.expires_at > sa.bindparam("moment", type_=sa.BigInteger())
)


@dataclass(frozen=True, slots=True)
class Census:
    """Tenants and users by status; sessions that are alive."""

    tenants: Mapping[str, int]
    users: Mapping[str, int]
    sessions: int


def take_census(work: Work, now: int) -> Census:
    """Count. Raises Unavailable, also when there are so many that the database's time-out comes first."""
    with work.platform(writes=False) as tx:
        return Census(
            {row[0]: row[1] for row in tx.execute(_TENANTS)},
            {row[0]: row[1] for row in tx.execute(_USERS)},
            tx.execute(_SESSIONS, {"moment": now}).scalar_one(),
        )
