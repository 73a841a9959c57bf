"""Limits of one's own, and how limits are used: on both databases, between processes, over HTTP."""

from typing import Any

import pytest

from payymo.errors import Conflict, InvalidInput, NotFound
from payymo.limits import overrides, usage
from payymo.limits.model import UsageKey, report, would_refuse
from payymo.logs import Trace
from tests.support.house import Client, Database, House
from tests.web.scene import contents

VERIFY = "/api/auth/token/verify"


def limited(database: Database, **limits: Any) -> House:
    """A house with two verifications a minute, on a proxy that tells addresses."""
    return House(
        database,
        limits={"enabled": True, "verify": "2/minute", "service": "2/minute", **limits},
        trusted_proxies=("127.0.0.0/8",),
    )


def passed(client: Client, tries: int = 8, **headers: str) -> int:
    """How many of so many verifications are not refused by a limit."""
    return [client.call("POST", VERIFY, {"token": "x"}, headers=headers).status_code for _ in range(tries)].count(401)


def test_a_tenant_a_network_and_a_service_have_limits_of_their_own(database: Database) -> None:
    """The narrowest network counts before the tenant, the tenant before what is configured; a service may have none."""
    house = limited(database)
    acme = house.tenant("acme")
    own = house.services.limit_overrides
    own.set("verify", "3/minute", tenant_id=acme.id, trace=Trace())
    own.set("verify", "4/minute", client="192.0.2.0/24", trace=Trace())
    own.set("verify", "5/minute", client="192.0.2.7", trace=Trace())
    own.set("service", "exempt", service="asker", trace=Trace())
    anybody, at_acme = house.client(), house.client(tenant="acme")
    assert passed(anybody, **{"X-Forwarded-For": "203.0.113.1"}) == 2
    assert passed(at_acme, **{"X-Forwarded-For": "203.0.113.1"}) == 3
    assert passed(at_acme, **{"X-Forwarded-For": "192.0.2.1"}) == 4
    assert passed(anybody, **{"X-Forwarded-For": "192.0.2.7"}) == 5
    for name, expected in (("asker", 8), ("other", 2)):
        text = house.services.guards.create(name, scopes=["introspection"], trace=Trace()).text
        house.clock.advance(2)
        assert passed(house.client(), Authorization=f"Bearer {text}") == expected
    own.unset("verify", tenant_id=acme.id, trace=Trace())
    assert passed(at_acme, **{"X-Forwarded-For": "203.0.113.3"}) == 2
    assert [one.whose for one in own.list_all()] == ["network:192.0.2.0/24", "network:192.0.2.7/32", "service:asker"]
    house.close()


def test_a_running_process_takes_up_what_another_one_sets(database: Database) -> None:
    """Within two seconds, and not a moment of no limit in between."""
    house = limited(database)
    client = house.client()
    assert passed(client) == 2
    other = House(database)
    other.services.limit_overrides.set("verify", "6/minute", client="127.0.0.1", trace=Trace())
    other.close()
    assert passed(client) == 0
    house.clock.advance(2)
    assert passed(client) == 6
    house.close()


def test_exceptions_are_spelt_strictly_and_are_a_bounded_number(
    sqlite_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit that nobody can read, or one for nobody, is refused; only a service can be exempt."""
    own = sqlite_house.services.limit_overrides
    before = contents(sqlite_house)
    for tier, limits, client in (
        ("login", "20 per minute", "192.0.2.1"),
        ("login", "exempt", "192.0.2.1"),
        ("everything", "20/minute", "192.0.2.1"),
        ("login", "20/minute", "somewhere"),
    ):
        with pytest.raises(InvalidInput):
            own.set(tier, limits, client=client, trace=Trace())
    with pytest.raises(NotFound):
        own.unset("login", client="192.0.2.1", trace=Trace())
    assert contents(sqlite_house) == before
    monkeypatch.setattr(overrides, "AT_MOST", 1)
    own.set("login", "20/minute", client="192.0.2.1", trace=Trace())
    with pytest.raises(Conflict):
        own.set("login", "20/minute", client="192.0.2.2", trace=Trace())


@pytest.mark.parametrize(
    ("tier", "whose"),
    [("verify", {"service": "asker"}), ("login", {"service": "asker"}), ("mail", {"client": "192.0.2.0/24"})],
    ids=["verifications", "logins", "letters"],
)
def test_a_limit_that_would_hold_for_nobody_is_refused(sqlite_house: House, tier: str, whose: dict[str, str]) -> None:
    """A service is counted as `service` whatever it asks, letters by who gets them: another limit changed nothing."""
    with pytest.raises(InvalidInput, match=r".+"):
        sqlite_house.services.limit_overrides.set(tier, "20/minute", **whose, trace=Trace())  # type: ignore[arg-type]
    assert sqlite_house.services.limit_overrides.list_all() == ()


def test_what_another_limit_would_refuse_of_who_comes_all_the_time(database: Database) -> None:
    """Six a minute for half an hour: a limit of five refuses one of six, and not all of them."""
    house = limited(database, verify="20/minute", store="database")
    other = limited(database, verify="5/minute", store="database")
    refused = 0
    for _ in range(30 * 6):
        assert passed(house.client(), 1) == 1
        refused += passed(other.client(), 1) == 0
        for each in (house, other):
            each.clock.advance(10)
    house.services.limit_usage.flush()
    [(key, tally)] = [
        (key, tally) for key, tally in house.services.limit_usage.read(days=1).items() if key.tier == "verify"
    ]
    found = report(key, tally)
    assert (found.windows, found.passed, found.p50, found.most) == (30, 180, 30, 30)
    assert would_refuse(key, tally, 5) == pytest.approx(refused, abs=3)
    assert would_refuse(key, tally, 6) == 0
    house.close()
    other.close()


def test_where_nobody_writes_the_latest_hours_are_kept(sqlite_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an application that runs for weeks: what was used three weeks ago would be all that is ever known."""
    monkeypatch.setattr(usage, "LIMITS_AT_MOST", 3)
    kept = sqlite_house.services.limit_usage
    for _ in range(5):
        kept.record("verify", "address", amount=20, window_seconds=60, used=1)
        sqlite_house.clock.advance(3600)
    for amount in (20, 21, 22, 23):
        kept.record("verify", "address", amount=amount, window_seconds=60, used=1)
    kept.flush()
    hour = int(sqlite_house.clock()) // 3600
    found = sorted((key.hour - hour, key.amount) for key in kept.read_hours(hours=24))
    assert found == [(0, 20), (0, 21), (0, 22)]


def test_use_is_added_up_over_processes_in_one_row_for_each_hour_and_limit(database: Database) -> None:
    """However many clients come: two processes, one row; what could not be written is written later."""
    houses = [limited(database, verify="5/minute", store="database") for _ in range(2)]
    for number, house in enumerate(houses):
        for client in range(3):
            passed(house.client(), 7, **{"X-Forwarded-For": f"192.0.2.{number * 10 + client + 1}"})
        house.services.limit_usage.flush()
        house.services.limit_usage.flush()
    assert len(contents(houses[0])["limit_usage"]) == 1
    found = houses[0].services.limit_usage.read(days=1)
    tally = found[UsageKey(0, "verify", "address", 5, 60)]
    assert (tally.windows, sum(tally.steps), tally.refused) == (6, 30, 12)
    houses[0].clock.advance(36 * 86_400)
    houses[0].services.prune()
    assert contents(houses[0])["limit_usage"] == []
    for house in houses:
        house.close()
