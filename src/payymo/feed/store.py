"""SQL for `token_revocations`, `service_revocations` and `revocation_counter`."""

import uuid
from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from payymo.db.schema import TENANT, api_keys, revocation_counter, service_revocations, sessions, tenants
from payymo.db.schema import token_revocations as r
from payymo.db.work import Transaction
from payymo.feed.model import MARGIN_SECONDS, Cursor, Entry, Kind, Subject

BARE: Final = 32
_COUNTER = revocation_counter.c
_TAKE_NUMBERS = (
    sa.update(revocation_counter)
    .where(_COUNTER.id == 1)
    .values(
        last_seq=_COUNTER.last_seq + sa.bindparam("count"), nonce=sa.bindparam("new_nonce"), previous=_COUNTER.nonce
    )
    .returning(_COUNTER.last_seq, _COUNTER.previous)
)
_LOCK_NUMBERS = sa.select(_COUNTER.last_seq).where(_COUNTER.id == 1).with_for_update()
HEAD: Final = sa.select(_COUNTER.last_seq, _COUNTER.nonce).where(_COUNTER.id == 1)
"""Where the feed ends."""
POSITION: Final = sa.select(_COUNTER.last_seq).where(_COUNTER.id == 1).scalar_subquery()
"""The last number, for statements that have something else to do, too."""
_ADD = sa.insert(r).values(
    tenant_id=TENANT,
    **{
        name: sa.bindparam(f"new_{name}")
        for name in ("seq", "nonce", "previous", "kind", "subject_id", "user_id", "reason", "revoked_at", "expires_at")
    },
)
_ADD_FOR_SERVICE = sa.insert(service_revocations)
_IS_REVOKED = sa.select(sa.literal(1)).where(r.c.tenant_id == TENANT, r.c.subject_id == sa.bindparam("token"))
_IS_NEWER = r.c.seq > sa.bindparam("position", type_=sa.BigInteger())


def _named(name: str) -> sa.BindParameter[uuid.UUID]:
    return sa.bindparam(name, type_=sa.Uuid())


def _is(name: str) -> sa.ColumnElement[bool]:
    return r.c.subject_id == _named(name)


def _is_refused(*conditions: sa.ColumnElement[bool]) -> sa.Select[Any]:
    # Said once more as a list: of alternatives of which one has a second bound SQLite makes no searches, as long as it
    # has no statistics, and goes through every revocation of the tenant.
    is_named = r.c.subject_id.in_([_named(name) for name in ("token", "session", "user", "tenant")])
    of_anybody = sa.and_(
        is_named, sa.or_(_is("token"), _is("session"), sa.and_(sa.or_(_is("user"), _is("tenant")), _IS_NEWER))
    )
    return sa.select(
        sa.select(tenants.c.status).where(tenants.c.id == TENANT).scalar_subquery(),
        sa.select(r.c.seq).where(r.c.tenant_id == TENANT, *conditions, of_anybody).exists(),
    )


IS_REFUSED: Final = _is_refused(r.c.kind != "permissions")  # what is asked here is asked of live permissions
"""The tenant's status (None: no such tenant), and whether the token is revoked: itself, its session, or whatever of its
user or tenant is older than a mark."""
IS_REFUSED_ELSEWHERE: Final = _is_refused()
"""The same for who goes by the permissions that the token names: also whether they have changed."""

_LIVE_UNTIL = sa.select(sa.func.max(sessions.c.access_expires_at)).where(sessions.c.tenant_id == TENANT)
_KEYS_LIVE_UNTIL = sa.select(sa.func.max(api_keys.c.access_expires_at)).where(api_keys.c.tenant_id == TENANT)
_LIVE_UNTIL_OF = _LIVE_UNTIL.where(sessions.c.user_id.in_(sa.bindparam("of_users", expanding=True)))

_SUBJECT = sa.cast(r.c.subject_id, sa.String()).label("subject")
_OF_TENANTS = sa.select(r.c.seq, r.c.nonce, r.c.kind, _SUBJECT, r.c.tenant_id, r.c.revoked_at, r.c.expires_at)
_s = service_revocations.c
_NOBODY = sa.cast(sa.null(), sa.Uuid()).label("tenant_id")
_OF_SERVICE = sa.select(_s.seq, _s.nonce, _s.kind, _s.subject, _NOBODY, _s.revoked_at, _s.expires_at)
_AFTER = sa.bindparam("after", type_=sa.BigInteger())
_COUNT = sa.bindparam("count", type_=sa.Integer())


def _first_of(column: sa.ColumnElement[int]) -> sa.ScalarSelect[Any]:
    return sa.select(sa.func.min(column)).where(column > _AFTER).scalar_subquery()


_FIRSTS = sa.union_all(sa.select(_first_of(r.c.seq).label("seq")), sa.select(_first_of(_s.seq))).cte("firsts")
_FIRST = sa.select(sa.func.min(_FIRSTS.c.seq)).scalar_subquery()


def _window(numbers: sa.Select[Any], column: sa.ColumnElement[int]) -> sa.Select[Any]:
    return numbers.where(column >= _FIRST, column < _FIRST + _COUNT)


READ: Final = sa.union_all(_window(_OF_TENANTS, r.c.seq), _window(_OF_SERVICE, _s.seq)).order_by("seq")
"""A window of numbers and no LIMIT: PostgreSQL supposes that the policy lets hardly a row through, and would read and
sort all that follows, for each page anew: a million entries took minutes."""
_NONCES = sa.union_all(
    *(sa.select(table.c.nonce).where(table.c.seq == sa.bindparam("of_seq")) for table in (r, service_revocations)),
    *(sa.select(table.c.previous).where(table.c.seq == sa.bindparam("next")) for table in (r, service_revocations)),
)
_MADE_AT = sa.union_all(
    *(sa.select(table.c.revoked_at).where(table.c.seq == sa.bindparam("of_seq")) for table in (r, service_revocations))
)


def _pruning(table: sa.Table) -> sa.Delete:
    """Rows that another cleaner has locked are left to it."""
    expired = sa.select(table.c.seq).where(table.c.expires_at <= sa.bindparam("moment"))
    batch = expired.order_by(table.c.expires_at).limit(sa.bindparam("count")).with_for_update(skip_locked=True)
    return sa.delete(table).where(table.c.seq.in_(batch))


_PRUNE = [_pruning(r), _pruning(service_revocations)]


def add(tx: Transaction, kind: Kind, subjects: Sequence[Subject], *, reason: str, now: int, nonce: str) -> None:
    """Step: number and record what a tenant refuses. The counter's lock is held until commit: do this last."""
    first, previous = _take_numbers(tx, len(subjects), nonce)
    rows = [
        {
            "new_seq": first + index,
            "new_nonce": nonce,
            "new_previous": nonce if index else previous,
            "new_kind": kind,
            "new_subject_id": subject.id,
            "new_user_id": subject.user_id,
            "new_reason": reason,
            "new_revoked_at": now,
            "new_expires_at": subject.live_until + MARGIN_SECONDS,
        }
        for index, subject in enumerate(subjects)
    ]
    tx.execute(_ADD, rows)


def add_for_service(tx: Transaction, kind: Kind, subject: str, *, live_until: int, now: int, nonce: str) -> None:
    """Platform step: number and record what nobody accepts any more. The counter's lock is held until commit."""
    seq, previous = _take_numbers(tx, 1, nonce)
    row = {
        "seq": seq,
        "nonce": nonce,
        "previous": previous,
        "kind": kind,
        "subject": subject,
        "revoked_at": now,
        "expires_at": live_until + MARGIN_SECONDS,
    }
    tx.execute(_ADD_FOR_SERVICE, row)


def _take_numbers(tx: Transaction, count: int, nonce: str) -> tuple[int, str]:
    """The first of `count` numbers that nobody else gets, and the nonce of the number before it."""
    row = tx.execute(_TAKE_NUMBERS, {"count": count, "new_nonce": nonce}).one()
    return row.last_seq - count + 1, row.previous


def find_live_until(tx: Transaction, *, of_users: Sequence[uuid.UUID] | None = None) -> int:
    """Until when an access token of the tenant may live, or of some of its users; 0 when there is none.

    Lifetimes may have been longer when it was issued.
    """
    if of_users is None:
        return max(tx.execute(statement).scalar() or 0 for statement in (_LIVE_UNTIL, _KEYS_LIVE_UNTIL))
    return tx.execute(_LIVE_UNTIL_OF, {"of_users": of_users}).scalar() or 0


def lock_is_revoked(tx: Transaction, token_id: uuid.UUID) -> bool:
    """Whether there is an entry for this token. Nobody adds one before this transaction ends."""
    tx.execute(_LOCK_NUMBERS)
    return tx.execute(_IS_REVOKED, {"token": token_id}).scalar() is not None


def find_head(tx: Transaction) -> Cursor:
    """Platform step: where the feed ends."""
    row = tx.execute(HEAD).one()
    return Cursor(row.last_seq, row.nonce)


def find_last(tx: Transaction) -> tuple[int, int | None]:
    """Platform step: the newest number, and when its entry was made, if that is still there."""
    seq: int = tx.execute(sa.select(_COUNTER.last_seq).where(_COUNTER.id == 1)).scalar_one()
    return seq, tx.execute(_MADE_AT, {"of_seq": seq}).scalar()


def list_nonces(tx: Transaction, seq: int) -> tuple[str, ...]:
    """Platform step: the nonce of a number, once for its own entry and once for the next, as far as they are there."""
    return tuple(tx.execute(_NONCES, {"of_seq": seq, "next": seq + 1}).scalars())


def read(tx: Transaction, *, after: int, count: int) -> list[Entry]:
    """Platform step: the next entry after a number, and those of the `count - 1` numbers behind it, in order."""
    return [_entry(row) for row in tx.execute(READ, {"after": after, "count": count})]


def _entry(row: Any) -> Entry:
    seq, nonce, kind, subject, tenant_id, revoked_at, expires_at = row
    if len(subject) == BARE and kind != "key":  # SQLite keeps UUIDs without dashes
        subject = str(uuid.UUID(subject))
    return Entry(
        Cursor(seq, nonce), kind, subject, None if tenant_id is None else str(tenant_id), revoked_at, expires_at
    )


def prune(tx: Transaction, *, now: int, count: int) -> int:
    """Platform step: forget up to `count` entries of each kind whose tokens have expired. Answers how many."""
    return sum(tx.execute(statement, {"moment": now, "count": count}).rowcount for statement in _PRUNE)
