"""The normal life of an account, over HTTP, on both databases."""

from payymo.logs import Trace
from tests.support.house import PASSWORD, Client, House


def test_register_verify_me_refresh_logout_login(client: Client) -> None:
    """The handover's normal flow: each step works, and after the logout nothing from before does."""
    registered = client.register()
    assert registered.status_code == 201
    data = registered.get_json()["data"]
    assert data["token_type"] == "Bearer"
    assert data["expires_in"] == 900
    assert data["user"]["roles"] == ["member"]
    assert data["user"]["permissions"] == ["account:*"]

    verified = client.post("/api/auth/token/verify", {"token": client.access_token})
    assert verified.get_json()["data"]["token_info"]["user_id"] == data["user"]["id"]
    assert client.get("/api/auth/me").get_json()["data"]["user"]["email"] == "alice@example.com"

    before = client.refresh_token
    assert client.refresh().status_code == 200
    assert client.refresh_token != before

    assert client.post("/api/auth/logout").get_json() == {"data": {}}
    assert client.get("/api/auth/me").status_code == 401
    assert client.post("/api/auth/token/verify", {"token": client.access_token}).status_code == 401
    assert client.refresh().status_code == 401

    assert client.log_in().status_code == 200
    assert client.get("/api/auth/me").status_code == 200


def test_unknown_user_wrong_password_and_disabled_user_are_answered_alike(house: House, client: Client) -> None:
    """Invariant 24: one status, one body, one size, whoever asks about whomever."""
    house.user("alice")
    disabled = house.user("dora")
    house.services.administration.change_user(house.default.id, disabled.id, status="disabled", by=None, trace=Trace())
    answers = [
        client.log_in("alice@example.com", "wrong password 1"),
        client.log_in("nobody@example.com", "wrong password 1"),
        client.log_in("dora@example.com", PASSWORD),
        client.log_in("not an address", PASSWORD),
    ]
    bodies = [{**answer.get_json(), "request_id": "-"} for answer in answers]
    assert [answer.status_code for answer in answers] == [401] * 4
    assert all(body == bodies[0] for body in bodies)
    assert len({answer.content_length for answer in answers}) == 1
    assert [dict(answer.headers).keys() for answer in answers] == [dict(answers[0].headers).keys()] * 4


def test_logout_everywhere_ends_every_session_of_the_user_and_of_nobody_else(house: House) -> None:
    """Invariant 2: `everywhere` covers all of one's sessions."""
    house.user("alice")
    house.user("bob")
    phone, laptop, other = house.logged_in(), house.logged_in(), house.logged_in("bob")
    assert phone.post("/api/auth/logout", {"everywhere": True}).status_code == 200
    assert laptop.get("/api/auth/me").status_code == 401
    assert laptop.refresh().status_code == 401
    assert other.get("/api/auth/me").status_code == 200


def test_own_sessions_are_listed_and_ended_one_by_one(house: House) -> None:
    """A user sees their devices, ends one, and can't touch another user's."""
    house.user("alice")
    house.user("bob")
    phone, laptop, other = house.logged_in(), house.logged_in(), house.logged_in("bob")
    listed = phone.get("/api/auth/sessions").get_json()["data"]["sessions"]
    assert len(listed) == 2
    [laptop_id] = [session["id"] for session in listed if not session["current"]]
    assert other.call("DELETE", f"/api/auth/sessions/{laptop_id}").status_code == 404
    assert laptop.get("/api/auth/me").status_code == 200
    assert phone.call("DELETE", f"/api/auth/sessions/{laptop_id}").status_code == 200
    assert laptop.get("/api/auth/me").status_code == 401
    assert laptop.refresh().status_code == 401


def test_changing_the_password_ends_every_other_session(house: House) -> None:
    """Invariant 2: whoever knew the old password is out; the new one lets its owner in."""
    house.user("alice")
    thief, owner = house.logged_in(), house.logged_in()
    body = {"current_password": PASSWORD, "new_password": "another fine Passw0rd"}
    wrong = {**body, "current_password": "not the password"}
    assert owner.post("/api/auth/password/change", wrong).status_code == 401
    assert owner.post("/api/auth/password/change", body).status_code == 200
    assert thief.get("/api/auth/me").status_code == 401
    assert thief.refresh().status_code == 401
    assert owner.log_in(password=PASSWORD).status_code == 401
    assert owner.log_in(password="another fine Passw0rd").status_code == 200
