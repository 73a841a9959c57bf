"""Two tenants that look alike and have the same people in them, with a row in every tenant table of each."""

import uuid
from dataclasses import dataclass

from payymo.logs import Trace
from payymo.mail.model import MailPolicy, Message, Sender
from payymo.mail.outbox import Outbox
from payymo.tenants.model import Tenant
from payymo.users.password_policy import PasswordPolicy
from tests.support.house import Client, House


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


def build_sides(house: House) -> tuple[Side, Side]:
    """Tenants `a` and `b`."""
    return _side(house, "a"), _side(house, "b")


def _side(house: House, slug: str) -> Side:
    tenant = house.tenant(slug)
    role = f"only-{slug}"
    house.services.roles.create(tenant.id, role, ["users:read"], by=None, trace=Trace())
    for name in ("webhook", role):
        house.services.secrets.put(name, slug.encode(), tenant_id=tenant.id, trace=Trace())
    sender = Sender(f"{slug}@example.com", slug)
    services, policy = house.services, MailPolicy(is_on=True, sender=sender, claim_seconds=60)
    outbox = Outbox(services.work, services.envelope, house.clock, services.entropy, policy=policy, log=services.log)
    outbox.set_sender(tenant.id, sender, trace=Trace())
    with services.work(tenant.id) as tx:
        outbox.put(tx, Message("test", f"{slug}@example.com"))
    house.services.password_policies.set(tenant.id, PasswordPolicy(words=(role,)), by=None, trace=Trace())
    boss_user = house.user("boss", tenant=tenant, roles=("tenant-administrator",))
    alice_user = house.user("alice", tenant=tenant, roles=("member", role))
    boss = house.logged_in("boss", tenant=tenant)
    ended = house.logged_in("alice", tenant=tenant)
    assert ended.post("/api/auth/logout").status_code == 200  # leaves a revocation behind
    alice = house.logged_in("alice", tenant=tenant)
    [session] = house.services.sessions.list_sessions(tenant.id, alice_user.id)
    return Side(tenant, boss, boss_user.id, alice, alice_user.id, session.id, role)
