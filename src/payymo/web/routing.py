"""Typed routes: pydantic in, pydantic out. Every route names its authentication, its permission and its rate limit.

What a route declares is also what `payymo.web.openapi` describes, so the document can't drift from the code. What
becomes of a request is in `payymo.web.dispatch`.
"""

import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from payymo.guards.model import Scope
from payymo.limits.model import Tier
from payymo.web.pacing import FREE, Pace

Authentication = Literal["bearer", "service", "client", None]
"""bearer: a user's access token · service: a service credential, unless the network is open · client: an API key, which
the route itself looks at and counts, and which speaks OAuth (RFC 6749) · None: nobody has to."""
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Handler = TypeVar("Handler", bound=Callable[..., Any])


class Input(BaseModel):
    """What a client sends: unknown members are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Output(BaseModel):
    """What a client gets."""

    model_config = ConfigDict(frozen=True)


class Nothing(Output):
    """An empty success."""


@dataclass(frozen=True, slots=True)
class Route:
    """What a route declares about itself."""

    method: Method
    path: str
    limit: Tier | None
    spares_devices: bool
    authentication: Authentication
    scope: Scope | None
    permission: str | None
    is_for_actors: bool
    status: int
    body: type[Input] | None
    form: type[BaseModel] | None
    body_is_optional: bool
    media: str | None
    also: Mapping[int, str]
    query: type[Input] | None
    answer: type[BaseModel] | None
    pace: Pace
    summary: str
    name: str

    @property
    def speaks_oauth(self) -> bool:
        """Whether forms, answers and refusals are those of RFC 6749."""
        return self.authentication == "client"


@dataclass(frozen=True, slots=True)
class Guarded:
    """What a view of somebody else's application asks of its callers."""

    permissions: tuple[str, ...]
    is_for_actors: bool


def route(
    method: Method,
    path: str,
    *,
    limit: Tier | None,
    authentication: Authentication,
    spares_devices: bool = False,
    scope: Scope | None = None,
    permission: str | None = None,
    is_for_actors: bool | None = None,
    status: int = 200,
    body_is_optional: bool = False,
    media: str | None = None,
    also: Mapping[int, str] = MappingProxyType({}),
    shape: type[BaseModel] | None = None,
    pace: Pace = FREE,
) -> Callable[[Handler], Handler]:
    """Declare a method of a resource to be a route. Types are read from its annotations.

    `spares_devices`: when the limit of the address is used up, `Door.admit` says whether a known device may pass yet.
    `is_for_actors`: whether an administrator who acts as somebody may do it; if nothing is said, what only reads.
    `scope`: what a service credential has to be good for. Without authentication one may be brought, and then its calls
    count against its own limit. `also`: statuses beside `status` that are answers and no refusals, with what they mean.
    `media`: the content type of a body that is a file, and not JSON: the handler is given its `octets`.
    `shape`: of an answer that the handler renders itself. `pace`: which of its answers take the same time.
    """

    def declare(handler: Handler) -> Handler:
        hints = typing.get_type_hints(handler)
        answer = hints.get("return")
        declared = Route(
            method=method,
            path=path,
            limit=limit,
            spares_devices=spares_devices,
            authentication=authentication,
            scope=scope,
            permission=permission,
            is_for_actors=method == "GET" if is_for_actors is None else is_for_actors,
            status=status,
            body=hints.get("body"),
            form=hints.get("form"),
            body_is_optional=body_is_optional,
            media=media,
            also=also,
            query=hints.get("query"),
            answer=answer if isinstance(answer, type) and issubclass(answer, BaseModel) else shape,
            pace=pace,
            summary=(inspect.getdoc(handler) or "").split("\n")[0],
            name=handler.__name__,
        )
        handler.__route__ = declared  # type: ignore[attr-defined]
        return handler

    return declare


def routes_of(resource: object) -> Iterator[tuple[Route, Callable[..., Any]]]:
    """The routes that a resource declares, in the order of their names."""
    for name, declared in _declared_by(resource if isinstance(resource, type) else type(resource)):
        yield declared, getattr(resource, name)


@cache
def _declared_by(kind: type) -> tuple[tuple[str, Route], ...]:
    found = ((name, getattr(getattr(kind, name), "__route__", None)) for name in dir(kind))
    return tuple((name, declared) for name, declared in found if isinstance(declared, Route))
