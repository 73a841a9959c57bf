"""`payymo audit`: the record of what happened. Its commands have modules of their own."""

import click

from payymo.cli.audit_events import events
from payymo.cli.audit_export import export
from payymo.cli.audit_reading import search, tail
from payymo.cli.audit_retention import retention


@click.group()
def audit() -> None:
    """Read the audit log, and keep it as long as is wanted."""


for _command in (tail, search, export, events, retention):
    audit.add_command(_command)
