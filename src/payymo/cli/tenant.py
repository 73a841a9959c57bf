"""`payymo tenant`: create, list, brand, suspend, resume, delete."""

from dataclasses import asdict

import click

from payymo.cli.common import CONSOLE, as_json, ask, confirmed, politely, services
from payymo.cli.output import counted, show, show_all
from payymo.errors import NotFound

COLUMNS = ("slug", "name", "host", "status", "id")


@click.group()
def tenant() -> None:
    """Manage tenants."""


@tenant.command()
@click.argument("slug")
@click.option("--name", help="The name for people; without it, the slug.")
@click.option("--host", help="The host name whose requests belong to the tenant.")
@as_json
@politely
def create(*, slug: str, name: str | None, host: str | None, as_json: bool) -> None:
    """Create a tenant."""
    with services() as opened:
        made = opened.administration.create_tenant(slug, name or slug, host=host, by=None, trace=CONSOLE)
        show(asdict(made), json_wanted=as_json)


@tenant.command(name="list")
@click.option("--after", default="", metavar="SLUG", help="Begin after this slug.")
@as_json
@politely
def list_all(*, after: str, as_json: bool) -> None:
    """List tenants, 100 at a time."""
    with services() as opened:
        rows = [asdict(found) for found in opened.tenants.list_tenants(after=after)]
    show_all(rows, COLUMNS, json_wanted=as_json)


@tenant.command()
@click.argument("slug")
@click.option("--remove", is_flag=True, help="Let the tenant look as the service does.")
@confirmed
@as_json
@politely
def brand(*, slug: str, remove: bool, yes: bool, as_json: bool) -> None:
    """Show what a tenant is called and looks like on its pages, or take that away."""
    with services() as opened:
        found = opened.tenants.get_by_slug(slug)
        look = opened.brands.get(found.id)
        if look is None:
            raise NotFound(f"{slug!r} looks as the service does.")
        if remove:
            ask(f"Remove the display name {look.name!r}, the colour, the language and the logo of {slug!r}?", yes=yes)
            opened.brands.remove(found.id, by=None, trace=CONSOLE)
        show({**asdict(look), "removed": remove}, json_wanted=as_json)


@tenant.command()
@click.argument("slug")
@confirmed
@as_json
@politely
def suspend(*, slug: str, yes: bool, as_json: bool) -> None:
    """Suspend a tenant: its sessions end, its tokens stop working."""
    with services() as opened:
        found = opened.tenants.get_by_slug(slug)
        ask(f"Suspend {slug!r} and end all of its sessions?", yes=yes)
        show(asdict(opened.administration.suspend(found.id, by=None, trace=CONSOLE)), json_wanted=as_json)


@tenant.command()
@click.argument("slug")
@as_json
@politely
def resume(*, slug: str, as_json: bool) -> None:
    """Let a suspended tenant's users log in again."""
    with services() as opened:
        found = opened.tenants.get_by_slug(slug)
        show(asdict(opened.administration.resume(found.id, by=None, trace=CONSOLE)), json_wanted=as_json)


@tenant.command()
@click.argument("slug")
@confirmed
@as_json
@politely
def delete(*, slug: str, yes: bool, as_json: bool) -> None:
    """Delete a suspended tenant with everything in it. Its keys go first. A run that was killed can be run again."""
    with services() as opened:
        found = opened.tenants.get_by_slug(slug)
        ask(f"Delete {slug!r} with all of its users and data, for ever?", yes=yes)
        with counted(f"deleting {slug}", as_json=as_json) as progress:
            opened.administration.delete_tenant(
                found.id, by=None, progress=lambda rows: progress(rows, None), trace=CONSOLE
            )
    show({"deleted": slug}, json_wanted=as_json)
