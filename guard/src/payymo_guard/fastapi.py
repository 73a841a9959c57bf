"""Guards routes of a FastAPI application: a dependency that gives the claims, and a scheme in the OpenAPI document.

`app.add_middleware(ASGIGuard, ...)` (payymo_guard.asgi) guards all of an application instead, also one of Starlette.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from fastapi.openapi.models import HTTPBearer
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from payymo_guard.asgi import authorization, refuse
from payymo_guard.bearer import Answer, Tenant, admit_async, concrete
from payymo_guard.claims import Claims
from payymo_guard.off_loop import Verifies

SCHEME: Final = "payymo"
GUARDS: Final = "payymo_guards"
_NO_SCOPES: Final = SecurityScopes()
TenantOf: TypeAlias = Callable[[HTTPConnection], object]
"""Answers the id of the only tenant whose tokens count for a request."""


class FastAPIGuard:
    """Lets requests with the right access token in, by what `core` says about tokens."""

    def __init__(self, core: Verifies | None = None) -> None:
        """Without a `core` each application brings its own by `init_app`."""
        self._core = core

    def init_app(self, app: Starlette, core: Verifies | None = None) -> None:
        """Answer refusals in `app` by problem documents; use `core` for its requests, if it is given.

        Without it refusals have the same status and headers, and FastAPI's own body.
        """
        found = self._core if core is None else core
        if found is None:
            raise ValueError("payymo_guard: give FastAPIGuard or init_app a Guard")
        if not hasattr(app.state, GUARDS):
            setattr(app.state, GUARDS, {})
        getattr(app.state, GUARDS)[self] = found
        app.add_exception_handler(RequestRefused, _render)

    def require(
        self, *permissions: str, tenant: str | TenantOf | None = None, impersonated: bool = True
    ) -> "Requirement":
        """What `Depends` takes: gives the claims of callers whose valid access token has every one of `permissions`.

        Without permissions any valid token will do. `tenant` pins: only tokens of the tenant count whose id is the path
        parameter of this name, or what this function answers. Not `impersonated`: only the person themselves, and no
        administrator who acts as them. For WebSockets, too: they are refused before they are accepted.
        `Security(guard.require(), scopes=[...])` requires these scopes as permissions, in addition.
        """
        return Requirement(self, concrete(permissions), tenant, impersonated=impersonated)

    def core_of(self, connection: HTTPConnection) -> Verifies:
        """What decides in the application that the request came to."""
        cores: dict[FastAPIGuard, Verifies] = getattr(connection.app.state, GUARDS, {})
        found = cores.get(self, self._core)
        if found is None:
            raise RuntimeError("payymo_guard: call init_app(app, Guard(...)) before the first request")
        return found


class RequestRefused(HTTPException):
    """Carries the answer out of a dependency."""

    def __init__(self, answer: Answer) -> None:
        headers = {name: value for name, value in answer.headers if name != "Content-Type"}
        super().__init__(answer.status, headers=headers)
        self.answer = answer


class Requirement(SecurityBase):
    """A dependency: what a route requires of its callers."""

    def __init__(
        self,
        guard: FastAPIGuard,
        permissions: tuple[str, ...],
        tenant: str | TenantOf | None,
        *,
        impersonated: bool = True,
    ) -> None:
        self.model = HTTPBearer(bearerFormat="JWT", description="An access token of Payymo")
        self.scheme_name = SCHEME
        self._guard = guard
        self._permissions = permissions
        self._tenant = tenant
        self._impersonated = impersonated

    async def __call__(self, connection: HTTPConnection, scopes: SecurityScopes = _NO_SCOPES) -> Claims:
        """The claims of the caller. Raises RequestRefused."""
        core = self._guard.core_of(connection)
        required = (*self._permissions, *scopes.scopes)  # of all the `Security` that leads here
        sent, pinned = authorization(connection.scope), self._pinned(connection)
        outcome = await admit_async(core, sent, required, tenant=pinned, impersonated=self._impersonated)
        if isinstance(outcome, Answer):
            raise RequestRefused(outcome)
        return outcome

    def _pinned(self, connection: HTTPConnection) -> Tenant | None:
        tenant = self._tenant
        if tenant is None:
            return None
        if isinstance(tenant, str):
            return lambda: connection.path_params[tenant]
        return lambda: tenant(connection)


class _Refusal(Response):
    """An answer, also to those who wanted to open a WebSocket."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.body, answer.status, dict(answer.headers))
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await refuse(self._answer, scope, receive, send)


async def _render(_: HTTPConnection, error: Exception) -> Response:
    if not isinstance(error, RequestRefused):
        raise error
    return _Refusal(error.answer)
