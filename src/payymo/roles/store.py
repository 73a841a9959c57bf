"""SQL for `roles` and `user_roles`."""

import uuid
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from payymo.db.schema import TENANT, roles, user_roles
from payymo.db.work import Transaction
from payymo.errors import Conflict
from payymo.roles.model import Role

_OWN = roles.c.tenant_id == TENANT
_OWN_USERS = user_roles.c.tenant_id == TENANT
_NAMED = roles.c.name == sa.bindparam("role")
_OF_USER = user_roles.c.user_id == sa.bindparam("of_user")

_LIST = sa.select(roles.c.name, roles.c.permissions).where(_OWN).order_by(roles.c.name)
_FIND = sa.select(roles.c.name, roles.c.permissions).where(_OWN, _NAMED)
_LOCK = {True: _FIND.with_for_update(), False: _FIND.with_for_update(read=True)}
_ADD = sa.insert(roles).values(
    tenant_id=TENANT,
    name=sa.bindparam("role"),
    permissions=sa.bindparam("granted", type_=sa.JSON()),
    created_at=sa.bindparam("moment"),
)
_CHANGE = sa.update(roles).where(_OWN, _NAMED).values(permissions=sa.bindparam("granted", type_=sa.JSON()))
_REMOVE = sa.delete(roles).where(_OWN, _NAMED)
_REMOVE_HELD = sa.delete(user_roles).where(_OWN_USERS, user_roles.c.role_name == sa.bindparam("role"))
_HOLDERS = (
    sa.select(user_roles.c.user_id)
    .where(_OWN_USERS, user_roles.c.role_name == sa.bindparam("role"))
    .limit(sa.bindparam("count"))
)
_HELD = (
    sa.select(user_roles.c.role_name, roles.c.permissions)
    .select_from(
        user_roles.outerjoin(
            roles, sa.and_(_OWN, roles.c.tenant_id == user_roles.c.tenant_id, roles.c.name == user_roles.c.role_name)
        )
    )
    .where(_OWN_USERS, _OF_USER)
    .order_by(user_roles.c.role_name)
)
_NAMES_HELD = (
    sa.select(user_roles.c.user_id, user_roles.c.role_name)
    .where(_OWN_USERS, user_roles.c.user_id.in_(sa.bindparam("of_users", expanding=True)))
    .order_by(user_roles.c.user_id, user_roles.c.role_name)
)
_CLEAR = sa.delete(user_roles).where(_OWN_USERS, _OF_USER)
_GIVE = sa.insert(user_roles).values(tenant_id=TENANT, user_id=sa.bindparam("of_user"), role_name=sa.bindparam("role"))


def list_roles(tx: Transaction) -> tuple[Role, ...]:
    """The tenant's own roles."""
    return tuple(Role(name, tuple(permissions)) for name, permissions in tx.execute(_LIST))


def lock_role(tx: Transaction, name: str, *, to_change: bool) -> Role | None:
    """The tenant's own role with this name, or None.

    Until the transaction ends nobody else changes or removes it; `to_change`: nor assigns it.
    """
    row = tx.execute(_LOCK[to_change], {"role": name}).one_or_none()
    return None if row is None else Role(row.name, tuple(row.permissions))


def add_role(tx: Transaction, role: Role, *, now: int) -> None:
    """Add a role. Raises Conflict when the name is taken."""
    try:
        tx.execute(_ADD, {"role": role.name, "granted": list(role.permissions), "moment": now})
    except IntegrityError:
        raise Conflict("A role with this name exists.") from None


def list_holders(tx: Transaction, name: str, *, count: int) -> tuple[uuid.UUID, ...]:
    """At most `count` users who hold a role."""
    return tuple(tx.execute(_HOLDERS, {"role": name, "count": count}).scalars())


def change_role(tx: Transaction, role: Role) -> bool:
    """Replace the permissions. Answers whether there was such a role."""
    return bool(tx.execute(_CHANGE, {"role": role.name, "granted": list(role.permissions)}).rowcount)


def remove_role(tx: Transaction, name: str) -> bool:
    """Remove a role from the tenant and from all who hold it. Answers whether there was one."""
    tx.execute(_REMOVE_HELD, {"role": name})
    return bool(tx.execute(_REMOVE, {"role": name}).rowcount)


def list_held(tx: Transaction, user_id: uuid.UUID) -> tuple[tuple[str, tuple[str, ...] | None], ...]:
    """The role names of a user, each with its permissions when the role is the tenant's own."""
    rows = tx.execute(_HELD, {"of_user": user_id})
    return tuple((name, None if permissions is None else tuple(permissions)) for name, permissions in rows)


def list_names_held(tx: Transaction, user_ids: Sequence[uuid.UUID]) -> tuple[tuple[uuid.UUID, str], ...]:
    """The role names of some users."""
    return tuple((user_id, name) for user_id, name in tx.execute(_NAMES_HELD, {"of_users": user_ids}))


def replace_held(tx: Transaction, user_id: uuid.UUID, names: tuple[str, ...]) -> None:
    """Give a user exactly these roles."""
    tx.execute(_CLEAR, {"of_user": user_id})
    add_held(tx, [(user_id, name) for name in names])


def add_held(tx: Transaction, held: Sequence[tuple[uuid.UUID, str]]) -> None:
    """Give users roles that they don't hold."""
    if held:
        tx.execute(_GIVE, [{"of_user": user_id, "role": name} for user_id, name in held])
