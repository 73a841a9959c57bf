"""The parts of the console that not everybody sees, and the pages in each: what the navigation is made of."""

from dataclasses import dataclass
from typing import Final

from payymo.phrases import Phrase
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
    Phrase("Administration"),
    (
        Section("/admin/users", Phrase("Users"), "users:read"),
        Section("/admin/sessions", Phrase("Sessions"), "sessions:read"),
        Section("/admin/roles", Phrase("Roles"), "roles:read"),
        Section("/admin/api-keys", Phrase("API keys"), "apikeys:read"),
        Section("/admin/security", Phrase("Security"), "policies:read"),
        Section("/admin/appearance", Phrase("Appearance"), "policies:read"),
        Section("/admin/audit", Phrase("Audit log"), "audit:read"),
    ),
)
OPERATOR: Final = Area(
    "/operator",
    Phrase("Operator"),
    (
        Section("/operator", Phrase("Overview"), "platform:read"),
        Section("/operator/performance", Phrase("Performance"), "platform:read"),
        Section("/operator/tenants", Phrase("Tenants"), "tenants:read"),
        Section("/operator/keys", Phrase("Signing keys"), "platform:read"),
        Section("/operator/certificates", Phrase("Certificates"), "platform:read"),
        Section("/operator/secrets", Phrase("Secrets"), "platform:read"),
        Section("/operator/guards", Phrase("Guards"), "platform:read"),
        Section("/operator/limits", Phrase("Limits"), "platform:read"),
        Section("/operator/audit", Phrase("Audit log"), "platform:read"),
    ),
)
AREAS: Final = (ADMINISTRATION, OPERATOR)
