"""Delivers: at least once, under one id, by one process at a time for each endpoint, and in order per subject.

An endpoint reads its log from where it stands. What it does not take waits in a row of its own, and so does what comes
about the same afterwards; the rest goes on. No transaction is open while a receiver is spoken to: who dies between its
answer and our commit sends again.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from payymo.audit.following import Followed, end_of, personal_in, read_at, read_between
from payymo.audit.log import AuditLog
from payymo.clock import Clock
from payymo.db.work import Transaction, Work
from payymo.entropy import Entropy
from payymo.errors import PayymoError
from payymo.logs import SecurityLog
from payymo.secrets.encryption import SealBroken
from payymo.secrets.envelope import Envelope
from payymo.webhooks import progress, store
from payymo.webhooks.model import (
    CLAIM_SECONDS,
    REMOVED,
    SLOW_SECONDS,
    TRACE,
    WAITING_AT_MOST,
    Delivery,
    Endpoint,
    Failure,
    Message,
    Outcome,
    after_slow,
    message_of,
    subject_of,
    types_of,
)
from payymo.webhooks.outcomes import Outcomes
from payymo.webhooks.progress import Claim
from payymo.webhooks.sender import Sender
from payymo.webhooks.service import Webhooks
from payymo.webhooks.signing import Signing

LOOK_SECONDS: Final = 1.0
FAILED_SECONDS: Final = 5.0
"""How long a database that did not answer is left alone."""
THREADS: Final = 4
"""Receivers that are spoken to at once. One thread alone looks for what is to be sent."""
AT_ONCE: Final = 50
"""Messages to an endpoint before others have their turn; a failure ends it at once."""
TURN_SECONDS: Final = 30.0
"""After so long, it ends with the message under way: four receivers that are slow on purpose have all the places."""
INTERNAL: Final = Failure("internal")


@dataclass(frozen=True, slots=True)
class _Work:
    """What an endpoint gets next, as one look has found it: nothing of it is older than the message before."""

    endpoint: Endpoint
    secrets: list[bytes]
    delivery: Delivery | None
    """None: of what it has not read, nothing is for it."""
    message: Message | Failure
    is_held: bool
    """Whether something about the same waits."""
    end: int | None
    """Up to where it has read the log then; None: this was read before, and is tried again."""


class Courier:
    """Takes events to where they go."""

    def __init__(
        self,
        work: Work,
        envelope: Envelope,
        clock: Clock,
        entropy: Entropy,
        *,
        webhooks: Webhooks,
        signing: Signing,
        sender: Sender,
        audit: AuditLog,
        log: SecurityLog,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._work = work
        self._monotonic = monotonic
        self._envelope = envelope
        self._clock = clock
        self._webhooks = webhooks
        self._signing = signing
        self._outcomes = Outcomes(clock, entropy, audit=audit, log=log)
        self._sender = sender
        self._log = log
        self._stopping = threading.Event()
        self._looking = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, name=f"payymo-webhooks-{number}", daemon=True)
            for number in range(THREADS)
        ]

    def observe(self, observe: Callable[[Outcome], None]) -> None:
        """Let somebody hear of every attempt from now on."""
        self._outcomes.observe(observe)

    def start(self) -> None:
        """Begin to look, once a second."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Return when what may be under way has ended."""
        self._stopping.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def deliver_due(self) -> int:
        """Serve whoever has something to get, until nobody has. Answers how many attempts were made."""
        attempts = 0
        while (claim := self._claim()) is not None:
            attempts += self._serve(claim)
        return attempts

    def _run(self) -> None:
        while not self._stopping.is_set():
            with self._looking:
                claim = self._await()
            if claim is not None and not self._guarded(partial(self._serve, claim)):
                self._stopping.wait(FAILED_SECONDS)

    def _await(self) -> Claim | None:
        """An endpoint that has something to get. None: this process ends."""
        pause = 0.0
        while not self._stopping.wait(pause):
            pause = LOOK_SECONDS
            found: list[Claim] = []
            if not self._guarded(partial(self._find, found)):
                pause = FAILED_SECONDS
            elif found:
                return found[0]
        return None

    def _find(self, found: list[Claim]) -> None:
        claim = self._claim()
        if claim is not None:
            found.append(claim)

    def _guarded(self, act: Callable[[], object]) -> bool:
        try:
            act()
        except Exception as error:  # noqa: BLE001 - the courier outlives whatever the database does to it
            self._log.failure(error, trace=TRACE, private=getattr(error, "private", None))
            return False
        return True

    def _claim(self) -> Claim | None:
        now = int(self._clock())
        with self._work.platform(writes=False) as tx:  # on SQLite, looking makes no writer wait
            if not progress.is_any_ready(tx, now=now):
                return None
        with self._work.platform() as tx:
            store.lock_claims(tx)
            return progress.claim(tx, now=now, until=now + CLAIM_SECONDS)

    def _serve(self, claim: Claim) -> int:
        """Answers how many attempts were made. Who dies here leaves the endpoint to others when its time is over."""
        attempts, began = 0, self._monotonic()
        while attempts < AT_ONCE and not self._stopping.is_set():
            work = self._look(claim)
            if work is None:
                break
            attempts += work.delivery is not None and not work.is_held
            if not self._do(claim, work) or self._is_over(began):
                break
        with self._webhooks.writing(claim.log) as tx:
            progress.give_back(tx, claim, now=int(self._clock()))
        return attempts

    def _is_over(self, began: float) -> bool:
        """Whether others have their turn, or this process ends."""
        return self._stopping.is_set() or self._monotonic() - began > TURN_SECONDS

    def _look(self, claim: Claim) -> _Work | None:
        """None: it is disabled or gone, or has everything, or its events can't be read."""
        with self._webhooks.reading(claim.log) as tx:
            endpoint = store.find(tx, claim.endpoint_id)
            if endpoint is None or not endpoint.is_enabled or self._envelope.is_shredded(tx):
                return None
            secrets = self._secrets(tx, endpoint)
            due = progress.find_due(tx, endpoint.id, now=int(self._clock()))
            if due is not None:
                events = read_at(tx, [due.position])
                message = self._message(tx, endpoint, events[0]) if events else REMOVED
                return _Work(endpoint, secrets, due, message, is_held=False, end=None)
            held, end = progress.list_subjects(tx, endpoint.id), end_of(tx)
            if len(held) >= WAITING_AT_MOST or end <= endpoint.next_position:
                return None
            types = types_of(endpoint.events)
            events, end = read_between(tx, endpoint.next_position, end, types, count=1)
            if not events:
                return _Work(endpoint, secrets, None, REMOVED, is_held=False, end=end)
            delivery, message = self._new_delivery(events[0]), self._message(tx, endpoint, events[0])
            return _Work(endpoint, secrets, delivery, message, is_held=delivery.subject in held, end=end)

    def _secrets(self, tx: Transaction, endpoint: Endpoint) -> list[bytes]:
        """Empty, if none opens: nothing is sent then, and that is told like any other failure."""
        try:
            return self._signing.open_secrets(tx, endpoint.id)
        except SealBroken as error:
            self._log.failure(error, trace=TRACE, private=error.private)
            return []

    def _message(self, tx: Transaction, endpoint: Endpoint, event: Followed) -> Message | Failure:
        try:
            personal = personal_in(tx, event.record, self._envelope.open) if endpoint.wants_personal else None
        except SealBroken as error:
            self._log.failure(error, trace=TRACE, private=error.private)
            return INTERNAL
        return message_of(event.record, personal)

    def _do(self, claim: Claim, work: _Work) -> bool:
        """Send what is to be sent, and write down what came of it. False: it was not taken, or is another's by now."""
        delivery = work.delivery
        failure = None if delivery is None or work.is_held else self._try(work)
        with self._webhooks.writing(claim.log) as tx:
            if not self._is_ours(tx, claim):
                return False
            if work.end is not None:
                progress.move(tx, claim, work.end)
                if delivery is not None and (work.is_held or failure is not None):
                    progress.add_delivery(tx, claim.endpoint_id, delivery)
            if delivery is not None and not work.is_held:
                self._outcomes.settle(tx, work.endpoint, delivery, failure)
        return failure is None or failure is REMOVED

    def _try(self, work: _Work) -> Failure | None:
        began, failure = self._monotonic(), self._send(work)
        if failure is None or self._monotonic() - began < SLOW_SECONDS:
            return failure
        return after_slow(failure, work.endpoint, int(self._clock()))

    def _send(self, work: _Work) -> Failure | None:
        if isinstance(work.message, Failure):
            return work.message
        if not work.secrets:
            return INTERNAL
        try:
            identity = self._signing.identity_of(work.endpoint)
        except PayymoError as error:
            self._log.failure(error, trace=TRACE, private=error.private)
            return INTERNAL
        if isinstance(identity, Failure):
            return identity
        return self._sender.send(work.endpoint.url, work.message, work.secrets, identity=identity)

    def _is_ours(self, tx: Transaction, claim: Claim) -> bool:
        """Step: whether it still is, and have it for longer then. If not, another one does all of this again."""
        return progress.keep(tx, claim, until=int(self._clock()) + CLAIM_SECONDS)

    def _new_delivery(self, event: Followed) -> Delivery:
        record, now = event.record, int(self._clock())
        return Delivery(event.position, record.id, record.type, subject_of(record), 0, now, now)
