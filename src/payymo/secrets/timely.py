"""Connections whose answers are whole in time: head and body under one deadline, however slowly they trickle.

A timeout of the HTTP library is for each wait. Who sends an octet of a header now and then, or one "100 Continue" after
the other, would hold a thread for ever. Here the clock runs from the first octet of the answer that is waited for.
"""

import http.client
import io
import socket
import time
from collections.abc import Mapping
from typing import Any, Final

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


class _Timely(io.RawIOBase):
    """Reads from a socket until the deadline. The timeout of the socket says how far away it is when this is made."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw = raw
        self._sock = sock
        patience = sock.gettimeout()
        self._ends_at = None if patience is None else time.monotonic() + patience

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._ends_at is not None:
            remaining = self._ends_at - time.monotonic()
            if remaining <= 0:
                raise TimeoutError("timed out")
            self._sock.settimeout(remaining)
        found: int | None = self._raw.readinto(buffer)
        return found

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **more: Any) -> None:
        super().__init__(sock, *args, **more)
        buffered: Any = self.fp
        self.fp = io.BufferedReader(_Timely(buffered.detach(), sock))


class _Connection(HTTPConnection):
    response_class = _Response


class _TlsConnection(HTTPSConnection):
    response_class = _Response


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


POOLS: Final[Mapping[str, type[HTTPConnectionPool]]] = {"http": _Pool, "https": _TlsPool}
"""By scheme, for the library's `PoolManager.pool_classes_by_scheme`."""
