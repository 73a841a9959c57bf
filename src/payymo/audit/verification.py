"""Checks a log against its tree, its head and whatever has signed it, and finds the first entry that is not right.

All of it is read once, in pages. What the events come to is computed anew and compared: with the tiles, and with the
root of each checkpoint that is passed. Who can write everywhere in the database can make events, tiles and head agree,
but can't sign: so a signed root decides who of them is right, and what lies between two of them that hold is proved.
"""

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Concatenate, Final, ParamSpec, TypeVar

from payymo.audit import pages, store
from payymo.audit.checking import check_rows, read_forms
from payymo.audit.checkpoints import Checkpoints, log_id
from payymo.audit.commitments import SALT_BYTES, is_committed
from payymo.audit.findings import Finding, Personal, Report
from payymo.audit.merkle import TileDamaged, root_at
from payymo.audit.model import PLATFORM
from payymo.audit.rebuilding import Rebuilding
from payymo.audit.refusals import Refused
from payymo.audit.vouching import Revoked, Vouched, Vouchers
from payymo.db.work import Transaction, Work
from payymo.sealed import SealedRow

P = ParamSpec("P")
T = TypeVar("T")
PAGE: Final = 8192
"""Events that are read at once: whole tiles of hashes, and four megabytes or so."""
FINDINGS_MAX: Final = 100
Open = Callable[[uuid.UUID | None, Sequence[SealedRow]], Sequence[bytes | None]]
"""Opens payloads of a log; None for what can't be opened. Empty, where the tenant's keys are gone on purpose."""
Tell = Callable[[int, int], None]
"""Is told how many of how many events were checked."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be checked, and by what. `since`: what this checkpoint covers is taken as it is."""

    log: uuid.UUID | None
    given: tuple[Vouched, ...] = ()
    since: Vouched | None = None
    personal: bool = False


class Verification:
    """Checks logs. Only ever reads, in short transactions: the service goes on meanwhile."""

    def __init__(self, work: Work, checkpoints: Checkpoints, *, open_payloads: Open) -> None:
        self._work = work
        self._checkpoints = checkpoints
        self._open = open_payloads

    def list_logs(self) -> tuple[uuid.UUID | None, ...]:
        """Whose logs have left any trace: the platform's (None) first."""
        with self._work.platform(writes=False) as tx:
            return tuple(None if log == log_id(None) else log for log in pages.list_logs(tx))

    def count(self, log: uuid.UUID | None) -> int:
        """About how many events there are to check."""
        with self._work.platform(writes=False) as tx:
            return pages.read_state(tx, log_id(log)).size

    def verify(self, question: Question, vouchers: Vouchers, tell: Tell = lambda _done, _of: None) -> Report:
        """What is wrong with a log, and what can't be promised of it. Ctrl-C ends it with what was found so far."""
        run = _Run(self._work, question, vouchers, self._open, tell)
        is_complete = True
        try:
            run.run()
        except KeyboardInterrupt:
            is_complete = False
        return run.report(self._checkpoints.origin(question.log), is_complete=is_complete)


@dataclass(slots=True)
class _Tally:
    checked: int = 0
    checkpoints: int = 0
    signed: int = 0
    outside: int = 0
    ignored: int = 0
    held: int = 0
    erased: int = 0
    removed_by_age: int = 0
    findings: list[Finding] = field(default_factory=list)


class _Run:
    """One check of one log."""

    def __init__(self, work: Work, question: Question, vouchers: Vouchers, open_payloads: Open, tell: Tell) -> None:
        self._work = work
        self._asked = question
        self._log = log_id(question.log)
        self._name = PLATFORM if question.log is None else str(question.log)
        self._vouchers = vouchers
        self._open = open_payloads
        self._tell = tell
        self._tally = _Tally()
        self._state = pages.State(0, None, 0, 0, 0, 0)
        self._size = 0
        self._first = 0

    def run(self) -> None:
        """Read all of it."""
        with self._work.platform(writes=False) as tx:
            self._state = state = pages.read_state(tx, self._log)
            end = max(min(state.end, state.size), min(state.first, state.size))
            beyond = pages.list_checkpoints(tx, self._log, end, 2**63 - 1, count=PAGE)
        later = [*self._open_all(beyond), *(given for given in self._asked.given if given.size > end)]
        self._size = max([state.size, *(vouched.size for vouched in later)])
        # Where events end. What was removed by age is still in the tiles.
        end = max(min(state.end, self._size), min(state.first, state.size))
        self._first = state.first
        rebuilding = self._begin(state)
        start = rebuilding.size
        while rebuilding.size < end and not rebuilding.findings:
            begin = rebuilding.size
            if not self._page(rebuilding, begin, min(end, begin - begin % PAGE + PAGE)):
                break
            self._tally.checked = rebuilding.size - start
            self._tell(rebuilding.size, self._size)
        if not rebuilding.findings:
            rebuilding.end(self._size, later)
        self._add_all(rebuilding.findings)
        if not rebuilding.findings:
            self._look_beyond(end)
            self._look_for_duplicates(start, end)
        self._look_at_the_beginning()

    def report(self, origin: str, *, is_complete: bool) -> Report:
        """What was found, the first entry that is not right before everything else."""
        tally = self._tally
        if tally.ignored > tally.signed and is_complete:
            said = "the newest checkpoint is signed by a key that somebody else may have: it proves nothing"
            self._add(Finding("checkpoint", tally.ignored - 1, tally.ignored - 1, said))
        return Report(
            log=self._asked.log,
            origin=origin,
            size=self._size,
            checked=tally.checked,
            removed_by_age=tally.removed_by_age,
            waiting=self._state.waiting,
            signed=tally.signed,
            outside=tally.outside if self._asked.given or self._asked.since else None,
            checkpoints=tally.checkpoints,
            findings=tuple(sorted(tally.findings, key=lambda finding: finding.rank)),
            personal=Personal(tally.held, tally.erased) if self._asked.personal else None,
            is_complete=is_complete,
            has_outside_keys=self._vouchers.has_outside_keys,
        )

    def _begin(self, state: pages.State) -> Rebuilding:
        """From the checkpoint on that everything before is taken from, if the tiles are what it has signed."""
        since, read = self._asked.since, self._read_tile
        start = 0
        if since is not None and since.size <= state.size:
            try:
                start = since.size if root_at(since.size, read) == since.root else 0
            except TileDamaged:
                start = 0
        if start and since is not None:
            self._tally.signed, self._tally.outside = start, start if since.is_outside else 0
        return Rebuilding(state, start, read, self._read_leaves, self._read_events)

    def _page(self, rebuilding: Rebuilding, begin: int, end: int) -> bool:
        """Take the next events. False: neither are there any, nor hashes of any, nor anybody who says that there were.

        How large a log is, and where it begins, is a number that anybody writes down who can write to the database.
        """
        with self._work.platform(writes=False) as tx:
            page = pages.read_events(tx, self._log, begin, end)
            leaves = pages.read_row(tx, self._log, begin, end)
            notes = pages.list_checkpoints(tx, self._log, begin, end, count=PAGE)
            if len(page.records) != end - begin:  # it may have become true since we began to read
                self._first = pages.read_state(tx, self._log).first
            later = (
                [] if page.records or leaves else pages.list_checkpoints(tx, self._log, begin, 2**63 - 1, count=PAGE)
            )
        is_said = any(given.size > begin for given in self._asked.given)
        if not (page.records or leaves or is_said or self._open_all(later)):
            return False
        self._add_all(check_rows(page, self._name))
        if self._asked.personal:
            self._check_personal(begin, end, page)
        self._tally.removed_by_age += max(0, min(end, self._first) - begin)
        given = [vouched for vouched in self._asked.given if begin < vouched.size <= end]
        rebuilding.take(begin, end, page, leaves, first=self._first)
        for vouched in sorted([*self._open_all(notes), *given], key=lambda found: found.size):
            if not rebuilding.hold(vouched.size, vouched.root):
                return True
            if vouched.is_outside:
                self._tally.outside = vouched.size
            self._tally.signed = vouched.size
        rebuilding.pass_to(end)
        return True

    def _look_at_the_beginning(self) -> None:
        """What retention has removed stands in the log itself. What is gone besides, somebody else has removed."""
        said = self._in_tx(pages.read_beginning)
        if self._state.first > said:
            why = "these events are gone, and no event of this log says that they were removed by age"
            self._add(Finding("removed", said, min(self._state.first, self._size) - 1, why))

    def _look_beyond(self, end: int) -> None:
        """Events where the log has ended, by everything that says so."""
        if self._state.end > self._size == end:
            self._add(Finding("inserted", end, self._state.end - 1, "events behind the end of the log"))

    def _look_for_duplicates(self, start: int, end: int) -> None:
        parts = 1
        while parts * pages.IDS_AT_ONCE < end:
            parts *= 2
        for part in range(parts):
            found = self._in_tx(pages.find_duplicate, part, parts)
            if found is not None and found[1] >= start:
                self._add(Finding("duplicate", found[1], found[1], f"the event at {found[0]} once more"))
                return

    def _check_personal(self, begin: int, end: int, page: pages.Page) -> None:
        sealed = self._in_tx(pages.read_payloads, begin, end)
        asked = [
            (position, form.personal, sealed.get(form.id.replace("-", "")))
            for position, form in zip(page.positions, read_forms(page), strict=True)
            if form is not None and form.personal is not None
        ]
        there = [(position, commitment, payload) for position, commitment, payload in asked if payload is not None]
        opened = self._open(self._asked.log, [payload for _, _, payload in there])
        self._tally.erased += len(asked) - len(opened)
        for (position, commitment, _), value in zip(there, opened, strict=False):
            if value is None or not _is_committed(commitment, value):
                said = "the personal data is not what the record commits to, or can't be opened"
                self._add(Finding("payload", position, position, said))
            else:
                self._tally.held += 1

    def _open_all(self, notes: Iterable[tuple[int, str]]) -> list[Vouched]:
        """The heads of this log in stored notes that count. Those that don't are findings."""
        found = []
        for size, note in notes:
            try:
                checkpoint = self._vouchers.open(note.encode(), self._asked.log)
            except Refused as refusal:
                self._add(Finding("checkpoint", size - 1, size - 1, f"the checkpoint of size {size}: {refusal}"))
                continue
            except Revoked:
                self._tally.ignored = size
                continue
            if checkpoint.size != size:
                said = f"the checkpoint of size {size} is one of size {checkpoint.size}"
                self._add(Finding("checkpoint", size - 1, size - 1, said))
                continue
            self._tally.checkpoints += 1
            found.append(Vouched(size, checkpoint.root))
        return found

    def _add_all(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self._add(finding)

    def _add(self, finding: Finding) -> None:
        if len(self._tally.findings) < FINDINGS_MAX and finding not in self._tally.findings:
            self._tally.findings.append(finding)

    def _read_tile(self, level: int, position: int) -> bytes:
        return self._in_tx(store.read_tile, level, position)

    def _read_leaves(self, begin: int, end: int) -> bytes:
        return self._in_tx(pages.read_row, begin, end)

    def _read_events(self, begin: int, end: int) -> pages.Page:
        return self._in_tx(pages.read_events, begin, end)

    def _in_tx(self, ask: Callable[Concatenate[Transaction, uuid.UUID, P], T], *given: P.args, **more: P.kwargs) -> T:
        with self._work.platform(writes=False) as tx:
            return ask(tx, self._log, *given, **more)


def _is_committed(commitment: str | None, value: bytes) -> bool:
    try:
        known = bytes.fromhex(commitment or "")
    except ValueError:
        return False
    return is_committed(known, value[:SALT_BYTES], value[SALT_BYTES:])
