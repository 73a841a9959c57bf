"""SQL for `users`."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from payymo.db.closing import ASIDE
from payymo.db.schema import TENANT, tenants
from payymo.db.schema import users as t
from payymo.db.work import Transaction
from payymo.errors import AlreadyTaken
from payymo.users.hashes import kind_of
from payymo.users.model import Account, Proof, User, UserStatus

_OWN = t.c.tenant_id == TENANT
_COLUMNS = (
    *(t.c.id, t.c.tenant_id, t.c.email, t.c.username, t.c.status, t.c.created_at, t.c.email_verified_at),
    t.c.language,
)
_OF_ID = t.c.id == sa.bindparam("of_id")

_PROOF = sa.select(t.c.id, t.c.password_hash, t.c.status).where(_OWN, t.c.email_key == sa.bindparam("of_email"))
_PROOF_BY_ID = sa.select(t.c.id, t.c.password_hash, t.c.status).where(_OWN, _OF_ID)
_NEXT_KIND = (
    sa.select(t.c.password_kind, t.c.password_hash)
    .where(_OWN, t.c.password_kind > sa.bindparam("of_kind"))
    .order_by(t.c.password_kind)
    .limit(1)
)
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
            "password_kind",
            "status",
            "created_at",
            "password_changed_at",
            "email_verified_at",
            "language",
        )
    },
)
_ACCOUNT = sa.select(
    *_COLUMNS,
    t.c.email_key,
    t.c.password_hash,
    sa.select(tenants.c.id).where(tenants.c.id == TENANT, tenants.c.status == "active").exists(),
).where(_OWN)
_ACCOUNT_BY_ID = _ACCOUNT.where(_OF_ID)
_LOCK_ACCOUNT = _ACCOUNT_BY_ID.with_for_update(of=t)
_LOCK_ACCOUNT_AT = _ACCOUNT.where(t.c.email_key == sa.bindparam("of_email")).with_for_update(of=t)
_USERNAME = sa.select(t.c.id).where(_OWN, t.c.username_key == sa.bindparam("of_username"))
_VERIFY = (
    sa.update(t)
    .where(_OWN, _OF_ID)
    .values(
        email_verified_at=sa.bindparam("moment", type_=sa.BigInteger()),
        status=sa.case((t.c.status == "unverified", "active"), else_=t.c.status),
    )
)
_SET_EMAIL = (
    sa.update(t).where(_OWN, _OF_ID).values(email=sa.bindparam("new_email"), email_key=sa.bindparam("new_email_key"))
)
_SET_LANGUAGE = (
    sa.update(t)
    .where(_OWN, _OF_ID)
    .values(language=sa.bindparam("new_language"))
    .execution_options(**{ASIDE: "what somebody would rather read decides nothing"})
)
_REMOVE = sa.delete(t).where(_OWN, _OF_ID)
_NEVER_VERIFIED = (
    sa.select(t.c.tenant_id, t.c.id)
    .where(t.c.status == "unverified", t.c.created_at <= sa.bindparam("moment", type_=sa.BigInteger()))
    .limit(sa.bindparam("count"))
)
_REMOVE_UNVERIFIED = sa.delete(t).where(t.c.status == "unverified", t.c.id.in_(sa.bindparam("of_ids", expanding=True)))
_TENANT_STATUS = sa.select(tenants.c.status).where(tenants.c.id == TENANT)
_SET_STATUS = sa.update(t).where(_OWN, _OF_ID).values(status=sa.bindparam("new_status"))
_SET_PASSWORD = (
    sa.update(t)
    .where(_OWN, _OF_ID)
    .values(
        password_hash=sa.bindparam("new_hash"),
        password_kind=sa.bindparam("new_kind"),
        password_changed_at=sa.bindparam("moment"),
    )
)
_REPLACE_HASH = (
    sa.update(t)
    .where(_OWN, _OF_ID, t.c.password_hash == sa.bindparam("old_hash"))
    .values(password_hash=sa.bindparam("new_hash"), password_kind=sa.bindparam("new_kind"))
)
_NAMED = sa.select(t.c.email_key, t.c.username_key, t.c.password_hash, t.c.status).where(
    _OWN,
    sa.or_(
        t.c.email_key.in_(sa.bindparam("of_emails", expanding=True)),
        t.c.username_key.in_(sa.bindparam("of_usernames", expanding=True)),
    ),
)


@dataclass(frozen=True, slots=True, repr=False)
class Named:
    """A user by the names that no other has, and their password hash."""

    email_key: str
    username_key: str
    password_hash: str
    status: UserStatus = "active"


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


def find_hash_of_next_kind(tx: Transaction, kind: str) -> tuple[str, str] | None:
    """The kind of password hash that comes after this one in the tenant, and some hash of it; or None."""
    row = tx.execute(_NEXT_KIND, {"of_kind": kind}).one_or_none()
    return None if row is None else (row.password_kind, row.password_hash)


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


def find_named(tx: Transaction, email_keys: Sequence[str], username_keys: Sequence[str]) -> tuple[Named, ...]:
    """Who has one of these addresses or user names."""
    return tuple(Named(*row) for row in tx.execute(_NAMED, {"of_emails": email_keys, "of_usernames": username_keys}))


def add_user(tx: Transaction, user: User, *, email_key: str, username_key: str, password_hash: str) -> None:
    """Add a user. Raises AlreadyTaken without saying which name was."""
    add_users(tx, [(user, Named(email_key, username_key, password_hash))])


def add_users(tx: Transaction, users: Sequence[tuple[User, Named]]) -> None:
    """Add users. Raises AlreadyTaken, and nothing else can be done in this transaction."""
    values = [
        {
            "new_id": user.id,
            "new_email": user.email,
            "new_email_key": named.email_key,
            "new_username": user.username,
            "new_username_key": named.username_key,
            "new_password_hash": named.password_hash,
            "new_password_kind": kind_of(named.password_hash),
            "new_status": user.status,
            "new_created_at": user.created_at,
            "new_password_changed_at": user.created_at,
            "new_email_verified_at": user.email_verified_at,
            "new_language": user.language,
        }
        for user, named in users
    ]
    try:
        tx.execute(_ADD, values)
    except IntegrityError:
        raise AlreadyTaken from None


def set_status(tx: Transaction, user_id: uuid.UUID, status: UserStatus) -> None:
    """Disable or enable."""
    tx.execute(_SET_STATUS, {"of_id": user_id, "new_status": status})


def set_password(tx: Transaction, user_id: uuid.UUID, password_hash: str, *, now: int) -> None:
    """A new password."""
    values = {"new_hash": password_hash, "new_kind": kind_of(password_hash), "moment": now}
    tx.execute(_SET_PASSWORD, {"of_id": user_id, **values})


def replace_hash(tx: Transaction, user_id: uuid.UUID, *, old: str, new: str) -> bool:
    """The same password under a newer scheme. False, and nothing happens, when the hash has changed meanwhile."""
    values = {"old_hash": old, "new_hash": new, "new_kind": kind_of(new)}
    return tx.execute(_REPLACE_HASH, {"of_id": user_id, **values}).rowcount == 1


def find_account(tx: Transaction, user_id: uuid.UUID) -> Account | None:
    """The user with what links are bound to, or None."""
    return _read_account(tx.execute(_ACCOUNT_BY_ID, {"of_id": user_id}).one_or_none())


def lock_account(tx: Transaction, user_id: uuid.UUID) -> Account | None:
    """The same; nobody changes them before the transaction ends."""
    return _read_account(tx.execute(_LOCK_ACCOUNT, {"of_id": user_id}).one_or_none())


def lock_account_at(tx: Transaction, email_key: str) -> Account | None:
    """The same for whoever has this address."""
    return _read_account(tx.execute(_LOCK_ACCOUNT_AT, {"of_email": email_key}).one_or_none())


def is_username_taken(tx: Transaction, username_key: str) -> bool:
    """Whether somebody has this name."""
    return tx.execute(_USERNAME, {"of_username": username_key}).scalar() is not None


def mark_verified(tx: Transaction, user_id: uuid.UUID, *, now: int) -> None:
    """The address is theirs. Who has waited for that is active."""
    tx.execute(_VERIFY, {"of_id": user_id, "moment": now})


def set_email(tx: Transaction, user_id: uuid.UUID, *, email: str, email_key: str) -> None:
    """Another address. Raises AlreadyTaken."""
    try:
        tx.execute(_SET_EMAIL, {"of_id": user_id, "new_email": email, "new_email_key": email_key})
    except IntegrityError:
        raise AlreadyTaken("This e-mail address belongs to another account.") from None


def set_language(tx: Transaction, user_id: uuid.UUID, code: str) -> None:
    """From now on they are written to in this language."""
    tx.execute(_SET_LANGUAGE, {"of_id": user_id, "new_language": code})


def remove_user(tx: Transaction, user_id: uuid.UUID) -> None:
    """Delete a user, with all that hangs on them."""
    tx.execute(_REMOVE, {"of_id": user_id})


def list_unverified(tx: Transaction, *, before: int, count: int) -> list[tuple[uuid.UUID, uuid.UUID]]:
    """Platform step: tenants and ids of up to `count` users who registered before then and never came back."""
    rows = tx.execute(_NEVER_VERIFIED, {"moment": before, "count": count})
    return [(row.tenant_id, row.id) for row in rows]


def remove_unverified(tx: Transaction, user_ids: Sequence[uuid.UUID]) -> int:
    """Platform step: delete those of these users who never came back. Answers how many."""
    return tx.execute(_REMOVE_UNVERIFIED, {"of_ids": user_ids}).rowcount


def _read_account(row: Any) -> Account | None:
    return None if row is None else Account(User(*row[:-3]), *row[-3:])
