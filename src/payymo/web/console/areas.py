"""The parts of the console that not everybody sees, and the pages in each: what the navigation is made of."""

from dataclasses import dataclass
from typing import Final

from payymo.web.console.visit import Visit


@dataclass(frozen=True, slots=True)
class Section:
    """A page with a place in the navigation. `permission`: of who sees it."""

    path: str
    title: str
    permission: str

    def is_open_to(self, visit: Visit) -> bool:
        """Whether it is worth a link."""
        return visit.may(self.permission)


@dataclass(frozen=True, slots=True)
class Area:
    """Sections that belong together, under one path."""

    path: str
    title: str
    sections: tuple[Section, ...]

    def is_open_to(self, visit: Visit) -> bool:
        """Whether there is anything in it for them."""
        return self.first_open_to(visit) is not None

    def first_open_to(self, visit: Visit) -> Section | None:
        """Where they begin; None: nothing in it is for them."""
        return next((section for section in self.sections if section.is_open_to(visit)), None)


ADMINISTRATION: Final = Area(
    "/admin",
    "Administration",
    (
        Section("/admin/users", "Users", "users:read"),
        Section("/admin/roles", "Roles", "roles:read"),
        Section("/admin/api-keys", "API keys", "apikeys:read"),
        Section("/admin/security", "Security", "policies:read"),
        Section("/admin/audit", "Audit log", "audit:read"),
    ),
)
OPERATOR: Final = Area(
    "/operator",
    "Operator",
    (
        Section("/operator", "Overview", "platform:read"),
        Section("/operator/tenants", "Tenants", "tenants:read"),
        Section("/operator/keys", "Signing keys", "platform:read"),
        Section("/operator/certificates", "Certificates", "platform:read"),
        Section("/operator/secrets", "Secrets", "platform:read"),
        Section("/operator/guards", "Guards", "platform:read"),
        Section("/operator/limits", "Limits", "platform:read"),
        Section("/operator/audit", "Audit log", "platform:read"),
    ),
)
AREAS: Final = (ADMINISTRATION, OPERATOR)
