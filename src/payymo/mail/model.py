"""What is to be sent, in whose name, and what comes of an attempt that failed. Pure."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from payymo.errors import FieldError, InvalidInput
from payymo.sealed import Sealed

Kind = Literal[
    "account-exists",
    "account-locked",
    "change-email",
    "choose-password",
    "email-changed",
    "impersonated",
    "invitation",
    "new-sign-in",
    "password-changed",
    "password-forced",
    "password-tried",
    "reset-password",
    "test",
    "username-taken",
    "verify-email",
]
"""Every letter; each has a template of its name."""
Errand = Literal["password-reset", "registration"]
"""What is done first by who delivers, so that who asked can't tell by the time what came of it."""
ERRANDS: Final[tuple[str, ...]] = get_args(Errand)

DAY_SECONDS: Final = 86_400
NOTICE_SECONDS: Final = 3 * DAY_SECONDS
"""How long it is tried to send what does not expire by itself."""
FIRST_WAIT_SECONDS: Final = 5
LONGEST_WAIT_SECONDS: Final = 3_600
NAME_MAX: Final = 100
DEFAULT_ADDRESS: Final = "payymo@payymo.example"
"""Whose mail it is where nobody is named."""


@dataclass(frozen=True, slots=True)
class Sender:
    """In whose name mail goes out."""

    address: str
    name: str

    def __post_init__(self) -> None:
        """Raise InvalidInput when a member is not acceptable."""
        problems = []
        if self.address != DEFAULT_ADDRESS and not _is_ascii_address(self.address):
            problems.append(FieldError("/address", "an e-mail address in ASCII"))
        if not self.name.isprintable() or not 1 <= len(self.name.strip()) <= NAME_MAX:
            problems.append(FieldError("/name", f"1 to {NAME_MAX} printable characters"))
        if problems:
            raise InvalidInput(problems)

    @property
    def domain(self) -> str:
        """What stands behind the @."""
        return self.address.rpartition("@")[2]


def _is_ascii_address(text: str) -> bool:
    # Loads slowly, and most commands meet no address but the one above.
    from email_validator import EmailNotValidError, validate_email  # noqa: PLC0415

    try:
        validate_email(text, check_deliverability=False, allow_smtputf8=False, globally_deliverable=False)
    except EmailNotValidError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Look:
    """What a tenant with a brand is called in its letters, its colour, `#rrggbb`, and the code of its language."""

    name: str
    accent: str | None
    language: str | None


@dataclass(frozen=True, slots=True)
class MailPolicy:
    """Whether mail is sent at all, in whose name, and for how long an attempt has the message to itself."""

    is_on: bool
    sender: Sender
    claim_seconds: int


@dataclass(frozen=True, slots=True)
class Message:
    """A letter, or an errand that may come to one: to whom, with which facts, until when it is of use.

    `facts` are filled into the template of its kind: times in seconds, which each language writes in its way. They may
    hold a one-time link: their `repr` is hidden. `user_id`: whom it is about, for the log. `language`: the reader's.
    """

    kind: Kind | Errand
    to: str = field(repr=False)
    facts: Mapping[str, str] = field(default_factory=dict, repr=False)
    user_id: uuid.UUID | None = None
    live_seconds: int = NOTICE_SECONDS
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """What is sealed of a message. `language`: of a letter, the code of that in which it is; of an errand, None."""

    to: str = field(repr=False)
    facts: Mapping[str, str] = field(repr=False)
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message that one process has to itself for a while. `attempts` tells this attempt from a later one."""

    tenant_id: uuid.UUID
    id: uuid.UUID
    kind: str
    user_id: uuid.UUID | None
    sealed: Sealed
    created_at: int
    expires_at: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that is not sent yet, without what it says. Times in seconds since 1970.

    `failed_at`: since when it is given up. `reason`: why the last attempt failed.
    """

    id: uuid.UUID
    kind: str
    user_id: uuid.UUID | None
    created_at: int
    due_at: int
    expires_at: int
    attempts: int
    failed_at: int | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many messages are not sent yet; of those, how many after a failure, and how many are given up, by reason."""

    waiting: int
    delayed: Mapping[str, int]
    given_up: Mapping[str, int]


def wait_seconds(attempts: int, share: float) -> int:
    """How long to wait after so many failed attempts: doubling, at most an hour.

    `share`, from 0 to 1, spreads it over its upper half, so that what failed together does not come back together.
    """
    longest = min(FIRST_WAIT_SECONDS << min(attempts - 1, 20), LONGEST_WAIT_SECONDS)
    return max(1, round(longest * (1 + share) / 2))
