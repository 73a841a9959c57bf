"""Answers `GET /metrics` on a socket of its own, in a thread of its own, and nothing else.

Whoever is slow, silent or many there costs four threads for some seconds, and no request of the service.
"""

import io
import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException, parse_headers
from typing import Final

from payymo.logs import SecurityLog, Trace

PATH: Final = b"/metrics"
HEAD_BYTES: Final = 8 * 1024
HEAD_SECONDS: Final = 5.0
"""How long the head of a request may take, all of it."""
SEND_SECONDS: Final = 10.0
ANSWERS_AT_MOST: Final = 4
"""How many are answered at a time. Who comes more is turned away at once: there is one Prometheus, or two."""
TICK_SECONDS: Final = 1.0
TRACE: Final = Trace(request_id="metrics")
_REQUEST_LINE: Final = re.compile(rb"(?P<method>[A-Z]{1,16}) (?P<path>/[!-~]*) HTTP/1\.[01]")

Render = Callable[[str], tuple[bytes, str]]
"""For an Accept header: the metrics, and of what content type they are."""


class Endpoint:
    """Serves one listening socket, which other processes may serve, too."""

    def __init__(self, listener: socket.socket, render: Render, tick: Callable[[], None], log: SecurityLog) -> None:
        """`tick` is called about every second, whether somebody asks or not."""
        self._listener = listener
        self._render = render
        self._tick = tick
        self._log = log
        self._places = threading.BoundedSemaphore(ANSWERS_AT_MOST)

    def start(self) -> None:
        """Begin. It ends with the process."""
        self._listener.settimeout(TICK_SECONDS)
        threading.Thread(target=self._run, name="payymo-metrics", daemon=True).start()

    def _run(self) -> None:
        ticked_at = float("-inf")
        while True:
            try:
                if time.monotonic() - ticked_at >= TICK_SECONDS:
                    ticked_at = time.monotonic()
                    self._tick()
                self._accept()
            except Exception as error:  # noqa: BLE001 - whatever a scraper does, the next one is answered
                self._log.failure(error, trace=TRACE)
                time.sleep(TICK_SECONDS)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except TimeoutError:
            return
        if not self._places.acquire(blocking=False):
            connection.close()
            return
        threading.Thread(target=self._serve, args=(connection,), name="payymo-scrape", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, suppress(OSError):
                answer = self._answer(_read_head(connection))
                connection.settimeout(SEND_SECONDS)  # for all of it
                connection.sendall(answer)
        except Exception as error:  # noqa: BLE001 - see above
            self._log.failure(error, trace=TRACE)
        finally:
            self._places.release()

    def _answer(self, head: bytes) -> bytes:
        line, _, rest = head.partition(b"\r\n")
        found = _REQUEST_LINE.fullmatch(line)
        if found is None:
            return _plain("400 Bad Request")
        if found["path"].partition(b"?")[0] != PATH:
            return _plain("404 Not Found")
        if found["method"] not in {b"GET", b"HEAD"}:
            return _plain("405 Method Not Allowed")
        try:
            body, kind = self._render(parse_headers(io.BytesIO(rest)).get("Accept", ""))
        except HTTPException:
            return _plain("400 Bad Request")
        except Exception as error:  # noqa: BLE001 - who asks is told that there is nothing
            self._log.failure(error, trace=TRACE)
            return _plain("500 Internal Server Error")
        answer = _response("200 OK", body, kind)
        return answer if found["method"] == b"GET" else answer[: -len(body)]


def _read_head(connection: socket.socket) -> bytes:
    """The head of a request. Raises OSError: it did not come in time; what is too long is cut, and will be refused."""
    until, head = time.monotonic() + HEAD_SECONDS, b""
    while b"\r\n\r\n" not in head and len(head) < HEAD_BYTES:
        connection.settimeout(max(0.001, until - time.monotonic()))
        got = connection.recv(HEAD_BYTES)
        if not got:
            raise ConnectionAbortedError
        head += got
        if time.monotonic() > until:
            raise TimeoutError
    return head if b"\r\n\r\n" in head else b""


def _plain(status: str) -> bytes:
    return _response(status, f"{status}\n".encode(), "text/plain; charset=utf-8")


def _response(status: str, body: bytes, kind: str) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nCache-Control: no-store\r\n"
        "X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body
