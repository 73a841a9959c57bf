"""The service as a Flask application of its own."""

from flask import Blueprint, Flask, Response
from werkzeug.exceptions import HTTPException

from payymo.compose import Services, compose
from payymo.config import Settings
from payymo.roles.service import Grants
from payymo.web.admin_api import RolesApi, TenantsApi, UsersApi
from payymo.web.auth_api import AuthApi
from payymo.web.caller import Gate, Principal
from payymo.web.discovery import DiscoveryApi
from payymo.web.headers import add_security_headers
from payymo.web.routing import MAX_BODY, Mount, Route, routes_of


def create_app(settings: Settings, *, services: Services | None = None) -> Flask:
    """The application. Raises Misconfigured with every reason why it can't run like this."""
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
    mount = mount_services(services, blueprint)
    app.register_blueprint(blueprint)
    app.after_request(mount.add_request_id)
    app.after_request(add_security_headers(is_https=settings.issuer.startswith("https://")))

    @app.errorhandler(HTTPException)
    @app.errorhandler(Exception)
    def refuse(error: Exception) -> Response:
        return mount.refuse(error)

    app.extensions["payymo"] = services
    return app


def mount_services(services: Services, blueprint: Blueprint) -> Mount:
    """Put every route on a blueprint."""
    settings = services.settings
    gate = Gate(
        tenants=services.tenants,
        verifier=services.verifier,
        revocations=services.revocations,
        trusted_proxies=settings.trusted_proxies,
    )

    def grants_of(principal: Principal) -> Grants:
        with services.work.reading(principal.tenant_id) as tx:
            return services.roles.grants_of(tx, principal.user_id)

    mount = Mount(
        gate=gate, limiter=services.limiter, grants_of=grants_of, entropy=services.entropy, log=services.log
    )

    def routes() -> list[Route]:
        return mount.routes

    mount.mount(
        blueprint,
        AuthApi(
            sessions=services.sessions,
            users=services.users,
            gate=gate,
            limiter=services.limiter,
            registration_is_open=settings.registration.enabled,
        ),
        UsersApi(users=services.users, sessions=services.sessions, administration=services.administration),
        RolesApi(roles=services.roles),
        TenantsApi(tenants=services.tenants, administration=services.administration),
        DiscoveryApi(ring=services.ring, policy=services.minter.policy, is_ready=services.is_ready, routes=routes),
    )
    return mount


def list_routes() -> tuple[Route, ...]:
    """What every route declares about itself, without a service behind it."""
    found = (
        declared
        for resource in (AuthApi, UsersApi, RolesApi, TenantsApi, DiscoveryApi)
        for declared, _ in routes_of(resource)
    )
    return tuple(found)
