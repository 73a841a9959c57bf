"""Builds the desks of a tenant's administration."""

import uuid
from typing import Final

from payymo.limits.model import TIERS, Tier, parse_limits
from payymo.phrases import Phrase
from payymo.services import Services
from payymo.web.console.admin_api_keys import AdminApiKeysDesk
from payymo.web.console.admin_appearance import AppearanceDesk
from payymo.web.console.admin_roles import AdminRolesDesk
from payymo.web.console.admin_security import AdminSecurityDesk, Lifetimes, Lockout, Protection
from payymo.web.console.admin_sessions import AdminSessionsDesk
from payymo.web.console.admin_user import AdminUserDesk
from payymo.web.console.admin_users import AdminUsersDesk
from payymo.web.console.impersonation import ImpersonationDesk
from payymo.web.console.operator_limits import limit_phrase

ADMIN_DESKS: Final[tuple[type, ...]] = (
    *(AdminUsersDesk, AdminUserDesk, ImpersonationDesk, AdminSessionsDesk),
    *(AdminRolesDesk, AdminApiKeysDesk, AdminSecurityDesk, AppearanceDesk),
)


WORDS: Final[dict[Tier, str]] = {
    "login": Phrase("Signing in, and whatever else asks for a password or a link"),
    "refresh": Phrase("Programs that renew a token"),
    "verify": Phrase("Programs that ask whether a token is good"),
    "registration": Phrase("Registering"),
    "default": Phrase("Everything else"),
    "mail": Phrase("Letters to one address"),
    "service": Phrase("Services with a credential of their own"),
}
"""What each class of requests is."""


def build_admin_desks(services: Services) -> tuple[object, ...]:
    """Each of them."""
    return (
        AdminUsersDesk(
            directory=services.directory,
            users=services.users,
            invitations=services.invitations,
            roles=services.roles,
            limiter=services.limiter,
        ),
        AdminUserDesk(
            users=services.users,
            roles=services.roles,
            sessions=services.sessions,
            impersonation=services.impersonation,
            administration=services.administration,
            personal=services.personal_data,
            reader=services.audit_reader,
        ),
        ImpersonationDesk(
            users=services.users,
            acting=services.acting,
            longest_seconds=services.settings.impersonation.seconds,
        ),
        AdminSessionsDesk(
            sessions=services.sessions,
            impersonation=services.impersonation,
            administration=services.administration,
        ),
        AdminRolesDesk(roles=services.roles),
        AdminApiKeysDesk(
            keys=services.api_keys,
            roles=services.roles,
            clock=services.clock,
            token_endpoint=f"{services.settings.issuer.rstrip('/')}/api/auth/token",
        ),
        AdminSecurityDesk(policies=services.password_policies, protection=_protection_of(services)),
        AppearanceDesk(brands=services.brands),
    )


def _protection_of(services: Services) -> Protection:
    settings = services.settings
    lockout, tokens, console = settings.lockout, settings.tokens, settings.console
    return Protection(
        registration_is_open=settings.registration.enabled,
        verification_is_required=settings.registration.verify_email == "required",
        mail_is_on=services.outbox.is_on,
        lockout=Lockout(lockout.failures, lockout.first_wait_seconds, lockout.longest_wait_seconds, lockout.stop)
        if lockout.enabled
        else None,
        lifetimes=Lifetimes(
            console.idle_seconds,
            console.session_seconds,
            tokens.access_ttl_seconds,
            tokens.refresh_ttl_seconds,
            tokens.session_ttl_seconds,
        ),
        limits_of=lambda tenant_id: _limits_of(services, tenant_id),
        sender_of=lambda tenant_id: services.outbox.sender_of(tenant_id).address,
    )


def _limits_of(services: Services, tenant_id: uuid.UUID) -> dict[str, str]:
    """As `payymo.limits.limiter` takes them: a tenant's own count where the class is limited at all."""
    usual = services.settings.limits
    found: dict[str, str] = {}
    for tier in TIERS:
        limits = parse_limits(getattr(usual, tier)) if usual.enabled else ()
        own = services.limit_overrides.of_tenant(tenant_id, tier) if limits else None
        held = [limit_phrase(limit.amount, limit.get_expiry()) for limit in (limits if own is None else own)]
        found[WORDS[tier]] = Phrase.joined(held, ", ")
    return found
