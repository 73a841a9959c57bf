"""`payymo apikey`: what a tenant's own programs prove themselves with."""

import uuid

import click

from payymo.apikeys.model import DAYS_AT_MOST, DEFAULT_DAYS, Draft
from payymo.cli.common import CONSOLE, as_json, ask, confirmed, find_tenant, of_tenant, politely, services
from payymo.cli.output import show, show_all

COLUMNS = ("name", "state", "permissions", "created_by", "created_at", "expires_at", "last_used_at", "id")


@click.group(name="apikey")
def api_key() -> None:
    """Manage the API keys of a tenant's own programs."""


@api_key.command()
@click.argument("name")
@click.option("--permission", "permissions", multiple=True, required=True, help="What it may do; may be repeated.")
@click.option(
    "--days", type=click.IntRange(1, DAYS_AT_MOST), default=DEFAULT_DAYS, show_default=True, help="How long it lives."
)
@of_tenant
@as_json
@politely
def create(*, name: str, permissions: tuple[str, ...], days: int, tenant_slug: str | None, as_json: bool) -> None:
    """Make a key, and print its secret. Nobody can print it again."""
    with services() as opened:
        tenant = find_tenant(opened, tenant_slug)
        made = opened.api_keys.create(tenant.id, Draft(name, permissions, days), by=None, trace=CONSOLE)
    facts = {
        "name": name,
        "permissions": made.key.permissions,
        "expires_at": made.key.expires_at,
        "id": made.key.id,
        "secret": made.secret,
    }
    show(facts, json_wanted=as_json)


@api_key.command(name="list")
@of_tenant
@as_json
@politely
def list_all(*, tenant_slug: str | None, as_json: bool) -> None:
    """List keys, the living ones first. Times are seconds since 1970; the last use is known to a minute."""
    with services() as opened:
        now = opened.clock()
        found = opened.api_keys.list_keys(find_tenant(opened, tenant_slug).id)
    rows = [
        {
            "name": key.name,
            "state": key.state(now),
            "permissions": key.permissions,
            "created_by": creator,
            "created_at": key.created_at,
            "expires_at": key.expires_at,
            "last_used_at": key.last_used_at,
            "id": key.id,
        }
        for key, creator in ((one.key, one.creator) for one in found)
    ]
    show_all(rows, COLUMNS, json_wanted=as_json)


@api_key.command()
@click.argument("key_id", type=click.UUID)
@confirmed
@of_tenant
@as_json
@politely
def revoke(*, key_id: uuid.UUID, yes: bool, tenant_slug: str | None, as_json: bool) -> None:
    """Refuse a key from now on, with every token that it was exchanged for."""
    with services() as opened:
        tenant = find_tenant(opened, tenant_slug)
        found = opened.api_keys.get(tenant.id, key_id)
        ask(f"Refuse {found.name!r} from now on?", yes=yes)
        opened.api_keys.revoke(tenant.id, key_id, by=None, trace=CONSOLE)
    show({"revoked": key_id}, json_wanted=as_json)
