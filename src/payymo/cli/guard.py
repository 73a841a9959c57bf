"""`payymo guard`: who follows the revocation feed."""

from dataclasses import asdict

import click

from payymo.cli.common import as_json, politely, services
from payymo.cli.output import show_all

COLUMNS = ("id", "credential", "address", "first_seen_at", "last_seen_at", "cursor", "behind", "kids")


@click.group()
def guard() -> None:
    """Look at guards, who verify tokens elsewhere."""


@guard.command(name="list")
@as_json
@politely
def list_all(*, as_json: bool) -> None:
    """List who follows the revocation feed: since when, how far behind, and the keys that they hold.

    Times are seconds since 1970. Who was not heard of for an hour is not listed any more.
    """
    with services() as opened:
        found = [asdict(one) | {"cursor": one.cursor_seq, "behind": lag} for one, lag in opened.guards.list_lags()]
    show_all([{name: facts[name] for name in COLUMNS} for facts in found], COLUMNS, json_wanted=as_json)
