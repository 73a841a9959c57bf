"""SQL for `sessions`."""

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from payymo.db.schema import TENANT, browsers, tenants, users
from payymo.db.schema import sessions as s
from payymo.db.work import Transaction
from payymo.feed.store import POSITION
from payymo.sessions.model import Device, Listed, Live, Place, RefreshToken, Session

_OWN = s.c.tenant_id == TENANT
_OF_ID = s.c.id == sa.bindparam("of_id")
_OF_USER = s.c.user_id == sa.bindparam("of_user")
_ALIVE = sa.and_(s.c.ended_at.is_(None), s.c.expires_at > sa.bindparam("moment"))
_IN_ACTIVE_TENANT = sa.select(tenants.c.id).where(tenants.c.id == TENANT, tenants.c.status == "active").exists()
_NAMES = (
    "id",
    "tenant_id",
    "user_id",
    "started_at",
    "last_seen_at",
    "expires_at",
    "access_expires_at",
    "ended_at",
    "address",
    "user_agent",
    "refresh_id",
    "refresh_kid",
    "refresh_issued_at",
    "refresh_expires_at",
    "consumed_id",
    "replays",
    "actor_user_id",
    "actor_session_id",
)
_SELECT = sa.select(*(s.c[name] for name in _NAMES))
_FIND = _SELECT.where(_OWN, _OF_ID)
_LOCK = _FIND.where(_IN_ACTIVE_TENANT).with_for_update(of=s)
_LIST = _SELECT.where(_OWN, _OF_USER, _ALIVE).order_by(s.c.started_at.desc(), s.c.id).limit(sa.bindparam("count"))
_LIST_OF_TENANT = (
    _SELECT.where(_OWN, _ALIVE)
    .where(
        sa.tuple_(s.c.started_at, s.c.id) < sa.tuple_(sa.bindparam("before"), sa.bindparam("of_id", type_=sa.Uuid()))
    )
    .order_by(s.c.started_at.desc(), s.c.id.desc())
    .limit(sa.bindparam("count"))
)
"""Along `ix_sessions_running`, whatever the tenant's size."""
_NAMES_OF = sa.select(users.c.id, users.c.username).where(
    users.c.tenant_id == TENANT, users.c.id.in_(sa.bindparam("ids", expanding=True))
)
_IS_USER = sa.select(users.c.id).where(users.c.tenant_id == TENANT, users.c.id == sa.bindparam("of_user"))
_FACTS = (
    "id",
    "started_at",
    "last_seen_at",
    "expires_at",
    "ended_at",
    "end_reason",
    "address",
    "user_agent",
    "actor_user_id",
)
_LIST_FACTS = (
    sa.select(*(s.c[name] for name in _FACTS), browsers.c.proven_at, browsers.c.used_at)
    .select_from(s.outerjoin(browsers, sa.and_(browsers.c.tenant_id == TENANT, browsers.c.session_id == s.c.id)))
    .where(_OWN, _OF_USER)
    .order_by(s.c.started_at, s.c.id)
)
_PASSWORD_SINCE = sa.select(users.c.password_changed_at).where(
    users.c.tenant_id == TENANT, users.c.id == sa.bindparam("of_user")
)
_DEVICES = (
    sa.select(s.c.address, s.c.user_agent)
    .where(_OWN, _OF_USER, s.c.id != sa.bindparam("but"), s.c.actor_user_id.is_(None))
    .distinct()
    .limit(sa.bindparam("count"))
)
_ADD = (
    sa.insert(s)
    .values(
        tenant_id=TENANT,
        **{
            name: sa.bindparam(f"new_{name}")
            for name in _NAMES
            if name not in {"tenant_id", "ended_at", "consumed_id", "replays"}
        },
    )
    .returning(POSITION.label("position"), _IN_ACTIVE_TENANT.label("is_welcome"))
)
_ACCESS_UNTIL = sa.case(
    (s.c.access_expires_at > sa.bindparam("new_access_expires_at"), s.c.access_expires_at),
    else_=sa.bindparam("new_access_expires_at"),
)
"""Tokens from before the lifetime was shortened live on."""
_ROTATE = (
    sa.update(s)
    .where(_OWN, _OF_ID, _ALIVE, _IN_ACTIVE_TENANT)
    .where(s.c.refresh_id == sa.bindparam("presented"), s.c.refresh_expires_at > sa.bindparam("moment"))
    .values(
        consumed_id=s.c.refresh_id,
        replays=0,
        last_seen_at=sa.bindparam("moment"),
        access_expires_at=_ACCESS_UNTIL,
        refresh_id=sa.bindparam("new_id"),
        refresh_kid=sa.bindparam("new_kid"),
        refresh_issued_at=sa.bindparam("moment"),
        refresh_expires_at=sa.case(
            (s.c.expires_at < sa.bindparam("new_expires_at"), s.c.expires_at), else_=sa.bindparam("new_expires_at")
        ),
    )
    .returning(s.c.user_id, s.c.expires_at, s.c.refresh_expires_at, POSITION.label("position"))
)
"""Where, and what to, is what `model.decide` says of `Rotate`; a test holds the two together."""
_COUNT_REPLAY = (
    sa.update(s)
    .where(_OWN, _OF_ID)
    .values(replays=s.c.replays + 1, access_expires_at=_ACCESS_UNTIL)
    .returning(POSITION)
)


_TENANT_STATUS = sa.select(tenants.c.status).where(tenants.c.id == TENANT)


def find_session(tx: Transaction, session_id: uuid.UUID) -> Session | None:
    """The session, or None."""
    row = tx.execute(_FIND, {"of_id": session_id}).mappings().one_or_none()
    return None if row is None else _read(row)


def lock_session(tx: Transaction, session_id: uuid.UUID) -> Session | None:
    """The session of an active tenant, locked until the transaction ends, or None.

    Of parallel refreshes that do not rotate, one decides at a time.
    """
    row = tx.execute(_LOCK, {"of_id": session_id}).mappings().one_or_none()
    return None if row is None else _read(row)


def list_sessions(tx: Transaction, user_id: uuid.UUID, *, now: int, count: int) -> tuple[Session, ...]:
    """A user's living sessions, the newest first."""
    rows = tx.execute(_LIST, {"of_user": user_id, "moment": now, "count": count}).mappings()
    return tuple(_read(row) for row in rows)


def list_of_tenant(tx: Transaction, place: Place, *, now: int, count: int) -> tuple[Listed, ...]:
    """The tenant's living sessions after a place, the newest first."""
    values = {"before": place.started_at, "of_id": place.id, "moment": now, "count": count}
    found = [_read(row) for row in tx.execute(_LIST_OF_TENANT, values).mappings()]
    names = {row.id: row.username for row in tx.execute(_NAMES_OF, {"ids": [session.user_id for session in found]})}
    return tuple(Listed(session, names[session.user_id]) for session in found if session.user_id in names)


def add_session(tx: Transaction, session: Session) -> int | None:
    """Start a session. Answers the feed's position, of which whatever is read afterwards knows.

    None: the tenant is not active any more. Both are asked at once, of one snapshot: a position from after a suspension
    would let the token pass for a newer one than its mark.
    """
    values = {
        "new_id": session.id,
        "new_user_id": session.user_id,
        "new_started_at": session.started_at,
        "new_last_seen_at": session.last_seen_at,
        "new_expires_at": session.expires_at,
        "new_access_expires_at": session.access_expires_at,
        "new_address": session.address,
        "new_user_agent": session.user_agent,
        "new_refresh_id": session.live.id,
        "new_refresh_kid": session.live.kid,
        "new_refresh_issued_at": session.live.issued_at,
        "new_refresh_expires_at": session.live.expires_at,
        "new_actor_user_id": session.actor_user_id,
        "new_actor_session_id": session.actor_session_id,
    }
    row = tx.execute(_ADD, values).one()
    return row.position if row.is_welcome else None


def rotate(
    tx: Transaction, session_id: uuid.UUID, presented_id: uuid.UUID, successor: RefreshToken, *, access_expires_at: int
) -> Live | None:
    """The successor becomes the live token, and the presented one the consumed one: if it still was the live one.

    Of parallel refreshes, one rotates. The successor lives no longer than the session. Answers what lives
    then, or None when nothing happened.
    """
    values = {
        "of_id": session_id,
        "presented": presented_id,
        "moment": successor.issued_at,
        "new_id": successor.id,
        "new_kid": successor.kid,
        "new_expires_at": successor.expires_at,
        "new_access_expires_at": access_expires_at,
    }
    row = tx.execute(_ROTATE, values).one_or_none()
    if row is None:
        return None
    return Live(row.user_id, row.expires_at, replace(successor, expires_at=row.refresh_expires_at), row.position)


def count_replay(tx: Transaction, session_id: uuid.UUID, *, access_expires_at: int) -> int:
    """Remember that a retry got the successor once more, and another access token. Answers the feed's position."""
    values = {"of_id": session_id, "new_access_expires_at": access_expires_at}
    position: int = tx.execute(_COUNT_REPLAY, values).scalar_one()
    return position


def list_devices(tx: Transaction, user_id: uuid.UUID, *, but: uuid.UUID, count: int) -> tuple[Device, ...]:
    """Where a user's sessions came from but for one, also those that have ended, as long as they are remembered."""
    return tuple(Device(*row) for row in tx.execute(_DEVICES, {"of_user": user_id, "but": but, "count": count}))


def list_facts(tx: Transaction, user_id: uuid.UUID) -> list[dict[str, Any]]:
    """What is stored of a user's sessions, but for what tokens are made of: also of those that have ended.

    `proven_at`, `used_at`: when the password was last given in a browser, and when that was last used; null: in none.
    """
    return [dict(row) for row in tx.execute(_LIST_FACTS, {"of_user": user_id}).mappings()]


def find_password_since(tx: Transaction, user_id: uuid.UUID) -> int:
    """Since when a user who is there has their present password."""
    moment: int = tx.execute(_PASSWORD_SINCE, {"of_user": user_id}).scalar_one()
    return moment


def is_user(tx: Transaction, user_id: uuid.UUID) -> bool:
    """Whether somebody of this id is there still."""
    return tx.execute(_IS_USER, {"of_user": user_id}).scalar() is not None


def find_tenant_status(tx: Transaction) -> str | None:
    """The status of the transaction's tenant."""
    status: str | None = tx.execute(_TENANT_STATUS).scalar()
    return status


def _read(row: Mapping[Any, Any]) -> Session:
    facts = dict(row)
    live = RefreshToken(
        facts.pop("refresh_id"),
        facts.pop("refresh_kid"),
        facts.pop("refresh_issued_at"),
        facts.pop("refresh_expires_at"),
    )
    return Session(live=live, **facts)
