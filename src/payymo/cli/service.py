"""`payymo service`: credentials of services of the operator's, such as guards."""

from dataclasses import asdict

import click

from payymo.cli.common import CONSOLE, as_json, ask, confirmed, politely, services
from payymo.cli.output import show, show_all
from payymo.guards.model import SCOPES, Scope
from payymo.guards.service import DAYS_AT_MOST, DEFAULT_DAYS

COLUMNS = ("name", "scopes", "state", "created_at", "expires_at", "last_used_at", "id")


@click.group()
def service() -> None:
    """Manage what services, such as guards, prove themselves with."""


@service.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(SCOPES),
    multiple=True,
    default=("feed",),
    show_default=True,
    help="What it is good for; may be repeated.",
)
@click.option(
    "--days", type=click.IntRange(1, DAYS_AT_MOST), default=DEFAULT_DAYS, show_default=True, help="How long it lives."
)
@as_json
@politely
def create(*, name: str, scopes: tuple[Scope, ...], days: int, as_json: bool) -> None:
    """Make a credential, and print it. Nobody can print it again."""
    with services() as opened:
        made = opened.guards.create(name, scopes=scopes, days=days, trace=CONSOLE)
    facts = {
        "name": name,
        "scopes": made.credential.scopes,
        "expires_at": made.credential.expires_at,
        "credential": made.text,
    }
    show(facts, json_wanted=as_json)


@service.command(name="list")
@as_json
@politely
def list_all(*, as_json: bool) -> None:
    """List credentials, public facts only. Times are seconds since 1970; the last use is known to five minutes."""
    with services() as opened:
        now = opened.clock()
        found = [asdict(one) | {"state": one.state(now)} for one in opened.guards.list_credentials()]
    show_all([{name: facts[name] for name in COLUMNS} for facts in found], COLUMNS, json_wanted=as_json)


@service.command()
@click.argument("name")
@confirmed
@as_json
@politely
def revoke(*, name: str, yes: bool, as_json: bool) -> None:
    """Refuse a credential from now on. Who uses it is refused within a second."""
    ask(f"Refuse {name!r} from now on?", yes=yes)
    with services() as opened:
        opened.guards.revoke(name, trace=CONSOLE)
    show({"revoked": name}, json_wanted=as_json)
