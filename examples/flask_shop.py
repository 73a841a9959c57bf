"""A shop in Flask: each tenant sees its own orders, and nobody else's.

Run it beside the service (`make serve`): `.venv/bin/flask --app examples/flask_shop.py run --port 8000`.
"""

import os

from flask import Blueprint, Flask, jsonify, request

from payymo_guard import Guard
from payymo_guard.flask import FlaskGuard

guard = FlaskGuard()
shop = Blueprint("shop", __name__)
guard.protect(shop)  # every view below needs a valid token, except for the public one
orders: dict[str, list[str]] = {}


@shop.get("/")
@guard.public
def index():
    """Open to everybody."""
    return "The shop. Log in at the service, and bring the access token."


@shop.get("/me")
def me():
    """Any valid token will do."""
    return {"user": guard.claims.sub, "tenant": guard.claims.tenant_id}


@shop.get("/orders")
@guard.require("orders:read")
def list_orders():
    """The orders of the caller's own tenant."""
    return jsonify(orders.get(guard.claims.tenant_id, []))


@shop.post("/orders")
@guard.require("orders:write")
def add_order():
    """Add one for the caller's own tenant."""
    own = orders.setdefault(guard.claims.tenant_id, [])
    own.append(request.get_json()["title"])
    return jsonify(own), 201


@shop.get("/t/<tenant_id>/orders")
@guard.require("orders:read", tenant="tenant_id")
def list_orders_of(tenant_id: str):
    """The same, where the path names the tenant: tokens of another one are refused."""
    return jsonify(orders.get(tenant_id, []))


def create_app(core: Guard | None = None) -> Flask:
    """The application. Tests give it the guard of a FakeIssuer."""
    app = Flask(__name__)
    guard.init_app(
        app,
        core
        or Guard(
            issuer=os.environ.get("PAYYMO_ISSUER", "http://127.0.0.1:5000"),
            audience=os.environ.get("PAYYMO_AUDIENCE", "payymo-api"),
            credential=os.environ.get("PAYYMO_CREDENTIAL"),
        ),
    )
    app.register_blueprint(shop)
    return app
