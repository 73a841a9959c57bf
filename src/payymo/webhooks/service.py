"""Keeps endpoints: made, changed, enabled, disabled, deleted, each on record; secrets are shown once and lie sealed.

`log` says whose: a tenant's, or None for the platform's own, which is the operator's alone. Names are looked up before
a transaction begins.
"""

import uuid
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Final

from payymo.audit.following import end_of, find_event
from payymo.audit.log import AuditLog
from payymo.certificates.service import Certificates
from payymo.clock import Clock
from payymo.db.work import Transaction, Work
from payymo.entropy import Entropy
from payymo.errors import Conflict, FieldError, InsufficientScope, InvalidInput, NotFound
from payymo.logs import Event, Fact, Trace
from payymo.roles.model import covers
from payymo.roles.service import Actor, authority_of
from payymo.webhooks import progress, store
from payymo.webhooks.model import (
    ENDPOINTS_AT_MOST,
    OVERLAP_MAX,
    OVERLAP_SECONDS,
    Delivery,
    Draft,
    Endpoint,
    Failure,
    draft_of,
    facts_of,
    problems_of,
    subject_of,
    trial_of,
    types_of,
)
from payymo.webhooks.outside import Outside
from payymo.webhooks.sender import Sender
from payymo.webhooks.signing import Signing
from payymo.webhooks.targets import NO_ADDRESS, read_target

LISTED_AT_MOST: Final = 1_000
PRUNED_AT_ONCE: Final = 500
KEPT_SECONDS: Final = 30 * 86_400
"""How long what was given up can be seen, and is sent again on demand without looking for it."""
READING: Final = "audit:read"
NO_ENDPOINT: Final = "There is no such endpoint."


class Webhooks:
    """The endpoints of each log."""

    def __init__(
        self,
        work: Work,
        clock: Clock,
        entropy: Entropy,
        *,
        sender: Sender,
        signing: Signing,
        certificates: Certificates,
        audit: AuditLog,
    ) -> None:
        self._work = work
        self._clock = clock
        self._entropy = entropy
        self._signing = signing
        self._outside = Outside(sender)
        self._certificates = certificates
        self._audit = audit

    def list_endpoints(self, log: uuid.UUID | None) -> tuple[Endpoint, ...]:
        """The endpoints of a log, the oldest first."""
        with self.reading(log) as tx:
            return store.list_endpoints(tx)

    def get(self, log: uuid.UUID | None, endpoint_id: uuid.UUID) -> Endpoint:
        """One of them. Raises NotFound."""
        with self.reading(log) as tx:
            return _found(store.find(tx, endpoint_id))

    def create(self, log: uuid.UUID | None, draft: Draft, *, by: Actor | None, trace: Trace) -> tuple[Endpoint, str]:
        """A new endpoint, which gets what happens from now on; and its secret, which nobody is told again.

        Raises InvalidInput, Conflict (there are too many), InsufficientScope.
        """
        self._require_sound(log, draft, by, known=None)
        now = int(self._clock())
        with self.writing(log) as tx:
            _require_reader(authority_of(by, tx), draft)
            if store.count_endpoints(tx) >= ENDPOINTS_AT_MOST:
                raise Conflict(f"There are {ENDPOINTS_AT_MOST} endpoints already, which is as many as there may be.")
            endpoint = Endpoint(
                id=self._entropy.uuid(),
                url=draft.url,
                events=draft.events,
                description=draft.description,
                is_enabled=True,
                wants_personal=draft.wants_personal,
                certificate=draft.certificate,
                created_at=now,
                next_position=end_of(tx),
            )
            store.add(tx, endpoint)
            secret = self._signing.add_secret(tx, endpoint.id, 1)
            self._record(tx, "created", endpoint.id, trace, new=_facts(draft))
        return endpoint, secret

    def change(
        self,
        log: uuid.UUID | None,
        endpoint_id: uuid.UUID,
        draft: Draft,
        *,
        by: Actor | None,
        trace: Trace,
    ) -> Endpoint:
        """What is said of an endpoint from now on. Raises NotFound, InvalidInput, Conflict, InsufficientScope."""
        old = draft_of(self.get(log, endpoint_id))
        if by is not None and old.certificate is not None and draft.url != old.url:
            raise Conflict("This endpoint is shown a certificate of the service: its operator changes where it is.")
        self._require_sound(log, draft, None if draft.certificate == old.certificate else by, known=old.url)
        with self.writing(log) as tx:
            _require_reader(authority_of(by, tx), draft)
            if draft_of(_found(store.find(tx, endpoint_id, to_change=True))) != old:
                raise Conflict("Somebody else has changed this endpoint just now: look at it again.")
            store.change(tx, endpoint_id, draft)
            self._record(tx, "changed", endpoint_id, trace, old=_facts(old), new=_facts(draft))
        return self.get(log, endpoint_id)

    def enable(self, log: uuid.UUID | None, endpoint_id: uuid.UUID, *, by: Actor | None, trace: Trace) -> None:
        """Send again, from where it stopped. Raises NotFound, Conflict: it is enabled, InsufficientScope."""
        with self.writing(log) as tx:
            authority_of(by, tx)
            if _found(store.find(tx, endpoint_id, to_change=True)).is_enabled:
                raise Conflict("This endpoint is enabled.")
            store.enable(tx, endpoint_id)
            self._record(tx, "changed", endpoint_id, trace, old={"enabled": False}, new={"enabled": True})

    def disable(self, log: uuid.UUID | None, endpoint_id: uuid.UUID, *, by: Actor | None, trace: Trace) -> None:
        """Send nothing any more; what happens meanwhile is sent once it is enabled again.

        Raises NotFound, Conflict: it is disabled, InsufficientScope.
        """
        with self.writing(log) as tx:
            authority_of(by, tx)
            if not _found(store.find(tx, endpoint_id, to_change=True)).is_enabled:
                raise Conflict("This endpoint is disabled.")
            store.disable(tx, endpoint_id, "by-hand", failing_since=None)
            self._record(tx, "disabled", endpoint_id, trace, reason="by-hand")

    def rotate_secret(
        self,
        log: uuid.UUID | None,
        endpoint_id: uuid.UUID,
        *,
        overlap_seconds: int = OVERLAP_SECONDS,
        by: Actor | None,
        trace: Trace,
    ) -> str:
        """A new secret. So long the one before it signs, too; the ones before that do no more.

        Raises NotFound, InvalidInput, InsufficientScope.
        """
        if not 0 <= overlap_seconds <= OVERLAP_MAX:
            raise InvalidInput([FieldError("/overlap_seconds", f"0 to {OVERLAP_MAX}")])
        now = int(self._clock())
        with self.writing(log) as tx:
            authority_of(by, tx)
            _found(store.find(tx, endpoint_id, to_change=True))
            last = store.list_secrets(tx, endpoint_id)[-1].version
            store.end_secret(tx, endpoint_id, last, until=now + overlap_seconds)
            secret = self._signing.add_secret(tx, endpoint_id, last + 1)
            told: dict[str, Fact] = {"overlap_seconds": overlap_seconds}
            self._record(tx, "secret-rotated", endpoint_id, trace, version=last + 1, new=told)
        return secret

    def delete(self, log: uuid.UUID | None, endpoint_id: uuid.UUID, *, by: Actor | None, trace: Trace) -> None:
        """Forget an endpoint, with its secrets and what it has not taken. Raises NotFound, InsufficientScope."""
        with self.writing(log) as tx:
            authority_of(by, tx)
            old = draft_of(_found(store.find(tx, endpoint_id, to_change=True)))
            store.remove(tx, endpoint_id)
            self._record(tx, "deleted", endpoint_id, trace, old=_facts(old))

    def test(self, log: uuid.UUID | None, endpoint_id: uuid.UUID, *, trace: Trace) -> Failure | None:
        """Send something at once, once. None: it was taken. Raises NotFound, SealBroken, Overloaded."""
        with self.reading(log) as tx:
            endpoint = _found(store.find(tx, endpoint_id))
            secrets = self._signing.open_secrets(tx, endpoint_id)
        failure = self._try(log, endpoint, secrets)
        happened = Event("webhook.tested", trace=trace, tenant_id=log, webhook=endpoint_id)
        if failure is not None:
            happened = replace(happened, outcome="error", reason=failure.reason)
        self._audit.record_apart(happened)
        return failure

    def list_deliveries(self, log: uuid.UUID | None, endpoint_id: uuid.UUID) -> tuple[Delivery, ...]:
        """What an endpoint has not taken, waiting or given up, the oldest first; at most a thousand.

        Raises NotFound.
        """
        with self.reading(log) as tx:
            _found(store.find(tx, endpoint_id))
            return progress.list_deliveries(tx, endpoint_id, count=LISTED_AT_MOST)

    def redeliver(
        self, log: uuid.UUID | None, endpoint_id: uuid.UUID, event_id: uuid.UUID, *, by: Actor | None, trace: Trace
    ) -> None:
        """Send an event of the log now, whether it was taken or not, and whenever the receiver wants the next one.

        Raises NotFound, InsufficientScope.
        """
        now = int(self._clock())
        with self.writing(log) as tx:
            authority_of(by, tx)
            endpoint, event = store.find(tx, endpoint_id, to_change=True), find_event(tx, event_id)
            if endpoint is None or event is None or event.record.type not in types_of(endpoint.events):
                raise NotFound("There is no such endpoint, or no such event among those that it gets.")
            record = event.record
            again = Delivery(event.position, record.id, record.type, subject_of(record), 0, now, now)
            progress.wake(tx, endpoint_id)
            progress.delivered(tx, endpoint_id, event.position)
            progress.add_delivery(tx, endpoint_id, again)
            self._record(tx, "redelivered", endpoint_id, trace, new={"event": str(event_id)})

    def measure(self) -> tuple[int, int | None]:
        """How many endpoints fail, or did until they were disabled; since when the oldest event waits, if one does."""
        with self._work.platform(writes=False) as tx:
            return progress.measure(tx)

    def prune(self) -> int:
        """Forget some of what is of no use any more. Answers how many rows; call until it is 0."""
        now = int(self._clock())
        with self._work.platform() as tx:
            gone = progress.prune(tx, given_up_before=now - KEPT_SECONDS, count=PRUNED_AT_ONCE)
            return gone + store.prune_secrets(tx, now=now)

    # ── for who delivers ─────────────────────────────────────────────────────────────────────────────────────────────

    def reading(self, log: uuid.UUID | None) -> AbstractContextManager[Transaction]:
        """A transaction that reads in a log."""
        return self._work.platform(writes=False) if log is None else self._work.reading(log)

    def writing(self, log: uuid.UUID | None) -> AbstractContextManager[Transaction]:
        """A transaction that writes in a log."""
        return self._work.platform() if log is None else self._work(log)

    def _try(self, log: uuid.UUID | None, endpoint: Endpoint, secrets: Sequence[bytes]) -> Failure | None:
        identity = self._signing.identity_of(endpoint)
        if isinstance(identity, Failure):
            return identity
        message = trial_of(self._entropy.uuid(), log, self._clock())
        return self._outside.send(log, endpoint.url, message, secrets, identity=identity)

    def _require_sound(self, log: uuid.UUID | None, draft: Draft, by: Actor | None, *, known: str | None) -> None:
        """Raises InvalidInput; InsufficientScope: certificates are the service's, and a tenant can't lend them out."""
        if draft.certificate is not None and by is not None:
            raise InsufficientScope
        target, problems = read_target(draft.url), problems_of(draft)
        if not problems and draft.url != known and not self._outside.admits(log, target):
            problems.append(FieldError("/url", NO_ADDRESS))
        if draft.certificate is not None and self._certificates.get(draft.certificate).usage != "client":
            problems.append(FieldError("/certificate", "it is not for the usage client"))
        if problems:
            raise InvalidInput(problems)

    def _record(
        self,
        tx: Transaction,
        act: str,
        endpoint_id: uuid.UUID,
        trace: Trace,
        *,
        reason: str | None = None,
        version: int | None = None,
        old: dict[str, Fact] | None = None,
        new: dict[str, Fact] | None = None,
    ) -> None:
        happened = Event(f"webhook.{act}", trace=trace, webhook=endpoint_id, reason=reason, version=version)
        self._audit.record(tx, replace(happened, old=old, new=new))


def _found(endpoint: Endpoint | None) -> Endpoint:
    if endpoint is None:
        raise NotFound(NO_ENDPOINT)
    return endpoint


def _require_reader(authority: Sequence[str], draft: Draft) -> None:
    """Who has no view of what is personal in a log has it sent nowhere, either. Raises InsufficientScope."""
    if draft.wants_personal and not covers(authority, (READING,)):
        raise InsufficientScope("What is personal in events goes to who may read the audit log: audit:read.")


def _facts(draft: Draft) -> dict[str, Fact]:
    return facts_of(draft, read_target(draft.url).origin)
