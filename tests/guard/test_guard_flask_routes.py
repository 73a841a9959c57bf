"""Views of Flask behind access tokens: one by one, as a blueprint, as a whole application."""

import logging
from typing import Any

import pytest
from flask import Blueprint, Flask, request
from flask.views import MethodView

from payymo_guard import Claims
from payymo_guard.certificates import TrustSet
from payymo_guard.client_cert import write_certificate
from payymo_guard.fake_authority import FakeAuthority
from payymo_guard.flask import (
    FlaskGuard,
    PeerGuard,
    certificate,
    claims,
    public,
    require_client_certificate,
    require_signature,
    webhook,
)
from payymo_guard.testing import FakeIssuer
from payymo_guard.webhooks import Memory, WebhookVerifier, sign

ISSUER = FakeIssuer()


def bearer(*permissions: str, tenant: str = "acme") -> dict[str, str]:
    """The header of somebody of a tenant."""
    return {"Authorization": f"Bearer {ISSUER.mint(tenant_id=tenant, permissions=permissions)}"}


@pytest.fixture
def guard() -> FlaskGuard:
    return FlaskGuard(ISSUER.verifier())


@pytest.fixture
def app(guard: FlaskGuard) -> Flask:
    """One view of each kind."""
    app = Flask("shop")

    @app.get("/invoices")
    @guard.require("invoices:read")
    def invoices() -> dict[str, str]:
        return {"tenant": claims().tenant_id, "same": guard.claims.sub}

    @app.get("/async")
    @guard.require("invoices:read")
    async def asynchronous() -> dict[str, str]:
        return {"tenant": claims().tenant_id}

    @app.get("/any")
    @guard.require()
    def anybody() -> str:
        return "any"

    @app.get("/two")
    @guard.require("invoices:read", "users:read")
    def two() -> str:
        return "two"

    @app.get("/t/<tenant_id>/invoices")
    @guard.require("invoices:read", tenant="tenant_id")
    def of_tenant(tenant_id: str) -> str:
        return tenant_id

    @app.get("/by-name")
    @guard.require(tenant=lambda: request.headers.get("X-Tenant"))
    def by_name() -> str:
        return "named"

    @app.route("/options", methods=["GET", "OPTIONS"])
    @guard.require()
    def options() -> str:
        return "own"

    @app.get("/open")
    def open_to_all() -> str:
        return str(claims())

    return app


def test_who_has_the_permission_comes_in(app: Flask) -> None:
    """And the view knows who it is, sync or async."""
    client = app.test_client()
    assert client.get("/invoices", headers=bearer("invoices:read")).get_json() == {"tenant": "acme", "same": "user-1"}
    assert client.get("/async", headers=bearer("invoices:*")).get_json() == {"tenant": "acme"}
    assert client.get("/any", headers=bearer()).text == "any"


@pytest.mark.parametrize("path", ["/invoices", "/async", "/any", "/two", "/t/acme/invoices", "/by-name"])
def test_nobody_else_does(app: Flask, path: str) -> None:
    """No token, no bearer token, no valid token: problem documents that no cache keeps."""
    client = app.test_client()
    for headers, code in (({}, "missing_token"), ({"Authorization": "Bearer x"}, "invalid_token")):
        answer = client.get(path, headers=headers)
        assert (answer.status_code, answer.get_json()["code"]) == (401, code)
        assert answer.mimetype == "application/problem+json"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["WWW-Authenticate"].startswith("Bearer ")


def test_every_permission_is_needed(app: Flask) -> None:
    """And the answer names them."""
    client = app.test_client()
    answer = client.get("/two", headers=bearer("invoices:read"))
    assert answer.status_code == 403
    assert 'scope="invoices:read users:read"' in answer.headers["WWW-Authenticate"]
    assert client.get("/async", headers=bearer("users:read")).status_code == 403
    assert client.get("/two", headers=bearer("*:read")).status_code == 200


def test_a_route_of_one_tenant_takes_its_tokens_alone(app: Flask) -> None:
    """By the view's argument, and by what a function answers. Nothing named: nobody."""
    client, acme = app.test_client(), bearer("invoices:read")
    assert client.get("/t/acme/invoices", headers=acme).text == "acme"
    for path in ("/t/other/invoices", "/t/ACME/invoices", "/t/acme%20/invoices"):
        assert client.get(path, headers=acme).status_code == 401
    assert client.get("/by-name", headers=acme | {"X-Tenant": "acme"}).status_code == 200
    assert client.get("/by-name", headers=acme | {"X-Tenant": "other"}).status_code == 401
    assert client.get("/by-name", headers=acme).status_code == 401


def test_a_pin_on_an_argument_that_is_not_there_lets_nobody_in(guard: FlaskGuard) -> None:
    """A misspelled name must not mean: every tenant."""
    app = Flask("shop")
    app.get("/t/<tenant>")(guard.require(tenant="tenant_id")(lambda tenant: tenant))
    assert app.test_client().get("/t/acme", headers=bearer()).status_code == 503


def test_a_view_that_is_routed_to_past_its_guard_is_named_in_the_log(
    app: Flask, guard: FlaskGuard, caplog: pytest.LogCaptureFixture
) -> None:
    """The decorators stand the wrong way round: Flask has the bare function, and nobody would notice."""

    @guard.require("shop:admin")
    @app.get("/admin")
    def admin() -> str:
        return "admin"

    client = app.test_client()
    with caplog.at_level(logging.ERROR):
        assert [client.get("/any", headers=bearer()).status_code for _ in range(2)] == [200, 200]
    assert [record.getMessage().split()[0] for record in caplog.records] == ["admin"]


def test_head_is_the_views_business(app: Flask) -> None:
    """It answers with what the view found, so it needs what GET needs."""
    client = app.test_client()
    answer = client.head("/invoices")
    assert (answer.status_code, answer.data) == (401, b"")
    assert client.head("/invoices", headers=bearer()).status_code == 403
    assert client.head("/invoices", headers=bearer("invoices:read")).status_code == 200


def test_options_that_flask_answers_is_nobodys_business(app: Flask) -> None:
    """A preflight brings no token. A view that takes OPTIONS itself is guarded like for any other method."""
    client = app.test_client()
    assert client.options("/invoices").headers["Allow"]
    assert client.options("/invoices").data == b""
    assert client.options("/options").status_code == 401
    assert client.options("/options", headers=bearer()).text == "own"


def test_several_headers_are_refused(app: Flask) -> None:
    """As servers hand them on: joined by a comma."""
    good = bearer("invoices:read")["Authorization"]
    for value in (f"{good},{good}", f"{good}, Basic YTpi", f"Basic YTpi,{good}"):
        answer = app.test_client().get("/invoices", environ_overrides={"HTTP_AUTHORIZATION": value})
        assert answer.status_code == 401
    for name in ("X-Authorization", "Proxy-Authorization", "X-Forwarded-Authorization"):
        assert app.test_client().get("/invoices", headers={name: good}).status_code == 401
    assert app.test_client().get(f"/invoices?access_token={good[7:]}").status_code == 401


def test_claims_are_those_of_the_present_request(app: Flask) -> None:
    """Not those of an earlier one, even where both share a context, as in tests."""
    app.testing = True
    with app.app_context():
        assert app.test_client().get("/invoices", headers=bearer("invoices:read")).status_code == 200
        with pytest.raises(LookupError):
            app.test_client().get("/open", headers=bearer())
        with pytest.raises(LookupError):
            app.test_client().get("/open", environ_overrides={"payymo_guard.claims": "root"})


# ── factories ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_guard_is_made_before_its_application() -> None:
    """Each application of a factory has a core of its own."""
    guard = FlaskGuard()
    shop = Blueprint("shop", __name__)
    other = FakeIssuer()

    @shop.get("/")
    @guard.require()
    def index() -> str:
        return claims().sub

    def create_app(issuer: FakeIssuer) -> Flask:
        app = Flask("shop")
        guard.init_app(app, issuer.verifier())
        app.register_blueprint(shop)
        return app

    first, second = create_app(ISSUER).test_client(), create_app(other).test_client()
    theirs = {"Authorization": f"Bearer {other.mint()}"}
    assert [first.get("/", headers=headers).status_code for headers in (bearer(), theirs)] == [200, 401]
    assert [second.get("/", headers=headers).status_code for headers in (bearer(), theirs)] == [401, 200]


def test_two_guards_in_one_application_don_t_stand_in_for_each_other() -> None:
    """A token of the one issuer opens nothing of the other's."""
    other = FakeIssuer()
    app = Flask("shop")
    for name, issuer in (("ours", ISSUER), ("theirs", other)):
        own = FlaskGuard(issuer.verifier(), app=app)
        app.get(f"/{name}", endpoint=name)(own.require()(lambda: "in"))
    client = app.test_client()
    assert client.get("/ours", headers=bearer()).status_code == 200
    assert client.get("/theirs", headers=bearer()).status_code == 401


def test_an_application_without_a_core_lets_nobody_in() -> None:
    """A forgotten line is an error, not an open door; nor does another guard's core stand in."""
    app = Flask("bare")
    FlaskGuard(ISSUER.verifier(), app=app)
    app.get("/")(FlaskGuard().require()(lambda: "in"))
    app.config["PROPAGATE_EXCEPTIONS"] = False
    assert app.test_client().get("/", headers=bearer()).status_code == 500
    with pytest.raises(ValueError, match="Guard"):
        FlaskGuard().init_app(app)


def test_a_requirement_without_parentheses_or_with_a_wildcard_is_an_error_at_once(guard: FlaskGuard) -> None:
    """When the view is declared, and not with its first caller."""
    with pytest.raises(ValueError, match="permission"):
        guard.require(lambda: "in")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="permission"):
        guard.require("invoices:*")
    with pytest.raises(ValueError, match="permission"):
        guard.protect(Flask("x"), "invoices")


# ── blueprints and applications as a whole ───────────────────────────────────────────────────────────────────────────


def build(guard: FlaskGuard, **more: Any) -> Flask:
    """An application whose API is protected as a whole; what is beside it isn't."""
    app = Flask("shop")
    api, inner = Blueprint("api", __name__), Blueprint("inner", __name__)
    guard.protect(api, "shop:use", **more)

    @api.get("/list")
    def listed() -> str:
        return guard.claims.tenant_id

    @api.route("/own-options", methods=["OPTIONS"])
    def own_options() -> str:
        return "own"

    @api.get("/secret")
    @guard.require("shop:admin")
    def secret() -> str:
        return "secret"

    @api.get("/about")
    @guard.public
    def about() -> str:
        return "about"

    @api.get("/both")
    @public
    @guard.require("shop:admin")
    def both() -> str:
        return "both"

    class Things(MethodView):
        def get(self, **_: str) -> str:
            return "things"

        async def post(self, **_: str) -> str:
            return "posted"

    inner.add_url_rule("/things", view_func=Things.as_view("things"))
    api.register_blueprint(inner, url_prefix="/inner")
    app.register_blueprint(api, url_prefix="/api/<tenant_id>" if more else "/api")
    app.get("/")(lambda: "home")
    return app


def test_a_blueprint_is_protected_as_a_whole(guard: FlaskGuard) -> None:
    """Nested ones and classes of views with it; what is marked, and what is beside it, is not."""
    client = build(guard).test_client()
    for path in ("/api/list", "/api/inner/things"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers=bearer()).status_code == 403
        assert client.get(path, headers=bearer("shop:use")).status_code == 200
    assert client.post("/api/inner/things").status_code == 401
    assert client.post("/api/inner/things", headers=bearer("shop:use")).text == "posted"
    assert client.get("/api/about").text == "about"
    assert client.get("/").text == "home"


def test_a_view_adds_to_what_its_blueprint_requires(guard: FlaskGuard) -> None:
    """And being public takes nothing away from what it requires itself."""
    client = build(guard).test_client()
    assert client.get("/api/secret", headers=bearer("shop:admin")).status_code == 403
    assert client.get("/api/secret", headers=bearer("shop:use")).status_code == 403
    assert client.get("/api/secret", headers=bearer("shop:use", "shop:admin")).text == "secret"
    assert client.get("/api/both").status_code == 401
    assert client.get("/api/both", headers=bearer("shop:admin")).text == "both"


def test_head_and_options_of_a_blueprint(guard: FlaskGuard) -> None:
    """As for single views."""
    client = build(guard).test_client()
    assert client.head("/api/list").status_code == 401
    assert client.options("/api/list").status_code == 200
    assert client.options("/api/list").data == b""
    assert client.options("/api/own-options").status_code == 401
    assert client.options("/api/own-options", headers=bearer("shop:use")).text == "own"


def test_a_blueprint_may_be_of_one_tenant(guard: FlaskGuard) -> None:
    """By the argument that its prefix brings."""

    def build_with_tenant() -> Flask:
        app = Flask("shop")
        api = Blueprint("api", __name__, url_prefix="/t/<tenant_id>")
        guard.protect(api, tenant="tenant_id")
        api.get("/")(lambda tenant_id: tenant_id)
        app.register_blueprint(api)
        return app

    client = build_with_tenant().test_client()
    assert client.get("/t/acme/", headers=bearer()).text == "acme"
    assert client.get("/t/other/", headers=bearer()).status_code == 401


def test_an_application_is_protected_as_a_whole(guard: FlaskGuard) -> None:
    """Also what leads nowhere: strangers can't tell which routes there are."""
    app = build(guard)
    guard.protect(app)
    guard.public(app.view_functions["static"])
    client = app.test_client()
    for path in ("/", "/api/list", "/nowhere", "/api/nowhere", "//", "/api//list", "/api/about/", "/API/about"):
        assert client.get(path).status_code == 401, path
    assert client.delete("/").status_code == 401
    assert client.get("/", headers=bearer()).text == "home"
    assert client.get("/nowhere", headers=bearer()).status_code == 404
    assert client.get("/api/about").text == "about"
    assert client.get("/static/nothing.css").status_code == 404


def test_the_claims_are_claims(app: Flask, guard: FlaskGuard) -> None:
    """With their type."""
    with app.test_request_context("/invoices", headers=bearer("invoices:read")):
        app.preprocess_request()
        app.dispatch_request()
        assert isinstance(claims(), Claims)


# ── certificates and signatures ──────────────────────────────────────────────────────────────────────────────────────


def test_async_views_stand_behind_certificates_and_signatures() -> None:
    """The other two guards, too, let a coroutine function stay one; in whichever order they stand."""
    secret, root, memory = b"0123456789abcdef01234567", FakeAuthority(now=ISSUER.clock()), Memory()
    app = Flask("receiver")
    PeerGuard(
        app,
        trust=[TrustSet.from_pem("bank", root.pem)],
        webhooks={"bank": WebhookVerifier([secret], memory=memory)},
        trusted_proxies=["127.0.0.0/8"],
    )

    @app.post("/hook")
    @require_client_certificate(trust="bank")
    @require_signature(webhook="bank")
    async def hook() -> dict[str, str]:
        return {"from": certificate().subject, "message": webhook().identifier}

    shown = {"Client-Cert": write_certificate(root.issue("bank").der)}
    signed = sign(secret, "msg_1", int(ISSUER.clock()), b"{}")
    client = app.test_client()
    assert client.post("/hook", data=b"{}", headers=signed).get_json()["code"] == "certificate_missing"
    assert client.post("/hook", data=b"{}", headers=shown).get_json()["code"] == "signature_missing"
    assert client.post("/hook", data=b"{}", headers=shown | signed).get_json() == {
        "from": "CN=bank",
        "message": "msg_1",
    }
    assert client.post("/hook", data=b"{}", headers=shown | signed).get_json()["code"] == "signature_replayed"
    memory.close()
