"""SQL for `login_attempts`, `login_failures` and `login_minutes`: who was tried in vain, how often, and from where."""

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from payymo.attempts.model import DAY_SECONDS, Standing
from payymo.db.batches import COUNT, forget_some
from payymo.db.schema import TENANT
from payymo.db.schema import login_attempts as a
from payymo.db.schema import login_failures as f
from payymo.db.schema import login_minutes as m
from payymo.db.work import Transaction

_INSERTS: Final = (("postgresql", postgresql.insert), ("sqlite", sqlite.insert))
_MOMENT = sa.bindparam("moment", type_=sa.BigInteger())
_ACCOUNT = (a.c.tenant_id == TENANT, a.c.account == sa.bindparam("of_account"))
_FIND = sa.select(a.c.failures, a.c.wait_until, a.c.expires_at).where(*_ACCOUNT)
_LOCK = _FIND.with_for_update()
_ADD = {
    name: insert(a)
    .values(tenant_id=TENANT, account=sa.bindparam("of_account"), failures=0, wait_until=0, expires_at=0)
    .on_conflict_do_nothing()
    for name, insert in _INSERTS
}
_SAVE = (
    sa.update(a)
    .where(*_ACCOUNT)
    .values({name: sa.bindparam(f"new_{name}") for name in ("failures", "wait_until", "expires_at")})
)
_FORGET = sa.delete(a).where(a.c.tenant_id == TENANT, a.c.account.in_(sa.bindparam("of_accounts", expanding=True)))
_LIST_ACCOUNTS = sa.select(a.c.failures, a.c.wait_until, a.c.expires_at).where(
    a.c.tenant_id == TENANT, a.c.account.in_(sa.bindparam("of_accounts", expanding=True))
)

_PAIR = (
    f.c.tenant_id == TENANT,
    f.c.account == sa.bindparam("of_account"),
    f.c.network == sa.bindparam("of_network"),
)
_ADD_PAIR = {
    name: insert(f)
    .values(
        tenant_id=TENANT,
        account=sa.bindparam("of_account"),
        network=sa.bindparam("of_network"),
        neighbourhood=sa.bindparam("around"),
        failures=0,
        failed_at=_MOMENT,
    )
    .on_conflict_do_nothing()
    .returning(f.c.account)
    for name, insert in _INSERTS
}
_COUNT_PAIR = sa.update(f).where(*_PAIR).values(failures=f.c.failures + 1, failed_at=_MOMENT)
_FAILURES_OF_PAIR = sa.select(f.c.failures).where(*_PAIR, f.c.failed_at > _MOMENT - DAY_SECONDS).with_for_update()
_CLEAR_PAIR = sa.update(f).where(*_PAIR).values(failures=0)
_TRIED_AROUND = (
    sa.select(sa.func.max(f.c.failed_at).label("latest"))
    .where(f.c.tenant_id == TENANT, f.c.neighbourhood == sa.bindparam("around"), f.c.failed_at > sa.bindparam("since"))
    .group_by(f.c.account)
    .order_by(sa.desc("latest"))
    .limit(sa.bindparam("count"))
)

_OF_ACCOUNTS = (f.c.tenant_id == TENANT, f.c.account.in_(sa.bindparam("of_accounts", expanding=True)))
_LIST_PAIRS = sa.select(f.c.network, f.c.failures, f.c.failed_at).where(*_OF_ACCOUNTS)
_FORGET_PAIRS = sa.delete(f).where(*_OF_ACCOUNTS)

_MINUTE = (m.c.tenant_id == TENANT, m.c.minute == sa.bindparam("of_minute"))
_ADD_MINUTE = {
    name: insert(m).values(tenant_id=TENANT, minute=sa.bindparam("of_minute"), failures=0).on_conflict_do_nothing()
    for name, insert in _INSERTS
}
_COUNT_MINUTE = sa.update(m).where(*_MINUTE).values(failures=m.c.failures + 1)
_MINUTES = sa.select(sa.func.coalesce(sa.func.sum(m.c.failures), 0), sa.func.min(m.c.minute)).where(
    m.c.tenant_id == TENANT, m.c.minute > sa.bindparam("since")
)


_PRUNE_ATTEMPTS = forget_some(a, a.c.expires_at <= _MOMENT, oldest=a.c.expires_at)
_PRUNE_FAILURES = forget_some(f, f.c.failed_at <= _MOMENT - DAY_SECONDS, oldest=f.c.failed_at)
_PRUNE_MINUTES = forget_some(m, m.c.minute <= _MOMENT // 60 - DAY_SECONDS // 60, oldest=m.c.minute)


def lock_account(tx: Transaction, account: str) -> Standing:
    """How an account stands. Nobody else decides on a try at it before this transaction ends."""
    while (row := tx.execute(_LOCK, {"of_account": account}).one_or_none()) is None:
        # Again, should somebody else's row be in the way of this one, and be forgotten before it is locked.
        tx.execute(_ADD[tx.dialect], {"of_account": account})
    return Standing(*row)


def find_account(tx: Transaction, account: str) -> Standing:
    """How an account stands, for whoever only wants to know."""
    row = tx.execute(_FIND, {"of_account": account}).one_or_none()
    return Standing() if row is None else Standing(*row)


def save_account(tx: Transaction, account: str, standing: Standing) -> None:
    """How a locked account stands now."""
    values = {
        "new_failures": standing.failures,
        "new_wait_until": standing.wait_until,
        "new_expires_at": standing.expires_at,
    }
    tx.execute(_SAVE, {"of_account": account, **values})


def forget_accounts(tx: Transaction, accounts: Sequence[str]) -> bool:
    """Forget how accounts stand. Whether there was anything."""
    return tx.execute(_FORGET, {"of_accounts": accounts}).rowcount > 0


def forget_failures(tx: Transaction, accounts: Sequence[str]) -> None:
    """Forget from where accounts were tried in vain."""
    tx.execute(_FORGET_PAIRS, {"of_accounts": accounts})


def list_accounts(tx: Transaction, accounts: Sequence[str]) -> list[dict[str, Any]]:
    """How these accounts stand, those that were tried in vain."""
    return [dict(row) for row in tx.execute(_LIST_ACCOUNTS, {"of_accounts": accounts}).mappings()]


def list_failures(tx: Transaction, accounts: Sequence[str]) -> list[dict[str, Any]]:
    """From where accounts were tried in vain."""
    return [dict(row) for row in tx.execute(_LIST_PAIRS, {"of_accounts": accounts}).mappings()]


def count_failure(tx: Transaction, account: str, network: str, around: str, now: int) -> bool:
    """One more failure of a network at an account. Whether it is the first that is remembered."""
    values = {"of_account": account, "of_network": network, "moment": now}
    is_first = tx.execute(_ADD_PAIR[tx.dialect], {**values, "around": around}).scalar() is not None
    tx.execute(_COUNT_PAIR, values)
    return is_first


def take_failures(tx: Transaction, account: str, network: str, now: int) -> int:
    """How often a network failed at an account within a day; from now on, never. The network stays known for it."""
    values = {"of_account": account, "of_network": network}
    found = tx.execute(_FAILURES_OF_PAIR, {**values, "moment": now}).scalar() or 0
    if found:
        tx.execute(_CLEAR_PAIR, values)
    return int(found)


def list_tried_around(tx: Transaction, around: str, *, since: int, count: int) -> Sequence[int]:
    """When accounts were last tried in vain from a neighbourhood: `count` accounts at most, the newest first."""
    return tx.execute(_TRIED_AROUND, {"around": around, "since": since, "count": count}).scalars().all()


def count_minute(tx: Transaction, minute: int) -> None:
    """One more failure of the tenant."""
    tx.execute(_ADD_MINUTE[tx.dialect], {"of_minute": minute})
    tx.execute(_COUNT_MINUTE, {"of_minute": minute})


def count_since(tx: Transaction, minute: int) -> tuple[int, int]:
    """The failures of the tenant after a minute, and the first minute of them."""
    count, first = tx.execute(_MINUTES, {"since": minute}).one()
    return int(count), int(first or 0)


def prune(tx: Transaction, now: int, *, count: int) -> int:
    """Platform step: forget what has run out, up to `count` rows of each table. Answers how many."""
    statements = (_PRUNE_ATTEMPTS, _PRUNE_FAILURES, _PRUNE_MINUTES)
    return sum(tx.execute(statement, {"moment": now, COUNT: count}).rowcount for statement in statements)
