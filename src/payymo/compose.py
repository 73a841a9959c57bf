"""The one place where objects are built. Tests call it too, with clocks and entropy of their own."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import sqlalchemy as sa
from limits.storage import RedisStorage, Storage
from sqlalchemy.pool import QueuePool

from payymo.attempts.service import Attempts
from payymo.certificates.development import DevelopmentAuthority
from payymo.certificates.lifecycle import PRIVATE_KEYS as CERTIFICATE_KEYS
from payymo.certificates.lifecycle import Lifecycle
from payymo.certificates.rotation import CertificateRotation
from payymo.certificates.service import Certificates
from payymo.clock import Clock, system_clock
from payymo.config import Settings, reveal
from payymo.db.lease import Lease
from payymo.db.revision import is_current
from payymo.db.work import Work, connect
from payymo.entropy import Entropy
from payymo.errors import Misconfigured, PayymoError
from payymo.feed.service import Feed
from payymo.feed.waiting import Watch
from payymo.guards.model import GuardPolicy
from payymo.guards.service import Guards
from payymo.keys.keeper import PRIVATE_KEYS, KeyKeeper
from payymo.keys.model import Report
from payymo.keys.places import KeyPlaces
from payymo.keys.service import KeyRing
from payymo.limits.limiter import RateLimiter
from payymo.limits.overrides import Overrides
from payymo.limits.storage import SqlStorage, counters_engine
from payymo.limits.usage import Usage
from payymo.links.service import Links
from payymo.logs import SecurityLog, Trace
from payymo.mail.courier import Courier
from payymo.mail.outbox import SEALED as MAILS
from payymo.mail.outbox import Outbox
from payymo.policies import (
    certificate_policy,
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
)
from payymo.roles.service import Roles
from payymo.secrets.envelope import Envelope, check_master_keys
from payymo.secrets.model import MasterKey
from payymo.secrets.providers import COLUMN, Places
from payymo.secrets.rotation import MasterRotation, Reencryption
from payymo.secrets.service import Secrets
from payymo.sessions.addresses import Addresses
from payymo.sessions.administration import Administration
from payymo.sessions.credentials import Credentials
from payymo.sessions.lockouts import Lockouts
from payymo.sessions.notices import Notices
from payymo.sessions.revocations import Revocations
from payymo.sessions.service import Sessions
from payymo.start import access_of, find_next_master_key, require_master_key
from payymo.tenants.service import Tenants
from payymo.tokens import ACCESS_TYPE, REFRESH_TYPE, TokenMinter
from payymo.users.budget import Budgets
from payymo.users.imports import UserImport
from payymo.users.passwords import Passwords
from payymo.users.policies import PasswordPolicies
from payymo.users.service import Users
from payymo_guard import Claims, RefreshClaims, Verifier

TOKEN_CACHE = 10_000
"""Verified access tokens that a process remembers. What is remembered is the proof, not the permission to come in:
revocation, times and tenant are checked each time."""
REDIS_PATIENCE_SECONDS = 0.25
SEALED_COLUMNS = (PRIVATE_KEYS, COLUMN, CERTIFICATE_KEYS, MAILS)
"""Every column of sealed values. If one were missing, re-encryption would stop at it, and lose nothing."""


@dataclass(frozen=True, slots=True)
class Connections:
    """Of the pool: in use, and at most. What asks about revocations has connections of its own."""

    in_use: int
    at_most: int


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that the faces (HTTP, command line) talk to."""

    settings: Settings
    engine: sa.Engine
    work: Work
    clock: Clock
    entropy: Entropy
    log: SecurityLog
    next_master_key: MasterKey | None
    envelope: Envelope
    secrets: Secrets
    master_rotation: MasterRotation
    reencryption: Reencryption
    keeper: KeyKeeper
    ring: KeyRing
    guards: Guards
    certificates: Certificates
    certificate_rotation: CertificateRotation
    development_authority: DevelopmentAuthority
    tenants: Tenants
    roles: Roles
    passwords: Passwords
    budgets: Budgets
    users: Users
    password_policies: PasswordPolicies
    user_import: UserImport
    sessions: Sessions
    revocations: Revocations
    feed: Feed
    watch: Watch
    administration: Administration
    credentials: Credentials
    addresses: Addresses
    links: Links
    outbox: Outbox
    courier: Courier
    attempts: Attempts
    lockouts: Lockouts
    limiter: RateLimiter
    limit_usage: Usage
    limit_overrides: Overrides
    counters: Storage | None
    minter: TokenMinter
    verifier: Verifier[Claims]

    def is_ready(self) -> bool:
        """Whether the database answers and has the schema of this version."""
        try:
            return is_current(self.engine)
        except Misconfigured:
            return False

    def prune(self) -> int:
        """Forget everything that expired, in small batches. Answers how many rows went."""
        total = 0
        while pruned := self.revocations.prune():
            total += pruned
        if isinstance(self.counters, SqlStorage):
            total += self.counters.prune()
        total += self.attempts.prune() + self.limit_usage.prune()
        for forget in (self.outbox.prune, self.links.prune, self.users.prune_unverified):
            total += sum(iter(forget, 0))
        return total + self.guards.prune() + self.keeper.retire_expired()

    def do_duties(self, trace: Trace) -> None:
        """What is due: forget what expired, rotate keys, change certificates and warn. Safe to do in parallel."""
        self.prune()
        self.lockouts.tell_due()
        self.certificate_rotation.do_duties(trace)  # before what may wait for a token that does not answer
        if self.settings.keys.rotate_automatically:
            for kid in self.ring.rotate_due():
                self.log.event("key.rotated", "success", trace=trace, kid=kid, reason="calendar")
        for kid in self.keeper.destroy_leftovers():
            self.log.event("key.destroyed", "success", trace=trace, kid=kid)

    def lease(self, name: str, *, seconds: int) -> Lease:
        """What one process at a time does, as this process sees it."""
        return Lease(self.work, self.clock, name, self.entropy.token(16), seconds=seconds)

    def connections(self) -> Connections:
        """How many connections to the database this process uses, of how many it may."""
        pool = self.engine.pool
        if not isinstance(pool, QueuePool):
            return Connections(0, 0)
        return Connections(pool.checkedout(), pool.size())

    def close(self) -> None:
        """Write down what is only in memory, if the database takes it, and give the connections back."""
        with suppress(PayymoError):
            self.limit_usage.flush()
        self.work.close()
        if isinstance(self.counters, SqlStorage):
            self.counters.close()


def open_engine(settings: Settings, *, as_owner: bool = False) -> sa.Engine:
    """The database engine: the service's own, or the owner's for migrations."""
    return connect(
        settings.owner_url if as_owner else settings.database_url,
        pool_size=settings.database.pool_size,
        timeout_seconds=settings.database.timeout_seconds,
    )


def compose(
    settings: Settings,
    *,
    clock: Clock = system_clock,
    entropy: Entropy | None = None,
    log: SecurityLog | None = None,
    passwords: Passwords | None = None,
    signs: bool = True,
) -> Services:
    """Build the service. Raises Misconfigured with every reason why it can't run like this; then nothing is written.

    Not `signs`: for who manages it. Then keys that can't be used now are no reason not to begin.
    """
    engine = open_engine(settings)
    log = log or SecurityLog(json=settings.is_production)
    try:
        passwords = passwords or Passwords(cost=password_cost(settings), processes=settings.server.workers)
        built = _build(settings, engine, clock, entropy or Entropy(), log, passwords=passwords)
        if signs:
            built.ring.ensure()
        else:
            built.ring.try_to_ensure()
    except BaseException:
        engine.dispose()
        raise
    return built


def _build(
    settings: Settings, engine: sa.Engine, clock: Clock, entropy: Entropy, log: SecurityLog, *, passwords: Passwords
) -> Services:
    work = Work(engine)
    masters = require_master_key(settings, engine, entropy), find_next_master_key(settings, entropy)
    envelope = _open_envelope(settings, work, clock, entropy, masters)
    keys = key_policy(settings)
    feed = Feed(work, clock, entropy, access_ttl_seconds=settings.tokens.access_ttl_seconds)
    keeper = KeyKeeper(work, envelope, KeyPlaces(access_of(settings), entropy), clock, keys)
    guards = Guards(work, clock, entropy, policy=GuardPolicy(settings.feed_open_to), log=log)
    ring = KeyRing(work, keeper, clock, keys, feed=feed, reports=_reports(guards, keys.calendar.jwks_max_age))
    tenants = _tenants(settings, work, clock, entropy)
    roles = Roles(work, clock, feed=feed, log=log)
    policies = PasswordPolicies(
        work, default=password_policy(settings), words=("payymo", urlsplit(settings.issuer).hostname or ""), log=log
    )
    users = Users(work, clock, entropy, passwords=passwords, policies=policies, roles=roles, log=log)
    revocations = Revocations(work, clock, feed, access_ttl_seconds=settings.tokens.access_ttl_seconds)
    minter = TokenMinter(ring, entropy, token_policy(settings))
    attempts = Attempts(work, clock, entropy, policy=guessing_policy(settings.lockout), log=log)
    lifecycle = Lifecycle(envelope, certificate_policy(settings))
    counters = _counters(settings, engine, clock)
    mail = mail_policy(settings.mail)
    outbox = Outbox(work, envelope, clock, entropy, policy=mail, log=log)
    usage, overrides = Usage(work, clock), Overrides(work, clock, log)
    links = Links(work, clock, entropy, link_policy(settings))
    lockouts = Lockouts(work, attempts=attempts, users=users, links=links, outbox=outbox, log=log)
    notices = Notices(outbox, clock)
    credentials = Credentials(
        work,
        clock,
        users=users,
        links=links,
        outbox=outbox,
        notices=notices,
        lockouts=lockouts,
        revocations=revocations,
        log=log,
    )
    addresses = Addresses(
        work, users=users, credentials=credentials, links=links, outbox=outbox, notices=notices, log=log
    )
    return Services(
        settings=settings,
        engine=engine,
        work=work,
        clock=clock,
        entropy=entropy,
        log=log,
        next_master_key=masters[1],
        envelope=envelope,
        secrets=Secrets(Places(work, envelope, clock, entropy, access_of(settings)), log),
        master_rotation=MasterRotation(work, envelope, clock, log),
        reencryption=Reencryption(work, envelope, clock, SEALED_COLUMNS, log),
        keeper=keeper,
        ring=ring,
        guards=guards,
        certificates=Certificates(work, lifecycle, clock, log),
        certificate_rotation=CertificateRotation(work, lifecycle, clock, log),
        development_authority=DevelopmentAuthority(work, lifecycle, clock, entropy, log),
        tenants=tenants,
        roles=roles,
        passwords=passwords,
        budgets=Budgets(work, passwords),
        users=users,
        password_policies=policies,
        user_import=UserImport(work, clock, entropy, passwords=passwords, roles=roles, log=log),
        sessions=Sessions(
            work,
            clock,
            entropy,
            users=users,
            roles=roles,
            minter=minter,
            refresh_verifier=_refresh_verifier(settings, ring, clock),
            revocations=revocations,
            policy=refresh_policy(settings),
            notices=notices,
            log=log,
        ),
        revocations=revocations,
        feed=feed,
        watch=Watch(feed),
        administration=Administration(
            work,
            tenants=tenants,
            users=users,
            roles=roles,
            revocations=revocations,
            lockouts=lockouts,
            feed=feed,
            ring=ring,
            links=links,
            outbox=outbox,
            notices=notices,
            log=log,
        ),
        credentials=credentials,
        addresses=addresses,
        links=links,
        outbox=outbox,
        courier=Courier(
            work,
            envelope,
            clock,
            entropy,
            policy=mail,
            transport=mail_transport(settings.mail, entropy),
            errands={"password-reset": credentials.send_reset, "registration": addresses.register},
            log=log,
        ),
        attempts=attempts,
        lockouts=lockouts,
        limiter=RateLimiter(counters, limit_policy(settings.limits), clock, overrides=overrides, usage=usage),
        limit_usage=usage,
        limit_overrides=overrides,
        counters=counters,
        minter=minter,
        verifier=_access_verifier(settings, ring, clock),
    )


def _open_envelope(
    settings: Settings, work: Work, clock: Clock, entropy: Entropy, masters: tuple[MasterKey, MasterKey | None]
) -> Envelope:
    """`masters`: the one in use, and the next. Raises Misconfigured, unless the database opens with them."""
    given = [key for key in masters if key is not None]
    check_master_keys(work, given, clock, is_production=settings.is_production)
    return Envelope(clock, entropy, given)


def _tenants(settings: Settings, work: Work, clock: Clock, entropy: Entropy) -> Tenants:
    tenants = Tenants(work, clock, entropy, default_slug=settings.default_tenant)
    tenants.ensure_default()
    return tenants


def _reports(guards: Guards, within_seconds: int) -> Callable[[], list[Report]]:
    """Answers what the key ring has to know of those who follow the feed."""

    def report() -> list[Report]:
        found = guards.list_followers(within_seconds=within_seconds)
        return [Report(frozenset(follower.kids), follower.last_seen_at) for follower in found]

    return report


def _access_verifier(settings: Settings, ring: KeyRing, clock: Clock) -> Verifier[Claims]:
    return Verifier(
        issuer=settings.issuer,
        audience=settings.audience,
        keys=ring.find_access_key,
        token_type=ACCESS_TYPE,
        clock=clock,
        cache_size=TOKEN_CACHE,
    )


def _refresh_verifier(settings: Settings, ring: KeyRing, clock: Clock) -> Verifier[RefreshClaims]:
    return Verifier(
        issuer=settings.issuer,
        audience=settings.refresh_audience,
        keys=ring.find_refresh_key,
        token_type=REFRESH_TYPE,
        claims_type=RefreshClaims,
        clock=clock,
    )


def _counters(settings: Settings, engine: sa.Engine, clock: Clock) -> Storage | None:
    match settings.limits_store:
        case "memory":
            return None
        case "redis":
            return _redis(reveal(settings.redis.url) or "")
        case "database" if engine.dialect.name == "sqlite":
            return SqlStorage(counters_engine(f"sqlite:///{(settings.data / 'counters.db').absolute()}"), clock)
        case _:
            return SqlStorage(engine, clock)


def _redis(url: str) -> Storage:
    try:
        return RedisStorage(url, socket_timeout=REDIS_PATIENCE_SECONDS, socket_connect_timeout=REDIS_PATIENCE_SECONDS)
    except ValueError:
        raise Misconfigured(["PAYYMO_REDIS__URL can't be read: write redis://host:6379/0 or rediss://…"]) from None
