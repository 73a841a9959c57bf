"""A tenant that is deleted is gone: its keys first, then its rows; at every kill point, and next to everybody else."""

import io
from contextlib import nullcontext, suppress

import pytest
import sqlalchemy as sa

from payymo.apikeys.model import Draft
from payymo.compose import compose
from payymo.db.schema import LOGS, TENANT_TABLES, tenants
from payymo.errors import Conflict, NotFound, TenantUnknown
from payymo.logs import SecurityLog, Trace
from payymo.mail.model import Message
from payymo.secrets.encryption import SealBroken
from payymo.tenants import service as tenants_service
from payymo.tenants.model import Tenant
from tests.support.crew import Crew
from tests.support.house import Database, House
from tests.support.mail import mail_server
from tests.support.moments import before, sampled_kill_points
from tests.support.two_tenants import build_sides
from tests.web.scene import contents

KILLS = 12
SILENT = SecurityLog(json=True, stream=io.StringIO())
SLOW_ENDS = (
    "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1); RETURN new; END'",
    "CREATE TRIGGER slowly BEFORE UPDATE ON sessions FOR EACH ROW EXECUTE FUNCTION slowly()",
)
"""Three sessions take longer than two seconds then, as very many do."""


def delete(house: House, tenant: Tenant) -> None:
    house.services.administration.delete_tenant(tenant.id, by=None, progress=lambda _done: None, trace=Trace())


def rows_of(house: House, tenant: Tenant) -> int:
    owner = house.database.owner()
    with owner.connect() as connection:
        found = sum(
            connection.execute(sa.select(sa.func.count()).where(table.c.tenant_id == tenant.id)).scalar() or 0
            for table in set(TENANT_TABLES) - LOGS
        )
        found += connection.execute(sa.select(sa.func.count()).where(tenants.c.id == tenant.id)).scalar() or 0
    owner.dispose()
    return found


def test_nothing_of_a_deleted_tenant_is_left_and_nothing_of_others_is_touched(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the catalogue: whatever table a tenant has rows in. Its log stays, without what is personal."""
    monkeypatch.setattr(tenants_service, "ROWS_AT_A_TIME", 1)
    a, b = build_sides(house)
    assert rows_of(house, a.tenant) > len(TENANT_TABLES) - len(LOGS)
    others = rows_of(house, b.tenant)
    house.services.administration.suspend(a.tenant.id, by=None, trace=Trace())
    delete(house, a.tenant)
    assert rows_of(house, a.tenant) == 0
    assert rows_of(house, b.tenant) == others
    assert b.alice.get("/api/auth/me").status_code == 200
    assert a.alice.get("/api/auth/me").status_code in {401, 404}
    house.clock.advance(2)
    assert a.alice.get("/api/auth/me").status_code in {401, 404}
    with pytest.raises(TenantUnknown):
        house.services.tenants.resolve("localhost", a.tenant.slug)
    with pytest.raises(NotFound):
        delete(house, a.tenant)
    [event] = [found for found in house.events() if found["event"] == "tenant.deleted"]
    assert event["tenant_id"] == str(a.tenant.id)


def test_only_a_suspended_tenant_is_deleted_and_never_the_default_one(house: House) -> None:
    """A slip of the tongue is not enough."""
    acme, before = house.tenant("acme"), contents(house)
    with pytest.raises(Conflict, match="Suspend this tenant first"):
        delete(house, acme)
    with pytest.raises(Conflict, match="default tenant"):
        delete(house, house.default)
    assert contents(house) == before


def test_a_deletion_that_dies_at_any_statement_leaves_a_tenant_that_nobody_brings_back(house: House) -> None:
    """Crypto-shredding: once it has begun, what was sealed opens no more, and the next run finishes it."""
    admin, secrets = house.services.administration, house.services.secrets
    for number, dying in enumerate(sampled_kill_points(house, KILLS)):
        acme = house.tenant(f"acme{number}")
        house.user("alice", tenant=acme)
        secrets.put("card", b"4242", tenant_id=acme.id, trace=Trace())
        admin.suspend(acme.id, by=None, trace=Trace())
        with dying:
            delete(house, acme)
        if not dying.survived and rows_of(house, acme):
            has_begun = house.services.tenants.get(acme.id).status == "deleted"
            fresh = House(house.database, clock=house.clock)
            with pytest.raises((SealBroken, NotFound)) if has_begun else nullcontext():
                fresh.services.secrets.get("card", tenant_id=acme.id, trace=Trace())
            fresh.close()
            if has_begun:
                for act in (admin.resume, admin.suspend):
                    with pytest.raises(Conflict, match="is being deleted"):
                        act(acme.id, by=None, trace=Trace())
                assert house.client(tenant=acme.slug).log_in().status_code == 403
            house.services.reencryption.run(progress=lambda *_: None, pause=lambda _: None, trace=Trace())
            delete(house, acme)
        assert rows_of(house, acme) == 0


def test_whoever_comes_while_a_tenant_is_deleted_is_refused_as_before(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its keys are gone, and the rows of many users take a while: that is no error of the service, in any process."""
    house = House(database)
    acme = house.tenant("acme")
    house.user("alice", tenant=acme)
    alice = house.logged_in("alice", tenant=acme)
    made = house.services.api_keys.create(acme.id, Draft("nightly", ("a:read",)), by=None, trace=Trace())
    house.services.administration.suspend(acme.id, by=None, trace=Trace())
    monkeypatch.setattr(house.services.tenants, "delete_rows", lambda *_args, **_options: None)
    delete(house, acme)
    fresh = House(database, clock=house.clock)  # has none of its keys in memory
    client = fresh.client()
    assert client.refresh(alice.refresh_token).status_code == 401
    for path in ("email/verify", "email/change/confirm", "unlock"):
        assert fresh.client(tenant="acme").post(f"/api/auth/{path}", {"token": "a link"}).status_code == 422
    for secret in (made.secret, f"{made.secret[:-1]}-"):
        form = {"grant_type": "client_credentials", "client_id": str(made.key.id), "client_secret": secret}
        assert client.http.post("/api/auth/token", data=form).status_code == 401
    assert not [found for found in fresh.events() if found["event"] == "failure"]
    monkeypatch.undo()
    delete(fresh, acme)
    assert rows_of(fresh, acme) == 0
    fresh.close()
    house.close()


def test_whoever_is_under_way_when_a_tenant_goes_hears_that_there_is_none(database: Database) -> None:
    """A process remembers for a second whose requests are whose."""
    with mail_server() as server:
        house = House(database, mail=server.settings(), lockout={"enabled": True})
        acme = house.tenant("acme")
        house.user("alice", tenant=acme)
        client = house.client(tenant="acme")
        assert client.post("/api/auth/password/reset", {"email": "alice@example.com"}).status_code == 202
        other = House(database, clock=house.clock)  # another process
        other.services.administration.suspend(acme.id, by=None, trace=Trace())
        delete(other, acme)
        assert client.post("/api/auth/password/reset", {"email": "alice@example.com"}).status_code == 404
        for email in ("alice@example.com", "nobody@example.com"):
            assert client.log_in(email).status_code == 404
        other.close()
        house.close()


def test_nobody_tries_to_send_the_mail_of_a_tenant_that_is_deleted(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its keys are gone: there would be a failure for each message, and a mail server that seems to be at fault."""
    with mail_server() as server:
        house = House(database, mail=server.settings())
        acme = house.tenant("acme")
        with house.services.work(acme.id) as tx:
            house.services.outbox.put(tx, Message("password-changed", "alice@example.com", {"when": "1"}))
        house.services.administration.suspend(acme.id, by=None, trace=Trace())
        monkeypatch.setattr(house.services.tenants, "delete_rows", lambda *_args, **_options: None)
        delete(house, acme)
        fresh = House(database, clock=house.clock, mail=server.settings())
        assert fresh.services.courier.deliver_due() == 0
        assert fresh.services.outbox.stuck_since() is None
        assert fresh.services.outbox.backlog().waiting == 0
        assert not [found for found in fresh.events() if found["event"] == "failure"]
        fresh.close()
        house.close()


def test_a_tenant_with_however_many_sessions_is_suspended(postgres_database: Database) -> None:
    """It takes as long as it takes: a statement that asks about one row is given up sooner."""
    house = House(postgres_database)
    hurried = house.settings.database.model_copy(update={"timeout_seconds": 2})
    services = compose(house.settings.model_copy(update={"database": hurried}), clock=house.clock, log=SILENT)
    acme = house.tenant("acme")
    house.user("alice", tenant=acme)
    clients = [house.logged_in("alice", tenant=acme) for _ in range(3)]
    owner = postgres_database.owner()
    with owner.begin() as connection:
        for statement in SLOW_ENDS:
            connection.execute(sa.text(statement))
    assert services.administration.suspend(acme.id, by=None, trace=Trace()).status == "suspended"
    assert {client.refresh().status_code for client in clients} == {401}
    owner.dispose()
    services.close()
    house.close()


def test_a_tenant_that_goes_does_not_stop_the_end_of_what_a_stolen_key_has_signed(
    postgres_database: Database,
) -> None:
    """Of many tenants one is deleted before it is its turn: the sessions of those behind it end all the same."""
    house = House(postgres_database)
    going, last = house.tenant("going"), house.tenant("last")
    house.user("alice", tenant=last)
    alice = house.logged_in("alice", tenant=last)
    house.services.administration.suspend(going.id, by=None, trace=Trace())
    kid = house.services.ring.active_kid("access")
    with before(house, lambda found: found.startswith("UPDATE sessions"), lambda: delete(house, going)):
        house.services.administration.revoke_key(kid, keep_sessions=False, trace=Trace())
    assert alice.refresh().status_code == 401
    house.close()


def test_many_who_delete_one_tenant_at_once_all_come_to_the_end(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another one is deleting is not taken for gone."""
    monkeypatch.setattr(tenants_service, "ROWS_AT_A_TIME", 7)
    acme = house.tenant("acme")
    for number in range(60):
        house.services.secrets.put(f"s{number}", b"x", tenant_id=acme.id, trace=Trace())
    house.services.administration.suspend(acme.id, by=None, trace=Trace())

    def try_it(_number: int) -> None:
        with suppress(NotFound):  # whoever comes too late
            delete(house, acme)

    with Crew(4) as pool:
        list(pool.map(try_it, range(4)))
    assert rows_of(house, acme) == 0
