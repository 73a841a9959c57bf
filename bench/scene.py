"""What is measured: the service inside an application, on each database, called as a server would call it.

Nothing is started before somebody asks for it, so that a part of the benchmark costs no more than its part.
"""

import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask
from werkzeug.test import EnvironBuilder

from bench import floors
from bench.measure import Act
from payymo.compose import compose
from payymo.db import migrate
from payymo.db.work import connect
from payymo.extension import Payymo
from payymo.logs import SecurityLog, Trace
from payymo.services import Services
from tests.support import services as launcher
from tests.support.house import PASSWORD, Database, settings_for

EMAIL = "alice@example.com"
DATABASES = ("sqlite", "postgresql")
ROLE = "bench"


class Request:
    """One request through WSGI, again and again. What a client would do is done once, and beforehand."""

    def __init__(self, app: Flask, path: str, *, token: str | None = None, is_post: bool = False) -> None:
        headers = [("Authorization", f"Bearer {token}")] if token else []
        method, kind = ("POST", "application/json") if is_post else ("GET", None)
        self._app = app
        self._path = path
        self._environ = EnvironBuilder(path, method=method, headers=headers, content_type=kind).get_environ()

    def send(self, body: bytes = b"") -> bytes:
        """The body of the answer. Raises RuntimeError when the request is refused."""
        status = ""

        def start(line: str, _headers: object, _error: object = None) -> Callable[[bytes], object]:
            nonlocal status
            status = line
            return io.BytesIO().write

        environ = self._environ | {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        chunks = self._app.wsgi_app(environ, start)
        try:
            text = b"".join(chunks)
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
        if not status.startswith("200"):
            raise RuntimeError(f"{self._path}: {status}: {text[:300]!r}")
        return text


class Scene:
    """An application with an open route, a protected one, and Payymo's own. No rate limits, no lockout."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.app = Flask("bench")
        self._log = (database.data / "log").open("w")
        self.services: Services = compose(settings_for(database), log=SecurityLog(stream=self._log))
        guard = Payymo(self.app, services=self.services)
        self.app.add_url_rule("/open", view_func=_say_ok)
        self.app.add_url_rule("/protected", endpoint="protected", view_func=guard.require()(_say_ok))
        self.tenant = self.services.tenants.get_by_slug("default")
        self.user = self.services.users.create(
            self.tenant.id, email=EMAIL, username="alice", password=PASSWORD, by=None, trace=Trace()
        )
        self._login = Request(self.app, "/api/auth/login", is_post=True)
        self._refresh = Request(self.app, "/api/auth/refresh", is_post=True)

    def log_in(self) -> dict[str, Any]:
        """The tokens of a login."""
        found: dict[str, Any] = json.loads(self._login.send(_LOGIN))["data"]
        return found

    def refresher(self) -> Act:
        """An act that refreshes, each time with the successor of the time before."""
        token: str = self.log_in()["refresh_token"]

        def refresh() -> None:
            nonlocal token
            token = json.loads(self._refresh.send(b'{"refresh_token":"%b"}' % token.encode()))["data"]["refresh_token"]

        return refresh

    def getter(self, path: str, *, token: str | None = None) -> Act:
        """An act that asks for a path."""
        return Request(self.app, path, token=token).send

    def close(self) -> None:
        """Give everything back."""
        self.services.close()
        self._log.close()


def _say_ok() -> dict[str, bool]:
    return {"ok": True}


_LOGIN = json.dumps({"email": EMAIL, "password": PASSWORD}).encode()


class Stage:
    """The servers, folders and scenes of one run."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._postgres: launcher.Postgres | None = None
        self._scenes: dict[str, Scene] = {}
        self._rotations: dict[str, Act] = {}

    def scene(self, kind: str, name: str = "main") -> Scene:
        """The scene of this name on this kind of database."""
        key = f"{kind}-{name}"
        if key not in self._scenes:
            data = self._folder / key
            data.mkdir(mode=0o700)
            database = _sqlite(data) if kind == "sqlite" else _postgres(self._server(), f"bench_{name}", data)
            self._scenes[key] = Scene(database)
            self._stack.callback(self._scenes[key].close)
        return self._scenes[key]

    def empty_postgres(self, name: str) -> str:
        """The URL of a new database for others than Payymo."""
        server = self._server()
        server.create_database(f"bench_{name}")
        return server.url(f"bench_{name}")

    def rotation(self, kind: str) -> Act:
        """The floor of a rotation on this kind of database."""
        if kind not in self._rotations:
            opened = (
                floors.rotating_sqlite(self._folder) if kind == "sqlite" else floors.rotating_postgres(self._server())
            )
            self._rotations[kind] = self._stack.enter_context(opened)
        return self._rotations[kind]

    def _server(self) -> launcher.Postgres:
        """PostgreSQL as in production: an answered commit is on the disk."""
        if self._postgres is None:
            self._postgres = self._stack.enter_context(launcher.postgres(durable=True))
            with sa.create_engine(self._postgres.url()).begin() as connection:
                connection.execute(sa.text(f"CREATE ROLE {ROLE} LOGIN"))
        return self._postgres


@contextmanager
def stage() -> Iterator[Stage]:
    """A stage, cleared afterwards whatever happened."""
    folder = Path(tempfile.mkdtemp(prefix="payymo-bench-"))
    try:
        with ExitStack() as stack:
            yield Stage(folder, stack)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sqlite(data: Path) -> Database:
    url = f"sqlite:///{data / 'payymo.db'}"
    _migrate(url)
    return Database("sqlite", url, url, data)


def _postgres(server: launcher.Postgres, name: str, data: Path) -> Database:
    server.create_database(name)
    _migrate(server.url(name), f"GRANT payymo_runtime, payymo_platform TO {ROLE}")
    return Database("postgresql", server.url(name, ROLE), server.url(name), data)


def _migrate(url: str, *more: str) -> None:
    engine = connect(url)
    migrate.upgrade(engine)
    with engine.begin() as connection:
        for statement in more:
            connection.execute(sa.text(statement))
    engine.dispose()
