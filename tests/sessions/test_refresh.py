"""Refresh, on both databases: rotation, retries, reuse, and everything that ends a session."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from payymo.db.schema import sessions, token_revocations
from payymo.logs import Trace
from tests.support.house import Client, Database, House


@pytest.fixture
def alice(house: House) -> Client:
    """Alice, logged in."""
    house.user("alice")
    return house.logged_in()


def test_a_retry_gets_the_same_successor_byte_for_byte(house: House, alice: Client) -> None:
    """Invariant 3: the answer that got lost is given again; the access token is a new one of the same session."""
    first = alice.refresh_token
    alice.refresh(first)
    successor = alice.refresh_token
    house.clock.advance(9)
    assert alice.refresh(first).status_code == 200
    assert alice.refresh_token == successor
    assert alice.get("/api/auth/me").status_code == 200


def test_a_retry_gets_the_same_successor_across_a_rotation_of_the_refresh_key(house: House, alice: Client) -> None:
    """Invariant 3: the successor's key is part of its facts."""
    first = alice.refresh_token
    alice.refresh(first)
    successor = alice.refresh_token
    house.services.ring.rotate("refresh")
    assert alice.refresh(first).status_code == 200
    assert alice.refresh_token == successor
    assert alice.refresh(successor).status_code == 200
    assert alice.refresh_token != successor


def test_reuse_is_remembered_even_though_the_answer_is_a_refusal(house: House, alice: Client) -> None:
    """Invariant 4: the end of the session is committed before the refusal is raised.

    Raising inside the transaction would roll it back, and the thief's next token would work.
    """
    first = alice.refresh_token
    alice.refresh(first)
    thief = alice.refresh_token
    house.clock.advance(11)
    assert alice.refresh(first).status_code == 401

    owner = house.database.owner()
    with owner.connect() as connection:
        assert connection.execute(sa.select(sessions.c.end_reason)).scalar_one() == "refresh-reuse"
        assert connection.execute(sa.select(token_revocations.c.reason)).scalar_one() == "refresh-reuse"
    owner.dispose()
    assert alice.refresh(thief).status_code == 401
    assert alice.get("/api/auth/me").status_code == 401


def test_a_consumed_successor_closes_the_grace_window_of_its_predecessor(alice: Client) -> None:
    """Invariant 4: within the window, but a step too old."""
    first = alice.refresh_token
    alice.refresh()
    alice.refresh()
    assert alice.refresh(first).status_code == 401
    assert alice.get("/api/auth/me").status_code == 401


def test_expiry_slides_and_the_session_ends_absolutely(house: House, alice: Client) -> None:
    """7 days from each refresh, 30 days from the login, and not a second more."""
    day = 86_400
    for _ in range(4):
        house.clock.advance(7 * day - 1)
        assert alice.refresh().status_code == 200
    house.clock.advance(2 * day + 4)
    assert alice.refresh().status_code == 401


def test_an_unused_refresh_token_expires(house: House, alice: Client) -> None:
    """At exactly 7 days it is no longer good."""
    house.clock.advance(7 * 86_400)
    assert alice.refresh().status_code == 401


@pytest.mark.parametrize(
    "mangle",
    [
        lambda token, _: token[:-1],
        lambda token, _: token + "A",
        lambda token, _: token.swapcase(),
        lambda token, _: token.rsplit(".", 1)[0] + ".",
        lambda _, access: access,
        lambda token, access: ".".join([*token.split(".")[:2], access.split(".")[2]]),
    ],
)
def test_a_mangled_or_foreign_token_is_refused_and_harms_nothing(
    alice: Client, mangle: Callable[[str, str], str]
) -> None:
    """CVE-2026-27840: no truncation, extension or other spelling of a refresh token works; the real one still does."""
    assert alice.refresh_token is not None
    assert alice.access_token is not None
    token = alice.refresh_token
    assert alice.refresh(mangle(token, alice.access_token)).status_code == 401
    assert alice.refresh(token).status_code == 200


def test_what_ends_a_session_also_ends_its_refresh_token(house: House) -> None:
    """CVE-2026-43983: a disabled user, a new password and a suspended tenant are noticed at refresh."""
    user = house.user("alice")
    admin = house.services.administration
    acts: list[Callable[[], object]] = [
        lambda: admin.change_user(house.default.id, user.id, status="disabled", by=None, trace=Trace()),
        lambda: admin.change_user(house.default.id, user.id, password="another fine Passw0rd", by=None, trace=Trace()),
        lambda: admin.suspend(house.default.id, by=None, trace=Trace()),
    ]
    undo: list[Callable[[], object]] = [
        lambda: admin.change_user(house.default.id, user.id, status="active", by=None, trace=Trace()),
        lambda: admin.change_user(house.default.id, user.id, password="SecurePassword123!", by=None, trace=Trace()),
        lambda: admin.resume(house.default.id, by=None, trace=Trace()),
    ]
    for act, back in zip(acts, undo, strict=True):
        client = house.logged_in()
        act()
        assert client.refresh().status_code == 401
        back()
        assert client.refresh().status_code == 401
        assert client.get("/api/auth/me").status_code == 401


def test_a_role_that_was_taken_away_is_gone_after_the_refresh(house: House) -> None:
    """Invariant 11: permissions are those of now."""
    user = house.user("alice", roles=("member", "tenant-administrator"))
    client = house.logged_in()
    change = house.services.administration.change_user
    change(house.default.id, user.id, roles=("member",), by=None, trace=Trace())
    assert client.refresh().status_code == 200
    info = client.post("/api/auth/token/verify", {"token": client.access_token}).get_json()["data"]["token_info"]
    assert info["permissions"] == ["account:*"]


def test_pruning_forgets_what_expired_and_nothing_else(house: House, alice: Client) -> None:
    """Revocations live as long as the tokens that they refuse; sessions until they run out."""
    house.user("bob")
    bob = house.logged_in("bob")
    alice.post("/api/auth/logout")
    house.services.prune()
    assert alice.get("/api/auth/me").status_code == 401
    house.clock.advance(959)
    assert house.services.prune() == 0
    house.clock.advance(1)
    assert house.services.prune() == 1
    assert bob.refresh().status_code == 200
    house.clock.advance(30 * 86_400)
    assert house.services.prune() >= 2


def test_a_shorter_lifetime_does_not_shorten_the_memory_of_revocations(database: Database) -> None:
    """Invariant 1: a token from before the change stays refused for as long as it would have lived."""
    longer = House(database, tokens={"access_ttl_seconds": 3600})
    longer.user("alice")
    shorter = House(database, clock=longer.clock, tokens={"access_ttl_seconds": 600})
    old, overtaken = longer.logged_in(), longer.logged_in()
    token = overtaken.access_token
    renewed = Client(shorter.app.test_client(), {})
    assert renewed.refresh(overtaken.refresh_token).status_code == 200
    renewed.access_token, old_logout = token, Client(shorter.app.test_client(), {})
    old_logout.access_token = old.access_token
    for client in (old_logout, renewed):
        assert client.post("/api/auth/logout").status_code == 200
    for seconds in (660, 2939, 1):
        longer.clock.advance(seconds)
        shorter.services.prune()
        for client in (old_logout, renewed):
            assert client.get("/api/auth/me").status_code == 401
    longer.clock.advance(60)
    assert shorter.services.prune() == 2
    shorter.close()
    longer.close()


def test_no_access_token_outlives_its_session(database: Database) -> None:
    """The session's end is absolute, for access tokens too, and `expires_in` says what the token says."""
    tokens = {"access_ttl_seconds": 600, "refresh_ttl_seconds": 1000, "session_ttl_seconds": 1000}
    house = House(database, tokens=tokens)
    house.user("alice")
    client = house.logged_in()
    house.clock.advance(700)
    answer = client.refresh()
    assert answer.get_json()["data"]["expires_in"] == 300
    house.clock.advance(299)
    assert client.get("/api/auth/me").status_code == 200
    house.clock.advance(1)
    assert client.get("/api/auth/me").status_code == 401
    assert client.refresh().status_code == 401
    house.close()
