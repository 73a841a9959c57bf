"""Runs the WSGI application under RSGI, the server's own interface, because that one shows headers as they were sent.

WSGI writes `X-Forwarded-For` and `X_Forwarded_For` as one name, and the server lets the later one win: behind a proxy
that forwards both, a stranger could overrule what the proxy says (RFC 9110 §17.10). Here names with an underscore are
dropped. A body is read before a thread is taken, so that slow senders keep nobody waiting, and only for a while. Who
waits for the revocation feed holds no thread either: such a request is answered when there is something to say. Nor
does who waits for a turn to hash a password, or whose answer is held so that its time says nothing.
"""

import asyncio
import io
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol

from payymo.cli.admission import Admission, Holding
from payymo.cli.leaving import Leaving
from payymo.errors import MalformedRequest, PayymoError, RequestTimeout
from payymo.feed.model import Cursor
from payymo.feed.waiting import Ticket, Watch
from payymo.web.caller import NEWS, WAITED
from payymo.web.feed_api import PARK
from payymo.web.pacing import HOLD, SHED
from payymo.web.reading import UNREADABLE, most_of

Start = tuple[int, list[tuple[str, str]]]
Answer = tuple[int, list[tuple[str, str]], bytes]
FOLLOWERS = 4096
"""Requests that wait for the feed, unless it is said how many."""
PIECES = 1024
"""In which a body may come. Each costs as much as a small request, and a sender who chunks can make each octet one."""
_OWN_NAMES = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}


class Application(Protocol):
    """A WSGI application (PEP 3333)."""

    def __call__(self, environ: dict[str, Any], start_response: Any, /) -> Iterable[bytes]:
        """The body, after `start_response` was told status and headers."""
        ...


class Bridge:
    """An RSGI application. A body has `body_seconds` to arrive; then requests wait in line for one of `threads`.

    Those that compute a password hash wait before, in the event loop: `hashing` says which they are, `admission` lets
    them in. `followers` requests at most wait for the feed: each is a connection and some memory, and takes no turn.
    `ended` is called when the last request was answered.
    """

    def __init__(
        self,
        application: Application,
        *,
        threads: int,
        body_seconds: float,
        leaving: Leaving | None = None,
        watch: Watch | None = None,
        hashing: Callable[[str, str], bool] = lambda _method, _path: False,
        admission: Admission | None = None,
        followers: int = FOLLOWERS,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self._application = application
        self._leaving = leaving
        self._watch = watch
        self._body_seconds = body_seconds
        self._hashing = hashing
        self._admission = admission or Admission(max(1, threads - 1))
        self._holding = Holding()
        self._places = threading.BoundedSemaphore(followers)
        self._ended = ended
        if leaving is not None and watch is not None:
            leaving.tell(watch.wake_all)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="payymo-request")
        self._refusing = ThreadPoolExecutor(1, thread_name_prefix="payymo-refusal")

    async def __call__(self, scope: Any, protocol: Any) -> None:
        """Answer one request."""
        body = await self._read(protocol, most_of(scope.path)) if _may_have_body(scope) else io.BytesIO()
        environ = _environ(scope, body)
        status, headers, answer = await self._answer(environ)
        if self._is_leaving():
            headers = [*headers, ("Connection", "close")]  # RFC 9112 §9.6: the next one goes to another worker
        protocol.response_bytes(status, headers, answer)

    def __rsgi_del__(self, _loop: object) -> None:
        """The server calls it when every request is answered and none comes any more."""
        self._ended()

    async def _answer(self, environ: dict[str, Any]) -> Answer:
        if not self._hashing(environ["REQUEST_METHOD"], environ["PATH_INFO"]):
            return await self._hold(environ)
        if not await self._admission.enter():
            await self._holding.until(self._admission.tell_at(time.monotonic()))
            return await self._run_in(self._refusing, {**environ, SHED: True})
        return await self._hold(environ, leave=self._admission.leave)

    async def _hold(self, environ: dict[str, Any], leave: Callable[[], None] = lambda: None) -> Answer:
        """The answer, when it may leave. Its turn is over as soon as the work is done."""
        moments: list[float] = []
        try:
            answer = await self._work({**environ, HOLD: moments.append})
        finally:
            leave()
        if moments and not self._is_leaving():
            await self._holding.until(moments[0])
        return answer

    async def _run_in(self, pool: ThreadPoolExecutor, environ: dict[str, Any]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(pool, self._run, environ)

    async def _work(self, environ: dict[str, Any]) -> Answer:
        if self._watch is None:
            return await self._run_in(self._pool, environ)
        parking = _Parking(self._places)
        try:
            answer = await self._run_in(self._pool, {**environ, PARK: parking})
            if parking.place is None:
                return answer
            waited, ticket = await self._wait(self._watch, parking.place, parking.seconds)
        finally:
            parking.leave()
        environ["wsgi.input"].seek(0)  # it comes again as it came
        news = {NEWS: ticket.since} if ticket.has_news else {}
        return await self._run_in(self._pool, {**environ, WAITED: waited, **news})

    async def _wait(self, watch: Watch, place: Cursor, seconds: int) -> tuple[float, Ticket]:
        """Until the feed has left this place, or so long. Answers how long that was."""
        loop, moved, began = asyncio.get_running_loop(), asyncio.Event(), time.monotonic()

        def wake() -> None:
            with suppress(RuntimeError):  # the server has ended meanwhile
                loop.call_soon_threadsafe(moved.set)

        ticket = watch.watch(place, wake)
        try:
            if not self._is_leaving():  # asked after it was noted that we wait: whoever leaves later, wakes us
                with suppress(TimeoutError):
                    await asyncio.wait_for(moved.wait(), seconds)
        finally:
            ticket()
        return time.monotonic() - began, ticket

    def _is_leaving(self) -> bool:
        return self._leaving is not None and self._leaving.has_begun

    async def _read(self, protocol: Any, most: int) -> io.BytesIO:
        """The body, or a little more than we take of it: enough to be refused."""
        body, pieces = bytearray(), 0
        try:
            async with asyncio.timeout(self._body_seconds):
                async for piece in protocol:
                    body += piece
                    pieces += 1
                    if pieces > PIECES:
                        return _Unread(MalformedRequest("The body comes in too many pieces."))  # no browser cuts it up
                    if len(body) > most:
                        break
        except TimeoutError:
            return _Unread(RequestTimeout())
        return io.BytesIO(body)

    def _run(self, environ: dict[str, Any]) -> Answer:
        started: list[Start] = []

        def start(status: str, headers: list[tuple[str, str]], _error: object = None) -> Any:
            started[:] = [(int(status[:3]), headers)]

        chunks = self._application(environ, start)
        try:
            body = b"".join(chunks)
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
        return *started[0], body


class _Parking:
    """Where a request is left that waits for news, if there is a place for it."""

    def __init__(self, places: threading.BoundedSemaphore) -> None:
        self.place: Cursor | None = None
        self.seconds = 0
        self._places = places
        self._is_over = False
        self._changing = threading.Lock()

    def __call__(self, place: Cursor, seconds: int) -> bool:
        with self._changing:  # a request that was given up goes on in its thread, and nobody would make room after it
            if self._is_over or not self._places.acquire(blocking=False):
                return False
            self.place, self.seconds = place, seconds
            return True

    def leave(self) -> None:
        """Make room for the next, if it had a place; it gets none any more."""
        with self._changing:
            self._is_over = True
            if self.place is not None:
                self._places.release()


def _may_have_body(scope: Any) -> bool:
    """HTTP/1 announces a body (RFC 9112 §6.3), HTTP/2 does not have to."""
    return "content-length" in scope.headers or "transfer-encoding" in scope.headers or scope.http_version[:1] > "1"


class _Unread(io.BytesIO):
    """A body that is not all there. The application answers, as it answers everything."""

    def __init__(self, refusal: PayymoError) -> None:
        super().__init__()
        self._refusal = refusal

    def read(self, _size: int | None = -1) -> bytes:
        raise self._refusal

    def readinto(self, _buffer: Any) -> int:
        raise self._refusal


def _environ(scope: Any, body: io.BytesIO) -> dict[str, Any]:
    server, _, port = scope.server.rpartition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": scope.path.encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": scope.query_string.encode("utf-8", "surrogateescape").decode("latin-1"),
        "SERVER_NAME": server.strip("[]"),
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": scope.client.rpartition(":")[0].strip("[]"),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": body,
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    if scope.authority is not None:
        environ["HTTP_HOST"] = scope.authority  # HTTP/2, and RFC 9112 §3.2.2: an absolute target overrules Host
    # The server leaves out values that are not ASCII. An address that a proxy has appended must not get lost with them,
    # also where another line of this name can be read: asked for one value, it tells of the first line alone.
    environ[UNREADABLE] = {name for name in scope.headers.keys() if scope.headers.get(name) is None}  # noqa: SIM118
    for name, value in scope.headers.items():
        if "_" in name or (name == "host" and scope.authority is not None):
            continue
        key = _OWN_NAMES.get(name) or "HTTP_" + name.upper().replace("-", "_")
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    if "HTTP_HOST" in environ:  # the same in capitals (RFC 3986 §3.2.2), but not for what compares it
        environ["HTTP_HOST"] = environ["HTTP_HOST"].lower()
    return environ
