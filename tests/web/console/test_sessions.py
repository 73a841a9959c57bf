"""Sessions in browsers: when they begin, what the cookie is worth, and what ends them."""

import re

import pytest

from payymo.events import CATALOGUE
from payymo.logs import Trace
from payymo.sessions.browser import FRESH_SECONDS, read_cookie
from payymo.web.console import words
from tests.support.house import PASSWORD, Database, House
from tests.support.moments import before
from tests.support.surfer import OURS, Form, Surfer
from tests.web.scene import contents

NEW = "the quiet teapot climbs a hill"


def test_signing_in_begins_a_session_that_stands_among_the_others(house: House) -> None:
    """One list for tokens and browsers; and the cookie is no token of the API."""
    house.user("alice")
    client, surfer = house.logged_in("alice"), Surfer(house)
    assert surfer.sign_in().status_code == 200
    assert "My account" in surfer.text
    listed = client.get("/api/auth/sessions").get_json()["data"]["sessions"]
    assert [session["current"] for session in listed].count(True) == 1
    assert len(listed) == 2
    cookie = surfer.cookie() or ""
    for token in (cookie, cookie.partition(".")[2]):
        assert (
            house.client().call("GET", "/api/auth/me", headers={"Authorization": f"Bearer {token}"}).status_code == 401
        )


def test_no_token_reaches_the_browser(house: House) -> None:
    """Not in a page, not in a cookie, not in a header: what is not there, no script hands out."""
    house.user("alice")
    surfer = Surfer(house)
    surfer.get("/sign-in")
    answer = surfer.send("/sign-in", email="alice@example.com", password=PASSWORD)
    for path in ("/account", "/account/sessions", "/account/activity"):
        page = surfer.get(path)
        assert not re.search(r"eyJ[A-Za-z0-9_-]{10}", f"{answer.headers}{page.headers}{page.text}")


@pytest.mark.parametrize("how", ["logout-everywhere", "other password", "disabled", "suspended", "ended by an id"])
def test_whatever_ends_sessions_ends_those_in_browsers_at_once(house: House, how: str) -> None:
    """The next page is the one to sign in."""
    acme = house.tenant("acme")
    user = house.user("alice", tenant=acme)
    surfer, client = Surfer(house, tenant="acme"), house.logged_in("alice", tenant=acme)
    surfer.sign_in()
    assert surfer.get("/account").status_code == 200
    administration, trace = house.services.administration, Trace()
    match how:
        case "logout-everywhere":
            client.post("/api/auth/logout", {"everywhere": True})
        case "other password":
            client.post("/api/auth/password/change", {"current_password": PASSWORD, "new_password": NEW})
        case "disabled":
            administration.change_user(acme.id, user.id, status="disabled", by=None, trace=trace)
        case "suspended":
            administration.suspend(acme.id, by=None, trace=trace)
        case _:
            listed = client.get("/api/auth/sessions").get_json()["data"]["sessions"]
            [other] = [session["id"] for session in listed if not session["current"]]
            assert client.call("DELETE", f"/api/auth/sessions/{other}").status_code == 200
    assert surfer.open("GET", "/account").headers["Location"].startswith("/sign-in?")


def test_a_session_ends_unused_after_an_hour_and_used_after_twelve(house: House) -> None:
    """Idle and absolute lifetime, at the second; a page that is looked at is use."""
    house.user("alice")
    surfer = Surfer(house)
    surfer.sign_in()
    policy = house.settings.console

    def is_in() -> bool:
        return surfer.open("GET", "/account").status_code == 200

    house.clock.advance(policy.idle_seconds - 1)
    assert is_in()
    house.clock.advance(policy.idle_seconds)
    assert not is_in()
    surfer.sign_in()
    begun = house.clock()
    while house.clock() - begun < policy.session_seconds - 1800:
        house.clock.advance(1800)
        assert is_in()
    house.clock.now = begun + policy.session_seconds - 1
    assert is_in()
    house.clock.advance(1)
    assert not is_in()


def test_the_cookie_is_another_one_after_every_proof(house: House) -> None:
    """Session fixation (CVE-2024-28197, CVE-2026-7507): what was in the browser before is worth nothing after it."""
    house.user("alice")
    surfer, old = Surfer(house), Surfer(house)
    surfer.sign_in()
    seen = [surfer.cookie() or ""]
    house.clock.advance(FRESH_SECONDS + 1)
    surfer.get("/account/export")
    assert surfer.submit("/confirm", password=PASSWORD).status_code == 200
    seen.append(surfer.cookie() or "")
    surfer.get("/account/password")
    surfer.submit("/account/password", current_password=PASSWORD, new_password=NEW)
    seen.append(surfer.cookie() or "")
    assert len(set(seen)) == 3
    for text in seen[:2]:
        old.http.set_cookie("payymo-session", text, domain="localhost")
        assert old.open("GET", "/account").status_code == 303
    assert surfer.get("/account").status_code == 200


def test_a_login_over_a_login_ends_the_one_before(house: House) -> None:
    """CVE-2025-12390. Two people, one browser: nothing of the first is left, neither here nor in the database."""
    house.user("alice")
    house.user("bob")
    surfer, again = Surfer(house), Surfer(house)
    surfer.get("/sign-in")
    old = surfer.forms[0].fields
    surfer.sign_in("alice")
    again.http.set_cookie("payymo-session", surfer.cookie() or "", domain="localhost")
    assert again.open("GET", "/sign-in").headers["Location"] == "/account"
    assert surfer.post("/sign-in", old).status_code == 403  # made for nobody, sent by somebody
    surfer.get("/account")
    fields = [*surfer.forms[0].fields, ("email", "bob@example.com"), ("password", PASSWORD)]
    assert surfer.post("/sign-in", fields).status_code == 303
    assert "bob@example.com" in surfer.get("/account").text
    assert "alice" not in surfer.answer.text
    assert again.open("GET", "/account").status_code == 303


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "0" * 32,
        f"{'0' * 32}.payymo_{'0' * 32}_{'A' * 43}",
        f"{'0' * 32}.payymo_{'0' * 32}_{'A' * 42}",
        f"{'0' * 32}.payymo_{'0' * 32}_{'A' * 43}.",
        f"{'0' * 32}.payymo_{'0' * 32}_{'A' * 42}B",
        f"{'é' * 32}.payymo_{'0' * 32}_{'A' * 43}",
    ],
)
def test_a_cookie_that_we_did_not_make_is_nobody(house: House, text: str) -> None:
    """CVE-2024-38513. A client chooses no session of its own: it gets a new secret, and is asked who it is."""
    surfer = Surfer(house)
    surfer.http.set_cookie("payymo-session", text.encode().decode("latin-1"), domain="localhost")
    answer = surfer.open("GET", "/account")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in?next=/account")
    surfer.get("/sign-in")
    assert surfer.cookie("payymo-visit")


def test_a_cookie_counts_in_its_own_tenant_only(house: House) -> None:
    """With another tenant in it nobody is found; nor where the host has a tenant of its own."""
    acme = house.tenant("acme")
    other = house.services.administration.create_tenant("other", "Other", host="other.test", by=None, trace=Trace())
    house.user("alice", tenant=acme)
    surfer = Surfer(house, tenant="acme")
    surfer.sign_in()
    text = surfer.cookie() or ""
    made = read_cookie(text)
    assert made is not None
    assert made.text == text
    assert house.services.browsers.find(text) is not None
    assert house.services.browsers.find(text.replace(acme.id.hex, other.id.hex)) is None
    stranger = Surfer(house, host="other.test")
    stranger.http.set_cookie("payymo-session", text, domain="other.test")
    assert stranger.open("GET", "/account").status_code == 303
    answer = stranger.open("GET", "/sign-in?tenant=acme")
    assert (answer.status_code, "Other" in answer.text) == (200, True)


def test_an_identifier_without_its_secret_is_nobody(house: House) -> None:
    """What stands in front of the secret may be known: it only finds the row."""
    house.user("alice")
    surfer = Surfer(house)
    surfer.sign_in()
    text = surfer.cookie() or ""
    other = text[:-43] + ("A" if text[-43] != "A" else "B") + text[-42:]
    assert house.services.browsers.find(text) is not None
    assert house.services.browsers.find(other) is None


def test_a_password_that_is_changed_while_it_is_confirmed_confirms_nothing(house: House) -> None:
    """What was proven has to hold when the cookie is made; and the browser keeps the one that it has."""
    user = house.user("alice")
    surfer = Surfer(house)
    surfer.sign_in()
    surfer.get("/confirm")
    text = surfer.cookie()

    def change() -> None:
        with house.by_hand(house.default.id) as tx:
            house.services.users.change_password(tx, user.id, house.services.users.unusable_hash())

    with before(house, lambda statement: "FOR UPDATE" in statement or statement.startswith("BEGIN IMMEDIATE"), change):
        answer = surfer.send("/confirm", password=PASSWORD)
    assert answer.status_code == 401
    assert surfer.cookie() == text


def test_signing_out_needs_a_form(house: House) -> None:
    """CVE-2021-21241. A picture on somebody's page does not sign one out (GET); ours does, and the cookie goes."""
    house.user("alice")
    surfer = Surfer(house)
    surfer.sign_in()
    assert surfer.open("GET", "/sign-out").status_code == 405
    text = surfer.cookie() or ""
    surfer.get("/account")
    surfer.submit("/sign-out")
    assert "You are signed out." in surfer.text
    assert surfer.cookie() is None
    assert house.services.browsers.find(text) is None


def test_who_signs_out_when_the_session_has_ended_is_signed_out(house: House) -> None:
    """And does not sign in to go on with that; another site does not even get a dead cookie away."""
    house.user("alice", tenant=house.tenant("acme"))
    surfer = Surfer(house, tenant="acme")
    surfer.sign_in()
    house.clock.advance(12 * 3600 + 1)
    assert surfer.send("/sign-out", headers={"Origin": "https://evil.example"}).status_code == 403
    assert surfer.cookie() is not None
    surfer.forms = [Form("/sign-out", [("csrf", "x")])]
    assert surfer.send("/sign-out").status_code == 401
    assert ("Acme" in surfer.text, "what you typed" in surfer.text, surfer.cookie()) == (True, False, None)
    assert surfer.submit("/sign-in", email="alice@example.com", password=PASSWORD).status_code == 200
    assert "My account" in surfer.text


def test_a_browser_that_is_renewed_twice_at_once_gets_one_cookie(house: House) -> None:
    """Of two confirmations of one cookie one counts: a stolen one is not renewed beside the owner."""
    house.user("alice")
    surfer = Surfer(house)
    surfer.sign_in()
    visitor = house.services.browsers.find(surfer.cookie() or "")
    assert visitor is not None
    surfer.get("/confirm")
    thief = Surfer(house)
    thief.http.set_cookie("payymo-session", surfer.cookie() or "", domain="localhost")
    thief.get("/confirm")
    assert surfer.send("/confirm", password=PASSWORD).status_code == 303
    assert thief.send("/confirm", password=PASSWORD).status_code in {401, 403}
    assert thief.open("GET", "/account", headers=OURS).status_code == 303


def test_the_secret_of_a_cookie_is_kept_nowhere(house: House) -> None:
    """Not in the database, not in a line of the log, not in the record: only the browser has it."""
    house.user("alice")
    surfer = Surfer(house)
    surfer.sign_in()
    made = read_cookie(surfer.cookie() or "")
    surfer.get("/account")
    surfer.submit("/sign-out")
    assert made is not None
    kept = f"{contents(house)}{house.log_lines.getvalue()}"
    for shown in (made.secret.text[-43:], repr(made.secret.secret)[2:-1], made.secret.secret.hex(), PASSWORD):
        assert shown not in kept
    assert made.secret.text[-43:] not in repr(made)


def test_typing_errors_of_who_confirms_now_and_then_do_not_add_up(sqlite_database: Database) -> None:
    """The right password takes them back, as at the sign-in: else each one costs an hour in the end."""
    house = House(sqlite_database, lockout={"enabled": True, "failures": 2})
    house.user("alice")
    surfer = Surfer(house)
    surfer.sign_in()
    for _ in range(3):
        surfer.get("/confirm")
        assert surfer.submit("/confirm", password="mistyped by alice").status_code == 401
        assert surfer.submit("/confirm", password=PASSWORD).status_code == 200
        house.clock.advance(3000)
    house.close()


def test_whatever_happens_to_ones_account_is_told_in_words() -> None:
    """Not by the name of the event, which is in no language; but for what is left out, or leaves nobody to read it."""
    of_people = {name for name, kind in CATALOGUE.items() if kind.is_recorded and "user_id" in kind.fields}
    assert of_people - words.SENTENCES.keys() - words.REFUSALS.keys() == {"user.password-rehashed", "user.erased"}
