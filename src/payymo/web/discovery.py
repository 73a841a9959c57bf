"""What anybody may read: the JWK set, the service's metadata, its health, its API description."""

import hashlib
import json
from collections.abc import Callable, Iterable
from functools import cache
from importlib import resources

from flask import Response, request

from payymo.health.model import Health
from payymo.keys.service import KeyRing
from payymo.tokens import TokenPolicy
from payymo.web.caller import Caller
from payymo.web.feed_api import WAIT_MAX_SECONDS
from payymo.web.openapi import describe, docs_page
from payymo.web.routing import Route, route


class DiscoveryApi:
    """Public documents."""

    def __init__(
        self,
        *,
        ring: KeyRing,
        policy: TokenPolicy,
        health: Callable[[], Health],
        routes: Callable[[], Iterable[Route]],
        jwks_max_age: int,
    ) -> None:
        self._ring = ring
        self._policy = policy
        self._health = health
        # Made for the first who asks: it takes a tenth of a second, and what is served never changes.
        self._described = cache(lambda: json.dumps(describe(routes())))
        self._docs = cache(lambda: docs_page(json.loads(self._described())))
        self._max_age = jwks_max_age
        self._css = (resources.files("payymo.web") / "static" / "docs.css").read_text("utf-8")

    @route(
        "GET",
        "/.well-known/jwks.json",
        limit=None,
        authentication=None,
        also={304: "If-None-Match names the current set."},
    )
    def jwks(self, caller: Caller) -> Response:
        """The public keys that verify access tokens (RFC 7517)."""
        del caller
        body = self._ring.jwks()
        response = Response(body, content_type="application/jwk-set+json")
        response.headers["Cache-Control"] = f"public, max-age={self._max_age}"
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        response.set_etag(hashlib.sha256(body).hexdigest()[:32])
        response.make_conditional(request)
        return response

    @route("GET", "/.well-known/payymo", limit=None, authentication=None)
    def metadata(self, caller: Caller) -> Response:
        """Where everything is, for guards and clients."""
        del caller
        issuer = self._policy.issuer.rstrip("/")
        document = {
            "issuer": self._policy.issuer,
            "audience": self._policy.audience,
            "jwks_uri": f"{issuer}/.well-known/jwks.json",
            "jwks_max_age_seconds": self._max_age,
            "access_token_signing_alg_values_supported": self._ring.algorithms(),
            "access_token_ttl_seconds": self._policy.access_ttl_seconds,
            "login_endpoint": f"{issuer}/api/auth/login",
            "token_endpoint": f"{issuer}/api/auth/token",
            "refresh_endpoint": f"{issuer}/api/auth/refresh",
            "logout_endpoint": f"{issuer}/api/auth/logout",
            "verify_endpoint": f"{issuer}/api/auth/token/verify",
            "introspection_endpoint": f"{issuer}/api/auth/token/verify",
            "revocations_uri": f"{issuer}/api/revocations",
            "revocation_wait_seconds": WAIT_MAX_SECONDS,
            "service_documentation": f"{issuer}/api/docs",
        }
        return _document(json.dumps(document), "application/json", max_age=self._max_age)

    @route("GET", "/api/openapi.json", limit="default", authentication=None)
    def openapi(self, caller: Caller) -> Response:
        """This API, as an OpenAPI 3.1 document."""
        del caller
        return _document(self._described(), "application/json", max_age=60)

    @route("GET", "/api/docs", limit="default", authentication=None)
    def docs(self, caller: Caller) -> Response:
        """This API, as a page."""
        del caller
        response = _document(self._docs(), "text/html; charset=utf-8", max_age=60)
        policy = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        response.headers["Content-Security-Policy"] = policy
        return response

    @route("GET", "/api/docs.css", limit="default", authentication=None)
    def docs_style(self, caller: Caller) -> Response:
        """The style of the page."""
        del caller
        return _document(self._css, "text/css; charset=utf-8", max_age=3600)

    @route("GET", "/health/live", limit=None, authentication=None)
    def live(self, caller: Caller) -> Response:
        """Whether the process answers."""
        del caller
        return Response('{"data":{"status":"live"}}', content_type="application/json")

    @route("GET", "/health/ready", limit=None, authentication=None, also={503: "It can't serve now."})
    def ready(self, caller: Caller) -> Response:
        """Whether this process can serve, by check: somebody should look at `degraded`, and `failing` answers 503."""
        del caller
        found = self._health()
        standings = {name: finding.standing for name, finding in found.findings.items()}  # reasons are no stranger's
        document = {"data": {"status": "ready" if found.is_ready else "not ready", "checks": standings}}
        return Response(json.dumps(document), 200 if found.is_ready else 503, content_type="application/json")


def _document(body: str, content_type: str, *, max_age: int) -> Response:
    response = Response(body, content_type=content_type)
    response.headers["Cache-Control"] = f"public, max-age={max_age}"
    return response
