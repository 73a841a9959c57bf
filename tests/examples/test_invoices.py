"""The example application: the service inside somebody's own Flask application."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from payymo.extension import Payymo
from payymo.logs import Trace
from payymo.services import Services
from tests.conftest import Copied
from tests.support.house import PASSWORD, Client, Database, settings_for
from tests.support.processes import environment

EXAMPLE = Path(__file__).parents[2] / "examples" / "invoices.py"


@pytest.fixture
def app(database: Database) -> Iterator[Flask]:
    spec = importlib.util.spec_from_file_location("invoices", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    built: Flask = module.create_app(settings_for(database))
    yield built
    built.extensions["payymo"].close()


def test_views_are_guarded_by_permission_and_tenant(app: Flask) -> None:
    """A clerk of one tenant sees its invoices; a stranger, a member without the permission and another tenant don't."""
    services: Services = app.extensions["payymo"]
    acme, other = (
        services.administration.create_tenant("acme", "Acme", by=None, trace=Trace()),
        services.administration.create_tenant("other", "Other", by=None, trace=Trace()),
    )
    for tenant in (acme, other):
        services.roles.create(tenant.id, "clerk", ["invoices:read", "invoices:write"], by=None, trace=Trace())
        services.users.create(
            tenant.id,
            email="carl@example.com",
            username="carl",
            password=PASSWORD,
            roles=["member", "clerk"],
            by=None,
            trace=Trace(),
        )
    services.users.create(acme.id, email="mia@example.com", username="mia", password=PASSWORD, by=None, trace=Trace())

    clerk, stranger, member, foreigner = (
        Client(app.test_client(), {"X-Tenant": slug}) for slug in ("acme", "acme", "acme", "other")
    )
    clerk.log_in("carl@example.com")
    member.log_in("mia@example.com")
    foreigner.log_in("carl@example.com")

    assert clerk.post("/invoices", {"title": "first"}).status_code == 201
    assert clerk.get("/invoices").get_json() == ["first"]
    assert foreigner.get("/invoices").get_json() == []
    refused = member.get("/invoices")
    assert refused.status_code == 403
    assert refused.get_json()["code"] == "insufficient_scope"
    assert 'error="insufficient_scope"' in refused.headers["WWW-Authenticate"]
    assert stranger.get("/invoices").status_code == 401
    clerk.post("/api/auth/logout")
    assert clerk.get("/invoices").status_code == 401


def test_the_application_keeps_what_is_its_own(app: Flask) -> None:
    """Its pages, its error pages and its headers are not touched by Payymo."""
    client = app.test_client()
    index, missing = client.get("/"), client.get("/nowhere")
    assert index.status_code == 200
    assert "Content-Security-Policy" not in index.headers
    assert missing.status_code == 404
    assert missing.mimetype == "text/html"
    assert client.get("/api/auth/me").mimetype == "application/problem+json"


def test_a_guard_without_init_app_is_a_clear_error() -> None:
    """Forgetting `init_app` is told to the developer; nobody gets in."""
    app = Flask("forgetful")
    app.get("/")(Payymo().require("invoices:read")(lambda: "secret"))
    app.testing = True
    with pytest.raises(RuntimeError, match="init_app"):
        app.test_client().get("/")


def test_each_application_asks_its_own_service(copied: Copied, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One `Payymo()` of a module, and a factory that is called twice: what ends in the first one has ended there."""
    payymo = Payymo()
    view = payymo.require()(lambda: str(payymo.caller.principal.user_id))
    apps = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        with copied("sqlite", tmp_path / name) as database:
            for variable, value in environment(database).items():
                monkeypatch.setenv(variable, value)
            apps.append(Flask(name))
            apps[-1].get("/")(view)
            payymo.init_app(apps[-1])
    services: Services = apps[0].extensions["payymo"]
    tenant = services.administration.create_tenant("acme", "Acme", by=None, trace=Trace())
    services.users.create(
        tenant.id, email="carl@example.com", username="carl", password=PASSWORD, by=None, trace=Trace()
    )
    carl = Client(apps[0].test_client(), {"X-Tenant": "acme"})
    carl.log_in("carl@example.com")
    assert carl.get("/").status_code == 200
    carl.post("/api/auth/logout")
    assert carl.get("/").status_code == 401
    for app in apps:
        app.extensions["payymo"].close()


def test_async_views_are_guarded_too(app: Flask) -> None:
    """As by the guard elsewhere: who is refused never gets to the view, who is let in gets its answer."""
    services: Services = app.extensions["payymo"]
    user = services.users.create(
        services.tenants.ensure_default().id,
        email="carl@example.com",
        username="carl",
        password=PASSWORD,
        by=None,
        trace=Trace(),
    )
    other = Flask("async")
    payymo = Payymo(other, services=services)

    @other.get("/")
    @payymo.require()
    async def name() -> str:
        return str(payymo.caller.principal.user_id)

    carl = Client(other.test_client(), {})
    assert carl.get("/").status_code == 401
    carl.log_in("carl@example.com")
    assert carl.get("/").text == str(user.id)


@pytest.mark.parametrize("wrong", ["invoices:*", "invoices", len])
def test_a_requirement_that_nobody_could_fulfil_is_an_error_at_once(wrong: Any) -> None:
    """As of the guard elsewhere; also where the parentheses were forgotten."""
    with pytest.raises(ValueError, match="invoices:read"):
        Payymo().require(wrong)


def test_the_commands_are_there_as_flask_payymo() -> None:
    """`flask payymo …` is the same group as `payymo …`."""
    flask = Path(sys.executable).parent / "flask"
    done = subprocess.run([flask, "payymo", "--help"], check=True, capture_output=True, text=True)
    assert "serve" in done.stdout
    assert "tenant" in done.stdout
