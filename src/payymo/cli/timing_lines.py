"""Ways to ask the service and to measure how long it takes: in this process, or over HTTP."""

import http.client
import io
import json
import ssl
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from payymo.cli.timing_world import Ask
from payymo.errors import Misconfigured

CHANGING: Final = {"date", "x-request-id", "connection", "keep-alive"}
"""Headers that differ from one answer to the next whoever asks."""
PATIENCE_SECONDS: Final = 30


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, as far as it may be compared: without the request id."""

    status: int
    headers: frozenset[tuple[str, str]]
    body: bytes


class Line(Protocol):
    """Sends requests, one after the other."""

    def send(self, ask: Ask) -> tuple[int, Answer]:
        """The nanoseconds until the whole answer was there, and the answer."""
        ...


class Inside:
    """A WSGI application in this process."""

    def __init__(self, application: Any) -> None:
        self._application = application

    def send(self, ask: Ask) -> tuple[int, Answer]:
        """The nanoseconds, and the answer."""
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start(status: str, headers: list[tuple[str, str]], _error: object = None) -> None:
            started.append((status, headers))

        environ = _environ(ask)
        began = time.perf_counter_ns()
        chunks: Iterable[bytes] = self._application(environ, start)
        body = b"".join(chunks)
        took = time.perf_counter_ns() - began
        status, headers = started[0]
        return took, _comparable(int(status[:3]), headers, body)


class Http:
    """A service elsewhere, over one connection that is kept."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/"):
            raise Misconfigured(["--url: write http://HOST:PORT or https://HOST:PORT, without a path"])
        self._connection: http.client.HTTPConnection = (
            http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=PATIENCE_SECONDS, context=ssl.create_default_context()
            )
            if parts.scheme == "https"
            else http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE_SECONDS)
        )

    def send(self, ask: Ask) -> tuple[int, Answer]:
        """The nanoseconds, and the answer. A connection that the service has closed is opened again, untimed.

        Raises Misconfigured when nobody answers.
        """
        try:
            with suppress(http.client.HTTPException, ConnectionError):
                return self._send(ask)
            self._connection.close()
            self._connection.connect()
            return self._send(ask)
        except TimeoutError:
            raise Misconfigured([f"--url: no answer within {PATIENCE_SECONDS} seconds"]) from None
        except (OSError, http.client.HTTPException) as error:
            raise Misconfigured([f"--url: nobody answers there: {str(error) or type(error).__name__}"]) from None

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def _send(self, ask: Ask) -> tuple[int, Answer]:
        if self._connection.sock is None:
            self._connection.connect()
        began = time.perf_counter_ns()
        self._connection.request("POST", ask.path, ask.body, dict(ask.headers))
        response = self._connection.getresponse()
        body = response.read()
        took = time.perf_counter_ns() - began
        return took, _comparable(response.status, response.getheaders(), body)


def _environ(ask: Ask) -> dict[str, Any]:
    headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in ask.headers.items()}
    return {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": ask.path,
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "127.0.0.1",
        "CONTENT_TYPE": headers.pop("HTTP_CONTENT_TYPE"),
        "CONTENT_LENGTH": str(len(ask.body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(ask.body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **headers,
    }


def _comparable(status: int, headers: Iterable[tuple[str, str]], body: bytes) -> Answer:
    kept = frozenset((name.lower(), value) for name, value in headers if name.lower() not in CHANGING)
    with suppress(ValueError):
        document = json.loads(body)
        if isinstance(document, dict) and isinstance(request_id := document.get("request_id"), str):
            body = body.replace(request_id.encode(), b"-" * len(request_id))
    return Answer(status, kept, body)
