"""The service inside somebody else's Flask application: `Payymo(app)`, or `Payymo()` and `init_app(app)`.

Settings come from `PAYYMO_…` variables, or from `settings=`; `services=` takes a service that was built before. The
application keeps its own error pages, configuration and limits; only the routes of Payymo get Payymo's.
"""

import functools
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

from flask import Blueprint, Flask, Response, current_app, g

from payymo.compose import compose
from payymo.config import Settings, read_settings
from payymo.errors import Misconfigured
from payymo.services import Services
from payymo.web.caller import Caller
from payymo.web.dispatch import Mount
from payymo.web.headers import add_security_headers
from payymo.web.mount import mount_services
from payymo.web.routing import Guarded
from payymo_guard.bearer import concrete

MOUNT: Final = "payymo.mount"
"""Where an application keeps what decides on its requests: one `Payymo` may be in several."""
P = ParamSpec("P")
R = TypeVar("R")


class Payymo:
    """Mounts the service's routes, and guards the application's own views."""

    def __init__(
        self, app: Flask | None = None, *, settings: Settings | None = None, services: Services | None = None
    ) -> None:
        self._settings = settings
        self._services = services
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> Services:
        """Mount the service in `app`. Raises Misconfigured with every reason why it can't run like this."""
        services = self._services or compose(self._settings or read_settings())
        if services.settings.tracing.endpoint is not None:
            raise Misconfigured(["PAYYMO_TRACING__ENDPOINT: here the application traces, by whatever it likes"])
        blueprint = Blueprint("payymo", __name__)
        mount = mount_services(services, blueprint, has_pages=False)  # the application has its own
        blueprint.after_request(mount.add_request_id)
        blueprint.after_request(add_security_headers(is_https=services.settings.issuer.startswith("https://")))
        app.register_blueprint(blueprint)
        app.extensions["payymo"] = services
        app.extensions[MOUNT] = mount
        return services

    def require(
        self, *permissions: str, impersonated: bool = True
    ) -> Callable[[Callable[P, R]], Callable[P, R | Response]]:
        """Let a view's callers in only with a valid access token that has every one of `permissions`.

        Without permissions any valid token will do. Not `impersonated`: only the person themselves, and no
        administrator who acts as them. The view finds the caller in `payymo.caller`. Refusals are Payymo's
        problem documents (RFC 6750, RFC 9457). Raises ValueError for what nobody could ever have.
        """
        guarded = Guarded(concrete(permissions), is_for_actors=impersonated)

        def guard(view: Callable[P, R]) -> Callable[P, R | Response]:
            @functools.wraps(view)
            def enter(*args: P.args, **kwargs: P.kwargs) -> R | Response:
                mount: Mount | None = current_app.extensions.get(MOUNT)
                if mount is None:
                    raise RuntimeError("Payymo: call init_app(app) before the first request")
                refusal, caller = mount.admit(guarded)
                if refusal is not None:
                    return mount.add_request_id(refusal)
                g.payymo_caller = caller
                found: R = current_app.ensure_sync(view)(*args, **kwargs)
                return found

            return enter

        return guard

    @property
    def caller(self) -> Caller:
        """Who called the present view. Only inside a view that `require` guards."""
        found: Caller = g.payymo_caller
        return found
