"""A node that was not given the next master key, and goes on while that takes the place of the present one."""

from collections.abc import Iterator

import pytest

from payymo.errors import Unavailable
from payymo.logs import Trace
from payymo.secrets.master import write_key
from tests.support.house import Database, House

HOUR = 3600
NEXT_KEY = write_key(bytes(range(32, 64)), development=False)


@pytest.fixture
def left_out(database: Database) -> Iterator[House]:
    """It runs, has opened what it needed so far, and was forgotten."""
    house = House(database)
    house.user("alice")
    house.logged_in()
    assert house.services.health.health().findings["keys"].standing == "ok"
    house.clock.advance(HOUR)
    other = House(database, clock=house.clock, next_master_key=NEXT_KEY)
    following = other.services.next_master_key
    assert following is not None
    other.services.master_rotation.run(following, progress=lambda *_: None, trace=Trace())
    other.services.reencryption.run(progress=lambda *_: None, pause=lambda _: None, trace=Trace())
    other.close()
    house.clock.advance(60)
    yield house
    house.close()


def test_people_log_in_there_as_ever(left_out: House) -> None:
    """Their events are on record without what is personal, as when who keeps the key is away; also in a new tenant."""
    assert left_out.logged_in().refresh().status_code == 200
    acme = left_out.tenant("acme")
    assert left_out.client(tenant=acme.slug).register("bob").status_code == 201
    with pytest.raises(Unavailable):
        left_out.services.secrets.put("one", b"1", trace=Trace())


def test_health_says_so(left_out: House) -> None:
    """It serves, and would not start again: somebody has to look."""
    found = left_out.services.health.health().findings["keys"]
    assert found.standing == "degraded"
    assert "the master key is not the one" in found.reason
    assert found.remedy == "start this process again, with both master keys"
