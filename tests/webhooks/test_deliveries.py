"""Events of a log at a real HTTPS receiver: none is lost or out of order, however often somebody fails or dies."""

import base64
import hashlib
import hmac
import os
import signal
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from payymo.clock import system_clock
from payymo.db import schema
from payymo.errors import Conflict, NotFound
from payymo.logs import Event, Trace
from payymo.webhooks.model import CLAIM_SECONDS, WAITING_AT_MOST, WAITS, Draft
from tests.support.crew import Crew
from tests.support.house import Database, FakeClock, House
from tests.support.moments import Killed
from tests.support.processes import servers
from tests.support.receiver import Got, Receiver, deliver, endpoint

YEAR = 365 * 86_400
ALICE, BOB = uuid.UUID(int=1), uuid.UUID(int=2)


def happen(house: House, *users: uuid.UUID | None, name: str = "session.login") -> None:
    """Events about these users, in this order."""
    for user_id in users:
        trace = Trace("request", "192.0.2.7")
        house.services.audit.record_apart(Event(name, trace=trace, tenant_id=house.default.id, user_id=user_id))


def waiting(house: House, found: Any) -> tuple[Any, ...]:
    return house.services.webhooks.list_deliveries(house.default.id, found.id)


def state(house: House, found: Any) -> Any:
    return house.services.webhooks.get(house.default.id, found.id)


def about(there: Receiver) -> list[str]:
    """Whom the events were about that came, by the last digit."""
    return [got.event["data"]["about"].get("user_id", "-")[-1] for got in there.got]


def told(house: House) -> list[tuple[str, str | None]]:
    return [(found["event"], found.get("reason")) for found in house.events() if found["event"].startswith("webhook.")]


def signed(secret: str, got: Got) -> str:
    """The signature as Standard Webhooks defines it, without anybody's library."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    text = f"{got.id}.{got.headers['webhook-timestamp']}.".encode() + got.body
    return "v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()


def test_an_event_is_sent_once_signed_and_leaves_nothing_behind(house: House, there: Receiver) -> None:
    """Its id is the id of the event; the signature is over id, second and body, as the standard says."""
    happen(house, BOB)  # before there was an endpoint
    house.services.sequencer.integrate_all()
    found, secret = endpoint(house, there.url, "session.login")
    happen(house, ALICE)
    happen(house, ALICE, name="user.unlocked")  # not chosen
    assert deliver(house) == 1
    assert deliver(house) == 0
    [got] = there.got
    data = got.event["data"]
    assert (got.path, got.headers["content-type"]) == ("/hooks?a=b", "application/json")
    assert got.headers["host"] == f"localhost:{there.port}"
    assert (got.event["type"], got.event["timestamp"]) == ("session.login", "2027-01-15T08:00:00.000Z")
    assert (data["about"], data["outcome"], data["id"]) == ({"user_id": str(ALICE)}, "success", got.id)
    assert "192.0.2.7" not in got.body.decode()
    assert got.headers["webhook-timestamp"] == str(int(house.clock.now))
    assert got.headers["webhook-signature"] == signed(secret, got)
    assert waiting(house, found) == ()
    assert state(house, found).last_success_at == house.clock.now


def test_a_chosen_prefix_stands_for_every_type_of_it(sqlite_house: House, there: Receiver) -> None:
    """`session.` is all that happens to sessions, and not `sessions.`."""
    endpoint(sqlite_house, there.url, "session.")
    for name in ("session.login", "session.ended", "sessions.ended", "user.unlocked"):
        happen(sqlite_house, ALICE, name=name)
    deliver(sqlite_house)
    assert [got.event["type"] for got in there.got] == ["session.login", "session.ended"]


def test_events_about_one_subject_keep_their_order_and_others_go_on(house: House, there: Receiver) -> None:
    """What follows a failed one about the same user waits behind it; what is about another one does not."""
    found, _ = endpoint(house, there.url)
    there.answer = lambda got: 500 if got.event["data"]["about"]["user_id"] == str(ALICE) else 204
    happen(house, ALICE, ALICE, BOB, ALICE, BOB)
    deliver(house)
    assert about(there) == ["1", "2", "2"]
    assert [(one.attempts, one.reason) for one in waiting(house, found)] == [(1, "status-500"), (0, None), (0, None)]
    first = waiting(house, found)[0].event_id
    there.got.clear()
    there.answer = lambda _got: 204
    house.clock.advance(4)
    assert deliver(house) == 0  # it is not yet time
    house.clock.advance(2)
    happen(house, ALICE)
    assert deliver(house) == 4
    assert about(there) == ["1"] * 4
    assert there.got[0].id == str(first)
    assert [got.event["timestamp"] for got in there.got] == sorted(got.event["timestamp"] for got in there.got)
    order = [got.event["data"]["id"] for got in there.got]
    assert order == [str(one) for one in ids_of(house, ALICE)]
    assert waiting(house, found) == ()


def ids_of(house: House, user_id: uuid.UUID) -> list[uuid.UUID]:
    """The events about a user, as they stand in the log."""
    events = schema.audit_events
    owner = house.database.owner()
    with owner.connect() as connection:
        rows = sa.select(events.c.id).where(events.c.user_id == user_id).order_by(events.c.position)
        found = list(connection.execute(rows).scalars())
    owner.dispose()
    return found


def test_what_fails_is_tried_for_three_days_and_then_the_endpoint_is_disabled(
    sqlite_house: House, there: Receiver
) -> None:
    """Later and later; at the end it is on record, and in the log. Enabled again, it goes on from where it stood."""
    house = sqlite_house
    found, _ = endpoint(house, there.url)
    there.answer = lambda _got: 503
    happen(house, ALICE)
    deliver(house)
    for wait in WAITS:
        [one] = waiting(house, found)
        assert wait <= one.due_at - house.clock.now <= 1.2 * wait
        house.clock.now = one.due_at - 1
        assert deliver(house) == 0
        house.clock.now = one.due_at
        assert deliver(house) == 1, house.events()[-3:]
    assert len(there.got) == 1 + len(WAITS)
    assert len({got.id for got in there.got}) == 1
    assert (state(house, found).is_enabled, state(house, found).reason) == (False, "failing")
    assert told(house)[-2:] == [("webhook.given-up", "status-503"), ("webhook.disabled", "failing")]
    happen(house, BOB)
    assert deliver(house) == 0
    there.answer = lambda _got: 204
    house.services.webhooks.enable(house.default.id, found.id, by=None, trace=Trace())
    assert deliver(house) == 1
    house.services.webhooks.redeliver(
        house.default.id, found.id, waiting(house, found)[0].event_id, by=None, trace=Trace()
    )
    assert deliver(house) == 1
    assert about(there)[-2:] == ["2", "1"]
    assert waiting(house, found) == ()


def test_one_event_that_is_refused_for_ever_does_not_disable_what_takes_others(
    sqlite_house: House, there: Receiver
) -> None:
    """It is given up, and what waited behind it goes on."""
    house = sqlite_house
    found, _ = endpoint(house, there.url)
    poison: list[str] = []
    there.answer = lambda got: 400 if got.id in (poison or poison.append(got.id) or poison) else 204
    happen(house, ALICE, ALICE, BOB)
    deliver(house)
    for _ in WAITS:
        happen(house, BOB)
        house.clock.now = waiting(house, found)[0].due_at
        deliver(house)
    assert state(house, found).is_enabled
    assert [(one.given_up_at is not None, one.reason) for one in waiting(house, found)] == [(True, "status-400")]
    assert about(there)[-2:] == ["1", "2"]


def test_who_is_gone_is_disabled_at_once(sqlite_house: House, there: Receiver) -> None:
    """410: the receiver wants none any more."""
    found, _ = endpoint(sqlite_house, there.url)
    there.answer = lambda _got: 410
    happen(sqlite_house, ALICE, BOB)
    assert deliver(sqlite_house) == 1
    assert state(sqlite_house, found).reason == "gone"
    assert told(sqlite_house)[-2:] == [("webhook.given-up", "status-410"), ("webhook.disabled", "gone")]


def test_an_endpoint_that_takes_nothing_does_not_fill_the_database(sqlite_house: House, there: Receiver) -> None:
    """With a hundred waiting it reads no further: the log is the queue. Later nothing is missing."""
    house = sqlite_house
    found, _ = endpoint(house, there.url)
    there.answer = lambda _got: 500
    happen(house, *[ALICE] * (WAITING_AT_MOST + 20))
    assert deliver(house) == 1
    assert len(waiting(house, found)) == WAITING_AT_MOST
    there.answer = lambda _got: 204
    house.clock.advance(6)
    there.got.clear()
    assert deliver(house) == WAITING_AT_MOST + 20
    assert [uuid.UUID(got.id) for got in there.got] == ids_of(house, ALICE)
    assert house.services.webhooks.measure() == (0, None)


def test_what_is_personal_is_sent_to_who_asked_for_it(house: House, there: Receiver) -> None:
    """The address is, and what was erased is not."""
    endpoint(house, there.url, wants_personal=True)
    happen(house, ALICE)
    deliver(house)
    assert there.got[0].event["data"]["personal"] == {"address": "192.0.2.7"}
    happen(house, ALICE)
    house.services.sequencer.integrate_all()
    owner = house.database.owner()
    with owner.begin() as connection:
        connection.execute(sa.delete(schema.audit_payloads))
    owner.dispose()
    deliver(house)
    assert "personal" not in there.got[1].event["data"]


def test_who_dies_after_sending_sends_again_under_the_same_id(house: House, there: Receiver) -> None:
    """At least once: another one takes over when its time is over, and not before."""
    endpoint(house, there.url)
    happen(house, ALICE)
    house.services.sequencer.integrate_all()
    courier, outcomes = house.services.webhook_courier, house.services.webhook_courier._outcomes
    settle = outcomes.settle

    def die(*_: object) -> None:
        raise Killed

    outcomes.settle = die  # type: ignore[method-assign]
    with pytest.raises(Killed):
        courier.deliver_due()
    outcomes.settle = settle  # type: ignore[method-assign]
    house.clock.advance(CLAIM_SECONDS - 1)
    assert deliver(house) == 0
    house.clock.advance(1)
    assert deliver(house) == 1
    first, second = there.got
    assert (first.id, first.body) == (second.id, second.body)


def test_who_died_while_the_clock_was_ahead_keeps_nobody_from_an_endpoint(house: House, there: Receiver) -> None:
    """Nor is an attempt waited for, or a receiver's rest: all of it would last for a year."""
    found, _ = endpoint(house, there.url)
    house.clock.advance(YEAR)
    happen(house, ALICE)
    there.answer = lambda _got: 503
    assert deliver(house) == 1
    there.answer = lambda _got: 204
    change = sa.update(schema.webhook_endpoints).where(schema.webhook_endpoints.c.id == found.id)
    later = int(house.clock.now) + CLAIM_SECONDS
    with house.by_hand() as tx:
        tx.execute(change.values(claimed_until=later, rests_until=later))
    house.clock.advance(-YEAR)
    assert deliver(house) == 1
    assert len(there.got) == 2


def test_a_killed_service_loses_nothing(database: Database, there: Receiver, tmp_path: Path) -> None:
    """Kill -9, for real, when the receiver has the event and has not answered: another node sends it again."""
    clock = FakeClock(system_clock())
    house = House(database, clock=clock, **there.settings())
    endpoint(house, there.url)
    with servers(database, 1, PAYYMO_WEBHOOKS__CA_FILE=str(there.ca_file)) as [server]:
        group = os.getpgid(server.pid)
        there.answer = lambda _got: lambda _handler: os.killpg(group, signal.SIGKILL)
        happen(house, ALICE)
        wait_for(lambda: bool(there.got))
        server.kill()
    there.answer = lambda _got: 204
    clock.now = system_clock() + CLAIM_SECONDS
    assert deliver(house) == 1
    first, second = there.got
    assert (first.id, first.body) == (second.id, second.body)
    house.close()


def wait_for(holds: Callable[[], bool], seconds: float = 20) -> None:
    """Return once something holds that another thread or process brings about."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


def test_several_couriers_send_each_event_once_and_in_order(house: House, there: Receiver) -> None:
    """Two nodes with two threads each."""
    other = House(house.database, clock=house.clock, **there.settings())
    found, _ = endpoint(house, there.url)
    happen(house, *[ALICE, BOB] * 10)
    house.services.sequencer.integrate_all()
    with Crew(4) as crew:
        list(crew.map(lambda one: one.services.webhook_courier.deliver_due(), [house, other] * 2))
    deliver(house)
    other.close()
    for user in (ALICE, BOB):
        got = [uuid.UUID(one.id) for one in there.got if one.event["data"]["about"]["user_id"] == str(user)]
        assert got == ids_of(house, user)
    assert waiting(house, found) == ()


def test_who_was_overtaken_writes_nothing(sqlite_house: House, there: Receiver) -> None:
    """A process that slept past its time finds another's claim, and leaves the endpoint alone."""
    house = sqlite_house
    found, _ = endpoint(house, there.url)
    other = House(house.database, clock=house.clock, **there.settings())

    def overtake(got: Got) -> int:
        if len(there.got) == 1:
            house.clock.advance(CLAIM_SECONDS)
            other.services.webhook_courier.deliver_due()
        return 204

    there.answer = overtake
    happen(house, ALICE)
    deliver(house)
    assert len(there.got) == 2
    assert (waiting(house, found), state(house, found).next_position) == ((), state(house, found).next_position)
    assert deliver(house) == 0
    other.close()


def test_a_running_courier_delivers_by_itself(house: House, there: Receiver) -> None:
    """As in a worker; what is under way is finished before it stops."""
    endpoint(house, there.url)
    house.services.webhook_courier.start()
    happen(house, ALICE)
    house.services.sequencer.integrate_all()
    wait_for(lambda: bool(there.got))
    house.services.webhook_courier.stop()
    assert about(there) == ["1"]


def test_a_tenant_whose_receiver_is_slow_holds_up_nobody_else(sqlite_house: House, there: Receiver) -> None:
    """While one of its endpoints is spoken to, its others wait, and those of other tenants do not."""
    house = sqlite_house
    other = house.tenant("other")
    endpoint(house, there.url)
    endpoint(house, there.url)
    happen(house, ALICE)
    house.services.sequencer.integrate_all()
    claims = house.services.webhook_courier
    assert claims._claim() is not None
    assert claims._claim() is None
    house.services.webhooks.create(other.id, Draft(there.url, ("session.",)), by=None, trace=Trace())
    house.services.audit.record_apart(Event("session.login", trace=Trace(), tenant_id=other.id, user_id=BOB))
    house.services.sequencer.integrate_all()
    found = claims._claim()
    assert found is not None
    assert found.log == other.id


def test_the_platform_and_each_tenant_get_their_own_log_alone(house: House, there: Receiver) -> None:
    """Invariant 10: no endpoint gets an event of another log."""
    other = house.tenant("other")
    house.services.sequencer.integrate_all()
    endpoint(house, there.url, "session.", "tenant.")
    draft = Draft(there.url, ("session.", "tenant."))
    house.services.webhooks.create(None, draft, by=None, trace=Trace())
    house.services.webhooks.create(other.id, draft, by=None, trace=Trace())
    happen(house, ALICE)
    house.tenant("third")
    house.services.audit.record_apart(Event("session.login", trace=Trace(), tenant_id=other.id, user_id=BOB))
    assert deliver(house) == 3
    assert {(got.event["type"], got.event["data"]["log"]) for got in there.got} == {
        ("session.login", str(house.default.id)),
        ("session.login", str(other.id)),
        ("tenant.created", "platform"),
    }
    assert len(house.services.webhooks.list_endpoints(None)) == 1


def test_an_event_that_the_endpoint_does_not_get_is_not_sent_again(sqlite_house: House, there: Receiver) -> None:
    """Neither one that was not chosen, nor one of another log."""
    house = sqlite_house
    found, _ = endpoint(house, there.url, "session.")
    happen(house, ALICE, name="user.unlocked")
    deliver(house)
    for event_id in (*ids_of(house, ALICE), uuid.UUID(int=9)):
        with pytest.raises(NotFound):
            house.services.webhooks.redeliver(house.default.id, found.id, event_id, by=None, trace=Trace())
    with pytest.raises(Conflict):
        house.services.webhooks.enable(house.default.id, found.id, by=None, trace=Trace())
