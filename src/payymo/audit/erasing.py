"""Erases what is personal of a user from the logs: what they did, and what was done to them. The events stay.

Who was erased is remembered for an hour, and looked after again: a request that was under way may still leave
something behind, and a run that was killed is finished. Events of a damaged log that wait for a position are erased
once they have one: until then nobody is forgotten who may be in them.
"""

import uuid
from collections.abc import Callable, Iterator
from itertools import product
from typing import Final

from payymo.audit import pruning
from payymo.audit.damage import LogsDamaged
from payymo.audit.sequencer import Sequencer
from payymo.clock import Clock
from payymo.db.schema import PLATFORM_LOG
from payymo.db.work import Transaction, Work

LOOKED_AFTER_SECONDS: Final = 3600
EVENTS_AT_A_TIME: Final = 500
Progress = Callable[[int], None]


class Erasing:
    """The end of personal data in the logs."""

    def __init__(self, work: Work, clock: Clock, sequencer: Sequencer) -> None:
        self._work = work
        self._clock = clock
        self._sequencer = sequencer

    def begin(self, tx: Transaction, user_id: uuid.UUID) -> None:
        """Step, in the user's tenant: from now on, whatever is personal of them goes."""
        pruning.add_erasure(tx, user_id, now=int(self._clock()))

    def has_begun(self, tx: Transaction, user_id: uuid.UUID) -> bool:
        """Step, in the user's tenant: whether they were erased within the last hour."""
        return pruning.is_erased(tx, user_id)

    def erase(self, tenant_id: uuid.UUID, user_id: uuid.UUID, *, progress: Progress, at_most: int | None = None) -> int:
        """Erase from the log of their tenant, and from the platform's. Answers from how many events.

        What has been committed and has no position yet gets one first, but for what waits for a damaged log: that is
        erased later. `progress` is told how many there were so far. `at_most`: about so many; with fewer, all is done.
        """
        self._settle()
        total = 0
        for count in self._batches(tenant_id, user_id):
            progress(total := total + count)
            if at_most is not None and total >= at_most:
                break
        return total

    def _batches(self, tenant_id: uuid.UUID, user_id: uuid.UUID) -> Iterator[int]:
        """Each is a transaction. How many events it was."""
        for log, concern in product((tenant_id, PLATFORM_LOG), pruning.CONCERNS):
            after = -1
            while (done := self._batch(log, user_id, concern, after)) is not None:
                count, after = done
                yield count

    def _batch(
        self, log: uuid.UUID, user_id: uuid.UUID, concern: pruning.Concern, after: int
    ) -> tuple[int, int] | None:
        with self._work.platform() as tx:
            return pruning.erase_payloads(tx, log, user_id, concern, after=after, count=EVENTS_AT_A_TIME)

    def finish_due(self) -> int:
        """Look after those who were erased. Answers from how many events something was erased.

        Raises LogsDamaged, in the end: somebody may be in what waits for such a log.
        """
        with self._work.platform(writes=False) as tx:
            pending = pruning.list_erasures(tx)
        total, damaged = 0, self._settle() if pending else frozenset[uuid.UUID]()
        for tenant_id, user_id, erased_at in pending:
            is_over = int(self._clock()) - erased_at >= LOOKED_AFTER_SECONDS
            total += self.erase(tenant_id, user_id, progress=lambda _count: None)
            if is_over and not damaged & {tenant_id, PLATFORM_LOG}:
                with self._work.platform() as tx:
                    pruning.forget_erasure(tx, tenant_id, user_id)
        if in_doubt := damaged & {PLATFORM_LOG, *(tenant_id for tenant_id, _, _ in pending)}:
            raise LogsDamaged(in_doubt)
        return total

    def _settle(self) -> frozenset[uuid.UUID]:
        """Give positions to what waits. Answers which logs take nothing: somebody else's must not keep data here."""
        try:
            self._sequencer.integrate_all()
        except LogsDamaged as error:
            return error.logs
        return frozenset()
