"""Alembic's entry: runs the migrations on the connection that `payymo.db.migrate` hands in."""

from alembic import context

from payymo.db import schema

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=schema.metadata,
    transactional_ddl=True,  # also on SQLite: a migration that is killed leaves nothing behind
    transaction_per_migration=True,
    compare_type=False,
)
with context.begin_transaction():
    context.run_migrations()
