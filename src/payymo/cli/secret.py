"""`payymo secret`: named secrets, and what everything is sealed under."""

import sys
import time
import uuid

import click

from payymo.audit.model import PLATFORM
from payymo.cli.common import CONSOLE, as_json, ask, confirmed, find_tenant, politely, services
from payymo.cli.output import counted, show, show_all
from payymo.errors import InvalidInput, Misconfigured
from payymo.secrets.service import DATABASE
from payymo.services import Services

COLUMNS = ("name", "version", "created_at", "retired_at")

of_tenant = click.option("--tenant", "tenant_slug", metavar="SLUG", help="Whose; without it, the service's own.")
located = click.option(
    "--at",
    default=DATABASE,
    show_default=True,
    metavar="URI",
    help="database:, file:/folder, env:PREFIX_ or vault:MOUNT/PREFIX.",
)


@click.group()
def secret() -> None:
    """Keep secrets, and change what they are sealed under."""


@secret.command()
@click.argument("name")
@click.argument("slip", nargs=-1, metavar="< VALUE")
@of_tenant
@located
@as_json
@politely
def put(*, name: str, slip: tuple[str, ...], tenant_slug: str | None, at: str, as_json: bool) -> None:
    """Keep a new version of NAME, read from standard input as it is. Arguments would be seen by everybody."""
    if slip:
        raise InvalidInput(detail="The value comes from standard input: an argument is seen by the whole machine.")
    if sys.stdin.isatty():
        value = click.prompt("Value", hide_input=True, confirmation_prompt=True).encode()
    else:
        value = sys.stdin.buffer.read()
    with services() as opened:
        version = opened.secrets.put(name, value, tenant_id=_id_of(opened, tenant_slug), at=at, trace=CONSOLE)
        show({"name": name, "version": version}, json_wanted=as_json)


@secret.command()
@click.argument("name")
@click.option("--version", type=click.IntRange(1), help="Which version; without it, the newest.")
@of_tenant
@located
@politely
def get(*, name: str, version: int | None, tenant_slug: str | None, at: str) -> None:
    """Print the value of a secret, as it is. It is logged that you did."""
    with services() as opened:
        found = opened.secrets.get(name, version, tenant_id=_id_of(opened, tenant_slug), at=at, trace=CONSOLE)
    sys.stdout.buffer.write(found.value)


@secret.command(name="list")
@of_tenant
@located
@as_json
@politely
def list_all(*, tenant_slug: str | None, at: str, as_json: bool) -> None:
    """List secrets and their versions, never values."""
    with services() as opened:
        found = opened.secrets.list_versions(tenant_id=_id_of(opened, tenant_slug), at=at)
    rows = [{name: getattr(version, name) for name in COLUMNS} for version in found]
    show_all(rows, COLUMNS, json_wanted=as_json)


@secret.command()
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@of_tenant
@located
@confirmed
@as_json
@politely
def retire(*, name: str, version: int, tenant_slug: str | None, at: str, yes: bool, as_json: bool) -> None:
    """Destroy the value of one version."""
    ask(f"Destroy version {version} of {name!r}?", yes=yes)
    with services() as opened:
        opened.secrets.retire(name, version, tenant_id=_id_of(opened, tenant_slug), at=at, trace=CONSOLE)
        show({"name": name, "retired": version}, json_wanted=as_json)


@secret.command(name="rotate-master")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@confirmed
@as_json
@politely
def rotate_master(*, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Let PAYYMO_NEXT_MASTER_KEY take the place of PAYYMO_MASTER_KEY. A run that was killed can be run again.

    Every node has to be running with both keys before.
    """
    with services() as opened:
        following = opened.next_master_key
        if following is None:
            raise Misconfigured(["there is no PAYYMO_NEXT_MASTER_KEY (payymo key generate-master makes one)"])
        count = opened.master_rotation.count(following)
        if dry_run:
            show({"master_key": following.id, "data_keys_to_wrap": count}, json_wanted=as_json)
            return
        ask("Is every node running with both master keys, and may the next one take over?", yes=yes)
        with counted("wrapping data keys", as_json=as_json) as progress:
            done = opened.master_rotation.run(following, progress=progress, trace=CONSOLE)
    show({"master_key": following.id, "data_keys_wrapped": done}, json_wanted=as_json)


@secret.command()
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--all", "whatever_age", is_flag=True, help="Also data keys that were made within the last hour.")
@confirmed
@as_json
@politely
def reencrypt(*, dry_run: bool, whatever_age: bool, yes: bool, as_json: bool) -> None:
    """Make new data keys, seal everything under them, destroy the old ones. A run that was killed can be run again.

    What is personal in an audit log that was changed, and what lies with a value that does not open, is left as it is,
    and named; everything else is done, and it exits with 1. So it does while a transaction in the database does not
    end: then the old data keys stay. Data keys that are less than an hour old are taken for those of a run that was
    killed, and kept, unless --all.
    """
    with services() as opened:
        count = opened.reencryption.count(whatever_age=whatever_age)
        if dry_run:
            show({"values_to_seal": count}, json_wanted=as_json)
            return
        ask(f"Seal {count} values again under new data keys?", yes=yes)
        with counted("sealing again", as_json=as_json) as progress:
            done = opened.reencryption.run(
                progress=progress, pause=time.sleep, trace=CONSOLE, whatever_age=whatever_age
            )
    left = sorted(str(domain.tenant_id or PLATFORM) for domain in done.left)
    facts = {"values_sealed": done.values, "data_keys_made": done.renewed, "data_keys_kept": done.kept}
    broken = [
        {"tenant": str(domain.tenant_id or PLATFORM), "purpose": domain.purpose, "value": value}
        for domain, value in done.broken.items()
    ]
    show(facts | {"logs_left": left, "broken": broken}, json_wanted=as_json)
    if left:
        why = "were changed (payymo audit verify says where): their old data keys stay until this is run once more"
        click.echo(f"payymo: the audit logs {', '.join(left)} {why}", err=True)
    for one in broken:
        what = "put it back from a backup, or put another in its place, and run this once more: until then"
        click.echo(f"payymo: {one['value']}: {what} the old data keys of {one['tenant']} stay", err=True)
    if done.is_awaited:
        why = (
            "the database has a transaction that is older than the new data keys, and may yet write under the old ones"
        )
        click.echo(f"payymo: {why}: they stay until this is run once more", err=True)
    if left or broken or done.is_awaited:
        sys.exit(1)


def _id_of(opened: Services, slug: str | None) -> uuid.UUID | None:
    return None if slug is None else find_tenant(opened, slug).id
