"""What pages declare about themselves, and what they answer with."""

import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar

from flask import Response

from payymo.limits.model import Tier
from payymo.web.pacing import FREE, Pace
from payymo.web.routing import Input

Access = Literal["anyone", "signed-in"]
Handler = TypeVar("Handler", bound=Callable[..., Any])
NOTICES: Final[Mapping[str, str]] = {
    "signed-out": "You are signed out.",
    "password-changed": "Your password is changed. Every other session has ended.",
    "password-reset": "Your password is changed. Sign in with it.",
    "email-verified": "Your address is verified. You can sign in.",
    "email-changed": "Your new address counts from now on.",
    "unlocked": "You can sign in again.",
    "session-ended": "The session has ended.",
    "sessions-ended": "Every other session has ended.",
    "all-sessions-ended": "All of the user's sessions have ended.",
    "saved": "It is saved.",
    "user-created": "The user is created.",
    "user-invited": "The invitation is on its way.",
    "user-disabled": "The user is disabled, and signed out everywhere.",
    "user-enabled": "The user can sign in again.",
    "user-unlocked": "The user can try to sign in again.",
    "reset-forced": "The password does not work any more. No mail was sent: give them another one.",
    "user-password": "The password is changed, and the user signed out everywhere. Tell it to them.",
    "reset-mailed": "The password does not work any more. The user was sent a link to choose another.",
    "user-erased": "The user is erased.",
    "user-erased-soon": "The account is gone. What is personal in its long history goes within a minute or so.",
    "role-removed": "The role is removed.",
    "api-key-revoked": "The API key is refused from now on, and so is every token that it was exchanged for.",
    "policy-default": "The service's policy holds again.",
    "tenant-created": "The tenant is created.",
    "tenant-suspended": "The tenant is suspended. Its sessions have ended.",
    "tenant-resumed": "The tenant's users can sign in again.",
    "key-rotated": "The next key signs from now on.",
    "key-revoked": "The key is revoked. Whatever it has signed is refused.",
    "acting-stopped": "You are yourself again.",
    "acting-over": "You are yourself again: acting as somebody else is over.",
    "credential-revoked": "The credential is refused from now on.",
}
"""What a page may say first, because of what was done on another one. Nothing of an address gets into a page."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A page: a template, and what it tells."""

    template: str
    facts: Mapping[str, object] = field(default_factory=dict)
    status: int = 200


@dataclass(frozen=True, slots=True)
class Onward:
    """Another page, which is fetched now (RFC 9110 §15.4.4): to reload it does nothing again."""

    path: str
    notice: str | None = None


Answer = Sheet | Onward | Response


@dataclass(frozen=True, slots=True)
class Page:
    """What a page declares about itself."""

    method: Literal["GET", "POST"]
    path: str
    limit: Tier
    access: Access
    permission: str | None
    is_dangerous: bool
    is_for_actors: bool
    refused: str | None
    pace: Pace
    form: type[Input] | None
    query: type[Input] | None
    name: str


def page(
    method: Literal["GET", "POST"],
    path: str,
    *,
    access: Access = "signed-in",
    permission: str | None = None,
    limit: Tier = "default",
    is_dangerous: bool = False,
    is_for_actors: bool | None = None,
    refused: str | None = None,
    pace: Pace = FREE,
) -> Callable[[Handler], Handler]:
    """Declare a method of a desk to be a page. What it takes is read from its annotations: `form`, `query`.

    `is_dangerous`: only for who has given their password in the last five minutes. `is_for_actors`: whether an
    administrator who acts as somebody may; if nothing is said, what only reads and is not dangerous. `refused`: the
    page, a method of the same desk, on which a refused form is shown again, with what was typed. `pace`: which answers
    take the same time.
    """

    def declare(handler: Handler) -> Handler:
        hints = typing.get_type_hints(handler)
        declared = Page(
            method=method,
            path=path,
            limit=limit,
            access=access,
            permission=permission,
            is_dangerous=is_dangerous,
            is_for_actors=(method == "GET" and not is_dangerous) if is_for_actors is None else is_for_actors,
            refused=refused,
            pace=pace,
            form=hints.get("form"),
            query=hints.get("query"),
            name=handler.__name__,
        )
        handler.__page__ = declared  # type: ignore[attr-defined]
        return handler

    return declare


def pages_of(desk: object) -> Iterator[tuple[Page, Callable[..., Any]]]:
    """The pages that a desk declares, in the order of their names."""
    for _name, handler in inspect.getmembers(desk, callable):
        declared = getattr(handler, "__page__", None)
        if isinstance(declared, Page):
            yield declared, handler
