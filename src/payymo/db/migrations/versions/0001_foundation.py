"""All tables, from tenants and users to guards, and the tenant walls."""

import os

import sqlalchemy as sa
from alembic import op

from payymo.db import schema

revision = "f0011"
down_revision = None
branch_labels = None
depends_on = None

ROLES = {
    "payymo_runtime": {
        "tenants": "SELECT",
        "users": "SELECT, INSERT, UPDATE, DELETE",
        "password_policies": "SELECT, INSERT, UPDATE, DELETE",
        "roles": "SELECT, INSERT, UPDATE, DELETE",
        "user_roles": "SELECT, INSERT, UPDATE, DELETE",
        "sessions": "SELECT, INSERT, UPDATE, DELETE",
        "browsers": "SELECT, INSERT, UPDATE, DELETE",
        "token_revocations": "SELECT, INSERT",
        "revocation_counter": "SELECT, UPDATE",
        "master_keys": "SELECT",
        "data_keys": "SELECT, INSERT, DELETE",
        "secrets": "SELECT, INSERT, UPDATE, DELETE",
        "one_time_links": "SELECT, INSERT, UPDATE, DELETE",
        "mails": "SELECT, INSERT, UPDATE, DELETE",
        "mail_senders": "SELECT, INSERT, UPDATE, DELETE",
        "tenant_brands": "SELECT, INSERT, UPDATE, DELETE",
        "login_attempts": "SELECT, INSERT, UPDATE, DELETE",
        "login_failures": "SELECT, INSERT, UPDATE, DELETE",
        "login_minutes": "SELECT, INSERT, UPDATE, DELETE",
        "known_devices": "SELECT, INSERT, UPDATE, DELETE",
        "lockout_notices": "SELECT, INSERT, UPDATE, DELETE",
        "tenant_limits": "SELECT",
        "audit_inbox": "SELECT, INSERT",
        "audit_logs": "SELECT",
        "audit_events": "SELECT",
        "audit_payloads": "SELECT, UPDATE",
        "audit_tiles": "SELECT",
        "audit_checkpoints": "SELECT",
        "webhook_endpoints": "SELECT, INSERT, UPDATE, DELETE",
        "webhook_secrets": "SELECT, INSERT, UPDATE, DELETE",
        "webhook_deliveries": "SELECT, INSERT, UPDATE, DELETE",
        "audit_retention": "SELECT",
        "audit_erasures": "SELECT, INSERT",
        "api_keys": "SELECT, INSERT, UPDATE",
    },
    "payymo_platform": dict.fromkeys(
        (
            "tenants",
            "users",
            "password_policies",
            "roles",
            "user_roles",
            "sessions",
            "browsers",
            "token_revocations",
            "service_revocations",
            "revocation_counter",
            "master_keys",
            "data_keys",
            "service_data_keys",
            "secrets",
            "service_secrets",
            "signing_keys",
            "certificates",
            "rate_limits",
            "leases",
            "service_credentials",
            "followers",
            "one_time_links",
            "mails",
            "mail_senders",
            "tenant_brands",
            "login_attempts",
            "login_failures",
            "login_minutes",
            "known_devices",
            "lockout_notices",
            "tenant_limits",
            "client_limits",
            "limit_usage",
            "audit_logs",
            "audit_payloads",
            "audit_tiles",
            "audit_checkpoints",
            "webhook_endpoints",
            "webhook_secrets",
            "webhook_deliveries",
            "audit_retention",
            "audit_erasures",
            "audit_destinations",
            "api_keys",
        ),
        "SELECT, INSERT, UPDATE, DELETE",
    )
    | dict.fromkeys(("audit_inbox", "audit_events"), "SELECT, INSERT, DELETE")
    | {"alembic_version": "SELECT"},
}
KEY_STATES = ("next", "active", "retiring", "retired", "revoked")
CERTIFICATE_STATES = ("requested", *KEY_STATES)
GUESSING = ("login_attempts", "login_failures", "login_minutes", "known_devices", "lockout_notices", "tenant_limits")
WALLED = {"tenants": "id"} | dict.fromkeys(
    (
        *("users", "roles", "user_roles", "sessions", "browsers", "token_revocations", "data_keys", "secrets"),
        *("password_policies", "one_time_links", "mails", "mail_senders", "tenant_brands"),
    ),
    "tenant_id",
)
AUDIT = ("audit_inbox", "audit_logs", "audit_events", "audit_payloads", "audit_tiles", "audit_checkpoints")
WEBHOOKS = ("webhook_endpoints", "webhook_secrets", "webhook_deliveries")
KEEPING = ("audit_retention", "audit_erasures")
WALLED |= dict.fromkeys((*GUESSING, *AUDIT, *KEEPING, *WEBHOOKS, "api_keys"), "tenant_id")


def upgrade() -> None:
    _tenants_and_users()
    _sessions_and_revocations()
    _secrets()
    _platform()
    _certificates()
    _guards()
    _mail()
    _brands()
    _guessing()
    _limits()
    _audit()
    _webhooks()
    _api_keys()
    if op.get_context().dialect.name == "postgresql":
        for role, grants in ROLES.items():
            _role(role, grants)
        for table, column in WALLED.items():
            op.execute(f"DO $$ BEGIN {'; '.join(schema.wall_off(table, column))}; END $$")


def downgrade() -> None:
    for table in (
        "api_keys",
        "audit_destinations",
        *reversed((*AUDIT, *KEEPING, *WEBHOOKS)),
        "tenant_brands",
        "mail_senders",
        "mails",
        "limit_usage",
        "client_limits",
        *reversed(GUESSING),
        "one_time_links",
        "followers",
        "service_credentials",
        "leases",
        "rate_limits",
        "certificates",
        "signing_keys",
        "service_secrets",
        "secrets",
        "service_data_keys",
        "data_keys",
        "master_keys",
        "revocation_counter",
        "service_revocations",
        "token_revocations",
        "browsers",
        "sessions",
        "user_roles",
        "roles",
        "password_policies",
        "users",
        "tenants",
    ):
        op.drop_table(table)


def _tenant() -> sa.Column[object]:
    return sa.Column(
        "tenant_id",
        sa.Uuid(),
        sa.ForeignKey("tenants.id", ondelete="CASCADE"),
        nullable=False,
    )


def _moment(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _own_user(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["tenant_id", "user_id"],
        ["users.tenant_id", "users.id"],
        name=f"fk_{table}_tenant_id_user_id",
        ondelete="CASCADE",
    )


def _one_of(column: str, *values: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(f"{column} in ({', '.join(repr(value) for value in values)})", column)


def _key(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def _tenants_and_users() -> None:
    op.create_table(
        "tenants",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("slug", sa.String(63), nullable=False, unique=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("host", sa.String(253), unique=True),
        sa.Column("status", sa.String(16), _one_of("status", "active", "suspended", "deleted"), nullable=False),
        _moment("created_at"),
    )
    op.create_table(
        "users",
        _tenant(),
        sa.Column("id", sa.Uuid(), nullable=False, unique=True),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("email_key", _key(254), nullable=False),
        sa.Column("username", sa.String(30), nullable=False),
        sa.Column("username_key", _key(30), nullable=False),
        sa.Column("password_hash", sa.String(512), nullable=False),
        sa.Column("password_kind", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), _one_of("status", "active", "disabled", "unverified"), nullable=False),
        _moment("created_at"),
        _moment("password_changed_at"),
        _moment("email_verified_at", nullable=True),
        sa.Column("language", sa.String(16)),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
        sa.UniqueConstraint("tenant_id", "email_key"),
        sa.UniqueConstraint("tenant_id", "username_key"),
    )
    op.create_index("ix_users_tenant_id_password_kind", "users", ["tenant_id", "password_kind"])
    op.create_table(
        "password_policies",
        _tenant(),
        sa.Column("min_length", sa.Integer(), nullable=False),
        sa.Column("max_length", sa.Integer(), nullable=False),
        sa.Column("min_score", sa.Integer(), nullable=False),
        sa.Column("complexity_classes", sa.Integer(), nullable=False),
        sa.Column("words", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id"),
    )
    op.create_table(
        "roles",
        _tenant(),
        sa.Column("name", sa.String(50), nullable=False),
        sa.Column("permissions", sa.JSON(), nullable=False),
        _moment("created_at"),
        sa.PrimaryKeyConstraint("tenant_id", "name"),
    )
    op.create_table(
        "user_roles",
        _tenant(),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("role_name", sa.String(50), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "user_id", "role_name"),
        _own_user("user_roles"),
    )


def _sessions_and_revocations() -> None:
    op.create_table(
        "sessions",
        _tenant(),
        sa.Column("id", sa.Uuid(), nullable=False, unique=True),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        _moment("started_at"),
        _moment("last_seen_at"),
        _moment("expires_at"),
        _moment("access_expires_at"),
        _moment("ended_at", nullable=True),
        sa.Column("end_reason", sa.String(32)),
        sa.Column("address", sa.String(45), nullable=False),
        sa.Column("user_agent", sa.String(200), nullable=False),
        sa.Column("refresh_id", sa.Uuid(), nullable=False),
        sa.Column("refresh_kid", sa.String(64), nullable=False),
        _moment("refresh_issued_at"),
        _moment("refresh_expires_at"),
        sa.Column("consumed_id", sa.Uuid()),
        sa.Column("replays", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("actor_user_id", sa.Uuid()),
        sa.Column("actor_session_id", sa.Uuid()),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
        _own_user("sessions"),
    )
    op.create_index("ix_sessions_tenant_id_user_id", "sessions", ["tenant_id", "user_id"])
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"])
    acted = sa.text("actor_user_id is not null")
    op.create_index(
        "ix_sessions_tenant_id_actor_user_id",
        "sessions",
        ["tenant_id", "actor_user_id"],
        postgresql_where=acted,
        sqlite_where=acted,
    )
    running = sa.text("ended_at is null")
    op.create_index(
        "ix_sessions_running",
        "sessions",
        ["tenant_id", "started_at", "id"],
        postgresql_where=running,
        sqlite_where=running,
    )
    op.create_table(
        "browsers",
        _tenant(),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False, unique=True),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        _moment("proven_at"),
        _moment("used_at"),
        sa.PrimaryKeyConstraint("tenant_id", "session_id"),
        sa.ForeignKeyConstraint(
            ["tenant_id", "session_id"],
            ["sessions.tenant_id", "sessions.id"],
            name="fk_browsers_tenant_id_session_id",
            ondelete="CASCADE",
        ),
    )
    op.create_table(
        "token_revocations",
        _tenant(),
        sa.Column("seq", sa.BigInteger(), nullable=False, unique=True),
        sa.Column("nonce", sa.String(16), nullable=False),
        sa.Column("previous", sa.String(16), nullable=False),
        sa.Column(
            "kind",
            sa.String(11),
            _one_of("kind", "token", "session", "user", "tenant", "permissions"),
            nullable=False,
        ),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid()),
        sa.Column("reason", sa.String(32), nullable=False),
        _moment("revoked_at"),
        _moment("expires_at"),
        sa.PrimaryKeyConstraint("tenant_id", "subject_id", "seq"),
    )
    op.create_index("ix_token_revocations_expires_at", "token_revocations", ["expires_at"])
    op.create_table(
        "service_revocations",
        sa.Column("seq", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("nonce", sa.String(16), nullable=False),
        sa.Column("previous", sa.String(16), nullable=False),
        sa.Column("kind", sa.String(11), _one_of("kind", "tenant", "key"), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        _moment("revoked_at"),
        _moment("expires_at"),
    )
    op.create_index("ix_service_revocations_expires_at", "service_revocations", ["expires_at"])
    counter = op.create_table(
        "revocation_counter",
        sa.Column(
            "id", sa.Integer(), sa.CheckConstraint("id = 1", "single_row"), primary_key=True, autoincrement=False
        ),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("nonce", sa.String(16), nullable=False),
        sa.Column("previous", sa.String(16), nullable=False),
    )
    op.bulk_insert(counter, [{"id": 1, "last_seq": 0, "nonce": os.urandom(8).hex(), "previous": ""}])


def _data_key_columns() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("purpose", sa.String(32), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("master_key_id", sa.String(32), sa.ForeignKey("master_keys.id"), nullable=False),
        _moment("created_at"),
    )


def _secret_columns() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary()),
        sa.Column("data_key_id", sa.Uuid()),
        _moment("created_at"),
        _moment("retired_at", nullable=True),
    )


def _secrets() -> None:
    op.create_table(
        "master_keys",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("state", sa.String(8), _one_of("state", "current", "leaving"), nullable=False),
        sa.Column("is_development", sa.Boolean(), nullable=False),
        _moment("created_at"),
    )
    current = sa.text("state = 'current'")
    op.create_index(
        "uq_master_keys_one_current",
        "master_keys",
        ["state"],
        unique=True,
        postgresql_where=current,
        sqlite_where=current,
    )
    op.create_table(
        "data_keys",
        _tenant(),
        sa.Column("id", sa.Uuid(), nullable=False, unique=True),
        *_data_key_columns(),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
        sa.UniqueConstraint("tenant_id", "purpose", "generation"),
    )
    op.create_index("ix_data_keys_master_key_id", "data_keys", ["master_key_id"])
    op.create_table(
        "service_data_keys",
        sa.Column("id", sa.Uuid(), primary_key=True),
        *_data_key_columns(),
        sa.UniqueConstraint("purpose", "generation"),
    )
    op.create_table(
        "secrets",
        _tenant(),
        *_secret_columns(),
        sa.PrimaryKeyConstraint("tenant_id", "name", "version"),
        sa.ForeignKeyConstraint(["tenant_id", "data_key_id"], ["data_keys.tenant_id", "data_keys.id"]),
    )
    op.create_table(
        "service_secrets",
        *_secret_columns(),
        sa.PrimaryKeyConstraint("name", "version"),
        sa.ForeignKeyConstraint(["data_key_id"], ["service_data_keys.id"]),
    )


def _platform() -> None:
    op.create_table(
        "signing_keys",
        sa.Column("kid", sa.String(64), primary_key=True),
        sa.Column("purpose", sa.String(8), _one_of("purpose", "access", "refresh", "audit"), nullable=False),
        sa.Column("algorithm", sa.String(8), nullable=False),
        sa.Column("state", sa.String(8), _one_of("state", *KEY_STATES), nullable=False),
        sa.Column("public_jwk", sa.JSON(), nullable=False),
        sa.Column("private_key", sa.LargeBinary()),
        sa.Column("data_key_id", sa.Uuid(), sa.ForeignKey("service_data_keys.id")),
        sa.Column("location", sa.String(1024)),
        _moment("token_ttl_seconds"),
        _moment("created_at"),
        _moment("activated_at", nullable=True),
        _moment("retires_at", nullable=True),
    )
    for state in ("active", "next"):
        only = sa.text(f"state = '{state}'")
        op.create_index(
            f"uq_signing_keys_one_{state}",
            "signing_keys",
            ["purpose"],
            unique=True,
            postgresql_where=only,
            sqlite_where=only,
        )
    op.create_table(
        "rate_limits",
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("hits", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
    )
    op.create_index("ix_rate_limits_expires_at", "rate_limits", ["expires_at"])
    op.create_table(
        "leases",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("holder", sa.String(64), nullable=False),
        _moment("expires_at"),
        sa.Column("done_at", sa.BigInteger()),
    )


def _certificates() -> None:
    op.create_table(
        "certificates",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("usage", sa.String(9), _one_of("usage", "server", "client", "authority"), nullable=False),
        sa.Column("state", sa.String(9), _one_of("state", *CERTIFICATE_STATES), nullable=False),
        sa.Column("is_development", sa.Boolean(), nullable=False),
        sa.Column("pin", sa.String(44), nullable=False),
        sa.Column("request_pem", sa.Text()),
        sa.Column("chain_pem", sa.Text()),
        sa.Column("thumbprint", sa.String(43)),
        _moment("not_before", nullable=True),
        _moment("not_after", nullable=True),
        sa.Column("private_key", sa.LargeBinary()),
        sa.Column("data_key_id", sa.Uuid(), sa.ForeignKey("service_data_keys.id")),
        _moment("created_at"),
        _moment("activates_at", nullable=True),
        _moment("activated_at", nullable=True),
        _moment("retires_at", nullable=True),
        sa.Column("warned_days", sa.Integer()),
        sa.CheckConstraint("state not in ('retired', 'revoked') or private_key is null", "destroyed"),
        sa.CheckConstraint("state not in ('next', 'active', 'retiring') or chain_pem is not null", "issued"),
        sa.PrimaryKeyConstraint("name", "version"),
        sa.UniqueConstraint("name", "thumbprint"),
    )
    for state in ("requested", "next", "active"):
        only = sa.text(f"state = '{state}'")
        op.create_index(
            f"uq_certificates_one_{state}",
            "certificates",
            ["name"],
            unique=True,
            postgresql_where=only,
            sqlite_where=only,
        )


def _role(role: str, grants: dict[str, str]) -> None:
    """Roles are shared by all databases of a cluster: another one may have made them already."""
    op.execute(
        f"DO $$ BEGIN IF to_regrole('{role}') IS NULL THEN CREATE ROLE {role} NOLOGIN; END IF; "
        "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
    )
    op.execute(f"GRANT USAGE ON SCHEMA public TO {role}")
    for privileges in dict.fromkeys(grants.values()):
        tables = ", ".join(table for table, granted in grants.items() if granted == privileges)
        op.execute(f"GRANT {privileges} ON {tables} TO {role}")


def _guards() -> None:
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
        sa.Column("place", sa.String(64)),
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


def _mail() -> None:
    op.create_table(
        "one_time_links",
        _tenant(),
        sa.Column("id", sa.Uuid(), nullable=False, unique=True),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("binding", sa.LargeBinary(), nullable=False),
        sa.Column("subject", sa.String(254), nullable=False),
        _moment("expires_at"),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
        _own_user("one_time_links"),
    )
    op.create_index("ix_one_time_links_tenant_id_user_id", "one_time_links", ["tenant_id", "user_id"])
    op.create_index("ix_one_time_links_expires_at", "one_time_links", ["expires_at"])
    op.create_table(
        "mails",
        _tenant(),
        sa.Column("id", sa.Uuid(), nullable=False, unique=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("user_id", sa.Uuid()),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("data_key_id", sa.Uuid(), nullable=False),
        _moment("created_at"),
        _moment("due_at"),
        _moment("expires_at"),
        sa.Column("attempts", sa.Integer(), nullable=False),
        _moment("failed_at", nullable=True),
        sa.Column("reason", sa.String(32)),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
        sa.ForeignKeyConstraint(
            ["tenant_id", "data_key_id"],
            ["data_keys.tenant_id", "data_keys.id"],
            name="fk_mails_tenant_id_data_key_id",
        ),
    )
    op.create_index("ix_mails_due_at", "mails", ["due_at"])
    op.create_table(
        "mail_senders",
        _tenant(),
        sa.Column("address", sa.String(254), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "address"),
        sa.UniqueConstraint("tenant_id"),
    )


def _brands() -> None:
    op.create_table(
        "tenant_brands",
        _tenant(),
        sa.Column("name", sa.String(60), nullable=False),
        sa.Column("accent", sa.String(7)),
        sa.Column("language", sa.String(16)),
        sa.Column("logo_digest", sa.String(64)),
        sa.Column("logo", sa.LargeBinary()),
        sa.CheckConstraint("(logo_digest is null) = (logo is null)", "logo"),
        sa.PrimaryKeyConstraint("tenant_id"),
    )


def _count(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _guessing() -> None:
    op.create_table(
        "login_attempts",
        _tenant(),
        sa.Column("account", sa.String(32), nullable=False),
        _count("failures"),
        _moment("wait_until"),
        _moment("expires_at", nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "account"),
    )
    op.create_index("ix_login_attempts_expires_at", "login_attempts", ["expires_at"])
    op.create_table(
        "login_failures",
        _tenant(),
        sa.Column("account", sa.String(32), nullable=False),
        sa.Column("network", sa.String(45), nullable=False),
        sa.Column("neighbourhood", sa.String(45), nullable=False),
        _count("failures"),
        _moment("failed_at"),
        sa.PrimaryKeyConstraint("tenant_id", "account", "network"),
    )
    op.create_index(
        "ix_login_failures_tenant_id_neighbourhood_failed_at",
        "login_failures",
        ["tenant_id", "neighbourhood", "failed_at"],
    )
    op.create_index("ix_login_failures_failed_at", "login_failures", ["failed_at"])
    op.create_table(
        "login_minutes",
        _tenant(),
        _moment("minute"),
        _count("failures"),
        sa.PrimaryKeyConstraint("tenant_id", "minute"),
    )
    op.create_index("ix_login_minutes_minute", "login_minutes", ["minute"])
    op.create_table(
        "known_devices",
        _tenant(),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        _moment("password_changed_at"),
        _count("failures"),
        _moment("last_used_at"),
        _moment("expires_at"),
        sa.PrimaryKeyConstraint("tenant_id", "digest"),
        _own_user("known_devices"),
    )
    op.create_index("ix_known_devices_tenant_id_user_id", "known_devices", ["tenant_id", "user_id"])
    op.create_index("ix_known_devices_expires_at", "known_devices", ["expires_at"])
    op.create_table(
        "lockout_notices",
        _tenant(),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(4), _one_of("kind", "wait", "stop"), nullable=False),
        _moment("noted_at"),
        _moment("told_at", nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "user_id", "kind"),
        _own_user("lockout_notices"),
    )
    op.create_index("ix_lockout_notices_noted_at", "lockout_notices", ["noted_at"])


def _limits() -> None:
    op.create_table(
        "tenant_limits",
        _tenant(),
        sa.Column("tier", sa.String(16), nullable=False),
        sa.Column("limits", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "tier"),
    )
    op.create_table(
        "client_limits",
        sa.Column("client", sa.String(80), nullable=False),
        sa.Column("tier", sa.String(16), nullable=False),
        sa.Column("limits", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("client", "tier"),
    )
    op.create_table(
        "limit_usage",
        _moment("hour"),
        sa.Column("tier", sa.String(16), nullable=False),
        sa.Column("scope", sa.String(10), nullable=False),
        _count("amount"),
        _count("window_seconds"),
        _moment("windows"),
        _moment("refused"),
        *(_moment(f"step_{number}") for number in range(1, 21)),
        sa.PrimaryKeyConstraint("hour", "tier", "scope", "amount", "window_seconds"),
    )


def _audit() -> None:
    """Logs have no foreign key to their tenant: they outlive it."""
    op.create_table(
        "audit_inbox",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(), primary_key=True),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary()),
        sa.Column("data_key_id", sa.Uuid()),
    )
    op.create_table(
        "audit_logs",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        _moment("integrated_at"),
        sa.Column("damaged_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("tenant_id"),
    )
    op.create_table(
        "audit_events",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.Column("type", sa.String(48), nullable=False),
        _moment("at"),
        sa.Column("actor", sa.String(80), nullable=False),
        sa.Column("user_id", sa.Uuid()),
        sa.Column("outcome", sa.String(8), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "position"),
    )
    for name in ("type", "actor", "user_id"):
        op.create_index(f"ix_audit_events_{name}", "audit_events", ["tenant_id", name, "position"])
    for name in ("at", "id"):
        op.create_index(f"ix_audit_events_{name}", "audit_events", ["tenant_id", name])
    unusual = sa.text("outcome <> 'success'")
    op.create_index(
        "ix_audit_events_outcome",
        "audit_events",
        ["tenant_id", "outcome", "position"],
        postgresql_where=unusual,
        sqlite_where=unusual,
    )
    op.create_table(
        "audit_payloads",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("data_key_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_table(
        "audit_tiles",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("level", sa.SmallInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "level", "position"),
    )
    op.create_table(
        "audit_checkpoints",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        _moment("created_at"),
        sa.Column("is_kept", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.PrimaryKeyConstraint("tenant_id", "size"),
    )
    op.create_table(
        "audit_destinations",
        sa.Column("destination", sa.String(1024), nullable=False),
        sa.Column("log", sa.Uuid(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sent_at", sa.BigInteger()),
        _count("failures"),
        _moment("next_try_at"),
        sa.Column("reason", sa.String(64)),
        sa.PrimaryKeyConstraint("destination", "log"),
    )
    op.create_index("ix_audit_checkpoints_created_at", "audit_checkpoints", ["created_at"])
    op.create_table(
        "audit_retention",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("keep_days", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id"),
    )
    op.create_table(
        "audit_erasures",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        _moment("erased_at"),
        sa.PrimaryKeyConstraint("tenant_id", "user_id"),
    )


def _own_endpoint(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["tenant_id", "endpoint_id"],
        ["webhook_endpoints.tenant_id", "webhook_endpoints.id"],
        name=f"fk_{table}_tenant_id_endpoint_id",
        ondelete="CASCADE",
    )


def _webhooks() -> None:
    op.create_table(
        "webhook_endpoints",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False, unique=True),
        sa.Column("url", sa.String(2000), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("description", sa.String(200), nullable=False),
        sa.Column("is_enabled", sa.Boolean(), nullable=False),
        sa.Column("wants_personal", sa.Boolean(), nullable=False),
        sa.Column("certificate", sa.String(64)),
        _moment("created_at"),
        sa.Column("next_position", sa.BigInteger(), nullable=False),
        _moment("last_success_at", nullable=True),
        _moment("failing_since", nullable=True),
        sa.Column("reason", sa.String(32)),
        _moment("rests_until"),
        _moment("claimed_until"),
        sa.Column("claims", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_table(
        "webhook_secrets",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("endpoint_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("data_key_id", sa.Uuid()),
        sa.Column("service_data_key_id", sa.Uuid(), sa.ForeignKey("service_data_keys.id")),
        _moment("expires_at", nullable=True),
        sa.CheckConstraint("(data_key_id is null) <> (service_data_key_id is null)", "one_key"),
        sa.PrimaryKeyConstraint("tenant_id", "endpoint_id", "version"),
        _own_endpoint("webhook_secrets"),
        sa.ForeignKeyConstraint(["tenant_id", "data_key_id"], ["data_keys.tenant_id", "data_keys.id"]),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("endpoint_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.String(48), nullable=False),
        sa.Column("subject", sa.String(96), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        _moment("first_at"),
        _moment("due_at"),
        _moment("given_up_at", nullable=True),
        sa.Column("reason", sa.String(32)),
        sa.PrimaryKeyConstraint("tenant_id", "endpoint_id", "position"),
        _own_endpoint("webhook_deliveries"),
    )
    op.create_index("ix_webhook_deliveries_due_at", "webhook_deliveries", ["due_at"])


def _api_keys() -> None:
    op.create_table(
        "api_keys",
        _tenant(),
        sa.Column("id", sa.Uuid(), nullable=False, unique=True),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("permissions", sa.JSON(), nullable=False),
        sa.Column("created_by", sa.Uuid()),
        _moment("created_at"),
        _moment("expires_at"),
        _moment("revoked_at", nullable=True),
        _moment("last_used_at", nullable=True),
        sa.Column("last_used_address", sa.String(45)),
        _moment("access_expires_at"),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    living = sa.text("revoked_at is null")
    op.create_index(
        "uq_api_keys_one_living",
        "api_keys",
        ["tenant_id", "name"],
        unique=True,
        postgresql_where=living,
        sqlite_where=living,
    )
