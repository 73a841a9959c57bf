"""SQL for `service_credentials` and `followers`."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from payymo.db.closing import ASIDE
from payymo.db.schema import followers as f
from payymo.db.schema import revocation_counter
from payymo.db.schema import service_credentials as c
from payymo.db.work import Transaction
from payymo.guards.model import Follower, ServiceCredential

FOLLOWERS_AT_MOST: Final = 10_000
FOLLOWERS_PER_CREDENTIAL: Final = 1_000
"""So that one that is lost, or broken, does not keep the others from being seen."""
CLOCKS_APART_SECONDS: Final = 60

_INSERTS: Final = (("postgresql", postgresql.insert), ("sqlite", sqlite.insert))
_FACTS = [column for column in c.c if column is not c.c.place]
_LIST_CREDENTIALS = sa.select(*_FACTS).order_by(c.c.name, c.c.created_at, c.c.id)
_ADD_CREDENTIAL = {name: insert(c).on_conflict_do_nothing().returning(c.c.id) for name, insert in _INSERTS}
_OF_NAME = (c.c.name == sa.bindparam("of_name"), c.c.revoked_at.is_(None))
_END = sa.update(c).where(*_OF_NAME).values(revoked_at=sa.bindparam("moment"))
_END_EXPIRED = sa.update(c).where(*_OF_NAME, c.c.expires_at <= sa.bindparam("moment")).values(revoked_at=c.c.expires_at)
_NOTE_USE = (
    sa.update(c)
    .where(c.c.id == sa.bindparam("of_id"), c.c.revoked_at.is_(None))
    .values(last_used_at=sa.bindparam("moment"))
    .execution_options(**{ASIDE: "for the operator to see what is still in use"})
)

_PLACE = sa.select(c.c.place).where(c.c.id == sa.bindparam("of_id"))
_SAVE_PLACE = (
    sa.update(c)
    .where(c.c.id == sa.bindparam("of_id"))
    .values(place=sa.bindparam("new_place"))
    .execution_options(**{ASIDE: "how far a receiver has read"})
)

_SAME_CREDENTIAL = f.c.credential.is_not_distinct_from(sa.bindparam("of_credential", type_=sa.String()))
_MOMENT = sa.bindparam("moment", type_=sa.BigInteger())
_REPORT = (
    sa.update(f)
    .where(
        f.c.id == sa.bindparam("of_id"),
        _SAME_CREDENTIAL,  # a name that another one uses can't be spoken for
        # An older report of another process does not undo a newer one; one from a clock that ran ahead does not stay.
        sa.or_(f.c.last_seen_at <= _MOMENT, f.c.last_seen_at > _MOMENT + CLOCKS_APART_SECONDS),
    )
    .values(
        address=sa.bindparam("from_address"),
        cursor_seq=sa.bindparam("at_seq"),
        kids=sa.bindparam("holding", type_=sa.JSON()),
        last_seen_at=_MOMENT,
    )
)
_ADD_FOLLOWER = {name: insert(f).on_conflict_do_nothing() for name, insert in _INSERTS}
_COUNT_ALL = sa.select(sa.func.count()).select_from(f)
_COUNT_OF_CREDENTIAL = _COUNT_ALL.where(_SAME_CREDENTIAL)
_LIST_FOLLOWERS = sa.select(*f.c).order_by(f.c.first_seen_at, f.c.id)
_LIST_SINCE = _LIST_FOLLOWERS.where(f.c.last_seen_at >= _MOMENT)
_PRUNE = sa.delete(f).where(f.c.last_seen_at < _MOMENT)
_FORGET = sa.delete(f).where(_SAME_CREDENTIAL)
_LAST_SEQ = sa.select(revocation_counter.c.last_seq)


def list_credentials(tx: Transaction) -> tuple[ServiceCredential, ...]:
    """Every one there is or was, by name."""
    return tuple(_read_credential(row) for row in tx.execute(_LIST_CREDENTIALS).mappings())


def add_credential(tx: Transaction, credential: ServiceCredential) -> bool:
    """Add one. False: the name is in use. One of that name that has expired gives way."""
    tx.execute(_END_EXPIRED, {"of_name": credential.name, "moment": credential.created_at})
    values = asdict(credential) | {"scopes": list(credential.scopes)}
    return tx.execute(_ADD_CREDENTIAL[tx.dialect], values).scalar() is not None


def revoke_credential(tx: Transaction, name: str, now: int) -> bool:
    """End the one of this name, and forget who followed with it. False: there is none."""
    tx.execute(_END_EXPIRED, {"of_name": name, "moment": now})
    if tx.execute(_END, {"of_name": name, "moment": now}).rowcount != 1:
        return False
    tx.execute(_FORGET, {"of_credential": name})
    return True


def note_use(tx: Transaction, credential_id: uuid.UUID, now: int) -> None:
    """It was used just now."""
    tx.execute(_NOTE_USE, {"of_id": credential_id, "moment": now})


def find_place(tx: Transaction, credential_id: uuid.UUID) -> str | None:
    """Up to where in the feed a receiver of events has acknowledged everything."""
    place: str | None = tx.execute(_PLACE, {"of_id": credential_id}).scalar()
    return place


def save_place(tx: Transaction, credential_id: uuid.UUID, place: str) -> None:
    """It has acknowledged everything up to there."""
    tx.execute(_SAVE_PLACE, {"of_id": credential_id, "new_place": place})


def save_followers(tx: Transaction, reports: Iterable[Follower]) -> None:
    """Write down who follows, and what they hold. New ones only as far as there is room."""
    for report in sorted(reports, key=lambda report: report.id):  # in one order: two processes don't block each other
        values = {
            "of_id": report.id,
            "of_credential": report.credential,
            "from_address": report.address,
            "at_seq": report.cursor_seq,
            "holding": list(report.kids),
            "moment": report.last_seen_at,
        }
        if not tx.execute(_REPORT, values).rowcount and _has_room(tx, report.credential):
            tx.execute(_ADD_FOLLOWER[tx.dialect], asdict(report) | {"kids": list(report.kids)})


def _has_room(tx: Transaction, credential: str | None) -> bool:
    """Counted anew each time: that happens once in the life of a follower."""
    of_credential: int = tx.execute(_COUNT_OF_CREDENTIAL, {"of_credential": credential}).scalar_one()
    everybody: int = tx.execute(_COUNT_ALL).scalar_one()
    return of_credential < FOLLOWERS_PER_CREDENTIAL and everybody < FOLLOWERS_AT_MOST


def list_followers(tx: Transaction, *, since: int | None = None) -> tuple[Follower, ...]:
    """Those that are known, the longest known first; with `since`, those that were heard of since."""
    rows = tx.execute(_LIST_FOLLOWERS) if since is None else tx.execute(_LIST_SINCE, {"moment": since})
    return tuple(_read_follower(row) for row in rows.mappings())


def prune_followers(tx: Transaction, before: int) -> int:
    """Forget those that were not heard of since `before`. Answers how many."""
    return tx.execute(_PRUNE, {"moment": before}).rowcount


def last_seq(tx: Transaction) -> int:
    """The number of the newest entry of the feed."""
    return tx.execute(_LAST_SEQ).scalar() or 0


def _read_credential(row: Mapping[Any, Any]) -> ServiceCredential:
    facts = dict(row)
    return ServiceCredential(digest=bytes(facts.pop("digest")), scopes=tuple(facts.pop("scopes")), **facts)


def _read_follower(row: Mapping[Any, Any]) -> Follower:
    facts = dict(row)
    return Follower(kids=tuple(facts.pop("kids")), **facts)
