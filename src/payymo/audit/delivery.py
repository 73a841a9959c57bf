"""Sends the newest checkpoints to where they are kept besides, again and again until they are there.

A log is held to what has left the machine: whoever rewrites the database can't take that back. Nothing waits for it,
and no transaction is open while somebody is spoken to. Two processes at once do no harm: every delivery can be
repeated.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

from payymo.audit import sent, store
from payymo.audit.destinations import Destination, NotDelivered, Parcel
from payymo.audit.merkle import TileDamaged, prove_consistency
from payymo.audit.sent import Due, Lag
from payymo.clock import Clock
from payymo.db.work import Work
from payymo.entropy import Entropy

AT_ONCE: Final = 100
FIRST_WAIT_SECONDS: Final = 5
LONGEST_WAIT_SECONDS: Final = 600


class Delivery:
    """What is to go where."""

    def __init__(
        self,
        work: Work,
        clock: Clock,
        entropy: Entropy,
        destinations: Sequence[Destination],
        *,
        every_seconds: int,
    ) -> None:
        self._work = work
        self._clock = clock
        self._entropy = entropy
        self._destinations = destinations
        self._every = every_seconds

    @property
    def is_on(self) -> bool:
        """Whether there is anywhere to send to."""
        return bool(self._destinations)

    def deliver_due(self) -> int:
        """Send what is due to each destination, until one does not answer. Answers how many arrived."""
        return sum(map(self._deliver_to, self._destinations))

    def lags(self) -> tuple[Lag, ...]:
        """How far behind each destination is."""
        with self._work.platform(writes=False) as tx:
            return tuple(sent.find_lag(tx, destination.uri) for destination in self._destinations)

    def _deliver_to(self, destination: Destination) -> int:
        with self._work.platform(writes=False) as tx:
            found = sent.list_due(tx, destination.uri, now=int(self._clock()), count=AT_ONCE)
        arrived = 0
        for due in found:
            try:
                lines = destination.send(Parcel(due.note, due.size, due.sent, partial(self._prove, due)))
            except NotDelivered as failure:
                self._fail(destination.uri, due, failure)
                if failure.is_everybodys:
                    break
            else:
                self._note(destination.uri, due, lines)
                arrived += 1
        return arrived

    def _prove(self, due: Due, old: int) -> Sequence[bytes]:
        try:
            with self._work.platform(writes=False) as tx:
                return prove_consistency(old, due.size, partial(store.read_tile, tx, due.log))
        except TileDamaged:
            raise NotDelivered("the tree is damaged", is_everybodys=False) from None

    def _note(self, uri: str, due: Due, lines: str | None) -> None:
        now = int(self._clock())
        with self._work.platform() as tx:
            if lines:
                sent.cosign(tx, due.log, due.size, lines)
            sent.put(tx, uri, due, size=due.size, sent_at=now, next_try_at=now + self._every)

    def _fail(self, uri: str, due: Due, failure: NotDelivered) -> None:
        share = (1 + int.from_bytes(self._entropy.bytes(2)) / 65_536) / 2
        wait = min(FIRST_WAIT_SECONDS << min(due.failures, 20), LONGEST_WAIT_SECONDS)
        again_at = int(self._clock()) + max(1, round(wait * share))
        with self._work.platform() as tx:
            sent.put(tx, uri, due, size=due.sent, sent_at=None, next_try_at=again_at, reason=failure.reason[:64])
            if failure.is_everybodys:
                sent.postpone(tx, uri, until=again_at)
