"""Administrators act within what they may do now, not within what their token remembers."""

import pytest

from payymo.logs import Trace
from payymo.roles.model import common
from tests.support.house import PASSWORD, Client, House


@pytest.fixture
def demoted(house: House) -> tuple[Client, str]:
    """An administrator who was made a helpdesk a moment ago and still holds the old token, and their id."""
    house.services.roles.create(house.default.id, "helpdesk", ["users:write", "users:read", "account:read"], by=["*:*"])
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
    tenant = house.services.tenants.create("acme", "Acme", host="acme.example")
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
