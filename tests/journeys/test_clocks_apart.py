"""Two nodes whose clocks are a little apart: what one has just done has happened for the other, too."""

from collections.abc import Iterator

import pytest

from payymo.health.model import CLOCK_DEGRADED_SECONDS
from payymo.sessions.model import APART_SECONDS
from payymo_guard.verify import AHEAD_SECONDS
from tests.support.house import PASSWORD, START, Client, Database, FakeClock, House

NEW_PASSWORD = "Orchid-Lantern-Verse-41"


def test_what_health_calls_ok_is_what_sessions_and_guards_allow() -> None:
    """Nobody is refused for a clock that nobody is told of."""
    assert CLOCK_DEGRADED_SECONDS == APART_SECONDS == AHEAD_SECONDS


@pytest.fixture(params=[APART_SECONDS, 1, -1, -APART_SECONDS])
def nodes(database: Database, request: pytest.FixtureRequest) -> Iterator[tuple[House, House]]:
    """The first one's clock is so many seconds ahead of the other's."""
    built = tuple(House(database, clock=FakeClock(now)) for now in (START + request.param, START))
    yield built[0], built[1]
    for house in built:
        house.close()


def _moved(client: Client, house: House) -> Client:
    """The same client, at another node."""
    there = house.client()
    there.access_token, there.refresh_token = client.access_token, client.refresh_token
    return there


def test_a_client_that_is_quick_is_understood_by_the_other_node(nodes: tuple[House, House]) -> None:
    """A token of this moment counts there, its refresh is one, and a retry of that gets the same successor."""
    here, there = nodes
    here.user("alice")
    first = here.logged_in()
    consumed = first.refresh_token
    assert _moved(first, there).get("/api/auth/me").status_code == 200
    successor = first.refresh().get_json()["data"]["refresh_token"]
    assert successor != consumed
    retried = _moved(first, there)
    assert retried.refresh(consumed).get_json()["data"]["refresh_token"] == successor
    assert retried.refresh().status_code == 200


def test_a_password_that_was_just_given_is_not_asked_for_again_there(nodes: tuple[House, House]) -> None:
    """A login of this moment is a fresh one for the other node, too."""
    here, there = nodes
    here.user("alice")
    client = _moved(here.logged_in(), there)
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    assert client.post("/api/auth/password/change", body).status_code == 200
