"""Password hashes of other systems: known answers, strict reading, bounds."""

import base64
import hashlib
import json
import subprocess
import sys
import unicodedata

import argon2
import bcrypt
import pytest

from payymo.users import hashes
from payymo.users.hashes import UNREAD, Argon2Cost, kind_of, read_hash, scheme_of, verify
from payymo.users.passwords import Passwords
from payymo.users.stored_hash import HashRefused
from tests.support.house import PASSWORD

OURS = Argon2Cost().dummy
SIGNER_KEY = "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA"
FIREBASE = (
    f"$firebase-scrypt$ln=14,r=8$42xEC+ixf3L2lw$Bw${SIGNER_KEY}"
    "$lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ"
)
SCRYPT = (
    "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
    "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887"
)
BCRYPT_72 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
KNOWN = [
    # the reference implementation's own tests, version 19 and 16
    (
        "password",
        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "argon2id,m=65536,t=2,p=1,form=foreign",
    ),
    (
        "password",
        "$argon2i$v=19$m=65536,t=2,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b+dWRWJTmaaJObG",
        "argon2i,m=65536,t=2,p=4",
    ),
    (
        "password",
        "$argon2i$m=65536,t=2,p=1$c29tZXNhbHQ$9sTbSlTio3Biev89thdrlKKiCaYsjjYVJxGAL3swxpQ",
        "argon2i,m=65536,t=2,p=1",
    ),
    # crypt_blowfish of Openwall
    ("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "bcrypt,cost=5"),
    (
        f"{BCRYPT_72}chars after 72 are ignored",
        "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui",
        "bcrypt,cost=5",
    ),
    # RFC 6070; RFC 7914 §11 (the first 32 bytes of it) and §12
    (
        "password",
        "pbkdf2:sha1:4096$salt$4b007901b765489abead49d926f721d065a429c1",
        "pbkdf2-sha1,iterations=4096",
    ),
    (
        "passwd",
        "pbkdf2:sha256:1$salt$55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc",
        "pbkdf2-sha256,iterations=1",
    ),
    ("pleaseletmein", f"scrypt:16384:8:1$SodiumChloride${SCRYPT}", "scrypt,n=16384,r=8,p=1"),
    # the README of firebase/scrypt
    ("user1password", FIREBASE, "firebase-scrypt,n=16384,r=8,p=1"),
]
OTHERS = """
import json, sys
import bcrypt
from django.conf import settings
settings.configure()
from django.contrib.auth import hashers
from werkzeug.security import generate_password_hash
password = sys.argv[1]
argon2 = hashers.Argon2PasswordHasher()
argon2.time_cost, argon2.memory_cost, argon2.parallelism = 1, 64, 1
print(json.dumps([
    hashers.PBKDF2PasswordHasher().encode(password, "saltsalt", 1000),
    hashers.PBKDF2SHA1PasswordHasher().encode(password, "saltsalt", 1000),
    argon2.encode(password, "saltsalt"),
    hashers.BCryptSHA256PasswordHasher().encode(password, bcrypt.gensalt(4)),
    hashers.BCryptPasswordHasher().encode(password, bcrypt.gensalt(4)),
    hashers.ScryptPasswordHasher().encode(password, "saltsalt", n=1024, r=8, p=1),
    generate_password_hash(password, "pbkdf2:sha256:1000"),
    generate_password_hash(password, "pbkdf2:sha512:1000"),
    generate_password_hash(password, "scrypt:1024:8:1"),
]))
"""


@pytest.mark.parametrize(("password", "stored", "scheme"), KNOWN, ids=[scheme for _, _, scheme in KNOWN])
def test_published_answers(password: str, stored: str, scheme: str) -> None:
    """Each scheme says yes to the published password and no to another, and names its parameters."""
    assert verify(password, stored)
    assert not verify(f"x{password}", stored)
    assert scheme_of(stored) == scheme


def test_what_django_and_werkzeug_made_verifies() -> None:
    """Made just now by the libraries themselves, in a process of their own: Django has settings for a whole process."""
    made = subprocess.run([sys.executable, "-c", OTHERS, PASSWORD], check=True, capture_output=True, text=True)
    found = json.loads(made.stdout)
    assert (
        len({scheme_of(stored) for stored in found}) == 7
    )  # Django's and werkzeug's PBKDF2 are one scheme, and so is scrypt
    for stored in found:
        assert verify(PASSWORD, stored)
        assert not verify(PASSWORD.lower(), stored)


@pytest.mark.parametrize(
    ("other", "kind"),
    [
        (OURS, Argon2Cost().kind),
        (OURS.replace("$v=19", ""), f"{Argon2Cost().kind},form=foreign"),
        (OURS[:-1], f"{Argon2Cost().kind},form=foreign"),
        (OURS.replace("t=2", "t=3"), "argon2id,m=19456,t=3,p=1"),
        ("scrypt$1024$salt$8$2$" + base64.b64encode(bytes(64)).decode(), "scrypt,n=1024,r=8,p=2"),
        ("nobody knows", UNREAD),
    ],
)
def test_what_costs_something_else_is_another_kind(other: str, kind: str) -> None:
    """Budgets and replacements go by it: also what has our parameters, and is computed another way."""
    assert kind_of(other) == kind
    assert Passwords().needs_replacement(other) is (kind != Argon2Cost().kind)


@pytest.mark.parametrize("letter", "aby")
def test_every_letter_of_bcrypt_is_the_same_scheme(letter: str) -> None:
    """$2y$ is PHP's, $2b$ OpenBSD's, $2a$ everybody's before."""
    stored = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode().replace("$2b$", f"$2{letter}$")
    assert verify(PASSWORD, stored)


def test_bcrypt_compares_72_bytes_as_the_other_system_did() -> None:
    """Okta 2024 is about hashes that we make; one that was made by bcrypt never knew more than 72 bytes."""
    stored = bcrypt.hashpw(b"a" * 72, bcrypt.gensalt(4)).decode()
    assert verify("a" * 72, stored)
    assert verify("a" * 80, stored)
    assert not verify("a" * 71, stored)
    ours = Argon2Cost().hash("a" * 80)
    assert not verify("a" * 72, ours)


def test_what_was_typed_elsewhere_is_tried_after_its_nfc() -> None:
    """A system that did not normalise hashed the decomposed form; ours are made of the composed one."""
    typed = unicodedata.normalize("NFD", "café au lait, chérie")
    foreign = bcrypt.hashpw(typed.encode(), bcrypt.gensalt(4)).decode()
    assert verify(typed, foreign)
    assert not verify(unicodedata.normalize("NFC", typed), foreign)
    normalised = bcrypt.hashpw(unicodedata.normalize("NFC", typed).encode(), bcrypt.gensalt(4)).decode()
    assert verify(typed, normalised)


def test_every_form_is_tried_whichever_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 24: how long it takes depends on what was typed and on the scheme, not on the outcome."""
    tried: list[bytes] = []
    monkeypatch.setattr(bcrypt, "checkpw", lambda secret, _: tried.append(secret) or True)
    assert verify("cafe\u0301", "$2b$04$" + "a" * 53)
    assert tried == ["café".encode(), "cafe\u0301".encode()]


@pytest.mark.parametrize(
    ("stored", "why"),
    [
        ("", "no scheme"),
        ("md5$salt$5f4dcc3b5aa765d61d8327deb882cf99", "no scheme"),
        ("$2x$10$" + "a" * 53, "not of its form"),
        ("$2b$10$" + "a" * 52, "not of its form"),
        ("$2b$10$" + "a" * 53 + "\n", "control characters"),
        ("$2b$17$" + "a" * 53, "cost outside of 4 to 16"),
        ("$2b$03$" + "a" * 53, "cost outside of 4 to 16"),
        ("bcrypt_sha256$$2b$17$" + "a" * 53, "cost outside of 4 to 16"),
        ("pbkdf2:sha256$salt$" + "00" * 32, "not of its form"),
        ("pbkdf2:md5:1000$salt$" + "00" * 16, "not of its form"),
        ("pbkdf2:sha256:5000001$salt$" + "00" * 32, "iterations outside"),
        ("pbkdf2_sha256$0$salt$" + "A" * 43 + "=", "iterations outside"),
        ("pbkdf2:sha256:1000$salt$" + "00" * 31, "not of 32 bytes"),
        ("pbkdf2_sha256$1000$salt$" + "A" * 41, "not base64"),
        ("pbkdf2:sha256:1000$salt$" + "0" * 63, "not hexadecimal"),
        ("scrypt:1048576:8:1$salt$" + "00" * 64, "over our bounds"),
        ("scrypt:131072:8:3$salt$" + "00" * 64, "over our bounds"),
        ("scrypt:1000:8:1$salt$" + "00" * 64, "impossible"),
        ("scrypt:0:0:0$salt$" + "00" * 64, "impossible"),
        ("scrypt:65536:1:1$salt$" + "00" * 64, "N=65536 and r=1, where N has to be below .* let them reset"),
        ("scrypt$131072$salt$1$1$" + base64.b64encode(bytes(64)).decode(), "where N has to be below"),
        (FIREBASE.replace("ln=14,r=8", "ln=16,r=1"), "where N has to be below"),
        ("scrypt:16384:8:1$salt$" + "00" * 32, "not of 64 bytes"),
        (FIREBASE.replace("ln=14", "ln=9999999999"), "over our bounds"),
        (FIREBASE.replace("r=8", "r=9999999999"), "over our bounds"),
        (FIREBASE.replace("ln=14", "ln=0"), "impossible"),
        (FIREBASE[:-8], "as long as the signer key"),
        ("$argon2id$v=19$m=262145,t=1,p=1$c29tZXNhbHQ$" + "A" * 43, "over our bounds"),
        ("$argon2id$v=19$m=65536,t=17,p=1$c29tZXNhbHQ$" + "A" * 43, "over our bounds"),
        ("$argon2id$v=19$m=65536,t=1,p=17$c29tZXNhbHQ$" + "A" * 43, "over our bounds"),
        ("$argon2id$v=19$m=65536,t=0,p=1$c29tZXNhbHQ$" + "A" * 43, "impossible"),
        ("$argon2id$v=19$m=64,t=1,p=9$c29tZXNhbHQ$" + "A" * 43, "impossible"),
        ("$argon2id$v=18$m=64,t=1,p=1$c29tZXNhbHQ$" + "A" * 43, "not of its form"),
        ("$argon2id$v=19$m=064,t=1,p=1$c29tZXNhbHQ$" + "A" * 43, "not of its form"),
        ("pbkdf2:sha256:1000$" + "s" * 500 + "$" + "00" * 32, "longer than 512"),
    ],
)
def test_what_cannot_be_read_or_would_cost_too_much_is_refused(stored: str, why: str) -> None:
    """A hash is parsed before anything is computed; what it costs is bounded, whoever wrote it."""
    with pytest.raises(HashRefused, match=why):
        read_hash(stored)
    assert verify(PASSWORD, stored) is False


@pytest.mark.parametrize(("n", "r"), [(2**15, 1), (2**16, 2)])
def test_scrypt_that_can_be_computed_is_taken_up_to_the_border(n: int, r: int) -> None:
    """RFC 7914 §2: N is below 2^(128·r/8). OpenSSL refuses the rest, and so do we, before it is a user's hash."""
    derived = hashlib.scrypt(PASSWORD.encode(), salt=b"salt", n=n, r=r, p=1, maxmem=2**26, dklen=64)
    assert verify(PASSWORD, f"scrypt:{n}:{r}:1$salt${derived.hex()}")


def test_half_a_character_is_a_no_for_every_scheme() -> None:
    """A lone surrogate has no bytes: no exception, no login."""
    assert verify("a lone \ud800 surrogate", Argon2Cost().dummy) is False


def test_a_hash_does_not_show_in_what_is_logged() -> None:
    """Invariant 17: neither in a repr nor in the reason of a refusal."""
    assert repr(read_hash(FIREBASE)) == "PasswordHash(firebase-scrypt,n=16384,r=8,p=1)"
    with pytest.raises(HashRefused) as refused:
        read_hash("$2b$10$secretsalt")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(("memory", "iterations"), sorted((m, t) for t, m in hashes.ARGON2_LINES.items()))
def test_new_hashes_keep_to_the_lines_of_owasp(memory: int, iterations: int) -> None:
    """On the line is taken, one KiB less is not."""
    cost = Argon2Cost(memory, iterations)
    with pytest.raises(ValueError, match="OWASP"):
        Argon2Cost(memory - 1, iterations)
    assert cost.kind == f"argon2id,m={memory},t={iterations},p=1"


@pytest.mark.parametrize(("memory", "iterations"), [(7_167, 20), (47_104, 0), (47_104, 21), (262_145, 2)])
def test_costs_outside_of_every_line_are_refused(memory: int, iterations: int) -> None:
    """More iterations than the lines name don't allow less memory than the last of them; and there is an upper end."""
    with pytest.raises(ValueError, match="OWASP"):
        Argon2Cost(memory, iterations)


def test_libsodium_and_argon2_cffi_make_the_same_hashes() -> None:
    """Who comes after us, with whatever library, can verify ours."""
    ours = Argon2Cost(7_168, 5).hash(PASSWORD)
    assert argon2.PasswordHasher().verify(ours, PASSWORD)
    assert verify(PASSWORD, argon2.PasswordHasher(time_cost=5, memory_cost=7_168, parallelism=1).hash(PASSWORD))
