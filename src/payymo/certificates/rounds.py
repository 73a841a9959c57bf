"""How much work a file asks for before it opens: whoever made it chose the number of rounds, and may mean harm.

Looks at DER (X.690) only as far as that needs: the parameters of PBKDF2, PBES1, scrypt and of PKCS#12's integrity check
are all a sequence that begins with a salt (an octet string) and goes on with numbers.
"""

import math
from collections.abc import Iterator
from typing import Final

MAX_ROUNDS: Final = 5_000_000
"""A few seconds. Programs ask for some thousands to a million."""
MAX_SCRYPT_COST: Final = 2**22
"""N · r · p, each of which costs 128 bytes: half a gigabyte. Programs ask for a thirtieth."""
MAX_DEPTH: Final = 24
_INTEGER, _OCTETS, _SEQUENCE = 0x02, 0x04, 0x30
_CONSTRUCTED = 0x20

Element = tuple[int, bytes]


def asks_too_much(data: bytes) -> bool:
    """Whether anything in a DER structure asks for more work than is sensible."""
    return any(_is_too_much(numbers) for numbers in _costs(data, MAX_DEPTH))


def _is_too_much(numbers: list[int]) -> bool:
    return numbers[0] > MAX_ROUNDS or (len(numbers) > 2 and math.prod(numbers) > MAX_SCRYPT_COST)


def _costs(data: bytes, depth: int) -> Iterator[list[int]]:
    """The numbers behind each salt."""
    elements = _elements(data) if depth else None
    for tag, content in elements or ():
        if tag == _SEQUENCE:
            inner = _elements(content) or []
            numbers = [int.from_bytes(value) for kind, value in inner if kind == _INTEGER]
            if numbers and inner[0][0] == _OCTETS:
                yield numbers
            if numbers and inner[-1][0] == _INTEGER and len(inner) == 3 and inner[1][0] == _OCTETS:
                yield numbers  # MacData (RFC 7292 §4): digest, salt, rounds
        if tag & _CONSTRUCTED or tag == _OCTETS:
            yield from _costs(content, depth - 1)


def _elements(data: bytes) -> list[Element] | None:
    """What stands one after the other; None: this is no DER."""
    found: list[Element] = []
    while data:
        if len(data) < 2:
            return None
        tag, length, start = data[0], data[1], 2
        if length > 0x80:
            start += length - 0x80
            length = int.from_bytes(data[2:start])
        if length == 0x80 or start + length > len(data):
            return None
        found.append((tag, data[start : start + length]))
        data = data[start + length :]
    return found
