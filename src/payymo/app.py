"""The service as a Flask application of its own."""

from typing import Final

from flask import Blueprint, Flask, Response
from werkzeug.exceptions import HTTPException

from payymo.compose import compose
from payymo.config import Settings
from payymo.policies import tracing_policy
from payymo.secrets.master import load_extra
from payymo.services import Services
from payymo.web.console.figures import Measured
from payymo.web.dispatch import Mount
from payymo.web.headers import add_security_headers
from payymo.web.measuring import Observe, measure
from payymo.web.mount import mount_services
from payymo.web.reading import MAX_BODY, refuse_unreadable
from payymo.web.tracing import trace

TRACING: Final = "payymo.tracing"
"""Loaded when an endpoint is set: its libraries are an extra of the distribution."""


def create_app(
    settings: Settings,
    *,
    services: Services | None = None,
    observe: Observe | None = None,
    measured: Measured | None = None,
) -> Flask:
    """The application. Raises Misconfigured with every reason why it can't run like this.

    `observe` hears of every answer; `measured` tells what came of that.
    """
    services = services or compose(settings)
    app = Flask("payymo", static_folder=None)
    app.config.update(
        DEBUG=settings.debug and not settings.is_production,
        MAX_CONTENT_LENGTH=MAX_BODY,
        TRUSTED_HOSTS=list(settings.trusted_hosts) or None,
        SESSION_COOKIE_SECURE=True,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        PROPAGATE_EXCEPTIONS=False,
    )
    blueprint = Blueprint("payymo", "payymo")
    mount = mount_services(services, blueprint, has_pages=services.settings.console.enabled, measured=measured)
    app.register_blueprint(blueprint)
    if observe is not None:
        measure(app, observe)
    _trace(app, services, mount)
    app.before_request(refuse_unreadable)
    app.after_request(mount.add_request_id)
    app.after_request(add_security_headers(is_https=settings.issuer.startswith("https://")))

    @app.errorhandler(HTTPException)
    @app.errorhandler(Exception)
    def refuse(error: Exception) -> Response:
        return mount.refuse(error)

    app.extensions["payymo"] = services
    return app


def _trace(app: Flask, services: Services, mount: Mount) -> None:
    """Send spans, where the settings say so. Raises Misconfigured: the extra is not installed."""
    policy = tracing_policy(services.settings)
    if policy is None:
        return
    tracing = load_extra(TRACING, "otel", "PAYYMO_TRACING__ENDPOINT").Tracing(policy)
    services.work.trace(tracing.span)
    services.passwords.trace(tracing.span)
    trace(app, tracing.begin, accept_from=policy.accept_from, request_id=mount.request_id)
    app.extensions["payymo-tracing"] = tracing
