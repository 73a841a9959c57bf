"""What is sealed, under what, and what a named secret is. Pure."""

import re
import uuid
from dataclasses import dataclass
from typing import Final

from payymo.errors import FieldError, InvalidInput

MAX_SECRET_BYTES: Final = 64 * 1024
MAX_VERSION: Final = 2**31 - 1
_NAME = re.compile(r"(?!.*[._-](v[0-9]*|retired)$)[a-z0-9][a-z0-9._-]{0,63}(?<![._-])")
"""Versions are files `name.v2` or variables `NAME_V2`, and `name.v2.retired` once they are retired: names aren't."""


@dataclass(frozen=True, slots=True)
class DataKey:
    """A key that fields are sealed under, itself wrapped under a master key."""

    id: uuid.UUID
    purpose: str
    generation: int
    wrapped: bytes
    master_key_id: str
    created_at: int


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed value, and the data key that opens it."""

    data: bytes
    data_key_id: uuid.UUID


@dataclass(frozen=True, slots=True)
class SealedRow:
    """A row with a sealed value: what finds it, and the place that the value is bound to."""

    key: tuple[str | int, ...]
    place: tuple[str, ...]
    sealed: Sealed


@dataclass(frozen=True, slots=True)
class SecretVersion:
    """One version of a named secret, without its value. Times in seconds since 1970; None where nobody knows."""

    name: str
    version: int
    created_at: int | None
    retired_at: int | None = None


def is_secret_name(name: str) -> bool:
    """Whether it can be a name everywhere: in a row, as a file, as a variable."""
    return _NAME.fullmatch(name) is not None


def require_secret_name(name: str) -> str:
    """The name, if it can be one. Raises InvalidInput."""
    if not is_secret_name(name):
        rule = "1 to 64 small letters, digits, and dots, dashes and underscores between them; not like a version"
        raise InvalidInput([FieldError("/name", rule)])
    return name


def require_secret_value(value: bytes) -> bytes:
    """The value, if it can be kept. Raises InvalidInput, never showing it."""
    if not 0 < len(value) <= MAX_SECRET_BYTES:
        raise InvalidInput([FieldError("/value", f"1 to {MAX_SECRET_BYTES} bytes")])
    return value
