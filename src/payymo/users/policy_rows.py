"""SQL for the policies of passwords, and for the names that no password should be made of."""

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from payymo.db.schema import TENANT, tenant_brands, tenants
from payymo.db.schema import password_policies as p
from payymo.db.work import Transaction
from payymo.errors import Conflict
from payymo.users.password_policy import PasswordPolicy

_POLICY_COLUMNS = (p.c.min_length, p.c.max_length, p.c.min_score, p.c.complexity_classes, p.c.words)
_POLICY = (
    sa.select(tenants.c.slug, tenants.c.name, tenants.c.host, tenant_brands.c.name, *_POLICY_COLUMNS)
    .select_from(
        tenants.outerjoin(p, sa.and_(p.c.tenant_id == TENANT, p.c.tenant_id == tenants.c.id)).outerjoin(
            tenant_brands, sa.and_(tenant_brands.c.tenant_id == TENANT, tenant_brands.c.tenant_id == tenants.c.id)
        )
    )
    .where(tenants.c.id == TENANT)
)
_NEW_POLICY = {column.name: sa.bindparam(f"new_{column.name}", type_=column.type) for column in _POLICY_COLUMNS}
_SET_POLICY = sa.update(p).where(p.c.tenant_id == TENANT).values(**_NEW_POLICY)
_ADD_POLICY = sa.insert(p).values(tenant_id=TENANT, **_NEW_POLICY)
_REMOVE_POLICY = sa.delete(p).where(p.c.tenant_id == TENANT)


def find(tx: Transaction) -> tuple[PasswordPolicy | None, tuple[str, ...]]:
    """The tenant's own policy for passwords, or None; and what the tenant is called."""
    slug, name, host, brand, min_length, max_length, min_score, classes, words = tx.execute(_POLICY).one()
    names = tuple(text for text in (slug, name, host, brand) if text is not None)
    if min_length is None:
        return None, names
    return PasswordPolicy(min_length, max_length, min_score, classes, tuple(words)), names


def put(tx: Transaction, policy: PasswordPolicy) -> None:
    """The tenant's own policy, or another in its place. Raises Conflict: somebody is doing the same."""
    values = {f"new_{column.name}": getattr(policy, column.name) for column in _POLICY_COLUMNS}
    if tx.execute(_SET_POLICY, values).rowcount:
        return
    try:
        tx.execute(_ADD_POLICY, values)
    except IntegrityError:
        raise Conflict("Somebody else is setting this policy. Look, and try again.") from None


def remove(tx: Transaction) -> None:
    """From now on the tenant asks what the settings do."""
    tx.execute(_REMOVE_POLICY)
