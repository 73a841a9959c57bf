"""Rotation, and what those who follow the feed say that they hold: end to end, over two processes."""

import io
from collections.abc import Iterator

import pytest

from payymo.compose import compose
from payymo.errors import Conflict
from payymo.keys.model import PATIENCE, SPREAD_SECONDS, find_one
from payymo.logs import SecurityLog, Trace
from tests.support.house import Database, House, settings_for

LIFE = 300
EVERY = 900


@pytest.fixture
def pair(database: Database) -> Iterator[tuple[House, House]]:
    """Two processes of one service, with keys that were made a moment ago."""
    here = House(database, keys={"rotate_every_seconds": EVERY, "jwks_max_age_seconds": LIFE})
    there = House(database, clock=here.clock, keys={"rotate_every_seconds": EVERY, "jwks_max_age_seconds": LIFE})
    here.services.ring.rotate("access", at_once=True)
    yield here, there
    here.close()
    there.close()


def kids(house: House) -> tuple[str, str]:
    """The active and the next key of access tokens."""
    keys = house.services.ring.list_keys()
    active, following = find_one(keys, "access", "active"), find_one(keys, "access", "next")
    assert active is not None
    assert following is not None
    return active.kid, following.kid


def say(house: House, follower: str, *held: str) -> None:
    """A follower asks for the feed, and says what it holds."""
    house.services.guards.report(follower, credential=None, address="10.0.0.1", seq=0, kids=held)


def test_a_rotation_waits_for_a_guard_that_lacks_the_key(pair: tuple[House, House]) -> None:
    """Invariant 12: published is good, held is better. What one process was told, the other one heeds."""
    here, there = pair
    active, following = kids(here)
    here.clock.advance(EVERY)
    say(there, "guard-one", active, following)
    say(there, "guard-two", active)
    here.services.do_duties(Trace())
    with pytest.raises(Conflict):
        here.services.ring.rotate("access")
    assert kids(here)[0] == active
    say(there, "guard-two", active, following)
    here.services.do_duties(Trace())
    assert kids(here)[0] == following


def test_a_rotation_by_hand_waits_for_it_too_and_can_be_forced(pair: tuple[House, House]) -> None:
    """The operator is told for how long at most."""
    here, there = pair
    active, following = kids(here)
    here.clock.advance(LIFE + SPREAD_SECONDS)
    say(there, "guard-one", active)
    with pytest.raises(Conflict, match=f"in {(PATIENCE - 1) * LIFE} seconds"):
        here.services.ring.rotate("access")
    assert here.services.ring.rotate("access", at_once=True) == following


def test_who_does_not_report_any_more_is_covered_by_the_life_of_a_key_set(pair: tuple[House, House]) -> None:
    """A guard that was switched off holds nothing up for longer; to the second."""
    here, there = pair
    active, following = kids(here)
    here.clock.advance(EVERY)
    say(there, "guard-one", active)
    here.clock.advance(LIFE)
    here.services.do_duties(Trace())
    assert kids(here)[0] == active
    here.clock.advance(1)
    here.services.do_duties(Trace())
    assert kids(here)[0] == following


def test_who_goes_on_reporting_an_old_set_does_not_hold_a_rotation_up_for_ever(pair: tuple[House, House]) -> None:
    """Broken or hostile: ten lives, and no more."""
    here, there = pair
    active, following = kids(here)
    limit = PATIENCE * LIFE + SPREAD_SECONDS
    here.clock.advance(limit - 1)
    say(there, "guard-one", active)
    with pytest.raises(Conflict):
        here.services.ring.rotate("access")
    here.clock.advance(1)
    say(there, "guard-one", active)
    assert here.services.ring.rotate("access") == following


def test_no_report_makes_a_key_known_before_its_time(pair: tuple[House, House]) -> None:
    """Those who don't report have to be able to fetch it, too."""
    here, there = pair
    say(there, "guard-one", *kids(here))
    with pytest.raises(Conflict):
        here.services.ring.rotate("access")
    here.clock.advance(LIFE + SPREAD_SECONDS)
    assert here.services.ring.rotate("access")


def test_a_revoked_key_is_followed_at_once_whoever_lacks_the_next(pair: tuple[House, House]) -> None:
    """Somebody else may have it: nobody is waited for."""
    here, there = pair
    active, following = kids(here)
    say(there, "guard-one", active)
    here.services.ring.revoke(active)
    assert kids(here)[0] == following


def test_a_rotation_needs_one_connection(sqlite_database: Database) -> None:
    """A pool of one is allowed: what is asked beside a transaction would wait for ever."""
    settings = settings_for(sqlite_database)
    narrow = settings.database.model_copy(update={"pool_size": 1, "timeout_seconds": 5})
    settings = settings.model_copy(update={"database": narrow})
    services = compose(settings, log=SecurityLog(stream=io.StringIO()))
    assert services.ring.rotate("access", at_once=True)
    services.ring.rotate_due()
    services.close()
