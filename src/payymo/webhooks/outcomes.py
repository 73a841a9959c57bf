"""Settles what comes of an attempt: taken, to be tried again, given up; and who takes nothing for days is disabled."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from payymo.audit.log import AuditLog
from payymo.clock import Clock
from payymo.db.work import Transaction
from payymo.entropy import Entropy
from payymo.logs import Event, SecurityLog
from payymo.webhooks import progress, store
from payymo.webhooks.model import (
    REMOVED,
    TRACE,
    Delivery,
    Endpoint,
    Failure,
    Outcome,
    is_at_its_end,
    wait_seconds,
)


class Outcomes:
    """What is written of attempts, in steps."""

    def __init__(self, clock: Clock, entropy: Entropy, *, audit: AuditLog, log: SecurityLog) -> None:
        self._clock = clock
        self._entropy = entropy
        self._audit = audit
        self._log = log
        self._observers: list[Callable[[Outcome], None]] = []

    def observe(self, observe: Callable[[Outcome], None]) -> None:
        """Let somebody hear of every attempt from now on."""
        self._observers.append(observe)

    def settle(self, tx: Transaction, endpoint: Endpoint, delivery: Delivery, failure: Failure | None) -> None:
        """Step: what comes of an attempt."""
        now = int(self._clock())
        if failure is None:
            progress.delivered(tx, endpoint.id, delivery.position)
            progress.note_success(tx, endpoint.id, now=now)
            self._tell(tx, "delivered", endpoint, delivery)
            return
        failed = self._after(delivery, failure, now)
        progress.put_off(tx, endpoint.id, failed)
        if failure is not REMOVED:
            progress.note_failure(tx, endpoint.id, failure, now=now)
        self._tell(tx, "delayed" if failed.given_up_at is None else "given-up", endpoint, failed)
        last = store.find(tx, endpoint.id) or endpoint
        if failure.is_gone:
            self._shut(tx, last, "gone", now)
        elif failed.given_up_at is not None and failure is not REMOVED and is_at_its_end(last, failed):
            self._shut(tx, last, "failing", now)

    def _after(self, delivery: Delivery, failure: Failure, now: int) -> Delivery:
        attempts = delivery.attempts + 1
        wait = wait_seconds(attempts, int.from_bytes(self._entropy.bytes(2)) / 65_536)
        if failure.is_gone or failure is REMOVED or wait is None:
            return replace(delivery, attempts=attempts, given_up_at=now, reason=failure.reason)
        due_at = max(now + wait, failure.not_before or 0)
        return replace(delivery, attempts=attempts, due_at=due_at, reason=failure.reason)

    def _shut(self, tx: Transaction, endpoint: Endpoint, reason: str, now: int) -> None:
        """Step: disable an endpoint that takes nothing."""
        store.disable(tx, endpoint.id, reason, failing_since=endpoint.failing_since or now)
        self._audit.record(tx, Event("webhook.disabled", trace=TRACE, webhook=endpoint.id, reason=reason))

    def _tell(self, tx: Transaction, outcome: Outcome, endpoint: Endpoint, delivery: Delivery) -> None:
        """Once it has committed: a line for what failed, and a number for all of it."""
        happened = Event(
            f"webhook.{outcome}",
            "error",
            trace=TRACE,
            tenant_id=tx.tenant_id,
            webhook=endpoint.id,
            version=delivery.attempts,
            reason=delivery.reason,
        )
        if outcome != "delivered":
            tx.after_commit(lambda: self._log.write(happened))
        for observe in self._observers:
            tx.after_commit(partial(observe, outcome))
