"""The security headers of every answer, and what is left of a limit. An API needs none of what a page may do."""

from collections.abc import Callable
from typing import Final

from flask import Response

from payymo.limits.limiter import Quota

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
STRICT_TRANSPORT: Final = "max-age=63072000; includeSubDomains"


def add_security_headers(*, is_https: bool) -> Callable[[Response], Response]:
    """A function for `after_request`. What a route has set itself stays."""
    headers = HEADERS | ({"Strict-Transport-Security": STRICT_TRANSPORT} if is_https else {})

    def add(response: Response) -> Response:
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        return response

    return add


def add_quota(response: Response, quota: Quota) -> None:
    """The IETF's RateLimit fields (draft-ietf-httpapi-ratelimit-headers-10) and the older names that clients know."""
    response.headers["RateLimit-Policy"] = f'"{quota.tier}";q={quota.limit};w={quota.window_seconds}'
    response.headers["RateLimit"] = f'"{quota.tier}";r={quota.remaining};t={quota.reset_seconds}'
    response.headers["X-RateLimit-Limit"] = str(quota.limit)
    response.headers["X-RateLimit-Remaining"] = str(quota.remaining)
    response.headers["X-RateLimit-Reset"] = str(quota.reset_seconds)
