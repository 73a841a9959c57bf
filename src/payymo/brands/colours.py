"""Colours that can be read, by the arithmetic of WCAG 2.2 (relative luminance, contrast ratio). Pure.

A colour is `#rrggbb`.
"""

from functools import lru_cache
from typing import Final

ENOUGH: Final = 4.5
"""WCAG 2.2, 1.4.3: for text. More than the 3 that 1.4.11 asks for borders and signs."""
BLACK: Final = "#000000"
WHITE: Final = "#ffffff"
_STEPS: Final = 64


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, from 1 to 21."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def text_on(ground: str) -> str:
    """Black or white, whichever contrasts more. With any colour one of the two reaches 4.58."""
    return max((BLACK, WHITE), key=lambda text: contrast(text, ground))


@lru_cache(1024)
def legible(colour: str, grounds: tuple[str, ...]) -> str:
    """The colour, or the nearest one of its hue that can be read on every ground: darker on light ones, else lighter.

    `grounds`: all of them light, or all dark.
    """
    end = text_on(grounds[0])
    mixtures = (_mix(colour, end, step / _STEPS) for step in range(_STEPS + 1))
    return next((found for found in mixtures if all(contrast(found, ground) >= ENOUGH for ground in grounds)), end)


def _mix(colour: str, end: str, share: float) -> str:
    """Towards black or white; the hue stays."""
    pairs = zip(_channels(colour), _channels(end), strict=True)
    return "#" + "".join(f"{round(one + (other - one) * share):02x}" for one, other in pairs)


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _luminance(colour: str) -> float:
    red, green, blue = map(_linear, _channels(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(channel: int) -> float:
    share = channel / 255
    return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
