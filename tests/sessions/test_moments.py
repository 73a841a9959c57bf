"""What falls between two statements: time that passes, another request, a kill. Each moment is made, not waited for."""

import threading
import uuid
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from payymo.db.schema import sessions, tenants, token_revocations
from payymo.errors import InsufficientScope
from payymo.logs import Trace
from tests.support.house import PASSWORD, Client, Database, House
from tests.support.moments import before, kill_points

SECOND = 1


def takes_the_lock(statement: str) -> bool:
    """A row's lock on PostgreSQL, the one write lock on SQLite."""
    return statement == "BEGIN IMMEDIATE" or statement.startswith("UPDATE sessions SET last_seen_at")


def ends_a_session(statement: str) -> bool:
    return statement == "BEGIN IMMEDIATE" or statement.startswith("UPDATE sessions SET ended_at")


DOOR = {"email": "door@example.com", "username": "door", "password": PASSWORD, "roles": ["member"]}


def locks_a_user(statement: str) -> bool:
    return statement == "BEGIN IMMEDIATE" or ("FOR UPDATE" in statement and "FROM users" in statement)


@pytest.fixture
def alice(house: House) -> Client:
    """Alice, logged in."""
    house.user("alice")
    return house.logged_in()


def test_a_refresh_that_waited_while_the_second_turned_is_a_retry_and_no_reuse(house: House, alice: Client) -> None:
    """Invariant 3: the time that counts is the time at which the lock was got.

    A client that sends its refresh twice around the turn of a second is not logged out: whoever waited for the lock
    must not look at the successor with a clock from before it was issued.
    """
    first = alice.refresh_token
    other = Client(house.app.test_client(), {})

    def overtake() -> None:
        house.clock.advance(SECOND)
        assert other.refresh(first).status_code == 200

    with before(house, takes_the_lock, overtake):
        assert alice.refresh(first).status_code == 200
    assert alice.refresh_token == other.refresh_token
    assert alice.refresh().status_code == 200


def test_a_token_from_a_refresh_that_overtook_the_logout_stays_refused_until_it_has_expired(
    house: House, alice: Client
) -> None:
    """Invariant 1: a revocation is kept longer than the youngest access token that it refuses lives."""
    logout = alice.access_token
    other = Client(house.app.test_client(), {})

    def overtake() -> None:
        house.clock.advance(SECOND)
        assert other.refresh(alice.refresh_token).status_code == 200

    alice.access_token = logout
    with before(house, ends_a_session, overtake):
        assert alice.post("/api/auth/logout").status_code == 200
    for seconds in (898, 1, 1):
        house.clock.advance(seconds)
        house.services.prune()
        assert other.get("/api/auth/me").status_code == 401


def test_a_session_that_a_suspension_missed_never_works_again_wherever_the_resumption_dies(house: House) -> None:
    """Invariant 2, at every kill point: first everything ends, then the tenant is active again.

    A login that was under way at the suspension may have left a session.
    """
    admin, tenant = house.services.administration, house.tenant("acme")
    house.user("alice", tenant=tenant)
    leftover = house.logged_in("alice", tenant=tenant)
    admin.suspend(tenant.id, by=None, trace=Trace())
    owner = house.database.owner()
    for dying in kill_points(house):
        with owner.begin() as connection:
            connection.execute(sa.delete(token_revocations))
            connection.execute(sa.update(sessions).values(ended_at=None, end_reason=None))
            connection.execute(sa.update(tenants).where(tenants.c.id == tenant.id).values(status="suspended"))
        with dying:
            admin.resume(tenant.id, by=None, trace=Trace())
        house.clock.advance(2)
        assert leftover.get("/api/auth/me").status_code == 401
        assert Client(house.app.test_client(), {}).refresh(leftover.refresh_token).status_code == 401
    owner.dispose()


def test_a_refresh_that_dies_at_any_statement_leaves_the_chain_whole(house: House, alice: Client) -> None:
    """Invariants 3 and 4: whatever the moment, the client's retry goes on, and by one step."""
    for dying in kill_points(house):
        token = alice.refresh_token
        assert token is not None
        with dying:
            house.services.sessions.refresh(token, tenant_id=None, trace=Trace())
        assert alice.refresh(token).status_code == 200
        assert alice.refresh_token != token


def test_a_logout_that_dies_at_any_statement_has_ended_everything_or_nothing(house: House) -> None:
    """Invariants 7 and 9: the end of the session and its revocation commit together."""
    house.user("alice")
    owner = house.database.owner()
    for dying in kill_points(house):
        client = house.logged_in()
        principal = house.services.verifier.verify(client.access_token or "")
        user_id, session_id = uuid.UUID(principal.sub), uuid.UUID(principal.sid)
        with dying:
            house.services.sessions.log_out(house.default.id, user_id, session_id, everywhere=False, trace=Trace())
        with owner.connect() as connection:
            ended = connection.execute(sa.select(sessions.c.ended_at).where(sessions.c.id == session_id)).scalar()
            revoked = connection.execute(
                sa.select(token_revocations.c.seq).where(token_revocations.c.subject_id == session_id)
            ).scalar()
        assert (ended is None) is (revoked is None)
        assert client.get("/api/auth/me").status_code == (401 if dying.survived else 200)
    owner.dispose()


def test_nobody_takes_over_a_user_who_was_raised_above_them_a_moment_ago(house: House) -> None:
    """Invariant 11: what counts is what the user may do when the change is written, not when it was asked for."""
    user, actor = house.user("alice"), house.user("clerk")
    change = house.services.administration.change_user
    clerk = SimpleNamespace(user_id=actor.id, authority_in=lambda _tx: ("users:*", "account:*"))

    def promote() -> None:
        change(house.default.id, user.id, roles=("platform-administrator",), by=None, trace=Trace())

    with before(house, locks_a_user, promote), pytest.raises(InsufficientScope):
        change(house.default.id, user.id, password="another Password 1", by=clerk, trace=Trace())
    assert house.logged_in().get("/api/auth/me").status_code == 200


def test_a_role_is_not_removed_between_being_found_and_being_assigned(postgres_database: Database) -> None:
    """Invariant 11: else its name would stay with the user, and mean whatever is made under that name later.

    SQLite has one writer at a time, so there is no such moment.
    """
    house = House(postgres_database)
    user, tenant, roles = house.user("alice"), house.default.id, house.services.roles
    roles.create(tenant, "clerk", ["invoices:read"], by=None, trace=Trace())
    removal = threading.Thread(target=lambda: roles.remove(tenant, "clerk", by=None, trace=Trace()))
    owner = postgres_database.owner()

    def remove() -> None:
        removal.start()
        with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            while removal.is_alive() and not connection.execute(_WAITING).scalar_one():
                pass

    with before(house, lambda statement: statement.startswith("DELETE FROM user_roles"), remove):
        house.services.administration.change_user(tenant, user.id, roles=("clerk",), by=None, trace=Trace())
    removal.join()
    assert house.services.users.get(tenant, user.id)[1].roles == ()
    owner.dispose()
    house.close()


_WAITING = sa.text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@pytest.mark.parametrize(
    ("change", "undo"),
    [
        ({"status": "disabled"}, {"status": "active"}),
        ({"roles": ("member",)}, {"roles": ["tenant-administrator"]}),
        ({"status": "disabled"}, {"password": "another fine Passw0rd"}),
    ],
    ids=["status", "roles", "password"],
)
def test_an_administrator_who_is_stopped_meanwhile_undoes_nothing(
    house: House, change: dict[str, Any], undo: dict[str, Any]
) -> None:
    """Invariants 2 and 11: whoever got in at the door a moment before is asked again where it is written."""
    user, eve = (house.user(name, roles=("tenant-administrator",)) for name in ("adam", "eve"))
    adam = house.logged_in("adam")

    def stop() -> None:
        house.services.administration.change_user(house.default.id, user.id, by=None, trace=Trace(), **change)

    whose = eve if "password" in undo else user
    with before(house, locks_a_user, stop):
        assert adam.call("PATCH", f"/api/admin/users/{whose.id}", undo).status_code in {401, 403}
    found, grants = house.services.users.get(house.default.id, user.id)
    assert found.status == change.get("status", "active")
    assert grants.roles == change.get("roles", ("tenant-administrator",))
    assert house.client().log_in("eve@example.com").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        (
            "POST",
            "/api/admin/users",
            {"email": "d@example.com", "username": "door", "password": PASSWORD, "roles": ["member"]},
        ),
        ("POST", "/api/admin/roles", {"name": "door", "permissions": ["roles:write"]}),
        ("PUT", "/api/admin/roles/clerk", {"permissions": ["roles:write"]}),
        ("DELETE", "/api/admin/roles/clerk", None),
    ],
)
def test_an_administrator_who_is_stopped_meanwhile_leaves_no_back_door(
    house: House, method: str, path: str, body: object
) -> None:
    """Invariants 2 and 11, for everything else that an administrator makes."""
    house.services.roles.create(house.default.id, "clerk", ["a:b"], by=None, trace=Trace())
    user = house.user("adam", roles=("tenant-administrator",))
    adam = house.logged_in("adam")
    roles_before = house.services.roles.list_roles(house.default.id)

    def stop() -> None:
        house.services.administration.change_user(house.default.id, user.id, status="disabled", by=None, trace=Trace())

    with before(house, locks_a_user, stop):
        assert adam.call(method, path, body).status_code == 401
    assert house.services.roles.list_roles(house.default.id) == roles_before
    assert len(house.services.users.list_users(house.default.id, after="", count=9)) == 1


@pytest.mark.parametrize("act", ["create", "suspend", "resume"])
def test_a_platform_administrator_who_is_stopped_meanwhile_changes_no_tenant(house: House, act: str) -> None:
    """Invariants 2 and 11, for what is done across tenants."""
    acme = house.tenant("acme")
    if act == "resume":
        house.services.administration.suspend(acme.id, by=None, trace=Trace())
    user = house.user("root", roles=("platform-administrator",))
    root = house.logged_in("root")
    tenants_before = house.services.tenants.list_tenants()

    def stop() -> None:
        house.services.administration.change_user(house.default.id, user.id, status="disabled", by=None, trace=Trace())

    path, body = ("/api/admin/tenants", {"slug": "door", "name": "Door"})
    if act != "create":
        path, body = f"/api/admin/tenants/{acme.id}/{act}", None
    with before(house, locks_a_user, stop):
        assert root.call("POST", path, body).status_code == 401
    assert house.services.tenants.list_tenants() == tenants_before


def test_who_registers_while_the_tenant_is_suspended_is_told_so_and_has_no_account(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The password is hashed in between: what was true before is asked again where the user is written."""
    acme, passwords = house.tenant("acme"), house.services.users._passwords
    hash_it = passwords.hash

    def hash_meanwhile(password: str) -> str:
        house.services.administration.suspend(acme.id, by=None, trace=Trace())
        return hash_it(password)

    monkeypatch.setattr(passwords, "hash", hash_meanwhile)
    answer = house.client(tenant="acme").register("alice")
    assert (answer.status_code, answer.get_json()["code"]) == (403, "tenant_suspended")
    assert house.services.users.list_users(acme.id, after="", count=9) == ()


def test_who_has_registered_when_the_tenant_is_suspended_is_told_so(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the user and their session: nothing is wrong with the password that was chosen a moment ago."""
    acme, users = house.tenant("acme"), house.services.users
    register = users.register

    def register_and_then(*given: Any, **more: Any) -> Any:
        proof = register(*given, **more)
        house.services.administration.suspend(acme.id, by=None, trace=Trace())
        return proof

    monkeypatch.setattr(users, "register", register_and_then)
    answer = house.client(tenant="acme").register("alice")
    assert (answer.status_code, answer.get_json()["code"]) == (403, "tenant_suspended")
