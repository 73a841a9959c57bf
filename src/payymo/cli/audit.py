"""`payymo audit`: the record of what happened. Its commands have modules of their own."""

import click

from payymo.cli.audit_events import events
from payymo.cli.audit_export import export
from payymo.cli.audit_proofs import check_proof, checkpoint, consistency, keys, prove
from payymo.cli.audit_reading import search, tail
from payymo.cli.audit_retention import retention
from payymo.cli.audit_verify import verify


@click.group()
def audit() -> None:
    """What is on record: read it, check it, prove what stands in it, keep it as long as is wanted."""


for _command in (
    *(tail, search, export, events, retention),
    *(verify, prove, consistency, check_proof, checkpoint, keys),
):
    audit.add_command(_command)
