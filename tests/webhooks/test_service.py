"""Endpoints as their owners keep them: on record, sealed, of one tenant, by command and over HTTP."""

import dataclasses
import json
import os
import uuid
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from payymo.audit.model import decode
from payymo.cli import payymo
from payymo.db import schema
from payymo.errors import Conflict, InsufficientScope, InvalidInput, Misconfigured, NotFound, Overloaded
from payymo.logs import Trace
from payymo.webhooks.model import ENDPOINTS_AT_MOST, Draft
from payymo_guard.fake_authority import CLIENT
from tests.support.certificates import Issuer, add
from tests.support.house import Database, House
from tests.support.processes import environment
from tests.support.receiver import Got, Receiver, deliver, endpoint, receiver
from tests.webhooks.test_deliveries import ALICE, happen, signed

ONE, OTHER = uuid.UUID(int=1), uuid.UUID(int=2)


def rows(house: House, table: sa.Table) -> list[Any]:
    owner = house.database.owner()
    with owner.connect() as connection:
        found = list(connection.execute(sa.select(table)))
    owner.dispose()
    return found


def records(house: House) -> list[Any]:
    """What is on record of endpoints."""
    house.services.sequencer.integrate_all()
    found = [decode(bytes(row.record)) for row in rows(house, schema.audit_events)]
    return [record for record in found if record.type.startswith("webhook.")]


def test_every_change_is_on_record_and_no_secret_is_anywhere(house: House, there: Receiver) -> None:
    """Invariants 9 and 17: neither a secret, nor what stands behind the origin of a URL; not in rows, not in lines."""
    webhooks, log = house.services.webhooks, house.default.id
    found, first = endpoint(house, f"{there.url}&token=PASSWORD", "session.")
    draft = Draft(f"{there.url}&token=PASSWORD", ("user.",), "people")
    webhooks.change(log, found.id, draft, by=None, trace=Trace())
    second = webhooks.rotate_secret(log, found.id, by=None, trace=Trace())
    webhooks.disable(log, found.id, by=None, trace=Trace())
    webhooks.enable(log, found.id, by=None, trace=Trace())
    assert webhooks.test(log, found.id, trace=Trace()) is None
    there.answer = lambda _got: 500
    assert webhooks.test(log, found.id, trace=Trace()) is not None
    happen(house, ALICE, name="user.unlocked")
    house.services.sequencer.integrate_all()
    [event] = [decode(bytes(row.record)) for row in rows(house, schema.audit_events) if row.type == "user.unlocked"]
    webhooks.redeliver(log, found.id, event.id, by=None, trace=Trace())
    texts = "".join(map(repr, rows(house, schema.webhook_secrets))) + house.log_lines.getvalue()
    webhooks.delete(log, found.id, by=None, trace=Trace())
    told = records(house)
    assert [record.type for record in told] == [
        *("webhook.created", "webhook.changed", "webhook.secret-rotated", "webhook.disabled"),
        *("webhook.changed", "webhook.tested", "webhook.tested", "webhook.redelivered", "webhook.deleted"),
    ]
    tested = [(record.outcome, record.about.get("reason")) for record in told if record.type == "webhook.tested"]
    assert tested == [("success", None), ("error", "status-500")]
    assert told[-2].new == {"event": str(event.id)}
    assert {record.about["webhook"] for record in told} == {str(found.id)}
    assert told[0].new["origin"] == f"https://localhost:{there.port}"
    assert rows(house, schema.webhook_endpoints) == rows(house, schema.webhook_secrets) == []
    texts += "".join(record.encode().decode() for record in told) + house.log_lines.getvalue()
    for secret in (first.removeprefix("whsec_"), second.removeprefix("whsec_"), "PASSWORD"):
        assert secret not in texts
    with pytest.raises(NotFound):
        webhooks.get(log, found.id)


def test_while_a_secret_is_changed_both_sign(house: House, there: Receiver) -> None:
    """To the second; then the new one alone. Who needs a third ends the first."""
    found, first = endpoint(house, there.url)
    rotate = house.services.webhooks.rotate_secret
    second = rotate(house.default.id, found.id, overlap_seconds=600, by=None, trace=Trace())
    for passed, secrets in ((0, [second, first]), (599, [second, first]), (1, [second])):
        house.clock.advance(passed)
        happen(house, ALICE)
        deliver(house)
        got = there.got[-1]
        assert got.headers["webhook-signature"].split() == [signed(secret, got) for secret in secrets]
    assert house.services.webhooks.prune() == 1
    third = rotate(house.default.id, found.id, overlap_seconds=600, by=None, trace=Trace())
    fourth = rotate(house.default.id, found.id, overlap_seconds=600, by=None, trace=Trace())
    assert len({first, second, third, fourth}) == 4
    assert [row.version for row in rows(house, schema.webhook_secrets)] == [3, 4]


@pytest.mark.parametrize("log", ["tenant", "platform"])
def test_secrets_open_after_everything_was_sealed_again(house: House, there: Receiver, log: str) -> None:
    """The database keeps a data key as long as a secret needs it: a tenant's, or the service's."""
    whose = house.default.id if log == "tenant" else None
    found, _ = house.services.webhooks.create(whose, Draft(there.url, ("session.",)), by=None, trace=Trace())
    before = rows(house, schema.webhook_secrets)[0]
    house.services.reencryption.run(progress=lambda *_: None, pause=lambda _: None, trace=Trace(), whatever_age=True)
    after = rows(house, schema.webhook_secrets)[0]
    assert (after.data_key_id is None) == (log == "platform")
    assert (after.data_key_id, after.service_data_key_id) != (before.data_key_id, before.service_data_key_id)
    house.clock.advance(5)
    assert house.services.webhooks.test(whose, found.id, trace=Trace()) is None


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"url": "https://10.0.0.1/"}, "/url"),
        ({"url": "https://metadata.invalid/"}, "/url"),
        ({"url": "http://localhost@10.0.0.1/"}, "/url"),
        ({"events": ()}, "/events"),
        ({"events": ("session",)}, "/events/0"),
        ({"events": ("mail.sent",)}, "/events/0"),  # not on record
        ({"events": ("session.", "nothing.")}, "/events/1"),
        ({"description": "a\nb"}, "/description"),
        ({"certificate": "server"}, "/certificate"),
    ],
)
def test_what_is_no_endpoint_is_refused(
    sqlite_house: House, there: Receiver, change: dict[str, Any], pointer: str
) -> None:
    """Each with the member that is wrong; nothing is written."""
    add(sqlite_house, Issuer().material(), "server")
    draft = dataclasses.replace(Draft(there.url, ("session.",)), **change)
    with pytest.raises(InvalidInput) as refusal:
        sqlite_house.services.webhooks.create(sqlite_house.default.id, draft, by=None, trace=Trace())
    assert [found.pointer for found in refusal.value.errors] == [pointer]
    assert rows(sqlite_house, schema.webhook_endpoints) == []


def test_a_tenant_has_twenty_at_most(sqlite_house: House, there: Receiver) -> None:
    """And others as many."""
    for _ in range(ENDPOINTS_AT_MOST):
        endpoint(sqlite_house, there.url)
    with pytest.raises(Conflict):
        endpoint(sqlite_house, there.url)
    other = sqlite_house.tenant("other")
    sqlite_house.services.webhooks.create(other.id, Draft(there.url, ("session.",)), by=None, trace=Trace())


def test_requests_that_wait_for_somebody_outside_are_few(sqlite_house: House, there: Receiver) -> None:
    """Who makes receivers slow on purpose does not hold the threads that others log in with."""
    found, _ = endpoint(sqlite_house, there.url)
    webhooks = sqlite_house.services.webhooks
    with webhooks._outside.place(ONE), webhooks._outside.place(OTHER), pytest.raises(Overloaded):
        webhooks.test(sqlite_house.default.id, found.id, trace=Trace())
    assert webhooks.test(sqlite_house.default.id, found.id, trace=Trace()) is None
    assert there.got[0].event["type"] == "webhook.test"


def test_a_tenant_whose_receivers_are_slow_leaves_others_a_place(sqlite_house: House, there: Receiver) -> None:
    """One of its requests waits at a time: two would be all places there are in a process, for as long as it likes."""
    house = sqlite_house
    found, _ = endpoint(house, there.url)
    other = house.tenant("other")
    draft, seen = Draft(there.url, ("session.",)), []

    def slow(_got: Got) -> int:
        with pytest.raises(Overloaded):
            house.services.webhooks.test(house.default.id, found.id, trace=Trace())
        with pytest.raises(Overloaded):
            endpoint(house, there.url)
        seen.append(house.services.webhooks.create(other.id, draft, by=None, trace=Trace()))
        return 204

    there.answer = slow
    assert house.services.webhooks.test(house.default.id, found.id, trace=Trace()) is None
    assert len(seen) == 1


def test_a_certificate_of_the_service_is_the_operators_to_lend(sqlite_database: Database, tmp_path: Path) -> None:
    """It is shown where it was configured; a tenant neither takes one nor moves an endpoint that has one."""
    with receiver(tmp_path, wants_certificate=True) as there:
        house = House(sqlite_database, **there.settings())
        issued = there.authority.issue("payymo", usages=[CLIENT], ends=house.clock.now + 90 * 86_400)
        from payymo.certificates.reading import read  # noqa: PLC0415

        material = read(issued.pem + there.authority.pem, lambda: "", key=issued.key_pem)
        add(house, material, "outgoing", usage="client")
        found, _ = endpoint(house, there.url, certificate="outgoing")
        assert house.services.webhooks.test(house.default.id, found.id, trace=Trace()) is None
        house.user("boss", roles=("tenant-administrator",))
        boss = house.logged_in("boss")
        path = f"/api/admin/webhooks/{found.id}"
        assert boss.call("PATCH", path, {"url": f"https://127.0.0.1:{there.port}/"}).status_code == 409
        assert boss.call("PATCH", path, {"description": "mine"}).get_json()["data"]["certificate"] == "outgoing"
        taken = Draft(there.url, ("session.",), certificate="outgoing")
        with pytest.raises(InsufficientScope):
            house.services.webhooks.create(house.default.id, taken, by=_Somebody(), trace=Trace())
        house.close()


class _Somebody:
    user_id = uuid.UUID(int=1)

    def authority_in(self, _tx: object) -> tuple[str, ...]:
        return ("webhooks:*",)


def test_a_tenants_administrator_manages_its_endpoints(house: House, there: Receiver) -> None:
    """Made, tried, changed, looked at, sent again, deleted; the secret is told twice, when it is made."""
    house.user("boss", roles=("tenant-administrator",))
    boss = house.logged_in("boss")
    made = boss.post("/api/admin/webhooks", {"url": there.url, "events": ["role."]})
    assert made.status_code == 201
    data = made.get_json()["data"]
    path = f"/api/admin/webhooks/{data['webhook']['id']}"
    assert data["secret"].startswith("whsec_")
    assert boss.post(f"{path}/test").get_json()["data"] == {"delivered": True, "reason": None}
    there.answer = lambda _got: 500
    assert boss.post(f"{path}/test").get_json()["data"] == {"delivered": False, "reason": "status-500"}
    assert boss.post("/api/admin/roles", {"name": "clerk", "permissions": ["users:read"]}).status_code == 201
    deliver(house)
    [delivery] = boss.get(f"{path}/deliveries").get_json()["data"]["deliveries"]
    assert (delivery["state"], delivery["reason"], delivery["subject"]) == ("waiting", "status-500", "role:clerk")
    there.answer = lambda _got: 204
    assert boss.post(f"{path}/events/{delivery['event_id']}/redeliver").status_code == 200
    assert deliver(house) == 1
    assert boss.post(f"{path}/secret", {}).get_json()["data"]["secret"] != data["secret"]
    changed = boss.call("PATCH", path, {"enabled": False, "events": ["user."]}).get_json()["data"]
    assert (changed["enabled"], changed["events"], changed["reason"]) == (False, ["user."], "by-hand")
    listed = boss.get("/api/admin/webhooks")
    assert "whsec_" not in listed.get_data(as_text=True)
    assert [one["id"] for one in listed.get_json()["data"]["webhooks"]] == [data["webhook"]["id"]]
    assert boss.call("DELETE", path).status_code == 200
    assert boss.get(path).status_code == 404


def test_what_is_personal_is_sent_where_who_may_read_it_says(house: House, there: Receiver) -> None:
    """`webhooks:write` alone has nobody's addresses sent to themselves: nobody gets at what they may not read."""
    for name, permissions in (("hooks", ("webhooks:*",)), ("reader", ("webhooks:*", "audit:read"))):
        house.services.roles.create(house.default.id, name, permissions, by=None, trace=Trace())
        house.user(name, roles=(name,))
    clerk, reader = house.logged_in("hooks"), house.logged_in("reader")
    body = {"url": there.url, "events": ["session."]}
    refused = clerk.post("/api/admin/webhooks", body | {"personal": True})
    assert (refused.status_code, refused.get_json()["code"]) == (403, "insufficient_scope")
    own = clerk.post("/api/admin/webhooks", body).get_json()["data"]["webhook"]["id"]
    assert clerk.call("PATCH", f"/api/admin/webhooks/{own}", {"personal": True}).status_code == 403
    other = reader.post("/api/admin/webhooks", body | {"personal": True}).get_json()["data"]["webhook"]["id"]
    moved = {"url": there.url.replace("hooks", "mine")}
    assert clerk.call("PATCH", f"/api/admin/webhooks/{other}", moved).status_code == 403
    assert clerk.call("PATCH", f"/api/admin/webhooks/{other}", moved | {"personal": False}).status_code == 200


def test_an_operator_manages_endpoints_by_command(sqlite_house: House, there: Receiver) -> None:
    """Of a tenant and of the platform; 1 is a negative finding, and 2 is misuse."""
    house = sqlite_house

    def run(*words: str, exits: int = 0) -> Any:
        given = environment(house.database, PAYYMO_WEBHOOKS__CA_FILE=str(there.ca_file))
        gone = {name: None for name in os.environ if name.startswith("PAYYMO_") and name not in given}
        done = CliRunner().invoke(payymo, ["webhook", *words, "--json"], env=given | gone)
        assert done.exit_code == exits, done.output
        return json.loads(done.stdout) if done.stdout else done.stderr

    house.services.sequencer.integrate_all()
    made = run("create", there.url, "--event", "tenant.", "--platform")
    assert made["secret"].startswith("whsec_")
    assert run("list") == []
    assert run("show", made["id"], "--platform")["events"] == ["tenant."]
    assert "no such endpoint" in run("show", made["id"], exits=1)
    assert run("change", made["id"], "--description", "all", "--platform")["description"] == "all"
    assert run("test", made["id"], "--platform") == {"delivered": True, "reason": None}
    there.answer = lambda _got: 503
    assert run("test", made["id"], "--platform", exits=1) == {"delivered": False, "reason": "status-503"}
    house.tenant("other")
    deliver(house)
    [waiting] = run("deliveries", made["id"], "--platform")
    assert (waiting["type"], waiting["attempts"]) == ("tenant.created", 1)
    assert run("redeliver", made["id"], waiting["event_id"], "--platform") == {"due_again": waiting["event_id"]}
    assert run("rotate-secret", made["id"], "--platform")["secret"] != made["secret"]
    assert run("disable", made["id"], "--platform") == {"disabled": made["id"]}
    assert run("enable", made["id"], "--platform") == {"enabled": made["id"]}
    assert "Aborted" in run("delete", made["id"], "--platform", exits=1)
    assert run("delete", made["id"], "--platform", "--yes") == {"deleted": made["id"]}
    assert "one or the other" in run("list", "--platform", "--tenant", "default", exits=2)


def test_an_authority_that_can_not_be_read_is_a_reason_not_to_begin(sqlite_database: Database, tmp_path: Path) -> None:
    """Said at the start, and not with the first message."""
    with pytest.raises(Misconfigured, match="PAYYMO_WEBHOOKS__CA_FILE"):
        House(sqlite_database, webhooks={"ca_file": tmp_path / "nowhere.pem"})
