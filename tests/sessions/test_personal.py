"""What is stored of a person is handed out whole, and erased whole; and the log stays what it was."""

import json
import uuid
from typing import Any

import pytest
import sqlalchemy as sa

from payymo.audit import erasing
from payymo.audit.damage import LogsDamaged
from payymo.audit.entries import Filters
from payymo.audit.merkle import Edge, leaf_hash
from payymo.db.schema import TENANT_TABLES, audit_logs
from payymo.errors import NotFound, Unavailable
from payymo.logs import Event, Trace
from payymo.mail.model import Message, Sender
from payymo.sessions.model import Device
from payymo.users.service import UNVERIFIED_SECONDS
from payymo.web import personal_api
from tests.support.house import PASSWORD, Database, House
from tests.support.mail import deliver, mail_server
from tests.support.surfer import signed_in
from tests.support.tampering import damaged_tree
from tests.support.two_tenants import Side, build_sides, outbox_of

ADDRESS = "198.51.100.77"


def texts(house: House, tenant_id: uuid.UUID) -> dict[str, str]:
    """Everything that a tenant has, by table."""
    engine = house.database.owner()
    with engine.connect() as connection:
        found = {
            table.name: repr(connection.execute(sa.select(table).where(table.c.tenant_id == tenant_id)).all())
            for table in TENANT_TABLES
        }
    engine.dispose()
    return found


def entries(house: House, tenant_id: uuid.UUID | None) -> list[Any]:
    house.services.sequencer.integrate_all()
    return [entry for batch in house.services.audit_reader.batches(tenant_id, Filters()) for entry in batch]


def concerns(entry: Any, user_id: uuid.UUID) -> bool:
    return entry.user_id == user_id or entry.record.actor == f"user:{user_id}"


def require_intact(house: House, tenant_id: uuid.UUID) -> None:
    """The tree over the records is the one that the log has."""
    edge = Edge()
    edge.add([leaf_hash(entry.data) for entry in entries(house, tenant_id)])
    engine = house.database.owner()
    with engine.connect() as connection:
        root = connection.execute(sa.select(audit_logs.c.root).where(audit_logs.c.tenant_id == tenant_id)).scalar_one()
    engine.dispose()
    assert edge.root() == bytes(root)


def with_mail(house: House, side: Side) -> None:
    outbox = outbox_of(house, Sender("a@example.com", "a"))
    with house.services.work(side.tenant.id) as tx:
        outbox.put(tx, Message("password-changed", "alice@example.com", user_id=side.alice_id))


def erase(house: House, side: Side) -> int:
    return house.services.personal_data.erase(
        side.tenant.id, side.alice_id, by=None, trace=Trace("console", ADDRESS, operator="me")
    )


def test_what_is_erased_is_nowhere_and_the_log_is_what_it_was(house: House) -> None:
    """Account, sessions, devices, links, mail, failures, and what is personal in events, also in the inbox."""
    a, b = build_sides(house)
    with_mail(house, a)
    others = texts(house, b.tenant.id)
    ids = [entry.id for entry in entries(house, a.tenant.id)]
    a.alice.refresh()  # stands in the inbox
    assert erase(house, a) > 0
    found = texts(house, a.tenant.id)
    for name in ("users", "sessions", "known_devices", "one_time_links", "user_roles", "lockout_notices"):
        assert str(a.alice_id) not in found[name], name
        assert repr(a.alice_id) not in found[name], name
    assert "alice" not in "".join(text for name, text in found.items() if name != "audit_checkpoints")
    assert repr(a.alice_id) not in found["mails"]
    assert found["login_failures"] == found["login_attempts"] == "[]"
    after = entries(house, a.tenant.id)
    assert [entry.id for entry in after][: len(ids)] == ids
    for entry in after:
        if concerns(entry, a.alice_id) and entry.record.type != "user.erased":
            assert entry.personal is None
            assert entry.is_erased or entry.record.personal is None
    assert any(entry.personal for entry in after)  # of others
    assert (after[-1].record.type, after[-1].personal) == ("user.erased", {"address": ADDRESS})
    require_intact(house, a.tenant.id)
    b_now = texts(house, b.tenant.id)
    assert {name for name in others if others[name] != b_now[name]} <= {
        "audit_logs",
        "audit_tiles",
        "audit_events",
        "audit_inbox",
    }
    assert a.alice.get("/api/auth/me").status_code == 401
    assert a.alice.refresh().status_code == 401
    assert house.client(tenant="a").log_in().status_code == 401
    with pytest.raises(NotFound):
        house.services.personal_data.export(a.tenant.id, a.alice_id, reason="by-user", trace=Trace())


def test_what_was_killed_is_finished_and_what_comes_late_is_erased_too(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed once the account is gone; then an event of a request that was under way; at the hour, and after it."""
    user = house.user("alice")
    house.logged_in("alice")

    def killed(*_args: Any, **_options: Any) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(erasing.pruning, "erase_payloads", killed)
    with pytest.raises(KeyboardInterrupt):
        house.services.personal_data.erase(house.default.id, user.id, by=None, trace=Trace())
    monkeypatch.undo()
    assert house.client().log_in().status_code == 401
    assert [entry for entry in entries(house, house.default.id) if concerns(entry, user.id) and entry.personal]
    assert house.services.erasing.finish_due() == 2

    def come_late() -> None:
        trace, own = Trace("request", ADDRESS), house.default.id
        house.services.audit.record_apart(
            Event("session.login", "refused", trace=trace, tenant_id=own, user_id=user.id)
        )

    come_late()
    house.clock.advance(erasing.LOOKED_AFTER_SECONDS)
    assert house.services.personal_data.erase(house.default.id, user.id, by=None, trace=Trace()) == 1
    come_late()
    assert house.services.erasing.finish_due() == 1
    assert house.services.erasing.finish_due() == 0
    with pytest.raises(NotFound):
        house.services.personal_data.erase(house.default.id, user.id, by=None, trace=Trace())
    assert [entry.record.type for entry in entries(house, house.default.id)].count("user.erased") == 1


def test_a_device_that_comes_back_days_later_leaves_no_address(house: House) -> None:
    """A refresh token lives longer than who was erased is looked after: what it left then would stay for ever."""
    alice, _ = house.user("alice"), house.user("bob")
    client, bob = house.logged_in("alice"), house.logged_in("bob")
    bob.post("/api/auth/logout")
    house.services.personal_data.erase(house.default.id, alice.id, by=None, trace=Trace())
    house.clock.advance(erasing.LOOKED_AFTER_SECONDS)
    house.services.erasing.finish_due()
    assert [client.refresh().status_code, bob.refresh().status_code] == [401, 401]
    of_alice, of_bob = entries(house, house.default.id)[-2:]
    assert (of_alice.user_id, of_alice.record.type, of_alice.record.outcome) == (alice.id, "session.refresh", "refused")
    assert of_alice.personal is None
    assert not of_alice.is_erased
    assert of_bob.personal == {"address": "127.0.0.1"}  # who is there still


def test_nothing_personal_is_left_of_who_never_verified_and_of_who_could_not_register(database: Database) -> None:
    """A stranger may have typed somebody's address in. Afterwards there is no user whom anybody could have erased."""
    with mail_server() as server:
        house = House(database, mail=server.settings(), registration={"verify_email": "required"})
        house.user("alice")
        for email, username in (("typed-in", "stranger"), ("alice", "stranger2"), ("typed-in2", "alice")):
            body = {"email": f"{email}@example.com", "username": username, "password": PASSWORD}
            assert house.client().post("/api/auth/register", body).status_code == 202
        deliver(house)
        house.clock.advance(UNVERIFIED_SECONDS)
        house.services.prune()
        told = [entry.personal for entry in entries(house, house.default.id) if entry.personal]
        assert [found["username"] for found in told if "username" in found] == ["alice"]
        assert "typed-in" not in repr(told)
        house.close()


def test_a_damaged_log_keeps_nobody_elsewhere_from_being_erased(house: House) -> None:
    """Whoever can spoil the log of one tenant would decide over the data of all people otherwise."""
    acme, alice = house.tenant("acme"), house.user("alice")
    house.user("eve", tenant=acme)
    house.logged_in("alice")
    with damaged_tree(house, acme.id):
        house.logged_in("eve", tenant=acme)
        assert house.services.personal_data.erase(house.default.id, alice.id, by=None, trace=Trace()) == 2
        house.clock.advance(erasing.LOOKED_AFTER_SECONDS)
        assert house.services.erasing.finish_due() == 0
        with pytest.raises(NotFound):  # looked after, and forgotten
            house.services.personal_data.erase(house.default.id, alice.id, by=None, trace=Trace())
    house.services.sequencer.integrate_all()


def test_what_waits_for_a_damaged_log_is_erased_when_the_log_is_what_it_was(house: House) -> None:
    """However late: until then it is remembered who was erased. What has its position is erased at once."""
    acme = house.tenant("acme")
    alice = house.user("alice", tenant=acme)
    with damaged_tree(house, acme.id):
        house.logged_in("alice", tenant=acme)
        assert house.services.personal_data.erase(acme.id, alice.id, by=None, trace=Trace()) == 1
        house.clock.advance(2 * erasing.LOOKED_AFTER_SECONDS)
        with pytest.raises(LogsDamaged):
            house.services.erasing.finish_due()
    assert house.services.erasing.finish_due() == 1
    assert not [entry for entry in entries(house, acme.id) if concerns(entry, alice.id) and entry.personal]
    assert house.services.erasing.finish_due() == 0


def test_a_request_does_not_wait_for_a_long_history(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The account is gone with the answer, and some of what is personal; the duty erases the rest, each event once."""
    monkeypatch.setattr(personal_api, "ERASED_AT_ONCE", 4)
    monkeypatch.setattr(erasing, "EVENTS_AT_A_TIME", 2)
    house.user("boss", roles=("tenant-administrator",))
    boss, user = house.logged_in("boss"), house.user("alice")
    for _ in range(6):
        house.logged_in("alice")
    answer = boss.call("DELETE", f"/api/admin/users/{user.id}").get_json()["data"]
    assert answer == {"events": 4, "finished": False}
    assert house.client().log_in().status_code == 401
    left = [entry for entry in entries(house, house.default.id) if entry.user_id == user.id and entry.personal]
    assert [entry.record.type for entry in left] == ["session.login"] * 3 + ["user.erased"]
    answer = boss.call("DELETE", f"/api/admin/users/{user.id}").get_json()["data"]
    assert answer == {"events": 3, "finished": True}
    assert house.services.erasing.finish_due() == 0


def test_no_event_is_looked_at_again_for_the_next_ones(sqlite_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch begins where the last one ended: twice as many events take twice as long, and not four times."""
    user = sqlite_house.user("alice")
    for _ in range(6):
        sqlite_house.logged_in("alice")
    begun: list[int] = []
    erase_payloads = erasing.pruning.erase_payloads

    def watched(*args: Any, after: int, count: int) -> tuple[int, int] | None:
        begun.append(after)
        return erase_payloads(*args, after=after, count=count)

    monkeypatch.setattr(erasing, "EVENTS_AT_A_TIME", 2)
    monkeypatch.setattr(erasing.pruning, "erase_payloads", watched)
    sqlite_house.services.personal_data.erase(sqlite_house.default.id, user.id, by=None, trace=Trace())
    about = begun[: begun.index(-1, 1)]
    assert len(about) > 3
    assert about[:-1] == sorted(set(about[:-1]))
    assert begun.count(-1) == 4  # each of two logs, for what is about them and what is by them


def test_an_administrator_erases_whom_they_may_change_and_themselves(house: House) -> None:
    """Over HTTP: nobody mightier, nobody elsewhere; who erases themselves leaves no address."""
    house.user("boss", roles=("tenant-administrator",))
    root, alice = house.user("root", roles=("platform-administrator",)), house.user("alice")
    stranger = house.user("stranger", tenant=house.tenant("other"))
    boss = house.logged_in("boss")
    me = boss.get("/api/auth/me").get_json()["data"]["user"]["id"]
    statuses = [boss.call("DELETE", f"/api/admin/users/{user.id}").status_code for user in (root, stranger, alice)]
    assert statuses == [403, 404, 200]
    assert house.logged_in("root").get("/api/auth/me").status_code == 200
    assert boss.call("DELETE", f"/api/admin/users/{me}").status_code == 200
    assert boss.get("/api/auth/me").status_code == 401
    found = entries(house, house.default.id)
    erased = {entry.user_id: entry.personal for entry in found if entry.record.type == "user.erased"}
    assert erased == {alice.id: None, uuid.UUID(me): None}  # boss is gone, and what was personal of them


def test_who_acts_from_the_platform_leaves_no_address_in_the_logs_of_tenants(house: House) -> None:
    """Their people read those; and whoever erases an administrator of the platform does not come by there."""
    acme, root = house.tenant("acme"), house.user("root", roles=("platform-administrator",))
    client = house.logged_in("root")
    for act in ("suspend", "resume"):
        assert client.post(f"/api/admin/tenants/{acme.id}/{act}").status_code == 200
    trace = Trace("request", ADDRESS, root.id)
    house.services.administration.revoke_key(
        house.services.ring.active_kid("refresh"), keep_sessions=False, by=None, trace=trace
    )
    ended = [entry for entry in entries(house, acme.id) if entry.record.type == "sessions.ended"]
    assert [entry.record.actor for entry in ended] == [f"user:{root.id}"] * 3
    assert not [entry for entry in ended if entry.personal or entry.is_erased]
    kinds = ("tenant.suspended", "tenant.active", "key.revoked")
    told = {entry.record.type: entry.personal for entry in entries(house, None) if entry.record.type in kinds}
    assert told == {
        kinds[0]: {"address": "127.0.0.1"},
        kinds[1]: {"address": "127.0.0.1"},
        kinds[2]: {"address": ADDRESS},
    }


def test_everything_of_oneself_is_handed_out_and_nothing_of_others(house: House) -> None:
    """One JSON document; from where an administrator acted is theirs; no secrets."""
    a, _ = build_sides(house)
    with_mail(house, a)
    change = {"status": "active", "roles": ["member"]}
    a.boss.call("PATCH", f"/api/admin/users/{a.alice_id}", change, headers={"User-Agent": "the boss's"})
    house.services.sequencer.integrate_all()
    answer = a.alice.get("/api/auth/export")
    assert answer.status_code == 200
    found = json.loads(answer.get_data())
    assert found["user"]["email"] == "alice@example.com"
    assert found["roles"] == ["member"]
    assert len(found["sessions"]) == 2
    assert {found["mails"][0]["kind"], found["links"][0]["kind"]} == {"password-changed", "reset-password"}
    assert len(found["devices"]) == 1
    assert found["failed_logins"][0]["network"].startswith("192.0.2.")
    events = {event["type"]: event for event in found["events"]}
    assert events["session.login"]["personal"]["address"] == "127.0.0.1"
    assert events["user.status-changed"]["personal"] == {}
    assert events["user.created"]["personal"]["username"] == "alice"
    text = answer.get_data(as_text=True)
    for secret in ("argon2", "digest", "refresh", "boss@", "the boss's"):
        assert secret not in text.replace("session.refresh", ""), secret
    [exported] = [entry for entry in entries(house, a.tenant.id) if entry.record.type == "user.exported"]
    assert (exported.record.actor, exported.record.about["reason"]) == (f"user:{a.alice_id}", "by-user")


def test_an_export_holds_what_no_page_shows(house: House) -> None:
    """When a password was chosen and given, that somebody has tried it, how long they wait, and what of it was told."""
    a, _ = build_sides(house)
    now, here = int(house.clock()), Device("192.0.2.1", "a browser")
    house.services.browsers.sign_in(
        a.tenant.id, email="alice@example.com", password=PASSWORD, device=here, trace=Trace()
    )
    found = json.loads(a.alice.get("/api/auth/export").get_data())
    assert found["user"]["password_changed_at"] == now
    assert [(one["proven_at"], one["used_at"]) for one in found["sessions"] if one["user_agent"] == "a browser"] == [
        (now, now)
    ]
    assert [(notice["kind"], notice["noted_at"]) for notice in found["notices"]] == [("wait", now)]
    assert [wait["failures"] for wait in found["waits"]] == [1]


def test_one_export_at_a_time_is_made_in_a_process(sqlite_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long history takes a core and its memory: from every thread at once, it would keep everybody else waiting."""
    house, answers = sqlite_house, list[tuple[int, str | None]]()
    house.user("alice")
    house.user("bob")
    alice, bob, surfer = house.logged_in("alice"), house.logged_in("bob"), signed_in(house, "bob")
    surfer.get("/account/export")
    read = house.services.audit_reader.batches

    def meanwhile(*given: Any, **options: Any) -> Any:
        if not answers:
            answers.append((0, None))
            for answer in (bob.get("/api/auth/export"), surfer.send("/account/export")):
                answers.append((answer.status_code, answer.headers.get("Retry-After")))
        return read(*given, **options)

    monkeypatch.setattr(
        type(house.services.audit_reader), "batches", lambda _, *given, **more: meanwhile(*given, **more)
    )
    assert alice.get("/api/auth/export").status_code == 200
    assert answers[1:] == [(503, "5"), (503, "5")]
    assert bob.get("/api/auth/export").status_code == 200
    exported = [entry.user_id for entry in entries(house, house.default.id) if entry.record.type == "user.exported"]
    assert len(exported) == len(set(exported)) == 2


def test_an_export_that_breaks_off_is_refused_like_everything(
    sqlite_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a problem or a page, by the one log: nothing of why gets past them to whoever runs the application."""
    sqlite_house.user("alice")
    client, surfer = sqlite_house.logged_in(), signed_in(sqlite_house, "alice")
    surfer.get("/account/export")

    def fail(*_args: object, **_options: object) -> None:
        raise Unavailable(private="secret-dsn")

    monkeypatch.setattr(type(sqlite_house.services.audit_reader), "batches", fail)
    for answer, kind in (
        (client.get("/api/auth/export"), "application/problem+json"),
        (surfer.send("/account/export"), "text/html"),
    ):
        assert (answer.status_code, answer.mimetype, "Retry-After" in answer.headers) == (503, kind, True)
        assert "secret-dsn" not in answer.text
