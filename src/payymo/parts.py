"""The parts that others stand on, built: who owns what, and how people prove themselves."""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import sqlalchemy as sa

from payymo.attempts.service import Attempts
from payymo.audit.log import AuditLog
from payymo.brands.service import Brands
from payymo.clock import Clock
from payymo.config import Settings
from payymo.db.work import Transaction, Work
from payymo.entropy import Entropy
from payymo.feed.service import Feed
from payymo.guards.model import GuardPolicy
from payymo.guards.service import Guards
from payymo.keys.keeper import KeyKeeper
from payymo.keys.model import Report
from payymo.keys.places import KeyPlaces
from payymo.keys.service import KeyRing
from payymo.links.service import Links
from payymo.logs import SecurityLog
from payymo.mail.courier import Courier
from payymo.mail.model import Look
from payymo.mail.outbox import Outbox
from payymo.policies import (
    guessing_policy,
    key_policy,
    link_policy,
    mail_policy,
    mail_transport,
    password_policy,
    token_policy,
)
from payymo.roles.service import Roles
from payymo.secrets.envelope import Envelope
from payymo.secrets.model import MasterKey
from payymo.sessions.addresses import Addresses
from payymo.sessions.beginning import Beginning
from payymo.sessions.credentials import Credentials
from payymo.sessions.invitations import Invitations
from payymo.sessions.lockouts import Lockouts
from payymo.sessions.notices import Notices
from payymo.sessions.revocations import Revocations
from payymo.start import access_of
from payymo.tenants.service import Tenants
from payymo.tokens import TokenMinter
from payymo.users.directory import Directory
from payymo.users.passwords import Passwords
from payymo.users.policies import PasswordPolicies
from payymo.users.service import Users


@dataclass(frozen=True, slots=True)
class Ground:
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
    next_master_key: MasterKey | None


@dataclass(frozen=True, slots=True)
class Owners:
    """What tokens and accounts are made with."""

    feed: Feed
    guards: Guards
    keeper: KeyKeeper
    ring: KeyRing
    minter: TokenMinter
    tenants: Tenants
    brands: Brands
    roles: Roles
    policies: PasswordPolicies
    users: Users
    directory: Directory
    revocations: Revocations


@dataclass(frozen=True, slots=True)
class Accounts:
    """How people prove themselves where a password alone does not do: by mail, and after too many tries."""

    attempts: Attempts
    links: Links
    outbox: Outbox
    courier: Courier
    notices: Notices
    lockouts: Lockouts
    credentials: Credentials
    addresses: Addresses
    invitations: Invitations
    beginning: Beginning


def owners_of(ground: Ground) -> Owners:
    """Whoever owns something that tokens and accounts are made of."""
    settings, work, clock, entropy, audit = ground.settings, ground.work, ground.clock, ground.entropy, ground.audit
    access_ttl, keys = settings.tokens.access_ttl_seconds, key_policy(settings)
    feed = Feed(work, clock, entropy, access_ttl_seconds=access_ttl, audit=audit)
    keeper = KeyKeeper(work, ground.envelope, KeyPlaces(access_of(settings), entropy), clock, keys, audit=audit)
    guards = Guards(work, clock, entropy, policy=GuardPolicy(settings.feed_open_to), audit=audit, log=ground.log)
    ring = KeyRing(
        work, keeper, clock, keys, feed=feed, reports=_reports(guards, keys.calendar.jwks_max_age), audit=audit
    )
    revocations = Revocations(work, clock, feed, audit=audit)
    roles = Roles(work, clock, revokes=revocations, audit=audit)
    names = ("payymo", urlsplit(settings.issuer).hostname or "")
    policies = PasswordPolicies(work, default=password_policy(settings), words=names, audit=audit)
    return Owners(
        feed=feed,
        guards=guards,
        keeper=keeper,
        ring=ring,
        minter=TokenMinter(ring, entropy, token_policy(settings)),
        tenants=Tenants(work, clock, entropy, default_slug=settings.default_tenant, audit=audit),
        brands=Brands(work, clock, audit=audit),
        roles=roles,
        policies=policies,
        users=Users(work, clock, entropy, passwords=ground.passwords, policies=policies, roles=roles, audit=audit),
        directory=Directory(work, roles=roles),
        revocations=revocations,
    )


def accounts_of(ground: Ground, owners: Owners) -> Accounts:
    """Mail, links, and what guessing costs."""
    settings, work, clock, entropy, audit = ground.settings, ground.work, ground.clock, ground.entropy, ground.audit
    mail = mail_policy(settings.mail)
    attempts = Attempts(work, clock, entropy, policy=guessing_policy(settings.lockout), audit=audit)
    look_in = _look_in(owners.brands)
    outbox = Outbox(work, ground.envelope, clock, entropy, policy=mail, look_in=look_in, audit=audit)
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
        look_in=look_in,
        log=ground.log,
    )
    beginning = Beginning(
        work,
        clock,
        entropy,
        users=owners.users,
        roles=owners.roles,
        refresh_kid=owners.minter.active_refresh_kid,
        notices=notices,
        audit=audit,
    )
    invitations = Invitations(work, users=owners.users, links=links, outbox=outbox, audit=audit)
    return Accounts(attempts, links, outbox, courier, notices, lockouts, credentials, addresses, invitations, beginning)


def _look_in(brands: Brands) -> Callable[[Transaction], Look | None]:
    """Answers what letters have to know of a tenant's brand."""

    def find(tx: Transaction) -> Look | None:
        brand = brands.find_in(tx)
        return None if brand is None else Look(brand.name, brand.accent, brand.language)

    return find


def _reports(guards: Guards, within_seconds: int) -> Callable[[], list[Report]]:
    """Answers what the key ring has to know of those who follow the feed."""

    def report() -> list[Report]:
        found = guards.list_followers(within_seconds=within_seconds)
        return [Report(frozenset(follower.kids), follower.last_seen_at) for follower in found]

    return report
