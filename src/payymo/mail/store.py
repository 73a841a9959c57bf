"""SQL for `mails` and `mail_senders`."""

import uuid
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from payymo.db.moments import has_come
from payymo.db.schema import TENANT, tenants
from payymo.db.schema import mail_senders as s
from payymo.db.schema import mails as m
from payymo.db.work import Transaction
from payymo.errors import Conflict
from payymo.mail.model import LONGEST_WAIT_SECONDS, Claimed, Sender, Waiting
from payymo.sealed import Sealed, SealedRow

_OWN = m.c.tenant_id == TENANT
_OF_ID = m.c.id == sa.bindparam("of_id")
_MOMENT = sa.bindparam("moment", type_=sa.BigInteger())
_WAITING = [m.c[name] for name in Waiting.__dataclass_fields__]
_FIELDS = ("id", "kind", "user_id", "sealed", "data_key_id", "created_at", "due_at", "expires_at")

_ADD = sa.insert(m).values(tenant_id=TENANT, attempts=0, **{name: sa.bindparam(f"new_{name}") for name in _FIELDS})
_IS_GONE = sa.exists().where(tenants.c.id == m.c.tenant_id, tenants.c.status == "deleted")
"""Nobody can open its messages any more, however long it takes until they are deleted, too."""
_IS_ALIVE = sa.and_(m.c.failed_at.is_(None), ~_IS_GONE)
_LONGEST = sa.case((m.c.attempts == 0, 0), else_=LONGEST_WAIT_SECONDS)
"""What nobody has tried to send is due when it is written."""
_IS_DUE = sa.and_(_IS_ALIVE, has_come(m.c.due_at, _MOMENT, longest_seconds=_LONGEST))
_ANY_DUE = sa.select(m.c.id).where(_IS_DUE).limit(1)
_PICK = sa.select(m.c.id).where(_IS_DUE).order_by(m.c.due_at, m.c.id).limit(1).with_for_update(skip_locked=True)
"""What another process is claiming is left to it. Apart from the claim: PostgreSQL may run a subquery that locks once
for each row of a small table, and then everything that is due is claimed at once."""
_CLAIM = (
    sa.update(m)
    .where(_OF_ID)
    .values(due_at=sa.bindparam("until"), attempts=m.c.attempts + 1, reason=None)
    .returning(
        m.c.tenant_id,
        m.c.id,
        m.c.kind,
        m.c.user_id,
        m.c.sealed,
        m.c.data_key_id,
        m.c.created_at,
        m.c.expires_at,
        m.c.attempts,
    )
)
_OF_SERVER = sa.not_(sa.or_(m.c.reason.like("recipient-%"), m.c.reason.like("data-%")))
_STUCK = sa.select(
    sa.select(sa.func.min(m.c.due_at)).where(_IS_ALIVE).scalar_subquery(),
    sa.select(sa.func.min(m.c.created_at)).where(_IS_ALIVE, m.c.reason.is_not(None), _OF_SERVER).scalar_subquery(),
)
_BACKLOG = (
    sa.select(m.c.reason, m.c.failed_at.is_not(None), sa.func.count())
    .where(~_IS_GONE)
    .group_by(m.c.reason, m.c.failed_at.is_not(None))
)
_STILL_OURS = (_OWN, _OF_ID, m.c.attempts == sa.bindparam("of_attempt"))
_REMOVE = sa.delete(m).where(*_STILL_OURS)
_POSTPONE = (
    sa.update(m).where(*_STILL_OURS).values(due_at=sa.bindparam("until"), reason=sa.bindparam("why"), failed_at=None)
)
_GIVE_UP = sa.update(m).where(*_STILL_OURS).values(failed_at=_MOMENT, reason=sa.bindparam("why"))
_LIST = sa.select(*_WAITING).where(_OWN).order_by(m.c.created_at, m.c.id).limit(sa.bindparam("count"))
_LIST_OF = sa.select(*_WAITING).where(_OWN, m.c.user_id == sa.bindparam("of_user")).order_by(m.c.created_at, m.c.id)
_FORGET = sa.delete(m).where(_OWN, m.c.user_id == sa.bindparam("of_user"))
_RETRY = sa.update(m).where(_OWN, m.c.reason.is_not(None), m.c.expires_at > _MOMENT)
_RETRY_ALL = _RETRY.values(due_at=_MOMENT, failed_at=None, reason=None)
_RETRY_ONE = _RETRY.where(_OF_ID).values(due_at=_MOMENT, failed_at=None, reason=None)
_OLD = sa.select(m.c.id).where(m.c.expires_at <= _MOMENT).order_by(m.c.expires_at).limit(sa.bindparam("count"))
_PRUNE = sa.delete(m).where(m.c.id.in_(_OLD.with_for_update(skip_locked=True)))

_SENDER = sa.select(s.c.address, s.c.name).where(s.c.tenant_id == TENANT)
_ADD_SENDER = sa.insert(s).values(tenant_id=TENANT, address=sa.bindparam("new_address"), name=sa.bindparam("new_name"))
_REMOVE_SENDER = sa.delete(s).where(s.c.tenant_id == TENANT)

_UNDER_OTHERS = (_OWN, m.c.data_key_id != sa.bindparam("newest"))
_LIST_SEALED = sa.select(m.c.id, m.c.sealed, m.c.data_key_id).where(*_UNDER_OTHERS).limit(sa.bindparam("count"))
_COUNT_SEALED = sa.select(sa.func.count(m.c.id)).where(*_UNDER_OTHERS)
_RESEAL = (
    sa.update(m)
    .where(_OWN, _OF_ID, m.c.data_key_id == sa.bindparam("old_key"))
    .values(sealed=sa.bindparam("new_sealed"), data_key_id=sa.bindparam("new_key"))
)


def place_of(mail_id: uuid.UUID) -> tuple[str, ...]:
    """What a message is bound to."""
    return ("mails", mail_id.hex, "sealed")


def add(tx: Transaction, waiting: Waiting, sealed: Sealed) -> None:
    """Add a message."""
    facts = asdict(waiting) | {"sealed": sealed.data, "data_key_id": sealed.data_key_id}
    tx.execute(_ADD, {f"new_{name}": facts[name] for name in _FIELDS})


def is_any_due(tx: Transaction, *, now: int) -> bool:
    """Platform step: whether there is anything to send."""
    return tx.execute(_ANY_DUE, {"moment": now}).scalar() is not None


def find_stuck(tx: Transaction) -> int | None:
    """Platform step: since when mail is due, or a mail server at fault; of both, the longer. None: there is no mail.

    What is at fault with a single address does not count: strangers choose those.
    """
    return min((moment for moment in tx.execute(_STUCK).one() if moment is not None), default=None)


def count_backlog(tx: Transaction) -> tuple[tuple[str | None, bool, int], ...]:
    """Platform step: how many messages there are, by why the last attempt failed, and whether they are given up."""
    return tuple((row[0], bool(row[1]), row[2]) for row in tx.execute(_BACKLOG))


def claim(tx: Transaction, *, now: int, until: int) -> Claimed | None:
    """Platform step: the message that has waited longest; nobody else gets it until then. None: none is due."""
    picked = tx.execute(_PICK, {"moment": now}).scalar()
    if picked is None:
        return None
    facts: dict[str, Any] = dict(tx.execute(_CLAIM, {"of_id": picked, "until": until}).mappings().one())
    sealed = Sealed(bytes(facts.pop("sealed")), facts.pop("data_key_id"))
    return Claimed(sealed=sealed, **facts)


def remove(tx: Transaction, claimed: Claimed) -> bool:
    """It is sent. False: it took too long, and another process has it now."""
    return tx.execute(_REMOVE, _of(claimed)).rowcount == 1


def postpone(tx: Transaction, claimed: Claimed, *, until: int, reason: str) -> None:
    """Try again then."""
    tx.execute(_POSTPONE, {**_of(claimed), "until": until, "why": reason})


def give_up(tx: Transaction, claimed: Claimed, *, now: int, reason: str) -> None:
    """Don't try again, unless the operator says so."""
    tx.execute(_GIVE_UP, {**_of(claimed), "moment": now, "why": reason})


def list_waiting(tx: Transaction, *, count: int) -> tuple[Waiting, ...]:
    """What is not sent yet, the oldest first."""
    return tuple(Waiting(*row) for row in tx.execute(_LIST, {"count": count}))


def list_of(tx: Transaction, user_id: uuid.UUID) -> tuple[Waiting, ...]:
    """What is not sent yet of what is about a user."""
    return tuple(Waiting(*row) for row in tx.execute(_LIST_OF, {"of_user": user_id}))


def forget(tx: Transaction, user_id: uuid.UUID) -> None:
    """Delete it."""
    tx.execute(_FORGET, {"of_user": user_id})


def retry(tx: Transaction, mail_id: uuid.UUID | None, *, now: int) -> int:
    """Make what has failed, and has not expired, due now; one message or all. Answers how many."""
    if mail_id is None:
        return tx.execute(_RETRY_ALL, {"moment": now}).rowcount
    return tx.execute(_RETRY_ONE, {"moment": now, "of_id": mail_id}).rowcount


def prune(tx: Transaction, *, now: int, count: int) -> int:
    """Platform step: forget up to `count` messages that are of no use any more. Answers how many."""
    return tx.execute(_PRUNE, {"moment": now, "count": count}).rowcount


def find_sender(tx: Transaction) -> Sender | None:
    """In whose name the tenant's mail goes out, where it is not the service's."""
    row = tx.execute(_SENDER).one_or_none()
    return None if row is None else Sender(*row)


def set_sender(tx: Transaction, sender: Sender | None) -> None:
    """Another sender, or None: the service's. Raises Conflict: somebody is doing the same."""
    tx.execute(_REMOVE_SENDER)
    if sender is not None:
        try:
            tx.execute(_ADD_SENDER, {"new_address": sender.address, "new_name": sender.name})
        except IntegrityError:
            raise Conflict("Somebody else is setting this sender. Look, and try again.") from None


def list_sealed(tx: Transaction, newest: uuid.UUID, *, count: int) -> list[SealedRow]:
    """At most `count` messages that are sealed under another data key."""
    rows = tx.execute(_LIST_SEALED, {"newest": newest, "count": count})
    return [SealedRow((row.id,), place_of(row.id), Sealed(bytes(row.sealed), row.data_key_id)) for row in rows]


def count_sealed(tx: Transaction, newest: uuid.UUID) -> int:
    """How many messages are sealed under another data key."""
    return tx.execute(_COUNT_SEALED, {"newest": newest}).scalar() or 0


def reseal(tx: Transaction, row: SealedRow, sealed: Sealed) -> None:
    """The same message under another data key. What was sent meanwhile stays so."""
    values = {"of_id": row.key[0], "old_key": row.sealed.data_key_id}
    tx.execute(_RESEAL, {**values, "new_sealed": sealed.data, "new_key": sealed.data_key_id})


def _of(claimed: Claimed) -> dict[str, Any]:
    return {"of_id": claimed.id, "of_attempt": claimed.attempts}
