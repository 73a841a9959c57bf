"""Brings a database to the schema of this version, back, and says whether it is there.

Alembic is imported by this module alone: a server whose database is up to date does not load it.
"""

import re
from importlib import resources

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError

from payymo.db import schema
from payymo.db.patience import be_patient
from payymo.db.work import reaching
from payymo.errors import Misconfigured

_REVISION = re.compile(r"[A-Za-z0-9]+")
LOCK = 0x5061_7979_6D6F
"""PostgreSQL advisory lock: one migration at a time, the others wait for it."""


def upgrade(engine: sa.Engine, revision: str = "head") -> None:
    """Apply every missing migration. Safe to run again, also after being killed.

    Raises Misconfigured when the database can't be reached, or refuses.
    """
    with reaching(engine), engine.connect() as connection:
        connection.detach()  # its end releases the lock, whatever happens; a pooled connection would keep it
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SET statement_timeout = 0"))  # the others wait, however long it takes
            be_patient(connection, None)
            connection.execute(sa.text("SELECT pg_advisory_lock(:key)"), {"key": LOCK})
            connection.commit()
        try:
            command.upgrade(_config(connection), revision)
        except CommandError:
            found = MigrationContext.configure(connection).get_current_revision()
            raise Misconfigured(
                [f"the database is at revision {found}, which this version doesn't know: use the version that made it"]
            ) from None
        connection.commit()


def downgrade(engine: sa.Engine, revision: str) -> None:
    """Take migrations back, down to `revision` (`base`: all). Destroys what they had made.

    Raises Misconfigured: there is no such revision, or the database can't be reached, or refuses.
    """
    unknown = Misconfigured([f"there is no revision {revision!r} below this one: give its name, or base"])
    if not _REVISION.fullmatch(revision):  # Alembic has a language here, and trips over some of its sentences
        raise unknown
    with reaching(engine), engine.connect() as connection:
        try:
            command.downgrade(_config(connection), revision)
        except CommandError:
            raise unknown from None
        connection.commit()


def differences(engine: sa.Engine) -> tuple[str, ...]:
    """What distinguishes the database from the schema of this version; empty when nothing does.

    Raises Misconfigured when the database can't be reached.
    """
    with reaching(engine), engine.connect() as connection:
        found = MigrationContext.configure(connection, opts={"compare_type": False})
        if found.get_current_revision() != schema.REVISION:
            return (f"the database is at revision {found.get_current_revision()}, not at {schema.REVISION}",)
        return tuple(str(difference) for difference in compare_metadata(found, schema.metadata))


def _config(connection: sa.Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(resources.files("payymo.db") / "migrations"))
    config.attributes["connection"] = connection
    return config
