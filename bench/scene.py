"""What is measured: the service inside an application, on each database, called as a server would call it."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask
from werkzeug.test import EnvironBuilder

from payymo.compose import Services, compose
from payymo.db import migrate
from payymo.db.work import connect
from payymo.extension import Payymo
from payymo.logs import SecurityLog
from tests.support import services as launcher
from tests.support.house import PASSWORD, Database, settings_for

EMAIL = "alice@example.com"


class Scene:
    """An application with an open route, a protected one, and Payymo's own."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.app = Flask("bench")
        log = SecurityLog(stream=(database.data / "log").open("w"))
        self.services: Services = compose(settings_for(database), log=log)
        guard = Payymo(self.app, services=self.services)
        self.app.add_url_rule("/open", view_func=lambda: {"ok": True})
        self.app.add_url_rule("/protected", endpoint="protected", view_func=guard.require()(lambda: {"ok": True}))
        tenant = self.services.tenants.get_by_slug("default")
        self.user = self.services.users.create(tenant.id, email=EMAIL, username="alice", password=PASSWORD)

    def call(self, path: str, *, token: str | None = None, body: Any = None) -> dict[str, Any]:
        """One request through WSGI. Raises when it is refused."""
        status, text = run(self.app, environ(path, token=token, body=body))
        if not status.startswith("200"):
            raise RuntimeError(f"{path}: {status}: {text[:300]!r}")
        found: dict[str, Any] = json.loads(text)
        return found

    def log_in(self) -> dict[str, Any]:
        """The tokens of a login."""
        found: dict[str, Any] = self.call("/api/auth/login", body={"email": EMAIL, "password": PASSWORD})["data"]
        return found

    def refresher(self) -> Callable[[], None]:
        """An act that refreshes, each time with the successor of the time before."""
        token = [self.log_in()["refresh_token"]]

        def refresh() -> None:
            token[0] = self.call("/api/auth/refresh", body={"refresh_token": token[0]})["data"]["refresh_token"]

        return refresh


def environ(path: str, *, token: str | None = None, body: Any = None) -> dict[str, Any]:
    """A WSGI environment."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    builder = EnvironBuilder(path, method="GET" if body is None else "POST", json=body, headers=headers)
    return builder.get_environ()


def run(app: Flask, request: dict[str, Any]) -> tuple[str, bytes]:
    """The status and the body that the application answers."""
    status: list[str] = []
    chunks = app.wsgi_app(request, lambda line, _headers, _error=None: status.append(line))
    text = b"".join(chunks)
    return status[0], text


@contextmanager
def scenes() -> Iterator[dict[str, Scene]]:
    """The scene on SQLite, and on a PostgreSQL whose commits are durable."""
    folder = Path(tempfile.mkdtemp(prefix="payymo-bench-"))
    try:
        with launcher.postgres(durable=True) as server:
            found = {"sqlite": Scene(_sqlite(folder)), "postgresql": Scene(_postgres(server, folder))}
            try:
                yield found
            finally:
                for scene in found.values():
                    scene.services.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sqlite(folder: Path) -> Database:
    data = folder / "sqlite"
    data.mkdir(mode=0o700)
    url = f"sqlite:///{data / 'payymo.db'}"
    engine = connect(url)
    migrate.upgrade(engine)
    engine.dispose()
    return Database("sqlite", url, url, data)


def _postgres(server: launcher.Postgres, folder: Path) -> Database:
    data = folder / "postgresql"
    data.mkdir(mode=0o700)
    server.create_database("bench")
    engine = connect(server.url("bench"))
    migrate.upgrade(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE ROLE bench LOGIN IN ROLE payymo_runtime, payymo_platform"))
    engine.dispose()
    return Database("postgresql", server.url("bench", "bench"), server.url("bench"), data)
