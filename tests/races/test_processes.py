"""Two server processes on one database: what one was told, the other knows; what was answered, survives a kill."""

import base64
import json
import threading
import time

import httpx
import pytest

from payymo.clock import system_clock
from payymo.keys.model import PURPOSES
from payymo_guard import VerificationKey, Verifier
from tests.support.crew import Crew
from tests.support.house import Database, House
from tests.support.processes import ISSUER, bearer, log_in, servers

ON_ONE = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
"""For what does not depend on the database, and takes its time."""


@pytest.fixture(autouse=True)
def _alice(database: Database) -> None:
    house = House(database)
    house.user("alice")
    house.close()


def refresh(client: httpx.Client, token: str) -> httpx.Response:
    return client.post("/api/auth/refresh", json={"refresh_token": token})


def test_a_logout_on_one_node_is_refused_on_the_other_at_once(database: Database) -> None:
    """Invariant 1, between two processes, without any wait."""
    with servers(database, 2) as (one, two), one.client() as here, two.client() as there:
        for _ in range(5):
            tokens = log_in(here)
            assert there.get("/api/auth/me", headers=bearer(tokens["access_token"])).status_code == 200
            assert here.post("/api/auth/logout", headers=bearer(tokens["access_token"])).status_code == 200
            assert there.get("/api/auth/me", headers=bearer(tokens["access_token"])).status_code == 401
            assert refresh(there, tokens["refresh_token"]).status_code == 401


def test_one_refresh_token_has_one_successor_on_two_nodes(database: Database) -> None:
    """Invariant 3 (CVE-2026-1035): parallel refreshes over two processes get the same successor or a refusal."""
    with servers(database, 2) as (one, two), one.client() as here, two.client() as there:
        for _ in range(6):
            token = log_in(here)["refresh_token"]
            start = threading.Barrier(8)

            def present(number: int, token: str = token, start: threading.Barrier = start) -> httpx.Response:
                start.wait()
                return refresh((here, there)[number % 2], token)

            with Crew(8) as pool:
                answers = list(pool.map(present, range(8)))
            successors = {answer.json()["data"]["refresh_token"] for answer in answers if answer.status_code == 200}
            assert len(successors) == 1
            assert {answer.status_code for answer in answers} <= {200, 401}


def test_keys_rotate_under_traffic_without_a_failed_request(database: Database) -> None:
    """Invariants 12 and 14: logins, refreshes and checks go on on both nodes while a third process rotates."""
    operator = House(database, clock=system_clock)
    with servers(database, 2) as (one, two):
        stop = threading.Event()
        failures: list[str] = []

        rounds = [0, 0]

        def traffic(number: int) -> None:
            with (one, two)[number].client() as mine, (two, one)[number].client() as other:
                tokens = log_in(mine)
                while not stop.is_set():
                    answer = refresh(mine, tokens["refresh_token"])
                    if answer.status_code != 200:
                        failures.append(answer.text)
                        return
                    tokens = answer.json()["data"]
                    me = other.get("/api/auth/me", headers=bearer(tokens["access_token"]))
                    if me.status_code != 200:
                        failures.append(me.text)
                    rounds[number] += 1

        def let_both_come_round() -> None:
            before, deadline = list(rounds), time.monotonic() + 60
            while not failures and not all(now >= was + 2 for was, now in zip(before, rounds, strict=True)):
                assert time.monotonic() < deadline
                time.sleep(0.01)

        with Crew(2) as pool:
            running = [pool.submit(traffic, number) for number in range(2)]
            try:
                for purpose in PURPOSES * 2:
                    let_both_come_round()
                    operator.services.ring.ensure()
                    operator.services.ring.rotate(purpose, at_once=True)
                let_both_come_round()
            finally:
                stop.set()
            for done in running:
                done.result()
        assert failures == []
    operator.close()


@ON_ONE
def test_keys_rotate_by_themselves_under_traffic_without_a_failed_request(database: Database) -> None:
    """Invariants 12 and 14: two nodes and somebody who verifies offline, with a key set as old as it may be.

    The node that rotates is killed: the other one goes on rotating.
    """
    often = {
        "PAYYMO_KEYS__ROTATE_EVERY_SECONDS": "3",
        "PAYYMO_KEYS__JWKS_MAX_AGE_SECONDS": "1",
        "PAYYMO_SERVER__MAINTENANCE_SECONDS": "1",
    }
    with servers(database, 2, **often) as (one, two), one.client() as first, two.client() as second:
        guard = _Offline(second)
        tokens, kids, killed = log_in(second), [], False
        deadline = time.monotonic() + 90
        while len(kids) < 3 and time.monotonic() < deadline:
            answer = refresh(second, tokens["refresh_token"])
            assert answer.status_code == 200, answer.text
            tokens = answer.json()["data"]
            kid = guard.verify(tokens["access_token"])
            if kid not in kids:
                kids.append(kid)
            assert second.get("/api/auth/me", headers=bearer(tokens["access_token"])).status_code == 200
            if not killed:
                assert first.get("/api/auth/me", headers=bearer(tokens["access_token"])).status_code == 200
                log_in(first)
            if len(kids) == 2 and not killed:
                one.kill()
                killed = True
        assert len(kids) == 3, two.log_path.read_text()[-2000:]


class _Offline:
    """Verifies by a key set that it fetches when the last one has expired, and never for an unknown key."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._good_until = float("-inf")
        self._keys: dict[str, VerificationKey] = {}

    def verify(self, token: str) -> str:
        """The kid of a token that is good. Raises Refused."""
        if time.monotonic() >= self._good_until:
            answer = self._client.get("/.well-known/jwks.json")
            age = int(answer.headers["Cache-Control"].rpartition("max-age=")[2])
            self._good_until = time.monotonic() + age
            self._keys = {jwk["kid"]: VerificationKey.from_jwk(jwk) for jwk in answer.json()["keys"]}
        Verifier(issuer=ISSUER, audience="payymo-api", keys=self._keys.get).verify(token)
        kid: str = json.loads(base64.urlsafe_b64decode(token.partition(".")[0] + "=="))["kid"]
        return kid


@ON_ONE
def test_workers_follow_a_parent_that_was_killed(database: Database) -> None:
    """Nobody's workers would hold the port and answer beside the next server; that one starts as ever."""
    with servers(database, 1, PAYYMO_SERVER__WORKERS="2") as [server]:
        assert len(server.pids()) >= 3
        server.kill_parent()
        deadline = time.monotonic() + 20
        while server.pids() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert server.pids() == ()
        server.start()
        with server.client() as client:
            log_in(client)


def test_what_was_answered_survives_a_kill(database: Database) -> None:
    """Invariant 4 (CVE-2026-9802): after kill -9 a consumed token is still consumed, and the newest one still works."""
    with servers(database, 1, PAYYMO_TOKENS__GRACE_SECONDS="0") as [server]:
        with server.client() as client:
            chains = [[log_in(client)["refresh_token"]] for _ in range(3)]

        def storm(chain: list[str]) -> None:
            with server.client() as client:
                try:
                    while len(chain) < 1000:
                        answer = refresh(client, chain[-1])
                        assert answer.status_code == 200
                        chain.append(answer.json()["data"]["refresh_token"])
                        if len(chain) >= 4:
                            enough.release()
                except httpx.TransportError:
                    return

        enough = threading.Semaphore(0)
        with Crew(3) as pool:
            running = [pool.submit(storm, chain) for chain in chains]
            for _ in range(9):
                enough.acquire(timeout=60)
            server.kill()
            for done in running:
                done.result()

        server.start()
        with server.client() as client:
            for chain in chains:
                # The last answer may have been lost on its way: then the token is consumed, and ends its session.
                newest = refresh(client, chain[-1]).status_code
                assert newest in {200, 401}
                assert refresh(client, chain[0]).status_code == 401
                assert refresh(client, chain[-1]).status_code == 401


@ON_ONE
def test_sigterm_lets_requests_in_flight_finish(database: Database) -> None:
    """Invariant 21: acknowledged means done, and nobody gets half an answer."""
    with servers(database, 1) as [server]:
        outcomes: list[int] = []
        first, over = threading.Event(), threading.Event()

        def many() -> None:
            with server.client() as client:
                while not over.is_set():
                    try:
                        outcomes.append(
                            client.post("/api/auth/login", json={"email": "x@example.com", "password": "y"}).status_code
                        )
                    except httpx.TransportError:
                        return  # between two requests, the connection was closed
                    first.set()

        with Crew(2) as pool:
            running = [pool.submit(many) for _ in range(2)]
            try:
                assert first.wait(30)
                server.terminate()
                for done in running:
                    done.result(30)
            finally:
                over.set()
        assert set(outcomes) == {401}
