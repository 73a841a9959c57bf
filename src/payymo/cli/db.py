"""`payymo db`: migrations and pruning."""

import sys

import click

from payymo.cli.common import as_json, ask, confirmed, database, politely, services, settings
from payymo.cli.output import show
from payymo.db import migrate
from payymo.db.revision import current_revision
from payymo.files import make_private_folder


@click.group()
def db() -> None:
    """Bring the database to this version's schema, or look at it."""


@db.command()
@as_json
@politely
def upgrade(*, as_json: bool) -> None:
    """Apply every missing migration. Uses PAYYMO_DATABASE__OWNER_URL where it is set."""
    found = settings()
    if found.database.url is None:
        make_private_folder(found.data)
    with database(found, as_owner=True) as engine:
        before = current_revision(engine)
        migrate.upgrade(engine)
        show({"before": before, "now": current_revision(engine)}, json_wanted=as_json)


@db.command()
@as_json
@politely
def check(*, as_json: bool) -> None:
    """Say whether the database has this version's schema. Exits with 1 when it has not."""
    with database(settings(), as_owner=True) as engine:
        differences = migrate.differences(engine)
    show({"current": not differences, "differences": list(differences)}, json_wanted=as_json)
    sys.exit(1 if differences else 0)


@db.command()
@click.argument("revision")
@confirmed
@as_json
@politely
def downgrade(*, revision: str, yes: bool, as_json: bool) -> None:
    """Take migrations back, down to REVISION (base: all). What they had made is destroyed."""
    ask(f"Take the database back to {revision!r} and destroy what newer migrations made?", yes=yes)
    with database(settings(), as_owner=True) as engine:
        migrate.downgrade(engine, revision)
        show({"now": current_revision(engine)}, json_wanted=as_json)


@db.command()
@as_json
@politely
def prune(*, as_json: bool) -> None:
    """Forget what has expired: revocations, sessions, rate-limit counts, keys. A running server does this by itself."""
    with services() as opened:
        opened.require_clock()
        show({"forgotten": opened.prune()}, json_wanted=as_json)
