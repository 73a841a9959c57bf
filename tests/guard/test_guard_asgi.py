"""A whole ASGI application behind a table of paths, and what strangers try to get around it."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from payymo_guard.asgi import ASGIGuard, Rule, claims, protect, public
from payymo_guard.testing import FakeIssuer

ISSUER = FakeIssuer()
RULES = [
    public("/health"),
    public("/static/*"),
    protect("/any"),
    protect("/invoices", "invoices:read", methods=["GET"]),
    protect("/invoices", "invoices:write", methods=["POST"]),
    protect("/t/{tenant_id}/invoices", "invoices:read", tenant="tenant_id"),
    protect("/files/{name}/*", "files:read"),
    protect("/live", "live:read", methods=["WEBSOCKET"]),
    protect("/admin", "shop:admin"),
]


def bearer(*permissions: str, tenant: str = "acme") -> dict[str, str]:
    """The header of somebody of a tenant."""
    return {"Authorization": f"Bearer {ISSUER.mint(tenant_id=tenant, permissions=permissions)}"}


async def answer(request: Request) -> Response:
    """Who came in, and how far."""
    caller = request.state.payymo
    assert caller is None or caller == claims(request.scope)
    return JSONResponse({"route": request.scope["path"], "tenant": caller and caller.tenant_id})


async def live(websocket: WebSocket) -> None:
    """Tells whoever is let in who it is."""
    await websocket.accept()
    await websocket.send_text(claims(websocket.scope).sub)
    await websocket.close()


def build(rules: Iterable[Rule] = RULES) -> ASGIGuard:
    """An application that would answer at every path, guarded."""
    every = ["GET", "POST", "OPTIONS", "DELETE", "WEBSOCKET"]
    app = Starlette(routes=[WebSocketRoute("/live", live), Route("/{path:path}", answer, methods=every)])
    return ASGIGuard(app, ISSUER.verifier(), list(rules))


@pytest.fixture
def client() -> TestClient:
    return TestClient(build())


def test_the_table_says_who_comes_in(client: TestClient) -> None:
    """And the application knows who it is."""
    assert client.get("/health").json() == {"route": "/health", "tenant": None}
    assert client.get("/static/css/site.css").json()["tenant"] is None
    assert client.get("/any", headers=bearer()).json()["tenant"] == "acme"
    assert client.get("/invoices", headers=bearer("invoices:read")).status_code == 200
    assert client.post("/invoices", headers=bearer("invoices:read")).status_code == 403
    assert client.post("/invoices", headers=bearer("*:write")).status_code == 200
    assert client.get("/files/a/b/c", headers=bearer("files:*")).status_code == 200


def test_refusals_are_problem_documents(client: TestClient) -> None:
    """That no cache keeps."""
    for headers, status, code in (
        ({}, 401, "missing_token"),
        ({"Authorization": "Bearer x"}, 401, "invalid_token"),
        (bearer(), 403, "insufficient_scope"),
    ):
        refused = client.get("/invoices", headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (status, code)
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["cache-control"] == "no-store"
        assert refused.headers["www-authenticate"].startswith('Bearer realm="payymo"')


@pytest.mark.parametrize(
    "path",
    ["/", "/nowhere", "/Health", "/health/", "/healthy", "/heal", "/static", "/INVOICES", "/invoices/", "/t//invoices"],
)
def test_what_the_table_lacks_is_denied(client: TestClient, path: str) -> None:
    """To strangers as everywhere, so that they can't tell; to others for good. The case and every slash count."""
    assert client.get(path).status_code in (401, 400)
    assert client.get(path, headers=bearer("*:*")).status_code in (403, 400)
    assert client.get(path, headers=bearer("*:*")).json()["code"] in ("not_permitted", "malformed_request")


def test_a_method_that_the_table_lacks_is_denied(client: TestClient) -> None:
    """HEAD comes with GET. OPTIONS is a method like the others: CORS belongs around the guard."""
    assert client.delete("/invoices", headers=bearer("*:*")).status_code == 403
    assert client.options("/invoices").status_code == 401
    head = client.head("/invoices")
    assert (head.status_code, head.content) == (401, b"")
    assert int(head.headers["content-length"]) > 0
    assert client.head("/invoices", headers=bearer("invoices:read")).status_code == 200
    assert client.request("get", "/invoices", headers=bearer()).status_code == 403
    assert client.request("WEBSOCKET", "/live", headers=bearer("live:read")).status_code == 403


def test_a_method_in_small_letters_is_none() -> None:
    """RFC 9110 §9.1: it would be another one. Django and Quart take `post` for POST, and the table does not."""
    reader = [(b"authorization", bearer("invoices:read")["Authorization"].encode())]
    rules = [protect("/invoices", "invoices:write", methods=["POST"]), protect("/invoices", "invoices:read")]
    for method, status in (("GET", 200), ("POST", 403), ("post", 400), ("Post", 400)):
        assert drive(build(rules), path="/invoices", method=method, headers=reader)[0] == status


def test_a_path_of_one_tenant_takes_its_tokens_alone(client: TestClient) -> None:
    """By the segment that names it."""
    acme = bearer("invoices:read")
    assert client.get("/t/acme/invoices", headers=acme).json()["tenant"] == "acme"
    for path in ("/t/other/invoices", "/t/ACME/invoices", "/t/acme%20/invoices"):
        assert client.get(path, headers=acme).status_code == 401


# ── paths that can be read in two ways ───────────────────────────────────────────────────────────────────────────────


def drive(app: Any, **scope: Any) -> tuple[int, Any]:
    """One request by its scope, as servers make them: nothing on the way cleans it up."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    whole = {"type": "http", "method": "GET", "headers": [], "query_string": b"", "root_path": "", **scope}
    asyncio.run(app(whole, receive, send))
    return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent[1:]) or b"null")


def decoded(raw: str) -> str:
    """As servers do it."""
    return unquote(raw, errors="replace")


@pytest.mark.parametrize(
    "raw",
    [
        "/static/../admin",
        "/static/%2e%2e/admin",
        "/static/.%2e/admin",
        "/static/%2E%2E%2fadmin",
        "/static/..%2fadmin",
        "/static/..%5cadmin",
        "/static/..\\admin",
        "/static/%252e%252e/admin",
        "/static/%252fadmin",
        "/static//admin",
        "//admin",
        "/static/./admin",
        "/static/.",
        "/static/..",
        "/static/%2fadmin",
        "/static/%5Cadmin",
        "/static/a%00",
        "/static/a%0aadmin",
        "/static/%09",
        "/static/%c0%af",
        "/static/x#/../admin",
        "/static#/admin",
        "http://elsewhere.test/static/x",
        "static/x",
        "*",
        "",
    ],
)
def test_a_path_that_can_be_read_in_two_ways_is_refused(raw: str) -> None:
    """Whoever is behind may clean it up and find another route; so nobody gets to read it."""
    status, document = drive(build(), path=decoded(raw), raw_path=raw.encode())
    assert (status, document["code"]) == (400, "malformed_request")


@pytest.mark.parametrize("name", ["a..b", ".well-known", "a%20b", "%C3%A9", "a;b", "a%23b", "a%3Fb", "100%25"])
def test_an_ordinary_path_is_not(name: str) -> None:
    """What looks odd and has one reading."""
    raw = f"/static/{name}"
    assert drive(build(), path=decoded(raw), raw_path=raw.encode())[0] == 200


@pytest.mark.parametrize("raw", ["/%61dmin", "/admi%6e", "/%61%64%6d%69%6e"])
def test_an_encoded_letter_is_the_letter(raw: str) -> None:
    """The application sees /admin, and so does the guard."""
    assert drive(build(), path=decoded(raw), raw_path=raw.encode())[0] == 401
    assert drive(build([public("/admin")]), path=decoded(raw), raw_path=raw.encode())[0] == 200


@pytest.mark.parametrize("rest", [public("/*"), protect("/{page}"), public("/{page}")], ids=["*", "any token", "{}"])
@pytest.mark.parametrize("path", ["/admin/", "/Admin", "/ADMIN/", "/shop/x/", "/Shop/x"])
def test_what_stands_for_all_the_rest_opens_nothing_that_was_guarded(rest: Rule, path: str) -> None:
    """Some frameworks take `/admin/` for `/admin` (Litestar, Quart), or `/ADMIN` (BlackSheep), and some do not."""
    guarded = [protect("/admin", "shop:admin"), protect("/shop/{item}", "shop:admin")]
    client = TestClient(build([*guarded, rest] if rest.path == "/*" else [*guarded, rest, protect("/*")]))
    assert client.get(path).status_code == 401
    assert client.get(path, headers=bearer()).status_code == 403
    assert client.get(path, headers=bearer("shop:admin")).status_code == 200


def test_a_path_that_a_rule_names_is_that_rule_s() -> None:
    """Whatever else is nearly the same: whoever writes it down means it."""
    client = TestClient(
        build([protect("/account/*", "account:read"), public("/account"), protect("/a"), public("/A/")])
    )
    assert [client.get(path).status_code for path in ("/account", "/account/", "/A/", "/a/")] == [200, 401, 200, 401]


def test_a_tenant_stays_one_in_other_letters() -> None:
    """What is pinned to a path's tenant is pinned however the rest of the path is written."""
    client = TestClient(build([protect("/t/{tenant_id}/x", tenant="tenant_id"), public("/*")]))
    for path in ("/t/acme/x", "/T/acme/X", "/t/acme/x/"):
        assert client.get(path, headers=bearer(tenant="acme")).status_code == 200
        assert client.get(path, headers=bearer(tenant="other")).status_code == 401


def test_the_query_and_the_fragment_are_no_path(client: TestClient) -> None:
    """They open nothing."""
    for path in ("/admin?/health", "/admin?path=/health", "/admin;/health", "/admin/?x=/static/"):
        assert client.get(path).status_code == 401


PIECES = st.sampled_from(
    ["/", "//", "/.", "/..", "%2e", "%2f", "%5c", "%25", "\\", ";", "a", "admin", "Admin", "static"]
)


@given(pieces=st.lists(PIECES, max_size=8), root=st.sampled_from(["", "/api", "/static", "/", "/api/"]))
def test_who_gets_to_a_route_was_judged_by_that_route(pieces: list[str], root: str) -> None:
    """For any path and any root_path: the router sees `/admin` only when the guard did, too."""
    raw = root + "/" + "".join(pieces)
    seen: list[str] = []

    async def admin(_: Request) -> Response:
        seen.append("admin")
        return PlainTextResponse("0")

    app = Starlette(routes=[Route("/admin", admin), Route("/{rest:path}", answer)])
    guarded = ASGIGuard(app, ISSUER.verifier(), [protect("/admin"), public("/*")])
    drive(guarded, path=decoded(raw), raw_path=raw.encode(), root_path=root)
    assert not seen


def test_below_a_root_path_the_table_is_read_without_it() -> None:
    """As Starlette's router does, whether the guard is around the application or around what is mounted in it."""
    assert drive(build(), path="/api/health", raw_path=b"/api/health", root_path="/api")[0] == 200
    assert drive(build(), path="/apihealth", raw_path=b"/apihealth", root_path="/api")[0] == 401
    assert drive(build(), path="/api/health", raw_path=b"/api/health")[0] == 401
    mounted = TestClient(Starlette(routes=[Mount("/shop", build())]))
    assert mounted.get("/shop/health").status_code == 200
    assert mounted.get("/shop/admin").status_code == 401


@pytest.mark.parametrize("root", ["", "/x"])
def test_a_root_path_of_the_application_s_own_counts_like_the_server_s(root: str) -> None:
    """FastAPI puts it in the place of the server's, also behind middleware, and routes on the rest."""
    app = FastAPI()
    app.root_path = "/api"  # what its argument of this name does
    app.get("/admin")(lambda: 0)
    core, rules = ISSUER.verifier(), [protect("/admin", "shop:admin"), protect("/*")]
    for guarded in (ASGIGuard(app, core, rules), ASGIGuard(CORSMiddleware(app), core, rules)):
        for path in ("/admin", "/api/admin"):
            headers = [(b"authorization", bearer()["Authorization"].encode())]
            scope = {"path": path, "raw_path": path.encode(), "root_path": root}
            assert drive(guarded, headers=headers, **scope)[0] == 403
            headers = [(b"authorization", bearer("shop:admin")["Authorization"].encode())]
            assert drive(guarded, headers=headers, **scope)[0] == 200


def test_a_folder_that_others_call_root_path_is_none() -> None:
    """Of Flask and Quart it is where the program is."""
    guarded = build()
    guarded._app.root_path = "/static"  # type: ignore[attr-defined]
    assert drive(guarded, path="/static/health", raw_path=b"/static/health")[0] == 200
    assert drive(guarded, path="/static/admin", raw_path=b"/static/admin")[1]["route"] == "/static/admin"


def test_a_server_without_raw_path_is_served() -> None:
    """It is optional."""
    assert drive(build(), path="/health")[0] == 200
    assert drive(build(), path="/health", raw_path=None)[0] == 200
    assert drive(build(), path="/static/../admin")[0] == 400
    assert drive(build(), path="/static/x#/admin")[0] == 400


# ── headers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_several_headers_are_refused() -> None:
    """Whichever of them is good, and however they are spelled."""
    good = bearer()["Authorization"].encode()
    for headers in (
        [(b"authorization", good), (b"authorization", good)],
        [(b"authorization", b"Basic x"), (b"Authorization", good)],
        [(b"authorization", good + b", " + good)],
        [(b"authorization", b"")],
        [(b"proxy-authorization", good)],
        [(b"x-forwarded-authorization", good)],
        [(b"authorization", good + b"\xff")],
    ):
        assert drive(build(), path="/any", headers=headers)[0] == 401
    assert drive(build(), path="/any", headers=[(b"Authorization", good)])[0] == 200


def test_what_the_scope_held_before_does_not_count() -> None:
    """Claims of another middleware, or of a request before this one, are none."""
    stale = {"payymo_guard.claims": "root", "state": {"payymo": "root", "mine": 1}}
    shared = stale["state"]
    assert drive(build(), path="/health", **stale)[1]["tenant"] is None
    assert shared == {"payymo": "root", "mine": 1}
    with pytest.raises(LookupError):
        claims({"payymo_guard.claims": "root"})


# ── WebSockets, and what is none of both ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("headers", "status"), [({}, 401), ({"Authorization": "Bearer x"}, 401), (bearer(), 403)])
def test_a_websocket_is_refused_before_it_is_accepted(client: TestClient, headers: dict[str, str], status: int) -> None:
    """With the whole answer where the server can send one."""
    with pytest.raises(WebSocketDisconnect) as refused, client.websocket_connect("/live", headers=headers):
        raise AssertionError("accepted")
    assert getattr(refused.value, "status_code", status) == status


def test_a_websocket_with_the_permission_is_opened(client: TestClient) -> None:
    """And knows who it is."""
    with client.websocket_connect("/live", headers=bearer("live:read")) as socket:
        assert socket.receive_text() == "user-1"


def websocket(**scope: Any) -> list[Any]:
    """What is sent to somebody who wants to open one at a server that can only close."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(build()({"type": "websocket", "headers": [], "path": "/live", **scope}, receive, send))
    return sent


def test_a_server_that_can_only_close_closes() -> None:
    """Before anything was accepted: a 403 for the client. Ambiguous paths, and rules of other methods, open nothing."""
    assert websocket() == [{"type": "websocket.close", "code": 1008}]
    assert websocket(path="//live") == [{"type": "websocket.close", "code": 1008}]
    assert websocket(path="/invoices") == [{"type": "websocket.close", "code": 1008}]
    extended = websocket(extensions={"websocket.http.response": {}})
    assert [message["type"] for message in extended] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
    assert extended[0]["status"] == 401


def test_what_is_neither_is_not_let_through() -> None:
    """A kind of connection that nobody knows yet."""
    with pytest.raises(ValueError, match="webtransport"):
        drive(build(), type="webtransport", path="/health")


def test_start_and_end_of_the_application_go_through() -> None:
    """They are nobody's request."""
    happened = []

    async def app(scope: Any, _: Any, __: Any) -> None:
        happened.append(scope["type"])

    asyncio.run(ASGIGuard(app, ISSUER.verifier(), [])({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert happened == ["lifespan"]


# ── the table ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (public("/docs/*"), protect("/docs/internal")),
        (public("/*"), protect("/admin")),
        (public("/{page}"), protect("/admin")),
        (public("/a/{x}/*"), protect("/a/b/c/d")),
        (protect("/a", methods=["GET", "POST"]), public("/a", methods=["POST"])),
        (public("/a"), protect("/a", methods=["WEBSOCKET"])),
    ],
)
def test_a_rule_that_is_never_reached_is_an_error_at_once(earlier: Rule, later: Rule) -> None:
    """It would protect nothing. The other way round it does."""
    with pytest.raises(ValueError, match="never reached"):
        build([earlier, later])
    build([later, earlier])


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (public("/docs/internal"), protect("/docs/*")),
        (public("/a", methods=["GET"]), protect("/a")),
        (public("/{page}"), protect("/a/b")),
        (public("/{page}"), protect("/")),
        (public("/a/*"), protect("/a")),
        (public("/{a}"), protect("/*")),
    ],
)
def test_a_rule_that_is_reached_is_none(earlier: Rule, later: Rule) -> None:
    """What an earlier one leaves over."""
    build([earlier, later])


@pytest.mark.parametrize(
    "path", ["", "admin", "/a*", "/*/a", "/{}", "/{a", "/{a}b", "/{a}/{a}", "//", "/a/../b", "/a%20b", "/{A}", "/a\n"]
)
def test_a_path_that_is_none_is_an_error_at_once(path: str) -> None:
    """It would never match, or match something else than it looks like."""
    with pytest.raises(ValueError, match="path"):
        public(path)


def test_a_rule_that_makes_no_sense_is_an_error_at_once() -> None:
    """Permissions that nobody has, methods that nobody sends, tenants that no segment names."""
    with pytest.raises(ValueError, match="permission"):
        protect("/a", "a:*")
    for methods in ([], ["get"], [""]):
        with pytest.raises(ValueError, match="methods"):
            protect("/a", methods=methods)
    with pytest.raises(ValueError, match="tenant_id"):
        protect("/t/{tenant}/a", tenant="tenant_id")


def test_a_literal_path_is_no_pattern() -> None:
    """A dot is a dot."""
    guarded = build([public("/a.b")])
    assert drive(guarded, path="/a.b")[0] == 200
    assert drive(guarded, path="/aXb")[0] == 401


def test_it_may_stand_among_the_middleware_of_starlette() -> None:
    """As `add_middleware` makes it: by names."""
    guard = Middleware(ASGIGuard, core=ISSUER.verifier(), rules=[protect("/admin")])
    client = TestClient(Starlette(routes=[Route("/admin", answer)], middleware=[guard]))
    assert client.get("/admin").status_code == 401
    assert client.get("/admin", headers=bearer()).json()["tenant"] == "acme"
