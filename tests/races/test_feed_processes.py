"""The feed between processes: followers hold no threads, hear of what other nodes did, and keep nobody from ending."""

import time
from typing import Any

import httpx
import pytest

from tests.support.crew import Crew
from tests.support.house import Database, House
from tests.support.processes import Server, bearer, log_in, servers

FOLLOWERS = 24
LONG = 20


@pytest.fixture(autouse=True)
def _alice(database: Database) -> None:
    house = House(database)
    house.user("alice")
    house.close()


def ask(server: Server, **query: Any) -> dict[str, Any]:
    with server.client() as client:
        answer = client.get("/api/revocations", params=query, timeout=LONG * 2)
        assert answer.status_code == 200, answer.text
        data: dict[str, Any] = answer.json()["data"]
        return data


def end_a_session(client: httpx.Client) -> None:
    token = log_in(client)["access_token"]
    assert client.post("/api/auth/logout", headers=bearer(token)).status_code == 200


def test_followers_of_all_nodes_hear_of_it_and_hold_no_thread(database: Database) -> None:
    """Invariant 1: what one node was told, the guards of all are told; with two threads, and many who wait."""
    with servers(database, 2, PAYYMO_SERVER__THREADS="2") as nodes, Crew(FOLLOWERS) as crew:
        place = ask(nodes[0])["cursor"]
        waiting = [crew.submit(ask, nodes[n % 2], after=place, wait=LONG) for n in range(FOLLOWERS)]
        with nodes[0].client() as client:
            end_a_session(client)
        for one in waiting:
            found = one.result(LONG * 2)
            assert [entry["seq"] for entry in found["entries"]] == [1]
            assert found["waited_seconds"] < LONG


def test_a_server_that_ends_does_not_wait_for_followers(database: Database) -> None:
    """Invariant 21: they get an answer, and it is gone long before their wait is over."""
    with servers(database, 1) as [server], Crew(8) as crew:
        place = ask(server)["cursor"]
        waiting = [crew.submit(ask, server, after=place, wait=LONG) for _ in range(8)]
        time.sleep(1)
        server.terminate()
        for one in waiting:
            found = one.result(LONG)
            assert (found["cursor"], found["entries"]) == (place, [])
            assert found["waited_seconds"] < LONG - 5
