"""How much work a file asks for before it opens: whoever made it chose the number of rounds, and may mean harm.

Looks at DER (X.690) only as far as that needs: the parameters of PBKDF2, PBES1, scrypt and of PKCS#12's integrity check
are all a sequence that begins with a salt (an octet string) and goes on with numbers. What is looser than DER inside is
followed, too, because the libraries that open it follow it.
"""

import math
from collections.abc import Iterator
from typing import Final

MAX_ROUNDS: Final = 5_000_000
"""All together: a few seconds. Programs ask for some thousands to a million, two or three times."""
MAX_SCRYPT_COST: Final = 2**22
"""N · r · p, each of which costs 128 bytes: half a gigabyte. Programs ask for a thirtieth."""
MAX_DEPTH: Final = 24
_INTEGER, _OCTETS, _SEQUENCE = 0x02, 0x04, 0x30
_CONSTRUCTED = 0x20
_IN_PIECES = _OCTETS | _CONSTRUCTED
_OPEN_END: Final = 0x80
_TOO_DEEP: Final = [MAX_ROUNDS + 1]

Element = tuple[int, memoryview]


def asks_too_much(data: bytes) -> bool:
    """Whether all that a DER structure asks for is more work than is sensible."""
    rounds = memory = 0
    for numbers in _costs(memoryview(data), MAX_DEPTH):
        rounds += numbers[0]
        memory += math.prod(numbers) if len(numbers) > 2 else 0
        if rounds > MAX_ROUNDS or memory > MAX_SCRYPT_COST:
            return True
    return False


def is_whole(data: bytes) -> bool:
    """Whether it is one DER sequence, and nothing behind it."""
    return data[:1] == bytes([_SEQUENCE]) and data[1:2] != bytes([_OPEN_END]) and _length(memoryview(data)) == len(data)


def _costs(data: memoryview, depth: int) -> Iterator[list[int]]:
    """The numbers behind each salt."""
    for tag, content in _elements(data):
        if not tag & _CONSTRUCTED and tag != _OCTETS:
            continue
        if not depth:
            yield _TOO_DEEP
            return
        inner = list(_elements(content))
        if tag == _SEQUENCE:
            yield from _numbers(inner)
        if tag != _IN_PIECES:
            yield from _costs(content, depth - 1)
        elif all(kind == _OCTETS for kind, _ in inner):
            yield from _costs(memoryview(b"".join(piece for _, piece in inner)), depth - 1)
        else:
            yield _TOO_DEEP


def _numbers(inner: list[Element]) -> Iterator[list[int]]:
    numbers = [int.from_bytes(value) for kind, value in inner if kind == _INTEGER]
    if numbers and inner[0][0] & ~_CONSTRUCTED == _OCTETS:
        yield numbers
    elif len(inner) == 3 and inner[1][0] & ~_CONSTRUCTED == _OCTETS and inner[2][0] == _INTEGER:
        yield numbers  # MacData (RFC 7292 §4): digest, salt, rounds


def _elements(data: memoryview) -> Iterator[Element]:
    """What stands one after the other, as far as it can be told."""
    while len(data) > 1:
        end = _length(data)
        if end is None:
            return
        start = 2 if data[1] <= _OPEN_END else 2 + data[1] - _OPEN_END
        yield data[0], data[start:end]
        data = data[end:]


def _length(data: memoryview) -> int | None:
    """How many bytes the first element has with its head; None: more than there are. An open end is the end of all."""
    if len(data) < 2:
        return None
    length, start = data[1], 2
    if length == _OPEN_END:
        return len(data)
    if length > _OPEN_END:
        start += length - _OPEN_END
        length = int.from_bytes(data[2:start])
    return start + length if start + length <= len(data) else None
