"""SQL for `certificates`."""

import uuid
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from payymo.certificates.model import CertificateVersion, State
from payymo.db.closing import ASIDE
from payymo.db.schema import certificates as t
from payymo.db.work import Transaction
from payymo.sealed import Sealed, SealedRow

_NAMED = t.c.name == sa.bindparam("of_name")
_ONE = (_NAMED, t.c.version == sa.bindparam("of_version"))
_LIST = sa.select(t).order_by(t.c.name, t.c.version)
_OF_NAME = _LIST.where(_NAMED)
_ALIVE = _LIST.where(t.c.state.in_(["next", "active", "retiring"]))
_ACTIVE = _LIST.where(_NAMED, t.c.state == "active")
_ACTIVE_VERSION = sa.select(t.c.version).where(_NAMED, t.c.state == "active")
_LOCK = {
    "postgresql": sa.text("SELECT pg_advisory_xact_lock(:key)").bindparams(key=0x6365_7274),
}
_ADD = sa.insert(t)
_FILL = (
    sa.update(t)
    .where(*_ONE, t.c.state == "requested")
    .values(
        {
            name: sa.bindparam(f"new_{name}")
            for name in (
                "state",
                "is_development",
                "chain_pem",
                "thumbprint",
                "not_before",
                "not_after",
                "activates_at",
            )
        }
    )
)
_ACTIVATE = (
    sa.update(t)
    .where(*_ONE, t.c.state.in_(["next", "retiring"]))
    .values(state="active", activated_at=sa.bindparam("moment"), retires_at=None)
)
_STEP_DOWN = (
    sa.update(t).where(*_ONE, t.c.state == "active").values(state="retiring", retires_at=sa.bindparam("moment"))
)
_RESCHEDULE = sa.update(t).where(*_ONE, t.c.state == "next").values(activates_at=sa.bindparam("moment"))
_DESTROY = (
    sa.update(t)
    .where(*_ONE, t.c.state != "revoked")
    .values(state=sa.bindparam("to_state"), private_key=None, data_key_id=None, retires_at=sa.bindparam("moment"))
)
_WARN = sa.update(t).where(*_ONE).values(warned_days=sa.bindparam("days"))
_REVOKED_PIN = sa.select(t.c.name).where(t.c.state == "revoked", t.c.pin == sa.bindparam("of_pin")).limit(1)
_WITH_PIN = _LIST.where(t.c.pin == sa.bindparam("of_pin"), t.c.state != "revoked")
_UNDER_OTHERS = (t.c.data_key_id.is_not(None), t.c.data_key_id != sa.bindparam("newest"))
_LIST_SEALED = (
    sa.select(t.c.name, t.c.version, t.c.private_key, t.c.data_key_id)
    .where(*_UNDER_OTHERS)
    .limit(sa.bindparam("count"))
)
_COUNT_SEALED = sa.select(sa.func.count()).select_from(t).where(*_UNDER_OTHERS)
_RESEAL = (
    sa.update(t)
    .where(*_ONE, t.c.data_key_id == sa.bindparam("old_key"))
    .values(private_key=sa.bindparam("new_sealed"), data_key_id=sa.bindparam("new_key"))
    .execution_options(**{ASIDE: "what is sealed stays what it is, and data-keys.rotated tells of it"})
)


def lock(tx: Transaction) -> None:
    """Let one process at a time change certificates. SQLite's writers are alone anyway."""
    if tx.dialect in _LOCK:
        tx.execute(_LOCK[tx.dialect])


def list_all(tx: Transaction) -> tuple[CertificateVersion, ...]:
    """Every version there ever was, by name."""
    return tuple(_read(row) for row in tx.execute(_LIST).mappings())


def list_alive(tx: Transaction) -> tuple[CertificateVersion, ...]:
    """Every version that the calendar may have to do with, by name."""
    return tuple(_read(row) for row in tx.execute(_ALIVE).mappings())


def list_versions(tx: Transaction, name: str) -> tuple[CertificateVersion, ...]:
    """Every version of a name, oldest first."""
    return tuple(_read(row) for row in tx.execute(_OF_NAME, {"of_name": name}).mappings())


def find_active(tx: Transaction, name: str) -> CertificateVersion | None:
    """The version in use, or None."""
    row = tx.execute(_ACTIVE, {"of_name": name}).mappings().one_or_none()
    return None if row is None else _read(row)


def find_active_version(tx: Transaction, name: str) -> int | None:
    """The number of the version in use, or None."""
    found: int | None = tx.execute(_ACTIVE_VERSION, {"of_name": name}).scalar()
    return found


def add(tx: Transaction, new: CertificateVersion) -> None:
    """Add a version."""
    row = asdict(new)
    del row["sealed"]
    sealed = new.sealed
    tx.execute(
        _ADD,
        {
            **row,
            "private_key": sealed.data if sealed else None,
            "data_key_id": sealed.data_key_id if sealed else None,
        },
    )


def fill(tx: Transaction, new: CertificateVersion) -> None:
    """A requested version gets its certificate."""
    members = ("state", "is_development", "chain_pem", "thumbprint", "not_before", "not_after", "activates_at")
    values = {f"new_{name}": getattr(new, name) for name in members}
    tx.execute(_FILL, {"of_name": new.name, "of_version": new.version, **values})


def activate(tx: Transaction, version: CertificateVersion, now: int) -> None:
    """A version is the one in use from now on."""
    tx.execute(_ACTIVATE, {**_key(version), "moment": now})


def step_down(tx: Transaction, version: CertificateVersion, retires_at: int) -> None:
    """A version is no longer in use, and accepted until `retires_at`."""
    tx.execute(_STEP_DOWN, {**_key(version), "moment": retires_at})


def reschedule(tx: Transaction, version: CertificateVersion, activates_at: int) -> None:
    """A next version takes over at another time."""
    tx.execute(_RESCHEDULE, {**_key(version), "moment": activates_at})


def destroy(tx: Transaction, version: CertificateVersion, state: State, now: int) -> None:
    """Destroy the private half of a version. What is public stays."""
    tx.execute(_DESTROY, {**_key(version), "to_state": state, "moment": now})


def warn(tx: Transaction, version: CertificateVersion, days: int) -> None:
    """Remember that this threshold is warned of."""
    tx.execute(_WARN, {**_key(version), "days": days})


def is_pin_revoked(tx: Transaction, pin: str) -> bool:
    """Whether a version with this public key, of whatever name, is revoked."""
    return tx.execute(_REVOKED_PIN, {"of_pin": pin}).scalar() is not None


def list_with_pin(tx: Transaction, pin: str) -> tuple[CertificateVersion, ...]:
    """Every version with this public key, of whatever name, that is not revoked."""
    return tuple(_read(row) for row in tx.execute(_WITH_PIN, {"of_pin": pin}).mappings())


def list_sealed(tx: Transaction, newest: uuid.UUID, *, count: int) -> list[SealedRow]:
    """At most `count` versions whose private halves are sealed under another data key. Nobody changes one meanwhile."""
    lock(tx)
    rows = tx.execute(_LIST_SEALED, {"newest": newest, "count": count})
    return [
        SealedRow((row.name, row.version), place_of(row.name, row.version), Sealed(row.private_key, row.data_key_id))
        for row in rows
    ]


def count_sealed(tx: Transaction, newest: uuid.UUID) -> int:
    """How many private halves are sealed under another data key."""
    return tx.execute(_COUNT_SEALED, {"newest": newest}).scalar() or 0


def reseal(tx: Transaction, row: SealedRow, sealed: Sealed) -> None:
    """The same private half under another data key. What was destroyed meanwhile stays so."""
    name, version = row.key
    values = {"new_sealed": sealed.data, "new_key": sealed.data_key_id, "old_key": row.sealed.data_key_id}
    tx.execute(_RESEAL, {"of_name": name, "of_version": version, **values})


def place_of(name: str, version: int) -> tuple[str, ...]:
    """What a private half is bound to."""
    return ("certificates", name, str(version), "private_key")


def _key(version: CertificateVersion) -> dict[str, Any]:
    return {"of_name": version.name, "of_version": version.version}


def _read(row: Mapping[Any, Any]) -> CertificateVersion:
    facts = dict(row)
    data, data_key_id = facts.pop("private_key"), facts.pop("data_key_id")
    return CertificateVersion(sealed=None if data is None else Sealed(bytes(data), data_key_id), **facts)
