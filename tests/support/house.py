"""A whole service for one test: real database, own clock, own tenant; and a small client to talk to it."""

import io
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from pydantic_settings import PydanticBaseSettingsSource
from werkzeug.test import TestResponse

from payymo.app import create_app
from payymo.audit.entries import Filters
from payymo.compose import compose
from payymo.config import Settings
from payymo.db.work import Transaction
from payymo.logs import Event, SecurityLog, Trace
from payymo.services import Services
from payymo.tenants.model import Tenant
from payymo.users.model import User
from payymo.users.passwords import Passwords
from payymo.web.pacing import HOLD

PASSWORD = "SecurePassword123!"
MASTER_KEY = "payymo-key:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
START = 1_800_000_000.0


class FakeClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        """The present second."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass; negative values turn it back."""
        self.now += seconds


@dataclass(frozen=True, slots=True)
class Database:
    """A migrated database of one test, with keys in it already."""

    name: str
    url: str
    owner_url: str
    data: Path

    @property
    def is_postgres(self) -> bool:
        """Whether the database itself walls tenants off."""
        return self.name == "postgresql"

    def owner(self) -> sa.Engine:
        """An engine that sees everything."""
        return sa.create_engine(self.owner_url)


class GivenSettings(Settings):
    """As `Settings`, of nothing but what it is given: to look for every variable is what a house spent its time on."""

    @classmethod
    def settings_customise_sources(cls, *known: Any, **sources: Any) -> tuple[PydanticBaseSettingsSource, ...]:
        """All but the variables."""
        given, _variables, *more = super().settings_customise_sources(*known, **sources)
        return (given, *more)


def settings_for(database: Database, **overrides: Any) -> Settings:
    """Settings on this database, without rate limits unless the test asks for them."""
    given: dict[str, Any] = {
        "data": database.data,
        "master_key": MASTER_KEY,
        "database": {"url": database.url, "pool_size": 12},
        "limits": {"enabled": False},
        "lockout": {"enabled": False},
    }
    return GivenSettings(**(given | overrides))


class RememberedPasswords(Passwords):
    """As `Passwords`, but what has been computed once in this process isn't computed again.

    Hashes are real ones. Every test has users who log in with the usual password, and hardly one is about its hash:
    those that are take `Passwords` itself.
    """

    def hash(self, password: str) -> str:
        """The same hash for the usual password each time."""
        return _usual_hash() if password == PASSWORD else super().hash(password)

    def verify(self, password: str, stored: str) -> bool:
        """What it was found to be."""
        known = _VERIFIED.get((password, stored))
        if known is None:
            known = _VERIFIED[password, stored] = super().verify(password, stored)
        return known


_VERIFIED: dict[tuple[str, str], bool] = {}


@cache
def _usual_hash() -> str:
    return Passwords().hash(PASSWORD)


class House:
    """The service, composed on a test's database."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], float] | None = None,
        passwords: Passwords | None = None,
        **overrides: Any,
    ) -> None:
        self.database = database
        self.clock = FakeClock()
        self.settings = settings_for(database, **overrides)
        self.log_lines = io.StringIO()
        self.services: Services = compose(
            self.settings,
            clock=clock or self.clock,
            log=SecurityLog(json=True, stream=self.log_lines),
            passwords=passwords or RememberedPasswords(),
        )
        self.default: Tenant = self.services.tenants.get_by_slug("default")

    @cached_property
    def app(self) -> Flask:
        """The service over HTTP, mounted when it is first asked for."""
        return create_app(self.settings, services=self.services)

    def client(self, *, tenant: str | None = None, headers: Mapping[str, str] | None = None) -> "Client":
        """A client without any token."""
        given = dict(headers or {})
        if tenant is not None:
            given["X-Tenant"] = tenant
        return Client(self.app.test_client(), given)

    def tenant(self, slug: str) -> Tenant:
        """A new tenant."""
        return self.services.administration.create_tenant(slug, slug.title(), by=None, trace=Trace())

    def user(self, name: str = "alice", *, tenant: Tenant | None = None, roles: tuple[str, ...] = ("member",)) -> User:
        """A new user `name@example.com` with the usual password."""
        return self.services.users.create(
            (tenant or self.default).id,
            email=f"{name}@example.com",
            username=name,
            password=PASSWORD,
            roles=roles,
            by=None,
            trace=Trace(),
        )

    def logged_in(self, name: str = "alice", *, tenant: Tenant | None = None) -> "Client":
        """A client of an existing user, logged in."""
        client = self.client(tenant=tenant.slug if tenant else None)
        client.log_in(f"{name}@example.com")
        return client

    @contextmanager
    def by_hand(self, tenant_id: uuid.UUID | None = None) -> Iterator[Transaction]:
        """A transaction for what a test changes itself: like everything else, that goes on record."""
        with self.services.work.platform() if tenant_id is None else self.services.work(tenant_id) as tx:
            yield tx
            self.services.audit.record(tx, Event("user.unlocked", trace=Trace()))

    def event_on_record(self, tenant_id: uuid.UUID | None) -> uuid.UUID:
        """The first event of a log, once everything that has happened is in its log, under a checkpoint."""
        self.services.sequencer.integrate_all()
        self.services.checkpoints.sign_due()
        page = self.services.audit_reader.page(tenant_id, Filters(), cursor=None, count=1, newest_first=False)
        return page.entries[0].id

    def events(self) -> list[dict[str, Any]]:
        """What the security log holds."""
        return [json.loads(line) for line in self.log_lines.getvalue().splitlines()]

    def close(self) -> None:
        """Give the connections back."""
        self.services.close()


class Client:
    """Speaks to the service as a browser or a script would, and keeps the tokens of its last login or refresh."""

    def __init__(self, http: FlaskClient, headers: dict[str, str]) -> None:
        self.http = http
        self.headers = headers
        self.access_token: str | None = None
        self.refresh_token: str | None = None

    def call(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> TestResponse:
        """One request, with the bearer token if there is one."""
        sent = dict(self.headers)
        if self.access_token is not None:
            sent["Authorization"] = f"Bearer {self.access_token}"
        sent |= headers or {}
        environ = {HOLD: lambda _moment: None}  # as under a server that holds answers, but without waiting for it
        given: dict[str, Any] = {} if body is None else {"json": body}
        if isinstance(body, bytes):
            given = {"data": body, "content_type": "image/png"}
        return self.http.open(path, method=method, headers=sent, multithread=True, environ_overrides=environ, **given)

    def get(self, path: str) -> TestResponse:
        """GET."""
        return self.call("GET", path)

    def post(self, path: str, body: Any = None) -> TestResponse:
        """POST."""
        return self.call("POST", path, body)

    def register(self, name: str = "alice", password: str = PASSWORD) -> TestResponse:
        """Register `name@example.com`."""
        body = {"email": f"{name}@example.com", "username": name, "password": password}
        return self._keep(self.post("/api/auth/register", body))

    def log_in(self, email: str = "alice@example.com", password: str = PASSWORD) -> TestResponse:
        """Log in."""
        return self._keep(self.post("/api/auth/login", {"email": email, "password": password}))

    def refresh(self, token: str | None = None) -> TestResponse:
        """Refresh, with the kept refresh token unless another is given."""
        return self._keep(self.post("/api/auth/refresh", {"refresh_token": token or self.refresh_token}))

    def _keep(self, response: TestResponse) -> TestResponse:
        if response.status_code in {200, 201}:
            data = response.get_json()["data"]
            self.access_token, self.refresh_token = data["access_token"], data["refresh_token"]
        return response


def fresh_name() -> str:
    """A name for a database that no other test has."""
    return f"t{uuid.uuid4().hex[:20]}"  # noqa: TID251 - tests may roll dice
