"""`/admin/sessions` and its twin in the API: what an administrator sees, and ends."""

import re

from payymo.logs import Trace
from tests.support.house import House
from tests.support.surfer import Surfer, signed_in

LIST = "/admin/sessions"


def boss_of(house: House, *, roles: tuple[str, ...] = ("tenant-administrator",)) -> Surfer:
    """Somebody with these roles, signed in."""
    house.user("boss", roles=roles)
    return signed_in(house, "boss")


def test_everybodys_sessions_are_looked_through(sqlite_house: House) -> None:
    """Fifty a page, the newest first, each with a link to its user; one's own is told apart and can't be ended here."""
    boss = boss_of(sqlite_house)
    sqlite_house.user("alice")
    for _ in range(55):
        sqlite_house.clock.advance(1)
        sqlite_house.logged_in("alice")
    boss.get(LIST)
    assert len(re.findall(r'<a href="/admin/users/[0-9a-f-]+">alice</a>', boss.answer.text)) == 50
    assert "this one" not in boss.text
    [onward] = re.findall(r'rel="next" href="([^"]+)"', boss.answer.text)
    boss.get(onward)
    assert len(re.findall(r">alice</a>", boss.answer.text)) == 5
    assert "this one" in boss.text
    assert len([form for form in boss.forms if form.action.startswith(LIST)]) == 5
    assert 'rel="next"' not in boss.answer.text
    assert boss.get(f"{LIST}?after=junk").status_code == 422
    assert boss.get(f"{LIST}?after=1-1").status_code == 422


def test_a_session_is_ended_from_the_list(house: House) -> None:
    """It is over at once, and the list comes back without it."""
    boss, alice = boss_of(house), house.user("alice")
    client = house.logged_in("alice")
    boss.get(LIST)
    [form] = [form for form in boss.forms if form.action.startswith(f"{LIST}/{alice.id}/")]
    boss.submit(form.action)
    assert "The session has ended." in boss.text
    assert "alice" not in boss.text
    assert client.get("/api/auth/me").status_code == 401


def test_who_may_only_read_ends_nothing(house: House) -> None:
    """No button, no link to what they may not see, and no way past them; nor for who may do less than the user."""
    house.services.roles.create(house.default.id, "reader", ["sessions:read"], by=None, trace=Trace())
    house.services.roles.create(house.default.id, "ender", ["sessions:*"], by=None, trace=Trace())
    alice = house.user("alice", roles=("tenant-administrator",))
    client = house.logged_in("alice")
    [session] = house.services.sessions.list_sessions(house.default.id, alice.id)
    end = f"{LIST}/{alice.id}/{session.id}/end"
    for name in ("reader", "ender"):
        house.user(name, roles=("member", name))
        surfer = signed_in(house, name)
        surfer.get(LIST)
        assert "alice" in surfer.text
        assert "/admin/users/" not in surfer.answer.text
        assert (end in {form.action for form in surfer.forms}) == (name == "ender")
        assert surfer.force(end).status_code == 403
    assert client.get("/api/auth/me").status_code == 200


def test_the_api_lists_the_same(house: House) -> None:
    """The twin: pages by `after`, and which one is the caller's."""
    house.user("boss", roles=("tenant-administrator",))
    client = house.logged_in("boss")
    house.clock.advance(5)
    house.logged_in("boss")
    first = client.get("/api/admin/sessions?limit=1").get_json()["data"]
    second = client.get(f"/api/admin/sessions?limit=1&after={first['next']}").get_json()["data"]
    assert [one["current"] for one in (*first["sessions"], *second["sessions"])] == [False, True]
    assert {one["username"] for one in (*first["sessions"], *second["sessions"])} == {"boss"}
    assert second["next"] is None
    refused = client.get("/api/admin/sessions?after=junk")
    assert refused.status_code == 422
    assert refused.get_json()["errors"][0]["pointer"] == "/after"
