"""What the explorers of all logs have in common: filters, pages with their picture, an event with its checked proof."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Annotated, Final
from urllib.parse import urlencode

from flask import Response
from pydantic import Field, NaiveDatetime

from payymo.audit.checkpoints import Checkpoints
from payymo.audit.entries import Entry, Filters
from payymo.audit.proofs import InclusionProof, check_inclusion
from payymo.audit.reader import AuditReader
from payymo.audit.refusals import Refused
from payymo.audit.vouching import log_of
from payymo.errors import FieldError, InvalidInput, NotFound
from payymo.logs import Outcome
from payymo.web.console.audit_words import OUTCOME_CHOICES, TYPE_CHOICES, row_of, story_of
from payymo.web.console.charts import histogram
from payymo.web.console.pages import Sheet
from payymo.web.routing import Input

EVENTS_A_PAGE: Final = 100


class ExplorerQuery(Input):
    """Which events. `type` is one, or all that begin alike: `session.`. Times are in UTC."""

    type: Annotated[str, Field(max_length=48, pattern=r"^[a-z][a-z-]*\.([a-z-]+)?$")] | None = None
    actor: Annotated[str, Field(max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$")] | None = None
    user: Annotated[str, Field(max_length=64)] | None = None
    outcome: Outcome | None = None
    since: NaiveDatetime | None = None
    before: NaiveDatetime | None = None
    cursor: Annotated[str, Field(max_length=200, pattern=r"^[A-Za-z0-9_-]+$")] | None = None

    @property
    def filters(self) -> Filters:
        """What is asked for. Raises InvalidInput."""
        return Filters(
            actor=self.actor,
            type=self.type,
            user_id=None if self.user is None else _identifier(self.user),
            outcome=self.outcome,
            since_ms=_milliseconds(self.since),
            before_ms=_milliseconds(self.before),
        )

    @property
    def asked(self) -> Mapping[str, str]:
        """What stands in the fields."""
        times = {"since": self.since, "before": self.before}
        fields = {"type": self.type, "actor": self.actor, "user": self.user, "outcome": self.outcome}
        shown = {name: at.isoformat() for name, at in times.items() if at is not None}
        return {name: str(value) for name, value in fields.items() if value is not None} | shown


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of checking a proof. `problem`: why it does not hold; None: it does.

    `is_pending`: no checkpoint is as new as the event yet. `key`: of whose signature.
    """

    problem: str | None = None
    is_pending: bool = False
    origin: str = ""
    size: int = 0
    index: int = 0
    hashes: int = 0
    key: str = ""


class Explorer:
    """Reads one log, or another. None as a tenant's id is the platform's."""

    def __init__(self, *, reader: AuditReader, checkpoints: Checkpoints) -> None:
        self._reader = reader
        self._checkpoints = checkpoints

    def page(self, tenant_id: uuid.UUID | None, query: ExplorerQuery, *, path: str) -> Sheet:
        """A page of events, the newest first, with a picture of them."""
        found = self._reader.page(tenant_id, query.filters, cursor=query.cursor, count=EVENTS_A_PAGE, newest_first=True)
        rows = [row_of(entry) for entry in found.entries]
        onward = None if found.next is None else f"{path}?{urlencode({**query.asked, 'cursor': found.next})}"
        facts = {
            "rows": rows,
            "asked": query.asked,
            "chart": histogram([(row.at, row.is_good) for row in rows]),
            "types": TYPE_CHOICES,
            "outcomes": OUTCOME_CHOICES,
            "is_first": query.cursor is None,
            "next": onward,
            "base": path,
        }
        return Sheet("audit_events.html", facts)

    def event(self, tenant_id: uuid.UUID | None, event_id: uuid.UUID, *, path: str) -> Sheet:
        """An event, and what its proof shows. Raises NotFound."""
        entry, verdict = self._prove(tenant_id, event_id)
        return Sheet("audit_event.html", {"story": story_of(entry), "verdict": verdict, "base": path})

    def proof(self, tenant_id: uuid.UUID | None, event_id: uuid.UUID) -> Response:
        """The proof as a file (C2SP tlog-proof). Raises NotFound, also when there is none, or none yet."""
        found = self._reader.get(tenant_id, event_id)
        if found.is_broken:
            raise NotFound("The stored tree of this log was changed: it proves nothing.")
        if found.proof is None:
            raise NotFound("No checkpoint is as new as this event yet. Try again in a second.")
        response = Response(found.proof, content_type="text/plain; charset=utf-8")
        response.headers["Content-Disposition"] = f'attachment; filename="{event_id}.tlog-proof"'
        response.headers["Cache-Control"] = "no-store"
        return response

    def _prove(self, tenant_id: uuid.UUID | None, event_id: uuid.UUID) -> tuple[Entry, Verdict]:
        found = self._reader.get(tenant_id, event_id)
        if found.is_broken:
            return found.entry, Verdict("The stored tree of this log was changed: it proves nothing.")
        if found.proof is None:
            return found.entry, Verdict(is_pending=True)
        return found.entry, self._check(tenant_id, found.proof.encode())

    def _check(self, tenant_id: uuid.UUID | None, data: bytes) -> Verdict:
        """What a stranger with the log's public keys would find out."""
        try:
            proof = InclusionProof.parse(data)
            origin = proof.checkpoint.partition(b"\n")[0].decode(errors="replace")
            if log_of(origin) != tenant_id:
                return Verdict("The checkpoint is of another log.")
            shown = check_inclusion(proof, self._checkpoints.verifier_keys(tenant_id, origin=origin))
        except Refused as refusal:
            return Verdict(str(refusal))
        head = shown.signed.checkpoint
        return Verdict(
            origin=head.origin,
            size=head.size,
            index=shown.index,
            hashes=len(proof.hashes),
            key=str(shown.signed.log.key),
        )


def _identifier(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text.strip())
    except ValueError:
        raise InvalidInput([FieldError("/user", "Write a user's identifier, as events show it.")]) from None


def _milliseconds(moment: NaiveDatetime | None) -> int | None:
    return None if moment is None else int(moment.replace(tzinfo=UTC).timestamp() * 1000)
