"""Which migration a database is at, without loading Alembic."""

import sqlalchemy as sa

from payymo.db import schema
from payymo.db.work import begin, reaching


def current_revision(engine: sa.Engine) -> str | None:
    """The database's revision; None when it has no tables yet.

    Raises Misconfigured when the database can't be reached.
    """
    connecting = engine.connect
    with reaching(engine), connecting().execution_options(payymo_begin="BEGIN") as connection, begin(connection):
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
        return found


def is_current(engine: sa.Engine) -> bool:
    """Whether the database has the schema of this version."""
    return current_revision(engine) == schema.REVISION
