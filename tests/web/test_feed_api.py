"""GET /api/revocations: pages, waiting, and what a follower may send."""

import threading
from typing import Any

import pytest

from payymo.web.feed_api import WAITING_THREADS
from tests.support.crew import Crew
from tests.support.house import House

LONG = 15


def ask(house: House, query: str = "") -> dict[str, Any]:
    answer = house.client().get(f"/api/revocations{query}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    data: dict[str, Any] = answer.get_json()["data"]
    return data


def test_a_follower_goes_on_from_its_place(house: House) -> None:
    """From the beginning without one; an empty page is a heartbeat."""
    house.user("alice")
    first = ask(house)
    assert (first["entries"], first["restart"], first["more"], first["waited_seconds"]) == ([], False, False, 0.0)
    client = house.logged_in()
    claims = house.services.verifier.verify(client.access_token or "")
    client.post("/api/auth/logout")
    second = ask(house, f"?after={first['cursor']}")
    now = int(house.clock())
    assert second["entries"] == [
        {
            "seq": 1,
            "kind": "session",
            "id": claims.sid,
            "tenant_id": claims.tenant_id,
            "not_before": now,
            "expires_at": now + 960,
        }
    ]
    assert ask(house, f"?after={second['cursor']}")["entries"] == []
    assert ask(house)["entries"] == second["entries"]


def test_nobody_waits_where_one_thread_answers_everybody(sqlite_house: House) -> None:
    """A single follower would keep a whole process from answering anybody else."""
    place = ask(sqlite_house)["cursor"]
    answer = sqlite_house.client().http.get(f"/api/revocations?after={place}&wait={LONG}")  # PEP 3333: not multithread
    assert answer.get_json()["data"]["waited_seconds"] == 0.0


def test_who_waits_is_answered_when_there_is_news(house: House) -> None:
    """Where the server holds a thread meanwhile: the answer says for how long, and is measured from the news on."""
    house.user("alice")
    delivered: list[float] = []
    house.services.watch.observe(delivered.append)
    client = house.logged_in()
    place = ask(house)["cursor"]
    with Crew(1) as crew:
        waiting = crew.submit(ask, house, f"?after={place}&wait={LONG}")
        threading.Event().wait(0.3)
        assert not waiting.done()
        client.post("/api/auth/logout")
        found = waiting.result(LONG)
    assert [entry["kind"] for entry in found["entries"]] == ["session"]
    assert 0.2 < found["waited_seconds"] < LONG
    assert [0 < seconds < LONG for seconds in delivered] == [True]


def test_a_wait_without_news_is_a_heartbeat(house: House) -> None:
    """With the same place."""
    place, delivered = ask(house)["cursor"], list[float]()
    house.services.watch.observe(delivered.append)
    found = ask(house, f"?after={place}&wait=1")
    assert not delivered
    assert (found["cursor"], found["entries"]) == (place, [])
    assert found["waited_seconds"] >= 1


def test_followers_take_no_more_than_a_few_threads(house: House) -> None:
    """Whoever comes more is answered at once."""
    query = f"?after={ask(house)['cursor']}&wait=3"
    with Crew(WAITING_THREADS + 1) as crew:
        waiting = [crew.submit(ask, house, query) for _ in range(WAITING_THREADS + 1)]
        turned_away, *others = sorted(one.result(LONG)["waited_seconds"] for one in waiting)
    assert turned_away == 0
    assert min(others) >= 3


@pytest.mark.parametrize(
    "query",
    [
        "?after=",
        "?after=%00",
        "?after=" + "1" * 65,
        "?wait=21",
        "?wait=-1",
        "?wait=1.5",
        "?wait=x",
        "?follower=short",
        "?follower=" + "x" * 65,
        "?keys=a%20b",
        "?keys=" + "k" * 1101,
        "?more=1",
    ],
)
def test_what_a_follower_may_not_send_is_refused(sqlite_house: House, query: str) -> None:
    """With the name of what is wrong."""
    answer = sqlite_house.client().get(f"/api/revocations{query}")
    assert answer.status_code == 422
    [error] = answer.get_json()["errors"]
    assert error["pointer"] == "/" + query[1:].partition("=")[0]


def test_the_metadata_says_where_the_feed_is(sqlite_house: House) -> None:
    """A guard needs to know the issuer alone."""
    found = sqlite_house.client().get("/.well-known/payymo").get_json()
    assert found["revocations_uri"] == found["issuer"] + "/api/revocations"
    assert found["revocation_wait_seconds"] == 20
