"""SQL for `login_attempts`, `login_failures`, `login_minutes`, `known_devices` and `lockout_notices`."""

import uuid
from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from payymo.attempts.model import DAY_SECONDS, Notice, Standing, Step
from payymo.db.schema import TENANT, tenants, users
from payymo.db.schema import known_devices as d
from payymo.db.schema import lockout_notices as n
from payymo.db.schema import login_attempts as a
from payymo.db.schema import login_failures as f
from payymo.db.schema import login_minutes as m
from payymo.db.schema import sessions as s
from payymo.db.work import Transaction

_INSERTS: Final = (("postgresql", postgresql.insert), ("sqlite", sqlite.insert))
_MOMENT = sa.bindparam("moment", type_=sa.BigInteger())
_ACCOUNT = (a.c.tenant_id == TENANT, a.c.account == sa.bindparam("of_account"))
_LOCK = sa.select(a.c.failures, a.c.wait_until, a.c.expires_at).where(*_ACCOUNT).with_for_update()
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

_DEVICE = (d.c.tenant_id == TENANT, d.c.digest == sa.bindparam("of_digest"))
_FIND_DEVICE = (
    sa.select(d.c.digest)
    .select_from(d.join(users, sa.and_(users.c.tenant_id == TENANT, users.c.id == d.c.user_id)))
    .where(
        d.c.tenant_id == TENANT,
        d.c.digest.in_(sa.bindparam("of_digests", expanding=True)),
        d.c.expires_at > _MOMENT,
        users.c.email_key == sa.bindparam("of_email"),
        users.c.password_changed_at == d.c.password_changed_at,
    )
)
_COUNT_DEVICE = sa.update(d).where(*_DEVICE, d.c.failures < sa.bindparam("at_most")).values(failures=d.c.failures + 1)
_GIVE_BACK_DEVICE = sa.update(d).where(*_DEVICE, d.c.failures > 0).values(failures=d.c.failures - 1)
_DROP_DEVICE = sa.delete(d).where(*_DEVICE)
_OF_USER = (users.c.tenant_id == TENANT, users.c.id == sa.bindparam("of_user"))
_HOLD_USER = sa.select(users.c.id).where(*_OF_USER).with_for_update(read=True, key_share=True)
_IS_ALIVE = (
    sa.select(s.c.id)
    .where(
        s.c.tenant_id == TENANT,
        s.c.user_id == sa.bindparam("of_user"),
        s.c.id == sa.bindparam("of_session"),
        s.c.ended_at.is_(None),
    )
    .exists()
)
"""Whatever changes a password ends sessions with it. So the password of who has such a session is what was proven."""
_UNTIL = sa.bindparam("until", type_=sa.BigInteger())
_RENEW_DEVICE = (
    sa.update(d)
    .where(*_DEVICE, d.c.user_id == sa.bindparam("of_user"), _IS_ALIVE)
    .values(
        password_changed_at=sa.select(users.c.password_changed_at).where(*_OF_USER).scalar_subquery(),
        failures=0,
        last_used_at=_MOMENT,
        expires_at=_UNTIL,
    )
)
_ADD_DEVICE = sa.insert(d).from_select(
    ["tenant_id", "digest", "user_id", "password_changed_at", "failures", "last_used_at", "expires_at"],
    sa.select(
        TENANT,
        sa.bindparam("of_digest", type_=sa.String()),
        users.c.id,
        users.c.password_changed_at,
        sa.literal(0),
        _MOMENT,
        _UNTIL,
    ).where(*_OF_USER, _IS_ALIVE),
)
_DEVICES = sa.select(d.c.last_used_at, d.c.failures, d.c.expires_at).where(
    d.c.tenant_id == TENANT, d.c.user_id == sa.bindparam("of_user")
)
_NEWEST = (
    sa.select(d.c.digest)
    .where(d.c.tenant_id == TENANT, d.c.user_id == sa.bindparam("of_user"))
    .order_by(d.c.last_used_at.desc(), d.c.digest)
    .limit(sa.bindparam("at_most"))
)
_DROP_OLDEST = sa.delete(d).where(
    d.c.tenant_id == TENANT, d.c.user_id == sa.bindparam("of_user"), d.c.digest.not_in(_NEWEST)
)

_HOLD_USER_AT = (
    sa.select(users.c.id)
    .where(users.c.tenant_id == TENANT, users.c.email_key == sa.bindparam("of_email"))
    .with_for_update(read=True, key_share=True)
)
_NOTE = {
    name: insert(n)
    .from_select(
        ["tenant_id", "user_id", "kind", "noted_at"],
        sa.select(TENANT, users.c.id, sa.bindparam("of_kind", type_=sa.String()), _MOMENT).where(
            users.c.tenant_id == TENANT, users.c.email_key == sa.bindparam("of_email")
        ),
    )
    .on_conflict_do_nothing()
    for name, insert in _INSERTS
}
_FORGET_NOTICES = sa.delete(n).where(n.c.tenant_id == TENANT, n.c.user_id == sa.bindparam("of_user"))

_UNTOLD = (
    sa.select(n.c.tenant_id, n.c.user_id, n.c.kind)
    .join_from(n, tenants, tenants.c.id == n.c.tenant_id)
    .where(n.c.told_at.is_(None), tenants.c.status != "deleted")
    .order_by(n.c.noted_at)
    .limit(sa.bindparam("count"))
)
_TAKE_NOTICE = (
    sa.update(n)
    .where(
        n.c.tenant_id == TENANT,
        n.c.user_id == sa.bindparam("of_user"),
        n.c.kind == sa.bindparam("of_kind"),
        n.c.told_at.is_(None),
    )
    .values(told_at=_MOMENT)
    .returning(n.c.noted_at)
)

_PRUNE_ATTEMPTS = sa.delete(a).where(a.c.expires_at <= _MOMENT)
_PRUNE_FAILURES = sa.delete(f).where(f.c.failed_at <= _MOMENT - DAY_SECONDS)
_PRUNE_MINUTES = sa.delete(m).where(m.c.minute <= _MOMENT // 60 - DAY_SECONDS // 60)
_PRUNE_DEVICES = sa.delete(d).where(d.c.expires_at <= _MOMENT)
_PRUNE_NOTICES = sa.delete(n).where(n.c.noted_at <= _MOMENT - DAY_SECONDS)


def lock_account(tx: Transaction, account: str) -> Standing:
    """How an account stands. Nobody else decides on a try at it before this transaction ends."""
    while (row := tx.execute(_LOCK, {"of_account": account}).one_or_none()) is None:
        # Again, should somebody else's row be in the way of this one, and be forgotten before it is locked.
        tx.execute(_ADD[tx.dialect], {"of_account": account})
    return Standing(*row)


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


def list_failures(tx: Transaction, accounts: Sequence[str]) -> list[dict[str, Any]]:
    """From where accounts were tried in vain."""
    return [dict(row) for row in tx.execute(_LIST_PAIRS, {"of_accounts": accounts}).mappings()]


def list_devices(tx: Transaction, user_id: uuid.UUID) -> list[dict[str, Any]]:
    """What is stored of a user's devices, but for what they are known by."""
    return [dict(row) for row in tx.execute(_DEVICES, {"of_user": user_id}).mappings()]


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


def find_device(tx: Transaction, digests: Sequence[str], email_key: str, now: int) -> str | None:
    """The device that the user with this address has logged in from with their present password, or None."""
    values: dict[str, Any] = {"of_digests": digests, "of_email": email_key, "moment": now}
    found: str | None = tx.execute(_FIND_DEVICE, values).scalars().first()
    return found


def count_device(tx: Transaction, device: str, *, at_most: int) -> bool:
    """One more try from a device. False: it has used them up, and is forgotten."""
    if tx.execute(_COUNT_DEVICE, {"of_digest": device, "at_most": at_most}).rowcount == 1:
        return True
    tx.execute(_DROP_DEVICE, {"of_digest": device})
    return False


def give_back_device(tx: Transaction, device: str) -> None:
    """One try less from a device."""
    tx.execute(_GIVE_BACK_DEVICE, {"of_digest": device})


def save_device(
    tx: Transaction, device: str, user_id: uuid.UUID, session_id: uuid.UUID, *, now: int, until: int, at_most: int
) -> None:
    """The user has logged in from this device, if their session still lives: else the password may be another one now.

    Of more than `at_most` the one unused for longest is forgotten. The user is held first, as whoever unlocks or erases
    them does; a device that is known stays in its row, so that a login beside this one from the same browser finds it.
    """
    tx.execute(_HOLD_USER, {"of_user": user_id})
    values = {"of_digest": device, "of_user": user_id, "of_session": session_id, "moment": now, "until": until}
    if not tx.execute(_RENEW_DEVICE, values).rowcount:
        tx.execute(_DROP_DEVICE, {"of_digest": device})
        tx.execute(_ADD_DEVICE, values)
    tx.execute(_DROP_OLDEST, {"of_user": user_id, "at_most": at_most})


def note(tx: Transaction, email_key: str, kind: Step, now: int) -> uuid.UUID | None:
    """Note that the user with this address is to hear of it, unless they have. Answers who that is.

    They are held first: nobody erases them meanwhile.
    """
    found: uuid.UUID | None = tx.execute(_HOLD_USER_AT, {"of_email": email_key}).scalar()
    tx.execute(_NOTE[tx.dialect], {"of_email": email_key, "of_kind": kind, "moment": now})
    return found


def forget_notices(tx: Transaction, user_id: uuid.UUID) -> None:
    """What happens to this user next is news again."""
    tx.execute(_FORGET_NOTICES, {"of_user": user_id})


def list_untold(tx: Transaction, *, count: int) -> Sequence[Notice]:
    """Platform step: what users have not heard of yet, the oldest first. A deleted tenant writes no letters."""
    return [Notice(*row) for row in tx.execute(_UNTOLD, {"count": count})]


def take_notice(tx: Transaction, user_id: uuid.UUID, kind: Step, now: int) -> int | None:
    """Mark that the user is told now. Answers since when there is something to tell; None: somebody has told them."""
    values = {"of_user": user_id, "of_kind": kind, "moment": now}
    found: int | None = tx.execute(_TAKE_NOTICE, values).scalar()
    return found


def prune(tx: Transaction, now: int) -> int:
    """Platform step: forget what has run out. Answers how many rows."""
    statements = (_PRUNE_ATTEMPTS, _PRUNE_FAILURES, _PRUNE_MINUTES, _PRUNE_DEVICES, _PRUNE_NOTICES)
    return sum(tx.execute(statement, {"moment": now}).rowcount for statement in statements)
