"""What pages declare about themselves, and what they answer with."""

import re
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, Literal, TypeVar
from urllib.parse import quote

from flask import Response

from payymo.limits.model import Tier
from payymo.phrases import Phrase
from payymo.web.pacing import FREE, Pace
from payymo.web.routing import Input

Access = Literal["anyone", "signed-in"]
Handler = TypeVar("Handler", bound=Callable[..., Any])
_PART: Final = re.compile(r"<\w+:(\w+)>")
NOTICES: Final[Mapping[str, Phrase]] = {
    "signed-out": Phrase("You are signed out."),
    "password-changed": Phrase("Your password is changed. Every other session has ended."),
    "password-reset": Phrase("Your password is changed. Sign in with it."),
    "email-verified": Phrase("Your address is verified. You can sign in."),
    "email-changed": Phrase("Your new address counts from now on."),
    "unlocked": Phrase("You can sign in again."),
    "session-ended": Phrase("The session has ended."),
    "sessions-ended": Phrase("Every other session has ended."),
    "all-sessions-ended": Phrase("All of the user's sessions have ended."),
    "saved": Phrase("It is saved."),
    "user-created": Phrase("The user is created."),
    "user-invited": Phrase("The invitation is on its way."),
    "user-disabled": Phrase("The user is disabled, and signed out everywhere."),
    "user-enabled": Phrase("The user can sign in again."),
    "user-unlocked": Phrase("The user can try to sign in again."),
    "reset-forced": Phrase("The password does not work any more. No mail was sent: give them another one."),
    "user-password": Phrase("The password is changed, and the user signed out everywhere. Tell it to them."),
    "reset-mailed": Phrase("The password does not work any more. The user was sent a link to choose another."),
    "user-erased": Phrase("The user is erased."),
    "user-erased-soon": Phrase("The account is gone. What is personal in its long history goes within a minute or so."),
    "role-removed": Phrase("The role is removed."),
    "logo-removed": Phrase("The logo is removed."),
    "brand-removed": Phrase("Your pages look as the service does again."),
    "api-key-revoked": Phrase("The API key is refused from now on, and so is every token that it was exchanged for."),
    "policy-default": Phrase("The service's policy holds again."),
    "tenant-created": Phrase("The tenant is created."),
    "tenant-suspended": Phrase("The tenant is suspended. Its sessions have ended."),
    "tenant-resumed": Phrase("The tenant's users can sign in again."),
    "key-rotated": Phrase("The next key signs from now on."),
    "key-revoked": Phrase("The key is revoked. Whatever it has signed is refused."),
    "acting-stopped": Phrase("You are yourself again."),
    "acting-over": Phrase("You are yourself again: acting as somebody else is over."),
    "credential-revoked": Phrase("The credential is refused from now on."),
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
    spares_devices: bool
    access: Access
    permission: str | None
    is_dangerous: bool
    is_for_actors: bool
    refused: str | None
    upload: str | None
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
    spares_devices: bool = False,
    is_dangerous: bool = False,
    is_for_actors: bool | None = None,
    refused: str | None = None,
    upload: str | None = None,
    pace: Pace = FREE,
) -> Callable[[Handler], Handler]:
    """Declare a method of a desk to be a page. What it takes is read from its annotations: `form`, `query`.

    `spares_devices`: as of a route. `is_dangerous`: only for who has given their password in the last five minutes.
    `is_for_actors`: whether an administrator who acts as somebody may; if nothing is said, what only reads and is not
    dangerous. `refused`: the page, a method of the same desk, on which a refused form is shown again, with what was
    typed. `upload`: the field of a file that may come with the form, handed over as `upload`; its path stands in
    `payymo.web.reading.LARGER`. `pace`: which answers take the same time.
    """

    def declare(handler: Handler) -> Handler:
        hints = typing.get_type_hints(handler)
        declared = Page(
            method=method,
            path=path,
            limit=limit,
            spares_devices=spares_devices,
            access=access,
            permission=permission,
            is_dangerous=is_dangerous,
            is_for_actors=(method == "GET" and not is_dangerous) if is_for_actors is None else is_for_actors,
            refused=refused,
            upload=upload,
            pace=pace,
            form=hints.get("form"),
            query=hints.get("query"),
            name=handler.__name__,
        )
        handler.__page__ = declared  # type: ignore[attr-defined]
        return handler

    return declare


def ways_back(declared: Sequence[Page]) -> Iterator[tuple[Page, Page]]:
    """Of a desk's pages those that are only sent, and where their form stands: people open them, too.

    A refused form is shown under the address that it was sent to, and somebody loads that again, or comes to it by
    signing in anew.
    """
    shown = {page.name: page for page in declared if page.method == "GET"}
    opened = {page.path for page in shown.values()}
    for page in declared:
        if page.refused is not None and page.path not in opened:
            yield page, shown[page.refused]


def path_of(page: Page, path: Mapping[str, object]) -> str:
    """The page's address, with what stands in a path."""
    return _PART.sub(lambda part: quote(str(path[part[1]]), safe=""), page.path)


def pages_of(desk: object) -> Iterator[tuple[Page, Callable[..., Any]]]:
    """The pages that a desk declares, in the order of their names."""
    for name, declared in _declared_by(desk if isinstance(desk, type) else type(desk)):
        yield declared, getattr(desk, name)


@cache
def _declared_by(kind: type) -> tuple[tuple[str, Page], ...]:
    found = ((name, getattr(getattr(kind, name), "__page__", None)) for name in dir(kind))
    return tuple((name, declared) for name, declared in found if isinstance(declared, Page))
