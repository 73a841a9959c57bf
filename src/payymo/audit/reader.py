"""Reads the logs: pages of events with what is personal in them, single events, and the proof that one is in its log.

A place in a list is given out sealed, bound to the log, to the filters and to the order: nobody makes one up, or uses
one elsewhere.
"""

import base64
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Final

from payymo.audit import search, store
from payymo.audit.entries import Entry, Filters, read_entry
from payymo.audit.log import PURPOSE, Seal
from payymo.audit.merkle import TileDamaged, prove_inclusion
from payymo.audit.proofs import InclusionProof
from payymo.audit.refusals import Refused
from payymo.db.work import Transaction, Work
from payymo.errors import FieldError, InvalidInput, NotFound, PayymoError, Unavailable
from payymo.sealed import Sealed

PAGE_MAX: Final = 200
BATCH: Final = 500
_ID_BYTES: Final = 16
_PLACE: Final = ("audit_events", "cursor")
Open = Callable[..., bytes]
"""As `payymo.secrets.envelope.Envelope.open`, which stands on a higher floor."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some events. `next`: what goes on after them; None on the last page."""

    entries: tuple[Entry, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Proven:
    """An event, and the file that proves it (C2SP tlog-proof); None: no checkpoint is as new as the event yet.

    `is_broken`: nor will one prove it. Somebody has changed the stored tree, or the record, which is one line.
    """

    entry: Entry
    proof: str | None
    is_broken: bool = False


class AuditReader:
    """The logs, to be read. `None` as a tenant's id is the platform's own log."""

    def __init__(
        self, work: Work, *, seal: Seal, open_sealed: Open, is_shredded: Callable[[Transaction], bool]
    ) -> None:
        self._work = work
        self._seal = seal
        self._open = open_sealed
        self._is_shredded = is_shredded

    def page(
        self, tenant_id: uuid.UUID | None, filters: Filters, *, cursor: str | None, count: int, newest_first: bool
    ) -> Page:
        """A page of a list. Raises InvalidInput: the cursor is not one of this list; Unavailable."""
        count, bound_to = min(count, PAGE_MAX), filters.fingerprint(newest_first=newest_first)
        with self._reading(tenant_id) as tx:
            beyond = None if cursor is None else self._open_cursor(tx, cursor, bound_to)
            rows = list(search.list_events(tx, filters, beyond=beyond, newest_first=newest_first, count=count + 1))
            entries = self._read(tx, rows[:count])
            more = len(rows) > count
            return Page(entries, self._seal_cursor(tx, entries[-1].position, bound_to) if more else None)

    def batches(
        self,
        tenant_id: uuid.UUID | None,
        filters: Filters,
        *,
        beyond: int | None = None,
        newest_first: bool = False,
        at_most: int | None = None,
    ) -> Iterator[tuple[Entry, ...]]:
        """All events from a position on, in batches, each from a transaction of its own. For operators."""
        left = sys.maxsize if at_most is None else at_most
        while left:
            count = min(BATCH, left)
            with self._reading(tenant_id) as tx:
                rows = list(search.list_events(tx, filters, beyond=beyond, newest_first=newest_first, count=count))
                entries = self._read(tx, rows)
            if entries:
                yield entries
                beyond = entries[-1].position
            if len(entries) < count:
                return
            left -= count

    def find(self, tenant_id: uuid.UUID | None, event_id: uuid.UUID) -> Entry | None:
        """An event, or None: it is not in this log, or not any more."""
        with self._reading(tenant_id) as tx:
            row = search.find_event(tx, event_id)
            return None if row is None else self._read_one(tx, row)

    def get(self, tenant_id: uuid.UUID | None, event_id: uuid.UUID) -> Proven:
        """An event, and its proof under the newest checkpoint. Raises NotFound, Unavailable.

        The proof shows the record alone, and nothing personal: it is made to be handed on.
        """
        with self._reading(tenant_id) as tx:
            row = search.find_event(tx, event_id)
            if row is None:
                raise NotFound("There is no such event in this log.")
            [entry] = self._read(tx, [row])
            signed = search.find_newest_checkpoint(tx)
            if signed is None or signed.size <= row.position:
                return Proven(entry, None)
            try:
                hashes = prove_inclusion(row.position, signed.size, partial(search.read_tile, tx))
                proof = InclusionProof(row.position, hashes, signed.note.encode(), row.record)
            except (TileDamaged, Refused):
                return Proven(entry, None, is_broken=True)
        return Proven(entry, proof.encode().decode())

    def _reading(self, tenant_id: uuid.UUID | None) -> AbstractContextManager[Transaction]:
        return self._work.platform(writes=False) if tenant_id is None else self._work.reading(tenant_id)

    def _read(self, tx: Transaction, rows: Sequence[search.Row]) -> tuple[Entry, ...]:
        return tuple(self._read_one(tx, row) for row in rows)

    def _read_one(self, tx: Transaction, row: search.Row) -> Entry:
        opened, is_lost = None, False
        if row.sealed is not None:
            try:
                opened = self._open(tx, row.sealed, *store.place_of(row.id))
            except Unavailable:
                raise
            except PayymoError:  # its key is destroyed with its tenant; else somebody has been at it
                is_lost = not self._is_shredded(tx)
        return read_entry(row.position, row.id, row.record, opened, is_lost=is_lost)

    def _seal_cursor(self, tx: Transaction, position: int, bound_to: str) -> str:
        sealed = self._seal(tx, PURPOSE, position.to_bytes(8), *_PLACE, bound_to)
        return _encode(sealed.data_key_id.bytes + sealed.data)

    def _open_cursor(self, tx: Transaction, cursor: str, bound_to: str) -> int:
        try:
            data = _decode(cursor)
            sealed = Sealed(data[_ID_BYTES:], uuid.UUID(bytes=data[:_ID_BYTES]))
            return int.from_bytes(self._open(tx, sealed, *_PLACE, bound_to))
        except Unavailable:
            raise
        except (PayymoError, ValueError):
            why = "not a cursor of this list: begin again without one"
            raise InvalidInput([FieldError("/cursor", why)]) from None


def _decode(cursor: str) -> bytes:
    """One spelling only. Raises ValueError."""
    data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    if _encode(data) != cursor:
        raise ValueError("another spelling")
    return data


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
