"""Requests that wait with the server, and come again: as they came."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from payymo.brands.png import MAX_BYTES
from payymo.cli.bridge import Bridge
from payymo.cli.leaving import Leaving
from payymo.feed.model import Cursor
from payymo.feed.service import Feed
from payymo.feed.waiting import Ticket, Watch
from payymo.logs import Trace
from payymo.web.caller import WAITED
from payymo.web.event_api import WAIT_SECONDS
from payymo.web.feed_api import PARK
from tests.support.house import Database, House
from tests.support.pictures import large

LONG = 15


class Headers:
    """As the server's runtime has them."""

    def __init__(self, given: dict[str, str]) -> None:
        self._given = given

    def keys(self) -> list[str]:
        return list(self._given)

    def items(self) -> list[tuple[str, str]]:
        return list(self._given.items())

    def get(self, name: str) -> str | None:
        return self._given.get(name)

    def __contains__(self, name: str) -> bool:
        return name in self._given


class Noted(Watch):
    """Says when somebody waits."""

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self.has_somebody = threading.Event()

    def watch(self, place: Cursor, wake: Callable[[], None]) -> Ticket:
        self.has_somebody.set()
        return super().watch(place, wake)


class Protocol:
    """One exchange."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.answer = b""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status, self.headers, self.answer = status, headers, body


def post(path: str, body: Any, credential: str, host: str = "localhost") -> tuple[Any, Protocol]:
    octets = json.dumps(body).encode()
    headers = {
        "content-type": "application/json",
        "content-length": str(len(octets)),
        "authorization": f"Bearer {credential}",
        "host": host,
    }
    scope = SimpleNamespace(
        method="POST",
        path=path,
        query_string="",
        http_version="1.1",
        scheme="http",
        server="127.0.0.1:8000",
        client="127.0.0.1:4711",
        authority=None,
        headers=Headers(headers),
    )
    return scope, Protocol(octets)


def test_a_receiver_of_events_may_wait(house: House) -> None:
    """RFC 8936 §2.4: its body is read again when it comes again, and what it reports is taken down once."""
    house.user("alice")
    client, watch, delivered = house.logged_in(), Noted(house.services.feed), list[float]()
    house.services.watch.observe(delivered.append)
    made = house.services.guards.create("siem", scopes=["feed"], trace=Trace())
    bridge = Bridge(house.app.wsgi_app, threads=2, body_seconds=5, watch=watch)
    scope, protocol = post("/api/revocations/events", {"setErrs": {"x": {"err": "jwtParse"}}}, made.text)

    def log_out() -> None:
        assert watch.has_somebody.wait(LONG)
        client.post("/api/auth/logout")

    async def poll() -> None:
        await asyncio.gather(bridge(scope, protocol), asyncio.to_thread(log_out))

    asyncio.run(poll())
    assert protocol.status == 200, protocol.answer
    assert len(json.loads(protocol.answer)["sets"]) == len(delivered) == 1
    assert len([event for event in house.events() if event["event"] == "event.received"]) == 1


@pytest.mark.parametrize(("host", "status"), [("PAY.example.com", 401), ("pay.example.com:8443", 401), ("x.com", 400)])
def test_a_trusted_host_is_the_same_in_capitals(sqlite_database: Database, host: str, status: int) -> None:
    """RFC 3986 §3.2.2, on both sides: whoever writes the list, and whoever asks."""
    house = House(sqlite_database, trusted_hosts=("Pay.Example.COM",))
    bridge = Bridge(house.app.wsgi_app, threads=1, body_seconds=5, watch=house.services.watch)
    scope, protocol = post("/api/auth/token/verify", {"token": "x"}, "nobody", host)
    asyncio.run(bridge(scope, protocol))
    assert protocol.status == status, protocol.answer
    house.close()


def test_a_worker_that_leaves_answers_who_waits(sqlite_house: House) -> None:
    """At once, and with the end of the connection: the next question goes to another worker."""
    made = sqlite_house.services.guards.create("siem", scopes=["feed"], trace=Trace())
    watch, leaving = Noted(sqlite_house.services.feed), Leaving()
    bridge = Bridge(sqlite_house.app.wsgi_app, threads=2, body_seconds=5, leaving=leaving, watch=watch)

    def leave() -> None:
        assert watch.has_somebody.wait(LONG)
        leaving.begin()

    async def poll() -> Protocol:
        scope, protocol = post("/api/revocations/events", {}, made.text)
        await asyncio.gather(bridge(scope, protocol), asyncio.to_thread(leave))
        return protocol

    for _ in range(2):  # who waits, and who comes later
        found = asyncio.run(asyncio.wait_for(poll(), WAIT_SECONDS / 2))
        assert (found.status, json.loads(found.answer)["sets"]) == (200, {})
        assert ("Connection", "close") in found.headers


def test_no_more_requests_wait_than_there_are_places(sqlite_house: House) -> None:
    """One more is answered at once, holding no thread, and a place that is left is the next one's."""
    made = sqlite_house.services.guards.create("siem", scopes=["feed"], trace=Trace())
    watch = Noted(sqlite_house.services.feed)
    bridge = Bridge(sqlite_house.app.wsgi_app, threads=2, body_seconds=5, watch=watch, followers=1)

    async def poll() -> list[Protocol]:
        scope, waits = post("/api/revocations/events", {}, made.text)
        waiting = asyncio.create_task(bridge(scope, waits))
        assert await asyncio.to_thread(watch.has_somebody.wait, LONG)
        scope, turned_away = post("/api/revocations/events", {}, made.text)
        await asyncio.wait_for(bridge(scope, turned_away), WAIT_SECONDS / 2)
        assert not waiting.done()
        watch.wake_all()
        await waiting
        return [waits, turned_away]

    for _ in range(2):
        watch.has_somebody.clear()
        answers = asyncio.run(asyncio.wait_for(poll(), LONG))
        assert [(one.status, json.loads(one.answer)["sets"]) for one in answers] == [(200, {})] * 2


def test_a_request_that_is_given_up_takes_no_place_along(sqlite_house: House) -> None:
    """Its thread goes on, and asks for a place when nobody is left who would give it back."""
    asked, go_on, places = threading.Semaphore(0), threading.Event(), list[bool]()
    place = sqlite_house.services.feed.head()

    def ask(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        if WAITED not in environ:
            asked.release()
            assert go_on.wait(LONG)
            places.append(environ[PARK](place, 0))
            asked.release()
        start("200 OK", [])
        return []

    bridge = Bridge(ask, threads=2, body_seconds=5, watch=Watch(sqlite_house.services.feed), followers=1)

    async def come_and_go() -> None:
        given_up = asyncio.create_task(bridge(*post("/", {}, "")))
        assert await asyncio.to_thread(asked.acquire, timeout=LONG)
        given_up.cancel()
        await asyncio.wait([given_up])
        go_on.set()
        assert await asyncio.to_thread(asked.acquire, timeout=LONG)
        await bridge(*post("/", {}, ""))

    asyncio.run(asyncio.wait_for(come_and_go(), LONG))
    assert places == [False, True]


def test_more_of_a_body_is_taken_where_a_file_may_come(sqlite_house: House) -> None:
    """A logo passes whole; elsewhere as much is cut off after what is enough to be refused."""
    sqlite_house.user("boss", roles=("tenant-administrator",))
    boss, brands = sqlite_house.logged_in("boss"), sqlite_house.services.brands
    brands.set(sqlite_house.default.id, "Acme", None, by=None, trace=Trace())
    bridge = Bridge(sqlite_house.app.wsgi_app, threads=2, body_seconds=5)
    for path, status in (("/api/admin/brand/logo", 200), ("/api/admin/brand", 413)):
        scope, protocol = post(path, {}, str(boss.access_token))
        scope.method, protocol._body = "PUT", large(MAX_BYTES)
        scope.headers._given |= {"content-type": "image/png", "content-length": str(MAX_BYTES)}
        asyncio.run(bridge(scope, protocol))
        assert protocol.status == status, protocol.answer
