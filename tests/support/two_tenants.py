"""Two tenants that look alike and have the same people in them, with a row in every tenant table of each."""

import uuid
from dataclasses import dataclass

import sqlalchemy as sa

from payymo.apikeys.model import Draft as KeyDraft
from payymo.attempts.model import GuessingPolicy, Origin
from payymo.attempts.service import Attempts
from payymo.db.schema import tenant_limits
from payymo.limits.limiter import account_key
from payymo.logs import Event, Trace
from payymo.mail.model import MailPolicy, Message, Sender
from payymo.mail.outbox import Outbox
from payymo.sessions.model import Device
from payymo.tenants.model import Tenant
from payymo.users.password_policy import PasswordPolicy
from payymo.webhooks.model import Draft
from tests.support.house import PASSWORD, Client, House
from tests.support.pictures import picture


@dataclass(frozen=True, slots=True)
class Side:
    """One tenant: its administrator, a member who is logged in, and a role that no other tenant has."""

    tenant: Tenant
    boss: Client
    boss_id: uuid.UUID
    alice: Client
    alice_id: uuid.UUID
    session_id: uuid.UUID
    role: str
    webhook_id: uuid.UUID
    event_id: uuid.UUID
    """An event on record that the endpoint has not taken."""
    api_key_id: uuid.UUID


def build_sides(house: House) -> tuple[Side, Side]:
    """Tenants `a` and `b`."""
    sides = _side(house, "a"), _side(house, "b")
    house.services.sequencer.integrate_all()
    house.services.checkpoints.sign_due()
    for side in sides:  # and an event each that has no position yet
        house.services.audit.record_apart(Event("session.login", "refused", trace=Trace(), tenant_id=side.tenant.id))
    return sides


def outbox_of(house: House, sender: Sender) -> Outbox:
    """An outbox that takes letters, in a house that sends none."""
    services = house.services
    return Outbox(
        services.work,
        services.envelope,
        house.clock,
        services.entropy,
        policy=MailPolicy(is_on=True, sender=sender, claim_seconds=60),
        look_in=lambda _: None,
        audit=services.audit,
    )


def _side(house: House, slug: str) -> Side:
    tenant = house.tenant(slug)
    role = f"only-{slug}"
    house.services.roles.create(tenant.id, role, ["users:read"], by=None, trace=Trace())
    for name in ("webhook", role):
        house.services.secrets.put(name, slug.encode(), tenant_id=tenant.id, trace=Trace())
    sender = Sender(f"{slug}@example.com", slug)
    services, outbox = house.services, outbox_of(house, sender)
    outbox.set_sender(tenant.id, sender, trace=Trace())
    with services.work(tenant.id) as tx:
        outbox.put(tx, Message("test", f"{slug}@example.com"))
    house.services.password_policies.set(tenant.id, PasswordPolicy(words=(role,)), by=None, trace=Trace())
    house.services.brands.set(tenant.id, f"Brand {slug}", "#c81e3c", logo=logo_of(slug), by=None, trace=Trace())
    house.services.roles.create(tenant.id, "actor", ["impersonation:write"], by=None, trace=Trace())
    boss_user = house.user("boss", tenant=tenant, roles=("tenant-administrator", "actor"))
    alice_user = house.user("alice", tenant=tenant, roles=("member", role))
    boss = house.logged_in("boss", tenant=tenant)
    here = Device("192.0.2.1", "a browser")
    services.browsers.sign_in(tenant.id, email="boss@example.com", password=PASSWORD, device=here, trace=Trace())
    ended = house.logged_in("alice", tenant=tenant)
    assert ended.post("/api/auth/logout").status_code == 200  # leaves a revocation behind
    alice = house.logged_in("alice", tenant=tenant)
    with house.by_hand(tenant.id) as tx:
        services.links.issue(tx, "reset-password", alice_user.id, bound_to=(slug,))
    [session] = house.services.sessions.list_sessions(tenant.id, alice_user.id)
    _guess(house, tenant, alice_user.id, session.id)
    house.services.retention.set(tenant.id, 400 if slug == "a" else 500, trace=Trace())
    with house.by_hand(tenant.id) as tx:
        services.erasing.begin(tx, services.entropy.uuid())
    key = services.api_keys.create(tenant.id, KeyDraft("nightly", ("invoices:read",)), by=None, trace=Trace()).key
    people = (boss, boss_user.id, alice, alice_user.id, session.id)
    return Side(tenant, *people, role, *_webhook(house, tenant), key.id)


def logo_of(slug: str) -> bytes:
    """A picture that only one of the tenants has."""
    return picture(2, 1 + "ab".index(slug))


def _webhook(house: House, tenant: Tenant) -> tuple[uuid.UUID, uuid.UUID]:
    """An endpoint, with an event that it has not taken: nobody listens there."""
    draft = Draft(f"https://127.0.0.1:1/{tenant.slug}", ("role.",))
    endpoint, _ = house.services.webhooks.create(tenant.id, draft, by=None, trace=Trace())
    house.services.roles.create(tenant.id, f"told-{tenant.slug}", ["users:read"], by=None, trace=Trace())
    house.services.sequencer.integrate_all()
    house.services.webhook_courier.deliver_due()
    delivery, *_ = house.services.webhooks.list_deliveries(tenant.id, endpoint.id)
    return endpoint.id, delivery.event_id


def _guess(house: House, tenant: Tenant, user_id: uuid.UUID, session_id: uuid.UUID) -> None:
    """A device that is known, a failure that a wait begins with, and a limit of the tenant's own."""
    apart = 0 if tenant.slug == "a" else 3600  # no minute, and no tier, is one of both
    services = house.services
    attempts = Attempts(
        services.work,
        lambda: house.clock() + apart,
        services.entropy,
        policy=GuessingPolicy(failures=1),
        audit=services.audit,
    )
    attempts.remember(tenant.id, user_id, session_id, ())
    account = account_key(tenant.id, "alice@example.com")
    attempt = attempts.admit(tenant.id, Origin(account, "alice@example.com", "192.0.2.1"), trace=Trace())
    attempts.failed(attempt, trace=Trace())
    with house.by_hand() as tx:
        tier = "login" if tenant.slug == "a" else "refresh"
        tx.execute(sa.insert(tenant_limits), {"tenant_id": tenant.id, "tier": tier, "limits": "7/minute"})
