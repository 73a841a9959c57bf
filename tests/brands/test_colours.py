"""Whatever colour a tenant likes: what is written in it, and on it, can be read."""

import re
from colorsys import rgb_to_hls
from importlib import resources

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from payymo.brands.colours import contrast, legible, text_on
from payymo.web.console.branding import DARK, LIGHT, colours_of

COLOURS = st.integers(0, 0xFFFFFF).map(lambda number: f"#{number:06x}")
GROUNDS = re.compile(r"--(?:ground|paper|good-ground|bad-ground): light-dark\((#\w{6}), (#\w{6})\);")


def hue_of(colour: str) -> tuple[float, float]:
    """The hue in degrees, and how much of it there is, from 0 to 1."""
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return rgb_to_hls(red, green, blue)[0] * 360, max(red, green, blue) - min(red, green, blue)


@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [
        ("#000000", "#ffffff", 21.0),
        ("#ffffff", "#ffffff", 1.0),
        ("#777777", "#ffffff", 4.48),
        ("#767676", "#ffffff", 4.54),
        ("#ff0000", "#ffffff", 4.0),
        ("#0000ff", "#ffffff", 8.59),
    ],
)
def test_contrast_is_that_of_wcag(one: str, other: str, ratio: float) -> None:
    """Pairs whose ratios are well known, whichever is named first."""
    assert contrast(one, other) == contrast(other, one) == pytest.approx(ratio, abs=0.005)


@given(COLOURS)
@example("#ffff00")
@example("#000000")
@example("#ffffff")
@example("#7f7f7f")
@example("#757575")
def test_every_colour_becomes_one_that_can_be_read(accent: str) -> None:
    """4.5 : 1 on each ground of the pages, in the light and in the dark, and for the text on the colour itself."""
    found = colours_of(accent)
    assert found.fill == accent
    assert contrast(found.text, accent) >= 4.5
    assert min(contrast(found.on_light, ground) for ground in LIGHT) >= 4.5
    assert min(contrast(found.on_dark, ground) for ground in DARK) >= 4.5


@given(COLOURS)
def test_it_stays_as_it_is_where_it_can_be_read_and_keeps_its_hue_where_not(accent: str) -> None:
    """No more is changed than has to be: the hue is the tenant's, where there is enough of it to tell."""
    for grounds in (LIGHT, DARK):
        found = legible(accent, grounds)
        if all(contrast(accent, ground) >= 4.5 for ground in grounds):
            assert found == accent
        (before, much), (after, still) = hue_of(accent), hue_of(found)
        if min(much, still) > 0.2:
            assert abs((before - after + 180) % 360 - 180) < 6
        assert still <= much + 0.01


def test_text_is_black_or_white() -> None:
    """Whichever contrasts more."""
    assert [text_on(colour) for colour in ("#ffffff", "#ffff00", "#000000", "#0000ff")] == [
        *("#000000", "#000000", "#ffffff", "#ffffff")
    ]


def test_the_grounds_are_those_of_the_stylesheet() -> None:
    """Another colour there has to be another one here."""
    text = (resources.files("payymo.web.console") / "static" / "console.css").read_text()
    found = GROUNDS.findall(text)
    assert {light for light, _ in found} == set(LIGHT)
    assert {dark for _, dark in found} == set(DARK)
