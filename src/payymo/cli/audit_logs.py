"""Which log is meant: what the commands of `payymo audit` share."""

import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import click

from payymo.audit.damage import LogsDamaged
from payymo.cli.common import find_tenant
from payymo.errors import NotFound
from payymo.services import Services

Command = TypeVar("Command", bound=Callable[..., Any])
_PLATFORM = click.option("--platform", is_flag=True, help="The platform's own log.")


def _tenant(otherwise: str) -> Callable[[Command], Command]:
    told = f"A tenant's log, of one that was deleted by its id{otherwise}."
    return click.option("--tenant", "tenant_slug", metavar="SLUG", help=told)


def of_log(command: Command) -> Command:
    """Options that name a log."""
    return _tenant("; without it, the default one's")(_PLATFORM(command))


def of_any_log(command: Command) -> Command:
    """The same, where the command says what it does when none is named."""
    return _tenant("")(_PLATFORM(command))


def find_log(opened: Services, slug: str | None, *, platform: bool) -> uuid.UUID | None:
    """Whose log was named: a tenant's id, or None for the platform's. Raises NotFound, click.UsageError."""
    if platform and slug is not None:
        raise click.UsageError("--tenant or --platform: one of them")
    return None if platform else find_tenants_log(opened, slug)


def find_tenants_log(opened: Services, slug: str | None) -> uuid.UUID:
    """Whose log it is: a tenant's, by slug; of one that is gone, by the id under which it stays. Raises NotFound."""
    try:
        return find_tenant(opened, slug).id
    except NotFound:
        with suppress(ValueError):
            if (gone := uuid.UUID(slug or "")) in opened.verification.list_logs():
                return gone
        raise


def settle(opened: Services) -> None:
    """Give what has been committed its position, also where no service runs.

    A damaged log is named, and keeps nobody from reading: what waits for it is not among what is read.
    """
    try:
        opened.sequencer.integrate_all()
    except LogsDamaged as error:
        click.echo(f"payymo: {error.private}", err=True)
