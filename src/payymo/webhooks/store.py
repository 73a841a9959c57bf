"""SQL for `webhook_endpoints` and `webhook_secrets`. How far each has come is in `payymo.webhooks.progress`.

The endpoints of the platform's own log are rows with its identifier, and platform work.
"""

import uuid
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

import sqlalchemy as sa

from payymo.db.closing import ASIDE
from payymo.db.schema import PLATFORM_LOG, TENANT
from payymo.db.schema import webhook_endpoints as e
from payymo.db.schema import webhook_secrets as s
from payymo.db.work import Transaction
from payymo.sealed import Sealed, SealedRow
from payymo.webhooks.model import Draft, Endpoint, Secret

_ENDPOINT: Final = [e.c[name] for name in Endpoint.__dataclass_fields__]
_OF_ID: Final = sa.bindparam("of_id", type_=sa.Uuid())

# ── endpoints ────────────────────────────────────────────────────────────────────────────────────────────────────────

_OWN: Final = (e.c.tenant_id == TENANT, e.c.id == _OF_ID)
_LIST: Final = sa.select(*_ENDPOINT).where(e.c.tenant_id == TENANT).order_by(e.c.created_at, e.c.id)
_FIND: Final = sa.select(*_ENDPOINT).where(*_OWN)
_LOCK: Final = _FIND.with_for_update()
_LOCK_ALL: Final = sa.select(e.c.id).where(e.c.tenant_id == TENANT).order_by(e.c.id).with_for_update()
_COUNT: Final = sa.select(sa.func.count(e.c.id)).where(e.c.tenant_id == TENANT)
_NEW: Final = ("id", "url", "events", "description", "wants_personal", "certificate", "created_at", "next_position")
_ADD: Final = sa.insert(e).values(
    tenant_id=TENANT,
    is_enabled=True,
    rests_until=0,
    claimed_until=0,
    claims=0,
    **{name: sa.bindparam(f"new_{name}", type_=e.c[name].type) for name in _NEW},
)
_SAID: Final = ("url", "events", "description", "wants_personal", "certificate")
_CHANGE: Final = sa.update(e).where(*_OWN).values(
    {name: sa.bindparam(f"new_{name}", type_=e.c[name].type) for name in _SAID}
)  # fmt: skip
_ENABLE: Final = sa.update(e).where(*_OWN).values(is_enabled=True, failing_since=None, reason=None, rests_until=0)
"""Whoever speaks to it goes on. Were it free at once, who enables it again and again would have every place."""
_DISABLE: Final = (
    sa.update(e)
    .where(*_OWN)
    .values(
        is_enabled=False,
        reason=sa.bindparam("why"),
        failing_since=sa.bindparam("since", type_=sa.BigInteger()),
    )
)
_REMOVE: Final = sa.delete(e).where(*_OWN)
_LOCK_CLAIMS: Final = {"postgresql": sa.text("SELECT pg_advisory_xact_lock(:key)").bindparams(key=0x7765_6268)}

# ── secrets ──────────────────────────────────────────────────────────────────────────────────────────────────────────

_KEY: Final = sa.func.coalesce(s.c.data_key_id, s.c.service_data_key_id).label("key_id")
_OF_ENDPOINT: Final = (s.c.tenant_id == TENANT, s.c.endpoint_id == _OF_ID)
_SECRETS: Final = sa.select(s.c.version, s.c.sealed, _KEY, s.c.expires_at).where(*_OF_ENDPOINT).order_by(s.c.version)
_ADD_SECRET: Final = sa.insert(s).values(
    tenant_id=TENANT,
    endpoint_id=_OF_ID,
    version=sa.bindparam("new_version"),
    sealed=sa.bindparam("new_sealed"),
    data_key_id=sa.bindparam("new_key", type_=sa.Uuid()),
    service_data_key_id=sa.bindparam("new_service_key", type_=sa.Uuid()),
    expires_at=None,
)
_END_SECRET: Final = (
    sa.update(s)
    .where(*_OF_ENDPOINT, s.c.version == sa.bindparam("of_version"))
    .values(expires_at=sa.bindparam("until"))
)
_DROP_SECRETS: Final = sa.delete(s).where(*_OF_ENDPOINT, s.c.version < sa.bindparam("before"))
_PRUNE_SECRETS: Final = (
    sa.delete(s)
    .where(s.c.expires_at <= sa.bindparam("moment", type_=sa.BigInteger()))
    .execution_options(**{ASIDE: "its end is on record since it was set"})
)
_UNDER_OTHERS: Final = (s.c.tenant_id == TENANT, sa.bindparam("newest", type_=sa.Uuid()) != _KEY)
_LIST_SEALED: Final = (
    sa.select(s.c.endpoint_id, s.c.version, s.c.sealed, _KEY).where(*_UNDER_OTHERS).limit(sa.bindparam("count"))
)
_COUNT_SEALED: Final = sa.select(sa.func.count(s.c.version)).where(*_UNDER_OTHERS)
_RESEAL: Final = (
    sa.update(s)
    .where(*_OF_ENDPOINT, s.c.version == sa.bindparam("of_version"), sa.bindparam("old_key", type_=sa.Uuid()) == _KEY)
    .values(
        sealed=sa.bindparam("new_sealed"),
        data_key_id=sa.bindparam("new_key", type_=sa.Uuid()),
        service_data_key_id=sa.bindparam("new_service_key", type_=sa.Uuid()),
    )
    .execution_options(**{ASIDE: "the same under another key: sealing everything again is recorded"})
)


def place_of(endpoint_id: uuid.UUID, version: int) -> tuple[str, ...]:
    """What a signing secret is bound to."""
    return (s.name, endpoint_id.hex, str(version), s.c.sealed.name)


def lock_claims(tx: Transaction) -> None:
    """Platform step: nobody else claims an endpoint before this transaction ends. On SQLite, nobody writes anyway.

    Two who looked at once would each find one of the same tenant, of which no other is served.
    """
    if tx.dialect in _LOCK_CLAIMS:
        tx.execute(_LOCK_CLAIMS[tx.dialect])


def list_endpoints(tx: Transaction) -> tuple[Endpoint, ...]:
    """The endpoints of the transaction's log, the oldest first."""
    return tuple(_read(row) for row in _run(tx, _LIST).mappings())


def find(tx: Transaction, endpoint_id: uuid.UUID, *, to_change: bool = False) -> Endpoint | None:
    """The endpoint, if it is of the transaction's log; `to_change`: nobody else changes it until the end."""
    row = _run(tx, _LOCK if to_change else _FIND, {"of_id": endpoint_id}).mappings().one_or_none()
    return None if row is None else _read(row)


def count_endpoints(tx: Transaction) -> int:
    """How many there are. They are locked, so that of two who add one, the second counts that of the first."""
    _run(tx, _LOCK_ALL).all()
    return _run(tx, _COUNT).scalar() or 0


def add(tx: Transaction, endpoint: Endpoint) -> None:
    """Add an endpoint."""
    values = asdict(endpoint) | {"events": list(endpoint.events)}
    _run(tx, _ADD, {f"new_{name}": values[name] for name in _NEW})


def change(tx: Transaction, endpoint_id: uuid.UUID, draft: Draft) -> None:
    """What is said of it from now on."""
    values = asdict(draft) | {"events": list(draft.events)}
    _run(tx, _CHANGE, {"of_id": endpoint_id, **{f"new_{name}": values[name] for name in _SAID}})


def enable(tx: Transaction, endpoint_id: uuid.UUID) -> None:
    """Send again."""
    _run(tx, _ENABLE, {"of_id": endpoint_id})


def disable(tx: Transaction, endpoint_id: uuid.UUID, reason: str, *, failing_since: int | None) -> None:
    """Send nothing any more. `failing_since`: None, if that is how it is meant to be."""
    _run(tx, _DISABLE, {"of_id": endpoint_id, "why": reason, "since": failing_since})


def remove(tx: Transaction, endpoint_id: uuid.UUID) -> None:
    """Forget it, with its secrets and what it has not taken."""
    _run(tx, _REMOVE, {"of_id": endpoint_id})


def list_secrets(tx: Transaction, endpoint_id: uuid.UUID) -> list[Secret]:
    """What it was and is signed with, the oldest first."""
    rows = _run(tx, _SECRETS, {"of_id": endpoint_id})
    return [Secret(row.version, Sealed(bytes(row.sealed), row.key_id), row.expires_at) for row in rows]


def add_secret(tx: Transaction, endpoint_id: uuid.UUID, version: int, sealed: Sealed) -> None:
    """Sign with this from now on."""
    _run(tx, _ADD_SECRET, {"of_id": endpoint_id, "new_version": version, **_sealed(tx, sealed)})


def end_secret(tx: Transaction, endpoint_id: uuid.UUID, version: int, *, until: int) -> None:
    """Sign with this until then, too, and with those before it no more."""
    _run(tx, _END_SECRET, {"of_id": endpoint_id, "of_version": version, "until": until})
    _run(tx, _DROP_SECRETS, {"of_id": endpoint_id, "before": version})


def prune_secrets(tx: Transaction, *, now: int) -> int:
    """Platform step: forget what signs no more. Answers how many."""
    return tx.execute(_PRUNE_SECRETS, {"moment": now}).rowcount


def list_sealed(tx: Transaction, newest: uuid.UUID, *, count: int) -> list[SealedRow]:
    """At most `count` secrets that are sealed under another data key."""
    rows = _run(tx, _LIST_SEALED, {"newest": newest, "count": count})
    return [
        SealedRow(
            (row.endpoint_id, row.version),
            place_of(row.endpoint_id, row.version),
            Sealed(bytes(row.sealed), row.key_id),
        )
        for row in rows
    ]


def count_sealed(tx: Transaction, newest: uuid.UUID) -> int:
    """How many secrets are sealed under another data key."""
    return _run(tx, _COUNT_SEALED, {"newest": newest}).scalar() or 0


def reseal(tx: Transaction, row: SealedRow, sealed: Sealed) -> None:
    """The same secret under another data key. What is gone meanwhile stays so."""
    endpoint_id, version = row.key
    values = {"of_id": endpoint_id, "of_version": version, "old_key": row.sealed.data_key_id}
    _run(tx, _RESEAL, {**values, **_sealed(tx, sealed)})


def _run(
    tx: Transaction, statement: sa.Executable, values: Mapping[str, Any] | None = None
) -> sa.CursorResult[*tuple[Any, ...]]:
    """In platform work it is about the endpoints of the platform's own log."""
    whose = {TENANT.key: PLATFORM_LOG} if tx.tenant_id is None else {}
    return tx.execute(statement, {**(values or {}), **whose})


def _sealed(tx: Transaction, sealed: Sealed) -> dict[str, Any]:
    is_platform = tx.tenant_id is None
    return {
        "new_sealed": sealed.data,
        "new_key": None if is_platform else sealed.data_key_id,
        "new_service_key": sealed.data_key_id if is_platform else None,
    }


def _read(row: Mapping[Any, Any]) -> Endpoint:
    return Endpoint(**{**row, "events": tuple(row["events"])})
