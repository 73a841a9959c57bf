"""What a tenant is. Pure."""

import re
import uuid
from dataclasses import dataclass
from typing import Literal

from payymo.errors import FieldError, InvalidInput

TenantStatus = Literal["active", "suspended", "deleted"]
"""deleted: its keys are destroyed, its rows are going; there is no way back."""
HEADER_MAX = 260
"""A host name, a final dot, and a port."""
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
"""RFC 1123 §2.1, in small letters."""
_HOST_HEADER = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)\.?(?::[0-9]{1,5})?")


def host_of(header: str) -> str | None:
    """The host of a Host header (RFC 9110 §7.2) as tenants' hosts are written: in small letters, without port or root.

    None when it is none that we take: what can't be read must not be taken for the default tenant's.
    """
    found = _HOST_HEADER.fullmatch(header) if len(header) <= HEADER_MAX else None
    return None if found is None else found[1].lower()


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
