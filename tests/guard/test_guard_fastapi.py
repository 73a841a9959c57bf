"""Routes of FastAPI behind access tokens, and what their OpenAPI document says of it."""

import asyncio
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Security, WebSocket
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.websockets import WebSocketDisconnect

from payymo_guard import Claims
from payymo_guard.fastapi import FastAPIGuard
from payymo_guard.testing import FakeIssuer

ISSUER = FakeIssuer()


def bearer(*permissions: str, tenant: str = "acme") -> dict[str, str]:
    """The header of somebody of a tenant."""
    return {"Authorization": f"Bearer {ISSUER.mint(tenant_id=tenant, permissions=permissions)}"}


def named(connection: HTTPConnection) -> str | None:
    """The tenant that a request names itself."""
    return connection.headers.get("X-Tenant")


def build(guard: FastAPIGuard) -> FastAPI:
    """One route of each kind."""
    app = FastAPI()
    reader = guard.require("invoices:read")

    @app.get("/invoices")
    async def invoices(claims: Annotated[Claims, Depends(reader)]) -> dict[str, str]:
        return {"tenant": claims.tenant_id}

    @app.get("/sync")
    def sync(claims: Annotated[Claims, Depends(reader)]) -> dict[str, str]:
        return {"tenant": claims.tenant_id}

    @app.get("/any", dependencies=[Depends(guard.require())])
    async def anybody() -> str:
        return "any"

    @app.get("/t/{tenant_id}/invoices")
    async def of_tenant(tenant_id: str, claims: Annotated[Claims, Depends(guard.require(tenant="tenant_id"))]) -> str:
        return f"{tenant_id} {claims.tenant_id}"

    @app.get("/misspelled/{tenant}")
    async def misspelled(tenant: str, _: Annotated[Claims, Depends(guard.require(tenant="tenant_id"))]) -> str:
        return tenant

    @app.get("/by-name", dependencies=[Depends(guard.require(tenant=named))])
    async def by_name() -> str:
        return "named"

    @app.post("/orders")
    async def orders(body: dict[str, int], claims: Annotated[Claims, Depends(guard.require("orders:write"))]) -> int:
        return body["count"] + len(claims.permissions)

    @app.websocket("/live")
    async def live(websocket: WebSocket, claims: Annotated[Claims, Depends(guard.require("live:read"))]) -> None:
        await websocket.accept()
        await websocket.send_text(claims.sub)
        await websocket.close()

    app.include_router(build_api(guard))
    app.get("/open")(lambda: "open")
    return app


def build_api(guard: FastAPIGuard) -> APIRouter:
    """Routes that all require something."""
    api = APIRouter(prefix="/api", dependencies=[Depends(guard.require("shop:use"))])

    @api.get("/list")
    async def listed() -> str:
        return "list"

    @api.get("/both")
    async def both(_: Annotated[Claims, Depends(guard.require("shop:admin"))]) -> str:
        return "both"

    return api


@pytest.fixture
def client() -> TestClient:
    guard = FastAPIGuard(ISSUER.verifier())
    app = build(guard)
    guard.init_app(app)
    return TestClient(app)


def test_who_has_the_permission_comes_in(client: TestClient) -> None:
    """And the route gets the claims, sync or async."""
    for path in ("/invoices", "/sync"):
        assert client.get(path, headers=bearer("invoices:read")).json() == {"tenant": "acme"}
        assert client.get(path, headers=bearer("*:read")).status_code == 200
        assert client.get(path, headers=bearer("invoices:write")).status_code == 403
    assert client.get("/any", headers=bearer()).json() == "any"
    assert client.get("/open").json() == "open"


@pytest.mark.parametrize(
    "path", ["/invoices", "/sync", "/any", "/t/acme/invoices", "/by-name", "/api/list", "/api/both"]
)
def test_nobody_else_does(client: TestClient, path: str) -> None:
    """Refusals are problem documents, and not FastAPI's own form."""
    for headers, code in (({}, "missing_token"), ({"Authorization": "Bearer x"}, "invalid_token")):
        answer = client.get(path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, code)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["www-authenticate"].startswith('Bearer realm="payymo"')
        assert int(answer.headers["content-length"]) == len(answer.content)


def test_a_lacking_permission_is_named(client: TestClient) -> None:
    """RFC 6750 §3.1."""
    answer = client.get("/invoices", headers=bearer())
    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
    assert 'scope="invoices:read"' in answer.headers["www-authenticate"]


def test_a_route_of_one_tenant_takes_its_tokens_alone(client: TestClient) -> None:
    """By the path's parameter, and by what a function answers. Nothing named, or misspelled: nobody."""
    acme = bearer()
    assert client.get("/t/acme/invoices", headers=acme).json() == "acme acme"
    assert client.get("/t/other/invoices", headers=acme).status_code == 401
    assert client.get("/by-name", headers=acme | {"X-Tenant": "acme"}).status_code == 200
    assert client.get("/by-name", headers=acme | {"X-Tenant": "other"}).status_code == 401
    assert client.get("/by-name", headers=acme).status_code == 401
    assert client.get("/misspelled/acme", headers=acme).status_code == 503


def test_a_router_may_require_something_of_all_its_routes(client: TestClient) -> None:
    """And a route more."""
    assert client.get("/api/list", headers=bearer("shop:use")).status_code == 200
    assert client.get("/api/both", headers=bearer("shop:use")).status_code == 403
    assert client.get("/api/both", headers=bearer("shop:admin")).status_code == 403
    assert client.get("/api/both", headers=bearer("shop:*")).status_code == 200


def test_scopes_of_security_are_required_too() -> None:
    """FastAPI's own way to say what a route needs: whoever writes it there must not find the route open."""
    guard = FastAPIGuard(ISSUER.verifier())
    app, caller = FastAPI(), guard.require("shop:use")

    def subject(claims: Annotated[Claims, Security(caller, scopes=["users:read"])]) -> str:
        return claims.sub

    @app.get("/direct")
    async def direct(_: Annotated[Claims, Security(caller, scopes=["invoices:read"])]) -> str:
        return "direct"

    @app.get("/nested")
    async def nested(_: Annotated[str, Security(subject, scopes=["invoices:read"])]) -> str:
        return "nested"

    @app.get("/wildcard")
    async def wildcard(_: Annotated[Claims, Security(caller, scopes=["invoices:*"])]) -> str:
        return "nobody"

    client = TestClient(app)
    for path, *granted in (("/direct", "invoices:read"), ("/nested", "invoices:read", "users:read")):
        assert client.get(path, headers=bearer("shop:use")).status_code == 403
        assert client.get(path, headers=bearer(*granted)).status_code == 403
        assert client.get(path, headers=bearer("shop:use", *granted)).status_code == 200
    assert client.get("/nested", headers=bearer("shop:use", "invoices:read")).status_code == 403
    assert client.get("/wildcard", headers=bearer("*:*")).status_code == 403


def test_strangers_learn_nothing_about_the_body(client: TestClient) -> None:
    """Who has no token is asked for one, also with a body of the wrong shape."""
    answer = client.post("/orders", json={"wrong": "body"})
    assert (answer.status_code, answer.json()["code"]) == (401, "missing_token")
    assert client.post("/orders", json={"count": 2}, headers=bearer("orders:write")).json() == 3


def test_methods_that_are_not_there_are_not(client: TestClient) -> None:
    """FastAPI answers HEAD and OPTIONS only where somebody has declared them: CORS belongs around the application."""
    assert client.head("/invoices").status_code == 405
    assert client.options("/invoices").status_code == 405


def test_several_headers_are_refused(client: TestClient) -> None:
    """Whichever of them is good."""
    good = bearer()["Authorization"]
    for headers in ([("Authorization", good)] * 2, [("Authorization", "Basic x"), ("authorization", good)]):
        assert client.get("/any", headers=headers).status_code == 401
    assert client.get("/any", params={"access_token": good[7:]}).status_code == 401


def test_a_websocket_is_refused_before_it_is_accepted(client: TestClient) -> None:
    """With the whole answer where the server can send one."""
    for headers in ({}, bearer()):
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/live", headers=headers):
            raise AssertionError("accepted")
    with client.websocket_connect("/live", headers=bearer("live:read")) as socket:
        assert socket.receive_text() == "user-1"


def test_a_server_that_can_only_close_closes(client: TestClient) -> None:
    """Where a WebSocket can't be refused by a whole answer: that is a 403 for the client."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/live", "headers": [], "query_string": b"", "root_path": "", "scheme": "ws"}
    asyncio.run(client.app(scope, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_the_openapi_document_names_the_scheme(client: TestClient) -> None:
    """So that its page has a field for the token, and clients are generated with one."""
    document = client.get("/openapi.json").json()
    scheme = document["components"]["securitySchemes"]["payymo"]
    assert (scheme["type"], scheme["scheme"], scheme["bearerFormat"]) == ("http", "bearer", "JWT")
    assert document["paths"]["/invoices"]["get"]["security"] == [{"payymo": []}]
    assert document["paths"]["/api/list"]["get"]["security"] == [{"payymo": []}]
    assert "security" not in document["paths"]["/open"]["get"]


def test_refusals_stay_refusals_without_init_app() -> None:
    """With the same status and headers, and FastAPI's own body."""
    client = TestClient(build(FastAPIGuard(ISSUER.verifier())))
    answer = client.get("/invoices")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="payymo"')
    assert answer.headers["content-type"] == "application/json"
    assert client.get("/invoices", headers=bearer("invoices:read")).status_code == 200
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/live"):
        raise AssertionError("accepted")


def test_a_guard_is_made_before_its_application() -> None:
    """Each application of a factory has a core of its own; without one nobody gets in."""
    guard, other = FastAPIGuard(), FakeIssuer()
    apps = [build(guard) for _ in range(3)]
    guard.init_app(apps[0], ISSUER.verifier())
    guard.init_app(apps[1], other.verifier())
    theirs = {"Authorization": f"Bearer {other.mint()}"}
    clients = [TestClient(app, raise_server_exceptions=False) for app in apps]
    assert [client.get("/any", headers=bearer()).status_code for client in clients] == [200, 401, 500]
    assert [client.get("/any", headers=theirs).status_code for client in clients] == [401, 200, 500]
    FastAPIGuard(ISSUER.verifier()).init_app(apps[2])  # another guard's core does not stand in
    assert clients[2].get("/any", headers=bearer()).status_code == 500
    with pytest.raises(ValueError, match="Guard"):
        guard.init_app(FastAPI())


def test_an_application_that_is_mounted_has_its_own() -> None:
    """What is beside it is another's business."""
    guard = FastAPIGuard()
    inner, outer = build(guard), FastAPI()
    guard.init_app(inner, ISSUER.verifier())
    outer.mount("/inner", inner)
    client = TestClient(outer)
    assert client.get("/inner/any").json()["code"] == "missing_token"
    assert client.get("/inner/t/acme/invoices", headers=bearer()).status_code == 200


def test_a_requirement_that_nobody_could_fulfil_is_an_error_at_once() -> None:
    """When the route is declared, and not with its first caller."""
    guard = FastAPIGuard()
    for permission in ("invoices", "invoices:*", print):
        with pytest.raises(ValueError, match="permission"):
            guard.require(permission)  # type: ignore[arg-type]


def test_starlette_can_ask_too() -> None:
    """Without FastAPI's dependencies: the requirement is a function of the request."""
    guard = FastAPIGuard(ISSUER.verifier())
    reader = guard.require("invoices:read")

    async def invoices(request: Request) -> Response:
        return PlainTextResponse((await reader(request)).tenant_id)

    app = Starlette(routes=[Route("/invoices", invoices)])
    guard.init_app(app)
    client = TestClient(app)
    assert client.get("/invoices").json()["code"] == "missing_token"
    assert client.get("/invoices", headers=bearer("invoices:read")).text == "acme"
    assert client.head("/invoices").status_code == 401
