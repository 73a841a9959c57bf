"""The log over HTTP: by permission, by tenant; and one's own activity, without what is somebody else's."""

from typing import Any

import pytest
import sqlalchemy as sa

from payymo.audit.notes import VerifierKey
from payymo.audit.proofs import InclusionProof, check_inclusion
from payymo.db.schema import audit_events, audit_tiles
from tests.support.house import PASSWORD, Client, House

EVENTS = "/api/admin/audit/events"


@pytest.fixture
def boss(house: House) -> Client:
    """An administrator of the default tenant, with some things on record."""
    house.user("boss", roles=("tenant-administrator",))
    house.user("alice")
    house.logged_in("alice")
    client = house.logged_in("boss")
    house.event_on_record(house.default.id)
    return client


def listed(client: Client, query: str = "", path: str = EVENTS) -> Any:
    answer = client.get(path + query)
    assert answer.status_code == 200, answer.get_data()
    return answer.get_json()["data"]


def test_the_log_of_ones_own_tenant_is_read_with_a_permission(house: House, boss: Client) -> None:
    """Page by page, filtered; a member has no permission, and nobody of a tenant reads the platform's log."""
    everything = listed(boss, "?order=oldest")["events"]
    assert [event["type"] for event in everything] == ["user.created", "user.created", "session.login", "session.login"]
    assert everything[1]["personal"] == {"email": "alice@example.com", "username": "alice"}
    assert everything[2]["personal"]["address"] == "127.0.0.1"
    first = listed(boss, "?type=session.&limit=1")
    second = listed(boss, f"?type=session.&limit=1&cursor={first['next']}")
    assert [*first["events"], *second["events"]] == everything[:1:-1]
    assert second["next"] is None
    assert house.logged_in("alice").get(EVENTS).status_code == 403
    assert boss.get("/api/admin/platform/audit/events").status_code == 403
    house.user("root", roles=("platform-administrator",))
    root = house.logged_in("root")
    assert listed(root, "?type=tenant.", "/api/admin/platform/audit/events")["events"][0]["type"] == "tenant.created"


@pytest.mark.parametrize(
    "query", ["cursor=AAAA", "type=session", "order=sideways", "since=-1", "limit=0", "tenant_id=1"]
)
def test_a_list_is_asked_for_as_the_document_says(boss: Client, query: str) -> None:
    """CVE-2026-33503, -33504, -33505: 422 that names the member, also for a place that was made up."""
    answer = boss.get(f"{EVENTS}?{query}")
    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["pointer"] == "/" + query.split("=", maxsplit=1)[0]


def test_an_event_comes_with_a_proof_that_holds(boss: Client) -> None:
    """Checked with the keys of the log alone; the checkpoint in it is the one that is handed out."""
    event_id = listed(boss)["events"][0]["id"]
    found = listed(boss, f"/{event_id}")
    keys = listed(boss, path="/api/admin/audit/keys")
    checkpoint = boss.get("/api/admin/audit/checkpoint")
    assert checkpoint.content_type == "text/plain; charset=utf-8"
    assert found["proof"].encode().endswith(checkpoint.get_data())
    known = [VerifierKey.parse(key) for key in keys["keys"]]
    shown = check_inclusion(InclusionProof.parse(found["proof"].encode()), known)
    assert shown.index == found["event"]["position"]
    assert shown.signed.checkpoint.origin == keys["origin"]


@pytest.mark.parametrize(
    "changed",
    [
        sa.delete(audit_tiles),
        sa.update(audit_events).values(record=b"{\n}"),
    ],
    ids=["the tree", "the record"],
)
def test_what_was_changed_is_shown_all_the_same_and_proves_nothing(
    house: House, boss: Client, changed: sa.Delete | sa.Update
) -> None:
    """That is when somebody looks."""
    event_id = listed(boss)["events"][0]["id"]
    owner = house.database.owner()
    with owner.begin() as connection:
        connection.execute(changed)
    owner.dispose()
    found = listed(boss, f"/{event_id}")
    assert (found["event"]["id"], found["proof"]) == (event_id, None)


def test_a_failed_login_is_on_record_with_whose_address_was_named(house: House, boss: Client) -> None:
    """Its owner sees it, with from where it was tried; of an address that nobody has, nobody is named."""
    alice = house.logged_in("alice")
    for email in ("ALICE@example.com", "nobody@example.com"):
        assert house.client().log_in(email, "wrong password 1").status_code == 401
    house.services.sequencer.integrate_all()
    newest, *others = listed(alice, path="/api/auth/activity")["events"]
    assert (newest["type"], newest["outcome"], newest["address"]) == ("session.login", "refused", "127.0.0.1")
    assert {event["outcome"] for event in others} == {"success"}
    me = alice.get("/api/auth/me").get_json()["data"]["user"]["id"]
    refused = listed(boss, "?type=session.login&outcome=refused&order=oldest")["events"]
    assert [event["about"].get("user_id") for event in refused] == [me, None]


def test_ones_own_activity_shows_ones_own_and_not_from_where_others_act(house: House, boss: Client) -> None:
    """What an administrator does to one's account is told; their address is not."""
    alice = house.logged_in("alice")
    alice.refresh()
    me = alice.get("/api/auth/me").get_json()["data"]["user"]["id"]
    boss.call("PATCH", f"/api/admin/users/{me}", {"password": "another fine Passw0rd"})
    alice = house.client()
    alice.log_in(password="another fine Passw0rd")
    house.services.sequencer.integrate_all()
    found = listed(alice, path="/api/auth/activity")["events"]
    assert [(event["type"], event["by"], event["address"]) for event in found] == [
        ("session.login", "anonymous", "127.0.0.1"),
        ("user.password-changed", "administrator", None),
        ("session.login", "anonymous", "127.0.0.1"),
        ("session.login", "anonymous", "127.0.0.1"),
        ("user.created", "anonymous", None),
    ]
    own = listed(house.logged_in("boss"), path="/api/auth/activity?limit=1")
    assert alice.get(f"/api/auth/activity?cursor={own['next']}").status_code == 422
    assert PASSWORD not in str(found)
