"""POST /api/revocations/events: security event tokens by polling (RFC 8417, RFC 8936), with CAEP's session-revoked."""

import json
from collections.abc import Iterator
from typing import Any

import pybase64
import pytest

from payymo.feed.events import SESSION_REVOKED
from payymo.logs import Trace
from payymo_guard import Refused
from payymo_guard.verify import inspect
from tests.support.crew import Crew
from tests.support.house import House

PATH = "/api/revocations/events"
LONG = 15


class Receiver:
    """One that polls with a credential of its own."""

    def __init__(self, house: House, name: str = "siem") -> None:
        made = house.services.guards.create(name, scopes=["feed"], trace=Trace())
        self._client = house.client(headers={"Authorization": f"Bearer {made.text}"})

    def poll(self, **body: Any) -> tuple[dict[str, str], bool]:
        """Event tokens by jti, and whether there are more."""
        answer = self._client.post(PATH, {"returnImmediately": True} | body)
        assert answer.status_code == 200, answer.text
        assert answer.content_type == "application/json"
        found = answer.get_json()
        assert set(found) == {"sets", "moreAvailable"}
        return found["sets"], found["moreAvailable"]


@pytest.fixture
def receiver(house: House) -> Iterator[Receiver]:
    house.user("alice")
    return Receiver(house)


def end_sessions(house: House, count: int = 1) -> None:
    for _ in range(count):
        assert house.logged_in().post("/api/auth/logout").status_code == 200


def claims_of(token: str) -> dict[str, Any]:
    return dict(inspect(token).untrusted_claims)


def test_an_event_says_whose_session_was_revoked(house: House, receiver: Receiver) -> None:
    """RFC 8417 §2.2: issuer, audience, time, identifier and one event; no `sub`, no `exp`; subject by RFC 9493."""
    client = house.logged_in()
    session = house.services.verifier.verify(client.access_token or "")
    client.post("/api/auth/logout")
    sets, more = receiver.poll()
    [(jti, token)] = sets.items()
    assert not more
    now = int(house.clock())
    assert dict(inspect(token).untrusted_header)["typ"] == "secevent+jwt"
    assert claims_of(token) == {
        "iss": session.iss,
        "aud": session.aud,
        "iat": now,
        "jti": jti,
        "sub_id": {
            "format": "complex",
            "session": {"format": "opaque", "id": session.sid},
            "tenant": {"format": "opaque", "id": session.tenant_id},
        },
        "events": {SESSION_REVOKED: {"event_timestamp": now}},
    }


def test_an_event_is_signed_and_is_no_access_token(house: House, receiver: Receiver) -> None:
    """RFC 8417 §4: receivers check the signature by the published keys; nobody may take it for a token."""
    end_sessions(house)
    sets, _ = receiver.poll()
    [token] = sets.values()
    header, payload, signature = token.split(".")
    key = house.services.ring.find_access_key(str(inspect(token).untrusted_header["kid"]))
    assert key is not None
    key.verify(pybase64.urlsafe_b64decode(signature + "=="), f"{header}.{payload}".encode())
    with pytest.raises(Refused):
        house.services.verifier.verify(token)


def test_what_is_not_acknowledged_comes_again_and_what_is_never_does(house: House, receiver: Receiver) -> None:
    """RFC 8936 §2.4: also an event that could not be used; and in the order in which it happened."""
    end_sessions(house, 3)
    first, _ = receiver.poll()
    assert receiver.poll()[0].keys() == first.keys()
    one, two, three = first
    assert list(receiver.poll(ack=[one])[0]) == [two, three]
    assert list(receiver.poll(ack=[three])[0]) == [two, three]  # two is missing still
    assert receiver.poll(ack=[three], setErrs={two: {"err": "jwtParse", "description": "x"}}) == ({}, False)
    assert receiver.poll() == ({}, False)
    [refused] = [event for event in house.events() if event["event"] == "event.received"]
    assert (refused["reason"], refused["service"]) == ("jwtParse", "siem")


def test_a_receiver_gets_as_many_as_it_asks_for(house: House, receiver: Receiver) -> None:
    """And is told that there are more; none at all, when it only acknowledges."""
    end_sessions(house, 3)
    sets, more = receiver.poll(maxEvents=2)
    assert (len(sets), more) == (2, True)
    assert receiver.poll(maxEvents=0, ack=list(sets)) == ({}, True)
    sets, more = receiver.poll(maxEvents=2)
    assert (len(sets), more) == (1, False)


def test_receivers_have_places_of_their_own(house: House, receiver: Receiver) -> None:
    """What one has acknowledged, the other one still gets."""
    other = Receiver(house, "other")
    end_sessions(house)
    sets, _ = receiver.poll()
    assert receiver.poll(ack=list(sets)) == ({}, False)
    assert other.poll()[0].keys() == sets.keys()


def test_users_and_tenants_are_subjects_and_the_rest_is_passed_over(house: House, receiver: Receiver) -> None:
    """What CAEP has no event for does not hold up what comes after it."""
    [user] = [found for found, _ in house.services.users.list_users(house.default.id, after="", count=10)]
    acts = house.services.administration
    for _ in range(2):
        house.logged_in()
    acts.change_user(house.default.id, user.id, roles=("read-only",), by=None, trace=Trace())
    acts.change_user(house.default.id, user.id, status="disabled", by=None, trace=Trace())
    acts.revoke_key(house.services.ring.active_kid("access"), keep_sessions=True, trace=Trace())
    acts.suspend(house.default.id, by=None, trace=Trace())
    sets, _ = receiver.poll()
    subjects = [claims_of(token)["sub_id"] for token in sets.values()]
    tenant = {"format": "opaque", "id": str(house.default.id)}
    issuer = house.settings.issuer
    assert subjects == [
        {"format": "complex", "user": {"format": "iss_sub", "iss": issuer, "sub": str(user.id)}, "tenant": tenant},
        {"format": "complex", "tenant": tenant},
    ]
    assert receiver.poll(ack=list(sets)) == ({}, False)


def test_who_waits_gets_the_event_when_it_happens(house: House, receiver: Receiver) -> None:
    """Unless it is told to return at once."""
    with Crew(1) as crew:
        waiting = crew.submit(receiver.poll, returnImmediately=False)
        end_sessions(house)
        sets, _ = waiting.result(LONG)
    assert len(sets) == 1


def test_a_receiver_needs_a_credential_also_where_the_feed_is_open(house: House) -> None:
    """Its place is kept with it."""
    assert house.client().get("/api/revocations").status_code == 200
    assert house.client().post(PATH, {"returnImmediately": True}).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        {"maxEvents": -1},
        {"maxEvents": "1"},
        {"ack": "x"},
        {"ack": [1]},
        {"ack": ["x"] * 201},
        {"setErrs": {"x": {}}},
        {"returnImmediately": 1},
        {"more": 1},
    ],
    ids=json.dumps,
)
def test_what_no_receiver_may_send_is_refused(sqlite_house: House, body: dict[str, Any]) -> None:
    """With the name of what is wrong."""
    made = sqlite_house.services.guards.create("siem", scopes=["feed"], trace=Trace())
    client = sqlite_house.client(headers={"Authorization": f"Bearer {made.text}"})
    answer = client.post(PATH, body)
    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["pointer"].startswith("/" + next(iter(body)))
