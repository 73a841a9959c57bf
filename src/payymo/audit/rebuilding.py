"""Computes a tree anew from the events that are there, and judges what differs by the roots that it has to have.

It reads through functions that it is handed, and writes nothing.
"""

from collections.abc import Callable, Sequence
from typing import Final

from payymo.audit.findings import Finding, Kind
from payymo.audit.locating import Span, kind_of, locate
from payymo.audit.merkle import HASH_BYTES, TILE_BYTES, TILE_WIDTH, Edge, Place, Read, TileDamaged, leaf_hashes, root_at
from payymo.audit.pages import Page, State
from payymo.audit.vouching import Vouched

WINDOW: Final = 8192
"""How many events are looked at to say what was done to the first of them."""
_NOTHING: Final = bytes(HASH_BYTES)

Leaves = Callable[[int, int], bytes]
"""The leaf hashes between two positions as the tiles have them, as far as there are any."""
Events = Callable[[int, int], Page]
"""The events between two positions."""


class Rebuilding:
    """A tree that grows by the events of a log, from the first to the last. Ends with the first finding."""

    def __init__(self, state: State, start: int, read: Read, leaves: Leaves, events: Events) -> None:
        self.findings: list[Finding] = []
        self._state = state
        self._first = state.first
        self._read = read
        self._read_leaves = leaves
        self._read_events = events
        self._edge = Edge.at(start, read)
        self._good = start
        self._missing: int | None = None
        self._odd: int | None = None
        self._odd_tiles: list[Place] = []
        self._tiles: dict[Place, bytes] = {}
        self._coming: list[bytes] = []
        self._of_tile: tuple[int, list[bytes | None]] = (-1, [])

    @property
    def size(self) -> int:
        """How many events are in it."""
        return self._edge.size

    def take(self, begin: int, end: int, page: Page, stored: bytes, *, first: int) -> None:
        """The next events, as they are there, and the hashes that the tiles have of them."""
        leaves = leaf_hashes(page.records)
        if page.positions != list(range(begin, end)):
            self._first = first
            known = _split(stored) + [_NOTHING] * (end - begin - len(stored) // HASH_BYTES)
            leaves = self._complete(begin, page.positions, leaves, known)
        joined = b"".join(leaves)
        if joined != stored and self._odd is None:
            at = next(at for at in range(0, len(joined), HASH_BYTES) if joined[at : at + 32] != stored[at : at + 32])
            self._odd = begin + at // HASH_BYTES
        self._coming = leaves

    def hold(self, size: int, root: bytes) -> bool:
        """Whether the tree has this root at this size, which is certain. What differs from it is found, otherwise."""
        self.pass_to(size)
        if self._edge.root() != root:
            self._judge(size, root)
        else:
            self._settle(size)
        return not self.findings

    def pass_to(self, size: int) -> None:
        """Grow by what was taken."""
        count = size - self._edge.size
        coming, self._coming = self._coming[:count], self._coming[count:]
        for place, tile in self._edge.add(coming).items():
            if place[0]:  # those of the leaves were compared with them
                self._tiles[place] = tile
                if self._read(*place)[:TILE_BYTES] != tile:
                    self._odd_tiles.append(place)

    def end(self, size: int, later: Sequence[Vouched]) -> None:
        """There are no more events. `size`: how many there should be; `later`: signed heads of larger sizes."""
        if self.size < size:
            self._judge_end(size, later)
        elif size == 0:
            return
        elif self._state.size < size or self._state.root is None:
            self._settle(size)
            self._add("head", size - 1, size - 1, f"it says that the log ends at {self._state.size}, or says nothing")
        elif self._edge.root() == self._state.root:
            self._settle(size)
            self._compare_edge()
        elif self._good == size or not self._differs():
            self._add("head", min(self._good, size - 1), size - 1, "its root is not that of the events")
        else:
            self._judge(size, self._state.root)

    def _complete(
        self, begin: int, positions: Sequence[int], leaves: Sequence[bytes], known: Sequence[bytes]
    ) -> list[bytes]:
        """A leaf for each position: where no event is, the one that the tiles have."""
        found: dict[int, bytes] = {}
        for position, leaf in zip(positions, leaves, strict=True):
            if position in found:
                self._add("inserted", position, position, "two events at one position")
            found[position] = leaf
        missing = [place for place in range(max(begin, self._first), begin + len(known)) if place not in found]
        if missing and self._missing is None:
            self._missing = missing[0]
        return [found.get(place, leaf) for place, leaf in enumerate(known, begin)]

    def _settle(self, size: int) -> None:
        """What was computed is right up to this size. What differs from it is wrong."""
        missing, odd = self._missing, self._odd
        if missing is not None and missing < size and (odd is None or missing <= odd):
            self._add_missing(missing)
        elif odd is not None and odd < size:
            said = f"the tile 0/{odd // TILE_WIDTH} does not have the hash of this event, which is right"
            self._add("tile", odd, odd, said)
        elif self._odd_tiles:
            (level, position), *_ = self._odd_tiles
            self._add_tile(level, position, size)
        else:
            self._good = size
            self._tiles.clear()

    def _add_missing(self, position: int) -> None:
        self._add("removed", position, position, "there is no event at this position")

    def _add_tile(self, level: int, position: int, size: int) -> None:
        width = TILE_WIDTH ** (level + 1)
        last = min(size, (position + 1) * width) - 1
        self._add("tile", position * width, last, f"the tile {level}/{position} is not that of the events below it")

    def _compare_edge(self) -> None:
        """The tiles that are not full: they may have grown since we began, and begin as they were."""
        for (level, position), hashes in self._edge.partial().items():
            if level and self._read(level, position)[: len(hashes)] != hashes and not self.findings:
                self._add_tile(level, position, self.size)

    def _differs(self) -> bool:
        """Whether anything that is stored in the tree is not what was computed."""
        tiles = self._edge.partial().items()
        return (
            self._missing is not None
            or self._odd is not None
            or bool(self._odd_tiles)
            or any(self._read(*place)[: len(hashes)] != hashes for place, hashes in tiles)
        )

    def _judge(self, size: int, root: bytes) -> None:
        """The events up to this size have not got the root that they should have."""
        span = locate(size, root, self._good, self._read, self._computed)
        if self._missing is not None and self._missing <= span.first:
            self._add_missing(self._missing)
        elif span.is_exact and self._is_vouched(size, root):
            self._add_event(span.first)
        else:
            self._add("rewritten", span.first, span.last, "these events and the hashes above them")

    def _judge_end(self, size: int, later: Sequence[Vouched]) -> None:
        """Events end before the log does."""
        vouched = min(later, key=lambda found: found.size, default=None)
        at, root = (self._state.size, self._state.root) if vouched is None else (vouched.size, vouched.root)
        if vouched is None and self._edge.root() == self._state.root:
            self._settle(self.size)
            self._add("head", self.size, size - 1, "it says that there are events which there never were")
            return
        span = Span(self._good, size - 1)
        if root is not None and self._is_vouched(at, root):
            span = locate(at, root, self._good, self._read, self._computed)
        if self._missing is not None and self._missing <= span.first:
            self._add_missing(self._missing)
        elif span.is_exact and span.first < self.size:
            self._add_event(span.first)
        else:
            said = f"the log ends at {self.size}; those of its events are proved that stand before {span.first}"
            self._add("truncated", span.first, size - 1, said)

    def _is_vouched(self, size: int, root: bytes) -> bool:
        """Whether the stored tree has this root."""
        try:
            return root_at(size, self._read) == root
        except TileDamaged:
            return False

    def _add_event(self, position: int) -> None:
        """What was done to the event at this position, whose right hash the tiles have."""
        end = position + WINDOW
        known = _split(self._read_leaves(position, end))
        there = _leaves_of(self._read_events(position, end))
        found = [there.get(place) for place in range(position, position + max(len(known), 1))]
        kind = kind_of(found, known)
        if kind == "edited" and found[0] is not None and self._is_elsewhere(found[0], known[0]):
            kind = "reordered"
        said: dict[Kind, str] = {
            "edited": "another event stands at this position",
            "removed": "the event of this position is gone, and those behind it were moved up",
            "inserted": "an event that never was stands here, and those behind it were moved",
            "reordered": "an event stands here that belongs to another position",
        }
        self._add(kind, position, position, said[kind])

    def _is_elsewhere(self, leaf: bytes, instead: bytes) -> bool:
        """Whether what stands here belongs where the event stands that belongs here."""
        for begin in range(0, self._state.end, WINDOW):
            leaves = _split(self._read_leaves(begin, begin + WINDOW))
            if not leaves:  # however far away somebody has put another event
                break
            if leaf in leaves:
                place = begin + leaves.index(leaf)
                return leaf_hashes(self._read_events(place, place + 1).records) == [instead]
        return False

    def _computed(self, level: int, index: int) -> bytes | None:
        """The hash that the events which are there come to. Those of leaves are computed once more."""
        position, offset = divmod(index, TILE_WIDTH)
        if level == 0:
            if self._of_tile[0] != position:
                begin = position * TILE_WIDTH
                there = _leaves_of(self._read_events(begin, begin + TILE_WIDTH))
                old = _split(self._read_leaves(begin, max(begin, min(self._first, begin + TILE_WIDTH))))
                places = range(begin, begin + TILE_WIDTH)
                known = dict(zip(places, old, strict=False)) | there
                self._of_tile = position, [known.get(place) for place in places]
            return self._of_tile[1][offset]
        tile = self._tiles.get((level, position)) or self._edge.partial().get((level, position), b"")
        return tile[offset * HASH_BYTES : (offset + 1) * HASH_BYTES] or None

    def _add(self, kind: Kind, first: int, last: int, detail: str) -> None:
        self.findings.append(Finding(kind, first, last, detail))


def _leaves_of(page: Page) -> dict[int, bytes]:
    return dict(zip(page.positions, leaf_hashes(page.records), strict=True))


def _split(leaves: bytes) -> list[bytes]:
    return [leaves[at : at + HASH_BYTES] for at in range(0, len(leaves), HASH_BYTES)]
