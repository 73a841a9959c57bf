"""The double of Vault behind HTTP and HTTPS: a server on the loopback, in threads of the test process."""

import json
import ssl
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from payymo.secrets.model import Access, VaultAccess
from payymo.secrets.vault import TransitWrapper
from payymo.secrets.vault_http import Vault, connect
from tests.support.vault import ROOT, FakeVault, Seen

VALUE = "THE-VALUE"


class VaultServer(ThreadingHTTPServer):
    """Answers for a FakeVault on the loopback, with TLS where a context is given."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, vault: FakeVault, *, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.vault = vault
        self.address = f"{'https' if tls else 'http'}://127.0.0.1:{self.server_address[1]}"
        self.live: set[Any] = set()
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who hangs up, or doesn't like the certificate, is no error of the test."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: VaultServer

    def setup(self) -> None:
        super().setup()
        self.server.live.add(self.connection)

    def finish(self) -> None:
        self.server.live.discard(self.connection)
        super().finish()

    def _answer(self) -> None:
        parts, size = urlsplit(self.path), int(self.headers.get("Content-Length") or 0)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        body = json.loads(self.rfile.read(size)) if size else {}
        path = unquote(parts.path).removeprefix("/v1/").rstrip("/")
        seen = Seen(self.command, path, query, dict(self.headers), body, self.client_address[1])
        vault = self.server.vault
        vault.before(seen)
        vault.seen.append(seen)
        if vault.is_down:
            self.close_connection = True
            return
        status, headers, content = vault.answer(seen)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = do_LIST = _answer  # noqa: N815 - the names of the library

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the library
        """Nobody reads it."""


@contextmanager
def serving(vault: FakeVault, *, port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[VaultServer]:
    """Serve until the end of the block. Then every connection is cut."""
    server = VaultServer(vault, port=port, tls=tls)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        for connection in list(server.live):
            with suppress(OSError):
                connection.shutdown(2)


def access_to(address: str, token: str = ROOT, *, ca_file: Path | None = None, namespace: str | None = None) -> Access:
    """How a test reaches it."""
    return Access(VaultAccess(address, token, namespace, ca_file, 2))


def ask(access: Access, vault: Vault | None = None) -> bytes:
    """One request that tells a value, and one answer that has it."""
    wrapper = TransitWrapper(vault or connect(access, "x"), "transit", "payymo")
    return wrapper.open(wrapper.seal(VALUE.encode(), "a"), "a")


def everything_of(error: BaseException) -> str:
    """What a careless log or a crash report would show: the whole chain, with every attribute and local repr."""
    shown, link = "", error
    while link is not None:
        shown += f"{link!s} {link!r} {link.args!r} {getattr(link, '__dict__', {})!r}"
        shown += "".join(traceback.TracebackException.from_exception(link, capture_locals=False).format())
        link = link.__context__ or link.__cause__  # type: ignore[assignment]
    return shown
