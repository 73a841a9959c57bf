"""SQL for `browsers`."""

import uuid

import sqlalchemy as sa

from payymo.db.closing import ASIDE
from payymo.db.schema import TENANT, sessions, tenants, users
from payymo.db.schema import browsers as b
from payymo.db.work import Transaction
from payymo.sessions.browser import Browser

_OWN = b.c.tenant_id == TENANT
_OF_ID = b.c.id == sa.bindparam("of_id")
_FIND = (
    sa.select(
        b.c.id,
        b.c.tenant_id,
        b.c.session_id,
        sessions.c.user_id,
        b.c.digest,
        b.c.proven_at,
        b.c.used_at,
        sessions.c.expires_at,
        tenants.c.slug,
        tenants.c.name,
        sessions.c.actor_session_id,
    )
    .join(sessions, sa.and_(sessions.c.id == b.c.session_id, sessions.c.tenant_id == TENANT))
    .join(users, sa.and_(users.c.id == sessions.c.user_id, users.c.tenant_id == TENANT))
    .join(tenants, tenants.c.id == TENANT)
    .where(_OWN, _OF_ID, sessions.c.ended_at.is_(None), users.c.status == "active", tenants.c.status == "active")
)
_ADD = sa.insert(b).values(
    tenant_id=TENANT,
    session_id=sa.bindparam("new_session_id"),
    id=sa.bindparam("new_id"),
    digest=sa.bindparam("new_digest"),
    proven_at=sa.bindparam("moment"),
    used_at=sa.bindparam("moment"),
)
_RENEW = (
    sa.update(b)
    .where(_OWN, _OF_ID)
    .values(
        id=sa.bindparam("new_id"),
        digest=sa.bindparam("new_digest"),
        proven_at=sa.bindparam("proof_at"),
        used_at=sa.bindparam("moment"),
    )
)
_IN_USE = {ASIDE: "a browser is in use"}
_TOUCH = sa.update(b).where(_OWN, _OF_ID).values(used_at=sa.bindparam("moment")).execution_options(**_IN_USE)
_SEEN = (
    sa.update(sessions)
    .where(sessions.c.tenant_id == TENANT, sessions.c.id == sa.bindparam("of_session"))
    .values(last_seen_at=sa.bindparam("moment"))
    .execution_options(**_IN_USE)
)


def find(tx: Transaction, browser_id: uuid.UUID) -> Browser | None:
    """The browser, while its session has not ended and its user and tenant are active."""
    row = tx.execute(_FIND, {"of_id": browser_id}).one_or_none()
    return None if row is None else Browser(*row)


def add(tx: Transaction, session_id: uuid.UUID, browser_id: uuid.UUID, digest: bytes, *, now: int) -> None:
    """A session is led in a browser."""
    tx.execute(_ADD, {"new_session_id": session_id, "new_id": browser_id, "new_digest": digest, "moment": now})


def renew(
    tx: Transaction, browser_id: uuid.UUID, new_id: uuid.UUID, digest: bytes, *, proven_at: int, now: int
) -> bool:
    """Know a browser by another secret from now on. Of parallel tries one does it. Answers whether this one has."""
    values = {"of_id": browser_id, "new_id": new_id, "new_digest": digest, "proof_at": proven_at, "moment": now}
    return tx.execute(_RENEW, values).rowcount == 1


def touch(tx: Transaction, browser: Browser, *, now: int) -> None:
    """It is in use now. The session first: whoever erases its user ends it, before the browser goes with it."""
    tx.execute(_SEEN, {"of_session": browser.session_id, "moment": now})
    tx.execute(_TOUCH, {"of_id": browser.id, "moment": now})
