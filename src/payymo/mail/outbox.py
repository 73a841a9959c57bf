"""The outbox: what is to be sent is written in the transaction of the change that it tells of, sealed for its tenant.

Nothing is lost when a process dies, and nothing is sent of a change that was rolled back. `payymo.mail.courier` sends.
"""

import json
import uuid
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Final

from payymo.audit.log import AuditLog
from payymo.clock import Clock
from payymo.db.work import Transaction, Work
from payymo.entropy import Entropy
from payymo.errors import NotFound
from payymo.languages import code_of
from payymo.logs import Event, Trace
from payymo.mail import store
from payymo.mail.model import ERRANDS, Backlog, Content, Look, MailPolicy, Message, Sender, Waiting
from payymo.secrets.envelope import Column, Envelope

PURPOSE: Final = "mails"
SEALED: Final = Column(PURPOSE, store.list_sealed, store.count_sealed, store.reseal)
LISTED_AT_MOST: Final = 1000
PRUNED_AT_ONCE: Final = 500

LookIn = Callable[[Transaction], Look | None]
"""A step: what the tenant's letters look like; None: it has no brand."""


class Outbox:
    """The messages of each tenant that wait to be sent. `look_in`: what those of a tenant with a brand look like."""

    def __init__(
        self,
        work: Work,
        envelope: Envelope,
        clock: Clock,
        entropy: Entropy,
        *,
        policy: MailPolicy,
        look_in: LookIn,
        audit: AuditLog,
    ) -> None:
        self._work = work
        self._envelope = envelope
        self._clock = clock
        self._entropy = entropy
        self._policy = policy
        self._look_in = look_in
        self._audit = audit

    @property
    def is_on(self) -> bool:
        """Whether this service sends mail."""
        return self._policy.is_on

    def put(self, tx: Transaction, message: Message) -> None:
        """Step: have this sent, if the transaction commits. Where no mail is sent, nothing is written.

        Here its language is chosen: its reader's own, else the tenant's. The same statements run whoever it is for:
        what is put in every case takes the same time in every case.
        """
        if not self.is_on:
            return
        now, mail_id = int(self._clock()), self._entropy.uuid()
        waiting = Waiting(
            id=mail_id,
            kind=message.kind,
            user_id=message.user_id,
            created_at=now,
            due_at=now,
            expires_at=now + message.live_seconds,
            attempts=0,
            failed_at=None,
            reason=None,
        )
        language = None if message.kind in ERRANDS else self._language_of(tx, message)
        value = json.dumps(asdict(Content(message.to, dict(message.facts), language))).encode()
        store.add(tx, waiting, self._envelope.seal(tx, PURPOSE, value, *store.place_of(mail_id)))

    def _language_of(self, tx: Transaction, message: Message) -> str:
        look = self._look_in(tx)  # asked for whether or not it counts
        return code_of(message.language, None if look is None else look.language)

    def list_waiting(self, tenant_id: uuid.UUID) -> tuple[Waiting, ...]:
        """What is not sent yet, the oldest first, without what it says; at most a thousand."""
        with self._work.reading(tenant_id) as tx:
            return store.list_waiting(tx, count=LISTED_AT_MOST)

    def list_of(self, tx: Transaction, user_id: uuid.UUID) -> tuple[Waiting, ...]:
        """Step: what is not sent yet of what is about a user, without what it says."""
        return store.list_of(tx, user_id)

    def forget(self, tx: Transaction, user_id: uuid.UUID) -> None:
        """Step: don't send what is about a user, unless it is being sent."""
        store.forget(tx, user_id)

    def retry(self, tenant_id: uuid.UUID, mail_id: uuid.UUID | None) -> int:
        """Try again, now, what has failed: one message, or all. What has expired stays. Answers how many.

        Raises NotFound: there is no such message, or it has not failed.
        """
        with self._work(tenant_id) as tx:
            count = store.retry(tx, mail_id, now=int(self._clock()))
        if mail_id is not None and not count:
            raise NotFound("No message with this id has failed and is still of use.")
        return count

    def stuck_since(self) -> int | None:
        """Since when mail is due, or a mail server at fault; a moment to come: none is. None: there is no mail."""
        with self._work.platform(writes=False) as tx:
            return store.find_stuck(tx)

    def backlog(self) -> Backlog:
        """What is not sent yet, of all tenants."""
        with self._work.platform(writes=False) as tx:
            found = store.count_backlog(tx)
        return Backlog(
            waiting=sum(count for _, is_over, count in found if not is_over),
            delayed={why: count for why, is_over, count in found if why is not None and not is_over},
            given_up={why or "-": count for why, is_over, count in found if is_over},
        )

    def sender_of(self, tenant_id: uuid.UUID) -> Sender:
        """In whose name the tenant's mail goes out."""
        with self._work.reading(tenant_id) as tx:
            return store.find_sender(tx) or self._policy.sender

    def set_sender(self, tenant_id: uuid.UUID, sender: Sender | None, *, trace: Trace) -> None:
        """Let the tenant's mail go out in this name; None: in the service's."""
        with self._work(tenant_id) as tx:
            store.set_sender(tx, sender)
            personal = {} if sender is None else {"address": sender.address, "name": sender.name}
            event = Event("mail.sender-changed", trace=trace, new={"own": sender is not None})
            self._audit.record(tx, replace(event, personal=personal))

    def prune(self) -> int:
        """Forget one batch of what is of no use any more, given up or not. Answers how many; call until it is 0."""
        with self._work.platform() as tx:
            return store.prune(tx, now=int(self._clock()), count=PRUNED_AT_ONCE)
