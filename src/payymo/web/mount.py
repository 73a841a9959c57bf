"""Which resources there are, and what each is built with."""

from collections.abc import Callable, Iterable

import email_validator  # noqa: F401 - loaded where it is used, for commands that don't: here before any request is
import structlog  # noqa: F401 - the same: no request waits for it, or tells by its time that it had to be loaded
from flask import Blueprint

import payymo.mail.letters  # noqa: F401 - the same: nor does anybody wait because a mail is written meanwhile
from payymo.services import Services
from payymo.sessions.actor import Administrator
from payymo.web.account_api import AccountApi
from payymo.web.admin_api import RolesApi, TenantsApi, UsersApi
from payymo.web.api_key_api import ApiKeysApi, TokenApi
from payymo.web.audit_api import ActivityApi, AuditApi, PlatformAuditApi
from payymo.web.auth_api import AuthApi
from payymo.web.brand_api import BrandApi
from payymo.web.caller import Gate, Principal
from payymo.web.console.figures import Measured
from payymo.web.console.opening import open_console
from payymo.web.discovery import DiscoveryApi
from payymo.web.dispatch import Mount
from payymo.web.door import Door
from payymo.web.event_api import EventApi
from payymo.web.feed_api import FeedApi, Waiting
from payymo.web.impersonation_api import ImpersonationApi
from payymo.web.pacing import Pacer
from payymo.web.personal_api import PersonalApi
from payymo.web.policy_api import PolicyApi
from payymo.web.routing import Route, routes_of
from payymo.web.session_api import SessionsApi
from payymo.web.webhook_api import WebhookApi
from payymo_guard import permits


def mount_services(
    services: Services, blueprint: Blueprint, *, has_pages: bool, measured: Measured | None = None
) -> Mount:
    """Put every route on a blueprint, and the pages for people, if it is to have any.

    `measured`: what the node has measured of itself, for pages that show it.
    """
    gate = Gate(
        tenants=services.tenants,
        verifier=services.verifier,
        feed=services.feed,
        guards=services.guards,
        trusted_proxies=services.settings.trusted_proxies,
    )

    def is_granted(principal: Principal, permission: str) -> bool:
        """Now; where somebody acts as the user, to both of them."""
        if principal.is_service:
            return permits(services.api_keys.permissions_of(principal.tenant_id, principal.user_id), permission)
        both = {principal.user_id, principal.actor_id or principal.user_id}
        with services.work.reading(principal.tenant_id) as tx:
            return all(permits(services.roles.grants_of(tx, one).permissions, permission) for one in both)

    def actor_of(principal: Principal, needs: str) -> Administrator:
        return Administrator(
            services.users,
            services.roles,
            services.clock,
            tenant_id=principal.tenant_id,
            user_id=principal.user_id,
            session_id=principal.session_id,
            permissions=principal.permissions,
            needs=needs,
        )

    mount = Mount(
        gate=gate,
        limiter=services.limiter,
        is_granted=is_granted,
        actor_of=actor_of,
        entropy=services.entropy,
        log=services.log,
        record=services.audit.record_apart,
        pacer=Pacer(services.budgets.of),
    )

    mount.mount(blueprint, *_resources(services, gate, lambda: mount.routes))
    if has_pages:
        open_console(services, blueprint, mount, gate, actor_of, measured=measured)
    return mount


def _resources(services: Services, gate: Gate, routes: Callable[[], Iterable[Route]]) -> tuple[object, ...]:
    """Every resource. `routes`: those that are mounted, for who asks what there is."""
    settings, waiting = services.settings, Waiting(services.watch)
    is_https = settings.issuer.startswith("https://")
    door = Door(attempts=services.attempts, limiter=services.limiter, is_https=is_https)
    return (
        AuthApi(
            sessions=services.sessions,
            impersonation=services.impersonation,
            addresses=services.addresses,
            users=services.users,
            gate=gate,
            door=door,
            registration_is_open=settings.registration.enabled,
            verification_is_required=settings.registration.verify_email == "required",
        ),
        AccountApi(
            credentials=services.credentials,
            addresses=services.addresses,
            lockouts=services.lockouts,
            users=services.users,
            door=door,
            limiter=services.limiter,
        ),
        UsersApi(users=services.users, sessions=services.sessions, administration=services.administration),
        ImpersonationApi(impersonation=services.impersonation, door=door),
        SessionsApi(sessions=services.sessions),
        RolesApi(roles=services.roles),
        PolicyApi(policies=services.password_policies),
        BrandApi(brands=services.brands),
        WebhookApi(webhooks=services.webhooks),
        ApiKeysApi(keys=services.api_keys, clock=services.clock),
        TokenApi(keys=services.api_keys, limiter=services.limiter),
        TenantsApi(tenants=services.tenants, administration=services.administration),
        AuditApi(reader=services.audit_reader, checkpoints=services.checkpoints),
        PlatformAuditApi(reader=services.audit_reader, checkpoints=services.checkpoints),
        ActivityApi(reader=services.audit_reader),
        PersonalApi(personal=services.personal_data, users=services.users, languages=services.languages),
        FeedApi(feed=services.feed, waiting=waiting, guards=services.guards),
        EventApi(
            feed=services.feed,
            waiting=waiting,
            guards=services.guards,
            minter=services.minter,
            clock=services.clock,
            log=services.log,
        ),
        DiscoveryApi(
            ring=services.ring,
            policy=services.minter.policy,
            health=services.health.health,
            routes=routes,
            jwks_max_age=settings.keys.jwks_max_age_seconds,
        ),
    )


def list_routes() -> tuple[Route, ...]:
    """What every route declares about itself, without a service behind it."""
    found = (
        declared
        for resource in (
            AuthApi,
            AccountApi,
            UsersApi,
            ImpersonationApi,
            SessionsApi,
            RolesApi,
            PolicyApi,
            BrandApi,
            WebhookApi,
            ApiKeysApi,
            TokenApi,
            TenantsApi,
            AuditApi,
            PlatformAuditApi,
            ActivityApi,
            PersonalApi,
            FeedApi,
            EventApi,
            DiscoveryApi,
        )
        for declared, _ in routes_of(resource)
    )
    return tuple(found)
