"""Administrators act within what they may do now, not within what their token remembers."""

import pytest

from payymo.logs import Trace
from payymo.roles.model import common
from payymo.web.mount import list_routes
from tests.support.house import PASSWORD, Client, House
from tests.support.pictures import picture


@pytest.fixture
def demoted(house: House) -> tuple[Client, str]:
    """An administrator who was made a helpdesk a moment ago and still holds the old token, and their id."""
    house.services.roles.create(
        house.default.id, "helpdesk", ["users:write", "users:read", "account:read"], by=None, trace=Trace()
    )
    user = house.user("adam", roles=("tenant-administrator",))
    client = house.logged_in("adam")
    change = house.services.administration.change_user
    change(house.default.id, user.id, roles=("helpdesk",), by=None, trace=Trace())
    return client, str(user.id)


def test_a_demoted_administrator_can_not_promote_themselves_again(demoted: tuple[Client, str]) -> None:
    """Invariant 11: a removal takes effect at once, also for what may be handed out."""
    client, user_id = demoted
    restored = client.call("PATCH", f"/api/admin/users/{user_id}", {"roles": ["tenant-administrator"]})
    assert restored.status_code == 403
    assert client.get(f"/api/admin/users/{user_id}").get_json()["data"]["roles"] == ["helpdesk"]


def test_a_demoted_administrator_can_not_leave_a_back_door(demoted: tuple[Client, str]) -> None:
    """Invariant 11: neither a user with the lost role, nor a role with the lost permissions."""
    client, _ = demoted
    body = {"email": "door@example.com", "username": "door", "password": PASSWORD, "roles": ["tenant-administrator"]}
    assert client.post("/api/admin/users", body).status_code == 403
    assert client.post("/api/admin/roles", {"name": "door", "permissions": ["roles:write"]}).status_code == 403


def test_who_has_found_an_administrators_token_does_not_get_the_account_by_it(house: House) -> None:
    """One's own password takes the present one, or a login of a moment ago: also of who may change others'."""
    adam, eve = (house.user(name, roles=("tenant-administrator",)) for name in ("adam", "eve"))
    client = house.logged_in("adam")
    body = {"password": "another fine Passw0rd"}
    for refused in ({**body}, {**body, "status": "active"}):
        answer = client.call("PATCH", f"/api/admin/users/{adam.id}", refused)
        assert (answer.status_code, answer.get_json()["code"]) == (403, "insufficient_scope")
    assert client.get("/api/auth/me").status_code == 200
    assert house.client().log_in("adam@example.com").status_code == 200
    assert client.call("PATCH", f"/api/admin/users/{eve.id}", body).status_code == 200


def test_a_tenant_administrator_can_not_end_a_platform_administrators_sessions(house: House) -> None:
    """Whoever may do more can't be locked out by whoever may do less."""
    root = house.user("root", roles=("platform-administrator",))
    house.user("adam", roles=("tenant-administrator",))
    above, below = house.logged_in("root"), house.logged_in("adam")
    session_id = above.get("/api/auth/me").get_json()["data"]["session"]["id"]
    path = f"/api/admin/users/{root.id}/sessions/{session_id}"
    assert below.call("DELETE", path).status_code == 403
    assert above.get("/api/auth/me").status_code == 200


def test_a_host_name_with_a_trailing_dot_is_the_same_host(house: House) -> None:
    """DNS writes the root as a dot; a tenant's users must not land in the default tenant by it."""
    tenant = house.services.administration.create_tenant("acme", "Acme", host="acme.example", by=None, trace=Trace())
    house.user("alice", tenant=tenant)
    for host in ("acme.example", "ACME.example.", "acme.example.:8443"):
        client = house.client(headers={"Host": host})
        assert client.log_in().get_json()["data"]["user"]["tenant_id"] == str(tenant.id)


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        (("*:*",), ("users:read",), ("users:read",)),
        (("users:*",), ("users:read", "roles:read"), ("users:read",)),
        (("users:write",), ("users:read",), ()),
        (("users:*",), ("*:*",), ("users:*",)),
    ],
)
def test_what_is_common_is_in_both(one: tuple[str, ...], other: tuple[str, ...], shared: tuple[str, ...]) -> None:
    """The order does not matter, and nothing is made up."""
    assert common(one, other) == common(other, one) == shared


def test_every_change_by_an_administrator_is_logged_with_who_made_it(house: House) -> None:
    """Invariant 22: whom it is about, and who did it, for every route that changes something; never a name."""
    boss = house.user("root", roles=("platform-administrator",))
    house.user("alice")
    root, alice = house.logged_in("root"), house.logged_in("alice")
    me = alice.get("/api/auth/me").get_json()["data"]
    user, session = f"/api/admin/users/{me['user']['id']}", me["session"]["id"]
    new_user = {"email": "bob@example.com", "username": "bob", "password": PASSWORD, "roles": ["member"]}
    acme = root.post("/api/admin/tenants", {"slug": "acme", "name": "Acme"}).get_json()["data"]["id"]
    told = {"url": "https://127.0.0.1:1/hooks", "events": ["user."]}
    hook = "/api/admin/webhooks/" + root.post("/api/admin/webhooks", told).get_json()["data"]["webhook"]["id"]
    draft = {"name": "nightly", "permissions": ["invoices:read"]}
    key = "/api/admin/api-keys/" + root.post("/api/admin/api-keys", draft).get_json()["data"]["id"]
    acts: dict[tuple[str, str], tuple[str, object, str]] = {
        ("POST", "/api/admin/users"): ("/api/admin/users", new_user, "user.created"),
        ("DELETE", "/api/admin/users/<uuid:user_id>/sessions/<uuid:session_id>"): (
            f"{user}/sessions/{session}",
            None,
            "session.ended",
        ),
        ("POST", "/api/admin/users/<uuid:user_id>/impersonate"): (
            f"{user}/impersonate",
            {"why": "ticket 4711", "current_password": PASSWORD},
            "session.impersonated",
        ),
        ("PATCH", "/api/admin/users/<uuid:user_id>"): (user, {"status": "disabled"}, "user.status-changed"),
        ("POST", "/api/admin/users/<uuid:user_id>/unlock"): (f"{user}/unlock", None, "user.unlocked"),
        ("POST", "/api/admin/users/<uuid:user_id>/force-reset"): (f"{user}/force-reset", None, "user.reset-forced"),
        ("POST", "/api/admin/roles"): ("/api/admin/roles", {"name": "clerk", "permissions": ["a:b"]}, "role.created"),
        ("PUT", "/api/admin/roles/<string:name>"): (
            "/api/admin/roles/clerk",
            {"permissions": ["a:c"]},
            "role.changed",
        ),
        ("DELETE", "/api/admin/roles/<string:name>"): ("/api/admin/roles/clerk", None, "role.removed"),
        ("PUT", "/api/admin/password-policy"): (
            "/api/admin/password-policy",
            {"min_length": 12, "max_length": 64, "min_score": 3, "complexity_classes": 0, "words": []},
            "password-policy.changed",
        ),
        ("DELETE", "/api/admin/password-policy"): ("/api/admin/password-policy", None, "password-policy.changed"),
        ("PUT", "/api/admin/brand"): ("/api/admin/brand", {"name": "Acme"}, "tenant.brand-changed"),
        ("PUT", "/api/admin/brand/logo"): ("/api/admin/brand/logo", picture(), "tenant.brand-changed"),
        ("DELETE", "/api/admin/brand/logo"): ("/api/admin/brand/logo", None, "tenant.brand-changed"),
        ("DELETE", "/api/admin/brand"): ("/api/admin/brand", None, "tenant.brand-changed"),
        ("POST", "/api/admin/tenants"): ("/api/admin/tenants", {"slug": "b", "name": "B"}, "tenant.created"),
        ("POST", "/api/admin/tenants/<uuid:tenant_id>/suspend"): (
            f"/api/admin/tenants/{acme}/suspend",
            None,
            "tenant.suspended",
        ),
        ("POST", "/api/admin/tenants/<uuid:tenant_id>/resume"): (
            f"/api/admin/tenants/{acme}/resume",
            None,
            "tenant.active",
        ),
        ("POST", "/api/admin/webhooks"): ("/api/admin/webhooks", told, "webhook.created"),
        ("PATCH", "/api/admin/webhooks/<uuid:webhook_id>"): (hook, {"description": "of Acme"}, "webhook.changed"),
        ("POST", "/api/admin/webhooks/<uuid:webhook_id>/secret"): (f"{hook}/secret", {}, "webhook.secret-rotated"),
        ("DELETE", "/api/admin/webhooks/<uuid:webhook_id>"): (hook, None, "webhook.deleted"),
        ("POST", "/api/admin/api-keys"): ("/api/admin/api-keys", {**draft, "name": "hourly"}, "apikey.created"),
        ("DELETE", "/api/admin/api-keys/<uuid:api_key_id>"): (key, None, "apikey.revoked"),
        ("DELETE", "/api/admin/users/<uuid:user_id>"): (user, None, "user.erased"),
    }
    sending = {  # they need a receiver: tests/webhooks/test_service
        ("POST", "/api/admin/webhooks/<uuid:webhook_id>/test"),
        ("POST", "/api/admin/webhooks/<uuid:webhook_id>/events/<uuid:event_id>/redeliver"),
    }
    changing = {(route.method, route.path) for route in list_routes() if route.permission and route.method != "GET"}
    assert set(acts) == {act for act in changing - sending if act[1].startswith("/api/admin/")}
    for (method, _), (path, body, name) in acts.items():
        before = len(house.events())
        answer = root.call(method, path, body)
        assert answer.status_code < 300, answer.get_data(as_text=True)
        [event] = [found for found in house.events()[before:] if found["event"] == name]
        assert (event["event"], event["outcome"], event["actor_id"]) == (name, "success", str(boss.id))
        assert event["request_id"] == answer.headers["X-Request-ID"]
        assert "@" not in str(event)
