"""A stranger's PNG: what is kept of it, and everything that is refused."""

import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payymo.brands.png import MAX_BYTES, clean
from payymo.errors import InvalidInput
from tests.support.pictures import END, SIGNATURE, Chunk, chunk, header, large, picture, pixels, png

PALETTE = (b"PLTE", bytes(12))
INDEXED = header(4, 2, depth=2, kind=3)
ROWS = pixels(1, 2)
"""Of that."""
HTML = b"<!doctype html><script>alert(1)</script>"


def inflated(packed: bytes) -> Chunk:
    return b"IDAT", packed


@pytest.mark.parametrize(
    "data",
    [
        picture(),
        picture(1024, 3),
        png(header(9, 1, depth=1, kind=0), (b"tRNS", bytes(2)), pixels(2, 1), END),
        png(header(3, 2, depth=16, kind=2), (b"tRNS", bytes(6)), pixels(18, 2), END),
        png(header(3, 2, depth=8, kind=4), pixels(6, 2), END),
        png(INDEXED, PALETTE, (b"tRNS", bytes(4)), ROWS, END),
    ],
)
def test_a_picture_of_every_kind_stays_as_it_is(data: bytes) -> None:
    """Grey, colours, a palette, with and without transparency, at every depth: bit by bit."""
    assert clean(data) == data


@pytest.mark.parametrize(
    "more",
    [
        (b"tEXt", b"Comment\0" + HTML),
        (b"zTXt", b"x\0\0" + zlib.compress(bytes(10_000))),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + HTML),
        (b"eXIf", b"MM\0*GPS"),
        (b"iCCP", b"x\0\0" + zlib.compress(b"profile")),
        (b"gAMA", bytes(4)),
        (b"tIME", bytes(7)),
        (b"acTL", struct.pack(">II", 2, 0)),
        (b"fcTL", bytes(26)),
        (b"fdAT", bytes(8)),
        (b"prVt", HTML),
    ],
    ids=lambda more: more[0].decode(),
)
def test_what_makes_no_picture_is_left_out(more: Chunk) -> None:
    """Texts, places where a photo was taken, profiles, frames of an animation: before the pixels and behind them."""
    before, behind = picture(2, 2, more), png(header(2, 2), pixels(8, 2), more, END)
    assert clean(before) == clean(behind) == picture()


def test_pixels_in_many_parts_become_one() -> None:
    """Their borders have no meaning, and could hold one."""
    _, packed = pixels(8, 2)
    parts = [(b"IDAT", packed[at : at + 3]) for at in range(0, len(packed), 3)]
    assert clean(png(header(2, 2), (b"IDAT", b""), *parts, END)) == picture()


REFUSED = {
    "nothing": b"",
    "a signature alone": SIGNATURE,
    "a JPEG": b"\xff\xd8\xff\xe0" + bytes(100),
    "a GIF": b"GIF89a" + bytes(100),
    "an SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "a polyglot with HTML behind it": picture() + HTML,
    "a polyglot with HTML before it": HTML + picture(),
    "a chunk behind the end": picture() + chunk(b"tEXt", HTML),
    "two pictures": picture() + picture(),
    "no end": png(header(2, 2), pixels(8, 2)),
    "an end with something in it": png(header(2, 2), pixels(8, 2), (b"IEND", HTML)),
    "no pixels": png(header(2, 2), END),
    "empty pixels": png(header(2, 2), (b"IDAT", b""), END),
    "no header": png(pixels(8, 2), END),
    "a header that is not first": png((b"tEXt", b"x"), header(2, 2), pixels(8, 2), END),
    "two headers": png(header(2, 2), header(2, 2), pixels(8, 2), END),
    "a short header": png((b"IHDR", bytes(12)), pixels(8, 2), END),
    "an unknown part that nobody may ignore": png((b"CgBI", bytes(4)), header(2, 2), pixels(8, 2), END),
    "the same behind the header": picture(2, 2, (b"EVIL", b"")),
    "0 x 0": png(header(0, 0), pixels(0, 1), END),
    "0 wide": png(header(0, 2), pixels(0, 2), END),
    "1025 wide": picture(1025, 1),
    "1025 high": picture(1, 1025),
    "as wide as a number can be": png(header(2**32 - 1, 2**32 - 1), pixels(8, 2), END),
    "interlaced": png(header(2, 2, interlace=1), pixels(8, 2), END),
    "a depth that there is not": png(header(2, 2, depth=3), pixels(8, 2), END),
    "a depth of another kind": png(header(2, 2, depth=4), pixels(8, 2), END),
    "a kind that there is not": png(header(2, 2, kind=5), pixels(8, 2), END),
    "another compression": png((b"IHDR", header(2, 2)[1][:10] + b"\1\0\0"), pixels(8, 2), END),
    "a row too few": png(header(2, 2), pixels(8, 1), END),
    "a row too many": png(header(2, 2), pixels(8, 3), END),
    "an octet too many": png(header(2, 2), inflated(zlib.compress(bytes(19))), END),
    "pixels that break off": png(header(2, 2), inflated(pixels(8, 2)[1][:-5]), END),
    "pixels with a wrong sum": png(header(2, 2), inflated(pixels(8, 2)[1][:-1] + b"\xff"), END),
    "octets behind the pixels": png(header(2, 2), inflated(pixels(8, 2)[1] + HTML), END),
    "no deflate": png(header(2, 2), inflated(HTML), END),
    "a dictionary of somebody's": png(header(2, 2), inflated(b"\x78\xbb" + bytes(20)), END),
    "a filter that there is not": png(header(2, 2), inflated(zlib.compress(bytes(9) + b"\5" + bytes(8))), END),
    "a bomb": png(header(1, 1), inflated(zlib.compress(bytes(50_000_000), 9)), END),
    "no palette": png(INDEXED, ROWS, END),
    "a palette behind the pixels": png(INDEXED, ROWS, PALETTE, END),
    "two palettes": png(INDEXED, PALETTE, PALETTE, ROWS, END),
    "half an entry": png(INDEXED, (b"PLTE", bytes(4)), ROWS, END),
    "an empty palette": png(INDEXED, (b"PLTE", b""), ROWS, END),
    "more entries than the depth has": png(INDEXED, (b"PLTE", bytes(15)), ROWS, END),
    "a palette of greys": png(header(2, 2, kind=0), PALETTE, pixels(2, 2), END),
    "transparency before the palette": png(INDEXED, (b"tRNS", bytes(1)), PALETTE, ROWS, END),
    "more transparency than palette": png(INDEXED, PALETTE, (b"tRNS", bytes(5)), ROWS, END),
    "transparency where there is some": picture(2, 2, (b"tRNS", bytes(2))),
    "pixels apart": png(header(2, 2), inflated(b"\x78"), (b"tRNS", b""), inflated(pixels(8, 2)[1][1:]), END),
    "a chunk that says it is longer": picture()[:33] + struct.pack(">I", 2**31 - 1) + picture()[37:],
    "a chunk that says it is endless": picture()[:33] + b"\xff\xff\xff\xff" + picture()[37:],
    "a name that is none": picture(2, 2, (b"t\0Xt", b"")),
    "too large": large(MAX_BYTES + 1),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_everything_else_is_refused_with_a_reason(data: bytes) -> None:
    """What is broken, what hides something, and what would be more to others than it is to us."""
    with pytest.raises(InvalidInput) as refused:
        clean(data)
    assert [problem.pointer for problem in refused.value.errors] == ["/logo"]


def test_the_largest_is_taken() -> None:
    """64 KiB, and 1024 pixels each way."""
    assert clean(large(MAX_BYTES)) == picture()
    assert clean(picture(1024, 1024)) == picture(1024, 1024)


def test_a_picture_that_breaks_off_anywhere_is_refused() -> None:
    """At every octet."""
    data = png(INDEXED, PALETTE, (b"tRNS", bytes(4)), ROWS, END)
    for length in range(len(data)):
        with pytest.raises(InvalidInput):
            clean(data[:length])


def test_a_picture_with_any_octet_changed_is_refused_or_means_the_same() -> None:
    """Checksums: nothing of it can be another one unnoticed."""
    data = png(INDEXED, PALETTE, (b"tEXt", b"x\0y"), ROWS, END)
    for at in range(len(data)):
        for bit in (1, 0x20, 0x80):
            with pytest.raises(InvalidInput):
                clean(data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :])


NAMES = st.sampled_from([b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"tEXt", b"acTL", b"ABCD"])
BODIES = st.one_of(st.binary(max_size=30), st.sampled_from([header(2, 2)[1], INDEXED[1], ROWS[1], pixels(8, 2)[1]]))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(NAMES, BODIES), max_size=6), st.binary(max_size=4))
def test_whatever_comes_is_a_picture_or_a_refusal(chunks: list[Chunk], tail: bytes) -> None:
    """Never an error of ours; and what was cleaned needs no more cleaning."""
    try:
        found = clean(png(*chunks) + tail)
    except InvalidInput:
        return
    assert clean(found) == found
