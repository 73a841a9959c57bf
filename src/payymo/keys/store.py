"""SQL for `signing_keys`."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from payymo.db.schema import signing_keys as t
from payymo.db.work import Transaction
from payymo.keys.model import Purpose, SigningKey

_COLUMNS = (
    t.c.kid,
    t.c.purpose,
    t.c.algorithm,
    t.c.state,
    t.c.public_jwk,
    t.c.private_key,
    t.c.created_at,
    t.c.activated_at,
    t.c.retires_at,
)
_LIST = sa.select(*_COLUMNS).where(t.c.state != "retired").order_by(t.c.created_at, t.c.kid)
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
    .values(state="retired", private_key=b"")
)
_DROP_NEXT = sa.delete(t).where(t.c.purpose == sa.bindparam("of_purpose"), t.c.state == "next")


def lock(tx: Transaction) -> None:
    """Let one process at a time change the key ring. SQLite's writers are alone anyway."""
    if tx.dialect in _LOCK:
        tx.execute(_LOCK[tx.dialect])


def list_keys(tx: Transaction) -> tuple[SigningKey, ...]:
    """Every key that still does something, oldest first."""
    return tuple(_read(row) for row in tx.execute(_LIST).mappings())


def add_key(tx: Transaction, key: SigningKey) -> None:
    """Add a key."""
    tx.execute(
        _ADD,
        {
            "kid": key.kid,
            "purpose": key.purpose,
            "algorithm": key.algorithm,
            "state": key.state,
            "public_jwk": key.public_jwk,
            "private_key": key.sealed,
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


def drop_next(tx: Transaction, purpose: Purpose) -> None:
    """Forget a next key that will never sign."""
    tx.execute(_DROP_NEXT, {"of_purpose": purpose})


def retire_expired(tx: Transaction, now: int) -> int:
    """Retire keys whose last token has expired, and destroy their private halves. Answers how many."""
    return tx.execute(_EXPIRE, {"moment": now}).rowcount


def _read(row: Mapping[Any, Any]) -> SigningKey:
    facts = dict(row)
    return SigningKey(sealed=facts.pop("private_key"), **facts)
