"""Password hashes that other systems make: bcrypt, PBKDF2 and scrypt, in the forms of Django, Werkzeug and Firebase."""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from typing import Final

import bcrypt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from payymo.users.stored_hash import NUMBER, PHC, HashRefused, PasswordHash, from_base64, from_hex, from_phc, match

BCRYPT_BYTES: Final = 72
"""Of a longer password bcrypt sees no more (Provos and Mazières 1999): that is what the other system compared."""
MAX_BCRYPT_COST: Final = 16
MAX_SCRYPT_BLOCKS: Final = 2**20
"""N·r, in blocks of 128 bytes: 128 MiB, as OWASP's first line takes (N=2^17, r=8)."""
MAX_SCRYPT_WORK: Final = 2**21
"""N·r·p: OWASP's lines end at 1.3 million."""
MAX_PBKDF2_ITERATIONS: Final = 5_000_000
_BCRYPT = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}")
_DJANGO_PBKDF2 = re.compile(rf"pbkdf2_(sha1|sha256)\${NUMBER}\$([^$]+)\$({PHC}={{0,2}})")
_DJANGO_SCRYPT = re.compile(rf"scrypt\${NUMBER}\$([^$]+)\${NUMBER}\${NUMBER}\$({PHC}={{0,2}})")
_WERKZEUG_PBKDF2 = re.compile(rf"pbkdf2:(sha1|sha256|sha512):{NUMBER}\$([^$]+)\$([0-9a-f]+)")
_WERKZEUG_SCRYPT = re.compile(rf"scrypt:{NUMBER}:{NUMBER}:{NUMBER}\$([^$]+)\$([0-9a-f]+)")
_FIREBASE = re.compile(rf"\$firebase-scrypt\$ln={NUMBER},r={NUMBER}\$({PHC})\$({PHC})\$({PHC})\$({PHC})")


def _bcrypt(stored: str, *, name: str = "bcrypt", of: Callable[[bytes], bytes] = lambda secret: secret) -> PasswordHash:
    """`of`: what the other system did with a password before bcrypt saw it."""
    cost = int(match(_BCRYPT, stored)[1])
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
    found = match(_DJANGO_PBKDF2, stored)
    return _pbkdf2(found[1], int(found[2]), found[3].encode(), from_base64(found[4]))


def _werkzeug_pbkdf2(stored: str) -> PasswordHash:
    found = match(_WERKZEUG_PBKDF2, stored)
    return _pbkdf2(found[1], int(found[2]), found[3].encode(), from_hex(found[4]))


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
    found = match(_WERKZEUG_SCRYPT, stored)
    return _plain_scrypt(int(found[1]), int(found[2]), int(found[3]), salt=found[4], expected=from_hex(found[5]))


def _django_scrypt(stored: str) -> PasswordHash:
    found = match(_DJANGO_SCRYPT, stored)
    return _plain_scrypt(int(found[1]), int(found[3]), int(found[4]), salt=found[2], expected=from_base64(found[5]))


def _firebase(stored: str) -> PasswordHash:
    """`$firebase-scrypt$ln=14,r=8$salt$separator$signer key$hash`, of Firebase's own scrypt.

    What scrypt derives is the key under which the project's signer key is enciphered (AES-256 in counter mode, from
    zero); the outcome is the hash. `ln` is Firebase's memory cost, `r` its rounds.
    """
    found = match(_FIREBASE, stored)
    salt, separator, signer_key, expected = (from_phc(part) for part in found.groups()[2:])
    n, r = 2 ** min(int(found[1]), 32), int(found[2])  # more is over any bound
    derive = _scrypt(n, r, 1, salt=salt + separator, size=32)
    if len(expected) != len(signer_key) or len(expected) < 16:
        raise HashRefused("Firebase's scrypt with a hash that is not as long as the signer key")

    def is_of(secret: bytes) -> bool:
        encryptor = Cipher(algorithms.AES256(derive(secret)), modes.CTR(bytes(16))).encryptor()
        return hmac.compare_digest(encryptor.update(signer_key) + encryptor.finalize(), expected)

    return PasswordHash(f"firebase-scrypt,n={n},r={r},p=1", is_of)


SCHEMES: Final[Mapping[str, Callable[[str], PasswordHash]]] = {
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
