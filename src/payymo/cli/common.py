"""What the commands share: opening the service, asking, refusing politely."""

import functools
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from payymo.cli import loading
from payymo.cli.harmless import harmless
from payymo.cli.sitting import operator_name
from payymo.config import Settings, read_settings
from payymo.connections import open_engine
from payymo.db.revision import is_current
from payymo.db.work import Engine
from payymo.errors import InvalidInput, Misconfigured, NotFound, PayymoError, Unavailable
from payymo.logs import SecurityLog, Trace

if TYPE_CHECKING:
    from payymo.services import Services
    from payymo.tenants.model import Tenant

P = ParamSpec("P")
R = TypeVar("R")
CONSOLE = Trace(request_id="console", address="-", operator=operator_name())
"""Where events come from that an operator caused at the command line."""

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
confirmed = click.option("--yes", is_flag=True, help="Don't ask.")
of_tenant = click.option("--tenant", "tenant_slug", metavar="SLUG", help="The tenant; without it, the default one.")


def politely(command: Callable[P, R]) -> Callable[P, R]:
    """Print refusals as sentences on standard error and exit with 1, instead of a traceback."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except Misconfigured as error:
            for reason in error.reasons:
                click.echo(f"payymo: {harmless(reason)}", err=True)
        except InvalidInput as error:
            for found in error.errors:
                click.echo(f"payymo: {found.pointer.lstrip('/')}: {harmless(found.detail)}", err=True)
            if not error.errors:
                click.echo(f"payymo: {harmless(error.detail)}", err=True)
        except PayymoError as error:  # who sits here is no stranger
            private = error.private if error.code == PayymoError.code else None
            why = f" ({error.private})" if error.code == Unavailable.code and error.private else ""
            click.echo(f"payymo: {harmless(private or error.detail)}{why}", err=True)
        sys.exit(1)

    return run


def settings() -> Settings:
    """The settings in effect. Raises Misconfigured."""
    return read_settings()


@contextmanager
def services() -> Iterator["Services"]:
    """The service, opened on an up-to-date database. Raises Misconfigured."""
    with loading("payymo.compose"):
        from payymo.compose import compose  # noqa: PLC0415 - all of the service, which not every command needs

    found = settings()
    require_current(found)
    opened = compose(found, log=SecurityLog(json=True), signs=False)
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def database(found: Settings, *, as_owner: bool = False) -> Iterator[Engine]:
    """The database alone, without the service on it."""
    engine = open_engine(found, as_owner=as_owner)
    try:
        yield engine
    finally:
        engine.dispose()


def require_current(found: Settings) -> None:
    """Raise Misconfigured unless the database is at this version's revision."""
    with database(found) as engine:
        if not is_current(engine):
            raise Misconfigured(["the database is not at the revision of this version: run payymo db upgrade"])


def find_tenant(opened: "Services", slug: str | None) -> "Tenant":
    """The named tenant, or the default one. Raises NotFound."""
    return opened.tenants.get_by_slug(opened.settings.default_tenant if slug is None else slug)


def find_user_id(opened: "Services", tenant: "Tenant", name: str) -> uuid.UUID:
    """The user with this e-mail address or id. Raises NotFound."""
    if "@" in name:
        return opened.users.get_by_email(tenant.id, name).id
    try:
        return opened.users.get(tenant.id, uuid.UUID(name))[0].id
    except ValueError:
        raise NotFound("Name the user by e-mail address or id.") from None


def ask(question: str, *, yes: bool) -> None:
    """Ask before something is destroyed, unless `--yes` was given. Exits with 1 on a no."""
    if not yes and not click.confirm(question, err=True):
        click.echo("Nothing was done.", err=True)
        sys.exit(1)
