"""Service credentials, and who follows the revocation feed with them."""

import sqlalchemy as sa
from alembic import op

revision = "f0005"
down_revision = "f0004"
branch_labels = None
depends_on = None

TABLES = ("service_credentials", "followers")


def upgrade() -> None:
    op.create_table(
        "service_credentials",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger()),
        sa.Column("last_used_at", sa.BigInteger()),
    )
    living = sa.text("revoked_at is null")
    op.create_index(
        "uq_service_credentials_one_living",
        "service_credentials",
        ["name"],
        unique=True,
        postgresql_where=living,
        sqlite_where=living,
    )
    op.create_table(
        "followers",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("credential", sa.String(63)),
        sa.Column("address", sa.String(45), nullable=False),
        sa.Column("cursor_seq", sa.BigInteger(), nullable=False),
        sa.Column("kids", sa.JSON(), nullable=False),
        sa.Column("first_seen_at", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_followers_last_seen_at", "followers", ["last_seen_at"])
    if op.get_context().dialect.name == "postgresql":
        for table in TABLES:
            op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO payymo_platform")


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
