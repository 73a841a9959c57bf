"""A receiver of webhooks for tests: HTTPS on the loopback, which answers what it is told to and keeps what it got."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from payymo.clock import system_clock
from payymo.logs import Trace
from payymo.webhooks.model import Draft, Endpoint
from payymo_guard.fake_authority import SERVER, FakeAuthority
from tests.support.house import House

Answer = int | Callable[[BaseHTTPRequestHandler], None]


@dataclass(frozen=True, slots=True)
class Got:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes
    peer: dict[str, Any] | None

    @property
    def event(self) -> dict[str, Any]:
        """What it says."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def id(self) -> str:
        """The id of the event."""
        return self.headers["webhook-id"]


@dataclass(slots=True)
class Receiver:
    """`answer` decides what is answered to a request; 204, if nothing is said."""

    port: int
    authority: FakeAuthority
    ca_file: Path
    got: list[Got] = field(default_factory=list)
    answer: Callable[[Got], Answer] = lambda _got: 204

    @property
    def url(self) -> str:
        """Where it is."""
        return f"https://localhost:{self.port}/hooks?a=b"

    def settings(self, **more: Any) -> dict[str, Any]:
        """The settings of a service that sends there."""
        return {"webhooks": {"ca_file": self.ca_file} | more}


@contextmanager
def receiver(folder: Path, *, wants_certificate: bool = False) -> Iterator[Receiver]:
    """A receiver with a certificate of an authority of its own."""
    authority = FakeAuthority(now=system_clock())
    issued = authority.issue("localhost", dns_names=["localhost"], usages=[SERVER])
    ca_file, pair = folder / "receiver-authority.pem", folder / "receiver.pem"
    ca_file.write_bytes(authority.pem)
    pair.write_bytes(issued.pem + issued.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    if wants_certificate:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(ca_file)
    found = Receiver(0, authority, ca_file)
    server = _Server(("127.0.0.1", 0), _handler(found))
    server.context = context
    found.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    context: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:
        """The handshake is the thread's own business: one that never ends holds up nobody."""
        with suppress(OSError), self.context.wrap_socket(request, server_side=True) as sock:
            super().finish_request(sock, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever hangs up has a reason."""


def _handler(found: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            got = Got(self.path, headers, body, self.connection.getpeercert())
            found.got.append(got)
            answer = found.answer(got)
            if callable(answer):
                answer(self)
                return
            self.send_response(answer)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    return Handler


def endpoint(house: House, url: str, *events: str, **more: Any) -> tuple[Endpoint, str]:
    """A new endpoint of the default tenant, and its secret."""
    draft = Draft(url, events or ("session.", "user.", "role."), **more)
    return house.services.webhooks.create(house.default.id, draft, by=None, trace=Trace())


def deliver(house: House) -> int:
    """Give positions to what was committed, and send what is due. Answers how many attempts were made."""
    house.services.sequencer.integrate_all()
    return house.services.webhook_courier.deliver_due()
