"""What changes, breaks or goes wrong while a courier is at work: it counts at once, and holds up nobody else."""

import uuid
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import sqlalchemy as sa

from payymo.db import schema
from payymo.errors import Conflict, InvalidInput, Overloaded
from payymo.logs import Event, Trace
from payymo.secrets.encryption import SealBroken
from payymo.webhooks import courier as delivering
from payymo.webhooks.model import CLAIM_SECONDS, ENDPOINTS_AT_MOST, Draft
from payymo.webhooks.progress import Claim
from payymo_guard.webhooks import sign
from tests.support.crew import Crew
from tests.support.house import Database, House
from tests.support.moments import before, begun_beside
from tests.support.receiver import Got, Receiver, deliver, endpoint


def happen(house: House, count: int = 1, tenant_id: uuid.UUID | None = None) -> None:
    """Events about as many users."""
    for number in range(1, count + 1):
        whose, about = tenant_id or house.default.id, uuid.UUID(int=number)
        trace = Trace("request", "192.0.2.7")
        house.services.audit.record_apart(Event("session.login", trace=trace, tenant_id=whose, user_id=about))


@contextmanager
def by_owner(house: House) -> Iterator[sa.Connection]:
    owner = house.database.owner()
    with owner.begin() as connection:
        yield connection
    owner.dispose()


def test_an_event_that_can_not_be_read_takes_no_others_along(house: House, there: Receiver) -> None:
    """Whoever looks after the log finds it. What stands behind it is sent, however much that is."""
    endpoint(house, there.url)
    happen(house, delivering.AT_ONCE + 10)
    house.services.sequencer.integrate_all()
    events = schema.audit_events
    with by_owner(house) as connection:
        damaged = connection.execute(
            sa.select(events.c.id).where(events.c.type == "session.login").order_by(events.c.position).limit(1)
        ).scalar_one()
        connection.execute(sa.update(events).where(events.c.id == damaged).values(record=b"\xff"))
    deliver(house)
    assert len({got.id for got in there.got}) == delivering.AT_ONCE + 9


def test_less_is_sent_also_where_the_name_leads_nowhere_now(sqlite_house: House, there: Receiver) -> None:
    """Who wants nothing personal sent any more does not wait for a name server; another URL is looked up."""
    house = sqlite_house
    found, _ = endpoint(house, there.url, wants_personal=True)
    house.services.webhooks._outside._sender.resolve = lambda _host, _port: []
    less = Draft(found.url, ("user.",))
    assert not house.services.webhooks.change(house.default.id, found.id, less, by=None, trace=Trace()).wants_personal
    with pytest.raises(InvalidInput):
        house.services.webhooks.change(
            house.default.id, found.id, Draft(f"{found.url}2", ("user.",)), by=None, trace=Trace()
        )


@pytest.mark.parametrize("what", ["url", "events", "personal"])
def test_what_is_changed_counts_from_the_next_message_on(house: House, there: Receiver, what: str) -> None:
    """Also when a courier has many to send."""
    found, _ = endpoint(house, there.url, wants_personal=True)
    changed = {
        "url": Draft(there.url.replace("hooks", "elsewhere"), found.events, wants_personal=True),
        "events": Draft(found.url, ("user.",), wants_personal=True),
        "personal": Draft(found.url, found.events),
    }

    def change(_got: Got) -> int:
        if len(there.got) == 1:
            house.services.webhooks.change(house.default.id, found.id, changed[what], by=None, trace=Trace())
        return 204

    there.answer = change
    happen(house, 3)
    deliver(house)
    deliver(house)
    late = there.got[1:]
    assert len(late) == (0 if what == "events" else 2)
    assert {got.path for got in late} <= {"/elsewhere?a=b" if what == "url" else "/hooks?a=b"}
    assert [got for got in late if what == "personal" and "personal" in got.event["data"]] == []


def test_a_secret_that_somebody_else_has_signs_nothing_more(house: House, there: Receiver) -> None:
    """With no overlap, from the next message on."""
    found, _ = endpoint(house, there.url)
    signatures: list[str] = []

    def rotate(got: Got) -> int:
        signatures.append(got.headers["webhook-signature"])
        if len(there.got) == 1:
            house.services.webhooks.rotate_secret(house.default.id, found.id, overlap_seconds=0, by=None, trace=Trace())
        return 204 if len(there.got) == 1 or is_new(got) else 401

    def is_new(got: Got) -> bool:
        with house.services.work.reading(house.default.id) as tx:
            [secret] = house.services.webhooks._signing.open_secrets(tx, found.id)
        return signed(secret, got)

    there.answer = rotate
    happen(house, 3)
    deliver(house)
    assert house.services.webhooks.list_deliveries(house.default.id, found.id) == ()


def signed(secret: bytes, got: Got) -> bool:
    headers = sign(secret, got.id, int(got.headers["webhook-timestamp"]), got.body)
    return headers["webhook-signature"] == got.headers["webhook-signature"]


def test_a_secret_that_does_not_open_holds_up_nobody_else(house: House, there: Receiver) -> None:
    """One changed row: its own endpoint says so, and is disabled in the end; the others of its tenant go on at once."""
    broken, _ = endpoint(house, there.url)
    endpoint(house, there.url.replace("hooks", "sound"))
    with by_owner(house) as connection:
        secrets = schema.webhook_secrets
        connection.execute(sa.update(secrets).where(secrets.c.endpoint_id == broken.id).values(sealed=b"\0" * 60))
    happen(house, 2)
    deliver(house)
    assert [got.path for got in there.got] == ["/sound?a=b"] * 2
    state = house.services.webhooks.get(house.default.id, broken.id)
    assert (state.reason, state.failing_since) == ("internal", int(house.clock.now))


def test_another_secret_takes_the_place_of_one_that_does_not_open(house: House, there: Receiver) -> None:
    """At once, and not when it would have ended."""
    found, _ = endpoint(house, there.url)
    with by_owner(house) as connection:
        connection.execute(sa.update(schema.webhook_secrets).values(sealed=b"\0" * 60))
    with pytest.raises(SealBroken):
        house.services.webhooks.test(house.default.id, found.id, trace=Trace())
    house.services.webhooks.rotate_secret(house.default.id, found.id, by=None, trace=Trace())
    happen(house)
    assert deliver(house) == 1
    assert [len(got.headers["webhook-signature"].split()) for got in there.got] == [1]


def test_who_died_with_a_clock_that_was_ahead_keeps_nobody_from_an_endpoint(house: House, there: Receiver) -> None:
    """What is claimed for longer than anybody claims is nobody's; nor does a receiver rest for longer than it may."""
    first, _ = endpoint(house, there.url)
    second, _ = endpoint(house, there.url)
    far = int(house.clock.now) + 10 * 86_400
    with by_owner(house) as connection:
        e = schema.webhook_endpoints
        connection.execute(sa.update(e).where(e.c.id == first.id).values(claimed_until=far))
        connection.execute(sa.update(e).where(e.c.id == second.id).values(rests_until=far))
    happen(house)
    assert deliver(house) == 2


def test_a_claim_of_now_counts(sqlite_house: House, there: Receiver) -> None:
    """To the second, and with clocks that are a minute apart."""
    first, _ = endpoint(sqlite_house, there.url)
    until = int(sqlite_house.clock.now) + CLAIM_SECONDS + 60
    with by_owner(sqlite_house) as connection:
        e = schema.webhook_endpoints
        connection.execute(sa.update(e).where(e.c.id == first.id).values(claimed_until=until))
    happen(sqlite_house)
    assert deliver(sqlite_house) == 0
    sqlite_house.clock.now -= 1
    assert deliver(sqlite_house) == 1


def test_of_those_who_make_the_last_endpoint_at_once_one_does(house: House, there: Receiver) -> None:
    """Twenty are twenty, whoever is in a hurry."""
    for _ in range(ENDPOINTS_AT_MOST - 1):
        endpoint(house, there.url)

    def make(_number: int) -> bool:
        while True:
            with suppress(Overloaded):  # one of a tenant waits for a name server; the others come again
                try:
                    endpoint(house, there.url)
                except Conflict:
                    return False
                return True

    with Crew(4) as crew:
        assert sum(crew.map(make, range(4))) == 1
    assert len(house.services.webhooks.list_endpoints(house.default.id)) == ENDPOINTS_AT_MOST


def test_a_slow_receiver_has_its_turn_for_a_while_and_no_longer(
    sqlite_house: House, there: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty that take fifteen seconds each would hold a place, which others wait for, for twelve minutes."""
    house = sqlite_house
    monkeypatch.setattr(delivering, "TURN_SECONDS", -1.0)
    other = house.tenant("other")
    endpoint(house, there.url)
    house.services.webhooks.create(other.id, Draft(there.url, ("session.",)), by=None, trace=Trace())

    def slow(_got: Got) -> int:
        house.clock.advance(1)
        return 204

    there.answer = slow
    happen(house, 3)
    happen(house, 3, other.id)
    assert deliver(house) == 6
    logs = [got.event["data"]["log"] for got in there.got]
    assert logs in ([str(house.default.id), str(other.id)] * 3, [str(other.id), str(house.default.id)] * 3)


def test_of_two_nodes_that_look_at_once_one_serves_a_tenant(postgres_database: Database, there: Receiver) -> None:
    """Else its slow receivers have two places where they are to have one."""
    nodes = [House(postgres_database, **there.settings()) for _ in range(2)]
    for _ in nodes:
        endpoint(nodes[0], there.url)
    happen(nodes[0])
    nodes[0].services.sequencer.integrate_all()
    first, second = (node.services.webhook_courier for node in nodes)
    beside: list[Future[Claim | None]] = []
    with Crew(1) as crew:

        def look() -> None:
            beside.append(begun_beside(crew, postgres_database, second._claim))

        with before(nodes[0], lambda statement: statement.startswith("UPDATE webhook_endpoints"), look):
            assert first._claim() is not None
        assert beside[0].result() is None
    for node in nodes:
        node.close()


def test_an_endpoint_that_nothing_is_for_leaves_its_place_also_while_much_happens(
    sqlite_house: House, there: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads on as long as its turn is, and no longer: others have something to get."""
    endpoint(sqlite_house, there.url, "role.")
    courier = sqlite_house.services.webhook_courier
    looks: list[Claim] = []
    look, claim = courier._look, courier._claim
    monkeypatch.setattr(courier, "_monotonic", lambda: float(len(looks)))

    def busy(claim: Claim) -> Any:
        happen(sqlite_house)
        sqlite_house.services.sequencer.integrate_all()
        looks.append(claim)
        assert len(looks) < 10 * delivering.TURN_SECONDS, "it never ends"
        return look(claim)

    monkeypatch.setattr(courier, "_look", busy)
    happen(sqlite_house)
    sqlite_house.services.sequencer.integrate_all()
    first = claim()
    assert first is not None
    courier._serve(first)
    assert delivering.TURN_SECONDS <= len(looks) <= delivering.TURN_SECONDS + 3


def test_an_endpoint_is_spoken_to_by_one_whatever_its_owner_does_meanwhile(house: House, there: Receiver) -> None:
    """Who changes it, or has it begin again, while it is slow, would have it hold every place there is."""
    found, _ = endpoint(house, there.url)
    webhooks, log, claims = house.services.webhooks, house.default.id, []

    def slow(_got: Got) -> int:
        if len(there.got) == 1:
            webhooks.change(log, found.id, Draft(found.url, found.events, "other"), by=None, trace=Trace())
            webhooks.disable(log, found.id, by=None, trace=Trace())
            webhooks.enable(log, found.id, by=None, trace=Trace())
            claims.append(house.services.webhook_courier._claim())
        return 204

    there.answer = slow
    happen(house, 2)
    assert deliver(house) == 2
    assert claims == [None]


def test_who_disables_an_endpoint_and_enables_it_later_does_not_wait(house: House, there: Receiver) -> None:
    """Whoever spoke to it meanwhile has given it back."""
    found, _ = endpoint(house, there.url)
    webhooks, log = house.services.webhooks, house.default.id

    def disable(_got: Got) -> int:
        if len(there.got) == 1:
            webhooks.disable(log, found.id, by=None, trace=Trace())
        return 204

    there.answer = disable
    happen(house, 2)
    assert deliver(house) == 1
    webhooks.enable(log, found.id, by=None, trace=Trace())
    assert deliver(house) == 2  # the first again: nobody has written that it was taken
    assert webhooks.list_deliveries(log, found.id) == ()


def test_what_is_erased_is_sent_no_more(house: House, there: Receiver) -> None:
    """Also when a courier has many to send."""
    endpoint(house, there.url, wants_personal=True)
    user = house.user("alice")

    def erase(_got: Got) -> int:
        if len(there.got) == 1:
            house.services.personal_data.erase(house.default.id, user.id, by=None, trace=Trace())
        return 204

    there.answer = erase
    happen(house)
    house.services.sequencer.integrate_all()
    event = Event("session.login", trace=Trace("request", "192.0.2.7"), tenant_id=house.default.id, user_id=user.id)
    house.services.audit.record_apart(event)
    deliver(house)
    [about] = [
        got.event["data"]
        for got in there.got
        if got.event["data"]["about"].get("user_id") == str(user.id) and got.event["type"] == "session.login"
    ]
    assert "personal" not in about
