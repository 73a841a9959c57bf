"""PNGs, made chunk by chunk, so that a test can spoil what it likes."""

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
END = (b"IEND", b"")
Chunk = tuple[bytes, bytes]


def chunk(name: bytes, body: bytes) -> bytes:
    """A chunk with its length and checksum."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def header(width: int, height: int, *, depth: int = 8, kind: int = 6, interlace: int = 0) -> Chunk:
    """IHDR."""
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlace)


def pixels(row: int, rows: int) -> Chunk:
    """IDAT of black rows of so many octets."""
    return b"IDAT", zlib.compress(bytes((row + 1) * rows))


def png(*chunks: Chunk) -> bytes:
    """A file of these chunks."""
    return SIGNATURE + b"".join(chunk(*one) for one in chunks)


def picture(width: int = 2, height: int = 2, *more: Chunk) -> bytes:
    """A good one, with more chunks before its pixels."""
    return png(header(width, height), *more, pixels(4 * width, height), END)


def large(size: int) -> bytes:
    """A good one of exactly so many octets: what is too much stands in a text, which nobody keeps."""
    return picture(2, 2, (b"tEXt", bytes(size - len(picture()) - 12)))
