"""Views of Django behind access tokens: sync and async, functions and classes, one by one and as a whole site."""

import asyncio
import functools
import inspect
import threading
from collections.abc import Iterator
from io import BytesIO
from types import ModuleType
from typing import Any

import django
import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import include, path
from django.utils.decorators import method_decorator
from django.views import View

from payymo_guard import Claims, Guard
from payymo_guard.testing import FakeIssuer

ISSUER = FakeIssuer()
CORE = ISSUER.verifier()
if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["testserver"],
        SECRET_KEY="only for these tests",
        ROOT_URLCONF="payymo_guard_site",
        MIDDLEWARE=["django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware"],
        PAYYMO_GUARD={"guard": CORE},
    )
    django.setup()

from payymo_guard.django import OF_GUARD, GuardMiddleware, claims, core, public, require  # noqa: E402

WHOLE = {"MIDDLEWARE": ["payymo_guard.django.GuardMiddleware"]}


def bearer(*permissions: str, tenant: str = "acme") -> dict[str, str]:
    """The header of somebody of a tenant."""
    return {"Authorization": f"Bearer {ISSUER.mint(tenant_id=tenant, permissions=permissions)}"}


@require("invoices:read")
def sync(request: HttpRequest) -> HttpResponse:
    """A plain view."""
    assert request.payymo == claims(request)
    return HttpResponse(claims(request).tenant_id)


@require("invoices:read")
async def asynchronous(request: HttpRequest) -> HttpResponse:
    """A view on the event loop."""
    return HttpResponse(claims(request).tenant_id)


@require("invoices:read", impersonated=False)
def own(_: HttpRequest) -> HttpResponse:
    """A view for the person alone."""
    return HttpResponse("own")


@require("invoices:read", impersonated=False)
async def own_async(_: HttpRequest) -> HttpResponse:
    """The same on the event loop."""
    return HttpResponse("own")


@require(tenant="tenant_id")
def of_tenant(_: HttpRequest, tenant_id: str) -> HttpResponse:
    """A view of one tenant."""
    return HttpResponse(tenant_id)


@require(tenant=lambda request: request.headers.get("X-Tenant"))
def by_name(_: HttpRequest) -> HttpResponse:
    """A view of the tenant that the request names."""
    return HttpResponse("named")


@method_decorator(require("invoices:read"), name="dispatch")
class Things(View):
    """A class of views, guarded as a whole."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(claims(request).tenant_id)

    def post(self, _: HttpRequest) -> HttpResponse:
        return HttpResponse("posted")


@method_decorator(require("invoices:read"), name="dispatch")
class AsyncThings(View):
    """A class of async views, guarded as a whole."""

    async def get(self, request: HttpRequest) -> HttpResponse:
        await asyncio.sleep(0)
        return HttpResponse(claims(request).tenant_id)


def noted(view: Any) -> Any:
    """A decorator of somebody's own."""

    @functools.wraps(view)
    def enter(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    return enter


@method_decorator([require("invoices:read"), noted], name="dispatch")
class NotedThings(AsyncThings):
    """The same, with a decorator between the guard and the class."""


class Parts(View):
    """A class of views of which some are guarded."""

    def get(self, _: HttpRequest) -> HttpResponse:
        return HttpResponse("open")

    @method_decorator(require("invoices:write"))
    def post(self, _: HttpRequest) -> HttpResponse:
        return HttpResponse("posted")


@public
def about(request: HttpRequest) -> HttpResponse:
    """Open to everybody, whatever the middleware says."""
    return HttpResponse(repr(getattr(request, "payymo", None)))


@public
@require("shop:admin")
def both(_: HttpRequest) -> HttpResponse:
    """What it requires itself, it requires."""
    return HttpResponse("both")


def plain(_: HttpRequest) -> HttpResponse:
    """Nothing said."""
    return HttpResponse("plain")


async def plain_async(_: HttpRequest) -> HttpResponse:
    """Nothing said."""
    return HttpResponse("plain")


INNER = ([path("plain", plain)], "inner")
SITE = ModuleType("site_of_these_tests")
SITE.urlpatterns = [
    path("sync", sync),
    path("async", asynchronous),
    path("own", own),
    path("own-async", own_async),
    path("t/<tenant_id>/", of_tenant),
    path("misspelled/<tenant>/", require(tenant="tenant_id")(plain)),
    path("by-name", by_name),
    path("things", Things.as_view()),
    path("async-things", AsyncThings.as_view()),
    path("noted-things", NotedThings.as_view()),
    path("wrapped-things", require("invoices:read")(AsyncThings.as_view())),
    path("parts", Parts.as_view()),
    path("about", about),
    path("both", both),
    path("plain", plain),
    path("plain-async", plain_async),
    path("inner/", include(INNER)),
    path("outer/", include(([path("inner/", include(INNER))], "outer"))),
]
GUARDED = ["sync", "async", "things", "async-things", "noted-things", "wrapped-things"]


@pytest.fixture(autouse=True)
def site() -> Iterator[None]:
    """The table of URLs is this module's."""
    with override_settings(ROOT_URLCONF=SITE, PAYYMO_GUARD={"guard": CORE}):
        yield


def get(where: str, headers: dict[str, str] | None = None, *, method: str = "get") -> Any:
    """The answer, the same with and without an event loop."""
    answer = getattr(Client(), method)(f"/{where}", headers=headers)

    async def ask() -> Any:
        return await getattr(AsyncClient(), method)(f"/{where}", headers=headers)

    other = asyncio.run(ask())
    assert (answer.status_code, answer.content) == (other.status_code, other.content)
    return answer


@pytest.mark.parametrize("where", GUARDED)
def test_who_has_the_permission_comes_in(where: str) -> None:
    """And the view knows who it is: sync or async, function or class, by WSGI or ASGI."""
    answer = get(where, bearer("invoices:*"))
    assert (answer.status_code, answer.content) == (200, b"acme")


@pytest.mark.parametrize("where", ["own", "own-async"])
def test_what_is_for_the_person_alone_refuses_who_acts_as_them(where: str) -> None:
    """By the same word as elsewhere."""
    acted = ISSUER.mint(permissions=("invoices:read",), actor="boss-1")
    assert get(where, bearer("invoices:read")).status_code == 200
    assert get(where, {"Authorization": f"Bearer {acted}"}).status_code == 403


@pytest.mark.parametrize("where", [*GUARDED, "t/acme/", "by-name"])
def test_nobody_else_does(where: str) -> None:
    """Refusals are problem documents that no cache keeps."""
    for headers, code in (({}, "missing_token"), ({"Authorization": "Bearer x"}, "invalid_token")):
        answer = get(where, headers)
        assert (answer.status_code, answer.json()["code"]) == (401, code)
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="payymo"')


@pytest.mark.parametrize("where", GUARDED)
def test_a_lacking_permission_is_named(where: str) -> None:
    """RFC 6750 §3.1."""
    answer = get(where, bearer("invoices:write"))
    assert answer.status_code == 403
    assert 'scope="invoices:read"' in answer.headers["WWW-Authenticate"]


def test_a_view_of_one_tenant_takes_its_tokens_alone() -> None:
    """By the view's argument, and by what a function answers. Nothing named, or misspelled: nobody."""
    assert get("t/acme/", bearer()).content == b"acme"
    assert get("t/other/", bearer()).status_code == 401
    assert get("by-name", bearer() | {"X-Tenant": "acme"}).status_code == 200
    assert get("by-name", bearer() | {"X-Tenant": "other"}).status_code == 401
    assert get("by-name", bearer()).status_code == 401
    assert get("misspelled/acme/", bearer()).status_code == 503


def test_head_and_options_are_the_views_business() -> None:
    """Django's classes answer both by themselves, so they are guarded like GET."""
    for method in ("head", "options"):
        for where in GUARDED:
            assert get(where, method=method).status_code == 401
    assert get("things", bearer("invoices:read"), method="head").status_code == 200
    assert get("things", bearer("invoices:read"), method="options").headers["Allow"]


def test_some_methods_of_a_class_may_be_guarded_alone() -> None:
    """By the decorator at the method."""
    assert get("parts").content == b"open"
    assert Client().post("/parts").status_code == 401
    assert Client().post("/parts", headers=bearer("invoices:write")).content == b"posted"


def test_who_brings_a_token_needs_no_csrf_token() -> None:
    """A browser that is lured sends cookies, and no Authorization header of ours."""
    strict = Client(enforce_csrf_checks=True)
    assert strict.post("/things", headers=bearer("invoices:read")).content == b"posted"
    assert strict.post("/things").status_code == 401
    assert strict.post("/plain").status_code == 403


def test_a_plain_view_is_decided_where_it_is_called() -> None:
    """Also on a thread that has an event loop: a test that is `async` may use the plain client."""

    async def ask() -> list[int]:
        client = Client()
        return [client.get("/sync", headers=headers).status_code for headers in (bearer("invoices:read"), bearer(), {})]

    assert asyncio.run(ask()) == [200, 403, 401]


def test_several_headers_are_refused() -> None:
    """As servers hand them on, and as Django joins them itself."""
    good = bearer("invoices:read")["Authorization"]
    for value in (f"{good},{good}", f"Basic x,{good}", f"{good}, Basic x"):
        assert Client().get("/sync", headers={"Authorization": value}).status_code == 401
    headers = [(b"host", b"testserver"), (b"authorization", good.encode()), (b"authorization", b"Basic x")]
    scope = {"type": "http", "method": "GET", "path": "/sync", "query_string": b"", "headers": headers}
    handler = ASGIHandler()
    request, _ = handler.create_request(scope, BytesIO())
    assert asyncio.run(handler.get_response_async(request)).status_code == 401


@pytest.mark.parametrize("where", ["async", "async-things", "noted-things", "wrapped-things", "plain-async"])
def test_the_event_loop_goes_on_while_a_guard_waits(where: str) -> None:
    """One that waits for what only the loop does: on the loop it would wait for ever."""
    happened = threading.Event()

    class Waiting:
        def verify(self, token: str, *, tenant_id: str | None = None) -> Claims:
            assert happened.wait(20)
            return CORE.verify(token, tenant_id=tenant_id)

    async def ask() -> int:
        asyncio.get_running_loop().call_later(0.01, happened.set)
        answer = await AsyncClient().get(f"/{where}", headers=bearer("invoices:read"))
        return int(answer.status_code)

    more = WHOLE if where == "plain-async" else {}
    with override_settings(**more, PAYYMO_GUARD={"guard": Waiting()}):
        assert asyncio.run(ask()) == 200


# ── the whole site ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_whole_site_is_protected() -> None:
    """Every view that is not marked. What a view requires, it requires beside that."""
    with override_settings(**WHOLE):
        for where in ("plain", "plain-async", "inner/plain"):
            assert get(where).json()["code"] == "missing_token"
            assert get(where, method="head").status_code == 401
            assert get(where, bearer()).content == b"plain"
        assert get("about").content == b"None"
        assert get("both").status_code == 401
        assert get("both", bearer()).status_code == 403
        assert get("both", bearer("shop:admin")).content == b"both"
        assert get("sync", bearer()).status_code == 403
        assert get("sync", bearer("invoices:read")).content == b"acme"


def test_a_namespace_may_be_public() -> None:
    """Django's own administration has its own login."""
    with override_settings(**WHOLE, PAYYMO_GUARD={"guard": CORE, "public_namespaces": ["inner"]}):
        assert get("inner/plain").content == b"plain"
        assert get("plain").status_code == 401


def test_a_namespace_is_public_by_its_whole_name() -> None:
    """What an application calls so inside of its own is not meant."""
    for names, is_open in ((["inner"], False), (["outer:inner"], True), (["outer"], True), (["inner:outer"], False)):
        with override_settings(**WHOLE, PAYYMO_GUARD={"guard": CORE, "public_namespaces": names}):
            assert get("outer/inner/plain").status_code == (200 if is_open else 401)


def test_without_the_middleware_nothing_else_is_protected() -> None:
    """The decorator alone."""
    assert get("plain").content == b"plain"


def test_claims_are_only_where_somebody_was_let_in() -> None:
    """Whatever else is called `payymo`."""
    request = HttpRequest()
    with pytest.raises(LookupError):
        claims(request)
    request.payymo = "root"  # type: ignore[attr-defined]
    with pytest.raises(LookupError):
        claims(request)


# ── settings ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "setting",
    [
        None,
        [],
        {"issuer": "https://a.test", "audience": "b", "cache": 1},
        {"issuer": "https://a.test", "audience": "b", "max_stale_second": 10},
        {"guard": CORE, "issuer": "https://a.test"},
        {"guard": CORE, "public_namespaces": "admin"},
    ],
)
def test_a_setting_that_would_not_be_in_force_is_refused_at_start(setting: Any) -> None:
    """A misspelled limit is no limit."""
    with override_settings(PAYYMO_GUARD=setting), pytest.raises(ImproperlyConfigured, match="PAYYMO_GUARD"):
        GuardMiddleware(lambda _: HttpResponse())


@pytest.mark.parametrize("setting", [{}, {"issuer": "https://a.test"}, {"issuer": "", "audience": "b"}])
def test_an_incomplete_setting_lets_nobody_in(setting: dict[str, Any]) -> None:
    """The first request says what is missing."""
    with override_settings(PAYYMO_GUARD=setting):
        with pytest.raises(ImproperlyConfigured, match="PAYYMO_GUARD"):
            core()
        client = Client(raise_request_exception=False)
        assert client.get("/sync", headers=bearer("invoices:read")).status_code == 500


def test_every_argument_of_a_guard_can_be_set() -> None:
    """Except for those that tests replace."""
    assert set(inspect.signature(Guard).parameters) - {"clock", "elapsed", "source"} == OF_GUARD


def test_the_guard_is_made_from_the_settings_once() -> None:
    """And anew when a test overrides them."""
    with override_settings(PAYYMO_GUARD={"issuer": "https://a.test", "audience": "b", "tenant_id": "acme"}):
        made = core()
        assert isinstance(made, Guard)
        assert made.tenant_id == "acme"
        assert core() is made
    assert core() is CORE


def test_a_guard_may_be_named_by_its_path() -> None:
    """As Django does with everything else."""
    with override_settings(PAYYMO_GUARD={"guard": "payymo_guard.testing.FakeIssuer"}):
        assert core() is FakeIssuer


def test_a_requirement_that_nobody_could_fulfil_is_an_error_at_once() -> None:
    """When the view is declared. Also `@require` without its parentheses."""
    for permission in ("invoices", "invoices:*", plain):
        with pytest.raises(ValueError, match="permission"):
            require(permission)  # type: ignore[arg-type]
