"""Bearer tokens in HTTP, neutral of frameworks: who presents which token, and what a refusal looks like.

The adapters hand over the Authorization headers as they came and get either the claims or a whole answer. An answer
tells strangers what to do next and never what was wrong with a token: that is in the log, as a code, without the token.
"""

import json
import logging
import re
import traceback
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from payymo_guard import off_loop
from payymo_guard.claims import Claims
from payymo_guard.errors import UNAVAILABLE, Refused
from payymo_guard.off_loop import Verifies

_log = logging.getLogger("payymo_guard")

_PERMISSION: Final = re.compile(r"[!#-)+-9;-\[\]-~]+:[!#-)+-9;-\[\]-~]+")
"""What a scope may consist of (RFC 6749 §3.3), but for the star: what is required is one thing, and not a wildcard."""

Tenant: TypeAlias = Callable[[], object]
"""Answers the id of the only tenant whose tokens count for this request."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP response that refuses a request."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class _Missing(Exception):
    """Nobody has presented a bearer token."""


class _Impersonated(Exception):
    """The token counts, and somebody else acts by it where that is not wanted."""


class _Lacking(Exception):
    """The token counts, and lacks one of these permissions."""

    def __init__(self, permissions: Sequence[str]) -> None:
        self.permissions = permissions
        super().__init__()


def concrete(permissions: Sequence[object]) -> tuple[str, ...]:
    """The permissions that a route requires. Raises ValueError, when it is set up, for what nobody could ever have."""
    for permission in permissions:
        if not isinstance(permission, str) or not _PERMISSION.fullmatch(permission):
            raise ValueError(f'a required permission is like "invoices:read", without wildcards: {permission!r}')
    return tuple(str(permission) for permission in permissions)


def read_token(authorization: Sequence[str]) -> str | None:
    """The one bearer token of a request, by the values of its Authorization headers; None if there is none.

    Raises Refused for two headers, of whatever scheme: a proxy may have looked at the other one.
    """
    if len(authorization) > 1:
        raise Refused("token_malformed", "More than one Authorization header.")
    scheme, _, token = authorization[0].partition(" ") if authorization else ("", "", "")
    if scheme.lower() != "bearer":
        return None
    token = token.lstrip(" ")
    # RFC 6750 §2.1: one token and nothing else. Several headers, put into one by a server, have commas between them.
    # Whether the token is well-formed is the verifier's business.
    if not token or " " in token or "," in token:
        raise Refused("token_malformed")
    return token


def admit(
    core: Verifies,
    authorization: Sequence[str],
    permissions: Sequence[str] = (),
    *,
    tenant: Tenant | None = None,
    impersonated: bool = True,
) -> Claims | Answer:
    """The claims of the caller, or the answer that refuses. Never raises an Exception: what fails lets nobody in.

    `impersonated`: whether an administrator who acts as the user is let in, too.
    """
    try:
        token, tenant_id = _presented(authorization, tenant)
        return _allowed(core.verify(token, tenant_id=tenant_id), permissions, impersonated=impersonated)
    except Exception as error:  # noqa: BLE001 - whatever this was, the caller has not passed every check
        return _answer_to(error)


async def admit_async(
    core: Verifies,
    authorization: Sequence[str],
    permissions: Sequence[str] = (),
    *,
    tenant: Tenant | None = None,
    impersonated: bool = True,
) -> Claims | Answer:
    """The same on an event loop, which is never held up."""
    try:
        token, tenant_id = _presented(authorization, tenant)
        found = await off_loop.verify(core, token, tenant_id=tenant_id)
        return _allowed(found, permissions, impersonated=impersonated)
    except Exception as error:  # noqa: BLE001 - as above
        return _answer_to(error)


def _presented(authorization: Sequence[str], tenant: Tenant | None) -> tuple[str, str | None]:
    """The token, and the tenant that it has to belong to."""
    token = read_token(authorization)
    if token is None:
        raise _Missing
    if tenant is None:
        return token, None
    tenant_id = tenant()
    if isinstance(tenant_id, uuid.UUID):
        return token, str(tenant_id)
    if not isinstance(tenant_id, str) or not tenant_id:
        raise Refused("tenant_wrong")  # a route of one tenant without a tenant: nobody's, and not everybody's
    return token, tenant_id


def _allowed(claims: object, permissions: Sequence[str], *, impersonated: bool) -> Claims:
    if not isinstance(claims, Claims):
        raise TypeError(f"verify() answered {type(claims).__name__}")
    if not impersonated and claims.actor is not None:
        raise _Impersonated
    if not all(claims.allows(permission) for permission in permissions):
        raise _Lacking(permissions)
    return claims


def _answer_to(error: Exception) -> Answer:
    match error:
        case _Missing():
            return _answer(401, "missing_token", "Authentication required", _challenge())
        case _Impersonated():
            return IMPERSONATED
        case _Lacking(permissions=permissions):
            scope = " ".join(permissions)
            return _answer(403, "insufficient_scope", "Permission required", _challenge("insufficient_scope", scope))
        case Refused(code=code) if code in UNAVAILABLE:
            _log.warning("nobody is let in: %s", code)
            return NOT_NOW
        case Refused(code=code):
            _log.info("bearer token refused: %s", code)
            return _answer(401, "invalid_token", "Invalid token", _challenge("invalid_token"))
        case _:
            # Where it happened, but not what it says: a message may quote what was looked at.
            where = "".join(traceback.format_tb(error.__traceback__))
            _log.error("nobody is let in: the check failed with %s\n%s", type(error).__name__, where)
            return NOT_NOW


def _challenge(error: str = "", scope: str = "") -> tuple[str, str]:
    """RFC 6750 §3: at least one attribute; a request without a token is told nothing about errors."""
    attributes = {"realm": "payymo", "error": error, "scope": scope}
    return "WWW-Authenticate", "Bearer " + ", ".join(f'{name}="{text}"' for name, text in attributes.items() if text)


_DETAILS: Final = {
    "missing_token": "Send an access token: Authorization: Bearer …",  # nosec B105
    "invalid_token": "The token is not valid. Log in again, or refresh.",  # nosec B105
    "insufficient_scope": "This needs a permission that you don't have.",
    "impersonated": "Only the person themselves can do this, and nobody who acts as them.",
    "not_permitted": "There is nothing here for you.",
    "malformed_request": "The request's path or method can be read in more than one way.",
    "unavailable": "Nobody can be let in right now. Try again.",
}


def _answer(status: int, code: str, title: str, *more: tuple[str, str]) -> Answer:
    """A problem document (RFC 9457) that no cache keeps for the next one who asks."""
    document = {"type": f"urn:payymo:problem:{code}", "title": title, "status": status}
    body = json.dumps(document | {"detail": _DETAILS[code], "code": code}, ensure_ascii=False).encode()
    headers = [("Content-Type", "application/problem+json"), ("Cache-Control", "no-store")]
    return Answer(status, (*headers, *more), body)


NOT_NOW: Final = _answer(503, "unavailable", "Unavailable", ("Retry-After", "1"))
IMPERSONATED: Final = _answer(403, "impersonated", "Impersonated")
NOT_PERMITTED: Final = _answer(403, "not_permitted", "Not permitted")
MALFORMED: Final = _answer(400, "malformed_request", "Malformed request")
