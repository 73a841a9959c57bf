"""What happens to a request of a declared route, in one order: counted, known, permitted, read, answered, told of.

Whatever goes wrong on the way becomes a problem document; what strangers may not know of it goes to the log.
"""

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from flask import Blueprint, Response, g, request
from pydantic import BaseModel
from werkzeug.exceptions import HTTPException

from payymo.entropy import Entropy
from payymo.errors import (
    Impersonated,
    InsufficientScope,
    InvalidClient,
    InvalidToken,
    Overloaded,
    PayymoError,
    TenantUnknown,
    TooManyRequests,
)
from payymo.guards.model import Scope
from payymo.limits.limiter import Quota, RateLimiter, address_key
from payymo.limits.model import Tier
from payymo.logs import Event, SecurityLog
from payymo.roles.service import Actor
from payymo.web import problems
from payymo.web.caller import Caller, Gate, Principal, brings_credential, brings_device
from payymo.web.headers import add_quota
from payymo.web.pacing import SHED, Pacer
from payymo.web.reading import read_body, read_media, read_parameters, read_query
from payymo.web.routing import Guarded, Route, routes_of
from payymo_guard import permits

SERVICE_TIER: Final[Tier] = "service"


class Mount:
    """Puts resources on a blueprint: limits, authentication, permission, parsing, rendering, errors."""

    def __init__(
        self,
        *,
        gate: Gate,
        limiter: RateLimiter,
        is_granted: Callable[[Principal, str], bool],
        actor_of: Callable[[Principal, str], Actor],
        entropy: Entropy,
        log: SecurityLog,
        record: Callable[[Event], None],
        pacer: Pacer,
    ) -> None:
        self._gate = gate
        self.pacer = pacer
        self._limiter = limiter
        self._is_granted = is_granted
        self._actor_of = actor_of
        self._entropy = entropy
        self._log = log
        self._record = record
        self.routes: list[Route] = []

    def mount(self, blueprint: Blueprint, *resources: object) -> None:
        """Add every route of the resources."""
        for resource in resources:
            for declared, handler in routes_of(resource):
                self.routes.append(declared)
                blueprint.add_url_rule(
                    declared.path,
                    endpoint=f"{type(resource).__name__}-{declared.name}",
                    view_func=self._view(declared, handler),
                    methods=[declared.method],
                    merge_slashes=False,  # a path has one spelling; others would redirect to wherever Host says
                )

    def request_id(self) -> str:
        """The identifier of the request that is being answered; in the log and in `X-Request-ID`."""
        found: str | None = g.get("payymo_request_id")
        if found is None:
            found = g.payymo_request_id = self._entropy.token(12)
        return found

    def add_request_id(self, response: Response) -> Response:
        """For `after_request`."""
        response.headers["X-Request-ID"] = self.request_id()
        return response

    def refuse(self, error: BaseException, *, for_oauth: bool = False) -> Response:
        """The answer to an error. What strangers may not know goes to the log, under the request id."""
        response = problems.render(self.note(error), request_id=self.request_id(), for_oauth=for_oauth)
        return add_allowed(response, error)

    def note(self, error: BaseException) -> PayymoError:
        """What is said of an error; and write down what is not."""
        if isinstance(error, HTTPException):
            error = problems.from_http(error)
        if isinstance(error, InvalidToken | InvalidClient | TooManyRequests | Overloaded):
            caller = self._gate.meet(request, self.request_id)
            self._log.write(Event(f"request.{error.code}", "refused", trace=caller.trace, reason=error.private))
        elif not isinstance(error, PayymoError) or problems.row_of(error).status >= 500:
            caller = self._gate.meet(request, self.request_id)
            self._log.failure(error, trace=caller.trace, private=getattr(error, "private", None))
        return error if isinstance(error, PayymoError) else PayymoError()

    def enter(self, declared: Route) -> tuple[Caller, Quota | None]:
        """The caller, counted, authenticated and permitted, in this order."""
        if SHED in request.environ:
            raise Overloaded
        caller = g.payymo_met = self._gate.meet(request, self.request_id)
        quota = None
        if declared.scope is not None and (declared.authentication == "service" or brings_credential(caller)):
            quota = self._enter_service(caller, declared.scope)
        elif declared.limit is not None and declared.authentication != "client":
            quota = self.spend(caller, declared.limit, spares_devices=declared.spares_devices)
        if declared.authentication == "bearer":
            caller.user = self._gate.authenticate(caller)
            require_themselves(caller.user, is_for_actors=declared.is_for_actors)
        if declared.permission is not None:
            self._require(caller, declared.permission)
        return caller, quota

    def _enter_service(self, caller: Caller, scope: Scope) -> Quota | None:
        """Let a service in, and count it: by its credential; without one, or with a bad one, by address.

        Here, and only here, counting comes second: to look at a credential costs less than to count, and a stranger who
        knows its identifier must not use its limit up.
        """
        try:
            caller.service = self._gate.admit(caller, scope)
        except PayymoError as refusal:
            self.spend(caller, SERVICE_TIER)
            if isinstance(refusal, InsufficientScope):
                reason = refusal.private
                self._log.write(Event("permission.required", "refused", trace=caller.trace, reason=reason))
            raise
        if caller.comes_again:
            return None
        if caller.service is None:
            return self.spend(caller, SERVICE_TIER)
        return self._limiter.spend(SERVICE_TIER, "credential", caller.service.id.hex, service=caller.service.name)

    def spend(self, caller: Caller, tier: Tier, *, spares_devices: bool = False) -> Quota | None:
        """Count a request of this address. Raises TooManyRequests; later, if a device may be known that is spared."""
        try:
            return self._limiter.spend(tier, "address", address_key(caller.address), tenant=lambda: _tenant_of(caller))
        except TooManyRequests as refusal:
            if not (spares_devices and brings_device(caller.request)):
                raise
            caller.too_many = refusal
            return None

    def admit(self, guarded: Guarded) -> tuple[Response | None, Caller | None]:
        """The caller of a view that is not ours, or the refusal."""
        try:
            caller = self._gate.meet(request, self.request_id)
            caller.user = self._gate.authenticate(caller, takes_keys=True)
            require_themselves(caller.user, is_for_actors=guarded.is_for_actors)
            for permission in guarded.permissions:
                self._require(caller, permission)
        except Exception as error:  # noqa: BLE001 - whatever happens, nobody gets in by it
            return self.refuse(error), None
        return None, caller

    def _require(self, caller: Caller, permission: str) -> None:
        """The permission has to be in the token, and still be granted: what was taken away since does not count."""
        principal = caller.principal
        if not (permits(principal.permissions, permission) and self._is_granted(principal, permission)):
            user_id, apikey = (None, principal.user_id) if principal.is_service else (principal.user_id, None)
            event = Event("permission.required", "refused", trace=caller.trace, tenant_id=principal.tenant_id)
            self._record(replace(event, user_id=user_id, apikey=apikey, reason=permission))
            raise InsufficientScope
        caller.permitted = self._actor_of(principal, permission)

    def _view(self, declared: Route, handler: Callable[..., Any]) -> Callable[..., Response]:
        def view(**path: Any) -> Response:
            began, caller, quota = self.pacer.clock(), None, None
            try:
                caller, quota = self.enter(declared)
                answer = handler(caller, **path, **_read(declared))
                response = answer if isinstance(answer, Response) else render(answer, declared.status)
            except Exception as cause:  # noqa: BLE001 - the one place where every error becomes an answer
                error = told(caller, cause)
                response = self.refuse(error, for_oauth=declared.speaks_oauth)
                if isinstance(error, TooManyRequests):  # perhaps another limit than the address's, which is told then
                    quota = Quota(error.tier, error.limit, error.window_seconds, 0, error.retry_after)
            if quota is not None:
                add_quota(response, quota)
            self.pacer.hold(declared.pace, response.status_code, caller, began=began)
            return response

        return view


def told(caller: Caller | None, error: Exception) -> Exception:
    """What is said of an error: who was one too many of their address, and was not spared, hears nothing but that."""
    if caller is None or caller.too_many is None:
        return error
    is_answer = isinstance(error, PayymoError) and problems.row_of(error).status < 500
    return caller.too_many if is_answer else error


def add_allowed(response: Response, error: BaseException) -> Response:
    """The answer to an error, with the methods that there are, if that was what was wrong (RFC 9110 §15.5.6)."""
    if allowed := getattr(error, "valid_methods", None):
        response.headers["Allow"] = ", ".join(sorted(allowed))
    return response


def require_themselves(principal: Principal, *, is_for_actors: bool) -> None:
    """Raise Impersonated for an administrator who acts as somebody, where they may not."""
    if principal.actor_id is not None and not is_for_actors:
        raise Impersonated


def _tenant_of(caller: Caller) -> uuid.UUID | None:
    """The tenant of a request; None: it names one that does not exist."""
    try:
        return caller.tenant.id
    except TenantUnknown:
        return None


def render(answer: BaseModel, status: int) -> Response:
    """A success: `{"data": …}`."""
    return Response(f'{{"data":{answer.model_dump_json()}}}', status, content_type="application/json")


def _read(declared: Route) -> dict[str, BaseModel | bytes]:
    """The body, the form and the query of the present request, as the route declares them."""
    found: dict[str, BaseModel | bytes] = {}
    if declared.media is not None:
        found["octets"] = read_media(declared.media)
    if declared.body is not None:
        found["body"] = read_body(declared.body, is_optional=declared.body_is_optional)
    if declared.form is not None:
        found["form"] = read_parameters(declared.form)
    if declared.query is not None:
        found["query"] = read_query(declared.query)
    return found
