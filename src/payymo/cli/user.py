"""`payymo user`: create, list, show, disable, enable, change roles and passwords. Imports have a file of their own."""

import sys
from typing import Any

import click

from payymo.cli.common import CONSOLE, as_json, ask, confirmed, find_tenant, find_user_id, of_tenant, politely, services
from payymo.cli.output import show, show_all
from payymo.cli.user_data import erase_user, export_user
from payymo.cli.user_import import import_users
from payymo.roles.service import Grants
from payymo.users.model import User

COLUMNS = ("username", "email", "status", "roles", "id")


@click.group()
def user() -> None:
    """Manage a tenant's users."""


for _command in (import_users, export_user, erase_user):
    user.add_command(_command)


def _facts(found: User, grants: Grants) -> dict[str, Any]:
    return {
        "id": found.id,
        "username": found.username,
        "email": found.email,
        "status": found.status,
        "roles": grants.roles,
        "permissions": grants.permissions,
        "tenant_id": found.tenant_id,
    }


def _read_password(*, from_stdin: bool) -> str:
    """From the terminal without echo, or one line of standard input. Never an argument: others could see it."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))


stdin_password = click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")


@user.command()
@click.argument("email")
@click.option("--username", help="Without it, the part of the address before the @.")
@click.option("--role", "roles", multiple=True, default=("member",), show_default=True, help="May be repeated.")
@stdin_password
@of_tenant
@as_json
@politely
def create(
    *,
    email: str,
    username: str | None,
    roles: tuple[str, ...],
    password_stdin: bool,
    tenant_slug: str | None,
    as_json: bool,
) -> None:
    """Create a user. The first administrator: --role platform-administrator."""
    with services() as opened:
        tenant = find_tenant(opened, tenant_slug)
        password = _read_password(from_stdin=password_stdin)
        name = username or email.partition("@")[0]
        made = opened.users.create(
            tenant.id, email=email, username=name, password=password, roles=roles, by=None, trace=CONSOLE
        )
        show(_facts(*opened.users.get(tenant.id, made.id)), json_wanted=as_json)


@user.command(name="list")
@click.option("--after", default="", metavar="NAME", help="Begin after this user name.")
@of_tenant
@as_json
@politely
def list_all(*, after: str, tenant_slug: str | None, as_json: bool) -> None:
    """List users, 100 at a time."""
    with services() as opened:
        tenant = find_tenant(opened, tenant_slug)
        rows = [_facts(*found) for found in opened.users.list_users(tenant.id, after=after, count=100)]
    show_all(rows, COLUMNS, json_wanted=as_json)


@user.command(name="show")
@click.argument("name")
@of_tenant
@as_json
@politely
def show_one(*, name: str, tenant_slug: str | None, as_json: bool) -> None:
    """Show one user, by e-mail address or id."""
    with services() as opened:
        tenant = find_tenant(opened, tenant_slug)
        show(_facts(*opened.users.get(tenant.id, find_user_id(opened, tenant, name))), json_wanted=as_json)


def _change(name: str, tenant_slug: str | None, *, json_wanted: bool, **changes: Any) -> None:
    with services() as opened:
        tenant = find_tenant(opened, tenant_slug)
        user_id = find_user_id(opened, tenant, name)
        opened.administration.change_user(tenant.id, user_id, by=None, trace=CONSOLE, **changes)
        show(_facts(*opened.users.get(tenant.id, user_id)), json_wanted=json_wanted)


@user.command()
@click.argument("name")
@confirmed
@of_tenant
@as_json
@politely
def disable(*, name: str, yes: bool, tenant_slug: str | None, as_json: bool) -> None:
    """Disable a user and end their sessions."""
    ask(f"Disable {name!r} and end their sessions?", yes=yes)
    _change(name, tenant_slug, json_wanted=as_json, status="disabled")


@user.command(name="force-reset")
@click.argument("name")
@confirmed
@of_tenant
@as_json
@politely
def force_reset(*, name: str, yes: bool, tenant_slug: str | None, as_json: bool) -> None:
    """Make a user's password worthless, end their sessions, and send them a link for another password."""
    ask(f"Make the password of {name!r} worthless and end their sessions?", yes=yes)
    with services() as opened:
        tenant = find_tenant(opened, tenant_slug)
        user_id = find_user_id(opened, tenant, name)
        is_sent = opened.administration.force_reset(tenant.id, user_id, by=None, trace=CONSOLE)
    show({"user_id": user_id, "mail_sent": is_sent}, json_wanted=as_json)


@user.command()
@click.argument("name")
@of_tenant
@as_json
@politely
def enable(*, name: str, tenant_slug: str | None, as_json: bool) -> None:
    """Let a disabled user log in again."""
    _change(name, tenant_slug, json_wanted=as_json, status="active")


@user.command()
@click.argument("name")
@of_tenant
@as_json
@politely
def unlock(*, name: str, tenant_slug: str | None, as_json: bool) -> None:
    """Let a user log in again who has to wait because of failed logins."""
    with services() as opened:
        tenant = find_tenant(opened, tenant_slug)
        user_id = find_user_id(opened, tenant, name)
        opened.administration.unlock_user(tenant.id, user_id, by=None, trace=CONSOLE)
        show(_facts(*opened.users.get(tenant.id, user_id)), json_wanted=as_json)


@user.command()
@click.argument("name")
@click.option("--role", "roles", multiple=True, required=True, help="May be repeated: the user gets exactly these.")
@of_tenant
@as_json
@politely
def roles(*, name: str, roles: tuple[str, ...], tenant_slug: str | None, as_json: bool) -> None:
    """Give a user exactly these roles."""
    _change(name, tenant_slug, json_wanted=as_json, roles=roles)


@user.command()
@click.argument("name")
@stdin_password
@of_tenant
@as_json
@politely
def password(*, name: str, password_stdin: bool, tenant_slug: str | None, as_json: bool) -> None:
    """Set a user's password and end their sessions."""
    _change(name, tenant_slug, json_wanted=as_json, password=_read_password(from_stdin=password_stdin))
