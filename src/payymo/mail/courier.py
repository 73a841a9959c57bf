"""Sends what is in the outbox: at least once, by one process at a time, again and again until it is taken or of no use.

A process has a message to itself for `claim_seconds`, and whoever dies with one leaves it to the others. When it died
after sending, the message goes out again: with the same Message-ID, so that mailboxes show it once. No transaction is
open while a server is spoken to.
"""

import json
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from payymo.clock import Clock
from payymo.db.work import Transaction, Work
from payymo.entropy import Entropy
from payymo.logs import Event, SecurityLog, Trace
from payymo.mail import store
from payymo.mail.model import Claimed, Content, MailPolicy, Sender, wait_seconds
from payymo.mail.outbox import LookIn
from payymo.mail.transports import NotSent, Transport
from payymo.secrets.envelope import Envelope

if TYPE_CHECKING:
    from payymo.mail.letters import Letters

TRACE = Trace(request_id="courier")
LOOK_SECONDS = 1.0
"""How long a message may lie in the outbox before somebody looks: one question on an index."""
FAILED_SECONDS = 5.0
"""How long a database that did not answer is left alone."""
AT_ONCE = 50

Run = Callable[[Transaction, str, Mapping[str, str]], None]
"""Does an errand: a step in a transaction of its tenant. Answers what is left to do once that has committed."""


class Courier:
    """Takes messages to where they go.

    `errands`: what does those that are no letters. `look_in`: what those of a tenant with a brand look like.
    """

    def __init__(
        self,
        work: Work,
        envelope: Envelope,
        clock: Clock,
        entropy: Entropy,
        *,
        policy: MailPolicy,
        transport: Transport,
        errands: Mapping[str, Run],
        look_in: LookIn,
        log: SecurityLog,
    ) -> None:
        self._work = work
        self._envelope = envelope
        self._clock = clock
        self._entropy = entropy
        self._policy = policy
        self._transport = transport
        self._errands = errands
        self._look_in = look_in
        self._log = log
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="payymo-mail", daemon=True)

    @cached_property
    def _letters(self) -> "Letters":
        from payymo.mail.letters import Letters  # noqa: PLC0415 - templates load slowly, and most commands send nothing

        return Letters()

    def start(self) -> None:
        """Begin to look, once a second, if this service sends mail."""
        if self._policy.is_on:
            self._thread.start()

    def stop(self) -> None:
        """Return when what may be under way has ended."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def deliver_due(self) -> int:
        """Send what is due, some of it at least. Answers how many messages were looked at; 0: nothing is due.

        Whoever is told to stop begins with no other: each may take as long as a server that does not answer.
        """
        done = 0
        while done < AT_ONCE and not self._stopping.is_set() and (claimed := self._claim()) is not None:
            self._deliver(claimed)
            done += 1
        return done

    def send_test(self, to: str, tenant_id: uuid.UUID) -> None:
        """Send a mail at once, without the outbox. Raises NotSent, ValueError: `to` is no address."""
        with self._work.reading(tenant_id) as tx:
            sender, accent, language = self._sender_in(tx)
        content = Content(to, {}, language)
        self._send("test", content, sender, accent, mail_id=self._entropy.uuid(), created_at=int(self._clock()))

    def _run(self) -> None:
        pause = LOOK_SECONDS
        while not self._stopping.wait(pause):
            try:
                self.deliver_due()
                pause = LOOK_SECONDS
            except Exception as error:  # noqa: BLE001 - the courier outlives whatever the database does to it
                self._log.failure(error, trace=TRACE)
                pause = FAILED_SECONDS

    def _claim(self) -> Claimed | None:
        now = int(self._clock())
        with self._work.platform(writes=False) as tx:  # on SQLite, looking makes no writer wait
            if not store.is_any_due(tx, now=now):
                return None
        with self._work.platform() as tx:
            return store.claim(tx, now=now, until=now + self._policy.claim_seconds)

    def _deliver(self, claimed: Claimed) -> None:
        try:
            if claimed.kind in self._errands:
                self._do_errand(claimed)
                return
            content, sender, accent = self._open(claimed)
            self._send(claimed.kind, content, sender, accent, mail_id=claimed.id, created_at=claimed.created_at)
        except NotSent as failure:
            self._fail(claimed, failure)
        except Exception as error:  # noqa: BLE001 - one message that nobody can read does not stop the others
            self._log.failure(error, trace=TRACE)
            self._fail(claimed, NotSent("internal"))
        else:
            with self._work(claimed.tenant_id) as tx:
                store.remove(tx, claimed)
            self._tell("mail.sent", claimed)

    def _do_errand(self, claimed: Claimed) -> None:
        """What it comes to commits together with its end: it is done once."""
        with self._work(claimed.tenant_id) as tx:
            content = self._content(tx, claimed)
            if store.remove(tx, claimed):
                self._errands[claimed.kind](tx, content.to, content.facts)

    def _open(self, claimed: Claimed) -> tuple[Content, Sender, str | None]:
        with self._work.reading(claimed.tenant_id) as tx:
            sender, accent, _ = self._sender_in(tx)
            return self._content(tx, claimed), sender, accent

    def _sender_in(self, tx: Transaction) -> tuple[Sender, str | None, str | None]:
        """In whose name, in which colour, and the tenant's language. The address is never the tenant's own choice."""
        sender, look = store.find_sender(tx) or self._policy.sender, self._look_in(tx)
        return (sender, None, None) if look is None else (replace(sender, name=look.name), look.accent, look.language)

    def _content(self, tx: Transaction, claimed: Claimed) -> Content:
        return Content(**json.loads(self._envelope.open(tx, claimed.sealed, *store.place_of(claimed.id))))

    def _send(
        self,
        kind: str,
        content: Content,
        sender: Sender,
        accent: str | None,
        *,
        mail_id: uuid.UUID,
        created_at: int,
    ) -> None:
        from payymo.wording import language_of  # noqa: PLC0415 - as the letters

        language = language_of(content.language)
        letter = self._letters.write(kind, content.facts, name=sender.name, language=language)
        mail = self._letters.render(
            letter, mail_id=mail_id, to=content.to, sender=sender, accent=accent, created_at=created_at
        )
        self._transport.send(mail)

    def _fail(self, claimed: Claimed, failure: NotSent) -> None:
        now = int(self._clock())
        again_at = now + wait_seconds(claimed.attempts, int.from_bytes(self._entropy.bytes(2)) / 65_536)
        is_over = failure.is_final or again_at >= claimed.expires_at
        with self._work(claimed.tenant_id) as tx:
            if is_over:
                store.give_up(tx, claimed, now=now, reason=failure.reason)
            else:
                store.postpone(tx, claimed, until=again_at, reason=failure.reason)
        self._tell("mail.given-up" if is_over else "mail.delayed", claimed, failure.reason)

    def _tell(self, event: str, claimed: Claimed, reason: str | None = None) -> None:
        happened = Event(
            event,
            "success" if reason is None else "error",
            trace=TRACE,
            tenant_id=claimed.tenant_id,
            user_id=claimed.user_id,
            mail=claimed.kind,
            version=claimed.attempts,
            reason=reason,
        )
        self._log.write(happened)
