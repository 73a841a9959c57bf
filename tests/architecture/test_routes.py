"""What every route declares, held against lists that are written out here on purpose."""

import re
import typing
from collections.abc import Iterator
from typing import Any

import pytest

from payymo.limits.model import Tier
from payymo.web.console.branding import LOGOS
from payymo.web.console.opening import list_pages
from payymo.web.console.reception import ASSETS
from payymo.web.mount import list_routes
from payymo.web.routing import Route
from tests.conftest import Copied
from tests.support.house import Client, House

ROUTES = sorted(list_routes(), key=lambda route: (route.path, route.method))
UNLIMITED = {
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/.well-known/payymo"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
}
"""Cheap, and asked by machines: guards and load balancers must never be turned away."""
OPEN = UNLIMITED | {
    ("GET", "/api/docs"),
    ("GET", "/api/docs.css"),
    ("GET", "/api/openapi.json"),
    ("POST", "/api/auth/email/change/confirm"),
    ("POST", "/api/auth/email/verify"),
    ("POST", "/api/auth/unlock"),
    ("POST", "/api/auth/login"),
    ("POST", "/api/auth/password/reset"),
    ("POST", "/api/auth/password/reset/confirm"),
    ("POST", "/api/auth/refresh"),
    ("POST", "/api/auth/register"),
    ("POST", "/api/auth/token/verify"),
}
"""Everybody may call these without a token."""
SERVICE = {
    ("GET", "/api/revocations"): "feed",
    ("POST", "/api/revocations/events"): "feed",
    ("POST", "/api/auth/token/verify"): "introspection",
}
"""What a service credential has to be good for, where one has to or may be brought."""
CLIENT = [("POST", "/api/auth/token")]
"""Where an API key is exchanged. The route looks at it, and counts, by itself."""
BEARER = [route for route in ROUTES if route.authentication == "bearer"]
ADMIN = [route for route in ROUTES if route.path.startswith("/api/admin/")]
NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, copied: Copied, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One service on each kind of database for all tests here, which only look."""
    with copied(request.param, tmp_path_factory.mktemp("routes")) as database:
        built = House(database)
        yield built
        built.close()


def label(route: Route) -> str:
    """How a test's name shows a route."""
    return f"{route.method} {route.path}"


def filled(route: Route) -> str:
    """The path with some identifier in it."""
    return re.sub(r"<\w+:(\w+)>", lambda match: "clerk" if match[1] == "name" else NOBODY, route.path)


def test_every_route_is_limited_but_for_a_short_list() -> None:
    """A route without a rate limit is a decision that stands in this file."""
    assert {(route.method, route.path) for route in ROUTES if route.limit is None} == UNLIMITED
    assert {route.limit for route in ROUTES} - {None} <= set(typing.get_args(Tier))


def test_every_route_asks_for_a_token_but_for_a_short_list() -> None:
    """A route that anybody may call is a decision that stands in this file."""
    assert {(route.method, route.path) for route in ROUTES if route.authentication is None} == OPEN
    assert {route.authentication for route in ROUTES} <= {"bearer", "service", "client", None}
    assert [(route.method, route.path) for route in ROUTES if route.authentication == "client"] == CLIENT


def test_every_route_for_services_names_a_scope_and_their_limit() -> None:
    """Where a credential has to be brought, its limit is the only one; where it may be, there is one for strangers."""
    assert {(route.method, route.path): route.scope for route in ROUTES if route.scope} == SERVICE
    for route in ROUTES:
        assert (route.authentication == "service") == (route.limit == "service"), label(route)
        assert route.authentication != "service" or route.scope is not None, label(route)
        assert route.scope is None or route.authentication != "bearer", label(route)


def test_every_admin_route_names_a_permission() -> None:
    """No administration without a permission of the form resource:action: :read to read, :write for the rest."""
    assert ADMIN
    for route in ADMIN:
        assert route.authentication == "bearer", label(route)
        assert re.fullmatch(r"[a-z]+:(read|write)", route.permission or ""), label(route)
        assert (route.permission or "").endswith(":read") == (route.method == "GET"), label(route)
        for resource in ("tenants", "platform"):
            reaches_across = (route.permission or "").startswith(f"{resource}:")
            assert reaches_across == route.path.startswith(f"/api/admin/{resource}"), label(route)


def test_a_permission_without_a_token_is_never_declared() -> None:
    """A permission is read from a token, so a route that asks for one asks for a token."""
    assert [label(route) for route in ROUTES if route.permission and route.authentication != "bearer"] == []


def test_no_route_is_declared_twice() -> None:
    """One method on one path is one route, with one name."""
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)


def test_nothing_is_served_but_declared_routes(house: House) -> None:
    """No static files, no forgotten debugging view: what is served is what is declared, method by method.

    But that the address of a form which has no page leads to the page with the form.
    """
    served = {(method, rule.rule) for rule in house.app.url_map.iter_rules() for method in rule.methods or ()}
    declared = {(route.method, route.path) for route in (*ROUTES, *list_pages())} | {("GET", ASSETS), ("GET", LOGOS)}
    declared |= {("GET", page.path) for page in list_pages() if page.method == "POST" and page.refused is not None}
    automatic = {("OPTIONS", path) for _, path in declared} | {("HEAD", p) for method, p in declared if method == "GET"}
    assert served - automatic == declared


@pytest.mark.parametrize("route", BEARER, ids=label)
def test_without_a_token_nobody_gets_in(client: Client, route: Route) -> None:
    """401 and the plain challenge of RFC 6750 §3, whatever else is right or wrong with the request."""
    for headers in ({}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}, {"Authorization": "Bearer x"}):
        answer = client.call(route.method, filled(route), {}, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="payymo"')


def test_a_member_is_no_administrator(house: House) -> None:
    """A member's token is refused on every admin route, before anything of the request is looked at."""
    house.user("alice")
    member = house.logged_in("alice")
    for route in ADMIN:
        answer = member.call(route.method, filled(route), {})
        assert (answer.status_code, answer.get_json()["code"]) == (403, "insufficient_scope"), label(route)


def test_the_openapi_document_has_every_route_and_no_other(client: Client) -> None:
    """Who reads the document knows every route, which of them want a token, and what permission."""
    document: dict[str, Any] = client.get("/api/openapi.json").get_json()
    described = {
        (method.upper(), path, "security" in operation, operation.get("x-permission"))
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    assert described == {
        (
            route.method,
            re.sub(r"<\w+:(\w+)>", r"{\1}", route.path),
            route.authentication is not None or route.scope is not None,
            route.permission,
        )
        for route in ROUTES
    }
