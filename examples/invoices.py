"""An invoice API in a Flask application of one's own, with Payymo mounted inside it.

Run it: `PAYYMO_DATA=var .venv/bin/payymo db upgrade && PAYYMO_DATA=var .venv/bin/flask --app examples/invoices.py run`
Beside it, so that logs grow and mail is sent: `PAYYMO_DATA=var .venv/bin/payymo work`
"""

from flask import Flask, jsonify, request

from payymo.config import Settings
from payymo.extension import Payymo


def create_app(settings: Settings | None = None) -> Flask:
    """The application. Without settings it reads `PAYYMO_…` variables."""
    app = Flask(__name__)
    payymo = Payymo(app, settings=settings)
    invoices: dict[str, list[str]] = {}

    @app.get("/invoices")
    @payymo.require("invoices:read")
    def list_invoices():
        """Only the invoices of the caller's own tenant."""
        return jsonify(invoices.get(str(payymo.caller.principal.tenant_id), []))

    @app.post("/invoices")
    @payymo.require("invoices:write")
    def add_invoice():
        """Add one for the caller's tenant."""
        own = invoices.setdefault(str(payymo.caller.principal.tenant_id), [])
        own.append(request.get_json()["title"])
        return jsonify(own), 201

    @app.get("/")
    def index():
        """Open to everybody."""
        return "Invoices. Log in at /api/auth/login."

    return app
