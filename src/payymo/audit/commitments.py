"""Commitments to personal data: what the log keeps of it for ever, so that the data itself can be erased.

A record names the commitment; salt and payload lie apart. Whoever is shown both can check them against the record.
Once the salt is erased the commitment says nothing about the payload, however few payloads there may be to guess from.
"""

import hashlib
import hmac
from typing import Final

SALT_BYTES: Final = 32
COMMITMENT_BYTES: Final = 32
_DOMAIN: Final = b"payymo audit personal v1\n"
"""No other hash of this house begins like this: neither a leaf of the tree nor a digest of a secret."""


def commit(salt: bytes, payload: bytes) -> bytes:
    """The commitment to a payload under a salt of 32 random bytes, drawn for this payload alone. Raises ValueError."""
    if len(salt) != SALT_BYTES:
        raise ValueError("the salt has to have 32 bytes")
    return hashlib.sha256(_DOMAIN + salt + payload).digest()


def is_committed(commitment: bytes, salt: bytes, payload: bytes) -> bool:
    """Whether this payload, under this salt, is what was committed to."""
    return len(salt) == SALT_BYTES and hmac.compare_digest(commit(salt, payload), commitment)
