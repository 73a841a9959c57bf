"""What a user is, and the one way in which names are compared. Pure.

Names that look alike must not be two accounts, and names that differ must not become one (the Unicode case-folding
attacks): user names are ASCII, the local part of an e-mail address too, and domains are compared in their A-label form
(RFC 5890 §2.3.2.1). A domain that is written in other letters, and looks like one in ASCII, is refused, as is one that
mixes alphabets whose letters look alike.
"""

import re
import unicodedata
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from payymo.errors import FieldError, InvalidInput

UserStatus = Literal["active", "disabled", "unverified"]
"""unverified: they have registered, and not shown yet that the address is theirs. Until then they don't log in."""
EMAIL_MAX = 254
_LOOK_ALIKE = str.maketrans(
    # Cyrillic, Greek and Armenian letters that are drawn like those on the second line; and Latin ones without a dot.
    "авеіјкӏмнорԛѕтухһԁԝьсѵүѡαγεηικνορτυχωϳօսոհցքյզıɑɡɩ",
    "abeijklmhopqstyxhdwbcvywayenikvoptuxwjounhgqjqiagi",
)
"""What a reader takes for the other (Unicode TR 39, as far as whole names can be made of it)."""
_ALPHABETS: Final = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN")
"""In which letters are drawn alike. No word is written in two of them; whose names for letters begin like this."""
_TOP_LEVEL: Final = ("ком", "мон", "москва", "рус", "укр")
"""Top-level domains that are there, and read like none that is (IANA, 2026)."""
_USERNAME = re.compile(r"[A-Za-z0-9_-]{3,30}")


@dataclass(frozen=True, slots=True)
class User:
    """One user of one tenant, without any proof of who they are."""

    id: uuid.UUID
    tenant_id: uuid.UUID
    email: str
    username: str
    status: UserStatus
    created_at: int
    email_verified_at: int | None = None
    """Since when the address is known to be theirs: by a link, or on the word of who made the account."""
    language: str | None = None
    """In which they are written to, by its code; None: nobody knows it."""

    @property
    def is_active(self) -> bool:
        """Whether they may log in."""
        return self.status == "active"


@dataclass(frozen=True, slots=True)
class UserKeys:
    """A user with both names in the form in which they are compared."""

    user: User
    username_key: str
    email_key: str


@dataclass(frozen=True, slots=True)
class Merged:
    """Users in the order of their keys, the last key that was looked at, and whether others come after it."""

    users: tuple[User, ...]
    last: str
    is_more: bool


@dataclass(frozen=True, slots=True, repr=False)
class Proof:
    """What a login is checked against, as it was when it was read. Its `repr` hides the hash."""

    user_id: uuid.UUID
    password_hash: str
    status: UserStatus

    def __repr__(self) -> str:
        return f"Proof(user_id={self.user_id})"


@dataclass(frozen=True, slots=True, repr=False)
class Account:
    """A user with what one-time links are bound to. Its `repr` hides the hash."""

    user: User
    email_key: str
    password_hash: str
    is_in_active_tenant: bool

    @property
    def binding(self) -> tuple[str, str]:
        """What ends every link when it changes: the address and the password."""
        return self.email_key, self.password_hash

    @property
    def may_act(self) -> bool:
        """Whether a link may be sent to them, or used by them."""
        return self.is_in_active_tenant and self.user.status != "disabled"

    def __repr__(self) -> str:
        return f"Account(user={self.user!r})"


def canonical_email(text: str) -> str | None:
    """The form in which addresses are compared; None when it is no address that we take.

    What begins like an encoded word (RFC 2047 §2) would be decoded on the way: no mail would ever get there.
    """
    if len(text) > EMAIL_MAX or not text.isascii() or "=?" in text:
        return None
    # Loads slowly, and most commands meet no address.
    from email_validator import EmailNotValidError, validate_email  # noqa: PLC0415

    try:
        parsed = validate_email(text, check_deliverability=False, allow_smtputf8=False, globally_deliverable=False)
    except EmailNotValidError:
        return None
    *labels, top = parsed.domain.split(".")
    if any(map(_looks_like_another, labels)) or (top not in _TOP_LEVEL and _looks_like_another(top)):
        return None
    return (parsed.ascii_email or "").lower() or None


def counted_name(email: str) -> str:
    """What tries at an address are counted by. What is no address is counted, too, and never like one that is.

    Small letters alone would not do: the Kelvin sign's is a plain k.
    """
    return canonical_email(email) or ascii(email.lower())


def _looks_like_another(label: str) -> bool:
    """Whether a part of a domain would be read as another one: as one in ASCII, or in one alphabet where it is in two.

    Marks above and below are no help to who reads other letters for Latin ones: of those they are left out.
    """
    alphabets = {name for letter in label if (name := unicodedata.name(letter, "").partition(" ")[0]) in _ALPHABETS}
    if label.isascii() or len(alphabets) > 1:
        return not label.isascii()
    bare = label if alphabets == {"LATIN"} else _without_marks(label)
    return bare.translate(_LOOK_ALIKE).isascii()


def _without_marks(text: str) -> str:
    return "".join(sign for sign in unicodedata.normalize("NFD", text) if not unicodedata.combining(sign))


def canonical_username(text: str) -> str | None:
    """The form in which user names are compared; None when it is none that we take."""
    return text.lower() if _USERNAME.fullmatch(text) else None


def name_problems(email: str, username: str) -> list[FieldError]:
    """What is wrong with the names in a registration; empty when nothing is."""
    problems = []
    if canonical_email(email) is None:
        problems.append(FieldError("/email", "an e-mail address in ASCII, at most 254 characters"))
    if canonical_username(username) is None:
        problems.append(FieldError("/username", "3 to 30 letters, digits, _ or -"))
    return problems


def require_names(email: str, username: str) -> tuple[str, str]:
    """Both names in the form in which they are compared. Raises InvalidInput with each problem."""
    problems = name_problems(email, username)
    if problems:
        raise InvalidInput(problems)
    return canonical_email(email) or "", canonical_username(username) or ""


def merge_keys(
    prefix: str, by_name: Sequence[UserKeys], by_email: Sequence[UserKeys], *, count: int, at_most: int
) -> Merged:
    """At most `count` users of two lists in order, each of which goes on, if at all, after its `at_most`-th.

    Whoever is in both stands where their first key does.
    """
    every = sorted(
        [(found.username_key, found) for found in by_name] + [(found.email_key, found) for found in by_email],
        key=lambda pair: pair[0],
    )
    users: list[User] = []
    last, looked_at = "", 0
    for key, found in every[:at_most]:
        if len(users) == count:
            break
        last, looked_at = key, looked_at + 1
        if key == _first_key(prefix, found):
            users.append(found.user)
    return Merged(tuple(users), last, looked_at < len(every))


def _first_key(prefix: str, found: UserKeys) -> str:
    keys = (found.username_key, found.email_key) if prefix else (found.username_key,)
    return min(key for key in keys if key.startswith(prefix))
