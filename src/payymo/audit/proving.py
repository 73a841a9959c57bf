"""Makes proofs out of what is stored. Each is checked before it is handed out: of a damaged tree comes none."""

import uuid
from collections.abc import Callable
from functools import partial

from payymo.audit import pages, store
from payymo.audit.checkpoints import Checkpoints, log_id
from payymo.audit.commitments import SALT_BYTES
from payymo.audit.log import AuditLog
from payymo.audit.merkle import TileDamaged, prove_consistency, prove_inclusion
from payymo.audit.model import decode
from payymo.audit.proofs import ConsistencyProof, Disclosure, InclusionProof, check_consistency, check_inclusion
from payymo.audit.refusals import Refused
from payymo.audit.store import StoredCheckpoint
from payymo.audit.verification import Open
from payymo.audit.vouching import log_of
from payymo.db.work import Work
from payymo.errors import Conflict, NotFound, PayymoError
from payymo.logs import Event, Trace


class Unprovable(PayymoError):
    """The stored tree proves nothing: it has been changed. `payymo audit verify` says where."""

    code = "internal_error"


class Proving:
    """Proves what stands in the logs, to whoever has a key of theirs and nothing else."""

    def __init__(self, work: Work, checkpoints: Checkpoints, *, open_payloads: Open, audit: AuditLog) -> None:
        self._work = work
        self._checkpoints = checkpoints
        self._open = open_payloads
        self._audit = audit

    def prove(self, log: uuid.UUID | None, event_id: uuid.UUID) -> InclusionProof:
        """That an event is in the log of the newest checkpoint.

        Raises NotFound: there is no such event; Conflict: it is in no checkpoint yet; Unprovable.
        """
        return self._prove(log, event_id, disclose=False)

    def disclose(self, log: uuid.UUID | None, event_id: uuid.UUID, *, trace: Trace) -> InclusionProof:
        """The same with what is personal in the event. It is on record before anybody sees it.

        Raises NotFound, Conflict, Unprovable as `prove`; NotFound also when there is nothing personal to show.
        """
        proof = self._prove(log, event_id, disclose=True)
        named = decode(proof.record).about.get("user_id")
        happened = Event(
            "audit.disclosed",
            trace=trace,
            tenant_id=log,
            user_id=uuid.UUID(named) if isinstance(named, str) else None,
            new={"event": str(event_id)},
        )
        self._audit.record_apart(happened)
        return proof

    def _prove(self, log: uuid.UUID | None, event_id: uuid.UUID, *, disclose: bool) -> InclusionProof:
        with self._work.platform(writes=False) as tx:
            head = _require_head(store.find_newest_checkpoint(tx, log_id(log)))
            found = pages.find_event(tx, log_id(log), event_id)
            if found is None:
                raise NotFound("There is no such event in this log, or it was removed by age.")
            position, record, sealed = found
            if position >= head.size:
                raise Conflict("This event is in no checkpoint yet. Try again in a second.")
            read = partial(store.read_tile, tx, log_id(log))
            try:
                hashes = prove_inclusion(position, head.size, read)
            except TileDamaged as error:
                raise Unprovable(private=f"{error.private}: payymo audit verify says more") from None
        [value] = self._open(log, [sealed]) or [None] if disclose and sealed is not None else [None]
        if disclose and value is None:
            raise NotFound("There is nothing personal in this event, or it has been erased.")
        shown = None if value is None else Disclosure(value[:SALT_BYTES], value[SALT_BYTES:])
        proof = InclusionProof(position, hashes, head.note.encode(), record, shown)
        self._require(lambda: check_inclusion(proof, self._checkpoints.verifier_keys(log, origin=_origin(head))))
        return proof

    def prove_consistency(self, old: bytes) -> ConsistencyProof:
        """That the newest checkpoint of the log goes on from this older one. Raises Refused, Conflict, Unprovable."""
        origin = old.partition(b"\n")[0].decode("utf-8", "replace")
        log = log_of(origin)
        before = self._checkpoints.vouchers().open(old, log)
        head = _require_head(self._checkpoints.newest(log))
        if before.size > head.size:
            raise Conflict("The log is shorter than this checkpoint: payymo audit verify says more.")
        with self._work.platform(writes=False) as tx:
            try:
                hashes = prove_consistency(before.size, head.size, partial(store.read_tile, tx, log_id(log)))
            except TileDamaged as error:
                raise Unprovable(private=f"{error.private}: payymo audit verify says more") from None
        proof = ConsistencyProof(hashes, old, head.note.encode())
        names = {origin, _origin(head)}
        keys = [key for name in names for key in self._checkpoints.verifier_keys(log, origin=name)]
        self._require(lambda: check_consistency(proof, keys))
        return proof

    @staticmethod
    def _require(check: Callable[[], object]) -> None:
        try:
            check()
        except Refused as refusal:
            private = f"the stored tree is not what was signed ({refusal}): payymo audit verify says where"
            raise Unprovable(private=private) from None


def _require_head(head: StoredCheckpoint | None) -> StoredCheckpoint:
    if head is None:
        raise NotFound("Nothing is on record in this log yet.")
    return head


def _origin(head: StoredCheckpoint) -> str:
    return head.note.partition("\n")[0]
