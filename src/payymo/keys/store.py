"""SQL for `signing_keys`."""

import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa

from payymo.db.closing import ASIDE
from payymo.db.schema import signing_keys as t
from payymo.db.work import Transaction
from payymo.keys.model import Purpose, SigningKey
from payymo.sealed import Sealed, SealedRow

_COLUMNS = (
    t.c.kid,
    t.c.purpose,
    t.c.algorithm,
    t.c.state,
    t.c.public_jwk,
    t.c.private_key,
    t.c.data_key_id,
    t.c.location,
    t.c.token_ttl_seconds,
    t.c.created_at,
    t.c.activated_at,
    t.c.retires_at,
)
_LIST = sa.select(*_COLUMNS).where(t.c.state.not_in(["retired", "revoked"])).order_by(t.c.created_at, t.c.kid)
_EVER = sa.select(*_COLUMNS).where(t.c.purpose == sa.bindparam("of_purpose")).order_by(t.c.created_at, t.c.kid)
_LOCK = {
    "postgresql": sa.text("SELECT pg_advisory_xact_lock(:key)").bindparams(key=0x6B65_7973),
}
_ADD = sa.insert(t)
_MOVE = (
    sa.update(t)
    .where(t.c.purpose == sa.bindparam("of_purpose"), t.c.state == sa.bindparam("from_state"))
    .values(state=sa.bindparam("to_state"))
)
_ACTIVATE = _MOVE.values(activated_at=sa.bindparam("moment"))
_RETIRE = _MOVE.values(retires_at=sa.bindparam("moment"))
_EXPIRE = (
    sa.update(t)
    .where(t.c.state == "retiring", t.c.retires_at <= sa.bindparam("moment"))
    .values(state="retired", private_key=None, data_key_id=None)
)
_REVOKE = (
    sa.update(t)
    .where(t.c.kid == sa.bindparam("of_kid"), t.c.state.not_in(["retired", "revoked"]))
    .values(state="revoked", private_key=None, data_key_id=None, retires_at=sa.bindparam("moment"))
    .returning(t.c.purpose, t.c.token_ttl_seconds)
)
_KNOWN = sa.select(t.c.kid).where(t.c.kid == sa.bindparam("of_kid"))
_LENGTHEN = (
    sa.update(t)
    .where(t.c.purpose == sa.bindparam("of_purpose"), t.c.state.in_(["next", "active"]))
    .where(t.c.token_ttl_seconds < sa.bindparam("ttl"))
    .values(token_ttl_seconds=sa.bindparam("ttl"))
)
_UNDER_OTHERS = (t.c.data_key_id.is_not(None), t.c.data_key_id != sa.bindparam("newest"))
_LIST_SEALED = sa.select(t.c.kid, t.c.private_key, t.c.data_key_id).where(*_UNDER_OTHERS).limit(sa.bindparam("count"))
_COUNT_SEALED = sa.select(sa.func.count()).select_from(t).where(*_UNDER_OTHERS)
_RESEAL = (
    sa.update(t)
    .where(t.c.kid == sa.bindparam("of_kid"), t.c.data_key_id == sa.bindparam("old_key"))
    .values(private_key=sa.bindparam("new_sealed"), data_key_id=sa.bindparam("new_key"))
    .execution_options(**{ASIDE: "what is sealed stays what it is, and data-keys.rotated tells of it"})
)
_THE_NEXT = (t.c.purpose == sa.bindparam("of_purpose"), t.c.state == "next")
_DROP_NEXT = sa.delete(t).where(*_THE_NEXT, t.c.location.is_(None))
_RETIRE_NEXT = sa.update(t).where(*_THE_NEXT).values(state="retired", retires_at=sa.bindparam("moment"))
_LEFTOVERS = sa.select(t.c.kid, t.c.location).where(t.c.state.in_(["retired", "revoked"]), t.c.location.is_not(None))
_FORGET_LOCATION = sa.update(t).where(t.c.kid == sa.bindparam("of_kid")).values(location=None)


class Revoked(NamedTuple):
    """What a key that was revoked was for, and how long what it signed may have been going to live."""

    purpose: Purpose
    token_ttl_seconds: int


def lock(tx: Transaction) -> None:
    """Let one process at a time change the key ring. SQLite's writers are alone anyway."""
    if tx.dialect in _LOCK:
        tx.execute(_LOCK[tx.dialect])


def list_keys(tx: Transaction) -> tuple[SigningKey, ...]:
    """Every key that still does something, oldest first."""
    return tuple(_read(row) for row in tx.execute(_LIST).mappings())


def list_ever(tx: Transaction, purpose: Purpose) -> tuple[SigningKey, ...]:
    """Every key of a purpose that there ever was, oldest first."""
    return tuple(_read(row) for row in tx.execute(_EVER, {"of_purpose": purpose}).mappings())


def add_key(tx: Transaction, key: SigningKey, sealed: Sealed | None) -> None:
    """Add a key, with its private half sealed if it is for the database."""
    tx.execute(
        _ADD,
        {
            "kid": key.kid,
            "purpose": key.purpose,
            "algorithm": key.algorithm,
            "state": key.state,
            "public_jwk": key.public_jwk,
            "private_key": sealed.data if sealed else None,
            "data_key_id": sealed.data_key_id if sealed else None,
            "location": key.location,
            "token_ttl_seconds": key.token_ttl_seconds,
            "created_at": key.created_at,
            "activated_at": key.activated_at,
            "retires_at": key.retires_at,
        },
    )


def retire_active(tx: Transaction, purpose: Purpose, retires_at: int) -> None:
    """The active key stops signing, and verifies until `retires_at`."""
    tx.execute(_RETIRE, {"of_purpose": purpose, "from_state": "active", "to_state": "retiring", "moment": retires_at})


def activate_next(tx: Transaction, purpose: Purpose, now: int) -> None:
    """The next key signs from now on."""
    tx.execute(_ACTIVATE, {"of_purpose": purpose, "from_state": "next", "to_state": "active", "moment": now})


def revoke(tx: Transaction, kid: str, now: int) -> Revoked | None:
    """Nothing that the key signed counts any more, and its private half is destroyed. None: there is no such key."""
    row = tx.execute(_REVOKE, {"of_kid": kid, "moment": now}).one_or_none()
    return None if row is None else Revoked(row.purpose, row.token_ttl_seconds)


def is_known(tx: Transaction, kid: str) -> bool:
    """Whether there is, or was, such a key."""
    return tx.execute(_KNOWN, {"of_kid": kid}).scalar() is not None


def lengthen(tx: Transaction, purpose: Purpose, ttl_seconds: int) -> None:
    """From now on tokens live at least so long."""
    tx.execute(_LENGTHEN, {"of_purpose": purpose, "ttl": ttl_seconds})


def drop_next(tx: Transaction, purpose: Purpose, now: int) -> None:
    """Forget a next key that will never sign. If its private half is elsewhere, it is one of the leftovers now."""
    tx.execute(_DROP_NEXT, {"of_purpose": purpose})
    tx.execute(_RETIRE_NEXT, {"of_purpose": purpose, "moment": now})


def list_leftovers(tx: Transaction) -> tuple[tuple[str, str], ...]:
    """Keys that do nothing any more, and where private halves of theirs still are."""
    return tuple((row.kid, row.location) for row in tx.execute(_LEFTOVERS))


def forget_location(tx: Transaction, kid: str) -> None:
    """The private half is destroyed."""
    tx.execute(_FORGET_LOCATION, {"of_kid": kid})


def retire_expired(tx: Transaction, now: int) -> int:
    """Retire keys whose last token has expired, and destroy their private halves. Answers how many."""
    return tx.execute(_EXPIRE, {"moment": now}).rowcount


def list_sealed(tx: Transaction, newest: uuid.UUID, *, count: int) -> list[SealedRow]:
    """At most `count` keys whose private halves are sealed under another data key."""
    rows = tx.execute(_LIST_SEALED, {"newest": newest, "count": count})
    return [SealedRow((row.kid,), key_place(row.kid), Sealed(row.private_key, row.data_key_id)) for row in rows]


def count_sealed(tx: Transaction, newest: uuid.UUID) -> int:
    """How many private halves are sealed under another data key."""
    return tx.execute(_COUNT_SEALED, {"newest": newest}).scalar() or 0


def reseal(tx: Transaction, row: SealedRow, sealed: Sealed) -> None:
    """The same private half under another data key. What was destroyed meanwhile stays so."""
    values = {"new_sealed": sealed.data, "new_key": sealed.data_key_id, "old_key": row.sealed.data_key_id}
    tx.execute(_RESEAL, {"of_kid": row.key[0], **values})


def key_place(kid: str) -> tuple[str, str, str]:
    """What a private half is bound to."""
    return ("signing_keys", kid, "private_key")


def _read(row: Mapping[Any, Any]) -> SigningKey:
    facts = dict(row)
    data, data_key_id = facts.pop("private_key"), facts.pop("data_key_id")
    return SigningKey(sealed=None if data is None else Sealed(bytes(data), data_key_id), **facts)
