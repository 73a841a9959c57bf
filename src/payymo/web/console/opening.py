"""Opens the console: which desks there are, and what each is built with."""

from dataclasses import dataclass
from typing import Final

from flask import Blueprint

from payymo.services import Services
from payymo.web.caller import Gate
from payymo.web.console.account import AccountDesk
from payymo.web.console.admin_desks import ADMIN_DESKS, build_admin_desks
from payymo.web.console.admin_home import AdminHomeDesk
from payymo.web.console.assets import load_assets
from payymo.web.console.cookies import Cookies
from payymo.web.console.entry import EntryDesk
from payymo.web.console.links import LinksDesk
from payymo.web.console.pages import Page, pages_of
from payymo.web.console.reception import ActorOf, Reception
from payymo.web.console.rendering import Renderer
from payymo.web.console.visit import Visit
from payymo.web.door import Door
from payymo.web.routing import Mount


@dataclass(frozen=True, slots=True)
class Area:
    """A part of the console that not everybody sees. `permission`: of who does."""

    path: str
    title: str
    permission: str

    def is_open_to(self, visit: Visit) -> bool:
        """Whether it is worth a link."""
        return visit.may(self.permission)


AREAS: Final[tuple[Area, ...]] = (
    Area("/admin/users", "Users", "users:read"),
    Area("/admin/roles", "Roles", "roles:read"),
    Area("/admin/security", "Security", "policies:read"),
)
DESKS: Final[tuple[type, ...]] = (EntryDesk, LinksDesk, AccountDesk, AdminHomeDesk, *ADMIN_DESKS)


def list_pages() -> tuple[Page, ...]:
    """What every page declares about itself, without a service behind it."""
    return tuple(declared for desk in DESKS for declared, _ in pages_of(desk))


def open_console(services: Services, blueprint: Blueprint, mount: Mount, gate: Gate, actor_of: ActorOf) -> Reception:
    """Put every page on a blueprint."""
    settings = services.settings
    is_https = settings.issuer.startswith("https://")
    assets, door = load_assets(), Door(attempts=services.attempts, limiter=services.limiter, is_https=is_https)
    facts = {
        "registration_is_open": settings.registration.enabled,
        "mail_is_on": services.outbox.is_on,
        "areas": AREAS,
    }
    reception = Reception(
        mount=mount,
        gate=gate,
        browsers=services.browsers,
        actor_of=actor_of,
        record=services.audit.record_apart,
        cookies=Cookies(is_https=is_https),
        assets=assets,
        renderer=Renderer(entropy=services.entropy, clock=services.clock, assets=assets, facts=facts),
        clock=services.clock,
    )
    reception.open(
        blueprint,
        EntryDesk(
            browsers=services.browsers,
            sessions=services.sessions,
            addresses=services.addresses,
            door=door,
            limiter=services.limiter,
            registration_is_open=settings.registration.enabled,
            verification_is_required=settings.registration.verify_email == "required",
        ),
        LinksDesk(
            credentials=services.credentials,
            addresses=services.addresses,
            lockouts=services.lockouts,
            limiter=services.limiter,
        ),
        AccountDesk(
            sessions=services.sessions,
            browsers=services.browsers,
            credentials=services.credentials,
            addresses=services.addresses,
            personal=services.personal_data,
            reader=services.audit_reader,
            door=door,
            limiter=services.limiter,
        ),
        AdminHomeDesk([(area.path, area.permission) for area in AREAS if area.path.startswith("/admin/")]),
        *build_admin_desks(services),
    )
    return reception
