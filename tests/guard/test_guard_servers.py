"""The guard behind real servers, which differ in what they make of odd requests: what is odd opens nothing."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guard.ports import free_port

START_SECONDS = 30
SECRET = b"the secret"

PROGRAM = """
from flask import Flask
from payymo_guard.asgi import ASGIGuard, protect, public
from payymo_guard.flask import FlaskGuard
from payymo_guard.testing import FakeIssuer

issuer = FakeIssuer()
guard = FlaskGuard(issuer.guard())
wsgi = Flask(__name__)
guard.protect(wsgi)


@wsgi.get("/token")
@guard.public
def token():
    return issuer.mint()


@wsgi.get("/admin")
def admin():
    return "the secret"


@wsgi.get("/open/<path:rest>")
@guard.public
def rest(rest):
    return rest


async def answer(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    path = scope["path"]
    body = {"/token": issuer.mint(), "/admin": "the secret"}.get(path, path).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


asgi = ASGIGuard(answer, issuer.guard(), [public("/token"), protect("/admin"), public("/open/*")])
"""
SERVERS = {
    "werkzeug": "flask --app program:wsgi run --port {port}",
    "gunicorn": "gunicorn --no-control-socket program:wsgi -b 127.0.0.1:{port}",
    "granian-wsgi": "granian --interface wsgi program:wsgi --port {port}",
    "uvicorn": "uvicorn --lifespan off program:asgi --port {port}",
    "granian-asgi": "granian --interface asginl program:asgi --port {port}",
}
TARGETS = [
    *("/open/../admin", "/open/%2e%2e/admin", "/open/..%2fadmin", "/open/..%5cadmin", "/open/%252e%252e/admin"),
    *("//admin", "/./admin", "/admin/", "/admin/.", "/%61dmin", "/admin%00", "/admin%2f", "/admin;/open/x", "/ADMIN"),
    *("/admin?/open/x", "/admin#/open/x", "/open/x#/../../admin", "/open#/admin", "/open/x?/admin", "/\\admin"),
    *(
        "http://localhost/admin",
        "http://localhost/open/../admin",
        "admin",
        "*",
        "/open/%c0%ae%c0%ae/admin",
        "/open//admin",
    ),
]


@pytest.fixture(params=SERVERS)
def port(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    """One of the servers, with the guarded program."""
    (tmp_path / "program.py").write_text(PROGRAM)
    found = free_port()
    name, *words = SERVERS[request.param].format(port=found).split()
    log = tmp_path / "server.log"
    environ = os.environ | {"PYTHONPATH": str(tmp_path)}
    with (
        log.open("wb") as lines,
        subprocess.Popen([sys.executable, "-m", name, *words], cwd=tmp_path, env=environ, stderr=lines) as server,
    ):
        try:
            deadline = time.monotonic() + START_SECONDS
            while not is_up(found):
                if time.monotonic() > deadline or server.poll() is not None:
                    raise RuntimeError(log.read_text())
                time.sleep(0.05)
            yield found
        finally:
            server.terminate()


def is_up(port: int) -> bool:
    try:
        return send(port, "/token").startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def send(port: int, target: str, *lines: str) -> bytes:
    """The answer to a request that no client library has cleaned up."""
    head = [f"GET {target} HTTP/1.1", "Host: localhost", "Connection: close", *lines]
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(("\r\n".join(head) + "\r\n\r\n").encode("latin-1"))
        found = b""
        while chunk := connection.recv(65_536):
            found += chunk
        return found


def test_what_is_odd_opens_nothing(port: int) -> None:
    """Targets that could be read in two ways, and headers that could be: the one good header opens, and no other."""
    token = send(port, "/token").partition(b"\r\n\r\n")[2].strip().decode()
    good = f"Authorization: Bearer {token}"
    assert SECRET in send(port, "/admin", good)
    for target in TARGETS:
        answer = send(port, target)
        assert SECRET not in answer, target
        assert b"HTTP/1.1 500" not in answer, target
    for lines in (
        [],
        [good, good],
        [good, "Authorization: Basic YTpi"],
        ["Authorization: Basic YTpi", good],
        [good, "Authorization:"],
        [f"{good}, Basic YTpi"],
        [f"Authorization : Bearer {token}"],
        [f"Authorization_: Bearer {token}"],
        [f"Proxy-Authorization: Bearer {token}"],
        [f"X-Authorization: Bearer {token}"],
        ["Authorization: Bearer", f" {token} x"],
        [f"Cookie: access_token_cookie={token}"],
        [f"Authorization: Bearer {token}\x00"],
        [f"Authorization: Bearer {token[:-4]}"],
    ):
        assert SECRET not in send(port, "/admin", *lines), lines
