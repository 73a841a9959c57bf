"""SQL for `tenant_limits`, `client_limits` and `limit_usage`."""

import uuid
from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from payymo.db.schema import client_limits as c
from payymo.db.schema import limit_usage as u
from payymo.db.schema import tenant_limits as t
from payymo.db.schema import tenants
from payymo.db.work import Transaction
from payymo.limits.model import STEPS, Tally, UsageKey

_INSERTS: Final = (("postgresql", postgresql.insert), ("sqlite", sqlite.insert))
_KEY: Final = ("hour", "tier", "scope", "amount", "window_seconds")
_COUNTS: Final = ("windows", "refused", *(f"step_{number}" for number in range(1, STEPS + 1)))


def _adding(insert: Any) -> Any:
    made = insert(u)
    return made.on_conflict_do_update(
        index_elements=list(_KEY), set_={name: u.c[name] + made.excluded[name] for name in _COUNTS}
    )


def _setting(insert: Any, table: sa.Table, key: str) -> Any:
    made = insert(table)
    return made.on_conflict_do_update(index_elements=[key, "tier"], set_={"limits": made.excluded.limits})


_ADD_USAGE = {name: _adding(insert) for name, insert in _INSERTS}
_USAGE = sa.select(u).where(u.c.hour > sa.bindparam("since"))
_PRUNE_USAGE = sa.delete(u).where(u.c.hour <= sa.bindparam("before"))
_SET_TENANT = {name: _setting(insert, t, "tenant_id") for name, insert in _INSERTS}
_SET_CLIENT = {name: _setting(insert, c, "client") for name, insert in _INSERTS}
_UNSET_TENANT = sa.delete(t).where(t.c.tenant_id == sa.bindparam("of_id"), t.c.tier == sa.bindparam("of_tier"))
_UNSET_CLIENT = sa.delete(c).where(c.c.client == sa.bindparam("of_client"), c.c.tier == sa.bindparam("of_tier"))
_OF_TENANTS = (
    sa.select(t.c.tenant_id, tenants.c.slug, t.c.tier, t.c.limits)
    .join_from(t, tenants, tenants.c.id == t.c.tenant_id)
    .order_by(tenants.c.slug, t.c.tier)
)
_OF_CLIENTS = sa.select(c.c.client, c.c.tier, c.c.limits).order_by(c.c.client, c.c.tier)
_HOW_MANY = sa.select(
    sa.select(sa.func.count()).select_from(t).scalar_subquery()
    + sa.select(sa.func.count()).select_from(c).scalar_subquery()
)


def add_usage(tx: Transaction, tallies: Mapping[UsageKey, Tally]) -> None:
    """Platform step: add up what a process has counted, in one statement, always in the same order."""
    rows = [
        {name: getattr(key, name) for name in _KEY}
        | dict(zip(_COUNTS, (tally.windows, tally.refused, *tally.steps), strict=True))
        for key, tally in sorted(tallies.items(), key=lambda item: tuple(map(str, _plain(item[0]))))
    ]
    tx.execute(_ADD_USAGE[tx.dialect], rows)


def read_usage(tx: Transaction, *, since_hour: int) -> dict[UsageKey, Tally]:
    """Platform step: how each limit was used in each hour after `since_hour`."""
    found = {}
    for row in tx.execute(_USAGE, {"since": since_hour}).mappings():
        key = UsageKey(**{name: row[name] for name in _KEY})
        found[key] = Tally(row["windows"], row["refused"], [row[name] for name in _COUNTS[2:]])
    return found


def prune_usage(tx: Transaction, *, before_hour: int) -> int:
    """Platform step: forget hours up to `before_hour`. Answers how many rows."""
    return tx.execute(_PRUNE_USAGE, {"before": before_hour}).rowcount


def set_tenant(tx: Transaction, tenant_id: uuid.UUID, tier: str, limits: str) -> None:
    """Platform step: a tenant has these limits from now on."""
    tx.execute(_SET_TENANT[tx.dialect], {"tenant_id": tenant_id, "tier": tier, "limits": limits})


def set_client(tx: Transaction, client: str, tier: str, limits: str) -> None:
    """Platform step: a client has these limits from now on."""
    tx.execute(_SET_CLIENT[tx.dialect], {"client": client, "tier": tier, "limits": limits})


def unset_tenant(tx: Transaction, tenant_id: uuid.UUID, tier: str) -> bool:
    """Platform step: a tenant has the usual limits again. Whether it had others."""
    return tx.execute(_UNSET_TENANT, {"of_id": tenant_id, "of_tier": tier}).rowcount == 1


def unset_client(tx: Transaction, client: str, tier: str) -> bool:
    """Platform step: a client has the usual limits again. Whether it had others."""
    return tx.execute(_UNSET_CLIENT, {"of_client": client, "of_tier": tier}).rowcount == 1


def list_of_tenants(tx: Transaction) -> tuple[tuple[uuid.UUID, str, str, str], ...]:
    """Platform step: tenant, slug, tier, limits."""
    return tuple((row[0], row[1], row[2], row[3]) for row in tx.execute(_OF_TENANTS))


def list_of_clients(tx: Transaction) -> tuple[tuple[str, str, str], ...]:
    """Platform step: client, tier, limits."""
    return tuple((row[0], row[1], row[2]) for row in tx.execute(_OF_CLIENTS))


def count_overrides(tx: Transaction) -> int:
    """Platform step: how many limits are somebody's own."""
    return int(tx.execute(_HOW_MANY).scalar_one())


def _plain(key: UsageKey) -> tuple[int | str, ...]:
    return (key.hour, key.tier, key.scope, key.amount, key.window_seconds)
