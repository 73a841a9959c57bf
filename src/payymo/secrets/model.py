"""What is sealed, under what, what a named secret is, and how strangers that keep keys are reached. Pure."""

import re
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from payymo.errors import FieldError, InvalidInput

MAX_SECRET_BYTES: Final = 64 * 1024
MAX_VERSION: Final = 2**31 - 1
_NAME = re.compile(r"(?!.*[._-](v[0-9]*|retired)$)[a-z0-9][a-z0-9._-]{0,63}(?<![._-])")
"""Versions are files `name.v2` or variables `NAME_V2`, and `name.v2.retired` once they are retired: names aren't."""


class Wrapper(Protocol):
    """Seals and opens data keys under a master key."""

    def seal(self, value: bytes, *place: str) -> bytes:
        """The value, encrypted for `place`. Raises Unavailable when who keeps the key doesn't answer."""
        ...

    def open(self, sealed: bytes, *place: str) -> bytes:
        """The value that was sealed for `place`. Raises SealBroken, Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class MasterKey:
    """The key that everything at rest is sealed under, whoever keeps it."""

    id: str
    """Names the key without telling anything of it: the database says by this what is wrapped under it."""
    source: str
    is_development: bool
    wrapper: Wrapper = field(repr=False)
    objections: tuple[str, ...] = ()
    """Why it should not be put to use. One that is in use already is not refused for them: nothing would open."""


@dataclass(frozen=True, slots=True)
class VaultAccess:
    """How HashiCorp Vault is reached."""

    address: str
    token: str = field(repr=False)
    """The token, or `file:/path` of a file where somebody (Vault Agent) keeps one that is valid."""
    namespace: str | None
    ca_file: Path | None
    timeout_seconds: int


@dataclass(frozen=True, slots=True)
class TokenAccess:
    """How keys in a hardware token are reached (PKCS#11): the library of its maker, and the user's PIN."""

    module: Path
    pin: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Access:
    """How those are reached who keep keys for us, as far as there are any."""

    vault: VaultAccess | None = None
    token: TokenAccess | None = None


@dataclass(frozen=True, slots=True)
class DataKey:
    """A key that fields are sealed under, itself wrapped under a master key."""

    id: uuid.UUID
    purpose: str
    generation: int
    wrapped: bytes
    master_key_id: str
    created_at: int


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """The value of one version. Its `repr` hides it."""

    name: str
    version: int
    value: bytes

    def __repr__(self) -> str:
        return f"Secret(name={self.name!r}, version={self.version})"


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
