"""What the service's database role must not be, for it could step over the wall between tenants. PostgreSQL only."""

import sqlalchemy as sa

from payymo.db import schema
from payymo.db.work import reaching

_ROLE = sa.text(
    "SELECT rolsuper, rolbypassrls, EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = current_schema() AND c.relkind = 'r' AND c.relname = ANY(:tables) "
    "AND pg_has_role(session_user, c.relowner, 'MEMBER')) FROM pg_roles WHERE rolname = session_user"
)


def role_reasons(engine: sa.Engine) -> tuple[str, ...]:
    """Why the database role must not serve in production: it could step over the wall between tenants."""
    if engine.dialect.name != "postgresql":
        return ()
    tables = [table.name for table in schema.metadata.sorted_tables]
    with reaching(engine), engine.connect() as connection:
        is_superuser, bypasses, owns = connection.execute(_ROLE, {"tables": tables}).one()
    remedy = "let PAYYMO_DATABASE__URL log in as a role of its own (docs/operating.md)"
    refusals = {
        f"the database role is a superuser: {remedy}": is_superuser,
        f"the database role bypasses row-level security: {remedy}": bypasses,
        f"the database role owns its tables: {remedy}": owns and not is_superuser,
    }
    return tuple(reason for reason, holds in refusals.items() if holds)
