"""Authenticated encryption at rest: AES-256-GCM (NIST SP 800-38D), every ciphertext bound to the place it belongs to.

A sealed value is `version (1 byte) | nonce (12 bytes) | ciphertext and tag`. The place (table, row, column) is
associated data, so a ciphertext that is moved to another row, or changed by one bit, does not open.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from payymo.entropy import Entropy
from payymo.errors import PayymoError

VERSION = b"\x01"
NONCE_BYTES = 12


class SealBroken(PayymoError):
    """A sealed value does not open: another master key, another place, or a changed bit. Which one can't be told."""

    code = "internal_error"


class TooOld(SealBroken):
    """Sealed under a version of the master key that must not be used any more. The private reason has the remedy."""


class Sealer:
    """Seals and opens values under one 256-bit key."""

    def __init__(self, key: bytes, entropy: Entropy) -> None:
        if len(key) != 32:
            raise ValueError("the key has to have 32 bytes")
        self._cipher = AESGCM(key)
        self._entropy = entropy

    def seal(self, value: bytes, *place: str) -> bytes:
        """The value, encrypted for `place` (table, row, column)."""
        nonce = self._entropy.bytes(NONCE_BYTES)
        return VERSION + nonce + self._cipher.encrypt(nonce, value, bind(place))

    def open(self, sealed: bytes, *place: str) -> bytes:
        """The value that was sealed for `place`. Raises SealBroken."""
        nonce, ciphertext = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        if sealed[:1] != VERSION or len(ciphertext) < 16:
            raise SealBroken(private=f"{'/'.join(place)}: not a sealed value")
        try:
            return self._cipher.decrypt(nonce, ciphertext, bind(place))
        except InvalidTag:
            raise SealBroken(private=f"{'/'.join(place)}: does not open") from None


def bind(place: tuple[str, ...]) -> bytes:
    """The place without ambiguity: ('a', 'bc') and ('ab', 'c') are not the same."""
    parts = [part.encode() for part in place]
    return VERSION + b"".join([len(part).to_bytes(4) + part for part in parts])
