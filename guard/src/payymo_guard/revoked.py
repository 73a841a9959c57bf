"""The identifiers that are revoked, millions of them in little memory: only whether one is in, and until when.

An identifier is kept as 44 bits of a hash that nobody outside of this process can foresee, and 20 bits that say when it
ends: one number of 64 bits in a table of open addressing (Knuth, TAOCP 3, §6.4). Two identifiers that look alike, one
in a thousand million at ten million revoked ones, cost somebody a refused token, and never let one in. What is not in
the table, as is usual, is mostly known by one bit of a filter already (Bloom 1970).

One thread writes; any number read, without a lock. A number is written into a free place by one store, and is never
taken out again. What grows, or drops what has ended, is a new table that takes the place of the old one by one store,
so a reader always has a whole one. There are many small tables, so that none takes long to write anew.
"""

import hashlib
import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

TABLES: Final = 256
MIN_PLACES: Final = 8
FULL: Final = 0.84
"""How much of a table is taken at most."""
ROOMY: Final = 0.7
"""How much of a new table is taken: 9 bytes / 0.7 = 12.9 bytes for each identifier."""
SWEEP: Final = 16
"""Tables that `forget` looks at in one call."""

_UNIT_SECONDS: Final = 64
_TIME_BITS: Final = 20
_LATEST: Final = (1 << _TIME_BITS) - 1
"""In units: two years after the first entry. What ends later, or after a process has run for so long, is kept."""
_TABLE_BITS: Final = TABLES - 1
_FREE: Final = array("q", [0])


class _Table(NamedTuple):
    numbers: "array[int]"
    """0 is a free place."""
    bits: bytearray
    """One byte for each place, one bit for each home: whether somebody is at home there."""
    homes: int
    """How many there are: eight for each place."""


class RevokedIds:
    """A set of identifiers, each with an end (seconds since 1970)."""

    __slots__ = ("_ends", "_fingerprint", "_origin", "_pass_until", "_position", "_tables", "_taken")

    def __init__(self, fingerprint: Callable[[str], int] | None = None) -> None:
        """`fingerprint`: a hash of 64 bits; one that can't be foreseen unless it is given."""
        self._fingerprint = fingerprint or _fingerprint()
        self._tables = [_table(MIN_PLACES) for _ in range(TABLES)]
        self._taken = [0] * TABLES
        self._origin: int | None = None
        self._ends: Counter[int] = Counter()
        self._position = 0
        self._pass_until = 0

    def __contains__(self, identifier: str) -> bool:
        """Whether this is revoked. For any thread."""
        return self.has_any((identifier,))

    def has_any(self, identifiers: Iterable[str]) -> bool:
        """Whether any of these is revoked. For any thread."""
        fingerprint, tables = self._fingerprint, self._tables
        for identifier in identifiers:
            found = fingerprint(identifier)
            numbers, bits, homes = tables[found & _TABLE_BITS]
            home = (found >> _TIME_BITS) % homes
            if bits[home >> 3] >> (home & 7) & 1:
                # Places count from the end, below zero: after the last one, -1, follows the first one, 0, by itself.
                place = (home >> 3) - len(numbers)
                while number := numbers[place]:
                    if not (number ^ found) >> _TIME_BITS:
                        return True
                    place += 1
        return False

    def __len__(self) -> int:
        """How many there are, with those that have ended but were not forgotten yet."""
        return sum(self._taken)

    @property
    def table_bytes(self) -> int:
        """What the tables take."""
        return sum(9 * len(table.numbers) for table in self._tables)

    def add(self, identifier: str, ends_at: int) -> None:
        """Put one in; one that is in stays until the later of both ends."""
        found, end = self._fingerprint(identifier), self._units(ends_at)
        which = found & _TABLE_BITS
        numbers, bits, homes = self._tables[which]
        home = (found >> _TIME_BITS) % homes
        place = (home >> 3) - len(numbers)
        while (number := numbers[place]) and (number ^ found) >> _TIME_BITS:
            place += 1
        if number and number & _LATEST >= end:
            bits[home >> 3] |= 1 << (home & 7)  # a fork may have come between the two stores below
            return
        if not number:
            if self._taken[which] + 1 > FULL * len(numbers):
                self._rewrite(which, forget=self._pass_until, more=1)
                self.add(identifier, ends_at)
                return
            self._taken[which] += 1  # before the store: a fork in between counts one too many, and never one too few
        self._ends[end] += 1
        # First the number and then the bit, by which a reader finds it.
        numbers[place] = found >> _TIME_BITS << _TIME_BITS | end
        bits[home >> 3] |= 1 << (home & 7)

    def forget(self, until: float) -> None:
        """Drop what ended at `until` or before: some of it in each call, once there is enough to be worth it."""
        if not self._ends:
            return
        if self._position == 0:
            self._pass_until = self._units(until) - 1  # the unit that holds `until` may end later
            ended = sum(count for end, count in self._ends.items() if end <= self._pass_until)
            if ended <= len(self) // 8:
                return
        for which in range(self._position, self._position + SWEEP):
            self._rewrite(which, forget=self._pass_until)
        self._position = (self._position + SWEEP) % TABLES
        if self._position == 0:
            for end in [end for end in self._ends if end <= self._pass_until]:
                del self._ends[end]

    def _rewrite(self, which: int, *, forget: int, more: int = 0) -> None:
        """Put a table in the place of another, without what has ended, and with room for what comes."""
        kept = [number for number in self._tables[which].numbers if number and number & _LATEST > forget]
        table = _table(max(MIN_PLACES, int((len(kept) + more) / ROOMY) + 1))
        numbers, bits, homes = table
        for number in kept:  # all of them are different, and nobody reads here yet
            home = (number >> _TIME_BITS) % homes
            place = (home >> 3) - len(numbers)
            while numbers[place]:
                place += 1
            numbers[place] = number
            bits[home >> 3] |= 1 << (home & 7)
        self._tables[which] = table
        self._taken[which] = len(kept)  # after the store: a fork in between counts too many, as above

    def _units(self, seconds: float) -> int:
        """When something ends: the first unit is 1, so that no number is 0, which is a free place."""
        if self._origin is None:
            self._origin = int(seconds) - _UNIT_SECONDS
        return min(_LATEST, max(1, -((self._origin - int(seconds)) // _UNIT_SECONDS)))


def _table(places: int) -> _Table:
    # Repeated, because an array that is made from octets keeps a sixteenth more than it needs, and copies them.
    return _Table(_FREE * places, bytearray(places), 8 * places)


def _fingerprint() -> Callable[[str], int]:
    """Python's own hash (SipHash) has a random key in each process, unless the environment says otherwise.

    Then whoever chooses identifiers could choose some that look alike, and so ours has a key of its own.
    """
    if os.environ.get("PYTHONHASHSEED", "random") in ("", "random"):
        return hash
    key = os.urandom(16)

    def fingerprint(identifier: str) -> int:
        digest = hashlib.blake2b(identifier.encode("utf-8", "surrogatepass"), digest_size=8, key=key).digest()
        return int.from_bytes(digest, signed=True)

    return fingerprint
