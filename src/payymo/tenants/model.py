"""What a tenant is. Pure."""

import re
import uuid
from dataclasses import dataclass
from typing import Literal

from payymo.errors import FieldError, InvalidInput

TenantStatus = Literal["active", "suspended"]
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant. `host` is the host name, without port, whose requests belong to it."""

    id: uuid.UUID
    slug: str
    name: str
    host: str | None
    status: TenantStatus
    created_at: int

    def __post_init__(self) -> None:
        """Raise InvalidInput when a member is not acceptable."""
        problems = []
        if not _SLUG.fullmatch(self.slug):
            problems.append(FieldError("/slug", "1 to 63 of a-z, 0-9 and -, with a letter or digit at each end"))
        if not 1 <= len(self.name.strip()) <= 200 or not self.name.isprintable():
            problems.append(FieldError("/name", "1 to 200 printable characters"))
        if self.host is not None and not _HOST.fullmatch(self.host):
            problems.append(FieldError("/host", "a host name in small letters, without port"))
        if problems:
            raise InvalidInput(problems)

    @property
    def is_active(self) -> bool:
        """Whether its users can log in and its tokens are accepted."""
        return self.status == "active"
