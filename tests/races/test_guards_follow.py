"""Guards and the service, for real: what one node was told, every guard refuses; what comes after it, they let in."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from payymo_guard import Guard, Refused
from payymo_guard.verify import inspect
from tests.support.house import Database, House
from tests.support.processes import ISSUER, Server, bearer, command, log_in, servers

AUDIENCE = "payymo-api"
PATIENCE_SECONDS = 30
"""How long a busy machine may take. What an idle one takes is a matter of `make bench`."""


ON_ONE = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
"""For what does not depend on the database, and takes its time."""


@pytest.fixture(autouse=True)
def _alice(database: Database) -> None:
    house = House(database)
    house.user("alice")
    house.close()


@contextmanager
def guards(*nodes: Server, **settings: float) -> Iterator[list[Guard]]:
    """Two guards of each node."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                Guard(
                    issuer=ISSUER,
                    audience=AUDIENCE,
                    discovery_url=f"{node.base}/.well-known/payymo",
                    start_seconds=PATIENCE_SECONDS,
                    **settings,
                )
            )
            for node in nodes
            for _ in range(2)
        ]


def verdict(guard: Guard, token: str) -> str:
    try:
        guard.verify(token)
    except Refused as refused:
        return refused.code
    return "accepted"


def await_that(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.01)


def await_verdict(found: list[Guard], token: str, code: str) -> None:
    """All of them say so, and from then on no one says anything else."""
    await_that(lambda: {verdict(guard, token) for guard in found} == {code})
    assert {verdict(guard, token) for guard in found} == {code}


def test_a_logout_is_refused_by_every_guard(database: Database) -> None:
    """Invariants 1 and 2: of the node that was asked, and of the other one; who logs in again is let in at once."""
    with servers(database, 2) as nodes, guards(*nodes) as found, nodes[0].client() as client:
        tokens = [log_in(client)["access_token"] for _ in range(3)]
        for token in tokens:
            assert {verdict(guard, token) for guard in found} == {"accepted"}
        assert client.post("/api/auth/logout", headers=bearer(tokens[0])).status_code == 200
        await_verdict(found, tokens[0], "token_revoked")
        assert {verdict(guard, tokens[1]) for guard in found} == {"accepted"}
        everywhere = client.post("/api/auth/logout", headers=bearer(tokens[1]), json={"everywhere": True})
        assert everywhere.status_code == 200
        again = log_in(client)["access_token"]
        for token in tokens[1:]:
            await_verdict(found, token, "token_revoked")
        assert {verdict(guard, again) for guard in found} == {"accepted"}


@ON_ONE
def test_what_was_taken_away_is_refused_until_the_client_refreshes(database: Database) -> None:
    """Invariant 11: a token of before says more than its user may do."""
    with servers(database, 1) as nodes, guards(*nodes) as found, nodes[0].client() as client:
        tokens = log_in(client)
        assert {verdict(guard, tokens["access_token"]) for guard in found} == {"accepted"}
        command(database, "user", "roles", "alice@example.com", "--role", "read-only")
        await_verdict(found, tokens["access_token"], "permissions_changed")
        fresh = client.post("/api/auth/refresh", json={"refresh_token": tokens["refresh_token"]}).json()["data"]
        claims = [guard.verify(fresh["access_token"]) for guard in found]
        assert {one.permissions for one in claims} == {("account:read",)}


@ON_ONE
def test_a_compromised_key_is_forgotten_by_every_guard(database: Database) -> None:
    """Invariant 12: long before the key set that they hold has expired; its successor is known at once."""
    with servers(database, 2) as nodes, guards(*nodes) as found, nodes[1].client() as client:
        token = log_in(client)["access_token"]
        assert {verdict(guard, token) for guard in found} == {"accepted"}
        keys = json.loads(command(database, "key", "list", "--json"))
        [active] = [key["kid"] for key in keys if (key["purpose"], key["state"]) == ("access", "active")]
        command(database, "key", "revoke", active, "--compromised", "--yes")
        await_verdict(found, token, "key_revoked")

        def is_back() -> bool:
            answer = client.post("/api/auth/login", json={"email": "alice@example.com", "password": "x" * 20})
            return answer.status_code == 401

        assert is_back()
        fresh = log_in(client)["access_token"]
        await_verdict(found, fresh, "accepted")


@ON_ONE
def test_a_guard_that_is_cut_off_refuses_and_finds_its_way_back(database: Database) -> None:
    """Invariants 1 and 25: when its limit is reached, and again when the server is back: without a human act."""
    with servers(database, 1) as [server], guards(server, max_stale_seconds=2) as found:
        with server.client() as client:
            kept, ended = (log_in(client)["access_token"] for _ in range(2))
        assert {verdict(guard, token) for guard in found for token in (kept, ended)} == {"accepted"}
        server.kill()
        await_verdict(found, kept, "revocations_stale")
        session_id = str(inspect(ended).untrusted_claims["sid"])
        command(database, "session", "end", "alice@example.com", session_id, "--yes")
        server.start()
        await_verdict(found, kept, "accepted")
        assert {verdict(guard, ended) for guard in found} == {"token_revoked"}


@ON_ONE
def test_guards_need_a_credential_where_the_feed_is_not_open(database: Database) -> None:
    """Made at the console; a revoked one lets nobody follow, and what is stale is refused."""
    closed = {"PAYYMO_FEED__OPEN_TO": "[]"}
    made = json.loads(command(database, "service", "create", "shop", "--scope", "feed", "--json"))
    with servers(database, 1, **closed) as [server], server.client() as client:
        settings = {
            "issuer": ISSUER,
            "audience": AUDIENCE,
            "discovery_url": f"{server.base}/.well-known/payymo",
            "max_stale_seconds": 2,
        }
        assert httpx.get(f"{server.base}/api/revocations").status_code == 401
        token = log_in(client)["access_token"]
        with Guard(**settings) as stranger, Guard(credential=made["credential"], **settings) as shop:
            await_verdict([shop], token, "accepted")
            assert verdict(stranger, token) == "revocations_stale"
            await_that(lambda: "shop" in command(database, "guard", "list", "--json"))
            command(database, "service", "revoke", "shop", "--yes")
            await_verdict([shop], token, "revocations_stale")


@ON_ONE
def test_keys_change_when_the_guards_hold_the_next_one(database: Database) -> None:
    """Invariant 12: observed, not hoped for; and no token is refused on the way."""
    often = {
        "PAYYMO_KEYS__ROTATE_EVERY_SECONDS": "3",
        "PAYYMO_KEYS__JWKS_MAX_AGE_SECONDS": "1",
        "PAYYMO_SERVER__MAINTENANCE_SECONDS": "1",
    }
    with servers(database, 2, **often) as nodes, guards(*nodes) as found, nodes[0].client() as client:
        kids: set[str] = set()

        def has_turned() -> bool:
            token = log_in(client)["access_token"]
            assert {verdict(guard, token) for guard in found} == {"accepted"}
            kids.add(json.loads(command(database, "token", "inspect", token, "--json"))["kid"])
            return len(kids) >= 3

        await_that(has_turned)
