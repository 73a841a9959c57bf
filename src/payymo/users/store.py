"""SQL for `users`."""

import uuid
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from payymo.db.schema import TENANT, tenants
from payymo.db.schema import users as t
from payymo.db.work import Transaction
from payymo.errors import AlreadyTaken
from payymo.users.model import Proof, User, UserStatus

_OWN = t.c.tenant_id == TENANT
_COLUMNS = (t.c.id, t.c.tenant_id, t.c.email, t.c.username, t.c.status, t.c.created_at)
_OF_ID = t.c.id == sa.bindparam("of_id")

_PROOF = sa.select(t.c.id, t.c.password_hash, t.c.status).where(_OWN, t.c.email_key == sa.bindparam("of_email"))
_PROOF_BY_ID = sa.select(t.c.id, t.c.password_hash, t.c.status).where(_OWN, _OF_ID)
_FIND = sa.select(*_COLUMNS).where(_OWN, _OF_ID)
_FIND_BY_EMAIL = sa.select(*_COLUMNS).where(_OWN, t.c.email_key == sa.bindparam("of_email"))
_LOCK = (
    sa.select(*_COLUMNS, t.c.password_hash)
    .where(_OWN, _OF_ID, t.c.status == "active")
    .where(sa.select(tenants.c.id).where(tenants.c.id == TENANT, tenants.c.status == "active").exists())
    .with_for_update(of=t)
)
_LOCK_IDS = (
    sa.select(t.c.id).where(_OWN, t.c.id.in_(sa.bindparam("of_ids", expanding=True))).order_by(t.c.id).with_for_update()
)
_LIST = (
    sa.select(*_COLUMNS)
    .where(_OWN, t.c.username_key > sa.bindparam("after"))
    .order_by(t.c.username_key)
    .limit(sa.bindparam("count"))
)
_ADD = sa.insert(t).values(
    tenant_id=TENANT,
    **{
        name: sa.bindparam(f"new_{name}")
        for name in (
            "id",
            "email",
            "email_key",
            "username",
            "username_key",
            "password_hash",
            "status",
            "created_at",
            "password_changed_at",
        )
    },
)
_TENANT_STATUS = sa.select(tenants.c.status).where(tenants.c.id == TENANT)
_SET_STATUS = sa.update(t).where(_OWN, _OF_ID).values(status=sa.bindparam("new_status"))
_SET_PASSWORD = (
    sa.update(t)
    .where(_OWN, _OF_ID)
    .values(password_hash=sa.bindparam("new_hash"), password_changed_at=sa.bindparam("moment"))
)
_REPLACE_HASH = (
    sa.update(t)
    .where(_OWN, _OF_ID, t.c.password_hash == sa.bindparam("old_hash"))
    .values(password_hash=sa.bindparam("new_hash"))
)


def is_tenant_active(tx: Transaction) -> bool:
    """Whether anybody may come into this tenant."""
    return tx.execute(_TENANT_STATUS).scalar() == "active"


def find_proof(tx: Transaction, email_key: str) -> Proof | None:
    """What to check a login with this address against, or None."""
    row = tx.execute(_PROOF, {"of_email": email_key}).one_or_none()
    return None if row is None else Proof(*row)


def find_proof_of(tx: Transaction, user_id: uuid.UUID) -> Proof | None:
    """What to check this user's password against, or None."""
    row = tx.execute(_PROOF_BY_ID, {"of_id": user_id}).one_or_none()
    return None if row is None else Proof(*row)


def find_other_hash(tx: Transaction, prefixes: Sequence[str]) -> str | None:
    """Some hash of the tenant that begins with none of these, or None. Reads all of its users when there is none."""
    others = (sa.func.substr(t.c.password_hash, 1, len(prefix)) != prefix for prefix in prefixes)
    found: str | None = tx.execute(sa.select(t.c.password_hash).where(_OWN, *others).limit(1)).scalar()
    return found


def find_user(tx: Transaction, user_id: uuid.UUID) -> User | None:
    """The user, or None."""
    row = tx.execute(_FIND, {"of_id": user_id}).one_or_none()
    return None if row is None else User(*row)


def find_by_email(tx: Transaction, email_key: str) -> User | None:
    """The user with this address, or None."""
    row = tx.execute(_FIND_BY_EMAIL, {"of_email": email_key}).one_or_none()
    return None if row is None else User(*row)


def lock_active(tx: Transaction, user_id: uuid.UUID) -> tuple[User, str] | None:
    """An active user of an active tenant, and their password hash; locked until the transaction ends."""
    row = tx.execute(_LOCK, {"of_id": user_id}).one_or_none()
    return None if row is None else (User(*row[:-1]), row.password_hash)


def lock(tx: Transaction, user_ids: Sequence[uuid.UUID]) -> Sequence[uuid.UUID]:
    """Lock users until the transaction ends, in order, so that nobody waits in a circle. Answers who is there."""
    return tx.execute(_LOCK_IDS, {"of_ids": user_ids}).scalars().all()


def list_users(tx: Transaction, *, after: str, count: int) -> tuple[User, ...]:
    """`count` users whose names come after `after`, in order."""
    return tuple(User(*row) for row in tx.execute(_LIST, {"after": after.lower(), "count": count}))


def add_user(tx: Transaction, user: User, *, email_key: str, username_key: str, password_hash: str) -> None:
    """Add a user. Raises AlreadyTaken without saying which name was."""
    values = {
        "new_id": user.id,
        "new_email": user.email,
        "new_email_key": email_key,
        "new_username": user.username,
        "new_username_key": username_key,
        "new_password_hash": password_hash,
        "new_status": user.status,
        "new_created_at": user.created_at,
        "new_password_changed_at": user.created_at,
    }
    try:
        tx.execute(_ADD, values)
    except IntegrityError:
        raise AlreadyTaken from None


def set_status(tx: Transaction, user_id: uuid.UUID, status: UserStatus) -> None:
    """Disable or enable."""
    tx.execute(_SET_STATUS, {"of_id": user_id, "new_status": status})


def set_password(tx: Transaction, user_id: uuid.UUID, password_hash: str, *, now: int) -> None:
    """A new password."""
    tx.execute(_SET_PASSWORD, {"of_id": user_id, "new_hash": password_hash, "moment": now})


def replace_hash(tx: Transaction, user_id: uuid.UUID, *, old: str, new: str) -> bool:
    """The same password under a newer scheme. False, and nothing happens, when the hash has changed meanwhile."""
    return tx.execute(_REPLACE_HASH, {"of_id": user_id, "old_hash": old, "new_hash": new}).rowcount == 1
