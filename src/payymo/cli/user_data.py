"""`payymo user export | erase`: what is stored of a person."""

import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TextIO

import click

from payymo.cli.audit_logs import settle
from payymo.cli.common import CONSOLE, as_json, ask, confirmed, find_tenant, find_user_id, of_tenant, politely, services
from payymo.cli.output import counted, show
from payymo.errors import Misconfigured


@click.command(name="export")
@click.argument("name")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Into this file.")
@of_tenant
@as_json
@politely
def export_user(*, name: str, output: Path | None, tenant_slug: str | None, as_json: bool) -> None:
    """Print everything that is stored of a user, by e-mail address or id, as one JSON document. It goes on record."""
    with services() as opened:
        tenant = find_tenant(opened, tenant_slug)
        user_id = find_user_id(opened, tenant, name)
        settle(opened)
        with _new_file(output) if output is not None else nullcontext(sys.stdout) as file:
            pieces = opened.personal_data.export(tenant.id, user_id, reason="by-administrator", trace=CONSOLE)
            for piece in pieces:
                click.echo(piece, file, nl=False)
            click.echo(file=file)
    if output is not None:
        show({"user_id": user_id, "file": output}, json_wanted=as_json)


@contextmanager
def _new_file(path: Path) -> Iterator[TextIO]:
    """A file that was not there, and is gone again when not all of it could be written. Raises Misconfigured."""
    try:
        file = path.open("x", encoding="utf-8")
    except FileExistsError:
        raise Misconfigured([f"{path}: is there already: name another"]) from None
    try:
        with file:
            yield file
    except BaseException:
        path.unlink()
        raise


@click.command(name="erase")
@click.argument("name")
@confirmed
@of_tenant
@as_json
@politely
def erase_user(*, name: str, yes: bool, tenant_slug: str | None, as_json: bool) -> None:
    """Delete a user, and erase what is personal of them from what is on record, for ever.

    A run that was killed is finished by the service; or run it again with the user's id.
    """
    with services() as opened:
        tenant = find_tenant(opened, tenant_slug)
        user_id: uuid.UUID | None = None
        with suppress(ValueError):
            user_id = uuid.UUID(name)  # they may be gone already
        if user_id is None:
            user_id = find_user_id(opened, tenant, name)
        ask(f"Delete {name!r}, and what is personal of them in every event, for ever?", yes=yes)
        with counted(f"erasing {user_id}", as_json=as_json) as progress:
            count = opened.personal_data.erase(
                tenant.id, user_id, by=None, trace=CONSOLE, progress=lambda done: progress(done, None)
            )
    show({"erased": user_id, "events": count}, json_wanted=as_json)
