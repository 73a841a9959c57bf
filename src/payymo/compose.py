"""The one place where objects are built. Tests call it too, with clocks and entropy of their own."""

from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa

from payymo.apikeys.service import ApiKeys
from payymo.audit.damage import LogsDamaged
from payymo.audit.log import PAYLOADS, AuditLog
from payymo.audit.sequencer import Sequencer
from payymo.certificates.development import DevelopmentAuthority
from payymo.certificates.lifecycle import PRIVATE_KEYS as CERTIFICATE_KEYS
from payymo.certificates.lifecycle import Lifecycle
from payymo.certificates.rotation import CertificateRotation
from payymo.certificates.service import Certificates
from payymo.clock import Clock, system_clock
from payymo.config import Settings
from payymo.connections import open_counters, open_engine
from payymo.db.schema import PLATFORM_LOG
from payymo.db.work import Work
from payymo.entropy import Entropy
from payymo.feed.waiting import Watch
from payymo.health.checks import checks_of
from payymo.health.model import Check
from payymo.health.service import Monitor
from payymo.keys.keeper import PRIVATE_KEYS
from payymo.limits.limiter import RateLimiter
from payymo.limits.overrides import Overrides
from payymo.limits.usage import Usage
from payymo.logins import logins_of
from payymo.logs import SecurityLog
from payymo.mail.outbox import SEALED as MAILS
from payymo.parts import Accounts, Ground, Owners, accounts_of, owners_of
from payymo.policies import (
    certificate_policy,
    limit_policy,
    password_cost,
    webhook_sender,
)
from payymo.secrets.envelope import Column
from payymo.secrets.providers import COLUMN, Places
from payymo.secrets.rotation import Domain, MasterRotation, Reencryption
from payymo.secrets.service import Secrets
from payymo.services import Services
from payymo.sessions.administration import Administration
from payymo.sessions.personal import PersonalData
from payymo.start import access_of, find_next_master_key, open_envelope, require_master_key
from payymo.tokens import access_verifier
from payymo.trail import Trail, delivery_of, trail_of
from payymo.users.budget import Budgets
from payymo.users.imports import UserImport
from payymo.users.languages import Languages
from payymo.users.passwords import Passwords
from payymo.webhooks.courier import Courier as WebhookCourier
from payymo.webhooks.service import Webhooks
from payymo.webhooks.signing import SEALED as WEBHOOK_SECRETS
from payymo.webhooks.signing import Signing

TOKEN_CACHE = 10_000
"""Verified access tokens that a process remembers. What is remembered is the proof, not the permission to come in:
revocation, times and tenant are checked each time."""
SEALED_COLUMNS = (PRIVATE_KEYS, COLUMN, CERTIFICATE_KEYS, MAILS, Column(*PAYLOADS), WEBHOOK_SECRETS)
"""Every column of sealed values. If one were missing, re-encryption would stop at it, and lose nothing."""


def compose(
    settings: Settings,
    *,
    clock: Clock = system_clock,
    entropy: Entropy | None = None,
    log: SecurityLog | None = None,
    passwords: Passwords | None = None,
    signs: bool = True,
    makes: bool = True,
) -> Services:
    """Build the service. Raises Misconfigured with every reason why it can't run like this; then nothing is written.

    Not `signs`: for who manages it. Then keys that can't be used now are no reason not to begin. Not `makes`: for who
    only looks. What is missing stays missing.
    """
    engine = open_engine(settings)
    log = log or SecurityLog(json=settings.is_production)
    try:
        passwords = passwords or Passwords(cost=password_cost(settings), processes=settings.server.workers)
        built = _build(settings, engine, clock, entropy or Entropy(), log, passwords=passwords)
        if makes:
            built.tenants.ensure_default()
        if makes and signs:
            built.ring.ensure()
        elif makes:
            built.ring.try_to_ensure()
    except BaseException:
        engine.dispose()
        raise
    return built


@dataclass(frozen=True, slots=True)
class _Keeping:
    """What is kept for others: secrets and certificates; and the limits."""

    secrets: Secrets
    master_rotation: MasterRotation
    reencryption: Reencryption
    certificates: Certificates
    certificate_rotation: CertificateRotation
    development_authority: DevelopmentAuthority
    limiter: RateLimiter
    usage: Usage
    overrides: Overrides
    webhooks: Webhooks
    webhook_courier: WebhookCourier


def _build(
    settings: Settings, engine: sa.Engine, clock: Clock, entropy: Entropy, log: SecurityLog, *, passwords: Passwords
) -> Services:
    work = Work(engine)
    current, following = require_master_key(settings, engine, entropy), find_next_master_key(settings, entropy)
    envelope = open_envelope(settings, work, clock, entropy, (current, following))
    audit = AuditLog(work, clock, entropy, seal=envelope.seal, log=log)
    ground = Ground(settings, engine, work, clock, entropy, log, audit, passwords, envelope, following)
    owners = owners_of(ground)
    trail = trail_of(ground, owners)
    return _services(ground, owners, accounts_of(ground, owners), trail, _keeping(ground, trail))


def _keeping(ground: Ground, trail: Trail) -> _Keeping:
    settings, work, clock, audit = ground.settings, ground.work, ground.clock, ground.audit
    envelope, entropy, before = ground.envelope, ground.entropy, partial(_settle, trail.sequencer)
    lifecycle = Lifecycle(envelope, certificate_policy(settings))
    counters = open_counters(settings, ground.engine, clock)
    usage, overrides = Usage(work, clock), Overrides(work, clock, audit)
    certificates = Certificates(work, lifecycle, clock, audit)
    webhooks, courier = _webhooks(ground, certificates)
    return _Keeping(
        secrets=Secrets(Places(work, envelope, clock, entropy, access_of(settings)), audit),
        master_rotation=MasterRotation(work, envelope, clock, audit),
        reencryption=Reencryption(work, envelope, clock, SEALED_COLUMNS, audit, before=before),
        certificates=certificates,
        certificate_rotation=CertificateRotation(work, lifecycle, clock, audit),
        development_authority=DevelopmentAuthority(work, lifecycle, clock, entropy, audit),
        limiter=RateLimiter(
            counters,
            limit_policy(settings.limits),
            clock,
            overrides=overrides,
            usage=usage,
            advise=partial(ground.log.advise, "limits"),
        ),
        usage=usage,
        overrides=overrides,
        webhooks=webhooks,
        webhook_courier=courier,
    )


def _settle(sequencer: Sequencer) -> frozenset[Domain]:
    """Give events their positions. Answers for whose logs that can't be done: they were changed."""
    try:
        sequencer.integrate_all()
    except LogsDamaged as damaged:
        return frozenset(Domain(None if log == PLATFORM_LOG else log, PAYLOADS[0]) for log in damaged.logs)
    return frozenset()


def _services(ground: Ground, owners: Owners, accounts: Accounts, trail: Trail, keeping: _Keeping) -> Services:
    logins = logins_of(ground, owners, accounts)
    return Services(
        *(ground.settings, ground.engine, ground.work, ground.clock, ground.entropy, ground.log, ground.audit),
        sequencer=trail.sequencer,
        checkpoints=trail.checkpoints,
        audit_reader=trail.reader,
        retention=trail.retention,
        erasing=trail.erasing,
        personal_data=_personal_data(ground, owners, accounts, trail),
        verification=trail.verification,
        proving=trail.proving,
        delivery=delivery_of(ground, keeping.secrets),
        next_master_key=ground.next_master_key,
        envelope=ground.envelope,
        secrets=keeping.secrets,
        master_rotation=keeping.master_rotation,
        reencryption=keeping.reencryption,
        keeper=owners.keeper,
        ring=owners.ring,
        guards=owners.guards,
        certificates=keeping.certificates,
        certificate_rotation=keeping.certificate_rotation,
        development_authority=keeping.development_authority,
        tenants=owners.tenants,
        brands=owners.brands,
        roles=owners.roles,
        passwords=ground.passwords,
        budgets=Budgets(ground.work, ground.passwords, ground.entropy),
        users=owners.users,
        directory=owners.directory,
        languages=Languages(ground.work),
        password_policies=owners.policies,
        user_import=_user_import(ground, owners),
        sessions=logins.sessions,
        browsers=logins.browsers,
        impersonation=logins.impersonation,
        acting=logins.acting,
        revocations=owners.revocations,
        feed=owners.feed,
        watch=Watch(owners.feed),
        administration=_administration(ground, owners, accounts),
        credentials=accounts.credentials,
        addresses=accounts.addresses,
        invitations=accounts.invitations,
        links=accounts.links,
        outbox=accounts.outbox,
        courier=accounts.courier,
        webhooks=keeping.webhooks,
        webhook_courier=keeping.webhook_courier,
        attempts=accounts.attempts,
        lockouts=accounts.lockouts,
        limiter=keeping.limiter,
        limit_usage=keeping.usage,
        limit_overrides=keeping.overrides,
        minter=owners.minter,
        api_keys=_api_keys(ground, owners),
        verifier=access_verifier(owners.minter.policy, owners.ring, ground.clock, cache_size=TOKEN_CACHE),
        health=Monitor(_checks(ground, owners, accounts, trail.sequencer), ground.clock, ground.log),
    )


def _api_keys(ground: Ground, owners: Owners) -> ApiKeys:
    parts = (ground.work, ground.clock, ground.entropy)
    return ApiKeys(*parts, minter=owners.minter, feed=owners.feed, audit=ground.audit)


def _user_import(ground: Ground, owners: Owners) -> UserImport:
    parts = (ground.work, ground.clock, ground.entropy)
    return UserImport(*parts, passwords=ground.passwords, roles=owners.roles, audit=ground.audit)


def _checks(ground: Ground, owners: Owners, accounts: Accounts, sequencer: Sequencer) -> tuple[Check, ...]:
    return checks_of(
        ground.engine,
        ground.work,
        ground.clock,
        ring=owners.ring,
        require_masters=ground.envelope.require_masters,
        feed=owners.feed,
        outbox=accounts.outbox,
        sequencer=sequencer,
        duties_every=ground.settings.server.maintenance_seconds,
    )


def _personal_data(ground: Ground, owners: Owners, accounts: Accounts, trail: Trail) -> PersonalData:
    return PersonalData(
        ground.work,
        ground.clock,
        users=owners.users,
        roles=owners.roles,
        attempts=accounts.attempts,
        lockouts=accounts.lockouts,
        revocations=owners.revocations,
        links=accounts.links,
        outbox=accounts.outbox,
        reader=trail.reader,
        erasing=trail.erasing,
        audit=ground.audit,
    )


def _webhooks(ground: Ground, certificates: Certificates) -> tuple[Webhooks, WebhookCourier]:
    work, clock, entropy, audit, log = ground.work, ground.clock, ground.entropy, ground.audit, ground.log
    sender, parts = webhook_sender(ground.settings, clock, entropy), (work, ground.envelope, clock, entropy)
    signing = Signing(ground.envelope, clock, entropy, certificates=certificates)
    webhooks = Webhooks(work, clock, entropy, sender=sender, signing=signing, certificates=certificates, audit=audit)
    return webhooks, WebhookCourier(*parts, webhooks=webhooks, signing=signing, sender=sender, audit=audit, log=log)


def _administration(ground: Ground, owners: Owners, accounts: Accounts) -> Administration:
    return Administration(
        ground.work,
        tenants=owners.tenants,
        users=owners.users,
        roles=owners.roles,
        revocations=owners.revocations,
        lockouts=accounts.lockouts,
        feed=owners.feed,
        ring=owners.ring,
        links=accounts.links,
        outbox=accounts.outbox,
        notices=accounts.notices,
        audit=ground.audit,
    )
