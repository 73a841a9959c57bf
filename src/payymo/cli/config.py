"""`payymo config`: the settings in effect, secrets masked, with what production would refuse."""

import click

from payymo.cli.common import as_json, database, politely, settings
from payymo.cli.output import show
from payymo.config import describe
from payymo.production import warnings_about
from payymo.start import require_production


@click.command()
@as_json
@politely
def config(*, as_json: bool) -> None:
    """Show the effective settings. Exits with 1 when production refuses them."""
    found = settings()
    show(describe(found), json_wanted=as_json)
    for warning in warnings_about(found):
        click.echo(f"warning: {warning}", err=True)
    if found.is_production:
        with database(found) as engine:
            require_production(found, engine)
