"""Guards views of a Django site by access tokens: a decorator for some of them, a middleware for all.

    PAYYMO_GUARD = {"issuer": "https://auth.example.com", "audience": "https://api.example.com"}
    MIDDLEWARE = [..., "payymo_guard.django.GuardMiddleware"]

A guard decides where Django has decided already: on the view that the request was routed to, never on a path of its own
reading. `async` views are asked for without holding up the event loop.
"""

import asyncio
import functools
import inspect
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string

from payymo_guard.bearer import Answer, Tenant, admit, admit_async, concrete
from payymo_guard.claims import Claims
from payymo_guard.guard import Guard
from payymo_guard.off_loop import Verifies

SETTING: Final = "PAYYMO_GUARD"
OF_GUARD: Final = frozenset(
    {
        "issuer",
        "audience",
        "credential",
        "tenant_id",
        "leeway_seconds",
        "cache_size",
        "max_stale_seconds",
        "when_stale",
        "accept_stale_seconds",
        "start_seconds",
        "discovery_url",
        "ca_file",
    }
)
"""Members that are Guard's own arguments."""
OF_SITE: Final = frozenset({"guard", "public_namespaces"})
"""`guard`: one that exists, or the dotted path to it, instead of these. `public_namespaces`: "admin", "shop:help"."""
_PUBLIC: Final = "payymo_guard_public"
TenantOf: TypeAlias = Callable[[HttpRequest], object]
"""Answers the id of the only tenant whose tokens count for a request."""
V = TypeVar("V", bound=Callable[..., Any])


def require(*permissions: str, tenant: str | TenantOf | None = None, impersonated: bool = True) -> Callable[[V], V]:
    """Let a view's callers in only with a valid access token that has every one of `permissions`.

    Without permissions any valid token will do. `tenant` pins: only tokens of the tenant count whose id is the view's
    argument of this name, or what this function answers. Not `impersonated`: only the person themselves, and no
    administrator who acts as them. The view finds the claims in `request.payymo`. Cross-site forgery is no danger to
    what needs this header, so Django's own check is left out.
    """
    required = concrete(permissions)

    def guard(view: V) -> V:
        async def enter_async(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            sent, pinned = _authorization(request), _pin(tenant, request, kwargs)
            outcome = await admit_async(core(), sent, required, tenant=pinned, impersonated=impersonated)
            refusal = _settle(request, outcome)
            if refusal is not None:
                return refusal
            response = view(request, *args, **kwargs)
            return await response if inspect.isawaitable(response) else response

        def enter(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            if _is_on_event_loop() and _is_async_dispatch(view):
                return enter_async(request, *args, **kwargs)
            sent, pinned = _authorization(request), _pin(tenant, request, kwargs)
            outcome = admit(core(), sent, required, tenant=pinned, impersonated=impersonated)
            refusal = _settle(request, outcome)
            return view(request, *args, **kwargs) if refusal is None else refusal

        found = functools.wraps(view)(enter_async if iscoroutinefunction(view) else enter)
        found.csrf_exempt = True  # type: ignore[attr-defined]
        return cast("V", found)

    return guard


def public(view: V) -> V:
    """Leave this view out of what the middleware guards. A `require` of its own stays."""
    setattr(view, _PUBLIC, True)
    return view


def claims(request: HttpRequest) -> Claims:
    """The claims of the caller: `request.payymo`, with a type. LookupError where no guard has let the request in."""
    found = getattr(request, "payymo", None)
    if not isinstance(found, Claims):
        raise LookupError("payymo_guard: no guard has let this request in")  # noqa: TRY004 - there are none
    return found


class GuardMiddleware:
    """Requires a valid access token for every view that is not `public`. What else a view requires, it says itself."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        _members()
        self._get_response = get_response
        self.process_view: Callable[..., Any] = self._check
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)
            self.process_view = self._check_async

    def __call__(self, request: HttpRequest) -> Any:
        """Nothing is decided here: the view is not known yet."""
        return self._get_response(request)

    def _check(self, request: HttpRequest, view: Any, _args: Sequence[Any], _kwargs: Mapping[str, Any]) -> Any:
        if _is_public(request, view):
            return None
        return _settle(request, admit(core(), _authorization(request)))

    async def _check_async(
        self, request: HttpRequest, view: Any, _args: Sequence[Any], _kwargs: Mapping[str, Any]
    ) -> Any:
        if _is_public(request, view):
            return None
        return _settle(request, await admit_async(core(), _authorization(request)))


_lock = threading.Lock()
_cores: dict[str, Verifies] = {}


def core() -> Verifies:
    """What decides: made from the settings, once, with the first request. Raises ImproperlyConfigured."""
    if SETTING not in _cores:
        with _lock:
            if SETTING not in _cores:
                _cores[SETTING] = _make()
    return _cores[SETTING]


def _make() -> Verifies:
    members = _members()
    chosen = members.get("guard")
    if chosen is None:
        try:
            return Guard(**{name: value for name, value in members.items() if name in OF_GUARD})
        except (TypeError, ValueError) as error:
            raise ImproperlyConfigured(f"{SETTING}: {error}") from error
    found: Verifies = import_string(chosen) if isinstance(chosen, str) else chosen
    return found


def _members() -> dict[str, Any]:
    """The setting. Raises ImproperlyConfigured: a misspelled member would be one that is not in force."""
    members = getattr(settings, SETTING, None)
    if not isinstance(members, Mapping):
        raise ImproperlyConfigured(f'{SETTING} is a dict with "issuer" and "audience"')
    known = OF_GUARD | OF_SITE
    if unknown := sorted(map(str, set(members) - known)):
        raise ImproperlyConfigured(f"{SETTING} has unknown members: {', '.join(unknown)}. Known: {sorted(known)}")
    if "guard" in members and (both := sorted(OF_GUARD & set(members))):
        raise ImproperlyConfigured(f'{SETTING} has a "guard", and what would make another: {", ".join(both)}')
    if isinstance(members.get("public_namespaces", ()), str):
        raise ImproperlyConfigured(f"{SETTING}: public_namespaces is a list")
    return dict(members)


def _forget(*, setting: str, **_: Any) -> None:
    """Settings that a test overrides are read anew."""
    if setting == SETTING:
        _cores.clear()


setting_changed.connect(_forget)


def _is_public(request: HttpRequest, view: Any) -> bool:
    public_namespaces = _members().get("public_namespaces", ())
    match = request.resolver_match
    names = match.namespaces if match else []
    # Each by its whole name: "admin" is not what some application calls so inside of its own, which is "shop:admin".
    within = (":".join(names[:depth]) for depth in range(1, len(names) + 1))
    return getattr(view, _PUBLIC, False) is True or any(name in public_namespaces for name in within)


def _pin(tenant: str | TenantOf | None, request: HttpRequest, arguments: Mapping[str, Any]) -> Tenant | None:
    if tenant is None:
        return None
    return (lambda: arguments[tenant]) if isinstance(tenant, str) else (lambda: tenant(request))


def _settle(request: HttpRequest, outcome: Claims | Answer) -> HttpResponse | None:
    if not isinstance(outcome, Answer):
        request.payymo = outcome
        return None
    return _Refusal(outcome.body, status=outcome.status, headers=dict(outcome.headers))


def _authorization(request: HttpRequest) -> list[str]:
    """The values of the header. Servers and Django have joined several by commas, which no token holds."""
    value = request.META.get("HTTP_AUTHORIZATION")
    return [] if value is None else [value]


class _Refusal(HttpResponse):  # type: ignore[misc] # it is Any to us
    """Can be awaited, too: a class of async views has a plain `dispatch`, of which Django expects a coroutine."""

    def __await__(self) -> Generator[None, None, HttpResponse]:
        yield from ()
        return self


def _is_async_dispatch(view: Any) -> bool:
    """Whether this is `dispatch` of a class of async views, perhaps decorated: it answers what Django awaits."""
    while view is not None:
        owner = getattr(getattr(view, "func", view), "__self__", None)  # method_decorator binds it by a partial
        if owner is not None:
            return getattr(type(owner), "view_is_async", False) is True
        view = getattr(view, "__wrapped__", None)
    return False


def _is_on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
