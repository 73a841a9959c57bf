"""Opaque secrets that are handed out once, and of which only a digest is kept: their shape, the digest, the comparison.

A secret is 256 random bits, so that one round of SHA-256 is enough: there is nothing to guess that a slow hash would
make slower. The identifier in front of it finds the row, so that nothing is ever searched by secret.
"""

import base64
import hashlib
import hmac
import re
import uuid
from dataclasses import dataclass, field
from typing import Final

from payymo.entropy import Entropy

PREFIX: Final = "payymo_"
"""What scanners for leaked secrets look for, and what tells such a text from a JWT."""
_SECRET_BYTES = 32
_SHAPE = re.compile(rf"{PREFIX}([0-9a-f]{{32}})_([A-Za-z0-9_-]{{43}})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Opaque:
    """An identifier, which may be known, and a secret, which is its owner's."""

    id: uuid.UUID
    secret: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """What its owner is given, once."""
        return f"{PREFIX}{self.id.hex}_{_encode(self.secret)}"


def make(entropy: Entropy) -> Opaque:
    """A new one."""
    return Opaque(entropy.uuid(), entropy.bytes(_SECRET_BYTES))


def read(text: str) -> Opaque | None:
    """What a text stands for; None when it has another shape. Each has one spelling."""
    found = _SHAPE.fullmatch(text)
    if found is None:
        return None
    secret = base64.urlsafe_b64decode(found[2] + "=")
    if _encode(secret) != found[2]:
        return None  # the last character has two bits that stand for nothing
    return Opaque(uuid.UUID(found[1]), secret)


def digest(secret: bytes) -> bytes:
    """What is kept of a secret."""
    return hashlib.sha256(secret).digest()


def matches(secret: bytes, kept: bytes) -> bool:
    """Whether a digest was made from this secret; in the same time, whatever the answer."""
    return hmac.compare_digest(digest(secret), kept)


def _encode(secret: bytes) -> str:
    return base64.urlsafe_b64encode(secret).rstrip(b"=").decode()
