"""Password hashes of every scheme that we know: read strictly, verified, and one scheme to make them with.

New hashes are Argon2id with one lane (RFC 9106), by libsodium. Foreign ones come by import and are replaced when their
owner logs in. Reading is parsing: what can't be read, or whose parameters would cost too much memory or time, never
becomes a `PasswordHash`, so that it is refused at import and is a no at login.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import argon2
from argon2.exceptions import InvalidHashError, VerificationError
from nacl import pwhash
from nacl.exceptions import CryptoError

from payymo.users.foreign_hashes import SCHEMES
from payymo.users.stored_hash import NUMBER, PHC, HashRefused, PasswordHash, from_phc, match

MAX_CHARACTERS: Final = 512
"""As many as the column takes."""
MAX_ARGON2_KIB: Final = 256 * 1024
MAX_ARGON2_WORK_KIB: Final = 1024 * 1024
"""m·t: as long as one pass over 1 GiB."""
MAX_ARGON2_LANES: Final = 16
ARGON2_LINES: Final[Mapping[int, int]] = {1: 47_104, 2: 19_456, 3: 12_288, 4: 9_216, 5: 7_168}
"""OWASP's minimum for Argon2id with one lane: iterations, and the memory in KiB that they need at least."""
MAX_ARGON2_ITERATIONS: Final = 20
UNREAD: Final = "unread"

_ARGON2 = re.compile(rf"\$(argon2(?:id|i|d))(?:\$v=(?:16|19))?\$m={NUMBER},t={NUMBER},p={NUMBER}\$({PHC})\$({PHC})")


@dataclass(frozen=True, slots=True)
class Argon2Cost:
    """What a new hash costs: one lane, within OWASP's lines. Raises ValueError below them."""

    memory_kib: int = 19_456
    iterations: int = 2

    def __post_init__(self) -> None:
        least = ARGON2_LINES[min(self.iterations, max(ARGON2_LINES))] if self.iterations >= 1 else MAX_ARGON2_KIB
        if not 1 <= self.iterations <= MAX_ARGON2_ITERATIONS or not least <= self.memory_kib <= MAX_ARGON2_KIB:
            lines = ", ".join(f"{memory} with {iterations}" for iterations, memory in ARGON2_LINES.items())
            raise ValueError(f"below OWASP's lines for Argon2id, or over {MAX_ARGON2_KIB} KiB: at least {lines}")

    @property
    def kind(self) -> str:
        """What kind the hashes of this cost are of."""
        return f"argon2id,m={self.memory_kib},t={self.iterations},p=1"

    def hash(self, password: str) -> str:
        """The PHC string of a new hash of the NFC form. Nothing is cut off."""
        secret = unicodedata.normalize("NFC", password).encode()
        made: bytes = pwhash.argon2id.str(secret, opslimit=self.iterations, memlimit=self.memory_kib * 1024)
        return made.decode()

    @property
    def dummy(self) -> str:
        """The hash of nobody's password. Verifying against it is the work of verifying against a real one."""
        parameters = f"$argon2id$v=19$m={self.memory_kib},t={self.iterations},p=1$"
        return f"{parameters}nEUfx/5abr+h2EABV2bUCg$5YkN3XAiUNCxb8gZQnWmn4Sdv2ZEceAiuh+Itb9qN9Q"


def forms_of(password: str) -> tuple[bytes, ...]:
    """The forms in which a password is tried: NFC, which ours are made of, and what was typed, where that differs.

    Another system may have hashed what was typed. All of them are always tried, so that the time says nothing about
    which one fits. Raises UnicodeEncodeError: half a character.
    """
    return tuple(dict.fromkeys((unicodedata.normalize("NFC", password).encode(), password.encode())))


def verify(password: str, stored: str) -> bool:
    """Whether this is the password behind `stored`. A hash that we don't read is a no."""
    try:
        known = read_hash(stored)
        return any([known.is_of(form) for form in forms_of(password)])  # noqa: C419 - all, always
    except ValueError:  # a hash that is refused, half a character
        return False


def scheme_of(stored: str) -> str:
    """The scheme and its parameters, such as `argon2id,m=19456,t=2,p=1`. Raises HashRefused."""
    return read_hash(stored).scheme


def kind_of(stored: str) -> str:
    """The scheme and its parameters, or one word for all that we don't read: what verifying costs goes by it."""
    try:
        return scheme_of(stored)
    except HashRefused:
        return UNREAD


def read_hash(stored: str) -> PasswordHash:
    """The hash, ready to be compared with. Raises HashRefused, with a reason."""
    if len(stored) > MAX_CHARACTERS:
        raise HashRefused(f"longer than {MAX_CHARACTERS} characters")
    if not stored.isprintable():  # a salt may be any text, but for what no database keeps and nothing encodes
        raise HashRefused("control characters, or octets that are not UTF-8")
    for prefix, read in _SCHEMES.items():
        if stored.startswith(prefix):
            return read(stored)
    raise HashRefused("no scheme that we know (argon2, bcrypt, PBKDF2 or scrypt; see docs/operations/passwords.md)")


def _argon2(stored: str) -> PasswordHash:
    """Libsodium computes Argon2id with one lane in half the time; argon2-cffi everything else."""
    found = match(_ARGON2, stored)
    memory, passes, lanes = int(found[2]), int(found[3]), int(found[4])
    salt, digest = from_phc(found[5]), from_phc(found[6])
    if not 8 * lanes <= memory or not passes >= 1 or not lanes >= 1 or len(salt) < 8 or len(digest) < 12:
        raise HashRefused("Argon2 with impossible parameters (RFC 9106 §3.1)")
    if memory > MAX_ARGON2_KIB or memory * passes > MAX_ARGON2_WORK_KIB or lanes > MAX_ARGON2_LANES:
        bounds = f"m up to {MAX_ARGON2_KIB}, m·t up to {MAX_ARGON2_WORK_KIB}, p up to {MAX_ARGON2_LANES}"
        raise HashRefused(f"Argon2 over our bounds: {bounds}")
    is_sodium = found[1] == "argon2id" and lanes == 1 and "$v=19$" in stored and (len(salt), len(digest)) == (16, 32)
    # With our parameters and another version, salt or length it takes twice as long: a kind of its own.
    form = "" if is_sodium or (found[1], lanes) != ("argon2id", 1) else ",form=foreign"
    scheme = f"{found[1]},m={memory},t={passes},p={lanes}{form}"

    def is_of(secret: bytes) -> bool:
        try:
            if is_sodium:
                return bool(pwhash.verify(stored.encode(), secret))
            return argon2.PasswordHasher().verify(stored, secret)
        except (CryptoError, VerificationError, InvalidHashError, ValueError):
            return False

    return PasswordHash(scheme, is_of)


_SCHEMES: Final[Mapping[str, Callable[[str], PasswordHash]]] = {
    "$argon2": _argon2,
    "argon2$": lambda stored: _argon2(stored.removeprefix("argon2")),  # Django's
    **SCHEMES,
}
"""What reads a hash, by what the hash begins with."""
