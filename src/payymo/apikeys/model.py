"""What an API key is, whether it counts, and how much of what it may do goes into a token. Pure."""

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from payymo.errors import FieldError, InvalidInput
from payymo.phrases import Phrase
from payymo.roles.model import covers, is_permission, problems_of

State = Literal["active", "expired", "revoked"]
NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
NAME_MAX: Final = 63
PERMISSIONS_AT_MOST: Final = 50
KEYS_AT_MOST: Final = 50
"""Living ones in a tenant."""
DAY_SECONDS: Final = 86_400
DEFAULT_DAYS: Final = 90
DAYS_AT_MOST: Final = 365


@dataclass(frozen=True, slots=True)
class Draft:
    """What a new key is to be. Raises InvalidInput with each problem."""

    name: str
    permissions: tuple[str, ...]
    days: int = DEFAULT_DAYS

    def __post_init__(self) -> None:
        """Sort out what can't be."""
        object.__setattr__(self, "permissions", tuple(sorted(set(self.permissions))))
        problems = problems_of(self.permissions, at_most=PERMISSIONS_AT_MOST)
        if not NAME.fullmatch(self.name):
            problems.append(FieldError("/name", "1 to 63 of a-z, 0-9, dot, dash, underscore; a letter or digit first"))
        if not 1 <= self.days <= DAYS_AT_MOST:
            problems.append(FieldError("/days", Phrase("1 to {most}", most=DAYS_AT_MOST)))
        if problems:
            raise InvalidInput(problems)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What a program of a tenant's proves itself with. Its secret is known to nobody but its owner."""

    tenant_id: uuid.UUID
    id: uuid.UUID
    name: str
    digest: bytes = field(repr=False)
    permissions: tuple[str, ...]
    created_by: uuid.UUID | None
    """None: the operator."""
    created_at: int
    expires_at: int
    revoked_at: int | None = None
    last_used_at: int | None = None
    """To a minute, as the next one."""
    last_used_address: str | None = None
    access_expires_at: int = 0
    """No token of it lives longer."""

    def state(self, now: float) -> State:
        """Whether it counts, and if not, why."""
        if self.revoked_at is not None:
            # One that had expired gave its name to another, and has ended at that moment: nobody has revoked it.
            return "expired" if self.revoked_at == self.expires_at else "revoked"
        return "active" if now < self.expires_at else "expired"


def narrowed(permissions: Sequence[str], scope: str | None) -> tuple[str, ...] | None:
    """What of its permissions goes into a token: those in `scope` (RFC 6749 §3.3), all when there is none.

    None: it asks for more than there is, or for what is no permission.
    """
    wanted = tuple(sorted({part for part in (scope or "").split(" ") if part}))
    if not wanted:
        return tuple(permissions)
    is_sound = len(wanted) <= PERMISSIONS_AT_MOST and all(is_permission(part) for part in wanted)
    return wanted if is_sound and covers(permissions, wanted) else None
