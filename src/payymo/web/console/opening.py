"""Opens the console: which desks there are, and what each is built with."""

from typing import Final

from flask import Blueprint

from payymo.services import Services
from payymo.web.caller import Gate
from payymo.web.console.account import AccountDesk
from payymo.web.console.admin import AdminDesk
from payymo.web.console.admin_desks import ADMIN_DESKS, build_admin_desks
from payymo.web.console.areas import ADMINISTRATION, AREAS, OPERATOR
from payymo.web.console.assets import load_assets
from payymo.web.console.audit import AuditDesk, PlatformAuditDesk
from payymo.web.console.branding import Branding
from payymo.web.console.cookies import Cookies
from payymo.web.console.entry import EntryDesk
from payymo.web.console.explorer import Explorer
from payymo.web.console.figures import Measured
from payymo.web.console.links import LinksDesk
from payymo.web.console.operator_certificates import CertificatesDesk
from payymo.web.console.operator_guards import GuardsDesk
from payymo.web.console.operator_keys import KeysDesk
from payymo.web.console.operator_limits import LimitsDesk
from payymo.web.console.operator_overview import OverviewDesk
from payymo.web.console.operator_performance import PerformanceDesk, kinds_of
from payymo.web.console.operator_secrets import SecretsDesk
from payymo.web.console.operator_tenants import TenantsDesk
from payymo.web.console.pages import Page, pages_of
from payymo.web.console.reception import ActorOf, Reception
from payymo.web.console.rendering import Renderer
from payymo.web.console.tongue import LanguageDesk
from payymo.web.dispatch import Mount
from payymo.web.door import Door

DESKS: Final[tuple[type, ...]] = (
    *(LanguageDesk, EntryDesk, LinksDesk, AccountDesk, AdminDesk, *ADMIN_DESKS, AuditDesk),
    *(
        PerformanceDesk,
        OverviewDesk,
        TenantsDesk,
        KeysDesk,
        CertificatesDesk,
        SecretsDesk,
        GuardsDesk,
        LimitsDesk,
        PlatformAuditDesk,
    ),
)


def list_pages() -> tuple[Page, ...]:
    """What every page declares about itself, without a service behind it."""
    return tuple(declared for desk in DESKS for declared, _ in pages_of(desk))


def open_console(
    services: Services,
    blueprint: Blueprint,
    mount: Mount,
    gate: Gate,
    actor_of: ActorOf,
    *,
    measured: Measured | None = None,
) -> Reception:
    """Put every page on a blueprint."""
    settings = services.settings
    is_https = settings.issuer.startswith("https://")
    assets, door = load_assets(), Door(attempts=services.attempts, limiter=services.limiter, is_https=is_https)
    facts = {
        "registration_is_open": settings.registration.enabled,
        "mail_is_on": services.outbox.is_on,
        "areas": AREAS,
        "administration": ADMINISTRATION,
        "operator": OPERATOR,
    }
    reception = Reception(
        mount=mount,
        gate=gate,
        browsers=services.browsers,
        acting=services.acting,
        actor_of=actor_of,
        record=services.audit.record_apart,
        cookies=Cookies(is_https=is_https),
        assets=assets,
        brands=services.brands,
        renderer=Renderer(
            entropy=services.entropy,
            clock=services.clock,
            assets=assets,
            branding=Branding(services.brands),
            facts=facts,
        ),
        clock=services.clock,
    )
    reception.open(
        blueprint,
        *_desks_for_everyone(services, door),
        *build_admin_desks(services),
        AuditDesk(explorer=Explorer(reader=services.audit_reader, checkpoints=services.checkpoints)),
        *_operator_desks(services),
        PerformanceDesk(
            measured=measured,
            kinds=kinds_of(mount.routes, list_pages()),
            guards=services.guards,
            clock=services.clock,
        ),
    )
    return reception


def _desks_for_everyone(services: Services, door: Door) -> tuple[object, ...]:
    registration = services.settings.registration
    return (
        EntryDesk(
            browsers=services.browsers,
            sessions=services.sessions,
            addresses=services.addresses,
            door=door,
            registration_is_open=registration.enabled,
            verification_is_required=registration.verify_email == "required",
        ),
        LinksDesk(
            credentials=services.credentials,
            addresses=services.addresses,
            lockouts=services.lockouts,
            door=door,
        ),
        AccountDesk(
            sessions=services.sessions,
            browsers=services.browsers,
            impersonation=services.impersonation,
            credentials=services.credentials,
            addresses=services.addresses,
            personal=services.personal_data,
            reader=services.audit_reader,
            door=door,
            limiter=services.limiter,
        ),
        LanguageDesk(languages=services.languages),
        AdminDesk(),
    )


def _operator_desks(services: Services) -> tuple[object, ...]:
    administration, clock = services.administration, services.clock
    return (
        OverviewDesk(services=services),
        TenantsDesk(tenants=services.tenants, administration=administration),
        KeysDesk(
            ring=services.ring,
            administration=administration,
            clock=clock,
            rotates_automatically=services.settings.keys.rotate_automatically,
        ),
        CertificatesDesk(certificates=services.certificates, clock=clock),
        SecretsDesk(secrets=services.secrets),
        GuardsDesk(guards=services.guards, clock=clock),
        LimitsDesk(usage=services.limit_usage, overrides=services.limit_overrides),
        PlatformAuditDesk(explorer=Explorer(reader=services.audit_reader, checkpoints=services.checkpoints)),
    )
