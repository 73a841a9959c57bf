"""A token has one spelling, and refusing the others costs next to nothing."""

import base64
import json
import string
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payymo_guard.wire import decode_base64url, encode_base64url
from tests.guard.forge import ALGORITHMS, issuer, refusal

ALPHABET = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
ISSUERS = {algorithm: issuer(algorithm) for algorithm in ALGORITHMS}
TOKENS = {algorithm: fake.mint() for algorithm, fake in ISSUERS.items()}
VERIFIERS = {algorithm: fake.verifier(cache_size=10) for algorithm, fake in ISSUERS.items()}
GOOD = TOKENS["EdDSA"]


def refused(token: object) -> str:
    """Return how the verifier of EdDSA refuses."""
    return refusal(VERIFIERS["EdDSA"], token)


def respelled(part: int, text: str) -> str:
    """Return the good token with one part replaced."""
    parts = GOOD.split(".")
    parts[part] = text
    return ".".join(parts)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_any_one_character_changed_is_refused(data: st.DataObject) -> None:
    """Whichever character of a valid token is replaced, dropped or inserted, the token is refused, cached or not."""
    algorithm = data.draw(st.sampled_from(ALGORITHMS))
    token, verifier = TOKENS[algorithm], VERIFIERS[algorithm]
    place = data.draw(st.integers(0, len(token) - 1))
    character = data.draw(st.one_of(st.sampled_from(ALPHABET + ".=+/ "), st.characters()))
    kept = data.draw(st.sampled_from((0, 1)))
    changed = token[:place] + data.draw(st.sampled_from((character, ""))) + token[place + kept :]
    if changed != token:
        assert refusal(verifier, changed) != "accepted"
    assert refusal(verifier, token) == "accepted"


@pytest.mark.parametrize("part", [0, 1, 2])
def test_every_other_last_character_is_refused(part: int) -> None:
    """No segment has a second spelling by its unused bits: all 63 other last characters are refused."""
    text = GOOD.split(".")[part]
    for character in ALPHABET.replace(text[-1], ""):
        assert refused(respelled(part, text[:-1] + character)) != "accepted"


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 6, 7, 100])
def test_base64url_has_one_spelling(length: int) -> None:
    """Of all texts that differ in the last character, exactly one decodes to these octets."""
    data = bytes(range(length))
    text = encode_base64url(data)
    for character in ALPHABET.encode():
        other = text[:-1] + bytes([character])
        if other == text:
            assert decode_base64url(other) == data
            continue
        try:
            assert decode_base64url(other) != data
        except ValueError:
            assert len(text) % 4 in {2, 3}


@pytest.mark.parametrize(
    "text", [b"A", b"AAAAA", b"AB", b"AAB", b"A+A=", b"AA==", b"AAA=", b"AA\n", b" AA", b"A/AA", b"\xff\xff"]
)
def test_bad_base64url_is_refused(text: bytes) -> None:
    """Left-over characters, unused bits, padding, the other alphabet and blanks are refused."""
    with pytest.raises(ValueError, match="base64url"):
        decode_base64url(text)


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize(
    "addition", ["=", "==", "===", "\n", " ", "\t", "\r\n", "\x00", "%3D", "A", "AA", "AAAA", "!", "+", "/"]
)
def test_additions_to_a_segment_are_refused(part: int, addition: str) -> None:
    """Padding, blanks, NUL and anything else before, within or behind a segment is refused."""
    text = GOOD.split(".")[part]
    for changed in (text + addition, addition + text, text[:9] + addition + text[9:]):
        assert refused(respelled(part, changed)) != "accepted"


@pytest.mark.parametrize("part", [0, 1, 2])
def test_standard_alphabet_is_refused(part: int) -> None:
    """A segment spelled with + and / instead of - and _ is refused."""
    fake = ISSUERS["EdDSA"]
    payload = fake.claims() | {"sub": "~~~???>>>ÿÿÿ"}
    token = fake.sign(json.dumps(payload, ensure_ascii=False).encode())
    while not ("-" in token.split(".")[2] or "_" in token.split(".")[2]):
        payload |= {"jti": f"{payload['jti']}x"}
        token = fake.sign(json.dumps(payload, ensure_ascii=False).encode())
    parts = token.split(".")
    parts[part] = parts[part].replace("-", "+").replace("_", "/")
    changed = ".".join(parts)
    assert refused(token) == "accepted"
    assert changed == token or refused(changed) == "token_malformed"


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        "a",
        "a.b",
        "a..b",
        ".a.b",
        "a.b.",
        GOOD.rpartition(".")[0],
        GOOD.rpartition(".")[0] + ".",
        GOOD + ".",
        "." + GOOD,
        GOOD + ".AAAA",
        GOOD + ".AAAA.AAAA",
        GOOD.replace(".", "..", 1),
        GOOD.replace(".", "\u3002"),
        "Bearer " + GOOD,
        GOOD + "\n",
        GOOD + "\x00",
        "\ufeff" + GOOD,
        GOOD + "\ud800",
        "{" + GOOD + "}",
        '"' + GOOD + '"',
        GOOD + "," + GOOD,
        GOOD.swapcase(),
    ],
)
def test_only_three_parts_of_base64url_are_a_token(token: str) -> None:
    """Other numbers of parts, empty parts, frames, quotes, blanks, surrogates and other dots are refused."""
    assert refused(token) == "token_malformed"


def test_json_serializations_are_refused() -> None:
    """The JSON forms of JWS, flattened or general, alone or mixed with the compact form, are refused."""
    header, payload, signature = GOOD.split(".")
    flat = {"protected": header, "payload": payload, "signature": signature}
    general = {"payload": payload, "signatures": [{"protected": header, "signature": signature}]}
    mixed = json.dumps({"protected": header, "x": f".{payload}.", "signature": signature})
    for form in (json.dumps(flat), json.dumps(general), mixed, "  " + json.dumps(flat)):
        assert refused(form) == "token_malformed"


def test_encrypted_tokens_are_refused() -> None:
    """Five parts are refused before anything is decoded, decrypted or inflated."""
    header = base64.urlsafe_b64encode(b'{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":2000000000}').decode()
    assert refused(f"{header.rstrip('=')}.AAAA.AAAA.AAAA.AAAA") == "token_malformed"


@pytest.mark.parametrize("token", [None, 1, b"a.b.c", GOOD.encode(), bytearray(GOOD.encode()), [GOOD], {GOOD: 1}, True])
def test_only_strings_are_tokens(token: object) -> None:
    """What isn't a str is refused, also what can't be hashed."""
    assert refused(token) == "token_malformed"


def test_subclasses_of_str_are_refused() -> None:
    """A str with its own idea of equality could pass for a remembered token, so it is refused."""

    class Chameleon(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return hash(GOOD)

    assert refused(GOOD) == "accepted"
    assert refused(Chameleon("a.b.c")) == "token_malformed"
    assert refused(Chameleon(GOOD)) == "token_malformed"


@pytest.mark.parametrize("text", ["." * 1_000_000, "a" * 9_000, "a." * 500_000, "\u00e9" * 9_000, GOOD + "A" * 9_000])
def test_size_comes_first(text: str) -> None:
    """A megabyte of dots, or nine kilobytes of anything, is refused in no time and without memory."""
    tracemalloc.start()
    began = time.perf_counter()
    assert refused(text) == "token_too_large"
    seconds = time.perf_counter() - began
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 0.05
    assert peak < 100_000


def test_size_limit_is_8192_characters() -> None:
    """A token of exactly the limit is accepted, and of one character more is refused."""
    fake = ISSUERS["EdDSA"]
    header = b'{"alg":"EdDSA","typ":"at+jwt","kid":"key-2"}'
    sizes = {}
    for filler in range(5700, 5800):
        for spaces in range(4):  # base64url has no texts of every length, two of them together do
            payload = fake.claims() | {"jti": "jti", "filler": "x" * filler}
            token = fake.sign(payload, header=header + b" " * spaces)
            sizes[len(token)] = token
    assert refused(sizes[8191]) == "accepted"
    assert refused(sizes[8192]) == "accepted"
    assert refused(sizes[8193]) == "token_too_large"
    assert refused("." * 8192) == "token_malformed"
    assert refused("." * 8193) == "token_too_large"
