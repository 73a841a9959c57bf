"""`/api/admin/password-policy`: each tenant asks what it wants of new passwords, within bounds."""

import pytest

from payymo.logs import Trace
from tests.support.house import Client, House

DEFAULT = {"min_length": 12, "max_length": 128, "min_score": 3, "complexity_classes": 0, "words": []}
STRICT = DEFAULT | {"min_length": 15, "complexity_classes": 3, "words": ["rocket"]}
PATH = "/api/admin/password-policy"


@pytest.fixture
def boss(house: House) -> Client:
    """The administrator of the default tenant."""
    house.user("boss", roles=("tenant-administrator",))
    return house.logged_in("boss")


def problems_of(client: Client, password: str) -> list[str]:
    """What a registration says of a password."""
    answer = client.register("newcomer", password)
    return [] if answer.status_code == 201 else [found["detail"] for found in answer.get_json()["errors"]]


def test_what_an_administrator_sets_holds_at_once_and_in_their_tenant_alone(house: House, boss: Client) -> None:
    """Registration, password change and what administrators set go by the same policy; other tenants go by theirs."""
    other = house.tenant("other")
    user = house.user("alice")
    alice = house.logged_in()
    assert boss.get(PATH).get_json()["data"] == DEFAULT | {"set_by": "settings"}
    for policy in (DEFAULT, STRICT):  # the first time, and another in its place
        assert boss.call("PUT", PATH, policy).get_json()["data"] == policy | {"set_by": "tenant"}
    assert boss.get(PATH).get_json()["data"] == STRICT | {"set_by": "tenant"}
    assert "15 to 128" in problems_of(house.client(), "fourteen chars")[0]
    assert "3 kinds" in problems_of(house.client(), "only small letters")[0]
    change = {"current_password": "SecurePassword123!", "new_password": "only-small-letters"}
    assert "3 kinds" in alice.post("/api/auth/password/change", change).get_json()["errors"][0]["detail"]
    reset = boss.call("PATCH", f"/api/admin/users/{user.id}", {"password": "Rocket-Rocket-99!"})
    assert "everybody here knows" in reset.get_json()["errors"][0]["detail"]
    assert problems_of(house.client(tenant=other.slug), "fourteen chars") == []
    assert [line["actor_id"] for line in house.events() if line["event"] == "password-policy.changed"]


def test_what_a_tenant_calls_itself_on_its_pages_is_no_password_there(house: House) -> None:
    """Who signs in reads the brand's name, and no other: it is refused like the tenant's own, and nowhere else."""
    other = house.tenant("other")
    password = "Blaureiher-Kraftwerke!"
    house.services.brands.set(house.default.id, name="Blaureiher Kraftwerke", accent=None, by=None, trace=Trace())
    (problem,) = problems_of(house.client(), password)
    assert "everybody here knows" in problem
    assert problems_of(house.client(tenant=other.slug), password) == []


def test_a_tenant_gives_its_own_policy_up(house: House, boss: Client) -> None:
    """What the settings say holds again at once, there alone; a second time changes nothing."""
    other = house.tenant("other")
    house.user("head", tenant=other, roles=("tenant-administrator",))
    head = house.logged_in("head", tenant=other)
    for client in (boss, head):
        assert client.call("PUT", PATH, STRICT).status_code == 200
    for _ in range(2):
        assert boss.call("DELETE", PATH).get_json()["data"] == DEFAULT | {"set_by": "settings"}
    assert boss.get(PATH).get_json()["data"] == DEFAULT | {"set_by": "settings"}
    assert problems_of(house.client(), "fourteen chars") == []
    assert head.get(PATH).get_json()["data"] == STRICT | {"set_by": "tenant"}


def test_only_who_may_write_policies_does(house: House) -> None:
    """Members don't read it, readers don't set it."""
    house.services.roles.create(house.default.id, "reader", ["policies:read"], by=None, trace=Trace())
    house.user("alice")
    house.user("bob", roles=("reader",))
    assert house.logged_in("alice").get(PATH).status_code == 403
    bob = house.logged_in("bob")
    assert bob.get(PATH).status_code == 200
    assert bob.call("PUT", PATH, STRICT).status_code == bob.call("DELETE", PATH).status_code == 403
    assert bob.get(PATH).get_json()["data"]["set_by"] == "settings"


@pytest.mark.parametrize("wrong", [{"min_length": 9}, {"max_length": 257}, {"words": ["a\nb\nc"]}, {"min_score": True}])
def test_a_policy_outside_of_the_bounds_is_422(sqlite_house: House, wrong: dict[str, object]) -> None:
    """NIST's floor holds for every tenant; the member is named."""
    sqlite_house.user("boss", roles=("tenant-administrator",))
    answer = sqlite_house.logged_in("boss").call("PUT", PATH, STRICT | wrong)
    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["pointer"].startswith(f"/{next(iter(wrong))}")


def test_a_password_of_two_kilobytes_is_refused_before_anything_is_computed(house: House) -> None:
    """ASVS 6.2.9: the body is refused by its length; a right one of 128 characters of four bytes is taken."""
    assert house.client().register(password="x" * 2_000).status_code == 422
    word = "🦉🌲🏠🚀🍏🐝🌍🎈🧊🪁🍇🌶"
    assert house.client().register(password=(word * 11)[:128]).status_code == 201
