"""Password hashes of every scheme that we know: read strictly, verified, and one scheme to make them with.

New hashes are Argon2id with one lane (RFC 9106), by libsodium. Foreign ones come by import and are replaced when their
owner logs in. Reading is parsing: what can't be read, or whose parameters would cost too much memory or time, never
becomes a `PasswordHash`, so that it is refused at import and is a no at login.
"""

import base64
import binascii
import hashlib
import hmac
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import argon2
import bcrypt
from argon2.exceptions import InvalidHashError, VerificationError
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from nacl import pwhash
from nacl.exceptions import CryptoError

MAX_CHARACTERS: Final = 512
"""As many as the column takes."""
BCRYPT_BYTES: Final = 72
"""Of a longer password bcrypt sees no more (Provos and Mazières 1999): that is what the other system compared."""
MAX_BCRYPT_COST: Final = 16
MAX_SCRYPT_BLOCKS: Final = 2**20
"""N·r, in blocks of 128 bytes: 128 MiB, as OWASP's first line takes (N=2^17, r=8)."""
MAX_SCRYPT_WORK: Final = 2**21
"""N·r·p: OWASP's lines end at 1.3 million."""
MAX_ARGON2_KIB: Final = 256 * 1024
MAX_ARGON2_WORK_KIB: Final = 1024 * 1024
"""m·t: as long as one pass over 1 GiB."""
MAX_ARGON2_LANES: Final = 16
MAX_PBKDF2_ITERATIONS: Final = 5_000_000
ARGON2_LINES: Final[Mapping[int, int]] = {1: 47_104, 2: 19_456, 3: 12_288, 4: 9_216, 5: 7_168}
"""OWASP's minimum for Argon2id with one lane: iterations, and the memory in KiB that they need at least."""
MAX_ARGON2_ITERATIONS: Final = 20
UNREAD: Final = "unread"

_NUMBER = "(0|[1-9][0-9]{0,9})"
_PHC = "[A-Za-z0-9+/]+"
_ARGON2 = re.compile(
    rf"\$(argon2(?:id|i|d))(?:\$v=(?:16|19))?\$m={_NUMBER},t={_NUMBER},p={_NUMBER}\$({_PHC})\$({_PHC})"
)
_BCRYPT = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}")
_DJANGO_PBKDF2 = re.compile(rf"pbkdf2_(sha1|sha256)\${_NUMBER}\$([^$]+)\$({_PHC}={{0,2}})")
_DJANGO_SCRYPT = re.compile(rf"scrypt\${_NUMBER}\$([^$]+)\${_NUMBER}\${_NUMBER}\$({_PHC}={{0,2}})")
_WERKZEUG_PBKDF2 = re.compile(rf"pbkdf2:(sha1|sha256|sha512):{_NUMBER}\$([^$]+)\$([0-9a-f]+)")
_WERKZEUG_SCRYPT = re.compile(rf"scrypt:{_NUMBER}:{_NUMBER}:{_NUMBER}\$([^$]+)\$([0-9a-f]+)")
_FIREBASE = re.compile(rf"\$firebase-scrypt\$ln={_NUMBER},r={_NUMBER}\$({_PHC})\$({_PHC})\$({_PHC})\$({_PHC})")


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
    for prefix, read in _SCHEMES.items():
        if stored.startswith(prefix):
            return read(stored)
    raise HashRefused("no scheme that we know (argon2, bcrypt, PBKDF2 or scrypt; see docs/operations/passwords.md)")


def _argon2(stored: str) -> PasswordHash:
    """Libsodium computes Argon2id with one lane in half the time; argon2-cffi everything else."""
    found = _match(_ARGON2, stored)
    memory, passes, lanes = int(found[2]), int(found[3]), int(found[4])
    salt, digest = _phc(found[5]), _phc(found[6])
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


def _bcrypt(stored: str, *, name: str = "bcrypt", of: Callable[[bytes], bytes] = lambda secret: secret) -> PasswordHash:
    """`of`: what the other system did with a password before bcrypt saw it."""
    cost = int(_match(_BCRYPT, stored)[1])
    if not 4 <= cost <= MAX_BCRYPT_COST:
        raise HashRefused(f"bcrypt with a cost outside of 4 to {MAX_BCRYPT_COST}")

    def is_of(secret: bytes) -> bool:
        try:
            return bcrypt.checkpw(of(secret)[:BCRYPT_BYTES], stored.encode())
        except ValueError:  # the last character of a salt or digest has bits that bcrypt does not use
            return False

    return PasswordHash(f"{name},cost={cost}", is_of)


def _django_bcrypt_sha256(stored: str) -> PasswordHash:
    def of(secret: bytes) -> bytes:
        return hashlib.sha256(secret).hexdigest().encode()

    return _bcrypt(stored.removeprefix("bcrypt_sha256$"), name="bcrypt-sha256", of=of)


def _pbkdf2(digest_name: str, iterations: int, salt: bytes, expected: bytes) -> PasswordHash:
    size = hashlib.new(digest_name, usedforsecurity=False).digest_size
    if not 1 <= iterations <= MAX_PBKDF2_ITERATIONS:
        raise HashRefused(f"PBKDF2 with iterations outside of 1 to {MAX_PBKDF2_ITERATIONS}")
    if len(expected) != size:
        raise HashRefused(f"PBKDF2 with {digest_name} and a hash that is not of {size} bytes")

    def is_of(secret: bytes) -> bool:
        return hmac.compare_digest(hashlib.pbkdf2_hmac(digest_name, secret, salt, iterations), expected)

    return PasswordHash(f"pbkdf2-{digest_name},iterations={iterations}", is_of)


def _django_pbkdf2(stored: str) -> PasswordHash:
    found = _match(_DJANGO_PBKDF2, stored)
    return _pbkdf2(found[1], int(found[2]), found[3].encode(), _base64(found[4]))


def _werkzeug_pbkdf2(stored: str) -> PasswordHash:
    found = _match(_WERKZEUG_PBKDF2, stored)
    return _pbkdf2(found[1], int(found[2]), found[3].encode(), _hex(found[4]))


def _scrypt(n: int, r: int, p: int, *, salt: bytes, size: int) -> Callable[[bytes], bytes]:
    """What derives `size` bytes from a password."""
    if n < 2 or n & (n - 1) or r < 1 or p < 1:
        raise HashRefused("scrypt with impossible parameters (RFC 7914 §2)")
    if n.bit_length() > 16 * r:  # OpenSSL computes no other, so that the right password would be a no
        instead = "leave the line out, make this user with payymo user create, and let them reset the password"
        raise HashRefused(f"scrypt with N={n} and r={r}, where N has to be below 2^(16·r) (RFC 7914 §2): {instead}")
    if n * r > MAX_SCRYPT_BLOCKS or n * r * p > MAX_SCRYPT_WORK:
        raise HashRefused(f"scrypt over our bounds: N·r up to {MAX_SCRYPT_BLOCKS}, N·r·p up to {MAX_SCRYPT_WORK}")
    memory = 128 * r * (n + p + 2) + 65_536  # what OpenSSL needs, and something to spare
    return lambda secret: hashlib.scrypt(secret, salt=salt, n=n, r=r, p=p, maxmem=memory, dklen=size)


def _plain_scrypt(n: int, r: int, p: int, *, salt: str, expected: bytes) -> PasswordHash:
    if len(expected) != 64:
        raise HashRefused("scrypt with a hash that is not of 64 bytes")
    derive = _scrypt(n, r, p, salt=salt.encode(), size=64)
    return PasswordHash(f"scrypt,n={n},r={r},p={p}", lambda secret: hmac.compare_digest(derive(secret), expected))


def _werkzeug_scrypt(stored: str) -> PasswordHash:
    found = _match(_WERKZEUG_SCRYPT, stored)
    return _plain_scrypt(int(found[1]), int(found[2]), int(found[3]), salt=found[4], expected=_hex(found[5]))


def _django_scrypt(stored: str) -> PasswordHash:
    found = _match(_DJANGO_SCRYPT, stored)
    return _plain_scrypt(int(found[1]), int(found[3]), int(found[4]), salt=found[2], expected=_base64(found[5]))


def _firebase(stored: str) -> PasswordHash:
    """`$firebase-scrypt$ln=14,r=8$salt$separator$signer key$hash`, of Firebase's own scrypt.

    What scrypt derives is the key under which the project's signer key is enciphered (AES-256 in counter mode, from
    zero); the outcome is the hash. `ln` is Firebase's memory cost, `r` its rounds.
    """
    found = _match(_FIREBASE, stored)
    salt, separator, signer_key, expected = (_phc(part) for part in found.groups()[2:])
    n, r = 2 ** min(int(found[1]), 32), int(found[2])  # more is over any bound
    derive = _scrypt(n, r, 1, salt=salt + separator, size=32)
    if len(expected) != len(signer_key) or len(expected) < 16:
        raise HashRefused("Firebase's scrypt with a hash that is not as long as the signer key")

    def is_of(secret: bytes) -> bool:
        encryptor = Cipher(algorithms.AES256(derive(secret)), modes.CTR(bytes(16))).encryptor()
        return hmac.compare_digest(encryptor.update(signer_key) + encryptor.finalize(), expected)

    return PasswordHash(f"firebase-scrypt,n={n},r={r},p=1", is_of)


def _match(form: re.Pattern[str], stored: str) -> re.Match[str]:
    found = form.fullmatch(stored)
    if found is None:
        raise HashRefused("begins like a hash of a scheme that we know, and is not of its form")
    return found


def _phc(text: str) -> bytes:
    """Base64 without padding (PHC string format)."""
    return _base64(text + "=" * (-len(text) % 4))


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise HashRefused("a part of it is not base64") from None


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise HashRefused("a part of it is not hexadecimal") from None


_SCHEMES: Final[Mapping[str, Callable[[str], PasswordHash]]] = {
    "$argon2": _argon2,
    "argon2$": lambda stored: _argon2(stored.removeprefix("argon2")),  # Django's
    "$2": _bcrypt,
    "bcrypt$": lambda stored: _bcrypt(stored.removeprefix("bcrypt$")),  # Django's
    "bcrypt_sha256$": _django_bcrypt_sha256,
    "pbkdf2_": _django_pbkdf2,
    "pbkdf2:": _werkzeug_pbkdf2,
    "scrypt$": _django_scrypt,
    "scrypt:": _werkzeug_scrypt,
    "$firebase-scrypt$": _firebase,
}
"""What reads a hash, by what the hash begins with."""
