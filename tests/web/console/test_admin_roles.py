"""`/admin/roles`: a table that can be read, and roles that are made, changed and removed."""

import re

import pytest

from payymo.logs import Trace
from payymo.roles.model import Role
from payymo.web.console.admin_roles import table_of
from tests.support.house import House
from tests.support.surfer import Surfer

ROLES = "/admin/roles"
NEW = f"{ROLES}/_new"


def boss_of(house: House) -> Surfer:
    """An administrator, signed in."""
    house.user("boss", roles=("tenant-administrator",))
    boss = Surfer(house)
    boss.sign_in("boss")
    return boss


def test_the_table_says_what_wildcards_grant() -> None:
    """A permission is granted by itself or by what covers it; every one that a role names has its line."""
    lines = table_of([Role("one", ("users:*",)), Role("two", ("invoices:read", "users:read"))])
    found = {line.permission: line.granted for line in lines}
    assert found["users:*"] == (True, False)
    assert found["users:read"] == (True, True)
    assert found["users:write"] == (True, False)
    assert found["invoices:read"] == (False, True)
    assert found["audit:read"] == (False, False)


@pytest.mark.parametrize("name", ["clerk", "new"])
def test_a_role_is_made_changed_and_removed(house: House, name: str) -> None:
    """It counts at once for who holds it. What is wrong is said at its field, and nothing typed is lost."""
    boss = boss_of(house)
    boss.get(NEW)
    token = dict(boss.forms[-1].fields)["csrf"]
    wrong = [("csrf", token), ("name", name), ("permissions", "users:read"), ("others", "users")]
    assert boss.post(NEW, wrong).status_code == 422
    assert 'value="users:read" checked' in boss.answer.text
    assert re.search(r'id="others-problem">write permissions as resource:action', boss.answer.text)
    right = [("csrf", token), ("name", name), ("permissions", "users:read"), ("others", "sessions:read\n")]
    assert boss.post(NEW, right).status_code == 303
    carl = house.user("carl", roles=(name,))
    boss.get(f"{ROLES}/{name}")
    change = [("csrf", token), ("permissions", "roles:read"), ("permissions", "users:read"), ("others", "webhooks:*")]
    assert boss.post(f"{ROLES}/{name}", change).status_code == 303
    permissions = house.services.users.get(house.default.id, carl.id)[1].permissions
    assert permissions == ("roles:read", "users:read", "webhooks:*")
    boss.get(f"{ROLES}/{name}/remove")
    boss.submit(f"{ROLES}/{name}/remove")
    assert "The role is removed." in boss.text
    assert house.services.users.get(house.default.id, carl.id)[1].roles == ()


def test_nobody_makes_a_role_of_what_they_may_not_do(sqlite_house: House) -> None:
    """The refusal comes with the form; built-in roles have none."""
    boss = boss_of(sqlite_house)
    boss.get(NEW)
    assert boss.send(NEW, name="clerk", others="invoices:read").status_code == 403
    assert "a permission that you don&#39;t have" in boss.answer.text
    assert 'value="clerk"' in boss.answer.text
    boss.get(f"{ROLES}/member")
    assert [form.action for form in boss.forms] == ["/sign-out", "/language"]


def test_many_roles_take_several_pages(sqlite_house: House) -> None:
    """Each own role is on one of them, beside the built-in ones."""
    names = [f"role-{number:02}" for number in range(30)]
    for name in names:
        sqlite_house.services.roles.create(sqlite_house.default.id, name, ["users:read"], by=None, trace=Trace())
    boss, found, path = boss_of(sqlite_house), [], ROLES
    while path:
        boss.get(path)
        columns = re.findall(r'scope="col"><a href="/admin/roles/([^"]+)"', boss.answer.text)
        assert columns[:4] == ["platform-administrator", "tenant-administrator", "member", "read-only"]
        found += columns[4:]
        path = "".join(re.findall(r'rel="next" href="([^"]+)"', boss.answer.text))
    assert found == names
