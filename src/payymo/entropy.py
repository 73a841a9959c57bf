"""Randomness. The only module that asks the operating system for it; everything else is handed an `Entropy`.

There is no fallback: when the kernel can't give random bytes, `os.urandom` raises and the request fails closed.
"""

import os
import uuid
from collections.abc import Callable


class Entropy:
    """Unpredictable identifiers and bytes, drawn from `source(size) -> bytes`."""

    def __init__(self, source: Callable[[int], bytes] = os.urandom) -> None:
        self._source = source

    def bytes(self, size: int) -> bytes:
        """`size` unpredictable bytes."""
        return self._source(size)

    def uuid(self) -> uuid.UUID:
        """A random identifier with 122 unpredictable bits (RFC 9562 §5.4)."""
        return uuid.UUID(bytes=self._source(16), version=4)

    def token(self, size: int = 16) -> str:
        """`size` unpredictable bytes, written as hexadecimal digits."""
        return self._source(size).hex()
