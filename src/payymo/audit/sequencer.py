"""Gives committed events their positions in the logs: one process at a time for each log, whoever is killed when.

Events are taken out of the inbox, put into the log and into its tree in one transaction. What is committed later gets a
later position; transactions that wait for each other have theirs in the order in which they commit, because events are
the last thing they write.
"""

import uuid
from dataclasses import dataclass
from functools import partial
from typing import Final

from payymo.audit import pages, store
from payymo.audit.damage import LogsDamaged
from payymo.audit.merkle import EMPTY_ROOT, TileDamaged, append, leaf_hashes
from payymo.audit.pages import Standing
from payymo.clock import Clock
from payymo.db.work import Work

BATCH: Final = 2000


@dataclass(frozen=True, slots=True)
class Integrated:
    """What one round has done: how many events it gave positions, and in which logs. Not `is_done`: there is more."""

    events: int
    logs: tuple[uuid.UUID, ...]
    is_done: bool
    damaged: frozenset[uuid.UUID] = frozenset()
    """Logs whose tree is not what it was: their events wait until somebody has looked."""


class Sequencer:
    """Grows the logs."""

    def __init__(self, work: Work, clock: Clock) -> None:
        self._work = work
        self._clock = clock

    def integrate(self) -> Integrated:
        """Give positions to what waits, a batch for each log. A log that is damaged does not stop the others."""
        with self._work.platform(writes=False) as tx:
            waiting = tuple(store.list_waiting(tx))
        counts, damaged = [0], []
        for log in waiting:
            try:
                counts.append(self._integrate(log))
            except (TileDamaged, ValueError):  # ValueError: somebody has written down a size below zero
                damaged.append(log)
                self._mark(log)
        return Integrated(sum(counts), waiting, max(counts) < BATCH, frozenset(damaged))

    def integrate_all(self) -> int:
        """Give positions to everything that waits. Answers to how many events. Raises LogsDamaged, in the end."""
        total = 0
        while True:
            done = self.integrate()
            total += done.events
            if done.is_done:
                break
        if done.damaged:
            raise LogsDamaged(done.damaged)
        return total

    def standing(self) -> Standing:
        """How the logs stand, all together."""
        with self._work.platform(writes=False) as tx:
            return pages.read_standing(tx)

    def _mark(self, log: uuid.UUID) -> None:
        with self._work.platform() as tx:
            store.mark_damaged(tx, log, now=int(self._clock()))

    def _integrate(self, log: uuid.UUID) -> int:
        with self._work.platform() as tx:
            now = int(self._clock())
            head = store.lock(tx, log, empty_root=EMPTY_ROOT, now=now)
            taken = store.take(tx, log, count=BATCH)
            if taken:
                leaves = leaf_hashes(pending.record for pending in taken)
                grown = append(head.size, leaves, partial(store.read_tile, tx, log), root=head.root)
                store.append(tx, log, head.size, taken)
                store.advance(tx, log, size=grown.size, root=grown.root, tiles=grown.tiles, now=now)
        return len(taken)
