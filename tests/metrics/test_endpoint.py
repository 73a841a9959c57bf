"""Whoever scrapes gets one path of one port, and can take no more than a few threads."""

import io
import socket
import time
from collections.abc import Iterator

import pytest

from payymo.logs import SecurityLog
from payymo.metrics.endpoint import ANSWERS_AT_MOST, HEAD_BYTES, Endpoint

Port = int


@pytest.fixture
def port() -> Iterator[Port]:
    """Of an endpoint whose metrics are the Accept header."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        Endpoint(
            listener, lambda accept: (accept.encode(), "text/plain"), lambda: None, SecurityLog(stream=io.StringIO())
        ).start()
        yield listener.getsockname()[1]


def ask(port: Port, request: bytes) -> bytes:
    """All that comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request)
        try:
            return b"".join(iter(lambda: connection.recv(65536), b""))
        except ConnectionResetError:  # it did not read to the end
            return b""


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET /metrics HTTP/1.1", 200),
        ("GET /metrics?name[]=x HTTP/1.0", 200),
        ("POST /metrics HTTP/1.1", 405),
        ("GET / HTTP/1.1", 404),
        ("GET /metrics/ HTTP/1.1", 404),
        ("GET http://127.0.0.1/metrics HTTP/1.1", 400),
        ("GET /metrics HTTP/2.0", 400),
        ("\x16\x03\x01", 400),
    ],
)
def test_one_path_is_there_and_nothing_else(port: Port, request_line: str, status: int) -> None:
    """And what is no request is refused."""
    answer = ask(port, f"{request_line}\r\nHost: x\r\nAccept: a/b\r\n\r\n".encode("latin-1"))
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert (answer.partition(b"\r\n\r\n")[2] == b"a/b") == (status == 200)


def test_head_has_no_body(port: Port) -> None:
    """RFC 9110 §9.3.2."""
    answer = ask(port, b"HEAD /metrics HTTP/1.1\r\nAccept: a/b\r\n\r\n")
    assert b"Content-Length: 3\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


def test_a_head_without_end_is_cut(port: Port) -> None:
    """Memory for it is bounded."""
    answer = ask(port, b"GET /metrics HTTP/1.1\r\nX: " + b"x" * (2 * HEAD_BYTES))
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")


def test_who_says_nothing_takes_one_place_and_gives_it_back(port: Port) -> None:
    """With every place taken the next one is turned away at once; when one is free again, it is answered."""
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(ANSWERS_AT_MOST)]
    assert ask(port, b"GET /metrics HTTP/1.1\r\n\r\n") == b""
    silent.pop().close()
    deadline = time.monotonic() + 20
    while not ask(port, b"GET /metrics HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200 "):
        assert time.monotonic() < deadline
    for connection in silent:
        connection.close()
