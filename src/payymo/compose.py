"""The one place where objects are built. Tests call it too, with clocks and entropy of their own."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import sqlalchemy as sa

from payymo.attempts.service import Attempts
from payymo.audit.checkpoints import AuditKey, Checkpoints, Signing
from payymo.audit.delivery import Delivery
from payymo.audit.erasing import Erasing
from payymo.audit.log import PAYLOADS, AuditLog
from payymo.audit.proving import Proving
from payymo.audit.reader import AuditReader
from payymo.audit.retention import Retention
from payymo.audit.sequencer import Sequencer
from payymo.audit.verification import Open, Verification
from payymo.certificates.development import DevelopmentAuthority
from payymo.certificates.lifecycle import PRIVATE_KEYS as CERTIFICATE_KEYS
from payymo.certificates.lifecycle import Lifecycle
from payymo.certificates.rotation import CertificateRotation
from payymo.certificates.service import Certificates
from payymo.clock import Clock, system_clock
from payymo.config import Settings
from payymo.connections import open_counters, open_engine
from payymo.db.work import Transaction, Work
from payymo.entropy import Entropy
from payymo.feed.service import Feed
from payymo.feed.waiting import Watch
from payymo.guards.model import GuardPolicy
from payymo.guards.service import Guards
from payymo.health.checks import checks_of
from payymo.health.model import Check
from payymo.health.service import Monitor
from payymo.keys.keeper import PRIVATE_KEYS, KeyKeeper
from payymo.keys.model import Report, raw_public
from payymo.keys.places import KeyPlaces
from payymo.keys.service import KeyRing
from payymo.limits.limiter import RateLimiter
from payymo.limits.overrides import Overrides
from payymo.limits.usage import Usage
from payymo.links.service import Links
from payymo.logs import SecurityLog, Trace
from payymo.mail.courier import Courier
from payymo.mail.outbox import SEALED as MAILS
from payymo.mail.outbox import Outbox
from payymo.policies import (
    certificate_policy,
    checkpoint_destinations,
    guessing_policy,
    key_policy,
    limit_policy,
    link_policy,
    mail_policy,
    mail_transport,
    password_cost,
    password_policy,
    refresh_policy,
    token_policy,
    webhook_sender,
)
from payymo.roles.service import Roles
from payymo.sealed import SealedRow
from payymo.secrets.encryption import SealBroken
from payymo.secrets.envelope import Column, Envelope
from payymo.secrets.providers import COLUMN, Places
from payymo.secrets.rotation import MasterRotation, Reencryption
from payymo.secrets.service import Secrets
from payymo.services import Services
from payymo.sessions.addresses import Addresses
from payymo.sessions.administration import Administration
from payymo.sessions.credentials import Credentials
from payymo.sessions.lockouts import Lockouts
from payymo.sessions.notices import Notices
from payymo.sessions.personal import PersonalData
from payymo.sessions.revocations import Revocations
from payymo.sessions.service import Sessions
from payymo.start import access_of, find_next_master_key, open_envelope, require_master_key
from payymo.tenants.service import Tenants
from payymo.tokens import TokenMinter, access_verifier, refresh_verifier
from payymo.users.budget import Budgets
from payymo.users.imports import UserImport
from payymo.users.passwords import Passwords
from payymo.users.policies import PasswordPolicies
from payymo.users.service import Users
from payymo.webhooks.courier import Courier as WebhookCourier
from payymo.webhooks.service import SEALED as WEBHOOK_SECRETS
from payymo.webhooks.service import Webhooks

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
class _Ground:
    """What every part stands on."""

    settings: Settings
    engine: sa.Engine
    work: Work
    clock: Clock
    entropy: Entropy
    log: SecurityLog
    audit: AuditLog
    passwords: Passwords
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class _Owners:
    """What tokens and accounts are made with."""

    feed: Feed
    guards: Guards
    keeper: KeyKeeper
    ring: KeyRing
    minter: TokenMinter
    tenants: Tenants
    roles: Roles
    policies: PasswordPolicies
    users: Users
    revocations: Revocations


@dataclass(frozen=True, slots=True)
class _Accounts:
    """How people prove themselves where a password alone does not do: by mail, and after too many tries."""

    attempts: Attempts
    links: Links
    outbox: Outbox
    courier: Courier
    notices: Notices
    lockouts: Lockouts
    credentials: Credentials
    addresses: Addresses


@dataclass(frozen=True, slots=True)
class _Trail:
    """What grows the audit logs, reads them, and lets them end."""

    sequencer: Sequencer
    reader: AuditReader
    retention: Retention
    erasing: Erasing


def _build(
    settings: Settings, engine: sa.Engine, clock: Clock, entropy: Entropy, log: SecurityLog, *, passwords: Passwords
) -> Services:
    work = Work(engine)
    masters = require_master_key(settings, engine, entropy), find_next_master_key(settings, entropy)
    envelope = open_envelope(settings, work, clock, entropy, masters)
    audit = AuditLog(work, clock, entropy, seal=envelope.seal, log=log)
    ground = _Ground(settings, engine, work, clock, entropy, log, audit, passwords, envelope)
    owners = _owners(ground)
    accounts, checkpoints = _accounts(ground, owners), _checkpoints(ground, owners)
    trail = _trail(ground, checkpoints)
    lifecycle = Lifecycle(envelope, certificate_policy(settings))
    counters = open_counters(settings, engine, clock)
    usage, overrides = Usage(work, clock), Overrides(work, clock, audit)
    certificates = Certificates(work, lifecycle, clock, audit)
    webhooks, webhook_courier = _webhooks(ground, certificates)
    open_payloads = _opener(work, envelope)
    secrets = Secrets(Places(work, envelope, clock, entropy, access_of(settings)), audit)
    return Services(
        settings=settings,
        engine=engine,
        work=work,
        clock=clock,
        entropy=entropy,
        log=log,
        audit=audit,
        sequencer=trail.sequencer,
        checkpoints=checkpoints,
        audit_reader=trail.reader,
        retention=trail.retention,
        erasing=trail.erasing,
        personal_data=_personal_data(ground, owners, accounts, trail),
        verification=Verification(work, checkpoints, open_payloads=open_payloads),
        proving=Proving(work, checkpoints, open_payloads=open_payloads),
        delivery=_delivery(ground, secrets),
        next_master_key=masters[1],
        envelope=envelope,
        secrets=secrets,
        master_rotation=MasterRotation(work, envelope, clock, audit),
        reencryption=Reencryption(work, envelope, clock, SEALED_COLUMNS, audit, before=trail.sequencer.integrate_all),
        keeper=owners.keeper,
        ring=owners.ring,
        guards=owners.guards,
        certificates=certificates,
        certificate_rotation=CertificateRotation(work, lifecycle, clock, audit),
        development_authority=DevelopmentAuthority(work, lifecycle, clock, entropy, audit),
        tenants=owners.tenants,
        roles=owners.roles,
        passwords=passwords,
        budgets=Budgets(work, passwords),
        users=owners.users,
        password_policies=owners.policies,
        user_import=UserImport(work, clock, entropy, passwords=passwords, roles=owners.roles, audit=audit),
        sessions=_sessions(ground, owners, accounts),
        revocations=owners.revocations,
        feed=owners.feed,
        watch=Watch(owners.feed),
        administration=_administration(ground, owners, accounts),
        credentials=accounts.credentials,
        addresses=accounts.addresses,
        links=accounts.links,
        outbox=accounts.outbox,
        courier=accounts.courier,
        webhooks=webhooks,
        webhook_courier=webhook_courier,
        attempts=accounts.attempts,
        lockouts=accounts.lockouts,
        limiter=RateLimiter(counters, limit_policy(settings.limits), clock, overrides=overrides, usage=usage),
        limit_usage=usage,
        limit_overrides=overrides,
        counters=counters,
        minter=owners.minter,
        verifier=access_verifier(owners.minter.policy, owners.ring, clock, cache_size=TOKEN_CACHE),
        health=Monitor(_checks(ground, owners, accounts, trail.sequencer), clock, log),
    )


def _checks(ground: _Ground, owners: _Owners, accounts: _Accounts, sequencer: Sequencer) -> tuple[Check, ...]:
    return checks_of(
        ground.engine,
        ground.work,
        ground.clock,
        ring=owners.ring,
        feed=owners.feed,
        outbox=accounts.outbox,
        sequencer=sequencer,
        duties_every=ground.settings.server.maintenance_seconds,
    )


def _owners(ground: _Ground) -> _Owners:
    settings, work, clock, entropy, audit = ground.settings, ground.work, ground.clock, ground.entropy, ground.audit
    access_ttl, keys = settings.tokens.access_ttl_seconds, key_policy(settings)
    feed = Feed(work, clock, entropy, access_ttl_seconds=access_ttl, audit=audit)
    keeper = KeyKeeper(work, ground.envelope, KeyPlaces(access_of(settings), entropy), clock, keys, audit=audit)
    guards = Guards(work, clock, entropy, policy=GuardPolicy(settings.feed_open_to), audit=audit, log=ground.log)
    ring = KeyRing(
        work, keeper, clock, keys, feed=feed, reports=_reports(guards, keys.calendar.jwks_max_age), audit=audit
    )
    roles = Roles(work, clock, feed=feed, audit=audit)
    names = ("payymo", urlsplit(settings.issuer).hostname or "")
    policies = PasswordPolicies(work, default=password_policy(settings), words=names, audit=audit)
    return _Owners(
        feed=feed,
        guards=guards,
        keeper=keeper,
        ring=ring,
        minter=TokenMinter(ring, entropy, token_policy(settings)),
        tenants=Tenants(work, clock, entropy, default_slug=settings.default_tenant, audit=audit),
        roles=roles,
        policies=policies,
        users=Users(work, clock, entropy, passwords=ground.passwords, policies=policies, roles=roles, audit=audit),
        revocations=Revocations(work, clock, feed, access_ttl_seconds=access_ttl, audit=audit),
    )


def _checkpoints(ground: _Ground, owners: _Owners) -> Checkpoints:
    ring, issuer = owners.ring, urlsplit(ground.settings.issuer)

    def signing() -> Signing:
        kid = ring.active_kid("audit")
        [key] = [key for key in ring.list_keys() if key.kid == kid]
        return Signing(raw_public(key), lambda message: ring.sign("audit", message, kid=kid))

    def keys() -> list[AuditKey]:
        return [AuditKey(raw_public(key), key.state == "revoked") for key in ring.list_ever("audit")]

    deployment = (issuer.netloc + issuer.path).rstrip("/")
    return Checkpoints(ground.work, ground.clock, deployment=deployment, signing=signing, keys=keys)


def _trail(ground: _Ground, checkpoints: Checkpoints) -> _Trail:
    work, clock, envelope = ground.work, ground.clock, ground.envelope
    keys, keep_days = checkpoints.verifier_keys, ground.settings.audit.keep_days
    sequencer = Sequencer(work, clock)
    return _Trail(
        sequencer=sequencer,
        reader=AuditReader(work, seal=envelope.seal, open_sealed=envelope.open, is_shredded=envelope.is_shredded),
        retention=Retention(work, clock, ground.audit, keys=keys, keep_days=keep_days),
        erasing=Erasing(work, clock, sequencer),
    )


def _personal_data(ground: _Ground, owners: _Owners, accounts: _Accounts, trail: _Trail) -> PersonalData:
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


def _delivery(ground: _Ground, secrets: Secrets) -> Delivery:
    name = ground.settings.audit.bearer_secret
    known: list[str] = []

    def token(*, is_refused: bool = False) -> str | None:
        """Read once, and again when it was refused: each reading is an event."""
        if name is not None and (is_refused or not known):
            known[:] = [secrets.get(name, trace=Trace(request_id="audit")).value.decode("ascii", "replace").strip()]
        return known[0] if known else None

    destinations = checkpoint_destinations(ground.settings, token)
    every = ground.settings.audit.every_seconds
    return Delivery(ground.work, ground.clock, ground.entropy, destinations, every_seconds=every)


def _opener(work: Work, envelope: Envelope) -> Open:
    """Opens what is personal in events. A tenant that was deleted has taken its keys with it."""

    def open_one(tx: Transaction, found: SealedRow) -> bytes | None:
        try:
            return envelope.open(tx, found.sealed, *found.place)
        except SealBroken:
            return None

    def open_all(tenant_id: uuid.UUID | None, found: Sequence[SealedRow]) -> list[bytes | None]:
        with work.platform(writes=False) if tenant_id is None else work.reading(tenant_id) as tx:
            return [] if envelope.is_shredded(tx) else [open_one(tx, row) for row in found]

    return open_all


def _accounts(ground: _Ground, owners: _Owners) -> _Accounts:
    settings, work, clock, entropy, audit = ground.settings, ground.work, ground.clock, ground.entropy, ground.audit
    mail = mail_policy(settings.mail)
    attempts = Attempts(work, clock, entropy, policy=guessing_policy(settings.lockout), audit=audit)
    outbox = Outbox(work, ground.envelope, clock, entropy, policy=mail, audit=audit)
    links, notices = Links(work, clock, entropy, link_policy(settings), audit=audit), Notices(outbox, clock)
    lockouts = Lockouts(work, attempts=attempts, users=owners.users, links=links, outbox=outbox, audit=audit)
    credentials = Credentials(
        work,
        clock,
        users=owners.users,
        links=links,
        outbox=outbox,
        notices=notices,
        lockouts=lockouts,
        revocations=owners.revocations,
        audit=audit,
    )
    addresses = Addresses(
        work,
        users=owners.users,
        credentials=credentials,
        links=links,
        outbox=outbox,
        notices=notices,
        lockouts=lockouts,
        audit=audit,
    )
    courier = Courier(
        work,
        ground.envelope,
        clock,
        entropy,
        policy=mail,
        transport=mail_transport(settings.mail, entropy),
        errands={"password-reset": credentials.send_reset, "registration": addresses.register},
        log=ground.log,
    )
    return _Accounts(attempts, links, outbox, courier, notices, lockouts, credentials, addresses)


def _webhooks(ground: _Ground, certificates: Certificates) -> tuple[Webhooks, WebhookCourier]:
    clock, entropy = ground.clock, ground.entropy
    parts = (ground.work, ground.envelope, clock, entropy)
    sender = webhook_sender(ground.settings, clock, entropy)
    webhooks = Webhooks(*parts, sender=sender, certificates=certificates, audit=ground.audit)
    return webhooks, WebhookCourier(*parts, webhooks=webhooks, sender=sender, log=ground.log)


def _sessions(ground: _Ground, owners: _Owners, accounts: _Accounts) -> Sessions:
    return Sessions(
        ground.work,
        ground.clock,
        ground.entropy,
        users=owners.users,
        roles=owners.roles,
        minter=owners.minter,
        refresh_verifier=refresh_verifier(owners.minter.policy, owners.ring, ground.clock),
        revocations=owners.revocations,
        policy=refresh_policy(ground.settings),
        notices=accounts.notices,
        audit=ground.audit,
    )


def _administration(ground: _Ground, owners: _Owners, accounts: _Accounts) -> Administration:
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


def _reports(guards: Guards, within_seconds: int) -> Callable[[], list[Report]]:
    """Answers what the key ring has to know of those who follow the feed."""

    def report() -> list[Report]:
        found = guards.list_followers(within_seconds=within_seconds)
        return [Report(frozenset(follower.kids), follower.last_seen_at) for follower in found]

    return report
