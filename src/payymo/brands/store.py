"""SQL for `tenant_brands`."""

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from payymo.brands.model import Brand
from payymo.db.schema import TENANT
from payymo.db.schema import tenant_brands as b
from payymo.db.work import Transaction
from payymo.errors import Conflict

_OWN = b.c.tenant_id == TENANT
_FIND = sa.select(b.c.name, b.c.accent, b.c.logo_digest, b.c.language).where(_OWN)
_LOCK = _FIND.with_for_update()
_LOGO = sa.select(b.c.logo).where(_OWN, b.c.logo_digest == sa.bindparam("of_digest"))
_LOOK = {name: sa.bindparam(f"new_{name}", type_=b.c[name].type) for name in ("name", "accent", "language")}
_PICTURE = {name: sa.bindparam(f"new_{name}", type_=b.c[name].type) for name in ("logo_digest", "logo")}
_ADD = sa.insert(b).values(tenant_id=TENANT, **_LOOK)
_SET = sa.update(b).where(_OWN).values(**_LOOK)
_SET_LOGO = sa.update(b).where(_OWN).values(**_PICTURE)
_REMOVE = sa.delete(b).where(_OWN)


def find(tx: Transaction) -> Brand | None:
    """The tenant's brand, or None."""
    row = tx.execute(_FIND).one_or_none()
    return None if row is None else Brand(*row)


def lock(tx: Transaction) -> Brand | None:
    """The same; nobody changes it before the transaction ends."""
    row = tx.execute(_LOCK).one_or_none()
    return None if row is None else Brand(*row)


def find_logo(tx: Transaction, digest: str) -> bytes | None:
    """The tenant's logo, if it is the one with this digest."""
    logo = tx.execute(_LOGO, {"of_digest": digest}).scalar_one_or_none()
    return None if logo is None else bytes(logo)


def save(tx: Transaction, brand: Brand, *, is_new: bool) -> None:
    """Another name, colour and language; the logo stays. Raises Conflict: somebody is doing the same."""
    values = {"new_name": brand.name, "new_accent": brand.accent, "new_language": brand.language}
    if not is_new:
        tx.execute(_SET, values)
        return
    try:
        tx.execute(_ADD, values)
    except IntegrityError:
        raise Conflict("Somebody else is changing this. Look, and try again.") from None


def save_logo(tx: Transaction, digest: str | None, logo: bytes | None) -> None:
    """Another logo; None: none any more."""
    tx.execute(_SET_LOGO, {"new_logo_digest": digest, "new_logo": logo})


def remove(tx: Transaction) -> None:
    """From now on the tenant looks as the service does."""
    tx.execute(_REMOVE)
