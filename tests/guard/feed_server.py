"""An issuer behind a real listener on the loopback: metadata, keys, a feed that holds its answers, introspection.

It does what the contract says, and then whatever a test tells it to do instead, path by path.
"""

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from payymo_guard import Guard
from payymo_guard.testing import FakeIssuer

METADATA, JWKS = "/.well-known/payymo", "/.well-known/jwks.json"
FEED, VERIFY = "/api/revocations", "/api/auth/token/verify"
CREDENTIAL = "payymo_" + "0" * 32 + "_" + "A" * 43
Reply = tuple[int, Mapping[str, str], bytes]
Instead = Callable[[str, Mapping[str, str]], Reply | None]
"""Given the query and the headers; None: as usual."""


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait for something that has to come true, and fail when it takes too long."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        pause.wait(0.005)


def reply(value: object, status: int = 200, **headers: str) -> Reply:
    """An answer of JSON."""
    return status, headers, json.dumps(value).encode()


class FeedServer:
    """One issuer with one history."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self.history = "a"
        self.page_size = 5_000
        self.asked: list[tuple[str, str, Mapping[str, str]]] = []
        """Path, query and headers of every request."""
        self.instead: dict[str, Instead] = {}
        self.metadata: dict[str, object] = {}
        """Members that are other than usual."""
        self.revoked_tokens: set[str] = set()
        self.max_age = 300
        self.changed = threading.Condition()
        self._port = 0
        self._server: _Server | None = None
        self.open()
        self.url = f"http://127.0.0.1:{self._port}"
        self.fake = FakeIssuer(issuer=self.url, algorithm="EdDSA")

    def open(self) -> None:
        """Listen, at the same place as before."""
        self._server = _Server(("127.0.0.1", self._port), _Handler)
        self._server.issuer = self
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def shut(self) -> None:
        """Be gone, with every connection."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            server.cut()
        with self.changed:
            self.changed.notify_all()

    def guard(self, **more: Any) -> Guard:
        """A guard that follows this issuer."""
        wanted = {"issuer": self.url, "audience": self.fake.audience, "credential": CREDENTIAL, "start_seconds": 20}
        return Guard(**(wanted | more))

    def revoke(self, kind: str, identifier: str, **more: Any) -> None:
        """Add an entry to the feed."""
        now = int(time.time())  # noqa: TID251 - the server's clock, which is another than the guard's
        entry = {"kind": kind, "id": identifier, "tenant_id": None, "not_before": now, "expires_at": now + 960}
        with self.changed:
            self.entries.append({"seq": len(self.entries) + 1, **entry, **more})
            self.changed.notify_all()

    def restore(self, entries: int, history: str) -> None:
        """Come back from a backup that has so many entries."""
        with self.changed:
            del self.entries[entries:]
            self.history = history
            self.changed.notify_all()

    def count(self, path: str) -> int:
        """How many requests there were."""
        return sum(asked == path for asked, _, _ in tuple(self.asked))

    def queries(self, path: str = FEED) -> list[dict[str, str]]:
        """What was asked for, in order."""
        found = [query for asked, query, _ in tuple(self.asked) if asked == path]
        return [{name: values[0] for name, values in parse_qs(query).items()} for query in found]

    def answer(self, path: str, query: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """As the contract has it."""
        self.asked.append((path, query, headers))
        instead = self.instead.get(path)
        replied = None if instead is None else instead(query, headers)
        if replied is not None:
            return replied
        match path:
            case "/.well-known/payymo":
                return reply(self._metadata())
            case "/.well-known/jwks.json":
                return 200, {"Cache-Control": f"public, max-age={self.max_age}"}, self.fake.jwks()
            case "/api/revocations":
                return self._feed({name: values[0] for name, values in parse_qs(query).items()})
            case "/api/auth/token/verify":
                is_revoked = json.loads(body)["token"] in self.revoked_tokens
                return reply({}, 401) if is_revoked else reply({"data": {"token_info": {"active": True}}})
            case _:
                return reply({}, 404)

    def _metadata(self) -> dict[str, object]:
        return {
            "issuer": self.url,
            "audience": self.fake.audience,
            "jwks_uri": self.url + JWKS,
            "jwks_max_age_seconds": self.max_age,
            "revocation_endpoint": self.url + "/api/auth/revoke",
            "revocations_uri": self.url + FEED,
            "introspection_endpoint": self.url + VERIFY,
            "revocation_wait_seconds": 20,
        } | self.metadata

    def _feed(self, asked: Mapping[str, str]) -> Reply:
        history, _, place = asked.get("after", f"{self.history}.0").partition(".")
        began = time.monotonic()
        wait = float(asked.get("wait", 0))
        with self.changed:
            if history == self.history:
                server = self._server
                self.changed.wait_for(
                    lambda: len(self.entries) > int(place) or self.history != history or self._server is not server,
                    wait,
                )
            restart = history != self.history
            start = 0 if restart else int(place)
            entries = self.entries[start : start + self.page_size]
            end = start + len(entries)
            data = {
                "cursor": f"{self.history}.{end}",
                "restart": restart,
                "more": end < len(self.entries),
                "waited_seconds": time.monotonic() - began,
                "entries": entries,
            }
        return reply({"data": data})


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    issuer: FeedServer

    def __init__(self, *args: Any) -> None:
        self.connections: set[Any] = set()
        super().__init__(*args)

    def cut(self) -> None:
        """End what is still open, as when the machine goes."""
        for connection in tuple(self.connections):
            try:
                connection.shutdown(2)
            except OSError:
                continue

    def handle_error(self, *_: Any) -> None:
        """Nothing: tests hang up in the middle."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = urlsplit(self.path)
        status, headers, content = self.server.issuer.answer(parts.path, parts.query, dict(self.headers), body)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = answer  # noqa: N815 - the names are the library's

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def serving() -> Iterator[FeedServer]:
    """An issuer that listens for the length of a block."""
    server = FeedServer()
    try:
        yield server
    finally:
        server.shut()
