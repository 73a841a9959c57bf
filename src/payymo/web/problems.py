"""How a refusal looks in HTTP: one table, one renderer (RFC 9457, `application/problem+json`)."""

import json
from dataclasses import dataclass
from typing import Any, Final

from flask import Response
from werkzeug.exceptions import HTTPException

from payymo import errors
from payymo.errors import PayymoError
from payymo.web.csrf import ForeignRequest, StaleForm

CONTENT_TYPE: Final = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Row:
    """What an error class becomes."""

    status: int
    title: str


TABLE: Final[dict[type[PayymoError], Row]] = {
    errors.MalformedRequest: Row(400, "Malformed request"),
    errors.UnsupportedGrantType: Row(400, "Grant type not supported"),
    errors.InvalidScope: Row(400, "Scope not valid"),
    errors.MissingToken: Row(401, "Authentication required"),
    errors.InvalidToken: Row(401, "Invalid token"),
    errors.InvalidCredentials: Row(401, "Login failed"),
    errors.LoginTooOld: Row(401, "Recent login required"),
    errors.InvalidClient: Row(401, "API key not valid"),
    errors.InsufficientScope: Row(403, "Permission required"),
    errors.Impersonated: Row(403, "Impersonated"),
    errors.KeysNotAllowed: Row(403, "For people"),
    ForeignRequest: Row(403, "Request from another site"),
    StaleForm: Row(403, "Page out of date"),
    errors.TenantSuspended: Row(403, "Tenant suspended"),
    errors.RegistrationClosed: Row(403, "Registration closed"),
    errors.MailOff: Row(403, "No mail"),
    errors.NotFound: Row(404, "Not found"),
    errors.TenantUnknown: Row(404, "No such tenant"),
    errors.MethodNotAllowed: Row(405, "Method not allowed"),
    errors.RequestTimeout: Row(408, "Request timeout"),
    errors.Conflict: Row(409, "Conflict"),
    errors.PayloadTooLarge: Row(413, "Body too large"),
    errors.UnsupportedMediaType: Row(415, "Unsupported content type"),
    errors.InvalidInput: Row(422, "Invalid input"),
    errors.AlreadyTaken: Row(422, "Account not available"),
    errors.InvalidLink: Row(422, "Link not valid"),
    errors.TooManyRequests: Row(429, "Too many requests"),
    errors.Overloaded: Row(503, "Overloaded"),
    errors.Unavailable: Row(503, "Unavailable"),
    errors.Misconfigured: Row(500, "Internal error"),
    PayymoError: Row(500, "Internal error"),
}

_CHALLENGES: Final[dict[type[PayymoError], str]] = {
    errors.MissingToken: 'Bearer realm="payymo"',
    errors.InvalidCredentials: 'Bearer realm="payymo"',
    errors.InvalidToken: 'Bearer realm="payymo", error="invalid_token"',
    errors.InsufficientScope: 'Bearer realm="payymo", error="insufficient_scope"',
    errors.InvalidClient: 'Basic realm="payymo"',
    errors.LoginTooOld: 'Bearer realm="payymo", error="insufficient_user_authentication", max_age="300"',
}
"""RFC 6750 §3: a request without a token is told nothing about errors."""


def row_of(error: PayymoError) -> Row:
    """The row of an error's class, or of the nearest class above it."""
    return next(TABLE[kind] for kind in type(error).__mro__ if kind in TABLE)


def render(error: PayymoError, *, request_id: str, for_oauth: bool = False) -> Response:
    """The problem document of a refusal. Errors of ours (500) say nothing but the request id.

    `for_oauth`: with the members and the status that RFC 6749 §5.2 asks for, too.
    """
    row = row_of(error)
    if for_oauth and row.status == 422:
        row = Row(400, row.title)
    hidden = row.status == 500
    document: dict[str, Any] = {
        "type": f"urn:payymo:problem:{PayymoError.code if hidden else error.code}",
        "title": row.title,
        "status": row.status,
        "detail": PayymoError.default_detail if hidden else error.detail,
        "code": PayymoError.code if hidden else error.code,
        "request_id": request_id,
    }
    if isinstance(error, errors.InvalidInput) and error.errors:
        document["errors"] = [{"pointer": found.pointer, "detail": found.detail} for found in error.errors]
    if for_oauth:
        document |= {
            "error": _oauth_code(document["code"], row.status),
            "error_description": _plain(document["detail"]),
        }
    response = Response(json.dumps(document, ensure_ascii=False), row.status, content_type=CONTENT_TYPE)
    if (challenge := _CHALLENGES.get(type(error))) is not None:
        response.headers["WWW-Authenticate"] = challenge
    if isinstance(error, errors.TooManyRequests | errors.Overloaded | errors.Unavailable):
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _oauth_code(code: str, status: int) -> str:
    """Of RFC 6749 §5.2, as far as it has one; else ours."""
    is_theirs = code in {"invalid_client", "unsupported_grant_type", "invalid_scope"}
    return "invalid_request" if status in {400, 413, 415} and not is_theirs else code


def _plain(text: str) -> str:
    """What an `error_description` may hold: ASCII without quotes and backslashes."""
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "?" for c in text)


def from_http(error: HTTPException) -> PayymoError:
    """Our error for one that Flask raised itself: no route, wrong method, body too large."""
    match error.code:
        case 404:
            return errors.NotFound()
        case 405:
            return errors.MethodNotAllowed()
        case 413:
            return errors.PayloadTooLarge()
        case 415:
            return errors.UnsupportedMediaType()
        case code if code is not None and 400 <= code < 500:
            return errors.MalformedRequest()
        case _:
            return PayymoError()
