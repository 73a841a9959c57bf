"""Guards views of a Flask application by access tokens; also the door to guards by certificate and by signature.

A guard decides where Flask has decided already: on the view that the request was routed to, and never on a path of its
own reading. HEAD is the view's business like GET. OPTIONS is the view's business when the view takes it, and nobody's
when Flask answers by itself (a CORS preflight brings no token, and that answer tells nothing but the methods).
"""

import contextlib
import logging
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Final

from flask import Blueprint, Flask, Response, current_app, request

from payymo_guard.bearer import Answer, Tenant, admit, concrete
from payymo_guard.claims import Claims
from payymo_guard.flask_peers import (
    EXTENSION,
    PeerGuard,
    certificate,
    require_client_certificate,
    require_signature,
    webhook,
)
from payymo_guard.flask_views import V, behind
from payymo_guard.off_loop import Verifies

__all__ = [
    "EXTENSION",
    "FlaskGuard",
    "PeerGuard",
    "certificate",
    "claims",
    "public",
    "require_client_certificate",
    "require_signature",
    "webhook",
]
_log = logging.getLogger("payymo_guard")
GUARDS: Final = "payymo_guard.bearer"
_PUBLIC: Final = "payymo_guard_public"
_CLAIMS: Final = "payymo_guard.claims"


class FlaskGuard:
    """Lets requests with the right access token in, by what `core` says about tokens."""

    def __init__(self, core: Verifies | None = None, *, app: Flask | None = None) -> None:
        """Without a `core` each application brings its own by `init_app`."""
        self._core = core
        self._bare: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        """Views as they were before `require`, by `id`: what they are equal to does not matter."""
        self._seen: weakref.WeakSet[Flask] = weakref.WeakSet()
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask, core: Verifies | None = None) -> None:
        """Use `core` for the requests of `app`: for application factories, and for tests."""
        found = self._core if core is None else core
        if found is None:
            raise ValueError("payymo_guard: give FlaskGuard or init_app a Guard")
        app.extensions.setdefault(GUARDS, {})[self] = found

    def require(
        self, *permissions: str, tenant: str | Tenant | None = None, impersonated: bool = True
    ) -> Callable[[V], V]:
        """Let a view's callers in only with a valid access token that has every one of `permissions`.

        Without permissions any valid token will do. `tenant` pins: only tokens of the tenant count whose id is the
        view's argument of this name, or what this function answers. Not `impersonated`: only the person themselves, and
        no administrator who acts as them. Stands under the route's decorator.
        """
        put_behind = behind(self._check(permissions, tenant, impersonated=impersonated))

        def guard(view: V) -> V:
            with contextlib.suppress(TypeError):  # there are callables that can't be weakly referred to
                self._bare[id(view)] = view
            return put_behind(view)

        return guard

    def protect(
        self,
        scaffold: Flask | Blueprint,
        *permissions: str,
        tenant: str | Tenant | None = None,
        impersonated: bool = True,
    ) -> None:
        """Require it of every request to this blueprint or application, except for views marked as `public`.

        Of an application: also of requests that lead nowhere, so that strangers can't tell which routes there are.
        """
        check = self._check(permissions, tenant, impersonated=impersonated)

        def enter() -> Response | None:
            return None if _is_nobodys_business() else check(request.view_args or {})

        scaffold.before_request(enter)

    @staticmethod
    def public(view: V) -> V:
        """Leave this view out of `protect`."""
        return public(view)

    @property
    def claims(self) -> Claims:
        """The claims of the caller. Only in a request that a guard has let in."""
        return claims()

    def _check(
        self, permissions: tuple[str, ...], tenant: str | Tenant | None, *, impersonated: bool
    ) -> Callable[[Mapping[str, Any]], Response | None]:
        required = concrete(permissions)

        def check(arguments: Mapping[str, Any]) -> Response | None:
            pinned = (lambda: arguments[tenant]) if isinstance(tenant, str) else tenant
            environ = request.environ
            core, sent = self._verifier(), _authorization(environ)
            outcome = admit(core, sent, required, tenant=pinned, impersonated=impersonated)
            if isinstance(outcome, Answer):
                return Response(outcome.body, outcome.status, headers=list(outcome.headers))
            environ[_CLAIMS] = outcome  # of this request alone; `g` may be shared by several in tests
            return None

        return check

    def _verifier(self) -> Verifies:
        found: Verifies | None = current_app.extensions.get(GUARDS, {}).get(self, self._core)
        if found is None:
            raise RuntimeError("payymo_guard: call init_app(app, Guard(...)) before the first request")
        self._look_for_bare_views()
        return found

    def _look_for_bare_views(self) -> None:
        """Say which views are routed to past their guard, for nobody would notice: once for each application."""
        app = current_app._get_current_object()  # type: ignore[attr-defined] # this is how Flask's documentation does it
        if app in self._seen:
            return
        self._seen.add(app)
        for endpoint, view in app.view_functions.items():
            if self._bare.get(id(view)) is not view:
                continue
            _log.error("%s is open: `require` has to stand under the decorator of the route, not above it", endpoint)


def claims() -> Claims:
    """The claims of the caller. Only in a request that a guard has let in: LookupError elsewhere."""
    found = request.environ.get(_CLAIMS)
    if not isinstance(found, Claims):
        raise LookupError("payymo_guard: no guard has let this request in")  # noqa: TRY004 - there are none
    return found


def public(view: V) -> V:
    """Leave this view out of `protect`. A `require` of its own stays."""
    setattr(view, _PUBLIC, True)
    return view


def _authorization(environ: Mapping[str, Any]) -> list[str]:
    """The values of the header. A WSGI server has joined several by commas, which no token holds."""
    value = environ.get("HTTP_AUTHORIZATION")
    return [] if value is None else [value]


def _is_nobodys_business() -> bool:
    """Whether the view is public, or Flask will answer OPTIONS without the view."""
    rule = request.url_rule
    if rule is None:
        return False
    if request.method == "OPTIONS" and getattr(rule, "provide_automatic_options", False):
        return True
    return getattr(current_app.view_functions.get(rule.endpoint), _PUBLIC, False) is True
