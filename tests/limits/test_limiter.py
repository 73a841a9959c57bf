"""Rate limits: exact under concurrency, on every storage; never none."""

import ipaddress
import pickle
import socket
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits.storage import RedisStorage, Storage

from payymo.clock import system_clock
from payymo.compose import compose
from payymo.connections import open_counters
from payymo.errors import Misconfigured, TooManyRequests
from payymo.limits.limiter import LimitPolicy, RateLimiter, account_key, address_key
from payymo.limits.model import Tier, parse_limits
from payymo.limits.storage import SqlStorage
from tests.support import services
from tests.support.crew import Crew
from tests.support.house import PASSWORD, Database, FakeClock, House, fresh_name, settings_for


def policy(**tiers: str) -> LimitPolicy:
    named: dict[Tier, str] = tiers  # type: ignore[assignment]
    return LimitPolicy({tier: parse_limits(text) for tier, text in named.items()}, fallback_percent=25)


def passed(limiter: RateLimiter, who: str, tries: int, tier: Tier = "login") -> int:
    """How many of so many tries are let through, all at once."""

    def attempt(_: int) -> bool:
        try:
            limiter.spend(tier, "address", who)
        except TooManyRequests:
            return False
        return True

    with Crew(min(tries, 20)) as pool:
        return sum(pool.map(attempt, range(tries)))


@pytest.fixture(params=["sqlite", "postgresql", "valkey", "memory"])
def storage(request: pytest.FixtureRequest) -> Iterator[Storage | None]:
    """Every place where counts can live."""
    match request.param:
        case "memory":
            yield None
        case "valkey":
            server: services.Valkey = request.getfixturevalue("valkey_server")
            yield RedisStorage(server.url)
        case name:
            database = request.getfixturevalue({"sqlite": "sqlite_database", "postgresql": "postgres_database"}[name])
            opened = compose(settings_for(database))
            counters = open_counters(opened.settings, opened.engine, opened.clock)
            yield counters
            if isinstance(counters, SqlStorage):
                counters.close()
            opened.close()


def test_exactly_as_many_pass_as_the_limit_says(storage: Storage | None) -> None:
    """Invariant 23: forty at once against a limit of five."""
    limiter = RateLimiter(storage, policy(login="5/hour"), system_clock)
    assert passed(limiter, fresh_name(), 40) == 5


def test_callers_tiers_and_scopes_are_counted_apart(storage: Storage | None) -> None:
    """One address does not use up another's tries."""
    limiter = RateLimiter(storage, policy(login="1/hour", verify="1/hour"), system_clock)
    one, two = fresh_name(), fresh_name()
    assert passed(limiter, one, 3) == passed(limiter, two, 3) == passed(limiter, one, 3, "verify") == 1
    assert limiter.spend("login", "account", one) is not None


def test_an_account_is_forgiven_and_an_address_is_not(storage: Storage | None) -> None:
    """Allauth 65.9: a login of one's own does not clear the address."""
    limiter = RateLimiter(storage, policy(login="2/hour"), system_clock)
    who = fresh_name()
    for _ in range(2):
        limiter.spend("login", "account", who)
        limiter.spend("login", "address", who)
    limiter.forgive(("login",), "account", who)
    assert limiter.spend("login", "account", who) is not None
    with pytest.raises(TooManyRequests) as refused:
        limiter.spend("login", "address", who)
    assert 1 <= refused.value.retry_after <= 3600


def test_every_limit_of_a_tier_counts_and_a_lifted_tier_has_none(storage: Storage | None) -> None:
    """`5/minute;6/day`: the tighter one refuses first, the wider one later."""
    limiter = RateLimiter(storage, policy(registration="3/hour;5/day", login=""), system_clock)
    assert passed(limiter, fresh_name(), 10, "registration") == 3
    assert limiter.spend("login", "address", "x") is None
    assert limiter.spend("refresh", "address", "x") is None


def test_a_window_slides_with_the_clock(house: House) -> None:
    """After two windows everything is allowed again; a clock that goes back gives nothing away for free."""
    clock = FakeClock()
    counters = compose(settings_for(house.database), clock=clock)
    limiter = RateLimiter(open_counters(counters.settings, counters.engine, clock), policy(login="4/minute"), clock)
    who = fresh_name()
    assert passed(limiter, who, 6) == 4
    clock.advance(120)
    assert passed(limiter, who, 6) == 4
    clock.advance(-1)
    assert passed(limiter, who, 6) <= 4
    counters.close()


def test_while_the_counters_are_away_limits_are_smaller_and_never_none() -> None:
    """Invariant 23 and 25: killed, each process grants a quarter; back again, the shared count counts."""
    clock = FakeClock()
    with services.valkey() as server:
        storage = RedisStorage(server.url, socket_timeout=2, socket_connect_timeout=2)
        limiter = RateLimiter(storage, policy(login="8/hour"), clock)
        assert passed(limiter, "a", 3) == 3
        server.kill()
        assert passed(limiter, "a", 20) == 2
        assert limiter.is_degraded
        server.start()
        clock.advance(2)
        assert not limiter.is_degraded
        assert passed(limiter, "b", 20) == 8
        server.pause()
        clock.advance(2)
        assert passed(limiter, "c", 20) == 2
        server.resume()
        storage.storage.close()


def test_the_operator_hears_once_that_the_counters_fail_and_once_that_they_answer() -> None:
    """A wrong password never passes by itself: unsaid, every process would count for itself for ever."""
    clock, said = FakeClock(), list[str]()
    with services.valkey() as server:
        storage, operator = RedisStorage(server.url), RedisStorage(server.url)
        limiter = RateLimiter(storage, policy(login="8/hour"), clock, advise=said.append)
        passed(limiter, "a", 1)
        assert said == []
        operator.storage.config_set("requirepass", "another")
        storage.storage.connection_pool.disconnect()
        for _ in range(3):
            clock.advance(2)
            passed(limiter, "a", 2)
        assert said == ["the shared counters fail (AuthenticationError): each process grants 25 %"]
        operator.storage.config_set("requirepass", "")
        for _ in range(3):
            clock.advance(2)
            passed(limiter, "a", 2)
        assert said[1:] == ["the shared counters answer again"]
        storage.storage.close()
        operator.storage.close()


def test_another_server_takes_over_without_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 25, after a failover: who was the first takes no writes, and goes on talking over what is open."""
    clock, known = FakeClock(), socket.getaddrinfo
    with services.valkey() as one, services.valkey() as two:
        storage, operator = RedisStorage(one.url), RedisStorage(one.url)
        limiter = RateLimiter(storage, policy(login="8/hour"), clock)
        assert pass_one_by_one(limiter, "a", 1) == 1
        operator.storage.replicaof("127.0.0.1", two.port)

        def resolve(host: str, port: int, *more: Any) -> Any:
            return known(host, two.port if port == one.port else port, *more)

        monkeypatch.setattr(socket, "getaddrinfo", resolve)  # its name leads to the other one from now on
        assert pass_one_by_one(limiter, "b", 20) == 2
        assert limiter.is_degraded
        clock.advance(2)
        assert pass_one_by_one(limiter, "c", 20) == 8
        assert not limiter.is_degraded
        storage.storage.close()
        operator.storage.close()


@pytest.mark.parametrize(
    "url", ["redis://127.0.0.1/0?foo=1", "redis://127.0.0.1/0?ssl_ca_certs=/ca.pem", "redis://127.0.0.1/?protocol=9"]
)
def test_options_that_there_are_not_are_refused_at_the_start(sqlite_database: Database, url: str) -> None:
    """And not by each login: an error of the client's own is no outage, and was answered with 500."""
    settings = settings_for(sqlite_database, redis={"url": url}, limits={"store": "redis"})
    with pytest.raises(Misconfigured, match="PAYYMO_REDIS__URL"):
        compose(settings)


def test_valkey_is_called_by_its_own_name(sqlite_database: Database, valkey_server: services.Valkey) -> None:
    """`valkey://` needs no client of its own."""
    url = valkey_server.url.replace("redis://", "valkey://")
    opened = compose(settings_for(sqlite_database, redis={"url": url}, limits={"enabled": True, "login": "3/hour"}))
    counters = open_counters(opened.settings, opened.engine, opened.clock)
    assert isinstance(counters, RedisStorage)
    assert counters.target_server == "redis"
    assert passed(opened.limiter, fresh_name(), 5) == 3
    counters.storage.close()
    opened.close()


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("unknown", "unknown"),
        ("'; DROP TABLE", "unknown"),
    ],
)
def test_an_address_stands_for_whoever_can_change_it(address: str, key: str) -> None:
    """One IPv6 user has 2^64 addresses."""
    assert address_key(address) == key


def test_an_account_key_hides_the_name_and_knows_the_tenant() -> None:
    """Redis holds no e-mail addresses; the same name in two tenants is two accounts."""
    one, two = uuid.UUID(int=1), uuid.UUID(int=2)
    key = account_key(one, "alice@example.com")
    assert "alice" not in key
    assert key != account_key(two, "alice@example.com")
    assert key == account_key(one, "alice@example.com")


def pass_one_by_one(limiter: RateLimiter, who: str, tries: int) -> int:
    """How many of so many tries are let through, one after the other."""
    count = 0
    for _ in range(tries):
        try:
            limiter.spend("login", "address", who)
        except TooManyRequests:
            continue
        count += 1
    return count


BOMBS = [
    pickle.dumps({"hits": 0}),
    b"cos\nsystem\n(S'touch /tmp/owned'\ntR.",
    b"nan",
    b"inf",
    b"1.5",
    b"\xff\xfe",
    b"",
]


@pytest.mark.parametrize("place", ["", "/-1"], ids=["current", "previous"])
@pytest.mark.parametrize("bomb", BOMBS, ids=["pickle", "opcode", "nan", "inf", "fraction", "bytes", "empty"])
def test_a_counter_that_somebody_wrote_over_is_never_a_free_pass_or_a_failure(
    valkey_server: services.Valkey, bomb: bytes, place: str
) -> None:
    """Invariant 23: what can't be read as a number is not read as anything else; the limit holds, smaller or whole."""
    storage = RedisStorage(valkey_server.url)
    limiter = RateLimiter(storage, policy(login="8/hour"), FakeClock())
    who = fresh_name()
    limiter.spend("login", "address", who)
    [key] = storage.storage.keys(f"*{who}*")
    storage.storage.delete(key)
    storage.storage.set(key + place.encode(), bomb, px=7_000_000)
    assert 0 <= pass_one_by_one(limiter, who, 20) <= 8
    storage.storage.close()


def test_a_clock_that_goes_back_does_not_keep_the_limits_small() -> None:
    """Invariant 25: the shared counters are asked again after a second, whatever the clock shows meanwhile."""
    clock = FakeClock()
    with services.valkey() as server:
        storage = RedisStorage(server.url, socket_timeout=2, socket_connect_timeout=2)
        limiter = RateLimiter(storage, policy(login="8/hour"), clock)
        server.kill()
        assert passed(limiter, "a", 8) == 2
        server.start()
        clock.advance(-3600)
        assert not limiter.is_degraded
        assert passed(limiter, "b", 20) == 8
        storage.storage.close()


def test_a_clock_that_goes_back_gives_no_second_helping(house: House) -> None:
    """Invariant 18, for counts: who used up a window has used it up, whichever way the clock goes."""
    clock = FakeClock()
    counters = compose(settings_for(house.database), clock=clock)
    limiter = RateLimiter(open_counters(counters.settings, counters.engine, clock), policy(login="4/minute"), clock)
    who = fresh_name()
    assert pass_one_by_one(limiter, who, 6) == 4
    clock.advance(-3)
    clock.advance(3)
    assert pass_one_by_one(limiter, who, 6) == 0
    counters.close()


@pytest.mark.parametrize(
    ("left", "right", "alike"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("2001:DB8:1:2::1", "2001:db8:0001:0002::2", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
    ],
)
def test_a_64_is_one_caller_and_its_neighbour_another(*, left: str, right: str, alike: bool) -> None:
    """The last address of a /64 and the first of the next."""
    assert (address_key(left) == address_key(right)) is alike


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_whatever_the_lower_half_says(network: int, host: int) -> None:
    """One IPv6 user has 2^64 addresses, and one key."""
    prefix = (0x2001 << 112) | ((network & (2**48 - 1)) << 64)
    assert address_key(str(ipaddress.IPv6Address(prefix | host))) == address_key(str(ipaddress.IPv6Address(prefix)))


def test_an_account_is_one_account_however_its_address_is_written(database: Database) -> None:
    """CVE-2025-54998, CVE-2025-6004: other letters are no second set of tries, also for an account that isn't there."""
    house = House(database, lockout={"enabled": True})
    for address in ("alice@example.com", "nobody@example.com", "not an address"):
        if address.startswith("alice"):
            house.user("alice")
        spellings = [address, address.upper(), address.title(), address.swapcase(), address.capitalize(), address]
        statuses = [house.client().log_in(spelling, "wrong password 1").status_code for spelling in spellings]
        assert statuses == [401] * 5 + [429]
    house.close()


def test_a_login_of_ones_own_does_not_clear_the_address(database: Database) -> None:
    """An attacker who logs in to their own account between guesses gets no more guesses."""
    house = House(database, limits={"enabled": True, "login": "4/hour", "store": "database"})
    house.user("mallory")
    house.user("alice")
    statuses = []
    for number in range(6):
        name = "mallory" if number % 2 else "alice"
        word = PASSWORD if number % 2 else "wrong password 1"
        statuses.append(house.client().log_in(f"{name}@example.com", word).status_code)
    assert statuses == [401, 200, 401, 200, 429, 429]
    house.close()
