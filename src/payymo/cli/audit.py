"""`payymo audit`: the record of what happened. Its commands have modules of their own."""

import click

from payymo.cli.audit_proofs import check_proof, checkpoint, consistency, keys, prove
from payymo.cli.audit_verify import verify


@click.group()
def audit() -> None:
    """Check the audit log, prove what stands in it, and take its checkpoints."""


for _command in (verify, prove, consistency, check_proof, checkpoint, keys):
    audit.add_command(_command)
