"""When keys change: the rule without a database, and the ring that follows it."""

import json
from dataclasses import replace

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event

from payymo.db.schema import signing_keys
from payymo.errors import Conflict, NotFound
from payymo.keys.model import PATIENCE, SPREAD_SECONDS, Calendar, Report, SigningKey, is_due, seconds_until_known
from payymo.logs import Trace
from tests.support.house import Client, Database, House
from tests.support.moments import kill_points

T = 1_800_000_000
DAY = 86_400
CALENDAR = Calendar(rotate_every=30 * DAY, jwks_max_age=300)
ACTIVE = SigningKey("old", "access", "RS256", "active", {}, None, None, 900, T - 30 * DAY, activated_at=T - 30 * DAY)
LIFE = 300 + SPREAD_SECONDS
NEXT = SigningKey("new", "access", "RS256", "next", {}, None, None, 900, T - LIFE)
HAS, LACKS = frozenset({"old", "new"}), frozenset({"old"})


@pytest.mark.parametrize(("seconds", "due"), [(-1, False), (0, True), (1, True)])
def test_a_key_signs_for_its_time(seconds: int, due: bool) -> None:  # noqa: FBT001 - the table reads better so
    """By calendar, to the second."""
    assert is_due(ACTIVE, NEXT, T + seconds, CALENDAR) is due


@pytest.mark.parametrize(("age", "wait"), [(0, LIFE), (LIFE - 1, 1), (LIFE, 0), (LIFE + 1, 0)])
def test_a_key_waits_until_every_copy_of_the_key_set_before_it_has_expired(age: int, wait: int) -> None:
    """Invariant 12: published for the life of a cached key set, for those who don't report."""
    key = replace(NEXT, created_at=T - age)
    assert seconds_until_known(key, T, CALENDAR) == wait
    assert is_due(ACTIVE, key, T, CALENDAR) is (wait == 0)


def test_another_algorithm_does_not_wait_for_the_calendar_but_for_the_verifiers() -> None:
    """What the operator has chosen comes into force as soon as nobody lacks the key."""
    young = replace(ACTIVE, activated_at=T - 1)
    assert not is_due(young, NEXT, T, CALENDAR)
    assert is_due(young, replace(NEXT, algorithm="ES256"), T, CALENDAR)
    assert not is_due(young, replace(NEXT, algorithm="ES256", created_at=T - LIFE + 1), T, CALENDAR)


def test_a_refresh_key_waits_for_nobody() -> None:
    """We alone verify refresh tokens."""
    assert seconds_until_known(replace(NEXT, purpose="refresh", created_at=T), T, CALENDAR) == 0


def test_a_guard_that_reports_an_old_set_holds_the_rotation_up_but_not_for_ever() -> None:
    """Publish before use is observed; and nobody stops rotation by reporting nonsense."""
    assert seconds_until_known(NEXT, T, CALENDAR, [Report(HAS, T)]) == 0
    assert seconds_until_known(NEXT, T, CALENDAR, [Report(HAS, T), Report(LACKS, T)]) > 0
    assert seconds_until_known(NEXT, T, CALENDAR, [Report(LACKS, T - 301)]) == 0
    old = replace(NEXT, created_at=T - PATIENCE * 300 - SPREAD_SECONDS)
    assert seconds_until_known(old, T, CALENDAR, [Report(LACKS, T)]) == 0


@given(age=st.integers(0, 5000), reports=st.lists(st.builds(Report, st.sampled_from([HAS, LACKS]), st.integers(T, T))))
def test_waiting_ends_when_it_said_it_would(age: int, reports: list[Report]) -> None:
    """Nobody has to ask twice, if nothing changes; and no report makes a key known before its time."""
    key = replace(NEXT, created_at=T - age)
    wait = seconds_until_known(key, T, CALENDAR, reports)
    later = [replace(report, reported_at=T + wait) for report in reports]
    assert wait == 0 or seconds_until_known(key, T + wait, CALENDAR, later) in {
        0,
        PATIENCE * 300 + SPREAD_SECONDS - (age + wait),
    }
    assert wait >= LIFE - age


# ── the ring ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def young(database: Database) -> House:
    """A service whose keys were made a moment ago."""
    house = House(database, keys={"rotate_every_seconds": 3600, "jwks_max_age_seconds": 300})
    for purpose in ("access", "refresh"):
        house.services.ring.rotate(purpose, at_once=True)
    return house


def active(house: House) -> tuple[str, str]:
    return house.services.ring.active_kid("access"), house.services.ring.active_kid("refresh")


def test_keys_rotate_by_themselves_and_tokens_live_on(young: House) -> None:
    """Invariants 12 and 14: at the hour, not before; each once; what was signed before stays good."""
    young.user("alice")
    client, before = young.logged_in(), active(young)
    young.clock.advance(3599)
    young.services.do_duties(Trace())
    assert active(young) == before
    client.refresh()
    young.clock.advance(1)
    young.services.do_duties(Trace())
    assert not set(active(young)) & set(before)
    once = active(young)
    young.services.do_duties(Trace())
    assert active(young) == once
    assert client.get("/api/auth/me").status_code == 200
    assert client.refresh().status_code == 200
    rotated = [found["kid"] for found in young.events() if found.get("reason") == "calendar"]
    assert sorted(rotated) == sorted([*once, young.services.ring.active_kid("audit")])
    young.close()


def test_nobody_rotates_by_hand_before_verifiers_know_the_next_key(young: House) -> None:
    """The refusal says how long; insisting helps."""
    before = active(young)
    with pytest.raises(Conflict, match=f"{LIFE} seconds"):
        young.services.ring.rotate("access")
    assert active(young) == before
    young.clock.advance(LIFE)
    young.services.ring.rotate("access")
    assert active(young)[0] != before[0]
    young.close()


def test_automatic_rotation_can_be_switched_off(database: Database) -> None:
    """Then the operator rotates."""
    house = House(database, keys={"rotate_automatically": False})
    before = active(house)
    house.clock.advance(400 * DAY)
    house.services.do_duties(Trace())
    assert active(house) == before
    house.close()


def test_a_key_verifies_as_long_as_the_longest_token_that_it_signed(database: Database) -> None:
    """Invariant 12, also when the lifetime was shortened before the rotation."""
    longer = House(database, tokens={"access_ttl_seconds": 7200})
    longer.user("alice")
    client = longer.logged_in()
    shorter = House(database, clock=longer.clock, tokens={"access_ttl_seconds": 600})
    shorter.services.ring.rotate("access", at_once=True)
    there = Client(shorter.app.test_client(), {})
    there.access_token = client.access_token
    longer.clock.advance(7199)
    shorter.services.prune()
    assert there.get("/api/auth/me").status_code == 200
    longer.clock.advance(61)
    assert shorter.services.prune() >= 1
    longer.close()
    shorter.close()


# ── compromise ───────────────────────────────────────────────────────────────────────────────────────────────────────


def jwks(house: House) -> set[str]:
    return {jwk["kid"] for jwk in json.loads(house.services.ring.jwks())["keys"]}


def test_what_a_compromised_key_has_signed_is_refused_at_once(young: House) -> None:
    """Nothing of it is left: not in the key set, not in the database; sessions live on by refresh when asked to."""
    young.user("alice")
    client, kid = young.logged_in(), young.services.ring.active_kid("access")
    assert young.services.administration.revoke_key(kid, keep_sessions=True, trace=Trace()) == 0
    assert kid not in jwks(young)
    assert client.get("/api/auth/me").status_code == 401
    assert client.refresh().status_code == 200
    assert client.get("/api/auth/me").status_code == 200
    owner = young.database.owner()
    with owner.connect() as connection:
        row = connection.execute(sa.select(signing_keys).where(signing_keys.c.kid == kid)).one()
    owner.dispose()
    assert (row.state, row.private_key) == ("revoked", None)
    young.close()


@pytest.mark.parametrize("purpose", ["access", "refresh"])
def test_a_compromise_ends_the_sessions_of_every_tenant(young: House, purpose: str) -> None:
    """Who had the key could act as anybody; running it again finds nothing left to do."""
    other = young.tenant("other")
    young.user("alice")
    young.user("alice", tenant=other)
    clients = [young.logged_in(), young.logged_in(tenant=other)]
    kid = young.services.ring.active_kid("access" if purpose == "access" else "refresh")
    revoke = young.services.administration.revoke_key
    assert revoke(kid, keep_sessions=False, trace=Trace()) == 2
    assert revoke(kid, keep_sessions=False, trace=Trace()) == 0
    for client in clients:
        assert client.get("/api/auth/me").status_code == 401
        assert client.refresh().status_code == 401
    assert young.logged_in().refresh().status_code == 200
    [logged] = [found for found in young.events() if found["event"] == "key.revoked"]
    assert logged["kid"] == kid
    with pytest.raises(NotFound):
        revoke("no such key", keep_sessions=False, trace=Trace())
    young.close()


@pytest.mark.parametrize("which", ["active", "next", "retiring"])
def test_there_is_one_active_and_one_next_key_at_every_kill_point_of_a_revocation(
    database: Database, which: str
) -> None:
    """Invariant 14: dying at the n-th statement leaves a ring that signs and publishes, for every n."""
    young = House(database, tokens={"algorithm": "ES256"})  # such keys are quickly made
    ring = young.services.ring
    for dying in kill_points(young):
        ring.rotate("access", at_once=True)
        kid = next(key.kid for key in ring.list_keys() if (key.purpose, key.state) == ("access", which))
        with dying:
            ring.revoke(kid)
        states = [key.state for key in ring.list_keys() if key.purpose == "access"]
        assert (states.count("active"), states.count("next")) == (1, 1)
    assert kid not in jwks(young)
    young.close()


def test_a_key_that_another_process_made_a_moment_ago_is_looked_for_once_more(database: Database) -> None:
    """Invariant 12: two rotations in a row, or another algorithm, and no request to another node is refused."""
    here = House(database)
    here.user("alice")
    there = House(database, clock=here.clock)
    there.services.ring.list_keys()
    for _ in range(2):
        for purpose in ("access", "refresh"):
            here.services.ring.rotate(purpose, at_once=True)
        here.clock.advance(0.2)
    client = here.logged_in()
    elsewhere = Client(there.app.test_client(), {})
    elsewhere.access_token = client.access_token
    assert elsewhere.get("/api/auth/me").status_code == 200
    assert elsewhere.refresh(client.refresh_token).status_code == 200
    here.close()
    there.close()


def test_strangers_who_name_unknown_keys_do_not_keep_the_database_busy(sqlite_database: Database) -> None:
    """However many ask, it is looked at once in a tenth of a second."""
    house = House(sqlite_database)
    asked: list[str] = []
    event.listen(house.services.engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    assert {house.services.ring.find_access_key(f"kid {number}") for number in range(100)} == {None}
    assert sum("signing_keys" in statement for statement in asked) <= 2
    house.close()
