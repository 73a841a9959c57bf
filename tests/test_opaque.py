"""Opaque secrets: one spelling, one digest, and nothing of them in a representation."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payymo import opaque
from payymo.entropy import Entropy


@given(source=st.binary(min_size=48, max_size=48))
def test_a_secret_is_read_as_it_was_written(source: bytes) -> None:
    """Text and back; and the text has the shape that scanners for leaked secrets look for."""
    drawn = iter([source[:16], source[16:]])
    made = opaque.make(Entropy(lambda _size: next(drawn)))
    assert re.fullmatch(r"payymo_[0-9a-f]{32}_[A-Za-z0-9_-]{43}", made.text)
    assert opaque.read(made.text) == made
    assert made.secret == source[16:]


def test_a_secret_matches_its_own_digest_alone() -> None:
    """Any other bit is another secret."""
    made, other = opaque.make(Entropy()), opaque.make(Entropy())
    kept = opaque.digest(made.secret)
    assert opaque.matches(made.secret, kept)
    assert not opaque.matches(other.secret, kept)
    assert not opaque.matches(bytes([made.secret[0] ^ 1]) + made.secret[1:], kept)
    assert made.secret not in kept


def test_a_secret_has_one_spelling() -> None:
    """The two bits at its end that stand for nothing have to be nought, or one secret would have four texts."""
    text = opaque.make(Entropy(bytes)).text
    assert text.endswith("A")
    assert opaque.read(text) is not None
    assert [opaque.read(text[:-1] + last) for last in "BCD"] == [None] * 3


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text[:-1],
        lambda text: text + "=",
        lambda text: text.upper(),
        lambda text: text.replace("payymo_", "payymo-"),
        lambda text: text.replace("0", "\N{ARABIC-INDIC DIGIT ZERO}"),
        lambda text: text[:0],
    ],
)
def test_another_shape_stands_for_nothing(damage) -> None:
    """Nothing is guessed, cut or completed."""
    text = opaque.make(Entropy(bytes)).text
    assert opaque.read(damage(text)) is None


def test_a_representation_shows_no_secret() -> None:
    """Invariant 17: in a traceback or a log."""
    made = opaque.make(Entropy())
    assert made.text.split("_", 2)[2] not in repr(made)
    assert repr(made.secret) not in repr(made)
