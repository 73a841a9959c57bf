"""The Merkle tree: published roots and proofs, and the same answers as the definition, over every size that matters."""

import functools
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payymo.audit.merkle import (
    EMPTY_ROOT,
    HASH_BYTES,
    TILE_BYTES,
    Edge,
    Grown,
    Place,
    TileDamaged,
    append,
    differing,
    leaf_hash,
    node_hash,
    prove_consistency,
    prove_inclusion,
    root_at,
    subtree_root,
)
from payymo.audit.merkle_proofs import verify_consistency, verify_inclusion

RECORDS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
"""Leaves and roots of the reference implementation of Certificate Transparency, with the paths below."""
N1, N2 = ROOTS[0], ROOTS[1]
L2 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
N34 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
N58 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
L5 = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
N78 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
N56 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
L7 = "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f"
INCLUSION = [
    (0, 1, []),
    (0, 8, [L2, N34, N58]),
    (5, 8, [L5, N78, ROOTS[3]]),
    (2, 3, [N2]),
    (1, 5, [N1, N34, L5]),
]
CONSISTENCY = [
    (1, 1, []),
    (1, 8, [L2, N34, N58]),
    (6, 8, [N56, N78, ROOTS[3]]),
    (2, 5, [N34, L5]),
    (6, 7, [N56, L7, ROOTS[3]]),
]
LEAVES = tuple(leaf_hash(number.to_bytes(4)) for number in range(65_600))
BOUNDARIES = [255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537]


def split(size: int) -> int:
    """The largest power of two smaller than `size`, by counting."""
    power = 1
    while power * 2 < size:
        power *= 2
    return power


@functools.cache
def root(begin: int, end: int) -> bytes:
    """MTH, as RFC 9162 §2.1.1 defines it."""
    if end == begin:
        return EMPTY_ROOT
    if end - begin == 1:
        return LEAVES[begin]
    middle = begin + split(end - begin)
    return node_hash(root(begin, middle), root(middle, end))


def path(index: int, begin: int, end: int) -> list[bytes]:
    """PATH, as §2.1.3.1 defines it."""
    if end - begin == 1:
        return []
    middle = begin + split(end - begin)
    if index < middle:
        return [*path(index, begin, middle), root(middle, end)]
    return [*path(index, middle, end), root(begin, middle)]


def subproof(old: int, begin: int, end: int, *, whole: bool) -> list[bytes]:
    """SUBPROOF, as §2.1.4.1 defines it."""
    if old == end:
        return [] if whole else [root(begin, end)]
    middle = begin + split(end - begin)
    if old <= middle:
        return [*subproof(old, begin, middle, whole=whole), root(middle, end)]
    return [*subproof(old, middle, end, whole=False), root(begin, middle)]


class Stored:
    """Tiles as a database keeps them, which counts how often it is asked."""

    def __init__(self, leaves: Sequence[bytes] = ()) -> None:
        self.tiles: dict[Place, bytes] = {}
        self.reads: list[Place] = []
        self.size = 0
        self.grow(leaves)

    def grow(self, leaves: Sequence[bytes]) -> Grown:
        grown = append(self.size, leaves, self.read)
        self.tiles |= grown.tiles
        self.size = grown.size
        return grown

    def read(self, level: int, position: int) -> bytes:
        self.reads.append((level, position))
        return self.tiles.get((level, position), b"")


@pytest.fixture(scope="module")
def stored() -> Stored:
    """A tree of 65,600 leaves."""
    return Stored(LEAVES)


@pytest.fixture
def published() -> Stored:
    return Stored([leaf_hash(bytes.fromhex(record)) for record in RECORDS])


def unhex(hashes: Sequence[str]) -> tuple[bytes, ...]:
    return tuple(map(bytes.fromhex, hashes))


def test_roots_and_proofs_are_the_published_ones(published: Stored) -> None:
    """Others, who read RFC 9162 before us, got the same hashes; and their proofs hold here."""
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert [root_at(size, published.read).hex() for size in range(1, 9)] == ROOTS
    for index, size, proof in INCLUSION:
        assert prove_inclusion(index, size, published.read) == unhex(proof)
        leaf = leaf_hash(bytes.fromhex(RECORDS[index]))
        assert verify_inclusion(leaf, index, size, unhex(proof), bytes.fromhex(ROOTS[size - 1]))
    for old, new, proof in CONSISTENCY:
        assert prove_consistency(old, new, published.read) == unhex(proof)
        assert verify_consistency(old, new, *unhex([ROOTS[old - 1], ROOTS[new - 1]]), unhex(proof))


def test_every_size_has_the_root_that_the_definition_gives(stored: Stored) -> None:
    """Read from tiles that have grown since; also where a tile, or a tile of tiles, begins and ends."""
    for size in [*range(600), *BOUNDARIES]:
        assert root_at(size, stored.read) == root(0, size), size


def places(size: int) -> Iterator[int]:
    """Both ends, and leaves around every border of tiles."""
    yield from {0, size - 1, size // 2, (size - 1) & ~255, ((size - 1) & ~255) - 1} & set(range(size))


def test_inclusion_is_proved_as_defined_and_checked(stored: Stored) -> None:
    """For every leaf of every small tree, and around the borders of tiles in large ones."""
    small = [(index, size) for size in range(1, 67) for index in range(size)]
    large = [(index, size) for size in [*range(67, 600, 7), *BOUNDARIES] for index in places(size)]
    for index, size in small + large:
        proof = prove_inclusion(index, size, stored.read)
        assert list(proof) == path(index, 0, size), (index, size)
        assert verify_inclusion(LEAVES[index], index, size, proof, root(0, size)), (index, size)


def test_consistency_is_proved_as_defined_and_checked(stored: Stored) -> None:
    """For every pair of small sizes, and of sizes around the borders of tiles."""
    small = [(old, new) for new in range(67) for old in range(new + 1)]
    large = [(old, new) for new in [300, 599, *BOUNDARIES] for old in [1, 2, 254, 300, *BOUNDARIES] if old <= new]
    for old, new in small + large:
        proof = prove_consistency(old, new, stored.read)
        assert list(proof) == ([] if old == 0 else subproof(old, 0, new, whole=True)), (old, new)
        assert verify_consistency(old, new, root(0, old), root(0, new), proof), (old, new)


@settings(max_examples=30)
@given(steps=st.lists(st.sampled_from([0, 1, 2, 100, 254, 255, 256, 257, 600, 1024]), max_size=12))
def test_it_does_not_matter_in_which_steps_a_tree_grew(steps: list[int]) -> None:
    """The same tiles, and the same root, as from one batch; what did not change is not written again."""
    grown = Stored()
    for step in steps:
        before = dict(grown.tiles)
        found = grown.grow(LEAVES[grown.size : grown.size + step])
        assert found.root == root(0, grown.size)
        assert all(tile.startswith(before.get(place, b"")) for place, tile in found.tiles.items())
        assert all(tile != before.get(place) for place, tile in found.tiles.items())
    assert grown.tiles == Stored(LEAVES[: sum(steps)]).tiles


def test_tiles_hold_what_the_standard_says(stored: Stored) -> None:
    """C2SP tlog-tiles: hash `i` is the root over 256^level leaves; a tree of 256 has a second level with one hash."""
    for (level, position), tile in stored.tiles.items():
        width = 256**level
        first = position * 256 * width
        hashes = [tile[at : at + HASH_BYTES] for at in range(0, len(tile), HASH_BYTES)]
        assert len(hashes) == min(256, stored.size // width - position * 256)
        for number in {0, len(hashes) // 2, len(hashes) - 1}:
            begin = first + number * width
            assert hashes[number] == root(begin, begin + width)
    assert {place: len(tile) for place, tile in Stored(LEAVES[:256]).tiles.items()} == {(0, 0): 8192, (1, 0): 32}


def test_growing_reads_the_right_edge_only(stored: Stored) -> None:
    """However large the log is: one tile a level; one that is full is not read."""
    for size, edge in [(65_600, {(0, 256), (2, 0)}), (65_535, {(0, 255), (1, 0)}), (65_536, {(2, 0)})]:
        stored.reads.clear()
        append(size, LEAVES[:3], stored.read)
        assert sorted(stored.reads) == sorted(edge)


def test_a_proof_reads_each_tile_once(stored: Stored) -> None:
    """Those above the leaf, and the right edge: at most two a level."""
    stored.reads.clear()
    prove_inclusion(1000, 65_599, stored.read)
    assert sorted(stored.reads) == [(0, 3), (0, 256), (1, 0)]


def test_a_log_of_ten_million_is_proved_with_few_reads() -> None:
    """Three levels: the tiles above the leaf, and the right edge. The proof is 24 hashes long."""
    size, reads = 10_000_000, []

    def read(level: int, position: int) -> bytes:
        reads.append((level, position))
        return bytes(TILE_BYTES)

    assert len(prove_inclusion(1_234_567, size, read)) == 24
    assert len(reads) == len(set(reads)) == 5


def test_missing_and_shortened_tiles_are_named(stored: Stored) -> None:
    """Nothing is built, proved or signed upon a tile that is not what it has to be."""
    cut = Stored()
    cut.tiles = stored.tiles | {(0, 256): stored.tiles[0, 256][: 10 * HASH_BYTES + 5]}
    del cut.tiles[1, 0]
    assert root_at(65_546, cut.read) == root(0, 65_546)
    for call in (
        lambda: root_at(65_547, cut.read),
        lambda: append(65_547, LEAVES[:1], cut.read),
        lambda: prove_consistency(65_536, 65_547, cut.read),
    ):
        with pytest.raises(TileDamaged) as refusal:
            call()
        assert refusal.value.private == "tile 0/256 is missing or too short"
    with pytest.raises(TileDamaged) as refusal:
        prove_consistency(300, 65_546, cut.read)
    assert refusal.value.private == "tile 1/0 is missing or too short"


def test_a_tree_does_not_grow_on_an_edge_that_was_changed(stored: Stored) -> None:
    """Who knows the root finds it out beforehand: a log must never sign what contradicts its last checkpoint."""
    changed = Stored()
    changed.tiles = stored.tiles | {(2, 0): bytes(HASH_BYTES)}
    assert append(65_600, LEAVES[:1], stored.read, root=root(0, 65_600)).size == 65_601
    with pytest.raises(TileDamaged):
        append(65_600, LEAVES[:1], changed.read, root=root(0, 65_600))


def test_a_log_is_hashed_again_from_its_leaves(stored: Stored) -> None:
    """In any portions: every full tile comes out, and the root at each size that is passed."""
    rebuilt, tiles, at = Edge(), {}, 0
    for end in [1, 255, 256, 300, 5000, 65_535, 65_536, 65_600]:
        tiles |= rebuilt.add(LEAVES[at:end])
        at = end
        assert (rebuilt.size, rebuilt.root()) == (end, root(0, end))
    assert tiles | rebuilt.partial() == stored.tiles
    again = Edge.at(300, stored.read)
    assert again.add(LEAVES[300:65_536]).keys() == {place for place in tiles if place != (0, 0)}
    assert again.root() == root(0, 65_536)


def test_damage_is_located(stored: Stored) -> None:
    """To one leaf when tiles are compared; to one tile when each is compared with what stands for it one level up."""
    leaves = [*LEAVES[:700]]
    leaves[300] = leaf_hash(b"edited")
    rebuilt = Edge()
    tiles = rebuilt.add(leaves)
    assert differing(tiles[0, 1], stored.tiles[0, 1]) == (44,)
    assert differing(tiles[0, 0], stored.tiles[0, 0]) == ()
    assert differing(rebuilt.partial()[0, 2], stored.tiles[0, 2]) == tuple(range(700 - 512, 256))
    above = stored.tiles[1, 0]
    assert subtree_root(stored.tiles[0, 1]) == above[HASH_BYTES : 2 * HASH_BYTES] != subtree_root(tiles[0, 1])


@pytest.mark.parametrize(("index", "size"), [(0, 1), (0, 2), (5, 8), (6, 7), (37, 100), (299, 300)])
def test_a_changed_inclusion_proof_does_not_hold(stored: Stored, index: int, size: int) -> None:
    """A bit of any hash, one hash more or less, another place or size: nothing of it passes, and nothing breaks."""
    proof, leaf, head = prove_inclusion(index, size, stored.read), LEAVES[index], root(0, size)
    assert verify_inclusion(leaf, index, size, proof, head)
    for place in range(len(proof)):
        for at in range(HASH_BYTES):
            assert not verify_inclusion(leaf, index, size, with_flipped(proof, place, at), head)
    for other in with_other_length(proof, head):
        assert not verify_inclusion(leaf, index, size, other, head)
    for other in {index - 1, index + 1, index ^ 2, -1, size, 2**70}:
        assert not verify_inclusion(leaf, other, size, proof, head)
    for other in [0, -1, index, size * 2 + 1, 2**70]:
        assert not verify_inclusion(leaf, index, other, proof, head)
    for wrong in [b"", head[:-1], head + b"\0", bytes(HASH_BYTES), EMPTY_ROOT]:
        assert not verify_inclusion(leaf, index, size, proof, wrong)
        assert not verify_inclusion(wrong, index, size, proof, head)


@pytest.mark.parametrize(("old", "new"), [(1, 2), (4, 8), (6, 8), (6, 7), (37, 100), (256, 300), (299, 300)])
def test_a_changed_consistency_proof_does_not_hold(stored: Stored, old: int, new: int) -> None:
    """The same: neither hashes nor roots nor sizes can be others."""
    proof, before, after = prove_consistency(old, new, stored.read), root(0, old), root(0, new)
    assert verify_consistency(old, new, before, after, proof)
    for place in range(len(proof)):
        for at in range(HASH_BYTES):
            assert not verify_consistency(old, new, before, after, with_flipped(proof, place, at))
    for other in with_other_length(proof, before):
        assert not verify_consistency(old, new, before, after, other)
    for other in {old - 1, old + 1, -1, new, 2**70}:
        assert not verify_consistency(other, new, before, after, proof)
    for other in {old, old - 1, new * 2 + 1, 2**70}:
        assert not verify_consistency(old, other, before, after, proof)
    assert not verify_consistency(old, new, after, before, proof)
    for wrong in [b"", before[:-1], bytes(HASH_BYTES)]:
        assert not verify_consistency(old, new, wrong, after, proof)
        assert not verify_consistency(old, new, before, wrong, proof)


def test_a_hash_has_32_bytes_and_a_path_ends_at_the_root() -> None:
    """Bytes that move from a hash to its neighbour make the same parent; a longer path, another tree's."""
    one, other, third = LEAVES[:3]
    parent = node_hash(one, other)
    for left, right in [(one[:-1], one[-1:] + other), (one + other[:1], other[1:])]:
        assert node_hash(left, right) == parent
        assert not verify_inclusion(left, 0, 2, [right], parent)
        assert not verify_consistency(1, 2, left, parent, [right])
    assert not verify_inclusion(other, 0, 1, [one], parent)
    assert not verify_consistency(1, 2, one, node_hash(third, node_hash(one, other)), [other, third])


def test_trees_that_are_always_consistent_need_no_proof_and_take_none() -> None:
    """The empty tree, of which there is one; and a tree with itself."""
    one, other = LEAVES[:2]
    assert verify_consistency(0, 0, EMPTY_ROOT, EMPTY_ROOT, [])
    assert verify_consistency(0, 1, EMPTY_ROOT, one, [])
    assert verify_consistency(1, 1, one, one, [])
    for old, new, before, after, proof in [
        (0, 0, one, one, []),
        (0, 1, one, one, []),
        (0, 1, EMPTY_ROOT, one, [one]),
        (1, 1, one, other, []),
        (1, 1, one, one, [one]),
        (1, 2, one, other, []),
        (2, 1, one, one, []),
    ]:
        assert not verify_consistency(old, new, before, after, proof)


@given(
    sizes=st.tuples(*[st.integers(-2, 2**65)] * 2),
    hashes=st.lists(st.sampled_from([b"", b"x", bytes(32), bytes(33), LEAVES[0], LEAVES[1]]), min_size=2, max_size=70),
)
def test_whatever_comes_is_answered(sizes: tuple[int, int], hashes: list[bytes]) -> None:
    """Checking has no input on which it fails otherwise than by saying no."""
    first, second, *proof = hashes
    assert verify_inclusion(first, *sizes, proof, second) in {True, False}
    assert verify_consistency(*sizes, first, second, proof) in {True, False}


def test_what_makes_no_sense_is_refused(stored: Stored) -> None:
    """A caller's mistake is not answered with a proof of something else."""
    for call in (
        lambda: prove_inclusion(5, 5, stored.read),
        lambda: prove_inclusion(-1, 5, stored.read),
        lambda: prove_consistency(6, 5, stored.read),
        lambda: prove_consistency(-1, 5, stored.read),
        lambda: root_at(-1, stored.read),
        lambda: append(0, [b"short"], stored.read),
    ):
        with pytest.raises(ValueError, match=r"leaf|shrink|size"):
            call()


def with_flipped(proof: Sequence[bytes], place: int, at: int) -> list[bytes]:
    changed = bytearray(proof[place])
    changed[at] ^= 0x10
    return [*proof[:place], bytes(changed), *proof[place + 1 :]]


def with_other_length(proof: Sequence[bytes], extra: bytes) -> list[list[bytes]]:
    longer = [[*proof, extra], [extra, *proof], [*proof, b""], [b"", *proof]]
    return [*longer, list(proof[:-1]), list(proof[1:])] if proof else longer
