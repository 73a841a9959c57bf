"""Where a log stops being what was signed, and what was done to it. Pure.

What a root vouches for is followed downwards: from the root to the right edge of the tree that it was made of, and
from each hash to the tile below it. Where a stored tile is what the hash above it says, its own hashes are as good as
signed, and the first that the events don't have leads on. Where it is not, somebody has rewritten the tiles, too: then
all that is known is which events stand below that hash.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from payymo.audit.findings import Kind
from payymo.audit.merkle import (
    HASH_BYTES,
    TILE_BYTES,
    TILE_HEIGHT,
    TILE_WIDTH,
    Read,
    TileDamaged,
    root_at,
    subtree_root,
)

Computed = Callable[[int, int], bytes | None]
"""The hash at a level and an index, as the events that are there make it; None: they don't."""


@dataclass(frozen=True, slots=True)
class Span:
    """The first bad entry: between these two positions. The same ones: exactly there."""

    first: int
    last: int

    @property
    def is_exact(self) -> bool:
        """Whether it is one position, and what stood there is known."""
        return self.first == self.last


def locate(size: int, root: bytes, good: int, read: Read, computed: Computed) -> Span:
    """The first place from `good` on where the events are not those of the tree with this root. They are not all."""
    everything = Span(good, size - 1)
    try:
        if root_at(size, read) != root:
            return everything
        return _Descent(everything, read, computed).from_edge(size) or everything
    except TileDamaged:
        return everything


@dataclass(frozen=True, slots=True)
class _Descent:
    """From hashes that can be relied on to the first place below them that is not right."""

    within: Span
    read: Read
    computed: Computed

    def from_edge(self, size: int) -> Span | None:
        """Below the right edge of the tree, the left-most subtree first."""
        for level in reversed(range((size.bit_length() - 1) // TILE_HEIGHT + 1)):
            count = size >> TILE_HEIGHT * level
            begin = count - count % TILE_WIDTH
            hashes = self.read(level, begin // TILE_WIDTH)[: (count - begin) * HASH_BYTES]
            if (found := self._below(level, begin, hashes)) is not None:
                return found
        return None

    def _below(self, level: int, begin: int, hashes: bytes) -> Span | None:
        """Below these hashes of one tile; `begin` is the index of the first."""
        within = self.within
        for index, at in enumerate(range(0, len(hashes), HASH_BYTES), begin):
            first, last = index << TILE_HEIGHT * level, ((index + 1) << TILE_HEIGHT * level) - 1
            known = hashes[at : at + HASH_BYTES]
            if last < within.first or self.computed(level, index) == known:
                continue
            if level == 0:
                return Span(first, first)
            tile = self.read(level - 1, index)[:TILE_BYTES]
            found = None
            if len(tile) == TILE_BYTES and subtree_root(tile) == known:
                found = self._below(level - 1, index * TILE_WIDTH, tile)
            return found or Span(max(first, within.first), min(last, within.last))
        return None


def kind_of(found: Sequence[bytes | None], known: Sequence[bytes]) -> Kind:
    """What was done to events of which the first differs: the leaves that are there, and those that should be.

    Where the first one is not there at all, an event was removed. Otherwise it depends on whether the leaf that is
    there is one too many, and on whether the one that should be is missing.
    """
    if not found or found[0] is None:
        return "removed"
    there, right = Counter(found), Counter(known)
    is_surplus = there[found[0]] > right[found[0]]
    is_missing = right[known[0]] > there[known[0]]
    if is_surplus and is_missing:
        return "edited"
    if is_surplus:
        return "inserted"
    return "removed" if is_missing else "reordered"
