"""Changes what everything is sealed under: the master key, or the data keys. Online, and safe to kill at any moment.

Both do their work in small transactions, and read from the database what is left to do: a run that was killed is
finished by the next one.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from operator import attrgetter

from payymo.audit.log import AuditLog
from payymo.clock import Clock
from payymo.db.under_way import list_under_way
from payymo.db.work import Transaction, Work
from payymo.errors import Conflict, Misconfigured
from payymo.logs import Event, Trace
from payymo.secrets import key_rows, master_rows
from payymo.secrets.encryption import SealBroken, TooOld
from payymo.secrets.envelope import FRESH_SECONDS, Column, Envelope
from payymo.secrets.model import MasterKey

BATCH = 200
ONE_RUN_SECONDS = 3600
"""Data keys that are younger belong to the present run, also when it was killed and started again."""
SETTLE_SECONDS = 3 * FRESH_SECONDS
"""How long transactions may still begin that seal under a data key which has a successor."""
PATIENCE_SECONDS = 60
"""How long those are waited for that have begun by then. A statement ends after five seconds, and silence after ten."""

Progress = Callable[[int, int], None]
"""Told how many of how many are done."""
Pause = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Domain:
    """Whose values of one purpose are sealed under one line of data keys. No tenant: the service's."""

    tenant_id: uuid.UUID | None
    purpose: str


@dataclass(frozen=True, slots=True)
class Sealing:
    """What a run has done: values that were sealed again, data keys that were made anew, and that were young enough."""

    values: int
    renewed: int
    kept: int
    left: frozenset[Domain] = frozenset()
    """Whose values are sealed as they were, and their old data keys still there: not all of them can be found."""
    broken: Mapping[Domain, str] = field(default_factory=dict)
    """The same, since one of them does not open; and which one that is."""
    is_awaited: bool = False
    """All old data keys are still there: a transaction that began before the new ones were known has not ended."""


@dataclass(frozen=True, slots=True)
class MasterInUse:
    """A master key that the database needs: `current`, or `leaving` while it is changed."""

    id: str
    state: str
    is_development: bool
    data_keys: int
    oldest_at: int | None
    """When the oldest data key under it was made that still opens something."""


class MasterRotation:
    """Wraps every data key under another master key."""

    def __init__(self, work: Work, envelope: Envelope, clock: Clock, audit: AuditLog) -> None:
        self._work = work
        self._envelope = envelope
        self._clock = clock
        self._audit = audit

    def list_known(self) -> tuple[MasterInUse, ...]:
        """The master keys that the database needs, and what is under each."""
        with self._work.platform(writes=False) as tx:
            return tuple(
                MasterInUse(
                    known.id,
                    known.state,
                    known.is_development,
                    data_keys=key_rows.count_wrapped(tx, known.id),
                    oldest_at=min(
                        (key.created_at for _, key in key_rows.list_oldest(tx, known.id, count=1)), default=None
                    ),
                )
                for known in master_rows.list_all(tx)
            )

    def count(self, to: MasterKey) -> int:
        """How many data keys are under another master key than this."""
        with self._work.platform(writes=False) as tx:
            return sum(key_rows.count_wrapped(tx, known.id) for known in master_rows.list_all(tx) if known.id != to.id)

    def run(self, to: MasterKey, *, progress: Progress, trace: Trace) -> int:
        """Let `to` take the place of the present master key. Answers how many data keys were wrapped again."""
        with self._work.platform() as tx:
            master_rows.lock(tx)
            self._envelope.require_masters(tx)  # another change may have begun, or ended, since this process started
            if master_rows.find_current(tx) != to.id:
                master_rows.add(tx, to.id, "leaving", is_development=to.is_development, now=int(self._clock()))
                master_rows.make_current(tx, to.id)
                self._audit.record(tx, Event("master-key.rotated", trace=trace, kid=to.id))
        done, total = 0, self.count(to)
        progress(done, total)
        while leaving := self._leaving():
            for master_id in leaving:
                while wrapped := self._rewrap_some(master_id, to.id):
                    done += wrapped
                    progress(done, max(done, total))
                with self._work.platform() as tx:
                    if master_rows.drop(tx, master_id):
                        self._audit.record(tx, Event("master-key.dropped", trace=trace, kid=master_id))
        return done

    def _leaving(self) -> list[str]:
        with self._work.platform(writes=False) as tx:
            return [known.id for known in master_rows.list_all(tx) if known.state == "leaving"]

    def _rewrap_some(self, master_id: str, to: str) -> int:
        """Answers how many. Who keeps a master key may be slow: nobody waits for a transaction meanwhile.

        What has changed by then (shredded, dropped, or wrapped by another run) stays so, and is found again if need be.
        """
        with self._work.platform(writes=False) as tx:
            self._require_current(tx, to)
            found = key_rows.list_wrapped(tx, master_id, count=BATCH)
        again = [
            (tenant_id, key, self._envelope.rewrap(key, tenant_id, to) if key.wrapped else key.wrapped)  # b"": shredded
            for tenant_id, key in found
        ]
        with self._work.platform() as tx:
            self._require_current(tx, to)
            return sum(key_rows.rewrap(tx, tenant_id, key, wrapped, master_id=to) for tenant_id, key, wrapped in again)

    def _require_current(self, tx: Transaction, to: str) -> None:
        if master_rows.find_current(tx) != to:
            raise Conflict("Another change of the master key has begun meanwhile.")


class Reencryption:
    """Gives every tenant and purpose a new data key, seals everything under it, and destroys the old ones.

    What is sealed from then on is under the new key in any case, also where old values had to be left.
    """

    def __init__(
        self,
        work: Work,
        envelope: Envelope,
        clock: Clock,
        columns: Sequence[Column],
        audit: AuditLog,
        *,
        before: Callable[[], frozenset[Domain]],
    ) -> None:
        """`before` puts where it is found what is sealed and still under way: events that have no position yet.

        It answers whose it can't. Nothing of theirs is touched, for a data key that is gone opens nothing: all others
        go on, and the next run finds what was left.
        """
        self._work = work
        self._envelope = envelope
        self._clock = clock
        self._before = before
        self._columns = {column.purpose: column for column in columns}
        self._audit = audit

    def count(self, *, whatever_age: bool = False) -> int:
        """How many values a run would seal again."""
        nobody = uuid.UUID(int=0)
        return sum(
            self._count(domain, nobody if self._is_due(domain, whatever_age=whatever_age) else None)
            for domain in self._domains()
        )

    def run(self, *, progress: Progress, pause: Pause, trace: Trace, whatever_age: bool = False) -> Sealing:
        """Seal everything again. `whatever_age`: also what is under data keys that were made a moment ago.

        A value that somebody has changed keeps its tenant and purpose as they are, and nobody else's.
        """
        domains = self._domains()
        renewed = sum(self._renew(domain, whatever_age=whatever_age) for domain in domains)
        done, total = 0, sum(self._count(domain, None) for domain in domains)
        left: frozenset[Domain] = frozenset()
        broken: dict[Domain, str] = {}
        has_waited = True
        progress(done, total)
        for settled in (False, True):
            left |= self._before()
            for domain in (domain for domain in domains if domain not in left and domain not in broken):
                try:
                    for count in self._reseal(domain):
                        done += count
                        progress(done, max(done, total))
                except TooOld:  # not this value is at fault: a setting is
                    raise
                except SealBroken as error:
                    broken[domain] = error.private or "a value does not open"
            if not settled and domains:
                pause(SETTLE_SECONDS)
                has_waited = self._await_older(pause)
        for domain in domains:
            if has_waited and domain not in left and domain not in broken:
                self._drop_older(domain)
        self._audit.record_apart(Event("data-keys.rotated", trace=trace, count=done))
        return Sealing(done, renewed, len(domains) - renewed, left, broken, is_awaited=not has_waited)

    def _await_older(self, pause: Pause) -> bool:
        """Wait until every transaction has ended that may have sealed something under an old data key.

        It is in no table yet, and where no foreign key leads to the data key, as from events, nothing opens it later.
        """
        older = list_under_way(self._work)
        for _ in range(PATIENCE_SECONDS):
            if not older:
                return True
            pause(1)
            older &= list_under_way(self._work)
        return not older

    def _renew(self, domain: Domain, *, whatever_age: bool) -> bool:
        if not self._is_due(domain, whatever_age=whatever_age):
            return False
        with self._in(domain) as tx:
            if self._envelope.is_shredded(tx):
                return False
            self._envelope.renew(tx, domain.purpose)
        return True

    def _domains(self) -> list[Domain]:
        with self._work.platform(writes=False) as tx:
            return [Domain(*found) for found in key_rows.list_purposes(tx)]

    def _in(self, domain: Domain) -> AbstractContextManager[Transaction]:
        return self._work.platform() if domain.tenant_id is None else self._work(domain.tenant_id)

    def _column(self, domain: Domain) -> Column:
        found = self._columns.get(domain.purpose)
        if found is None:
            raise Misconfigured([f"there are data keys for {domain.purpose!r}, which this version knows nothing of"])
        return found

    def _is_due(self, domain: Domain, *, whatever_age: bool) -> bool:
        with self._in(domain) as tx:
            newest = key_rows.find_newest_key(tx, domain.purpose)
        if newest is None:
            return False
        return whatever_age or not 0 <= self._clock() - newest.created_at < ONE_RUN_SECONDS

    def _count(self, domain: Domain, newest: uuid.UUID | None) -> int:
        with self._in(domain) as tx:
            key = key_rows.find_newest_key(tx, domain.purpose)
            if key is None:
                return 0
            return self._column(domain).count_sealed(tx, newest or key.id)

    def _reseal(self, domain: Domain) -> Iterator[int]:
        """Batch by batch, until nothing is left; answers how many values each batch had."""
        column = self._column(domain)
        while True:
            with self._in(domain) as tx:
                newest = None if self._envelope.is_shredded(tx) else key_rows.find_newest_key(tx, domain.purpose)
                if newest is None:
                    return
                rows = column.list_sealed(tx, newest.id, count=BATCH)
                for row in sorted(rows, key=attrgetter("key")):  # in one order, so that nobody waits in a circle
                    value = self._envelope.open(tx, row.sealed, *row.place)
                    column.reseal(tx, row, self._envelope.seal_under(tx, newest, value, *row.place))
            if not rows:
                return
            yield len(rows)

    def _drop_older(self, domain: Domain) -> None:
        """A key that a row still needs stays, by its foreign key, for the next run."""
        with self._in(domain) as tx:
            older = key_rows.list_older_keys(tx, domain.purpose)
        for key_id in older:
            with self._in(domain) as tx:
                key_rows.drop_key(tx, key_id)
