"""`payymo status`: what runs, what is due, what is wrong, on one page."""

import sys

import click

from payymo.cli.common import as_json, politely, settings
from payymo.cli.output import show, show_page
from payymo.cli.status_facts import look


@click.command()
@as_json
@politely
def status(*, as_json: bool) -> None:
    """Show what runs, what is due and what is wrong. Exits with 1 when something is.

    It only reads, and works whether the service runs or not. Times in JSON are seconds since 1970.
    """
    page = look(settings())
    if as_json:
        show({"ok": not page.wrong, **page.sections, "wrong": page.wrong}, json_wanted=True)
    else:
        show_page({**page.sections, "wrong": page.wrong or {"": "nothing"}})
    sys.exit(1 if page.wrong else 0)
