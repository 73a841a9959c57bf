"""Routes for services: who gets in, what is counted, what is told. And introspection, which may be asked by one."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Blueprint, Flask
from werkzeug.test import TestResponse

from payymo.logs import Trace
from payymo.web.caller import Caller
from payymo.web.mount import mount_services
from payymo.web.openapi import describe, docs_page
from payymo.web.routing import Output, route
from tests.support.house import Database, House
from tests.web.scene import faults_of

VERIFY = "/api/auth/token/verify"
LIMITS = {"limits": {"enabled": True, "service": "3/minute", "verify": "2/minute"}}


class Seen(Output):
    """Who the route saw."""

    service: str | None


class ProbeApi:
    """One route as the revocation feed declares it."""

    @route("GET", "/api/probe", limit="service", authentication="service", scope="feed")
    def probe(self, caller: Caller) -> Seen:
        """Say who asks."""
        return Seen(service=caller.service.name if caller.service else None)


class Stand:
    """A house with a route for services, and two credentials."""

    def __init__(self, database: Database, **settings: Any) -> None:
        self.house = House(database, **settings)
        self.app = Flask("probe")
        blueprint = Blueprint("probe", "probe")
        self.mount = mount_services(self.house.services, blueprint, has_pages=False)
        self.mount.mount(blueprint, ProbeApi())
        self.app.register_blueprint(blueprint)
        self.app.after_request(self.mount.add_request_id)
        self.follower, self.asker = (
            self.house.services.guards.create(scope, scopes=[scope], trace=Trace()).text
            for scope in ("feed", "introspection")
        )

    def get(self, text: str | None = None, *, address: str = "10.0.0.1") -> TestResponse:
        """Ask the route."""
        headers = {"Authorization": f"Bearer {text}"} if text is not None else {}
        return self.app.test_client().get("/api/probe", headers=headers, environ_base={"REMOTE_ADDR": address})

    def verify(self, token: str, text: str | None = None, *, address: str = "10.0.0.1") -> TestResponse:
        """Introspect a token."""
        headers = {"Authorization": f"Bearer {text}"} if text is not None else {}
        return self.app.test_client().post(
            VERIFY, json={"token": token}, headers=headers, environ_base={"REMOTE_ADDR": address}
        )


@pytest.fixture
def stand(database: Database) -> Iterator[Stand]:
    built = Stand(database)
    yield built
    built.house.close()


@pytest.fixture
def limited(sqlite_database: Database) -> Iterator[Stand]:
    built = Stand(sqlite_database, **LIMITS)
    yield built
    built.house.close()


@pytest.fixture
def token(limited: Stand) -> str:
    """An access token of somebody."""
    limited.house.user("alice")
    pair = limited.house.logged_in("alice")
    assert pair.access_token is not None
    return pair.access_token


def code(answer: TestResponse) -> tuple[int, str | None]:
    return answer.status_code, (answer.get_json() or {}).get("code")


def test_a_service_is_let_in_by_its_credential(stand: Stand) -> None:
    """And the route knows which one it was."""
    assert stand.get(stand.follower).get_json() == {"data": {"service": "feed"}}


def test_without_a_credential_nobody_gets_in_but_from_an_open_network(stand: Stand) -> None:
    """401 and a plain challenge (RFC 6750 §3); the loopback is open in development."""
    answer = stand.get()
    assert code(answer) == (401, "missing_token")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="payymo"'
    assert "payymo_" in answer.get_json()["detail"]
    assert stand.get(address="127.0.0.1").get_json() == {"data": {"service": None}}


def test_a_user_is_no_service(stand: Stand) -> None:
    """An access token is no service credential, and a service credential no access token."""
    stand.house.user("root", roles=("platform-administrator",))
    admin = stand.house.logged_in("root")
    assert code(stand.get(admin.access_token)) == (401, "invalid_token")
    service = stand.house.client(headers={"Authorization": f"Bearer {stand.follower}"})
    for path in ("/api/auth/me", "/api/admin/users", "/api/admin/tenants"):
        assert code(service.get(path)) == (401, "invalid_token")
    assert code(service.post("/api/auth/logout")) == (401, "invalid_token")


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1"])
def test_a_bad_credential_is_refused_wherever_it_comes_from(stand: Stand, address: str) -> None:
    """Also where none is needed; and the log says why, to the operator alone."""
    stand.house.services.guards.revoke("feed", trace=Trace())
    answer = stand.get(stand.follower, address=address)
    assert code(answer) == (401, "invalid_token")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="payymo", error="invalid_token"'
    assert "revoked" not in answer.get_data(as_text=True)
    [logged] = [e for e in stand.house.events() if e["event"] == "request.invalid_token"]
    assert (logged["reason"], logged["address"]) == ("service credential feed: revoked", address)
    assert stand.follower[-20:] not in stand.house.log_lines.getvalue()


def test_a_credential_without_the_scope_is_refused(stand: Stand) -> None:
    """403, and a line in the log with the name."""
    answer = stand.get(stand.asker)
    assert code(answer) == (403, "insufficient_scope")
    [logged] = [e for e in stand.house.events() if e["event"] == "permission.required"]
    assert logged["reason"] == "service credential introspection: lacks feed"


def test_a_proxy_that_is_not_trusted_does_not_bring_strangers_in(stand: Stand) -> None:
    """The address is the connection's: nobody claims to be from an open network."""
    answer = stand.app.test_client().get(
        "/api/probe", headers={"X-Forwarded-For": "127.0.0.1"}, environ_base={"REMOTE_ADDR": "203.0.113.9"}
    )
    assert code(answer) == (401, "missing_token")


@pytest.mark.parametrize(
    ("trusted", "forwarded", "status"),
    [
        ((), None, 200),
        ((), "203.0.113.9", 401),
        (("127.0.0.1/32",), None, 200),
        (("127.0.0.1/32",), "127.0.0.1", 200),
        (("127.0.0.1/32",), "203.0.113.9", 401),
        (("127.0.0.1/32",), "203.0.113.9:4711", 401),
        (("127.0.0.1/32",), "127.0.0.1, unknown", 401),
        (("127.0.0.1/32",), "", 200),
        (("10.0.0.0/8",), "10.0.0.1", 401),
    ],
)
def test_a_network_that_is_open_is_not_opened_by_a_proxy_in_it(
    sqlite_database: Database, trusted: tuple[str, ...], forwarded: str | None, status: int
) -> None:
    """Some proxies write a port behind the address, and some are not known to us: all the world comes by them."""
    stand = Stand(sqlite_database, trusted_proxies=trusted)
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    answer = stand.app.test_client().get("/api/probe", headers=headers, environ_base={"REMOTE_ADDR": "127.0.0.1"})
    stand.house.close()
    assert answer.status_code == status


def test_services_are_counted_by_credential(limited: Stand) -> None:
    """Not by address: many stand behind one; and one that asks too much is in nobody else's way."""
    other = limited.house.services.guards.create("other", scopes=["feed"], trace=Trace()).text
    for number in range(3):
        answer = limited.get(limited.follower, address=f"10.0.0.{number}")
        assert answer.status_code == 200
        assert answer.headers["RateLimit"].startswith(f'"service";r={2 - number}')
    refused = limited.get(limited.follower, address="10.0.0.9")
    assert code(refused) == (429, "too_many_requests")
    assert int(refused.headers["Retry-After"]) > 0
    assert limited.get(other, address="10.0.0.1").status_code == 200


def test_those_without_a_credential_are_counted_by_address(limited: Stand) -> None:
    """In an open network."""
    for _ in range(3):
        assert limited.get(address="127.0.0.1").status_code == 200
    assert limited.get(address="127.0.0.1").status_code == 429
    assert limited.get(address="127.0.0.2").status_code == 200


def test_refusals_are_counted_by_address_and_never_use_a_credential_up(limited: Stand) -> None:
    """A stranger who knows an identifier does not shut its owner out, and is shut out himself."""
    forged = limited.follower[:-43] + "A" * 43
    statuses = [limited.get(forged, address="10.0.0.66").status_code for _ in range(5)]
    assert statuses == [401, 401, 401, 429, 429]
    assert [limited.get(limited.asker, address="10.0.0.67").status_code for _ in range(4)] == [403, 403, 403, 429]
    assert limited.get(limited.follower, address="10.0.0.66").status_code == 200


def test_introspection_with_a_credential_is_counted_by_it(limited: Stand, token: str) -> None:
    """Instead of by address: a resource server asks for all of its users."""
    for number in range(3):
        answer = limited.verify(token, limited.asker)
        assert answer.status_code == 200
        assert answer.headers["RateLimit"].startswith(f'"service";r={2 - number}')
    assert limited.verify(token, limited.asker).status_code == 429
    assert limited.verify(token).status_code == 200


def test_introspection_without_a_credential_is_as_it_was(limited: Stand, token: str) -> None:
    """By address, also from an open network; and a user's own token beside it means nothing."""
    for _ in range(2):
        answer = limited.verify(token, address="127.0.0.1")
        assert (answer.status_code, answer.headers["RateLimit"][:8]) == (200, '"verify"')
    assert limited.verify(token, address="127.0.0.1").status_code == 429
    assert limited.verify(token, token, address="10.0.0.2").status_code == 200
    assert limited.verify(token, "nonsense", address="10.0.0.2").status_code == 200


def test_introspection_with_a_bad_credential_is_refused(limited: Stand, token: str) -> None:
    """Whoever brings one means it: 401, and 403 without the scope; and the token is not even looked at."""
    assert code(limited.verify(token, limited.asker[:-43] + "A" * 43)) == (401, "invalid_token")
    assert code(limited.verify(token, "payymo_x")) == (401, "invalid_token")
    assert code(limited.verify(token, limited.follower)) == (403, "insufficient_scope")
    assert code(limited.verify("x", limited.asker, address="10.0.0.3")) == (401, "invalid_token")


def test_a_refusal_of_a_service_looks_like_every_other(stand: Stand) -> None:
    """A problem document; the headers of the application are the application's."""
    for answer, status in ((stand.get(), 401), (stand.get(stand.asker), 403)):
        assert [fault for fault in faults_of(answer, status) if not fault.startswith("no ")] == []


def test_the_document_shows_who_has_to_bring_a_credential_and_who_may(stand: Stand) -> None:
    """A scheme of its own; and the page for people says it, too."""
    document = describe(stand.mount.routes)
    probe, verify = document["paths"]["/api/probe"]["get"], document["paths"][VERIFY]["post"]
    assert (probe["security"], probe["x-scope"]) == ([{"service": []}], "feed")
    assert (verify["security"], verify["x-scope"]) == ([{}, {"service": []}], "introspection")
    assert {"401", "403", "429"} <= set(probe["responses"])
    assert document["components"]["securitySchemes"]["service"]["scheme"] == "bearer"
    assert "service credential with scope <code>feed</code>" in docs_page(document)
    assert "x-scope" not in json.dumps(document["paths"]["/api/auth/me"])


def test_a_token_whose_permissions_have_changed_is_not_vouched_for(house: House) -> None:
    """Invariant 11: who asks goes by the permissions in it, as a guard does that is cut off from the feed."""
    user = house.user("alice", roles=("tenant-administrator",))
    client = house.logged_in()
    assert client.post(VERIFY, {"token": client.access_token}).status_code == 200
    house.services.administration.change_user(house.default.id, user.id, roles=("member",), by=None, trace=Trace())
    assert client.post(VERIFY, {"token": client.access_token}).status_code == 401
    client.refresh()
    assert client.post(VERIFY, {"token": client.access_token}).status_code == 200
