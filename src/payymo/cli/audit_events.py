"""`payymo audit events`: the catalogue of event types, as docs/events.md has it."""

import json
from collections.abc import Iterator
from dataclasses import asdict

import click

from payymo.cli.common import as_json
from payymo.events import CATALOGUE


@click.command()
@as_json
def events(*, as_json: bool) -> None:
    """Print every type of event there is, what it says, and whether it is on record: as Markdown, or as JSON."""
    if as_json:
        click.echo(json.dumps({name: asdict(found) for name, found in CATALOGUE.items()}))
        return
    for line in table():
        click.echo(line)


def table() -> Iterator[str]:
    """The lines of the table in Markdown."""
    yield "| event | when | members | version |"
    yield "|---|---|---|---|"
    for name, found in CATALOGUE.items():
        members = ", ".join(f"`{field}`" for field in found.fields)
        version = str(found.version) if found.is_recorded else "log line"
        yield f"| `{name}` | {found.when} | {members} | {version} |"
