"""`payymo serve`: everything that a service needs, made where it is missing, and then the service."""

import os
import sys
from pathlib import Path

import click
from flask import Flask
from granian import Granian
from granian.constants import Interfaces

from payymo.app import create_app
from payymo.cli.common import database, politely, require_current
from payymo.compose import compose
from payymo.config import FOREIGN, PREFIX, Settings, read_settings, reveal, warnings_about
from payymo.db import migrate
from payymo.db.revision import is_current
from payymo.entropy import Entropy
from payymo.errors import Misconfigured
from payymo.logs import SecurityLog
from payymo.maintenance import start_maintenance
from payymo.secrets.providers import find_master_key, make_development_key

SHUTDOWN_SECONDS = 10


@click.command()
@click.option("--host", help="Address to listen on (PAYYMO_SERVER__HOST).")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on (PAYYMO_SERVER__PORT).")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes (PAYYMO_SERVER__WORKERS).")
@click.option("--json", "as_json", is_flag=True, help="Log JSON also in development.")
@politely
def serve(*, host: str | None, port: int | None, workers: int | None, as_json: bool) -> None:
    """Run the service. In development: make the data folder and the key, migrate SQLite, say what to do next."""
    given = {"HOST": host, "PORT": port, "WORKERS": workers}
    for name, value in given.items():
        if value is not None:
            os.environ[f"{PREFIX}SERVER__{name}"] = str(value)
    settings = read_settings()
    _prepare(settings)
    log = SecurityLog(json=as_json or settings.is_production)
    for warning in warnings_about(settings):
        log.advise("configuration", warning)
    compose(settings, log=log).close()  # refuses now, before anything listens, and makes the first keys
    _forget_environment()
    _greet(settings)

    def load(_target: str) -> Flask:
        services = compose(settings, log=log)
        start_maintenance(services)
        return create_app(settings, services=services)

    Granian(
        "payymo",
        address=settings.server.host,
        port=settings.server.port,
        interface=Interfaces.WSGI,
        workers=settings.server.workers,
        blocking_threads=settings.server.threads,
        workers_kill_timeout=SHUTDOWN_SECONDS,
        log_level="warning",  # type: ignore[arg-type]
        websockets=False,
    ).serve(target_loader=load)


def _prepare(settings: Settings) -> None:
    """Make what development may make by itself; production finds everything in place or does not start."""
    if settings.is_production:
        require_current(settings)
        return
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    setting = reveal(settings.master_key)
    if find_master_key(setting, settings.data) is None:
        _refuse_to_replace_the_key(settings)
        make_development_key(settings.data, Entropy())
    with database(settings, as_owner=True) as engine:
        if not is_current(engine):
            migrate.upgrade(engine)


def _refuse_to_replace_the_key(settings: Settings) -> None:
    """A database without its master key must not get a new one beside it: what is sealed could never be opened."""
    if (settings.data / "payymo.db").exists():
        raise Misconfigured(
            [f"{settings.data}: the database is there and its master key is not: restore master.key beside it"]
        )


def _forget_environment() -> None:
    """The server hands its environment to every request; what was a secret in there must not be."""
    for name in list(os.environ):
        if name.startswith(PREFIX) and not name.startswith(FOREIGN):
            del os.environ[name]


def _greet(settings: Settings) -> None:
    base = f"http://{settings.server.host}:{settings.server.port}"
    data = "" if settings.data == Path("var") else f"PAYYMO_DATA={settings.data} "
    command = Path(sys.argv[0])
    shown = command if not command.is_absolute() else Path(".venv/bin/payymo")
    click.echo(
        f"Payymo serves on   {base}\n"
        f"API documentation  {base}/api/docs\n"
        f"Key set            {base}/.well-known/jwks.json\n"
        f"First administrator:\n"
        f"  {data}{shown} user create you@example.com --role platform-administrator\n"
        f"Stop with Ctrl-C."
    )
    sys.stdout.flush()
