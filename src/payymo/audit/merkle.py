"""The Merkle tree of a log (RFC 9162 §2.1, SHA-256): how it grows, and what it proves. Pure.

It is kept as tiles (C2SP tlog-tiles): hash `i` of the tile at `(level, position)` is the root of the perfect subtree
over the leaves from `(256 * position + i) * 256**level`, as many as `256**level`. A tile holds up to 256 hashes, one
after the other. A hash, once written, never changes: a tile only grows at its end, so that the beginning of today's
tile is the tile of any earlier size. Levels between those of tiles are computed.
"""

import functools
import hashlib
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from payymo.errors import PayymoError

HASH_BYTES: Final = 32
TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 1 << TILE_HEIGHT
TILE_BYTES: Final = TILE_WIDTH * HASH_BYTES
EMPTY_ROOT: Final = hashlib.sha256().digest()
_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"
_LEAF_BEGUN: Final = hashlib.sha256(_LEAF)
_NODE_BEGUN: Final = hashlib.sha256(_NODE)
_PAIR_BYTES: Final = 2 * HASH_BYTES
_pairs: Final = struct.Struct(f"{_PAIR_BYTES}s").iter_unpack

Place = tuple[int, int]
"""Level and position of a tile."""
Read = Callable[[int, int], bytes]
"""The tile at a level and a position, as it is stored: empty when there is none, longer than asked for if it grew."""


class TileDamaged(PayymoError):
    """A stored tile is missing, too short, or not what the tree was made of."""


@dataclass(frozen=True, slots=True)
class Grown:
    """A tree after leaves were appended, and the tiles to write for it: new ones, and ones that became longer."""

    size: int
    root: bytes
    tiles: dict[Place, bytes]


class Edge:
    """The right edge of a tree, which is all that growing needs: for each level the tile that is not full.

    Starts empty: fed with all leaves of a log in order, it gives every full tile and the root at each size passed,
    to be compared with what is stored. It holds at most 255 hashes a level, and hashes each node once, however often
    it is asked for its root.
    """

    def __init__(self) -> None:
        self.size = 0
        self._rows: list[bytes] = []
        self._peaks: list[bytes] = []
        """For each height the root of the perfect subtree that waits for its sibling, or nothing."""

    @classmethod
    def at(cls, size: int, read: Read) -> "Edge":
        """The edge of a stored tree as it was at `size`. Raises ValueError, and TileDamaged when tiles are missing."""
        if size < 0:
            raise ValueError("a tree has no negative size")
        edge = cls()
        edge.size = size
        while (count := size >> TILE_HEIGHT * len(edge._rows)) > 0:
            edge._rows.append(_read_hashes(read, len(edge._rows), count - count % TILE_WIDTH, count))
        edge._peaks = [peak for row in edge._rows for peak in _peaks(row)]
        return edge

    def add(self, leaves: Sequence[bytes]) -> dict[Place, bytes]:
        """Append leaf hashes; the tiles that became full by it, lower levels first. Quick for thousands at once."""
        if not set(map(len, leaves)) <= {HASH_BYTES}:
            raise ValueError("a leaf hash has 32 bytes")
        full: dict[Place, bytes] = {}
        coming, height = b"".join(leaves), 0
        while coming:
            if height == len(self._peaks):
                self._peaks.append(b"")
            if height % TILE_HEIGHT == 0:
                full |= self._keep(height // TILE_HEIGHT, coming)
            waiting = self._peaks[height] + coming
            end = len(waiting) - len(waiting) % _PAIR_BYTES
            self._peaks[height] = waiting[end:]
            coming, height = _parents(waiting[:end]), height + 1
        self.size += len(leaves)
        return full

    def _keep(self, level: int, coming: bytes) -> dict[Place, bytes]:
        """Put hashes into the tile of a level that is not full; answers those that became full."""
        if level == len(self._rows):
            self._rows.append(b"")
        row = self._rows[level] + coming
        end = len(row) - len(row) % TILE_BYTES
        self._rows[level] = row[end:]
        first = (self.size >> TILE_HEIGHT * level) // TILE_WIDTH
        tiles = [row[at : at + TILE_BYTES] for at in range(0, end, TILE_BYTES)]
        return {(level, position): tile for position, tile in enumerate(tiles, first)}

    def partial(self) -> dict[Place, bytes]:
        """The tiles that are not full."""
        counts = [self.size >> TILE_HEIGHT * level for level in range(len(self._rows))]
        return {(level, counts[level] // TILE_WIDTH): row for level, row in enumerate(self._rows) if row}

    def root(self) -> bytes:
        """The root of the tree at the present size. Costs next to nothing."""
        return _join(filter(None, self._peaks))


def leaf_hash(record: bytes) -> bytes:
    """The hash of a leaf (RFC 9162 §2.1.1)."""
    return hashlib.sha256(_LEAF + record).digest()


def leaf_hashes(records: Iterable[bytes]) -> list[bytes]:
    """The hashes of many leaves, in less time."""
    return _hash_each(_LEAF_BEGUN, records)


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node over its two children (RFC 9162 §2.1.1)."""
    return hashlib.sha256(_NODE + left + right).digest()


def subtree_root(hashes: bytes) -> bytes:
    """The root over a full tile, or over any other power of two of hashes: what stands for it one level above."""
    while len(hashes) > HASH_BYTES:
        hashes = _parents(hashes)
    return hashes


def differing(tile: bytes, other: bytes) -> tuple[int, ...]:
    """Which hashes of two tiles are not the same; those that only one of them has count, too."""
    places = range(0, max(len(tile), len(other)), HASH_BYTES)
    return tuple(at // HASH_BYTES for at in places if tile[at : at + HASH_BYTES] != other[at : at + HASH_BYTES])


def append(size: int, leaves: Sequence[bytes], read: Read, *, root: bytes | None = None) -> Grown:
    """A tree of `size` with these leaf hashes behind it. Reads the right edge only.

    With the `root` that the tree is known to have, a damaged edge is found before anything is built, or signed, upon
    it. Raises TileDamaged.
    """
    edge = Edge.at(size, read)
    if root is not None and edge.root() != root:
        raise TileDamaged(private=f"the right edge at {size} is not that of the tree with this root")
    full = edge.add(leaves)
    longer = {
        (level, position): tile
        for (level, position), tile in edge.partial().items()
        if size >> TILE_HEIGHT * level != edge.size >> TILE_HEIGHT * level
    }
    return Grown(edge.size, edge.root(), full | longer)


def root_at(size: int, read: Read) -> bytes:
    """The root of a stored tree as it was at `size`. Raises TileDamaged."""
    return Edge.at(size, read).root()


def prove_inclusion(index: int, size: int, read: Read) -> tuple[bytes, ...]:
    """The inclusion proof of a leaf in the tree of `size` (RFC 9162 §2.1.3.1), the leaf's sibling first.

    Reads each tile once: one a level above the leaf, and the right edge. Raises ValueError, TileDamaged.
    """
    if not 0 <= index < size:
        raise ValueError("there is no such leaf in a tree of this size")
    begin, end = 0, size
    siblings: list[tuple[int, int]] = []
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            siblings.append((middle, end))
            end = middle
        else:
            siblings.append((begin, middle))
            begin = middle
    return _roots(reversed(siblings), read)


def prove_consistency(old: int, new: int, read: Read) -> tuple[bytes, ...]:
    """The proof that the tree of `new` begins with that of `old` (RFC 9162 §2.1.4.1). Nothing of nothing, or of itself.

    Raises ValueError, TileDamaged.
    """
    if not 0 <= old <= new:
        raise ValueError("a tree does not shrink")
    if old == 0:
        return ()
    begin, end = 0, new
    parts: list[tuple[int, int]] = []
    while end != old:
        middle = begin + _split(end - begin)
        if old <= middle:
            parts.append((middle, end))
            end = middle
        else:
            parts.append((begin, middle))
            begin = middle
    if begin:
        parts.append((begin, end))
    return _roots(reversed(parts), read)


def _split(size: int) -> int:
    """The largest power of two below `size`: where RFC 9162 §2.1.1 cuts a tree in two."""
    return 1 << (size - 1).bit_length() - 1


def _parents(hashes: bytes) -> bytes:
    """One level up, over an even number of hashes. All the time of a growing tree is spent here."""
    return b"".join(_hash_each(_NODE_BEGUN, [pair for (pair,) in _pairs(hashes)]))


def _hash_each(begun: "hashlib._Hash", messages: Iterable[bytes]) -> list[bytes]:
    """The hash of each message behind what is hashed already. A copy of that costs less than to begin anew."""
    begin, found = begun.copy, []
    for message in messages:
        hashing = begin()
        hashing.update(message)
        found.append(hashing.digest())
    return found


@functools.lru_cache(64)
def _peaks(row: bytes) -> tuple[bytes, ...]:
    """The roots of the perfect subtrees that a row of hashes falls into: one for each height of a tile, or nothing.

    Remembered, because rows above the lowest change once in 256 leaves.
    """
    found: list[bytes] = []
    for _ in range(TILE_HEIGHT):
        end = len(row) - len(row) % _PAIR_BYTES
        found.append(row[end:])
        row = _parents(row[:end])
    return tuple(found)


def _join(peaks: Iterable[bytes]) -> bytes:
    """The root over perfect subtrees, the right-most first."""
    ordered = list(peaks)
    return functools.reduce(lambda right, left: node_hash(left, right), ordered) if ordered else EMPTY_ROOT


def _roots(ranges: Iterable[tuple[int, int]], read: Read) -> tuple[bytes, ...]:
    """The roots over ranges of leaves, each as RFC 9162 cuts them; no tile is read twice."""
    once = functools.cache(read)
    return tuple(_join(_subtrees(begin, end, once)) for begin, end in ranges)


def _subtrees(begin: int, end: int, read: Read) -> Iterable[bytes]:
    """The perfect subtrees of a range, the right-most first: one for each bit of its width."""
    width = end - begin
    for height in range(width.bit_length()):
        if width >> height & 1:
            level, above = divmod(height, TILE_HEIGHT)
            last = end >> TILE_HEIGHT * level
            yield subtree_root(_read_hashes(read, level, last - (1 << above), last))
            end -= 1 << height


def _read_hashes(read: Read, level: int, begin: int, end: int) -> bytes:
    """The hashes of a level from `begin` up to `end`, which lie in one tile."""
    if begin == end:
        return b""
    position, offset = divmod(begin, TILE_WIDTH)
    found = read(level, position)[offset * HASH_BYTES : (offset + end - begin) * HASH_BYTES]
    if len(found) != (end - begin) * HASH_BYTES:
        raise TileDamaged(private=f"tile {level}/{position} is missing or too short")
    return found
