"""`payymo openapi`: the OpenAPI document, without a running service."""

import json

import click

from payymo.web.mount import list_routes
from payymo.web.openapi import describe


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs: it always is.")
def openapi(*, as_json: bool) -> None:
    """Print the OpenAPI 3.1 document of this version."""
    del as_json
    click.echo(json.dumps(describe(list_routes()), indent=2, sort_keys=True))
