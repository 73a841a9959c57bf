"""The issuer's keys over a real connection: ahead of time, not past their time, and not for every stranger's asking."""

import threading
import time
from collections.abc import Iterator, Mapping

import pytest

from payymo_guard import Guard, Refused
from payymo_guard.discovery import Endpoints
from payymo_guard.http import Client, Origin, Unreachable
from payymo_guard.jwks import COOL_DOWN_SECONDS, PublishedKeys
from tests.guard.feed_server import JWKS, FeedServer, Reply, reply, serving, until
from tests.guard.forge import Clock


@pytest.fixture
def server() -> Iterator[FeedServer]:
    with serving() as found:
        yield found


@pytest.fixture
def elapsed() -> Clock:
    return Clock(5000)


def verdict(guard: Guard, token: str) -> str:
    try:
        guard.verify(token)
    except Refused as refused:
        return refused.code
    return "accepted"


CLIENTS: list[Client] = []


@pytest.fixture(autouse=True)
def closed_clients() -> Iterator[None]:
    yield
    while CLIENTS:
        CLIENTS.pop().close()


def published(server: FeedServer, elapsed: Clock, revoked: frozenset[str] = frozenset()) -> PublishedKeys:
    """The keys of a server, and nothing around them."""
    CLIENTS.append(Client(Origin.of(server.url)))
    keys = PublishedKeys(revoked.__contains__, elapsed)
    keys.connect(CLIENTS[-1], Endpoints(JWKS, "/", "/", server.max_age, 20))
    return keys


def test_a_key_that_did_not_change_stays_the_same_object(server: FeedServer, elapsed: Clock) -> None:
    """What is remembered of tokens hangs on it: a refresh costs nobody a signature check."""
    keys = published(server, elapsed)
    keys.refresh()
    kid = server.fake.active_kid
    first = keys.find(kid)
    server.fake.rotate("EdDSA")
    keys.refresh()
    assert first is not None
    assert keys.find(kid) is first
    assert set(keys.kids) == {kid, server.fake.active_kid}


def test_another_key_of_the_same_name_is_another_object(server: FeedServer, elapsed: Clock) -> None:
    """And a removed one is gone with the next refresh."""
    keys = published(server, elapsed)
    keys.refresh()
    kid = server.fake.active_kid
    first = keys.find(kid)
    with serving() as other:
        assert other.fake.active_kid == kid
        server.instead[JWKS] = lambda *_: (200, {}, other.fake.jwks())
        keys.refresh()
        assert keys.find(kid) not in (None, first)
    server.instead[JWKS] = lambda *_: reply({"keys": []})
    keys.refresh()
    assert keys.find(kid) is None


def test_who_can_t_look_yet_uses_up_no_turn(server: FeedServer, elapsed: Clock) -> None:
    """A child that has just begun knows its parent's keys, and not where they are: it looks as soon as it does."""
    keys = published(server, elapsed)
    keys.refresh()
    keys.renew()
    server.fake.rotate("EdDSA")
    assert keys.find(server.fake.active_kid) is None
    keys.connect(CLIENTS[-1], Endpoints(JWKS, "/", "/", server.max_age, 20))
    assert keys.find(server.fake.active_kid) is not None


def test_a_thousand_unknown_kids_cause_one_fetch(server: FeedServer, elapsed: Clock) -> None:
    """CVE-2026-48524: names that strangers invent don't make us flood the issuer; each cool-down allows one look."""
    with server.guard(elapsed=elapsed, max_stale_seconds=2) as guard:
        assert verdict(guard, server.fake.mint()) == "accepted"
        before = server.count(JWKS)
        kid = server.fake.active_kid
        for number in range(1000):
            token = server.fake.sign(
                server.fake.claims(), header={"alg": "EdDSA", "typ": "at+jwt", "kid": f"x{number}"}
            )
            assert verdict(guard, token) == "key_unknown"
        assert server.count(JWKS) == before + 1
        elapsed.now += COOL_DOWN_SECONDS
        server.fake.active_kid = kid
        until(lambda: guard.status().stale_seconds < 1)
        assert verdict(guard, token) == "key_unknown"
        assert server.count(JWKS) == before + 2


def test_a_flood_from_many_threads_causes_one_fetch(server: FeedServer, elapsed: Clock) -> None:
    """Also while the answer takes its time; and nobody is let in by it."""
    keys = published(server, elapsed)
    keys.refresh()
    release = threading.Event()

    def slow(*_: object) -> Reply | None:
        release.wait(1)
        return None

    server.instead[JWKS] = slow
    found: list[object] = []
    threads = [threading.Thread(target=lambda n=n: found.append(keys.find(f"x{n}"))) for n in range(16)]
    for thread in threads:
        thread.start()
    until(lambda: server.count(JWKS) == 2)
    release.set()
    for thread in threads:
        thread.join(20)
    assert found == [None] * 16
    assert server.count(JWKS) == 2


def test_who_comes_while_a_new_key_is_fetched_gets_it(server: FeedServer, elapsed: Clock) -> None:
    """A key that signs sooner than it could be known is found by the first that asks, and by those who wait."""
    keys = published(server, elapsed)
    keys.refresh()
    kid = server.fake.rotate("EdDSA")
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(keys.find(kid))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(set(found)) == 1
    assert None not in found
    assert server.count(JWKS) == 2


def test_an_unknown_kid_finds_a_new_key_in_time(server: FeedServer) -> None:
    """Through a whole guard."""
    with server.guard() as guard:
        assert verdict(guard, server.fake.mint()) == "accepted"
        server.fake.rotate("EdDSA")
        assert verdict(guard, server.fake.mint()) == "accepted"


def test_keys_are_fetched_again_at_half_their_time(server: FeedServer, elapsed: Clock) -> None:
    """Invariant 12: published before use, and known before use. A removed one is refused from then on."""
    server.max_age = 300
    with server.guard(elapsed=elapsed, max_stale_seconds=2) as guard:
        old = server.fake.mint()
        assert verdict(guard, old) == "accepted"
        server.fake.retire(server.fake.active_kid)
        server.fake.rotate("EdDSA")
        elapsed.now += 149
        until(lambda: guard.status().stale_seconds == 0)
        assert (server.count(JWKS), verdict(guard, old)) == (1, "accepted")
        elapsed.now += 1
        until(lambda: server.count(JWKS) == 2)
        until(lambda: guard.status().kids == (server.fake.active_kid,))
        until(lambda: guard.status().stale_seconds == 0)
        assert verdict(guard, old) == "key_unknown"
        assert verdict(guard, server.fake.mint()) == "accepted"


def test_keys_that_can_t_be_fetched_again_end_with_their_time(server: FeedServer, elapsed: Clock) -> None:
    """Fail closed: at t it holds, after t nobody gets in, though the feed is fresh. Then it recovers by itself."""
    server.max_age = 300
    with server.guard(elapsed=elapsed, max_stale_seconds=2) as guard:
        token = server.fake.mint()
        assert verdict(guard, token) == "accepted"
        server.instead[JWKS] = lambda *_: reply({}, 500)
        for passed, code in ((299, "accepted"), (300, "accepted"), (301, "keys_unavailable")):
            elapsed.now = 5000 + passed
            until(lambda: guard.status().stale_seconds == 0)
            assert verdict(guard, token) == code
            assert verdict(guard, server.fake.mint()) == code
        del server.instead[JWKS]
        until(lambda: verdict(guard, token) == "accepted")


def test_a_revoked_key_is_gone_at_once_and_its_successor_is_there(server: FeedServer) -> None:
    """Invariant 12, with an issuer that still publishes it: the feed decides, and makes us look for other keys."""
    with server.guard() as guard:
        old, kid = server.fake.mint(), server.fake.active_kid
        assert verdict(guard, old) == "accepted"
        server.fake.rotate("EdDSA")
        new = server.fake.active_kid
        server.revoke("key", kid)
        until(lambda: verdict(guard, old) == "key_revoked")
        until(lambda: guard.status().kids == (new,))
        assert verdict(guard, server.fake.mint()) == "accepted"
        assert verdict(guard, old) == "key_revoked"
        assert server.count(JWKS) == 2


def test_a_revoked_key_does_not_come_back(server: FeedServer, elapsed: Clock) -> None:
    """However often it is published, or asked for."""
    keys = published(server, elapsed, frozenset({server.fake.active_kid}))
    keys.refresh()
    assert keys.kids == ()
    assert keys.find(server.fake.active_kid) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("public, max-age=120", 120),
        ("max-age=0", 10),
        ("max-age=99999999", 86_400),
        ("s-maxage=50", 300),
        ("max-age=x", 300),
        ("", 300),
    ],
)
def test_the_issuer_says_for_how_long_keys_are_good(
    server: FeedServer, elapsed: Clock, header: str, seconds: int
) -> None:
    """From when they were asked for; within bounds; the metadata decides where the answer says nothing."""
    server.instead[JWKS] = lambda *_: (200, {"Cache-Control": header}, server.fake.jwks())
    keys = published(server, elapsed)
    keys.refresh()
    assert (keys.usable_until, keys.due_at) == (5000 + seconds, 5000 + seconds / 2)


@pytest.mark.parametrize(("age", "left", "due"), [("0", 120, 60), ("50", 70, 10), ("100", 20, 5), ("500", -380, 5)])
def test_the_time_that_keys_were_in_a_cache_counts(
    server: FeedServer, elapsed: Clock, age: str, left: float, due: float
) -> None:
    """RFC 9111 §4.2: no cache makes a key last for longer, and none makes us ask without a pause."""
    server.instead[JWKS] = lambda *_: (200, {"Cache-Control": "max-age=120", "Age": age}, server.fake.jwks())
    keys = published(server, elapsed)
    keys.refresh()
    assert (keys.usable_until, keys.due_at) == (5000 + left, 5000 + due)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"keys":[{}]}', b'{"keys":[],"x":"' + b"x" * 262_144 + b'"}'])
def test_a_document_that_can_t_be_read_changes_nothing(server: FeedServer, elapsed: Clock, body: bytes) -> None:
    """What is there stays until its time is over."""
    keys = published(server, elapsed)
    keys.refresh()
    before = keys.kids, keys.usable_until, keys.due_at
    elapsed.now += 100
    server.instead[JWKS] = lambda *_: (200, {}, body)
    with pytest.raises(Unreachable):
        keys.refresh()
    assert (keys.kids, keys.usable_until, keys.due_at) == before


def test_trouble_with_keys_does_not_keep_it_from_hearing(server: FeedServer) -> None:
    """The feed is read on, and the keys are asked for at a growing distance."""
    asked: list[float] = []

    def broken(_: str, __: Mapping[str, str]) -> Reply:
        asked.append(time.monotonic())
        return reply({}, 500)

    server.instead[JWKS] = broken
    with server.guard(start_seconds=0.2) as guard:
        assert verdict(guard, server.fake.mint()) == "keys_unavailable"
        server.revoke("session", "session-1")
        until(lambda: guard.status().entries == 1)
        until(lambda: len(asked) >= 3)
        assert asked[2] - asked[1] > asked[1] - asked[0]
        del server.instead[JWKS]
        until(lambda: verdict(guard, server.fake.mint(session_id="s2")) == "accepted")
        assert verdict(guard, server.fake.mint()) == "token_revoked"
