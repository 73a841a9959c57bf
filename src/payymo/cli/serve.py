"""`payymo serve`: everything that a service needs, made where it is missing, and then the service."""

import gc
import os
import shlex
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
from flask import Flask
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from payymo.app import TRACING, create_app
from payymo.background import Background
from payymo.certificates.service import Certificates
from payymo.cli.admission import Admission, find_hashing
from payymo.cli.beginning import SHUTDOWN_SECONDS, TRACE, end_with_parent, forget_signals, told
from payymo.cli.bridge import Bridge
from payymo.cli.common import database, politely
from payymo.cli.leaving import Leaving
from payymo.cli.listener import (
    CONNECTIONS,
    Listener,
    allow_open_files,
    listen,
)
from payymo.cli.tls import ListenerTls, watch
from payymo.cli.tls_pair import PairFiles, PairSource, StoredPair
from payymo.clock import system_clock
from payymo.compose import compose
from payymo.config import PREFIX, Settings, is_ours, read_settings
from payymo.db.revision import is_current
from payymo.errors import Misconfigured
from payymo.files import make_private_folder
from payymo.logs import SecurityLog
from payymo.metrics.meter import Meter
from payymo.metrics.node import Node, open_node
from payymo.production import warnings_about
from payymo.secrets.master import load_extra
from payymo.secrets.model import is_secret_name
from payymo.services import Services
from payymo.start import require_production

HEAD_BYTES = 64 * 1024
"""Of a request. What proxies pass on is smaller; a list of 400 KB in one header takes half a second of a processor."""
STORED = "certificate:"
"""What the setting begins with that names a certificate of the store."""


@click.command()
@click.option("--host", help="Address to listen on (PAYYMO_SERVER__HOST).")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on (PAYYMO_SERVER__PORT).")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes (PAYYMO_SERVER__WORKERS).")
@click.option("--json", "as_json", is_flag=True, help="Log JSON also in development.")
@politely
def serve(*, host: str | None, port: int | None, workers: int | None, as_json: bool) -> None:
    """Run the service. In development: make the data folder and the key, migrate SQLite, say what to do next."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is a server that knows what it means
    given = {"HOST": host, "PORT": port, "WORKERS": workers}
    for name, value in given.items():
        if value is not None:
            os.environ[f"{PREFIX}SERVER__{name}"] = str(value)
    settings = read_settings()
    if settings.tracing.endpoint is not None:
        load_extra(TRACING, "otel", "PAYYMO_TRACING__ENDPOINT")  # refused now, and not in each worker
    _prepare(settings)
    log = _log(settings, as_json=as_json)
    for warning in warnings_about(settings):
        log.advise("configuration", warning)
    compose(settings, log=log).close()  # refuses now, before anything listens, and makes the first keys
    address = _address_of(settings.server.host)
    node = None if settings.metrics.address is None else open_node(*settings.metrics.address, settings.data)
    _require_free_port(address, settings.server.port)
    _count_in(node, log)
    tls = _tls(settings, log)
    _forget_environment()
    _greet(settings)

    server = Listener(
        "payymo",
        address=address,
        port=settings.server.port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,  # telling HTTP/2 apart has no deadline: silent connections would be held for ever
        http1_settings=HTTP1Settings(
            header_read_timeout=settings.server.request_seconds * 1000, max_buffer_size=HEAD_BYTES
        ),
        backlog=CONNECTIONS,
        backpressure=allow_open_files() // 2,
        workers=settings.server.workers,
        workers_kill_timeout=SHUTDOWN_SECONDS,
        log_level=LogLevels.error,
        respawn_failed_workers=True,
        websockets=False,
    )
    server.use(tls, log)
    with closing(node) if node else nullcontext():
        server.serve(target_loader=_Loader(settings, as_json, tls, node))


@dataclass(frozen=True, slots=True)
class _Loader:
    """Builds the application in a worker. Where workers are not forked (macOS), it travels to them pickled."""

    settings: Settings
    as_json: bool
    tls: ListenerTls | None
    node: Node | None

    def __call__(self, _target: str) -> Bridge:
        log = _log(self.settings, as_json=self.as_json)
        with told(log):
            built = self._build(log)
        gc.collect()
        gc.freeze()  # it stays; and to look through it again would hold every request for a quarter of a second
        return built

    def _build(self, log: SecurityLog) -> Bridge:
        forget_signals()
        leaving = Leaving()
        leaving.await_it()
        end_with_parent()
        meter = _count_in(self.node, log)
        services = compose(self.settings, log=log)
        source = _tls_source(self.settings, lambda: nullcontext(services.certificates))
        if self.tls is not None and source is not None:
            watch(source, self.tls.mark)
        # One thread never hashes, and verifies tokens whatever is asked.
        admission = Admission(max(1, min(services.passwords.parallel, self.settings.server.threads - 1)))
        bridge = partial(self._bridge, services, leaving=leaving, admission=admission)
        if self.node is None or meter is None:
            Background(services).start()
            return bridge(create_app(self.settings, services=services))
        self._count(services, admission, meter)
        self.node.serve(services, meter)
        Background(services, observe=meter.round).start()
        measured = self.node.book(log).read
        return bridge(create_app(self.settings, services=services, observe=meter.request, measured=measured))

    def _count(self, services: Services, admission: Admission, meter: Meter) -> None:
        services.limiter.observe(meter.refusal)
        services.attempts.observe(meter.lockout)
        services.watch.observe(meter.delivery)
        services.webhook_courier.observe(meter.webhook)
        meter.watch(admission.line)
        every = self.settings.server.maintenance_seconds
        meter.worker(duties_every_seconds=every, listener_expires_at=None if self.tls is None else self.tls.expires_at)

    def _bridge(self, services: Services, app: Flask, *, leaving: Leaving, admission: Admission) -> Bridge:
        return Bridge(
            app,
            threads=self.settings.server.threads,
            body_seconds=self.settings.server.request_seconds,
            leaving=leaving,
            watch=services.watch,
            hashing=find_hashing(),
            admission=admission,
            followers=self.settings.server.followers,
            ended=partial(_write_down, services),
        )


def _write_down(services: Services) -> None:
    """What only this process knows, and would write down within a minute: how the limits were used."""
    try:
        services.limit_usage.flush()
    except Exception as error:  # noqa: BLE001 - it is no reason not to end
        services.log.failure(error, trace=TRACE)


def _count_in(node: Node | None, log: SecurityLog) -> Meter | None:
    """What this process counts with, if anybody is to read it. Without room for it the service goes on uncounted."""
    if node is None:
        return None
    try:
        meter = node.join(system_clock)
    except OSError as error:
        log.advise("metrics", f"this process is not counted: {error.strerror}")
        return None
    log.observe(meter.event)
    return meter


def _tls(settings: Settings, log: SecurityLog) -> ListenerTls | None:
    """What the listener shows, if it speaks TLS. Raises Misconfigured."""
    source = _tls_source(settings, partial(_certificates, settings, log))
    if source is None:
        return None
    tls = ListenerTls(source, system_clock, minimum=f"tls{settings.server.tls_minimum}")
    if tls.expires_soon:
        log.advise("tls", "PAYYMO_SERVER__TLS_CERTIFICATE expires within 30 days")
    return tls


def _tls_source(settings: Settings, opening: Callable[[], AbstractContextManager[Certificates]]) -> PairSource | None:
    certificate, key = settings.server.tls_certificate, settings.server.tls_key
    if certificate is None and key is None:
        return None
    if certificate == "":
        raise Misconfigured(["PAYYMO_SERVER__TLS_CERTIFICATE: is empty. Name a file, or leave it out"])
    if certificate is not None and certificate.startswith(STORED) and key is None:
        return StoredPair(_stored_name(certificate), opening)
    if certificate is None or key is None or certificate.startswith(STORED):
        both = f"PAYYMO_SERVER__TLS_CERTIFICATE and PAYYMO_SERVER__TLS_KEY: both, or {STORED}NAME without a key"
        raise Misconfigured([both])
    return PairFiles(Path(certificate), key)


def _stored_name(certificate: str) -> str:
    name = certificate.removeprefix(STORED)
    if not is_secret_name(name):
        raise Misconfigured([f"PAYYMO_SERVER__TLS_CERTIFICATE: {name!r} can't be the name of a certificate"])
    return name


@contextmanager
def _certificates(settings: Settings, log: SecurityLog) -> Iterator[Certificates]:
    """The store, opened for a moment: the parent holds no connection that its workers would inherit."""
    services = compose(settings, log=log, signs=False)
    try:
        yield services.certificates
    finally:
        services.close()


def _log(settings: Settings, *, as_json: bool) -> SecurityLog:
    return SecurityLog(json=as_json or settings.is_production)


def _address_of(host: str) -> str:
    """The address to listen on: the first one of the name. Raises Misconfigured."""
    try:
        [(*_, (address, *_)), *_] = socket.getaddrinfo(host or "-", None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Misconfigured(
            [f"PAYYMO_SERVER__HOST: {host!r} is no address of this machine, such as 127.0.0.1"]
        ) from None
    return str(address)


def _require_free_port(address: str, port: int) -> None:
    """Raise Misconfigured now, when somebody else listens there: the keys of TLS, for one, are opened after that."""
    listen(address, port, backlog=1).close()


def _prepare(settings: Settings) -> None:
    """Make what development may make by itself; production finds everything in place or does not start."""
    if settings.is_production:
        with database(settings) as engine:
            require_production(settings, engine)
        return
    make_private_folder(settings.data)
    with database(settings, as_owner=True) as engine:
        if not is_current(engine):
            from payymo.db import migrate  # noqa: PLC0415 - Alembic loads slowly, and most starts don't need it

            migrate.upgrade(engine)


def _forget_environment() -> None:
    """The server hands its environment to every request; what was a secret in there must not be."""
    for name in list(os.environ):
        if is_ours(name):
            del os.environ[name]


def _greet(settings: Settings) -> None:
    host = settings.server.host
    scheme = "https" if settings.server.tls_certificate else "http"
    base = f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.server.port}"
    data = "" if settings.data == Path("var") else f"PAYYMO_DATA={shlex.quote(str(settings.data))} "
    pages = f"Pages for people   {base}/account\n" if settings.console.enabled else ""
    shown = Path(".venv/bin/payymo") if (command := Path(sys.argv[0])).is_absolute() else command
    with suppress(OSError):  # nobody reads it
        click.echo(
            f"Payymo serves on   {base}\n"
            f"{pages}API documentation  {base}/api/docs\n"
            f"Key set            {base}/.well-known/jwks.json\n"
            f"First administrator:\n"
            f"  {data}{shown} user create you@example.com --role platform-administrator\n"
            f"Stop with Ctrl-C."
        )
