"""Everything that Payymo refuses, as one hierarchy.

`code` is a stable slug and part of the API. `detail` is safe to show to strangers. `private` goes to the log only.
What an error means in HTTP is decided in `payymo.web.problems`, nowhere else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from payymo.phrases import Phrase


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one member of the input. `pointer` is a JSON pointer (RFC 6901)."""

    pointer: str
    detail: str


class PayymoError(Exception):
    """The root: a refusal with a stable code and a sentence for the person who asked."""

    code: ClassVar[str] = "internal_error"
    default_detail: ClassVar[str] = "Something went wrong on our side. The request id finds it in our log."

    def __init__(self, detail: str | None = None, *, private: str | None = None) -> None:
        self.detail = detail or self.default_detail
        self.private = private
        super().__init__(self.detail)


class Misconfigured(PayymoError):
    """The service can't run like this. Each reason says what to change."""

    code = "misconfigured"
    default_detail = "The service is not configured correctly."

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("; ".join(self.reasons))


class MalformedRequest(PayymoError):
    """The request can't be read at all: not JSON, a member twice, a parameter repeated."""

    code = "malformed_request"
    default_detail = "The request can't be read."


class RequestTimeout(PayymoError):
    """The body did not arrive in time (RFC 9110 §15.5.9)."""

    code = "request_timeout"
    default_detail = "The body did not arrive in time. Please send it again."


class UnsupportedMediaType(PayymoError):
    """The body has a content type that the route doesn't take."""

    code = "unsupported_media_type"
    default_detail = "Send the body as application/json."


class PayloadTooLarge(PayymoError):
    """The body is over the limit."""

    code = "payload_too_large"
    default_detail = "The body is too large: at most 16 KiB are read."


class InvalidInput(PayymoError):
    """The request was read, and some of its members are not acceptable."""

    code = "invalid_input"
    default_detail = "Some of the input is not acceptable."

    def __init__(self, errors: Sequence[FieldError] = (), *, detail: str | None = None) -> None:
        self.errors = tuple(errors)
        super().__init__(detail)


class AlreadyTaken(PayymoError):
    """Somebody else has this name. Bland on purpose: it doesn't say which member was taken."""

    code = "already_taken"
    default_detail = "An account can't be made with this e-mail address and user name. Try others, or log in."


class InvalidCredentials(PayymoError):
    """The login failed. One sentence for every reason, so that nobody learns which accounts exist."""

    code = "invalid_credentials"
    default_detail = "The e-mail address or the password is wrong."


class MissingToken(PayymoError):
    """A protected route was called without a bearer token (RFC 6750 §3: no error attribute)."""

    code = "missing_token"
    default_detail = "Send an access token: Authorization: Bearer …"


class InvalidToken(PayymoError):
    """The token is malformed, expired, revoked, tampered with, or meant for somebody else."""

    code = "invalid_token"
    default_detail = "The token is not valid. Log in again, or refresh."


class InsufficientScope(PayymoError):
    """The token is valid, and lacks the permission that the route names (RFC 6750 §3.1)."""

    code = "insufficient_scope"
    default_detail = "This needs a permission that you don't have."


class Impersonated(PayymoError):
    """An administrator acts as somebody else, and tried what only the person themselves may do."""

    code = "impersonated"
    default_detail = "You act as somebody else. This is only for them, or for you in your own name."


class NotFound(PayymoError):
    """There is no such thing, or none in this tenant."""

    code = "not_found"
    default_detail = "There is no such thing here."


class MethodNotAllowed(PayymoError):
    """The path exists, the method doesn't."""

    code = "method_not_allowed"
    default_detail = "This method is not offered here."


class TenantUnknown(PayymoError):
    """The host name or `X-Tenant` names no tenant."""

    code = "tenant_unknown"
    default_detail = "There is no such tenant."


class TenantSuspended(PayymoError):
    """The tenant exists and is suspended: nobody logs in or registers, and its tokens are invalid."""

    code = "tenant_suspended"
    default_detail = "This tenant is suspended. Ask its operator."


class Conflict(PayymoError):
    """The request contradicts the present state, such as creating what exists."""

    code = "conflict"
    default_detail = "This contradicts what is already there."


class TooManyRequests(PayymoError):
    """A rate limit is used up: `limit` tries in `window_seconds`. Times are in whole seconds."""

    code = "too_many_requests"

    def __init__(self, retry_after: int, *, tier: str, limit: int, window_seconds: int) -> None:
        self.retry_after = max(1, retry_after)
        self.tier = tier
        self.limit = limit
        self.window_seconds = window_seconds
        super().__init__(
            Phrase.counted(
                "Too many tries. Please wait {n} second and try again.",
                "Too many tries. Please wait {n} seconds and try again.",
                n=self.retry_after,
            )
        )


class Overloaded(PayymoError):
    """More work than the machine can take right now. `retry_after` is in whole seconds."""

    code = "overloaded"
    default_detail = "Too busy right now. Please try again in a moment."

    def __init__(self, retry_after: int = 1) -> None:
        self.retry_after = retry_after
        super().__init__()


class Unavailable(PayymoError):
    """A part that the request needs (the database) does not answer. Whether a write happened is unknown."""

    code = "unavailable"
    default_detail = "The service can't answer right now. Please try again."
    retry_after = 2


class RegistrationClosed(PayymoError):
    """The operator has closed registration."""

    code = "registration_closed"
    default_detail = "Nobody can register here. Ask an administrator for an account."


class InvalidLink(PayymoError):
    """A one-time link is unknown, used, expired, of another kind, or what it was made for has changed."""

    code = "invalid_link"
    default_detail = "This link is not valid any more. Please ask for another one."


class LoginTooOld(PayymoError):
    """The act needs the password, or a session that has just begun (RFC 9470)."""

    code = "insufficient_user_authentication"
    default_detail = "Send your current password too, or log in again first."


class MailOff(PayymoError):
    """What was asked for is done by mail, and this deployment sends none."""

    code = "mail_off"
    default_detail = "This service sends no mail. Ask an administrator."


class KeysNotAllowed(PayymoError):
    """The token is an API key's, and the route is for people."""

    code = "keys_not_allowed"
    default_detail = "This is for people. An API key's token is good at your own services."


class InvalidClient(PayymoError):
    """Who asks for a token has not proven themselves (RFC 6749 §5.2). One sentence for every reason."""

    code = "invalid_client"
    default_detail = "The API key is not valid. Send its id as user and its secret as password (HTTP Basic)."


class UnsupportedGrantType(PayymoError):
    """Tokens are not given for this (RFC 6749 §5.2)."""

    code = "unsupported_grant_type"
    default_detail = "Send grant_type=client_credentials: no other one is known here."


class InvalidScope(PayymoError):
    """More is asked for than the API key may do, or something that is no permission (RFC 6749 §5.2)."""

    code = "invalid_scope"
    default_detail = "The API key does not have every permission in scope."
