"""What long passwords are made of that no list of breached ones holds: repetitions, walks, names and words. Pure.

Texts are compared in small letters. What is known is taken out of the password; the rest has to be worth something.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

SHORTEST_WORD: Final = 3
SHORTEST_WALK: Final = 4

_ORDERS: Final = ("abcdefghijklmnopqrstuvwxyz", "0123456789", "абвгдежзийклмнопрстуфхцчшщъыьэюя")
_KEYS: Final = (
    *("1234567890-=", "qwertyuiop[]", "asdfghjkl;'", "zxcvbnm,./"),
    *("qwertzuiopü", "asdfghjklöä", "yxcvbnm,.-", "azertyuiop", "qsdfghjklm", "wxcvbn"),
    *("1qaz", "2wsx", "3edc", "4rfv", "5tgb", "6yhn", "7ujm", "8ik,", "9ol.", "0p;/"),
    *("йцукенгшщзхъ", "фывапролджэ", "ячсмитьбю"),
)
_ROWS: Final = tuple(row[::step] for row in (*(order * 2 for order in _ORDERS), *_KEYS) for step in (1, -1))
_UNSHIFTED: Final = str.maketrans('!@#$%^&*()_+{}:"<>?', "1234567890-=[];',./")
_PLAIN: Final = (
    str.maketrans("", ""),
    str.maketrans("0134578@$!|+", "oleastbasiit"),
    str.maketrans("0134578@$!|+", "oieastbasllt"),
)
"""What digits and signs stand for where people write words with them."""
_SAME: Final = re.compile(rf"(.)\1{{{SHORTEST_WALK - 1},}}", re.DOTALL)
_NO_WORD: Final = re.compile(r"[\W_]+")


def repeated_in(password: str) -> str | None:
    """What is written again and again, in small letters and without the signs between words; None: nothing is."""
    text = _NO_WORD.sub("", password.casefold()) or password
    borders = [0] * len(text)  # the prefix function (Knuth, Morris, Pratt): the whole minus its border is its period
    for position in range(1, len(text)):
        length = borders[position - 1]
        while length and text[position] != text[length]:
            length = borders[length - 1]
        borders[position] = length + (text[position] == text[length])
    period = len(text) - borders[-1]
    return text[:period] if period * 2 <= len(text) else None


def without_words(text: str, words: Iterable[str]) -> str:
    """The text in small letters without these words, also backwards and with digits for letters."""
    known = sorted({word.casefold() for word in words if len(word) >= SHORTEST_WORD}, key=len, reverse=True)
    folded = text.casefold()
    return min((_taken_out(folded.translate(spelling), known) for spelling in _PLAIN), key=len)


def without_walks(text: str) -> str:
    """The text without neighbouring keys, parts of the alphabet, digits in order, and one sign over and over."""
    keys = _SAME.sub("", text.casefold()).translate(_UNSHIFTED)
    left, position = [], 0
    while position < len(keys):
        length = _walk_from(keys, position)
        if length < SHORTEST_WALK:
            left.append(keys[position])
            length = 1
        position += length
    return "".join(left)


def parts_of(name: str) -> Iterator[str]:
    """A name or address, and the words in it, for `without_words`. Numbers alone are no words."""
    yield name
    yield from (part for part in (name.partition("@")[0], *_NO_WORD.split(name)) if not part.isdigit())


def _taken_out(text: str, words: Iterable[str]) -> str:
    for word in words:
        text = text.replace(word, "").replace(word[::-1], "")
    return text


def _walk_from(keys: str, start: int) -> int:
    longest = 0
    for row in _ROWS:
        while start + longest < len(keys) and keys[start : start + longest + 1] in row:
            longest += 1
    return longest
