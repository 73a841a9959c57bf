"""`payymo role`: list, create, change, remove a tenant's roles."""

from typing import Any

import click

from payymo.cli.common import CONSOLE, as_json, ask, confirmed, find_tenant, of_tenant, politely, services
from payymo.cli.output import show, show_all
from payymo.roles.model import Role


@click.group()
def role() -> None:
    """Manage a tenant's roles."""


def _facts(found: Role) -> dict[str, Any]:
    return {"name": found.name, "permissions": found.permissions, "built_in": found.is_built_in}


@role.command(name="list")
@of_tenant
@as_json
@politely
def list_all(*, tenant_slug: str | None, as_json: bool) -> None:
    """List the built-in roles and the tenant's own."""
    with services() as opened:
        rows = [_facts(found) for found in opened.roles.list_roles(find_tenant(opened, tenant_slug).id)]
    show_all(rows, ("name", "permissions", "built_in"), json_wanted=as_json)


@role.command()
@click.argument("name")
@click.argument("permissions", nargs=-1, required=True)
@of_tenant
@as_json
@politely
def create(*, name: str, permissions: tuple[str, ...], tenant_slug: str | None, as_json: bool) -> None:
    """Create a role, such as: payymo role create clerk invoices:read invoices:write."""
    with services() as opened:
        tenant = find_tenant(opened, tenant_slug)
        made = opened.roles.create(tenant.id, name, permissions, by=None, trace=CONSOLE)
        show(_facts(made), json_wanted=as_json)


@role.command()
@click.argument("name")
@click.argument("permissions", nargs=-1, required=True)
@of_tenant
@as_json
@politely
def change(*, name: str, permissions: tuple[str, ...], tenant_slug: str | None, as_json: bool) -> None:
    """Replace a role's permissions."""
    with services() as opened:
        tenant = find_tenant(opened, tenant_slug)
        changed = opened.roles.change(tenant.id, name, permissions, by=None, trace=CONSOLE)
        show(_facts(changed), json_wanted=as_json)


@role.command()
@click.argument("name")
@confirmed
@of_tenant
@as_json
@politely
def remove(*, name: str, yes: bool, tenant_slug: str | None, as_json: bool) -> None:
    """Remove a role, also from those who hold it."""
    with services() as opened:
        tenant = find_tenant(opened, tenant_slug)
        ask(f"Remove the role {name!r} from everybody in {tenant.slug!r}?", yes=yes)
        opened.roles.remove(tenant.id, name, by=None, trace=CONSOLE)
    show({"removed": name}, json_wanted=as_json)
