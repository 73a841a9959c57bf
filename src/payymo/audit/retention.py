"""Keeps the logs as long as is wanted: forgets events by age, and checkpoints that others make superfluous.

Only a beginning of a log is ever removed, up to a checkpoint that was signed long enough ago. The tiles stay, so that
what is left is proved as before; the checkpoint stays, too; and the log itself says what was removed. That it is
removed is one change: from where on the log is there. The rows follow in small batches, and a run that is killed is
finished by the next one.
"""

import uuid
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from payymo.audit import pruning, store
from payymo.audit.checkpoints import log_id
from payymo.audit.log import AuditLog
from payymo.audit.merkle import TileDamaged, root_at
from payymo.audit.model import PLATFORM
from payymo.audit.notes import Checkpoint, Note, VerifierKey, open_checkpoint
from payymo.audit.refusals import Refused
from payymo.audit.store import StoredCheckpoint
from payymo.clock import Clock
from payymo.db.schema import PLATFORM_LOG
from payymo.db.work import Transaction, Work
from payymo.logs import BY_ITSELF, Event, Fact, Trace

DAY_SECONDS: Final = 86_400
HOUR_SECONDS: Final = 3_600
FOR_EVER: Final = 0
ROWS_AT_A_TIME: Final = 1000
THINNED: Final = ((DAY_SECONDS, HOUR_SECONDS), (30 * DAY_SECONDS, DAY_SECONDS))
"""From which age on one checkpoint is kept of how many seconds: all of a day, one an hour of a month, one a day."""


class Retention:
    """How long events stay, and their end. `None` as a tenant's id is the platform's own log."""

    def __init__(
        self,
        work: Work,
        clock: Clock,
        audit: AuditLog,
        *,
        keys: Callable[..., Sequence[VerifierKey]],
        keep_days: int | None,
    ) -> None:
        """`keys`: as `Checkpoints.verifier_keys`. `keep_days`: of logs without a time of their own; None: for ever."""
        self._work = work
        self._clock = clock
        self._audit = audit
        self._keys = keys
        self._default = keep_days or FOR_EVER
        self._thinned_at = 0

    def get(self, tenant_id: uuid.UUID | None) -> tuple[int, bool]:
        """How many days a log keeps its events (0: for ever), and whether that is a time of its own."""
        with self._work.platform(writes=False) as tx:
            own = pruning.find_retention(tx, log_id(tenant_id))
        return self._default if own is None else own, own is not None

    def set(self, tenant_id: uuid.UUID | None, keep_days: int | None, *, trace: Trace) -> None:
        """Keep the events of a log as many days; 0: for ever; None: as long as the settings say."""
        log = log_id(tenant_id)
        with self._work.platform() as tx:
            old = pruning.find_retention(tx, log)
            pruning.set_retention(tx, log, keep_days)
            event = Event("audit.retention-changed", trace=trace, old={"keep_days": old}, new={"keep_days": keep_days})
            self._record(tx, log, event)

    def remove_due(self) -> int:
        """Remove what is too old, from every log. Answers how many events went.

        Raises TileDamaged: a log is not what it was signed as. Nothing of that one is removed.
        """
        with self._work.platform(writes=False) as tx:
            logs = pruning.list_logs(tx)
        removed, damage = 0, None
        for kept in logs:
            days = self._default if kept.keep_days is None else kept.keep_days
            try:
                has_advanced = days != FOR_EVER and self._advance(kept, days)
            except TileDamaged as error:
                damage, has_advanced = error, False
            if kept.is_unswept or has_advanced:
                removed += self._sweep(kept.log)
        if damage is not None:
            raise damage
        return removed

    def thin_checkpoints(self) -> int:
        """Forget checkpoints that later ones make superfluous, once an hour. Answers how many went."""
        now, total = int(self._clock()), 0
        if 0 <= now - self._thinned_at < HOUR_SECONDS:
            return 0
        for age, seconds in THINNED:
            # Whole hours and days only: of one that is not over, the last one is still to be found out.
            before = (now - age) // seconds * seconds - 1
            while True:
                with self._work.platform() as tx:
                    count = pruning.thin_checkpoints(tx, before=before, seconds=seconds, count=ROWS_AT_A_TIME)
                total += count
                if not count:
                    break
        self._thinned_at = now
        return total

    def _advance(self, kept: pruning.Kept, days: int) -> bool:
        """Let the log begin later, if there is anything to remove; say so in it. Whether there was."""
        log, cutoff = kept.log, int(self._clock()) - days * DAY_SECONDS
        with self._work.platform(writes=False) as tx:
            signed = self._find_end(tx, kept, cutoff)
        if signed is None or not self._is_signed(log, signed.note):  # as if it were not there: a later one will do
            return False
        head = _read(signed.note)
        with self._work.platform() as tx:
            first = pruning.lock_first(tx, log)
            if first >= head.size:  # another process was faster
                return False
            pruning.advance(tx, log, head.size)
            removed: dict[str, Fact] = {"from": first, "to": head.size, "root": head.root.hex()}
            self._record(tx, log, Event("audit.removed", trace=BY_ITSELF, new=removed))
        return True

    @staticmethod
    def _find_end(tx: Transaction, kept: pruning.Kept, cutoff: int) -> StoredCheckpoint | None:
        """Step: the checkpoint up to which everything is older; the tiles have to lead to the root that it signs.

        If they don't, nobody has their traces removed in this way. That something was removed is no reason to remove
        again: a log in which nothing else happens would tell of that for ever. Raises TileDamaged.
        """
        signed = pruning.find_signed_by(tx, kept.log, first=kept.first, moment=cutoff)
        at = None if signed is None else pruning.find_at(tx, kept.log, signed.size - 1)
        if signed is None or at is None or at >= cutoff * 1000:  # a clock may have been wrong when it was signed
            return None
        if not pruning.is_any_there(tx, kept.log, first=kept.first, end=signed.size):
            return None
        head = _read(signed.note)
        if head.size != signed.size or root_at(head.size, partial(store.read_tile, tx, kept.log)) != head.root:
            raise TileDamaged(private=f"log {kept.log}: not what was signed at {head.size}; nothing of it is removed")
        return signed

    def _is_signed(self, log: uuid.UUID, note: str) -> bool:
        """Whether a key of the service has signed this of this log, also under a name that it had before."""
        origin, tenant_id = _read(note).origin, None if log == PLATFORM_LOG else log
        try:
            open_checkpoint(note.encode(), self._keys(tenant_id, origin=origin))
        except Refused:
            return False
        return origin.endswith(f"/audit/{tenant_id or PLATFORM}")

    def _sweep(self, log: uuid.UUID) -> int:
        """Delete the rows before the beginning of a log."""
        total = 0
        while True:
            with self._work.platform() as tx:
                first = pruning.find_first(tx, log)
                count = pruning.sweep(tx, log, first, count=ROWS_AT_A_TIME)
            total += count
            if not count:
                return total

    def _record(self, tx: Transaction, log: uuid.UUID, event: Event) -> None:
        """Step, in platform work: in the log that it is about."""
        if log == PLATFORM_LOG:
            self._audit.record(tx, event)
        else:
            with tx.within(log) as own:
                self._audit.record(own, event)


def _read(note: str) -> Checkpoint:
    """What a checkpoint says, whoever has signed it. Raises TileDamaged."""
    try:
        return Checkpoint.parse(Note.parse(note.encode()).text)
    except Refused as refused:
        raise TileDamaged(private=f"a checkpoint can't be read: {refused.reason}") from None
