"""Two tenants over HTTP: what one's people hold or know is worth nothing in the other."""

import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from payymo.logs import Trace
from payymo.web.mount import list_routes
from payymo.web.routing import Route
from tests.conftest import Copied
from tests.support.house import PASSWORD, Client, Database, House
from tests.support.two_tenants import Side, build_sides
from tests.web.scene import contents

ROUTES = sorted(list_routes(), key=lambda route: (route.path, route.method))
WITH_ID = [route for route in ROUTES if "<" in route.path]
BEARER = [route for route in ROUTES if route.authentication == "bearer"]
ACROSS = ("tenants:", "platform:")
"""What begins the permissions that no tenant's role has."""
ADMIN = [route for route in ROUTES if route.permission is not None and not route.permission.startswith(ACROSS)]
BODIES: dict[str, Any] = {
    "ChangeUserBody": {"status": "disabled", "password": "another fine Passw0rd"},
    "RoleBody": {"permissions": ["users:write"]},
    "ChangeWebhookBody": {"enabled": False},
    "ImpersonateBody": {"why": "ticket 4711"},
}
"""A good body for each route with an identifier in its path; one that is missing here fails the tests."""
MILDEST_FIRST = ("GET", "POST", "PUT", "PATCH", "DELETE")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, copied: Copied, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One service on each kind of database for all tests that leave tenants `a` and `b` as they are."""
    with copied(request.param, tmp_path_factory.mktemp("isolation")) as database:
        built = House(database)
        yield built
        built.close()


@pytest.fixture(scope="module")
def sides(house: House) -> tuple[Side, Side]:
    """Tenants `a` and `b`, with the same people and a role that the other doesn't have."""
    return build_sides(house)


@pytest.fixture
def own_house(database: Database) -> Iterator[House]:
    """A service of this test's own."""
    built = House(database)
    yield built
    built.close()


@pytest.fixture
def own_sides(own_house: House) -> tuple[Side, Side]:
    """The two tenants, for a test that changes one."""
    return build_sides(own_house)


def parameters(route: Route) -> list[str]:
    """The names in a path."""
    return re.findall(r"<\w+:(\w+)>", route.path)


def known_of(side: Side) -> dict[str, str]:
    """Every identifier of a tenant that a path could hold."""
    return {
        "user_id": str(side.alice_id),
        "session_id": str(side.session_id),
        "tenant_id": str(side.tenant.id),
        "name": side.role,
        "webhook_id": str(side.webhook_id),
        "api_key_id": str(side.api_key_id),
        "event_id": str(side.event_id),
    }


def send(client: Client, route: Route, known: dict[str, str], *, headers: dict[str, str] | None = None) -> Any:
    """A request that would be good if its sender had a right to these identifiers."""
    path = re.sub(r"<\w+:(\w+)>", lambda match: known[match[1]], route.path)
    body = None if route.body is None else BODIES.get(route.body.__name__, {})
    return client.call(route.method, path, body, headers=headers)


def alive(client: Client) -> bool:
    """Whether the client's access token is taken."""
    return client.get("/api/auth/me").status_code == 200


# ── identifiers ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("route", WITH_ID, ids=lambda route: f"{route.method} {route.path}")
def test_identifiers_of_another_tenant_lead_nowhere(house: House, sides: tuple[Side, Side], route: Route) -> None:
    """Invariant 10: B's administrator with A's identifiers gets what a made-up one gets, and nothing changes."""
    a, b = sides
    theirs, own = known_of(a), known_of(b)
    names = parameters(route)
    mixtures = [{**own, **{name: theirs[name] for name in names if mask >> names.index(name) & 1}} for mask in range(4)]
    attempts = [known for known in mixtures if any(known[name] == theirs[name] for name in names)]
    assert attempts
    made_up = {name: str(uuid.UUID(int=7)) if name != "name" else "nobodys" for name in theirs}
    expected = 403 if (route.permission or "").startswith(ACROSS) else 404
    before = contents(house)
    unknown = send(b.boss, route, made_up)
    for known in attempts:
        answer = send(b.boss, route, known)
        assert answer.status_code == unknown.status_code == expected
        assert {**answer.get_json(), "request_id": ""} == {**unknown.get_json(), "request_id": ""}
    assert contents(house) == before
    assert alive(a.alice)


def test_at_home_the_same_requests_work(own_house: House, own_sides: tuple[Side, Side]) -> None:
    """Invariant 10: those of before were not refused for being bad ones. Each has a user of its own to lose."""
    a, _ = own_sides
    routes = [route for route in WITH_ID if not (route.permission or "").startswith(ACROSS)]
    for number, route in enumerate(sorted(routes, key=lambda route: MILDEST_FIRST.index(route.method))):
        user = own_house.user(f"guest{number}", tenant=a.tenant)
        guest = own_house.logged_in(f"guest{number}", tenant=a.tenant)
        [session] = own_house.services.sessions.list_sessions(a.tenant.id, user.id)
        known = known_of(a) | {"user_id": str(user.id), "session_id": str(session.id)}
        answer = send(a.boss if route.permission else guest, route, known)
        assert answer.status_code == route.status, (route.method, route.path)


def test_lists_hold_ones_own_tenant_alone(sides: tuple[Side, Side]) -> None:
    """Invariant 10: users, roles and sessions are listed of one's own tenant, though the names are the same."""
    a, b = sides
    for side, other in ((a, b), (b, a)):
        text = "".join(
            side.boss.get(path).get_data(as_text=True)
            for path in (
                "/api/admin/users",
                "/api/admin/sessions",
                "/api/admin/roles",
                "/api/auth/sessions",
                f"/api/admin/users/{side.alice_id}/sessions",
            )
        )
        assert str(side.alice_id) in text
        assert str(side.session_id) in text
        assert side.role in text
        for foreign in (other.alice_id, other.boss_id, other.session_id, other.tenant.id, other.role):
            assert str(foreign) not in text


def test_a_role_of_the_same_name_is_another_role(own_house: House, own_sides: tuple[Side, Side]) -> None:
    """Invariant 10: changing and removing a role leaves its namesake in another tenant, and its holders, alone."""
    a, b = own_sides
    assert b.boss.post("/api/admin/roles", {"name": a.role, "permissions": ["users:read"]}).status_code == 201
    change = b.boss.call("PUT", f"/api/admin/roles/{a.role}", {"permissions": ["users:write"]})
    assert change.status_code == 200
    assert own_house.services.users.get(a.tenant.id, a.alice_id)[1].permissions == ("account:*", "users:read")
    assert b.boss.call("DELETE", f"/api/admin/roles/{a.role}").status_code == 200
    assert own_house.services.users.get(a.tenant.id, a.alice_id)[1].roles == ("member", a.role)


# ── tokens ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_token_is_refused_where_the_request_names_another_tenant(house: House, sides: tuple[Side, Side]) -> None:
    """Invariant 11: A's access token with `X-Tenant: b` is refused on every protected route, and does nothing."""
    a, b = sides
    before = contents(house)
    for route in BEARER:
        for known in (known_of(a), known_of(b)):
            answer = send(a.boss, route, known, headers={"X-Tenant": "b"})
            assert (answer.status_code, answer.get_json()["code"]) == (401, "invalid_token"), route.path
    assert contents(house) == before
    assert alive(a.boss)


def test_verify_and_refresh_keep_to_the_tenant_that_is_named(house: House, sides: tuple[Side, Side]) -> None:
    """Invariant 11: A's tokens are not verified and not refreshed for B, and B's attempt does A no harm."""
    a, _ = sides
    before = contents(house)
    stranger = house.client(tenant="b")
    assert stranger.post("/api/auth/token/verify", {"token": a.alice.access_token}).status_code == 401
    assert stranger.refresh(a.alice.refresh_token).status_code == 401
    assert contents(house) == before
    assert house.client(tenant="a").post("/api/auth/token/verify", {"token": a.alice.access_token}).status_code == 200
    assert a.alice.refresh().status_code == 200


def test_a_host_name_decides_over_the_header(house: House, sides: tuple[Side, Side]) -> None:
    """Invariant 11: a tenant's host name, in any spelling, is its tenant, whatever `X-Tenant` says."""
    a, _ = sides
    tenant = house.services.administration.create_tenant("c", "C", host="c.example", by=None, trace=Trace())
    house.user("carol", tenant=tenant)
    for host in ("c.example", "C.Example:8443"):
        for extra in ({}, {"X-Tenant": "a"}):
            there = house.client(headers={"Host": host, **extra})
            assert there.log_in("carol@example.com").status_code == 200
            assert there.get("/api/auth/me").status_code == 200
            assert there.post("/api/auth/token/verify", {"token": a.alice.access_token}).status_code == 401
            assert there.refresh(a.alice.refresh_token).status_code == 401
            assert a.alice.call("GET", "/api/auth/me", headers={"Host": host, **extra}).status_code == 401
    assert alive(a.alice)
    made = house.client(headers={"Host": "c.example"}).register("newcomer").get_json()["data"]["user"]["id"]
    assert house.services.users.get(tenant.id, uuid.UUID(made))[0].email == "newcomer@example.com"


@pytest.mark.parametrize("slug", ["nobody", "", "A", "a ", "a\x7f", "x" * 64, "default'--", "b,a"])
def test_an_unknown_tenant_is_nobodys(house: House, sides: tuple[Side, Side], slug: str) -> None:
    """Invariant 11: a wrong `X-Tenant` is an error, and never the default tenant."""
    a, _ = sides
    stranger = house.client(tenant=slug)
    body = {"email": "alice@example.com", "password": PASSWORD}
    for path, sent in (
        ("/api/auth/login", body),
        ("/api/auth/register", {**body, "username": "newcomer"}),
        ("/api/auth/refresh", {"refresh_token": a.alice.refresh_token}),
        ("/api/auth/token/verify", {"token": a.alice.access_token}),
    ):
        answer = stranger.post(path, sent)
        assert (answer.status_code, answer.get_json()["code"]) == (404, "tenant_unknown"), path
    assert a.alice.call("GET", "/api/auth/me", headers={"X-Tenant": slug}).status_code == 404
    assert a.alice.refresh().status_code == 200


# ── people ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_same_address_in_two_tenants_is_two_users(house: House) -> None:
    """Invariant 10: accounts, passwords and sessions of one address are apart, and so is what ends them."""
    other_password = "another fine Passw0rd"
    house.tenant("north")
    house.tenant("south")
    first, second = house.client(tenant="north"), house.client(tenant="south")
    ids = {
        client.register("alice", password).get_json()["data"]["user"]["id"]
        for client, password in ((first, PASSWORD), (second, other_password))
    }
    assert len(ids) == 2
    assert house.client(tenant="north").log_in(password=other_password).status_code == 401
    assert house.client(tenant="south").log_in(password=PASSWORD).status_code == 401
    assert house.client().log_in(password=PASSWORD).status_code == 401
    assert first.post("/api/auth/logout", {"everywhere": True}).status_code == 200
    assert not alive(first)
    assert alive(second)
    change = {"current_password": other_password, "new_password": "a third fine Passw0rd"}
    assert second.post("/api/auth/password/change", change).status_code == 200
    assert first.log_in(password=PASSWORD).status_code == 200


# ── suspension ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_suspended_tenant_is_shut_at_once_and_nobody_elses(own_house: House, own_sides: tuple[Side, Side]) -> None:
    """Invariant 12: the very next request is refused: access, refresh, login, registration; B notices nothing."""
    a, b = own_sides
    own_house.user("root", roles=("platform-administrator",))
    root = own_house.logged_in("root")
    before = {name: getattr(a.alice, name) for name in ("access_token", "refresh_token")}
    assert alive(a.alice)
    assert root.post(f"/api/admin/tenants/{a.tenant.id}/suspend").get_json()["data"]["status"] == "suspended"

    for route in BEARER:
        assert send(a.boss, route, known_of(a)).status_code == 401, route.path
    assert a.alice.post("/api/auth/token/verify", {"token": a.alice.access_token}).status_code == 401
    assert a.alice.refresh().status_code == 401
    newcomer = own_house.client(tenant="a")
    for answer in (newcomer.log_in(), newcomer.register("newcomer")):
        assert (answer.status_code, answer.get_json()["code"]) == (403, "tenant_suspended")
    assert alive(b.alice)
    assert b.alice.refresh().status_code == 200
    assert alive(root)

    assert root.post(f"/api/admin/tenants/{a.tenant.id}/resume").get_json()["data"]["status"] == "active"
    assert not alive(a.alice)
    assert a.alice.refresh(before["refresh_token"]).status_code == 401
    assert a.alice.post("/api/auth/token/verify", {"token": before["access_token"]}).status_code == 401
    assert newcomer.log_in().status_code == 200
    assert alive(newcomer)
    assert newcomer.register("newcomer").status_code == 201


# ── administrators ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "permission", ["tenants:read", "tenants:*", "platform:read", "*:*", "*:read", "keys:read", "users:*:*"]
)
def test_a_tenant_makes_no_role_that_reaches_further_than_its_maker(
    house: House, sides: tuple[Side, Side], permission: str
) -> None:
    """Invariant 13: no tenant's role reaches across tenants, or grants what its maker does not have."""
    a, _ = sides
    before = contents(house)
    new = a.boss.post("/api/admin/roles", {"name": "clerk", "permissions": ["users:read", permission]})
    change = a.boss.call("PUT", f"/api/admin/roles/{a.role}", {"permissions": ["users:read", permission]})
    assert {new.status_code, change.status_code} <= {403, 422}
    assert contents(house) == before


def test_not_even_the_platform_administrator_makes_a_role_across_tenants(house: House) -> None:
    """Invariant 13: the built-in role is the only one that reaches across tenants."""
    house.user("root", roles=("platform-administrator",))
    root = house.logged_in("root")
    for permission in ("tenants:read", "platform:read", "*:*", "*:read"):
        assert root.post("/api/admin/roles", {"name": "clerk", "permissions": [permission]}).status_code == 422


def test_a_tenant_administrator_makes_no_platform_administrator(house: House, sides: tuple[Side, Side]) -> None:
    """Invariant 13: neither a new user, nor another one, nor oneself; and the refused user isn't left behind."""
    a, _ = sides
    before = contents(house)
    roles = ["platform-administrator"]
    new = {"email": "new@example.com", "username": "newcomer", "password": PASSWORD, "roles": roles}
    assert a.boss.post("/api/admin/users", new).status_code == 403
    for user_id in (a.alice_id, a.boss_id):
        answer = a.boss.call("PATCH", f"/api/admin/users/{user_id}", {"roles": ["member", *roles], "status": "active"})
        assert (answer.status_code, answer.get_json()["code"]) == (403, "insufficient_scope")
    for taken in ({"name": "platform-administrator"}, {"name": "member"}):
        answer = a.boss.post("/api/admin/roles", {**taken, "permissions": ["users:read"]})
        assert answer.status_code == 422
    assert contents(house) == before


def test_a_tenant_administrator_does_not_touch_a_platform_administrator(house: House, sides: tuple[Side, Side]) -> None:
    """Invariant 13: whoever could change a mightier user would gain that user's permissions."""
    a, _ = sides
    root = house.user("root", tenant=a.tenant, roles=("platform-administrator",))
    signed_in = house.logged_in("root", tenant=a.tenant)
    before = contents(house)
    changes: tuple[dict[str, Any], ...] = (
        {"status": "disabled"},
        {"password": "another fine Passw0rd"},
        {"roles": ["member"]},
        {"roles": []},
    )
    for change in changes:
        assert a.boss.call("PATCH", f"/api/admin/users/{root.id}", change).status_code == 403
    assert contents(house) == before
    assert alive(signed_in)


def test_a_role_that_is_taken_away_stops_working_at_once(own_house: House, own_sides: tuple[Side, Side]) -> None:
    """Decision 6: on admin routes the token's permissions count only while they are still granted."""
    a, _ = own_sides
    assert a.boss.get("/api/admin/users").status_code == 200
    own_house.services.administration.change_user(a.tenant.id, a.boss_id, roles=["member"], by=None, trace=Trace())
    before = contents(own_house)
    for route in ADMIN:
        answer = send(a.boss, route, known_of(a))
        assert (answer.status_code, answer.get_json()["code"]) == (403, "insufficient_scope"), route.path
    assert contents(own_house) == before
    assert alive(a.boss)


def test_a_role_that_is_removed_or_narrowed_stops_working_at_once(own_sides: tuple[Side, Side]) -> None:
    """Decision 6: what a role no longer grants is gone for those who hold it, before their token expires."""
    a, _ = own_sides
    path = f"/api/admin/roles/{a.role}"
    assert a.alice.refresh().status_code == 200
    assert a.alice.get("/api/admin/users").status_code == 200
    assert a.boss.call("PUT", path, {"permissions": ["sessions:read"]}).status_code == 200
    assert a.alice.get("/api/admin/users").status_code == 403
    assert a.boss.call("PUT", path, {"permissions": ["users:read"]}).status_code == 200
    assert a.alice.get("/api/admin/users").status_code == 200
    assert a.boss.call("DELETE", path).status_code == 200
    assert a.alice.get("/api/admin/users").status_code == 403
