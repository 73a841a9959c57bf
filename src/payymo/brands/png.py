"""Reads a PNG (W3C PNG, third edition) as a stranger's, and keeps of it what makes the picture. Pure.

Every chunk is looked at before any is believed. What is kept is put together anew: texts, EXIF, colour profiles and
frames of an animation are left out, and there is no place where something else could follow. Whoever shows the result
meets a picture of exactly the size that it says.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Final, NoReturn

from payymo.errors import FieldError, InvalidInput
from payymo.phrases import Phrase

MAX_BYTES: Final = 64 * 1024
MAX_SIDE: Final = 1024
CONTENT_TYPE: Final = "image/png"
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_OUTER: Final = 12
"""Octets of a chunk beside its data: length, type, checksum."""
_SAMPLES: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples of a pixel, by type of colour."""
_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_INDEXED: Final = 3
_FILTERS: Final = 5

Chunk = tuple[bytes, bytes]


def clean(data: bytes) -> bytes:
    """The same picture, of critical chunks and transparency alone; never longer. Raises InvalidInput."""
    if len(data) > MAX_BYTES:
        _refuse(Phrase("at most {most} KiB", most=MAX_BYTES // 1024))
    if not data.startswith(_SIGNATURE):
        _refuse(Phrase("a picture in the format PNG"))
    (first, header), *rest = _chunks(data)
    if first != b"IHDR":
        _broken("IHDR is not first")
    octets, depth, kind = _expected(header)
    kept = [chunk for chunk in rest if _is_kept(chunk[0])]
    palette, transparency, image = _take_apart(kept)
    _check_colours(palette, transparency, depth, kind)
    _check_image(image, *octets)
    parts = [(b"IHDR", header), *palette, *transparency, (b"IDAT", image), (b"IEND", b"")]
    return _SIGNATURE + b"".join(_chunk(*part) for part in parts)


def _chunks(data: bytes) -> Iterator[Chunk]:
    """Every chunk, to the end of the data and not beyond it."""
    at, name = len(_SIGNATURE), b""
    while at < len(data):
        if name == b"IEND":
            _refuse(Phrase("a picture, and nothing after its end"))
        if at + _OUTER > len(data):
            _broken("it breaks off")
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + _OUTER + length
        if end > len(data):
            _broken("it breaks off")
        if not name.isalpha():
            _broken("a chunk without a name")
        body = data[at + 8 : end - 4]
        if zlib.crc32(name + body) != struct.unpack_from(">I", data, end - 4)[0]:
            _broken("a checksum is wrong")
        yield name, body
        at = end
    if name != b"IEND":
        _broken("it breaks off")


def _is_kept(name: bytes) -> bool:
    """Whether it makes the picture: PLTE, IDAT, IEND, tRNS. A capital stands for what nobody may ignore (§5.4)."""
    if name in {b"PLTE", b"IDAT", b"IEND", b"tRNS"}:
        return True
    if name[:1].isupper():
        _broken(f"an unknown part {name.decode()}")
    return False


def _expected(header: bytes) -> tuple[tuple[int, int], int, int]:
    """How many octets each row has, and how many rows there are; the depth, and the type of colour."""
    if len(header) != 13:
        _broken("IHDR has another length")
    width, height, depth, kind, compression, filtering, interlace = struct.unpack(">IIBBBBB", header)
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        _refuse(Phrase("1 to {most} pixels wide and high", most=MAX_SIDE))
    if depth not in _DEPTHS.get(kind, ()) or (compression, filtering) != (0, 0):
        _broken("a kind of picture that PNG does not know")
    if interlace:
        _refuse(Phrase("without interlacing: save it anew without that"))
    return (1 + (width * depth * _SAMPLES[kind] + 7) // 8, height), depth, kind


def _take_apart(kept: list[Chunk]) -> tuple[list[Chunk], list[Chunk], bytes]:
    """Palette and transparency, of each one at most, and the picture. Their order is the only one that PNG allows."""
    order = [name for name, _ in kept]
    palette, transparency = ([chunk for chunk in kept if chunk[0] == name] for name in (b"PLTE", b"tRNS"))
    image = [body for name, body in kept if name == b"IDAT"]
    lawful = [name for name, _ in (*palette[:1], *transparency[:1])] + [b"IDAT"] * len(image) + [b"IEND"]
    if order != lawful or kept[-1][1]:
        _broken("its parts are not in order")
    return palette, transparency, b"".join(image)


def _check_colours(palette: list[Chunk], transparency: list[Chunk], depth: int, kind: int) -> None:
    entries, odd = divmod(len(palette[0][1]), 3) if palette else (0, 0)
    most = 2**depth if kind == _INDEXED else 256
    if (palette and (odd or not 1 <= entries <= most or kind in {0, 4})) or (kind == _INDEXED and not palette):
        _broken("its palette is not one")
    if transparency:
        length = len(transparency[0][1])
        if not {0: length == 2, 2: length == 6, _INDEXED: 1 <= length <= entries}.get(kind, False):
            _broken("its transparency is not one")


def _check_image(image: bytes, row: int, rows: int) -> None:
    """It inflates to what the header says, and not to an octet more or less: nobody is made to hold more."""
    inflating = zlib.decompressobj()
    try:
        pixels = inflating.decompress(image, row * rows + 1)
    except zlib.error:
        _broken("its pixels can't be unpacked")
    if len(pixels) != row * rows or not inflating.eof or inflating.unused_data:
        _broken("its pixels are not as many as it says")
    if max(pixels[::row]) >= _FILTERS:
        _broken("its rows are not readable")


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _broken(why: str) -> NoReturn:
    """`why` is for who knows the format, and in no catalogue."""
    _refuse(Phrase("a whole picture: {why}. Save it anew", why=why))


def _refuse(detail: Phrase) -> NoReturn:
    raise InvalidInput([FieldError("/logo", detail)])
