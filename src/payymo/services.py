"""Everything that the faces talk to, as one value; and what a process does with all of it: duties, and the end."""

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa

from payymo.apikeys.service import ApiKeys
from payymo.attempts.service import Attempts
from payymo.audit.checkpoints import Checkpoints
from payymo.audit.delivery import Delivery
from payymo.audit.erasing import Erasing
from payymo.audit.log import AuditLog
from payymo.audit.proving import Proving
from payymo.audit.reader import AuditReader
from payymo.audit.retention import Retention
from payymo.audit.sequencer import Sequencer
from payymo.audit.verification import Verification
from payymo.brands.service import Brands
from payymo.certificates.development import DevelopmentAuthority
from payymo.certificates.rotation import CertificateRotation
from payymo.certificates.service import Certificates
from payymo.clock import Clock
from payymo.config import Settings
from payymo.connections import Connections, connections_of
from payymo.db.lease import Lease
from payymo.db.work import Work
from payymo.entropy import Entropy
from payymo.errors import Misconfigured, PayymoError, Unavailable
from payymo.feed.service import Feed
from payymo.feed.waiting import Watch
from payymo.guards.service import Guards
from payymo.health.checks import ask_clock
from payymo.health.service import Monitor
from payymo.keys.keeper import KeyKeeper
from payymo.keys.service import KeyRing
from payymo.limits.limiter import RateLimiter
from payymo.limits.overrides import Overrides
from payymo.limits.usage import Usage
from payymo.links.service import Links
from payymo.logs import SecurityLog, Trace
from payymo.mail.courier import Courier
from payymo.mail.outbox import Outbox
from payymo.roles.service import Roles
from payymo.secrets.envelope import Envelope
from payymo.secrets.model import MasterKey
from payymo.secrets.rotation import MasterRotation, Reencryption
from payymo.secrets.service import Secrets
from payymo.sessions.acting import Acting
from payymo.sessions.addresses import Addresses
from payymo.sessions.administration import Administration
from payymo.sessions.browsers import Browsers
from payymo.sessions.credentials import Credentials
from payymo.sessions.impersonation import Impersonation
from payymo.sessions.invitations import Invitations
from payymo.sessions.lockouts import Lockouts
from payymo.sessions.personal import PersonalData
from payymo.sessions.revocations import Revocations
from payymo.sessions.service import Sessions
from payymo.tenants.service import Tenants
from payymo.tokens import TokenMinter
from payymo.users.budget import Budgets
from payymo.users.directory import Directory
from payymo.users.imports import UserImport
from payymo.users.languages import Languages
from payymo.users.passwords import Passwords
from payymo.users.policies import PasswordPolicies
from payymo.users.service import Users
from payymo.webhooks.courier import Courier as WebhookCourier
from payymo.webhooks.service import Webhooks
from payymo_guard import Claims, Verifier


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that the faces (HTTP, command line) talk to."""

    settings: Settings
    engine: sa.Engine
    work: Work
    clock: Clock
    entropy: Entropy
    log: SecurityLog
    audit: AuditLog
    sequencer: Sequencer
    checkpoints: Checkpoints
    audit_reader: AuditReader
    retention: Retention
    erasing: Erasing
    personal_data: PersonalData
    verification: Verification
    proving: Proving
    delivery: Delivery
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
    brands: Brands
    roles: Roles
    passwords: Passwords
    budgets: Budgets
    users: Users
    directory: Directory
    languages: Languages
    password_policies: PasswordPolicies
    user_import: UserImport
    sessions: Sessions
    browsers: Browsers
    impersonation: Impersonation
    acting: Acting
    revocations: Revocations
    feed: Feed
    watch: Watch
    administration: Administration
    credentials: Credentials
    addresses: Addresses
    invitations: Invitations
    links: Links
    outbox: Outbox
    courier: Courier
    webhooks: Webhooks
    webhook_courier: WebhookCourier
    attempts: Attempts
    lockouts: Lockouts
    limiter: RateLimiter
    limit_usage: Usage
    limit_overrides: Overrides
    minter: TokenMinter
    api_keys: ApiKeys
    verifier: Verifier[Claims]
    health: Monitor

    def require_clock(self) -> None:
        """Raise Misconfigured when this machine's clock is too far from the database's to say what has expired.

        What it took for expired would be gone for all nodes: sessions, and that others have ended.
        """
        found = ask_clock(self.work, self.clock)
        if found.standing == "failing":
            raise Misconfigured([f"{found.reason}: it can't say what has expired ({found.remedy})"])

    def prune(self) -> int:
        """Forget everything that expired, in small batches. Answers how many rows went.

        What can't be forgotten keeps nothing else from it, unless the database is away. Raises as `do_duties` does.
        """
        gone: list[int] = []
        failures: list[Exception] = []
        for forget in self._forgetting():
            try:
                gone.append(forget())
            except Unavailable:
                raise
            except Exception as error:  # noqa: BLE001 - raised below
                failures.append(error)
        _raise_all(failures)
        return sum(gone)

    def _forgetting(self) -> Iterator[Callable[[], int]]:
        batches = (
            *(self.revocations.prune, self.limiter.prune, self.attempts.prune, self.outbox.prune, self.links.prune),
            *(self.personal_data.forget_unverified, self.webhooks.prune),
        )
        for batch in batches:
            yield partial(sum, iter(batch, 0))
        yield from (self.limit_usage.prune, self.guards.prune, self.keeper.retire_expired)

    def do_duties(self, trace: Trace) -> None:
        """What is due: forget what expired, rotate keys, change certificates and warn. Safe to do in parallel.

        One duty that fails keeps none of the others from being done: a row that nobody can read must not stop the keys
        from rotating. Raises, in the end, what one of them has raised, or an ExceptionGroup of several.
        """
        failures: list[Exception] = []
        for duty in self._duties(trace):
            try:
                duty()
            except ExceptionGroup as several:
                failures.extend(several.exceptions)
            except Exception as error:  # noqa: BLE001 - raised below
                failures.append(error)
        _raise_all(failures)

    def _duties(self, trace: Trace) -> Iterator[Callable[[], object]]:
        yield self.prune
        yield self.lockouts.tell_due
        yield self.erasing.finish_due
        yield self.retention.thin_checkpoints
        yield partial(self.certificate_rotation.do_duties, trace)  # before what may wait for a token
        if self.settings.keys.rotate_automatically:
            yield self.ring.rotate_due
        yield lambda: list(self.keeper.destroy_leftovers())
        yield self.retention.remove_due

    def lease(self, name: str, *, seconds: int) -> Lease:
        """What one process at a time does, as this process sees it. Its holder is called after its machine."""
        holder = f"{socket.gethostname()[:40]}.{self.entropy.token(8)}"
        return Lease(self.work, self.clock, name, holder, seconds=seconds)

    def connections(self) -> Connections:
        """How many connections to the database this process uses, of how many it may."""
        return connections_of(self.engine)

    def close(self) -> None:
        """Write down what is only in memory, if the database takes it, and give the connections back."""
        with suppress(PayymoError):
            self.limit_usage.flush()
        self.work.close()
        self.limiter.close()


def _raise_all(failures: list[Exception]) -> None:
    """Raise what there is, or an ExceptionGroup of several."""
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise ExceptionGroup("several duties failed", failures)
