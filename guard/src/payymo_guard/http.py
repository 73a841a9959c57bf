"""HTTP to one server: connections that are kept, answers within bounds of time and size, and no way around TLS.

Follows no redirect and no proxy of the environment: a credential goes to the server that it is for, or nowhere. Plain
HTTP is for the loopback alone.
"""

import contextlib
import http.client
import io
import ipaddress
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

IDLE_SECONDS: Final = 45
"""Connections that were idle for longer are not used again: something between may have forgotten them silently."""
MAX_RETRY_SECONDS: Final = 300
"""Whoever asks us to wait for longer has made a mistake, or wants us out of the way."""
_ALWAYS: Final = {"Accept-Encoding": "identity", "Cache-Control": "no-cache"}
"""What we ask is asked of the server itself, and not of a cache between."""
_CHUNK: Final = 65_536


class Unreachable(Exception):
    """There is no answer that can be used. `retry_seconds`: the server wants to be left alone for so long."""

    def __init__(self, why: str, *, status: int | None = None, retry_seconds: float = 0) -> None:
        self.status = status
        self.retry_seconds = retry_seconds
        super().__init__(why)


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port (RFC 6454)."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> "Origin":
        """The origin of a URL. Raises ValueError unless it is https, or http on the loopback."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme not in ("https", "http") or not host or "@" in parts.netloc:
            raise ValueError(f"{url!r} is not the address of a server: https://…")
        if not (url.isascii() and url.isprintable()) or " " in url:
            raise ValueError(f"{url!r} holds characters that no address has")
        if parts.scheme == "http" and not is_loopback(host):
            raise ValueError(f"{url!r}: http is for the loopback alone; everywhere else it is https")
        return cls(parts.scheme, host, parts.port or (443 if parts.scheme == "https" else 80))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server has answered."""

    status: int
    headers: Mapping[str, str]
    """By names in small letters."""
    body: bytes = field(repr=False)

    def require_ok(self, what: str) -> bytes:
        """The body, if the status is 200. Raises Unreachable."""
        if self.status == 200:
            return self.body
        why = "it sends us elsewhere, where we don't go" if 300 <= self.status < 400 else "it refuses"
        raise Unreachable(f"{what}: {why} ({self.status})", status=self.status, retry_seconds=self._retry_seconds())

    @property
    def age_seconds(self) -> int:
        """For how long caches have held this (RFC 9111 §5.1). 0: it comes from the server itself."""
        return _whole(self.headers.get("age", ""))

    def _retry_seconds(self) -> float:
        return float(min(_whole(self.headers.get("retry-after", "")), MAX_RETRY_SECONDS))


class Client:
    """Asks one server. May be shared by threads: each request has a connection to itself, and hands it back."""

    def __init__(self, origin: Origin, ca_file: Path | None = None) -> None:
        """`ca_file`: the authorities (PEM) to trust instead of the system's. Raises OSError for a bad one."""
        self._origin = origin
        self._ca_file = ca_file
        self._tls = self._trust()
        self._idle: deque[tuple[http.client.HTTPConnection, float]] = deque()
        self._busy: set[http.client.HTTPConnection] = set()
        self._is_closed = False

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        timeout_seconds: float,
        max_bytes: int,
        body: bytes | None = None,
    ) -> Answer:
        """Whatever the server answers, whole and in time. Raises Unreachable."""
        deadline = time.monotonic() + timeout_seconds
        if self._is_closed:
            raise Unreachable("closed")
        connection, is_new = self._connection()
        self._busy.add(connection)
        try:
            try:
                answer = _exchange(connection, method, path, headers, body, deadline=deadline, max_bytes=max_bytes)
            except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
                # The server may close a kept connection just when it is used again. All requests here can be repeated.
                connection.close()
                if is_new or self._is_closed:
                    raise
                answer = _exchange(connection, method, path, headers, body, deadline=deadline, max_bytes=max_bytes)
        except (OSError, http.client.HTTPException, ValueError) as error:
            connection.close()
            if isinstance(error, ssl.SSLCertVerificationError):
                self._renew_trust()
            raise Unreachable(f"no answer ({type(error).__name__}: {error})") from error
        except BaseException:
            connection.close()
            raise
        finally:
            self._busy.discard(connection)
        if connection.sock is not None:
            self._idle.append((connection, time.monotonic()))
            self._let_old_go()
        if self._has_been_closed():  # asked last: whoever closes meanwhile says so before letting go of what is idle
            self.let_go()
        return answer

    def close(self) -> None:
        """Give up, also requests that other threads are waiting in. For good."""
        self._is_closed = True
        for connection in tuple(self._busy):
            found: socket.socket | None = connection.sock
            if found is not None:
                try:
                    socket.socket.shutdown(found, socket.SHUT_RDWR)  # not TLS's own, which would wait for a goodbye
                except OSError:
                    continue  # it has ended by itself
        self.let_go()

    def _has_been_closed(self) -> bool:
        return self._is_closed

    def let_go(self) -> None:
        """Close what nobody uses now: before the end, and after a fork, in the child.

        What a thread of the parent uses is left alone there: it may hold locks that nobody will ever release.
        """
        with contextlib.suppress(IndexError):  # others may take the last one meanwhile
            while self._idle:
                self._idle.pop()[0].close()

    def _let_old_go(self) -> None:
        """The one that came back last is used first, so after a busy time the others would stay open for ever."""
        latest = time.monotonic() - IDLE_SECONDS
        with contextlib.suppress(IndexError):  # others use them meanwhile
            while self._idle[0][1] < latest:
                self._idle.popleft()[0].close()

    def _trust(self) -> ssl.SSLContext | None:
        return ssl.create_default_context(cafile=self._ca_file) if self._origin.scheme == "https" else None

    def _renew_trust(self) -> None:
        """The file may hold other authorities by now; while it can't be read, those from before hold."""
        with contextlib.suppress(OSError):
            self._tls = self._trust()

    def _connection(self) -> tuple[http.client.HTTPConnection, bool]:
        """One that nobody else uses, and whether it is new."""
        while self._idle:
            try:
                connection, since = self._idle.pop()
            except IndexError:
                break
            if time.monotonic() - since < IDLE_SECONDS:
                return connection, False
            connection.close()
        host, port = self._origin.host, self._origin.port
        if self._tls is None:
            return http.client.HTTPConnection(host, port), True
        return http.client.HTTPSConnection(host, port, context=self._tls), True


def _whole(text: str) -> int:
    """A number of seconds in a header; 0 for what is none."""
    return min(int(text[:12]), 2**31) if text.isascii() and text.isdecimal() else 0


def is_loopback(host: str) -> bool:
    """Whether this is the machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _exchange(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes | None,
    *,
    deadline: float,
    max_bytes: int,
) -> Answer:
    connection.timeout = _left(deadline)
    if connection.sock is not None:
        connection.sock.settimeout(connection.timeout)
    connection.response_class = _response_within(deadline)  # type: ignore[assignment]  # is only ever called
    connection.request(method, path, body, {**_ALWAYS, **headers})
    with contextlib.closing(connection.getresponse()) as response:  # it holds the socket when the connection is closed
        names = {name.lower(): value for name, value in response.getheaders()}
        if names.get("content-encoding", "identity") != "identity":
            raise ValueError("the answer is encoded, which was not asked for")
        content = bytearray()
        while chunk := response.read(_CHUNK):
            content += chunk
            if len(content) > max_bytes:
                raise ValueError(f"the answer is longer than {max_bytes} bytes")
        if response.length:
            raise ValueError("the answer breaks off")
        return Answer(response.status, names, bytes(content))


def _response_within(deadline: float) -> Callable[..., http.client.HTTPResponse]:
    """The library's timeout is for each read: a server that sends an octet now and then would never reach it."""

    def make(sock: socket.socket, *args: Any, **more: Any) -> http.client.HTTPResponse:
        return http.client.HTTPResponse(_Timed(sock, deadline), *args, **more)  # type: ignore[arg-type]  # see there

    return make


class _Timed:
    """The one thing that a response wants of a socket: a file."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Within(self._sock, self._deadline))


class _Within(io.RawIOBase):
    """Reads from a socket until a deadline."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._file = sock.makefile("rb", buffering=0)  # holds the socket open when the connection lets go of it
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_left(self._deadline))
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("too slow")
    return left
