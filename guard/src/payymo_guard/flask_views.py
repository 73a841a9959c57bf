"""How a check comes before a view of Flask: before an `async` one as before any other."""

import functools
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from flask import Response

V = TypeVar("V", bound=Callable[..., Any])
Check = Callable[[Mapping[str, Any]], Response | None]
"""What refuses the present request, given the arguments of its view; None lets it in."""


def behind(check: Check) -> Callable[[V], V]:
    """A decorator that asks `check` first. A view that is a coroutine function stays one."""

    def guard(view: V) -> V:
        @functools.wraps(view)
        async def enter_async(*args: Any, **kwargs: Any) -> Any:
            refusal = check(kwargs)
            return await view(*args, **kwargs) if refusal is None else refusal

        @functools.wraps(view)
        def enter(*args: Any, **kwargs: Any) -> Any:
            refusal = check(kwargs)
            return view(*args, **kwargs) if refusal is None else refusal

        return cast("V", enter_async if inspect.iscoroutinefunction(view) else enter)

    return guard


def problem(code: str, detail: str, status: int) -> Response:
    """A problem document (RFC 9457)."""
    kind = f"urn:payymo:problem:{code}"
    document = {"type": kind, "title": "Refused", "status": status, "detail": detail, "code": code}
    return Response(json.dumps(document), status, content_type="application/problem+json")
