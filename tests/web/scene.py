"""What the tests of the web layer share: every route with a good request for it, and what a refusal looks like.

Nothing here decides whether a request is good; it only knows where requests go.
"""

import json
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from werkzeug.test import TestResponse

from payymo.apikeys.model import Draft as KeyDraft
from payymo.db import schema
from payymo.logs import Trace
from payymo.web.headers import HEADERS
from payymo.web.mount import list_routes
from payymo.web.pacing import HOLD
from payymo.web.routing import Route
from payymo.webhooks.model import Draft
from tests.support.house import PASSWORD, Client, House

NEW_PASSWORD = "another fine Passw0rd"
WEBHOOK_URL = "https://127.0.0.1:1/hooks"
"""Where nobody listens."""
NOBODY = "00000000-0000-4000-8000-000000000000"
ROUTES = sorted(list_routes(), key=lambda route: (route.path, route.method))
KEPT = [
    table.name
    for table in schema.metadata.sorted_tables
    if table not in schema.LOGS and table is not schema.audit_payloads
]
"""Every table but the log."""
TAKING = [route for route in ROUTES if route.body is not None]
"""Every route that reads a body."""


def label(route: Route) -> str:
    """How a test's name shows a route."""
    return f"{route.method} {route.path}"


@dataclass(frozen=True, slots=True)
class Scene:
    """A house with an administrator of everything, a user whom nothing must happen to, and a role."""

    house: House
    admin: Client
    victim_id: str
    tenant_id: str
    event_id: str
    credential: str
    webhook_id: str
    api_key_id: str

    def path(self, route: Route) -> str:
        """The path of a route, with identifiers of things that exist."""
        values = {
            "user_id": self.victim_id,
            "session_id": NOBODY,
            "tenant_id": self.tenant_id,
            "event_id": self.event_id,
            "name": "auditor",
            "webhook_id": self.webhook_id,
            "api_key_id": self.api_key_id,
        }
        return re.sub(r"<\w+:(\w+)>", lambda match: values[match[1]], route.path)

    def body(self, route: Route) -> dict[str, Any]:
        """A body that the route takes."""
        named = {"email": "new@example.com", "username": "newcomer", "password": NEW_PASSWORD}
        bodies: dict[str, dict[str, Any]] = {
            "RegisterBody": named,
            "LoginBody": {"email": "victim@example.com", "password": PASSWORD},
            "RefreshBody": {"refresh_token": self.admin.refresh_token},
            "LogoutBody": {"everywhere": True},
            "VerifyBody": {"token": self.admin.access_token},
            "ChangeEmailBody": {"new_email": "changed@example.com", "current_password": PASSWORD},
            "LinkBody": {"token": "payymo_x"},
            "ResetBody": {"email": "victim@example.com"},
            "ConfirmResetBody": {"token": "payymo_x", "new_password": NEW_PASSWORD},
            "ChangePasswordBody": {"current_password": PASSWORD, "new_password": NEW_PASSWORD},
            "NewUserBody": {**named, "roles": ["member"]},
            "ChangeUserBody": {"status": "disabled", "roles": ["member"], "password": NEW_PASSWORD},
            "RoleBody": {"permissions": ["invoices:write"]},
            "ChangeMeBody": {"language": "de"},
            "NewRoleBody": {"name": "clerk", "permissions": ["invoices:write"]},
            "PasswordPolicyBody": {
                "min_length": 12,
                "max_length": 128,
                "min_score": 3,
                "complexity_classes": 0,
                "words": ["rocket"],
            },
            "BrandBody": {"name": "Acme", "accent": "#0b5d63"},
            "NewWebhookBody": {"url": WEBHOOK_URL, "events": ["session."], "description": "new"},
            "ChangeWebhookBody": {"description": "changed"},
            "NewApiKeyBody": {"name": "nightly", "permissions": ["invoices:read"]},
            "RotateSecretBody": {"overlap_seconds": 0},
            "PollBody": {"maxEvents": 1, "returnImmediately": True},
            "ImpersonateBody": {"why": "ticket 4711", "current_password": PASSWORD},
            "NewTenantBody": {"slug": "third", "name": "Third", "host": "third.example"},
        }
        assert route.body is not None
        return bodies[route.body.__name__]

    def token_for(self, route: Route) -> str | None:
        """What lets somebody in there who may do everything."""
        return self.credential if route.authentication == "service" else self.admin.access_token

    def send(
        self,
        route: Route,
        body: bytes | object,
        *,
        path: str | None = None,
        content_type: str | None = "application/json",
        headers: dict[str, str] | None = None,
    ) -> TestResponse:
        """One request by the administrator, or by a service. Bytes go as they are, anything else as JSON in ASCII."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Authorization": f"Bearer {self.token_for(route)}"} | (headers or {})
        return self.admin.http.open(
            path or self.path(route),
            method=route.method,
            data=data,
            content_type=content_type,
            headers=sent,
            environ_overrides={HOLD: lambda _moment: None},  # nobody waits for an answer that is held
        )


def set_scene(house: House) -> Scene:
    """Put everybody in their place."""
    house.user("root", roles=("platform-administrator",))
    victim = house.user("victim")
    admin = house.logged_in("root")
    assert admin.post("/api/admin/roles", {"name": "auditor", "permissions": ["invoices:read"]}).status_code == 201
    credential = house.services.guards.create("scene", scopes=["feed"], trace=Trace()).text
    house.services.guards.authenticate(credential, scope="feed")  # its first use is written down
    house.services.watch.wait = lambda _place, _seconds: None  # nobody has time here to wait for news
    draft = Draft(WEBHOOK_URL, ("user.",))
    endpoint, _ = house.services.webhooks.create(house.default.id, draft, by=None, trace=Trace())
    event_id = str(house.event_on_record(house.default.id))
    tenant_id = str(house.tenant("second").id)
    key = house.services.api_keys.create(
        house.default.id, KeyDraft("scene", ("invoices:read",)), by=None, trace=Trace()
    ).key
    return Scene(house, admin, str(victim.id), tenant_id, event_id, credential, str(endpoint.id), str(key.id))


def contents(house: House) -> dict[str, list[str]]:
    """Every row of every table but the log, as its owner sees it: refusals are on record, too.

    By the drivers themselves: each of hundreds of tests looks at everything twice.
    """
    url = house.database.owner_url
    if house.database.is_postgres:
        with psycopg.connect(url.replace("+psycopg", "")) as server, server.pipeline():
            asked = {name: server.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(name))) for name in KEPT}
            return {name: sorted(map(repr, rows)) for name, rows in asked.items()}
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
        return {name: sorted(map(repr, file.execute(f"SELECT * FROM {name}"))) for name in KEPT}


def faults_of(response: TestResponse, *statuses: int) -> list[str]:
    """What is wrong with a refusal; nothing when it is as it has to be: 4xx, a problem document, our headers."""
    expected = statuses or tuple(range(400, 500))
    if response.status_code not in expected:
        return [f"status {response.status_code}: {response.get_data()[:200]!r}"]
    faults = []
    if response.content_type != "application/problem+json":
        faults.append(f"content type {response.content_type}")
    document = json.loads(response.get_data())
    if not {"type", "title", "status", "detail", "code", "request_id"} <= document.keys():
        faults.append(f"members {sorted(document)}")
    elif document["status"] != response.status_code or document["request_id"] != response.headers.get("X-Request-ID"):
        faults.append("status or request id differ between header and document")
    faults += [f"pointer {e['pointer']!r}" for e in document.get("errors", []) if e["pointer"][:1] not in {"", "/"}]
    faults += [f"no {name}" for name in HEADERS if name not in response.headers]
    return faults


def pointers_of(response: TestResponse) -> list[str]:
    """Where the members are that a refusal complains about."""
    return [found["pointer"] for found in response.get_json().get("errors", [])]
