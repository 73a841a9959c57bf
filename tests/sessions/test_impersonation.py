"""Administrators act as others: never with more than they have, and no longer than anything allows it."""

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payymo.audit.entries import Filters
from payymo.errors import Impersonated
from payymo.extension import Payymo
from payymo.logs import Trace
from payymo.roles.model import covers
from payymo.sessions.actor import Administrator
from payymo_guard import permits
from tests.support.house import PASSWORD, Client, Database, House
from tests.support.moments import before

NEW = "the quiet teapot climbs a hill"
WHY = "ticket 4711: the invoice is not to be seen"
ROLES = {
    "actor": ("impersonation:write", "users:*", "sessions:*", "account:*"),
    "clerk": ("invoices:read", "account:*"),
    "chief": ("invoices:*", "account:*"),
}


def furnish(house: House) -> None:
    """An administrator who may act as others, and somebody whom they may act as."""
    for name, permissions in ROLES.items():
        house.services.roles.create(house.default.id, name, permissions, by=None, trace=Trace())
    house.user("boss", roles=("actor", "clerk"))
    house.user("alice", roles=("clerk",))


def user_id(house: House, name: str) -> uuid.UUID:
    """Whose identifier this is."""
    return house.services.users.get_by_email(house.default.id, f"{name}@example.com").id


def act_as(house: House, boss: Client, name: str = "alice", **members: Any) -> Any:
    """The answer to the wish to act as somebody."""
    return boss.post(f"/api/admin/users/{user_id(house, name)}/impersonate", {"why": WHY, **members})


def acting(house: House, boss: Client, name: str = "alice") -> Client:
    """A client that acts as somebody."""
    answer = act_as(house, boss, name)
    assert answer.status_code == 201, answer.text
    client = house.client()
    client.access_token = answer.get_json()["data"]["access_token"]
    return client


def change(house: House, name: str, **changes: Any) -> None:
    """What the operator does to somebody."""
    administration = house.services.administration
    administration.change_user(house.default.id, user_id(house, name), by=None, trace=Trace(), **changes)


def is_in(client: Client) -> bool:
    """Whether the token still counts: here, and where others ask for it."""
    here = client.get("/api/auth/me").status_code == 200
    there = client.post("/api/auth/token/verify", {"token": client.access_token}).status_code == 200
    assert here == there
    return here


def test_it_is_the_person_with_who_acts_beside_them(house: House) -> None:
    """RFC 8693 §4.1: `sub` is the user, `act` the administrator; theirs are the permissions, and no token follows."""
    furnish(house)
    boss = house.logged_in("boss")
    answer = act_as(house, boss).get_json()["data"]
    assert set(answer) == {"access_token", "token_type", "expires_in", "session_id"}
    assert answer["expires_in"] == 900
    info = house.client().post("/api/auth/token/verify", {"token": answer["access_token"]}).get_json()["data"]
    assert info["token_info"]["user_id"] == str(user_id(house, "alice"))
    assert info["token_info"]["act"] == {"sub": str(user_id(house, "boss"))}
    assert info["token_info"]["permissions"] == ["account:*", "invoices:read"]
    own = house.client().post("/api/auth/token/verify", {"token": boss.access_token}).get_json()["data"]
    assert own["token_info"]["act"] is None
    client = house.client()
    client.access_token = answer["access_token"]
    me = client.get("/api/auth/me").get_json()["data"]
    assert (me["user"]["username"], me["session"]["actor_id"]) == ("alice", str(user_id(house, "boss")))


def test_the_person_is_told_where_they_are_signed_in_and_not_from_where(house: House) -> None:
    """It stands in their list with who it is; the administrator's address and device are no business of theirs."""
    furnish(house)
    acting(house, house.logged_in("boss"))
    listed = house.logged_in("alice").get("/api/auth/sessions").get_json()["data"]["sessions"]
    [found] = [session for session in listed if session["actor_id"] is not None]
    assert found["actor_id"] == str(user_id(house, "boss"))
    assert (found["address"], found["user_agent"]) == ("", "")


def test_the_list_is_shown_also_when_the_administrator_is_erased_meanwhile(house: House) -> None:
    """Between the sessions and the names of who acts in them: the person, or whoever lists them, gets no error."""
    furnish(house)
    acting(house, house.logged_in("boss"))
    services, alice = house.services, user_id(house, "alice")
    found = services.sessions.list_sessions(house.default.id, alice)
    assert list(services.impersonation.names_of_actors(house.default.id, found).values()) == ["boss"]
    services.personal_data.erase(house.default.id, user_id(house, "boss"), by=None, trace=Trace())
    assert services.impersonation.names_of_actors(house.default.id, found) == {}


def test_whatever_happens_in_it_is_on_record_of_who_did_it(house: House) -> None:
    """Start with its reason, what was refused, and the end: by the administrator, on behalf of the user."""
    furnish(house)
    client = acting(house, house.logged_in("boss"))
    assert client.get("/api/admin/users").status_code == 403
    assert client.post("/api/auth/logout").status_code == 200
    house.services.sequencer.integrate_all()
    entries = house.services.audit_reader.page(
        house.default.id, Filters(actor=f"user:{user_id(house, 'boss')}"), cursor=None, count=9, newest_first=True
    ).entries
    told = [(e.record.type, e.record.outcome, e.record.about.get("on_behalf_of")) for e in entries[:3]]
    alice = str(user_id(house, "alice"))
    assert told == [
        ("session.impersonation-ended", "success", alice),
        ("permission.required", "refused", alice),
        ("session.impersonated", "success", None),
    ]
    assert all(entry.user_id == uuid.UUID(alice) for entry in entries[:3])
    assert (entries[2].personal or {})["why"] == WHY
    assert WHY not in house.log_lines.getvalue()


def test_the_person_gets_a_letter_that_says_who_and_for_how_long(sqlite_database: Database, tmp_path: Path) -> None:
    """Where mail is sent. The reason stays out of it: it would be a text of somebody else's choice."""
    folder = tmp_path / "mails"
    house = House(sqlite_database, mail={"transport": f"file:{folder}", "sender": "no-reply@payymo.example"})
    furnish(house)
    acting(house, house.logged_in("boss"))
    while house.services.courier.deliver_due():
        pass
    letters = [message_from_bytes(path.read_bytes(), policy=default) for path in folder.iterdir()]
    [letter] = [found for found in letters if found["Subject"] == "An administrator acts as you"]
    body = letter.get_body(("plain",))
    assert letter["To"] == "alice@example.com"
    assert body is not None
    assert "boss, an administrator of" in body.get_content()
    assert "4711" not in letter.as_string()
    house.close()


def refuse_weaker(house: House) -> None:
    change(house, "alice", roles=("chief",))


def refuse_disabled(house: House) -> None:
    change(house, "alice", status="disabled")


@pytest.mark.parametrize(
    ("prepare", "status"),
    [(refuse_weaker, 403), (refuse_disabled, 409)],
    ids=lambda part: getattr(part, "__name__", ""),
)
def test_as_whom_nobody_acts(house: House, prepare: Callable[[House], None], status: int) -> None:
    """Who may do more, and who can't sign in; that it was tried is on record."""
    furnish(house)
    boss = house.logged_in("boss")
    prepare(house)
    assert act_as(house, boss).status_code == status
    [event] = [e for e in house.events() if e["event"] == "session.impersonated"]
    assert (event["outcome"], event["user_id"]) == ("refused", str(user_id(house, "alice")))


def test_nobody_acts_as_themselves_or_as_somebody_elsewhere_or_in_a_chain(house: House) -> None:
    """Oneself (409), another tenant's user (404), and whoever acts already (403 `impersonated`)."""
    furnish(house)
    boss = house.logged_in("boss")
    assert act_as(house, boss, "boss").status_code == 409
    stranger = house.user("alice", tenant=house.tenant("other"))
    assert boss.post(f"/api/admin/users/{stranger.id}/impersonate", {"why": WHY}).status_code == 404
    house.user("other", roles=("actor",))
    house.user("third", roles=("member",))
    chained = act_as(house, acting(house, boss, "other"), "third")
    assert (chained.status_code, chained.get_json()["code"]) == (403, "impersonated")


def test_no_role_of_a_tenant_brings_it_along(house: House) -> None:
    """`users:*` does not cover it, and who lacks it can't make a role with it; the platform's administrator has it."""
    house.user("admin", roles=("tenant-administrator",))
    house.user("root", roles=("platform-administrator",))
    house.user("alice")
    admin = house.logged_in("admin")
    assert act_as(house, admin).status_code == 403
    role = {"name": "mine", "permissions": ["impersonation:write"]}
    assert admin.post("/api/admin/roles", role).status_code == 403
    assert is_in(acting(house, house.logged_in("root")))


def test_the_password_is_asked_for_once_the_login_is_old(house: House) -> None:
    """RFC 9470; a wrong one is on record; and a session in which somebody acts is never a fresh login."""
    furnish(house)
    boss = house.logged_in("boss")
    house.clock.advance(301)
    assert act_as(house, boss).get_json()["code"] == "insufficient_user_authentication"
    assert act_as(house, boss, current_password="wrong").status_code == 401
    assert act_as(house, boss, current_password=PASSWORD).status_code == 201
    outcomes = [event["outcome"] for event in house.events() if event["event"] == "session.impersonated"]
    assert outcomes == ["refused", "success"]
    tenant, alice = house.default.id, user_id(house, "alice")
    [session] = house.services.sessions.list_sessions(tenant, alice)
    assert not session.is_recent_at(int(house.clock()))


@pytest.mark.parametrize(
    "why", ["", "   ", "x" * 201, "two\nlines", "two\u2028lines", "\u202eturned", "nul\x00", None, 7]
)
def test_a_reason_is_a_line(sqlite_house: House, why: object) -> None:
    """One to 200 characters: something that can be read later."""
    furnish(sqlite_house)
    boss = sqlite_house.logged_in("boss")
    assert act_as(sqlite_house, boss, why=why).status_code == 422


OWN = [
    ("POST", "/api/auth/password/change", {"new_password": NEW}),
    ("POST", "/api/auth/password/change", {"new_password": NEW, "current_password": PASSWORD}),
    ("POST", "/api/auth/email/change", {"new_email": "boss2@example.com"}),
    ("GET", "/api/auth/export", None),
    ("DELETE", "/api/auth/sessions/{own}", None),
    ("POST", "/api/auth/logout", {"everywhere": True}),
    ("POST", "/api/admin/users", {"email": "n@example.com", "username": "newone", "password": NEW}),
    ("PATCH", "/api/admin/users/{alice}", {"password": NEW}),
    ("DELETE", "/api/admin/users/{alice}", None),
    ("POST", "/api/admin/roles", {"name": "more", "permissions": ["invoices:read"]}),
    ("POST", "/api/admin/webhooks", {"url": "https://127.0.0.1:1/", "events": ["user."]}),
]


@pytest.mark.parametrize(("method", "path", "body"), OWN, ids=lambda part: str(part)[:40])
def test_what_is_the_persons_own_stays_theirs(sqlite_house: House, method: str, path: str, body: Any) -> None:
    """Here, who acts as somebody reads; whatever changes something is done in one's own name, or by the person."""
    house = sqlite_house
    furnish(house)
    house.user("root", roles=("platform-administrator",))
    house.user("admin", roles=("tenant-administrator",))
    admin = house.logged_in("admin")
    client = acting(house, house.logged_in("root"), "admin")
    [own] = [s["id"] for s in admin.get("/api/auth/sessions").get_json()["data"]["sessions"] if s["current"]]
    answer = client.call(method, path.format(own=own, alice=user_id(house, "alice")), body)
    assert (answer.status_code, answer.get_json()["code"]) == (403, "impersonated")
    assert client.get("/api/admin/users").status_code == 200
    assert admin.get("/api/auth/me").status_code == 200


def test_no_service_changes_anything_on_the_word_of_who_acts_as_somebody(house: House) -> None:
    """Also where no door is before it: who changes something is asked for the session that they do it from."""
    furnish(house)
    house.user("root", roles=("platform-administrator",))
    house.user("admin", roles=("tenant-administrator",))
    assert acting(house, house.logged_in("root"), "admin").access_token is not None
    tenant, services = house.default.id, house.services
    [session] = services.sessions.list_sessions(tenant, user_id(house, "admin"))
    by = Administrator(
        *(services.users, services.roles, house.clock),
        tenant_id=tenant,
        user_id=session.user_id,
        session_id=session.id,
        permissions=("users:*",),
        needs="users:write",
    )
    with pytest.raises(Impersonated):
        services.administration.unlock_user(tenant, user_id(house, "alice"), by=by, trace=Trace())


def test_a_host_application_keeps_views_for_the_person_alone(sqlite_house: House) -> None:
    """`Payymo.require(impersonated=False)`: who acts as them is refused before the view; elsewhere they are named."""
    house = sqlite_house
    furnish(house)
    app = Flask("host")
    guard = Payymo(app, services=house.services)

    def view() -> str:
        who = guard.caller.principal
        return f"{who.user_id} {who.actor_id}"

    app.get("/own", endpoint="own")(guard.require("invoices:read", impersonated=False)(view))
    app.get("/mine", endpoint="mine")(guard.require(impersonated=False)(view))
    app.get("/all", endpoint="all")(guard.require("invoices:read")(view))

    def ask(client: Client, path: str) -> Any:
        return app.test_client().get(path, headers={"Authorization": f"Bearer {client.access_token}"})

    alice, client = house.logged_in("alice"), acting(house, house.logged_in("boss"))
    own, boss = user_id(house, "alice"), user_id(house, "boss")
    for path in ("/own", "/mine"):
        refused = ask(client, path)
        assert (refused.status_code, refused.get_json()["code"]) == (403, "impersonated")
        assert ask(alice, path).get_data(as_text=True) == f"{own} None"
    assert ask(client, "/all").get_data(as_text=True) == f"{own} {boss}"


# ── how it ends ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Play:
    """Everybody who could end it."""

    house: House
    boss: Client
    other: Client
    alice: Client
    client: Client


def their_list(play: Play) -> None:
    listed = play.alice.get("/api/auth/sessions").get_json()["data"]["sessions"]
    [found] = [session["id"] for session in listed if session["actor_id"]]
    assert play.alice.call("DELETE", f"/api/auth/sessions/{found}").status_code == 200


def new_password(client: Client) -> None:
    body = {"current_password": PASSWORD, "new_password": NEW}
    assert client.post("/api/auth/password/change", body).status_code == 200


ENDS: dict[str, Callable[[Play], object]] = {
    "stopped": lambda play: play.client.post("/api/auth/logout"),
    "boss logs out": lambda play: play.boss.post("/api/auth/logout"),
    "boss logs out everywhere, elsewhere": lambda play: play.other.post("/api/auth/logout", {"everywhere": True}),
    "boss has another password": lambda play: new_password(play.boss),
    "boss has another password, elsewhere": lambda play: new_password(play.other),
    "boss is disabled": lambda play: change(play.house, "boss", status="disabled"),
    "boss has other roles": lambda play: change(play.house, "boss", roles=["clerk"]),
    "boss is erased": lambda play: play.house.services.personal_data.erase(
        play.house.default.id, user_id(play.house, "boss"), by=None, trace=Trace()
    ),
    "boss's role is less": lambda play: play.house.services.roles.change(
        play.house.default.id, "actor", ["users:*"], by=None, trace=Trace()
    ),
    "boss's role is gone": lambda play: play.house.services.roles.remove(
        play.house.default.id, "actor", by=None, trace=Trace()
    ),
    "boss's refresh token comes twice": lambda play: [play.boss.refresh(), _replay(play)],
    "alice ends it": their_list,
    "alice logs out everywhere": lambda play: play.alice.post("/api/auth/logout", {"everywhere": True}),
    "alice has another password": lambda play: new_password(play.alice),
    "alice is disabled": lambda play: change(play.house, "alice", status="disabled"),
    "alice has more roles": lambda play: change(play.house, "alice", roles=["clerk", "chief"]),
    "alice's role is more": lambda play: play.house.services.roles.change(
        play.house.default.id, "clerk", ["invoices:*"], by=None, trace=Trace()
    ),
    "their tenant is suspended": lambda play: play.house.services.administration.suspend(
        play.house.default.id, by=None, trace=Trace()
    ),
    "the time is over": lambda play: play.house.clock.advance(900),
}


def _replay(play: Play) -> None:
    play.house.clock.advance(60)
    first = play.boss.refresh_token
    assert play.boss.refresh().status_code == 200
    play.house.clock.advance(60)
    assert play.boss.refresh(first).status_code == 401


@pytest.mark.parametrize("how", ENDS)
def test_it_ends_at_once_with_whatever_made_it_right(house: House, how: str) -> None:
    """Of the administrator or of the user: session, password, status, permissions; and by itself at the second.

    Each end is on record once, also when nothing is left of the sessions.
    """
    furnish(house)
    boss, other, alice = house.logged_in("boss"), house.logged_in("boss"), house.logged_in("alice")
    play, alice_id = Play(house, boss, other, alice, acting(house, boss)), user_id(house, "alice")
    assert is_in(play.client)
    ENDS[how](play)
    assert not is_in(play.client)
    house.clock.advance(house.settings.tokens.session_ttl_seconds)
    house.services.prune()
    [ended] = [event for event in house.events() if event["event"] == "session.impersonation-ended"]
    assert (ended["reason"] == "expired") == (how == "the time is over")
    assert (ended["tenant_id"], ended["user_id"]) == (str(house.default.id), str(alice_id))


def test_what_others_do_does_not_end_it(house: House) -> None:
    """Another session of the administrator's that ends, and another user's roles, have nothing to do with it."""
    furnish(house)
    house.user("carol", roles=("chief",))
    boss, other = house.logged_in("boss"), house.logged_in("boss")
    client = acting(house, boss)
    assert other.post("/api/auth/logout").status_code == 200
    change(house, "carol", roles=["member"])
    house.clock.advance(899)
    assert is_in(client)


def test_it_lives_no_longer_than_an_access_token_or_the_session_behind_it(sqlite_database: Database) -> None:
    """A token that outlived others would outlive the marks that refuse it."""
    house = House(sqlite_database, tokens={"access_ttl_seconds": 120}, impersonation={"seconds": 600})
    furnish(house)
    assert act_as(house, house.logged_in("boss")).get_json()["data"]["expires_in"] == 120
    house.close()


# ── races ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def begins(statement: str) -> bool:
    """The first lock of the transaction that begins it; on SQLite there is but one."""
    return statement == "BEGIN IMMEDIATE" or ("FOR UPDATE" in statement and "FROM users" in statement)


RACES = (
    "boss logs out",
    "boss has another password",
    "boss is disabled",
    "boss's role is less",
    "alice's role is more",
)


@pytest.mark.parametrize("how", RACES)
def test_what_ends_it_right_before_it_begins_lets_none_begin(house: House, how: str) -> None:
    """Everything is asked again behind the locks: nothing that was true at the door is believed there."""
    furnish(house)
    boss, alice = house.logged_in("boss"), house.logged_in("alice")
    play = Play(house, boss, boss, alice, house.client())
    with before(house, begins, lambda: ENDS[how](play)):
        answer = act_as(house, boss)
    assert answer.status_code in {401, 403}
    assert not any(
        s.actor_user_id for s in house.services.sessions.list_sessions(house.default.id, user_id(house, "alice"))
    )


_WAITING = sa.text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
LATE = ("boss logs out", "boss has other roles", "boss's role is less", "alice is disabled", "alice's role is more")


@pytest.mark.parametrize("how", LATE)
def test_what_ends_it_while_it_begins_waits_for_it_and_finds_it(postgres_database: Database, how: str) -> None:
    """A session that is not committed yet can't be ended: so whoever would end it is made to wait."""
    house = House(postgres_database)
    furnish(house)
    boss, alice = house.logged_in("boss"), house.logged_in("alice")
    play = Play(house, boss, boss, alice, house.client())
    thread, owner = threading.Thread(target=lambda: ENDS[how](play)), postgres_database.owner()

    def meanwhile() -> None:
        thread.start()
        with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            while thread.is_alive() and not connection.execute(_WAITING).scalar_one():
                pass

    token = Client(house.app.test_client(), {})
    token.access_token = boss.access_token
    with before(house, lambda statement: statement.startswith("INSERT INTO sessions"), meanwhile):
        answer = act_as(house, token)
    thread.join()
    assert answer.status_code == 201
    play.client.access_token = answer.get_json()["data"]["access_token"]
    assert not is_in(play.client)
    owner.dispose()
    house.close()


# ── the law ──────────────────────────────────────────────────────────────────────────────────────────────────────────

GRANTS = ("invoices:read", "invoices:*", "users:read", "users:*", "account:*", "audit:read")
HOLDINGS = st.frozensets(st.sampled_from(GRANTS), min_size=1, max_size=3)
ACTS = st.one_of(
    st.tuples(st.just("act"), st.sampled_from(["alice", "carol"])),
    st.tuples(st.just("grant"), st.sampled_from(["boss", "alice", "carol"]), HOLDINGS),
    st.tuples(st.just("reshape"), st.sampled_from(["boss", "alice", "carol"]), HOLDINGS),
)
ASKED = [
    f"{resource}:{action}" for resource in ("invoices", "users", "account", "audit") for action in ("read", "write")
]


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(acts=st.lists(ACTS, min_size=4, max_size=12))
def test_nobody_ever_does_as_another_what_they_may_not_do_themselves(sqlite_house: House, acts: list[Any]) -> None:
    """CVE-2026-4629 and others: whatever roles are given, taken and changed, no living token does more than its actor.

    Asked of every token that ever began, after every change.
    """
    house, tenant = sqlite_house, sqlite_house.default.id
    run = uuid.uuid4().hex[:8]  # noqa: TID251 - tests may roll dice
    names = {name: f"{name}{run}" for name in ("boss", "alice", "carol")}
    number = 0
    for name, own in names.items():
        extra = ["impersonation:write"] if name == "boss" else []
        house.services.roles.create(tenant, f"{own}-0", ["account:*", *extra], by=None, trace=Trace())
        house.user(own, roles=(f"{own}-0",))
    boss, running = house.logged_in(names["boss"]), []
    for act in acts:
        if act[0] == "act":
            house.clock.advance(1)
            assert boss.log_in(f"{names['boss']}@example.com").status_code == 200
            answer = act_as(house, boss, names[act[1]])
            mine, theirs = (_held(house, names[who]) for who in ("boss", act[1]))
            assert (answer.status_code == 201) == covers(mine, theirs)
            if answer.status_code == 201:
                running.append(answer.get_json()["data"]["access_token"])
        else:
            own, held = names[act[1]], {*act[2], *(["impersonation:write"] if act[1] == "boss" else [])}
            if act[0] == "grant":
                number += 1
                house.services.roles.create(tenant, f"{own}-{number}", held, by=None, trace=Trace())
                change(house, own, roles=[f"{own}-{number}"])
            else:
                [role] = house.services.users.get(tenant, user_id(house, own))[1].roles
                house.services.roles.change(tenant, role, held, by=None, trace=Trace())
        mine = _held(house, names["boss"])
        for token in running:
            found = house.client().post("/api/auth/token/verify", {"token": token})
            granted = found.get_json()["data"]["token_info"]["permissions"] if found.status_code == 200 else ()
            assert all(permits(mine, asked) for asked in ASKED if permits(granted, asked))


def _held(house: House, name: str) -> tuple[str, ...]:
    return house.services.users.get(house.default.id, user_id(house, name))[1].permissions
