"""A hash that was read, and how its text is taken apart: what the readers of all schemes share. Pure."""

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

NUMBER: Final = "(0|[1-9][0-9]{0,9})"
PHC: Final = "[A-Za-z0-9+/]+"


class HashRefused(ValueError):
    """A hash that we don't verify. The text says why, without the hash, and is for whoever imports it."""


@dataclass(frozen=True, slots=True, repr=False)
class PasswordHash:
    """A hash that was read. `scheme`: name and parameters, such as `bcrypt,cost=12`: all that its cost depends on."""

    scheme: str
    is_of: Callable[[bytes], bool]
    """Whether it is the hash of this password. Takes as long for a wrong one as for the right one."""

    def __repr__(self) -> str:
        return f"PasswordHash({self.scheme})"


def match(form: re.Pattern[str], stored: str) -> re.Match[str]:
    """The whole text in a scheme's form. Raises HashRefused."""
    found = form.fullmatch(stored)
    if found is None:
        raise HashRefused("begins like a hash of a scheme that we know, and is not of its form")
    return found


def from_phc(text: str) -> bytes:
    """The octets of base64 without padding (PHC string format). Raises HashRefused."""
    return from_base64(text + "=" * (-len(text) % 4))


def from_base64(text: str) -> bytes:
    """The octets of base64 with its padding. Raises HashRefused."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise HashRefused("a part of it is not base64") from None


def from_hex(text: str) -> bytes:
    """The octets of hexadecimal digits. Raises HashRefused."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise HashRefused("a part of it is not hexadecimal") from None
