"""Puts events on record: in the transaction of the change that they tell of, or in one of their own.

An event commits together with its change, or not at all; its line in the security log is written once it has committed.
"""

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import msgspec

from payymo.audit import store
from payymo.audit.commitments import SALT_BYTES, commit
from payymo.audit.model import Pending, Record, about, actor_of, personal_of
from payymo.clock import Clock
from payymo.db.work import Transaction, Work
from payymo.entropy import Entropy
from payymo.errors import NotFound, Unavailable
from payymo.events import CATALOGUE
from payymo.logs import Event, SecurityLog
from payymo.sealed import Sealed

PURPOSE: Final = "audit"
WAIT_SECONDS: Final = 10
Seal = Callable[..., Sealed]
"""As `payymo.secrets.envelope.Envelope.seal`, which stands on a higher floor."""
PAYLOADS: Final = (PURPOSE, store.list_sealed, store.count_sealed, store.reseal)
"""The column of what is personal, for who seals everything again."""


class AuditLog:
    """What happened, on record."""

    def __init__(self, work: Work, clock: Clock, entropy: Entropy, *, seal: Seal, log: SecurityLog) -> None:
        self._work = work
        self._clock = clock
        self._entropy = entropy
        self._seal = seal
        self._log = log
        self._not_before: dict[uuid.UUID | None, float] = {}

    def record(self, tx: Transaction, event: Event) -> None:
        """Step: put an event on record, in the log of the transaction's tenant, or else in the platform's."""
        store.add(tx, self._pending(tx, event))
        own = event if tx.tenant_id is None else replace(event, tenant_id=tx.tenant_id)
        tx.after_commit(lambda: self._log.write(own))

    def record_apart(self, event: Event) -> None:
        """Put an event on record that changes nothing: in the log of its tenant, or else in the platform's."""
        with self._work.platform() if event.tenant_id is None else self._work(event.tenant_id) as tx:
            self.record(tx, event)

    def tell(self, event: Event) -> None:
        """Write an event that is not on record to the security log alone."""
        self._log.write(event)

    def _sealed(self, tx: Transaction, value: bytes, event_id: uuid.UUID) -> Sealed | None:
        """None: whoever keeps the master key does not answer, and this process has not opened the data key yet.

        Then the event goes on record without what is personal, and says so: better than that nobody logs in. Nobody
        waits for an answer again before `WAIT_SECONDS` are over. The same in a tenant that is deleted: what is personal
        goes with it, and whoever still comes is refused as ever.
        """
        if 0 < self._not_before.get(tx.tenant_id, 0.0) - self._clock() <= WAIT_SECONDS:  # also when the clock goes back
            return None
        try:
            return self._seal(tx, PURPOSE, value, *store.place_of(event_id))
        except Unavailable:
            self._not_before[tx.tenant_id] = self._clock() + WAIT_SECONDS
            return None
        except NotFound:
            return None

    def _pending(self, tx: Transaction, event: Event) -> Pending:
        event_id, sealed, commitment = self._entropy.uuid(), None, None
        if personal := personal_of(event):
            salt, payload = self._entropy.bytes(SALT_BYTES), msgspec.json.encode(personal)
            sealed = self._sealed(tx, salt + payload, event_id)
            commitment = None if sealed is None else commit(salt, payload).hex()
        record = Record(
            id=event_id,
            log=tx.tenant_id,
            type=event.name,
            version=CATALOGUE[event.name].version,
            at_ms=int(self._clock() * 1000),
            actor=actor_of(event.trace),
            request_id=event.trace.request_id,
            outcome=event.outcome,
            about=about(event, tx.tenant_id) | ({"incomplete": True} if personal and sealed is None else {}),
            old=event.old,
            new=event.new,
            personal=commitment,
        )
        return Pending(event_id, record.encode(), sealed)
