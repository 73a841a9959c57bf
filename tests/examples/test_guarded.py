"""The examples of the guard, each as a process beside a real server: who gets in, and for how long."""

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from flask import Flask
from starlette.testclient import TestClient

from payymo.compose import compose
from payymo.logs import Trace
from payymo_guard.testing import FakeIssuer
from payymo_guard.verify import inspect
from tests.guard.ports import free_port
from tests.support.house import PASSWORD, Database, settings_for
from tests.support.processes import Server, bearer, environment

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
START_SECONDS = 30
HEARD_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Example:
    """How one is started, and where its things are."""

    words: tuple[str, ...]
    things: str
    """The path of what each tenant has its own of; also its permissions' resource."""
    add: Callable[[httpx.Client, dict[str, str]], httpx.Response]


def post_title(client: httpx.Client, path: str, headers: dict[str, str]) -> httpx.Response:
    return client.post(path, json={"title": "first"}, headers=headers)


FLASK = Example(
    (str(BIN / "flask"), "--app", "examples/flask_shop.py", "run", "--port", "{port}"),
    "orders",
    lambda client, headers: post_title(client, "/orders", headers),
)
FASTAPI = Example(
    (str(BIN / "uvicorn"), "--app-dir", "examples", "--factory", "fastapi_stock:create_app", "--port", "{port}"),
    "stock",
    lambda client, headers: client.put("/stock/first", params={"count": 3}, headers=headers),
)
DJANGO = Example(
    (sys.executable, "examples/django_news.py", "runserver", "--noreload", "127.0.0.1:{port}"),
    "news",
    lambda client, headers: post_title(client, "/news", headers),
)
GRANIAN = Example(
    (
        *(str(BIN / "granian"), "--interface", "asgi", "--working-dir", "examples", "--factory"),
        *("--port", "{port}", "fastapi_stock:create_app"),
    ),
    FASTAPI.things,
    FASTAPI.add,
)
EXAMPLES = {"flask": FLASK, "fastapi": FASTAPI, "django": DJANGO, "granian": GRANIAN}


@contextmanager
def running(example: Example, folder: Path, **environ: str) -> Iterator[httpx.Client]:
    """The example as a process, ended afterwards."""
    port, log = free_port(), folder / "example.log"
    words = [word.format(port=port) for word in example.words]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PAYYMO_")} | environ
    with log.open("wb") as lines, subprocess.Popen(words, cwd=ROOT, env=clean, stdout=lines, stderr=lines) as process:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
                deadline = time.monotonic() + START_SECONDS
                while not is_up(client):
                    if time.monotonic() > deadline or process.poll() is not None:
                        raise RuntimeError(f"the example did not start:\n{log.read_text()}")
                    time.sleep(0.05)
                yield client
        finally:
            process.terminate()


def is_up(client: httpx.Client) -> bool:
    try:
        return client.get("/").status_code < 500
    except httpx.TransportError:
        return False


@pytest.fixture
def server(sqlite_database: Database) -> Iterator[Server]:
    """The service, with a clerk and a member in each of two tenants."""
    services = compose(settings_for(sqlite_database))
    for slug in ("acme", "other"):
        tenant = services.administration.create_tenant(slug, slug.title(), by=None, trace=Trace())
        permissions = [
            f"{example.things}:{action}" for example in (FLASK, FASTAPI, DJANGO) for action in ("read", "write")
        ]
        services.roles.create(tenant.id, "clerk", permissions, by=None, trace=Trace())
        for name, roles in (("carl", ["member", "clerk"]), ("mia", ["member"])):
            services.users.create(
                tenant.id,
                email=f"{name}@example.com",
                username=name,
                password=PASSWORD,
                roles=roles,
                by=None,
                trace=Trace(),
            )
    services.close()
    found = Server(sqlite_database, environment(sqlite_database))
    found._environ["PAYYMO_ISSUER"] = found.base
    found.start()
    try:
        yield found
    finally:
        found.kill()


def log_in(server: Server, name: str, tenant: str) -> dict[str, str]:
    """The header of somebody, and nothing else."""
    with server.client() as client:
        body = {"email": f"{name}@example.com", "password": PASSWORD}
        answer = client.post("/api/auth/login", json=body, headers={"X-Tenant": tenant})
        assert answer.status_code == 200, answer.text
        return bearer(answer.json()["data"]["access_token"])


def tenant_of(headers: dict[str, str]) -> str:
    """The tenant that a token says it belongs to."""
    return str(inspect(headers["Authorization"].removeprefix("Bearer ")).untrusted_claims["tenant_id"])


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_lets_in_whom_the_service_lets_in(server: Server, tmp_path: Path, name: str) -> None:
    """By permission and tenant; and refuses within a moment after the logout."""
    example = EXAMPLES[name]
    clerk, member, foreigner = (log_in(server, *who) for who in (("carl", "acme"), ("mia", "acme"), ("carl", "other")))
    with running(example, tmp_path, PAYYMO_ISSUER=server.base) as client:
        things = f"/{example.things}"
        assert client.get(things).json()["code"] == "missing_token"
        assert client.get(things, headers=bearer("x")).json()["code"] == "invalid_token"
        added = example.add(client, clerk)
        assert added.status_code in (200, 201), added.text
        assert client.get(things, headers=clerk).json() == added.json()
        assert not client.get(things, headers=foreigner).json()
        refused = client.get(things, headers=member)
        assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
        assert f'scope="{example.things}:read"' in refused.headers["WWW-Authenticate"]
        ours = f"/t/{tenant_of(clerk)}{things}"
        assert client.get(ours, headers=clerk).json() == added.json()
        assert client.get(ours, headers=foreigner).status_code == 401
        with server.client() as service:
            assert service.post("/api/auth/logout", headers=clerk).status_code == 200
        deadline = time.monotonic() + HEARD_SECONDS
        while client.get(things, headers=clerk).status_code != 401:
            assert time.monotonic() < deadline
        assert client.get(things, headers=foreigner).status_code == 200


# ── without a server ─────────────────────────────────────────────────────────────────────────────────────────────────


def load(name: str) -> ModuleType:
    """The example of this name, new."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_shop_needs_what_the_service_needs_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """`make serve` has installed that: whoever tries the example beside it should not have to look for more."""
    monkeypatch.setitem(sys.modules, "asgiref.sync", None)
    issuer = FakeIssuer()
    with issuer.guard() as guard:
        client = load("flask_shop").create_app(guard).test_client()
        token = bearer(issuer.mint(permissions=("orders:write",)))
        assert client.post("/orders", json={"title": "first"}, headers=token).status_code == 201


@pytest.mark.parametrize(("name", "path"), [("flask_shop", "/orders"), ("fastapi_stock", "/stock")])
def test_an_example_can_be_tested_without_a_server(name: str, path: str) -> None:
    """As whoever copies one would test it: minted, let in, revoked, refused."""
    issuer = FakeIssuer()
    token = issuer.mint(permissions=("orders:read", "stock:read"))
    with issuer.guard() as guard:
        app = load(name).create_app(guard)
        client: Any = app.test_client() if isinstance(app, Flask) else TestClient(app)
        assert client.get("/").status_code == 200
        assert client.get(path).status_code == 401
        assert client.get(path, headers=bearer(token)).status_code == 200
        assert client.get(path, headers=bearer(issuer.mint())).status_code == 403
        issuer.revoke_session()
        assert client.get(path, headers=bearer(token)).status_code == 401
