"""SQL for master keys: which ones something is wrapped under, and which is the current one."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from payymo.db.closing import ASIDE
from payymo.db.schema import master_keys
from payymo.db.work import Transaction

_INSERTS: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
_MASTER_KEYS = sa.select(master_keys.c.id, master_keys.c.state, master_keys.c.is_development)
_CURRENT = sa.select(master_keys.c.id).where(master_keys.c.state == "current")
_ADD_MASTER = {
    name: insert(master_keys)
    .on_conflict_do_nothing()
    .execution_options(**{ASIDE: "at the first start nothing is sealed yet, and no event can be; a change is recorded"})
    for name, insert in _INSERTS.items()
}
_LOCK_MASTERS = {"postgresql": sa.text("SELECT pg_advisory_xact_lock(:key)").bindparams(key=0x6D61_7374)}
_LEAVE = sa.update(master_keys).where(master_keys.c.state == "current").values(state="leaving")
_MAKE_CURRENT = sa.update(master_keys).where(master_keys.c.id == sa.bindparam("of_id")).values(state="current")
_DROP_MASTER = sa.delete(master_keys).where(master_keys.c.id == sa.bindparam("of_id"), master_keys.c.state == "leaving")


@dataclass(frozen=True, slots=True)
class KnownMaster:
    """What the database knows of a master key."""

    id: str
    state: str
    is_development: bool


def list_all(tx: Transaction) -> tuple[KnownMaster, ...]:
    """The master keys that something is wrapped under."""
    return tuple(KnownMaster(*row) for row in tx.execute(_MASTER_KEYS))


def find_current(tx: Transaction) -> str | None:
    """The id of the master key that new data keys are wrapped under, or None."""
    found: str | None = tx.execute(_CURRENT).scalar()
    return found


def lock(tx: Transaction) -> None:
    """Let one process at a time change which master key is current. SQLite's writers are alone anyway."""
    if tx.dialect in _LOCK_MASTERS:
        tx.execute(_LOCK_MASTERS[tx.dialect])


def add(tx: Transaction, master_id: str, state: str, *, is_development: bool, now: int) -> None:
    """Know a master key; one that is known stays as it is."""
    row = {"id": master_id, "state": state, "is_development": is_development, "created_at": now}
    tx.execute(_ADD_MASTER[tx.dialect], row)


def make_current(tx: Transaction, master_id: str) -> None:
    """Wrap new data keys under this master key from now on."""
    tx.execute(_LEAVE)
    tx.execute(_MAKE_CURRENT, {"of_id": master_id})


def drop(tx: Transaction, master_id: str) -> bool:
    """Forget a master key that leaves. False while a data key, of whatever age, still needs it."""
    try:
        tx.execute(_DROP_MASTER, {"of_id": master_id})
    except IntegrityError:
        return False
    return True
