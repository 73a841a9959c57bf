"""Every table, its tenant wall, and who may touch it, on one page.

Times are whole seconds since 1970 (BIGINT): the same arithmetic on both databases, in tokens and in tests. A *tenant
table* has a `tenant_id` that is the first part of its keys. PostgreSQL walls it off by row-level security; on SQLite
`payymo.db.work` checks every statement. A *platform table* belongs to the service as a whole.
"""

import uuid
from typing import Any, Final

import sqlalchemy as sa

REVISION: Final = "f0011"
"""The migration that this schema is; a test holds it to Alembic's newest."""

RUNTIME_ROLE: Final = "payymo_runtime"
"""PostgreSQL role of a unit of work that is bound to a tenant: sees that tenant's rows, owns nothing."""
PLATFORM_ROLE: Final = "payymo_platform"
"""PostgreSQL role of platform work: keys, tenants, pruning. Sees all tenants, owns nothing."""

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_N_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

TENANT = sa.bindparam("own_tenant", type_=sa.Uuid())
"""The tenant of the unit of work. Statements on tenant tables compare with this; the unit of work fills it in. It is
not named like the column, because SQLAlchemy would take such a parameter for a value to be set."""


def _tenant_column() -> sa.Column[object]:
    return sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("tenants.id", ondelete="CASCADE"), nullable=False)


def _key(length: int) -> sa.String:
    """A key in ASCII, compared byte by byte on both databases.

    Other collations of PostgreSQL skip signs, so that what begins alike is no range of an index.
    """
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


tenants = sa.Table(
    "tenants",
    metadata,
    sa.Column("id", sa.Uuid(), primary_key=True),
    sa.Column("slug", sa.String(63), nullable=False, unique=True),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("host", sa.String(253), unique=True),
    sa.Column(
        "status",
        sa.String(16),
        sa.CheckConstraint("status in ('active', 'suspended', 'deleted')", "status"),
        nullable=False,
    ),
    sa.Column("created_at", sa.BigInteger(), nullable=False),
)

users = sa.Table(
    "users",
    metadata,
    _tenant_column(),
    sa.Column("id", sa.Uuid(), nullable=False, unique=True),
    sa.Column("email", sa.String(254), nullable=False),
    sa.Column("email_key", _key(254), nullable=False),
    sa.Column("username", sa.String(30), nullable=False),
    sa.Column("username_key", _key(30), nullable=False),
    sa.Column("password_hash", sa.String(512), nullable=False),
    # Scheme and parameters, which say what verifying costs: refused logins wait for the slowest kind in the tenant.
    sa.Column("password_kind", sa.String(64), nullable=False),
    sa.Column(
        "status",
        sa.String(16),
        sa.CheckConstraint("status in ('active', 'disabled', 'unverified')", "status"),
        nullable=False,
    ),
    sa.Column("created_at", sa.BigInteger(), nullable=False),
    sa.Column("password_changed_at", sa.BigInteger(), nullable=False),
    # Since when the address is known to be theirs: by a link, or on somebody's word.
    sa.Column("email_verified_at", sa.BigInteger()),
    # In which they are written to: the code of a language. Null: nobody knows it.
    sa.Column("language", sa.String(16)),
    sa.PrimaryKeyConstraint("tenant_id", "id"),
    sa.UniqueConstraint("tenant_id", "email_key"),
    sa.UniqueConstraint("tenant_id", "username_key"),
)
sa.Index("ix_users_tenant_id_password_kind", users.c.tenant_id, users.c.password_kind)

password_policies = sa.Table(
    "password_policies",
    metadata,
    _tenant_column(),
    sa.Column("min_length", sa.Integer(), nullable=False),
    sa.Column("max_length", sa.Integer(), nullable=False),
    sa.Column("min_score", sa.Integer(), nullable=False),
    sa.Column("complexity_classes", sa.Integer(), nullable=False),
    sa.Column("words", sa.JSON(), nullable=False),
    sa.PrimaryKeyConstraint("tenant_id"),
)
"""What a tenant asks of new passwords, where it does not ask what the settings do."""

roles = sa.Table(
    "roles",
    metadata,
    _tenant_column(),
    sa.Column("name", sa.String(50), nullable=False),
    sa.Column("permissions", sa.JSON(), nullable=False),
    sa.Column("created_at", sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint("tenant_id", "name"),
)

user_roles = sa.Table(
    "user_roles",
    metadata,
    _tenant_column(),
    sa.Column("user_id", sa.Uuid(), nullable=False),
    sa.Column("role_name", sa.String(50), nullable=False),
    sa.PrimaryKeyConstraint("tenant_id", "user_id", "role_name"),
    sa.ForeignKeyConstraint(["tenant_id", "user_id"], ["users.tenant_id", "users.id"], ondelete="CASCADE"),
)

sessions = sa.Table(
    "sessions",
    metadata,
    _tenant_column(),
    sa.Column("id", sa.Uuid(), nullable=False, unique=True),
    sa.Column("user_id", sa.Uuid(), nullable=False),
    sa.Column("started_at", sa.BigInteger(), nullable=False),
    sa.Column("last_seen_at", sa.BigInteger(), nullable=False),
    sa.Column("expires_at", sa.BigInteger(), nullable=False),
    # Until when the youngest or longest of its access tokens lives: so long its end has to be remembered.
    sa.Column("access_expires_at", sa.BigInteger(), nullable=False),
    sa.Column("ended_at", sa.BigInteger()),
    sa.Column("end_reason", sa.String(32)),
    sa.Column("address", sa.String(45), nullable=False),
    sa.Column("user_agent", sa.String(200), nullable=False),
    # The refresh family: the one live refresh token, and the one before it for retries within the grace window.
    sa.Column("refresh_id", sa.Uuid(), nullable=False),
    sa.Column("refresh_kid", sa.String(64), nullable=False),
    sa.Column("refresh_issued_at", sa.BigInteger(), nullable=False),
    sa.Column("refresh_expires_at", sa.BigInteger(), nullable=False),
    sa.Column("consumed_id", sa.Uuid()),
    sa.Column("replays", sa.Integer(), nullable=False, server_default="0"),
    # Who acts as the user, and in which session of theirs they began to. Sessions of one's own have neither.
    sa.Column("actor_user_id", sa.Uuid()),
    sa.Column("actor_session_id", sa.Uuid()),
    sa.PrimaryKeyConstraint("tenant_id", "id"),
    sa.ForeignKeyConstraint(["tenant_id", "user_id"], ["users.tenant_id", "users.id"], ondelete="CASCADE"),
)
sa.Index("ix_sessions_tenant_id_user_id", sessions.c.tenant_id, sessions.c.user_id)
sa.Index("ix_sessions_expires_at", sessions.c.expires_at)
_where = sa.text("actor_user_id is not null")
sa.Index(
    "ix_sessions_tenant_id_actor_user_id",
    sessions.c.tenant_id,
    sessions.c.actor_user_id,
    postgresql_where=_where,
    sqlite_where=_where,
)
_running = sa.text("ended_at is null")
sa.Index(
    "ix_sessions_running",  # a tenant's, in the order in which they began
    sessions.c.tenant_id,
    sessions.c.started_at,
    sessions.c.id,
    postgresql_where=_running,
    sqlite_where=_running,
)

browsers = sa.Table(
    "browsers",
    metadata,
    _tenant_column(),
    sa.Column("session_id", sa.Uuid(), nullable=False),
    # What the cookie names, and the digest of what it proves itself with: others, whenever it is proven again.
    sa.Column("id", sa.Uuid(), nullable=False, unique=True),
    sa.Column("digest", sa.LargeBinary(32), nullable=False),
    sa.Column("proven_at", sa.BigInteger(), nullable=False),
    sa.Column("used_at", sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint("tenant_id", "session_id"),
    sa.ForeignKeyConstraint(["tenant_id", "session_id"], ["sessions.tenant_id", "sessions.id"], ondelete="CASCADE"),
)
"""The sessions that somebody leads in a browser, by its cookie, and without tokens."""

token_revocations = sa.Table(
    "token_revocations",
    metadata,
    _tenant_column(),
    sa.Column("seq", sa.BigInteger(), nullable=False, unique=True),
    sa.Column("nonce", sa.String(16), nullable=False),
    sa.Column("previous", sa.String(16), nullable=False),
    sa.Column(
        "kind",
        sa.String(11),
        sa.CheckConstraint("kind in ('token', 'session', 'user', 'tenant', 'permissions')", "kind"),
        nullable=False,
    ),
    # What is revoked; of a mark, whose tokens.
    sa.Column("subject_id", sa.Uuid(), nullable=False),
    sa.Column("user_id", sa.Uuid()),
    sa.Column("reason", sa.String(32), nullable=False),
    sa.Column("revoked_at", sa.BigInteger(), nullable=False),
    sa.Column("expires_at", sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint("tenant_id", "subject_id", "seq"),
)
sa.Index("ix_token_revocations_expires_at", token_revocations.c.expires_at)

service_revocations = sa.Table(
    "service_revocations",
    metadata,
    sa.Column("seq", sa.BigInteger(), primary_key=True, autoincrement=False),
    sa.Column("nonce", sa.String(16), nullable=False),
    sa.Column("previous", sa.String(16), nullable=False),
    sa.Column("kind", sa.String(11), sa.CheckConstraint("kind in ('tenant', 'key')", "kind"), nullable=False),
    sa.Column("subject", sa.String(64), nullable=False),
    sa.Column("revoked_at", sa.BigInteger(), nullable=False),
    sa.Column("expires_at", sa.BigInteger(), nullable=False),
)
"""What no tenant has entries for: signing keys, and tenants that are deleted, whose own entries go with them."""
sa.Index("ix_service_revocations_expires_at", service_revocations.c.expires_at)

revocation_counter = sa.Table(
    "revocation_counter",
    metadata,
    sa.Column("id", sa.Integer(), sa.CheckConstraint("id = 1", "single_row"), primary_key=True, autoincrement=False),
    sa.Column("last_seq", sa.BigInteger(), nullable=False),
    # Drawn anew whenever numbers are taken, and the one before it: they tell this history from one that goes on from a
    # backup.
    sa.Column("nonce", sa.String(16), nullable=False),
    sa.Column("previous", sa.String(16), nullable=False),
)
"""One row. Its lock is held until commit, so sequence numbers become visible in order and without a gap: a reader that
has seen n can't miss an n-1 that commits later."""

master_keys = sa.Table(
    "master_keys",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("state", sa.String(8), sa.CheckConstraint("state in ('current', 'leaving')", "state"), nullable=False),
    sa.Column("is_development", sa.Boolean(), nullable=False),
    sa.Column("created_at", sa.BigInteger(), nullable=False),
)
"""The master keys that data keys are wrapped under; the keys themselves are elsewhere. Two only while one takes the
other's place. The foreign keys below keep a row here as long as anything needs it."""
_where = sa.text("state = 'current'")
sa.Index(
    "uq_master_keys_one_current",
    master_keys.c.state,
    unique=True,
    postgresql_where=_where,
    sqlite_where=_where,
)


def _data_key_columns() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("purpose", sa.String(32), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("master_key_id", sa.String(32), sa.ForeignKey("master_keys.id"), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
    )


data_keys = sa.Table(
    "data_keys",
    metadata,
    _tenant_column(),
    sa.Column("id", sa.Uuid(), nullable=False, unique=True),
    *_data_key_columns(),
    sa.PrimaryKeyConstraint("tenant_id", "id"),
    sa.UniqueConstraint("tenant_id", "purpose", "generation"),
)
"""What a tenant's fields are sealed under: one key per tenant and purpose, and its successors."""
sa.Index("ix_data_keys_master_key_id", data_keys.c.master_key_id)

service_data_keys = sa.Table(
    "service_data_keys",
    metadata,
    sa.Column("id", sa.Uuid(), primary_key=True),
    *_data_key_columns(),
    sa.UniqueConstraint("purpose", "generation"),
)
"""The same for what belongs to the service as a whole."""


def _secret_columns() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        # Both are NULL once the version is retired: what it was is gone.
        sa.Column("sealed", sa.LargeBinary()),
        sa.Column("data_key_id", sa.Uuid()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("retired_at", sa.BigInteger()),
    )


secrets = sa.Table(
    "secrets",
    metadata,
    _tenant_column(),
    *_secret_columns(),
    sa.PrimaryKeyConstraint("tenant_id", "name", "version"),
    sa.ForeignKeyConstraint(["tenant_id", "data_key_id"], ["data_keys.tenant_id", "data_keys.id"]),
)
"""A tenant's named secrets."""

service_secrets = sa.Table(
    "service_secrets",
    metadata,
    *_secret_columns(),
    sa.PrimaryKeyConstraint("name", "version"),
    sa.ForeignKeyConstraint(["data_key_id"], ["service_data_keys.id"]),
)
"""The service's named secrets."""

signing_keys = sa.Table(
    "signing_keys",
    metadata,
    sa.Column("kid", sa.String(64), primary_key=True),
    sa.Column(
        "purpose",
        sa.String(8),
        sa.CheckConstraint("purpose in ('access', 'refresh', 'audit')", "purpose"),
        nullable=False,
    ),
    sa.Column("algorithm", sa.String(8), nullable=False),
    sa.Column(
        "state",
        sa.String(8),
        sa.CheckConstraint("state in ('next', 'active', 'retiring', 'retired', 'revoked')", "state"),
        nullable=False,
    ),
    sa.Column("public_jwk", sa.JSON(), nullable=False),
    # All are NULL once the key is retired or revoked: its private half is gone.
    sa.Column("private_key", sa.LargeBinary()),
    sa.Column("data_key_id", sa.Uuid(), sa.ForeignKey("service_data_keys.id")),
    # A URI, of a private half that is not in the database.
    sa.Column("location", sa.String(1024)),
    # How long the longest-lived token lives that it may have signed: so long it has to verify after it stops signing.
    sa.Column("token_ttl_seconds", sa.BigInteger(), nullable=False),
    sa.Column("created_at", sa.BigInteger(), nullable=False),
    sa.Column("activated_at", sa.BigInteger()),
    sa.Column("retires_at", sa.BigInteger()),
)
for _state in ("active", "next"):
    _where = sa.text(f"state = '{_state}'")
    sa.Index(
        f"uq_signing_keys_one_{_state}",
        signing_keys.c.purpose,
        unique=True,
        postgresql_where=_where,
        sqlite_where=_where,
    )

certificates = sa.Table(
    "certificates",
    metadata,
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("version", sa.Integer(), nullable=False),
    sa.Column(
        "usage", sa.String(9), sa.CheckConstraint("usage in ('server', 'client', 'authority')", "usage"), nullable=False
    ),
    sa.Column(
        "state",
        sa.String(9),
        sa.CheckConstraint("state in ('requested', 'next', 'active', 'retiring', 'retired', 'revoked')", "state"),
        nullable=False,
    ),
    sa.Column("is_development", sa.Boolean(), nullable=False),
    # SHA-256 of the public key (RFC 7469 §2.4): what finds the request that a certificate answers.
    sa.Column("pin", sa.String(44), nullable=False),
    sa.Column("request_pem", sa.Text()),
    # What the issuer made: NULL while it is only requested, or when a request was given up.
    sa.Column("chain_pem", sa.Text()),
    sa.Column("thumbprint", sa.String(43)),
    sa.Column("not_before", sa.BigInteger()),
    sa.Column("not_after", sa.BigInteger()),
    # Both are NULL once it is retired or revoked: its private half is gone.
    sa.Column("private_key", sa.LargeBinary()),
    sa.Column("data_key_id", sa.Uuid(), sa.ForeignKey("service_data_keys.id")),
    sa.Column("created_at", sa.BigInteger(), nullable=False),
    sa.Column("activates_at", sa.BigInteger()),
    sa.Column("activated_at", sa.BigInteger()),
    sa.Column("retires_at", sa.BigInteger()),
    # The last warning, in days before the end; 0: that it has expired.
    sa.Column("warned_days", sa.Integer()),
    sa.CheckConstraint("state not in ('retired', 'revoked') or private_key is null", "destroyed"),
    sa.CheckConstraint("state not in ('next', 'active', 'retiring') or chain_pem is not null", "issued"),
    sa.PrimaryKeyConstraint("name", "version"),
    sa.UniqueConstraint("name", "thumbprint"),
)
"""The service's own certificates: versions of a name, of which one at most is requested, next, active."""
for _state in ("requested", "next", "active"):
    _where = sa.text(f"state = '{_state}'")
    sa.Index(
        f"uq_certificates_one_{_state}",
        certificates.c.name,
        unique=True,
        postgresql_where=_where,
        sqlite_where=_where,
    )

rate_limits = sa.Table(
    "rate_limits",
    metadata,
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("hits", sa.BigInteger(), nullable=False),
    sa.Column("expires_at", sa.Float(), nullable=False),
)
sa.Index("ix_rate_limits_expires_at", rate_limits.c.expires_at)

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("holder", sa.String(64), nullable=False),
    sa.Column("expires_at", sa.BigInteger(), nullable=False),
    # When a holder was last through with it.
    sa.Column("done_at", sa.BigInteger()),
)
"""Who does what one process at a time does. A holder that dies is followed when its lease has run out."""

service_credentials = sa.Table(
    "service_credentials",
    metadata,
    sa.Column("id", sa.Uuid(), primary_key=True),
    sa.Column("name", sa.String(63), nullable=False),
    sa.Column("digest", sa.LargeBinary(), nullable=False),
    sa.Column("scopes", sa.JSON(), nullable=False),
    sa.Column("created_at", sa.BigInteger(), nullable=False),
    sa.Column("expires_at", sa.BigInteger(), nullable=False),
    sa.Column("revoked_at", sa.BigInteger()),
    sa.Column("last_used_at", sa.BigInteger()),
    # Of a receiver of security events: up to where in the feed it has acknowledged everything.
    sa.Column("place", sa.String(64)),
)
"""What services of the operator's prove themselves with: guards, who follow the feed of revocations."""
_where = sa.text("revoked_at is null")
sa.Index(
    "uq_service_credentials_one_living",
    service_credentials.c.name,
    unique=True,
    postgresql_where=_where,
    sqlite_where=_where,
)

followers = sa.Table(
    "followers",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    # The name of a service credential; NULL where none is needed.
    sa.Column("credential", sa.String(63)),
    sa.Column("address", sa.String(45), nullable=False),
    sa.Column("cursor_seq", sa.BigInteger(), nullable=False),
    sa.Column("kids", sa.JSON(), nullable=False),
    sa.Column("first_seen_at", sa.BigInteger(), nullable=False),
    sa.Column("last_seen_at", sa.BigInteger(), nullable=False),
)
"""Who follows the feed of revocations, and which keys they said they hold."""
sa.Index("ix_followers_last_seen_at", followers.c.last_seen_at)

api_keys = sa.Table(
    "api_keys",
    metadata,
    _tenant_column(),
    sa.Column("id", sa.Uuid(), nullable=False, unique=True),
    sa.Column("name", sa.String(63), nullable=False),
    sa.Column("digest", sa.LargeBinary(), nullable=False),
    sa.Column("permissions", sa.JSON(), nullable=False),
    # Who made it; NULL: the operator. No reference: a key outlives whoever made it.
    sa.Column("created_by", sa.Uuid()),
    sa.Column("created_at", sa.BigInteger(), nullable=False),
    sa.Column("expires_at", sa.BigInteger(), nullable=False),
    sa.Column("revoked_at", sa.BigInteger()),
    sa.Column("last_used_at", sa.BigInteger()),
    sa.Column("last_used_address", sa.String(45)),
    # No token of it lives longer: so long its end has to be remembered.
    sa.Column("access_expires_at", sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint("tenant_id", "id"),
)
"""What a tenant's own programs prove themselves with. Those that were revoked stay, for the record."""
_living = sa.text("revoked_at is null")
sa.Index(
    "uq_api_keys_one_living",
    api_keys.c.tenant_id,
    api_keys.c.name,
    unique=True,
    postgresql_where=_living,
    sqlite_where=_living,
)

one_time_links = sa.Table(
    "one_time_links",
    metadata,
    _tenant_column(),
    sa.Column("id", sa.Uuid(), nullable=False, unique=True),
    sa.Column("user_id", sa.Uuid(), nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("digest", sa.LargeBinary(), nullable=False),
    # Of what has to be the same when it is used: the address, the password.
    sa.Column("binding", sa.LargeBinary(), nullable=False),
    sa.Column("subject", sa.String(254), nullable=False),
    sa.Column("expires_at", sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint("tenant_id", "id"),
    sa.ForeignKeyConstraint(["tenant_id", "user_id"], ["users.tenant_id", "users.id"], ondelete="CASCADE"),
)
"""Links that were sent to a user and not used yet."""
sa.Index("ix_one_time_links_tenant_id_user_id", one_time_links.c.tenant_id, one_time_links.c.user_id)
sa.Index("ix_one_time_links_expires_at", one_time_links.c.expires_at)

mails = sa.Table(
    "mails",
    metadata,
    _tenant_column(),
    sa.Column("id", sa.Uuid(), nullable=False, unique=True),
    sa.Column("kind", sa.String(32), nullable=False),
    # Whom it is about, for the log alone.
    sa.Column("user_id", sa.Uuid()),
    # To whom, and what: it may hold a one-time link.
    sa.Column("sealed", sa.LargeBinary(), nullable=False),
    sa.Column("data_key_id", sa.Uuid(), nullable=False),
    sa.Column("created_at", sa.BigInteger(), nullable=False),
    sa.Column("due_at", sa.BigInteger(), nullable=False),
    sa.Column("expires_at", sa.BigInteger(), nullable=False),
    sa.Column("attempts", sa.Integer(), nullable=False),
    sa.Column("failed_at", sa.BigInteger()),
    sa.Column("reason", sa.String(32)),
    sa.PrimaryKeyConstraint("tenant_id", "id"),
    sa.ForeignKeyConstraint(["tenant_id", "data_key_id"], ["data_keys.tenant_id", "data_keys.id"]),
)
"""The outbox: what is to be sent, and what was given up. What is sent is deleted."""
sa.Index("ix_mails_due_at", mails.c.due_at)

mail_senders = sa.Table(
    "mail_senders",
    metadata,
    _tenant_column(),
    sa.Column("address", sa.String(254), nullable=False),
    sa.Column("name", sa.String(100), nullable=False),
    sa.PrimaryKeyConstraint("tenant_id", "address"),
    sa.UniqueConstraint("tenant_id"),
)
"""In whose name a tenant's mail goes out, where it is not the service's."""

tenant_brands = sa.Table(
    "tenant_brands",
    metadata,
    _tenant_column(),
    sa.Column("name", sa.String(60), nullable=False),
    # `#rrggbb`
    sa.Column("accent", sa.String(7)),
    # Of letters to whose reader's own nobody knows.
    sa.Column("language", sa.String(16)),
    sa.Column("logo_digest", sa.String(64)),
    # A PNG of up to 64 KiB. Last, so that who asks for the rest does not read it.
    sa.Column("logo", sa.LargeBinary()),
    sa.CheckConstraint("(logo_digest is null) = (logo is null)", "logo"),
    sa.PrimaryKeyConstraint("tenant_id"),
)
"""What a tenant's pages and mails look like, where it is not as the service's."""

login_attempts = sa.Table(
    "login_attempts",
    metadata,
    _tenant_column(),
    # Whom a login name stands for, without keeping the name: somebody or nobody.
    sa.Column("account", sa.String(32), nullable=False),
    sa.Column("failures", sa.Integer(), nullable=False),
    sa.Column("wait_until", sa.BigInteger(), nullable=False),
    # NULL: stopped for good, until somebody unlocks it.
    sa.Column("expires_at", sa.BigInteger()),
    sa.PrimaryKeyConstraint("tenant_id", "account"),
)
"""How often each account was tried in vain. Its row is locked while a try is decided on."""
sa.Index("ix_login_attempts_expires_at", login_attempts.c.expires_at)

login_failures = sa.Table(
    "login_failures",
    metadata,
    _tenant_column(),
    sa.Column("account", sa.String(32), nullable=False),
    sa.Column("network", sa.String(45), nullable=False),
    sa.Column("neighbourhood", sa.String(45), nullable=False),
    sa.Column("failures", sa.Integer(), nullable=False),
    sa.Column("failed_at", sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint("tenant_id", "account", "network"),
)
"""From where each account was tried in vain: what a login from there takes back, and which networks try many."""
sa.Index(
    "ix_login_failures_tenant_id_neighbourhood_failed_at",
    login_failures.c.tenant_id,
    login_failures.c.neighbourhood,
    login_failures.c.failed_at,
)
sa.Index("ix_login_failures_failed_at", login_failures.c.failed_at)

login_minutes = sa.Table(
    "login_minutes",
    metadata,
    _tenant_column(),
    sa.Column("minute", sa.BigInteger(), nullable=False),
    sa.Column("failures", sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint("tenant_id", "minute"),
)
"""How many logins of a tenant failed in each minute."""
sa.Index("ix_login_minutes_minute", login_minutes.c.minute)

known_devices = sa.Table(
    "known_devices",
    metadata,
    _tenant_column(),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("user_id", sa.Uuid(), nullable=False),
    # As it was when the device logged in: a device of another password is none.
    sa.Column("password_changed_at", sa.BigInteger(), nullable=False),
    sa.Column("failures", sa.Integer(), nullable=False),
    sa.Column("last_used_at", sa.BigInteger(), nullable=False),
    sa.Column("expires_at", sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint("tenant_id", "digest"),
    sa.ForeignKeyConstraint(["tenant_id", "user_id"], ["users.tenant_id", "users.id"], ondelete="CASCADE"),
)
"""Where a user has logged in before: strangers who try passwords don't keep them out there."""
sa.Index("ix_known_devices_tenant_id_user_id", known_devices.c.tenant_id, known_devices.c.user_id)
sa.Index("ix_known_devices_expires_at", known_devices.c.expires_at)

lockout_notices = sa.Table(
    "lockout_notices",
    metadata,
    _tenant_column(),
    sa.Column("user_id", sa.Uuid(), nullable=False),
    sa.Column("kind", sa.String(4), sa.CheckConstraint("kind in ('wait', 'stop')", "kind"), nullable=False),
    sa.Column("noted_at", sa.BigInteger(), nullable=False),
    sa.Column("told_at", sa.BigInteger()),
    sa.PrimaryKeyConstraint("tenant_id", "user_id", "kind"),
    sa.ForeignKeyConstraint(["tenant_id", "user_id"], ["users.tenant_id", "users.id"], ondelete="CASCADE"),
)
"""What a user is to hear of: that somebody tries their password. A row keeps the next one away for a day."""
sa.Index("ix_lockout_notices_noted_at", lockout_notices.c.noted_at)

tenant_limits = sa.Table(
    "tenant_limits",
    metadata,
    _tenant_column(),
    sa.Column("tier", sa.String(16), nullable=False),
    sa.Column("limits", sa.String(200), nullable=False),
    sa.PrimaryKeyConstraint("tenant_id", "tier"),
)
"""Rate limits that a tenant has instead of the configured ones."""

client_limits = sa.Table(
    "client_limits",
    metadata,
    # `network:192.0.2.0/24` or `service:name`.
    sa.Column("client", sa.String(80), nullable=False),
    sa.Column("tier", sa.String(16), nullable=False),
    sa.Column("limits", sa.String(200), nullable=False),
    sa.PrimaryKeyConstraint("client", "tier"),
)
"""Rate limits that a network or a service has instead of the configured ones. Empty: none."""

USAGE_STEPS: Final = 20
"""Into how many steps a limit is divided, to tell how far it is used."""

limit_usage = sa.Table(
    "limit_usage",
    metadata,
    sa.Column("hour", sa.BigInteger(), nullable=False),
    sa.Column("tier", sa.String(16), nullable=False),
    sa.Column("scope", sa.String(10), nullable=False),
    sa.Column("amount", sa.Integer(), nullable=False),
    sa.Column("window_seconds", sa.Integer(), nullable=False),
    # Tries that were the first of their window: how many windows of clients there were.
    sa.Column("windows", sa.BigInteger(), nullable=False),
    sa.Column("refused", sa.BigInteger(), nullable=False),
    # Tries that were let through, by the share of the limit that was used with them.
    *(sa.Column(f"step_{number}", sa.BigInteger(), nullable=False) for number in range(1, USAGE_STEPS + 1)),
    sa.PrimaryKeyConstraint("hour", "tier", "scope", "amount", "window_seconds"),
)
"""How near clients come to the rate limits. One row for each hour and limit, whoever came and how often."""


def _log_column() -> sa.Column[object]:
    """Whose log: a tenant's, or the platform's (`PLATFORM_LOG`). No foreign key: a log outlives its tenant."""
    return sa.Column("tenant_id", sa.Uuid(), nullable=False)


PLATFORM_LOG: Final = uuid.UUID(int=0)
"""The `tenant_id` of the platform's own log. No tenant has it."""

audit_inbox = sa.Table(
    "audit_inbox",
    metadata,
    sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(), primary_key=True),
    _log_column(),
    sa.Column("id", sa.Uuid(), nullable=False),
    sa.Column("record", sa.LargeBinary(), nullable=False),
    sa.Column("sealed", sa.LargeBinary()),
    sa.Column("data_key_id", sa.Uuid()),
)
"""Events that have been committed and have no position in a log yet. `seq` is taken last, so that transactions which
wait for each other have it in the order in which they commit."""

audit_logs = sa.Table(
    "audit_logs",
    metadata,
    _log_column(),
    sa.Column("size", sa.BigInteger(), nullable=False),
    sa.Column("root", sa.LargeBinary(), nullable=False),
    # Events before this position were removed by age.
    sa.Column("first", sa.BigInteger(), nullable=False),
    sa.Column("integrated_at", sa.BigInteger(), nullable=False),
    # Since when its tree is known to have been changed: it does not grow then.
    sa.Column("damaged_at", sa.BigInteger()),
    sa.PrimaryKeyConstraint("tenant_id"),
)
"""The head of each log. Its row is the lock of whoever gives events their positions."""

audit_events = sa.Table(
    "audit_events",
    metadata,
    _log_column(),
    sa.Column("position", sa.BigInteger(), nullable=False),
    sa.Column("id", sa.Uuid(), nullable=False),
    # What the tree commits to. The other columns repeat what stands in it, to be searched.
    sa.Column("record", sa.LargeBinary(), nullable=False),
    sa.Column("type", sa.String(48), nullable=False),
    sa.Column("at", sa.BigInteger(), nullable=False),
    sa.Column("actor", sa.String(80), nullable=False),
    sa.Column("user_id", sa.Uuid()),
    sa.Column("outcome", sa.String(8), nullable=False),
    sa.PrimaryKeyConstraint("tenant_id", "position"),
)
"""The logs: only ever added to. `at` is in milliseconds."""
sa.Index("ix_audit_events_type", audit_events.c.tenant_id, audit_events.c.type, audit_events.c.position)
sa.Index("ix_audit_events_actor", audit_events.c.tenant_id, audit_events.c.actor, audit_events.c.position)
sa.Index("ix_audit_events_user_id", audit_events.c.tenant_id, audit_events.c.user_id, audit_events.c.position)
sa.Index("ix_audit_events_at", audit_events.c.tenant_id, audit_events.c.at)
sa.Index("ix_audit_events_id", audit_events.c.tenant_id, audit_events.c.id)
_where = sa.text("outcome <> 'success'")  # what did not succeed is rare, and looked for
sa.Index(
    "ix_audit_events_outcome",
    audit_events.c.tenant_id,
    audit_events.c.outcome,
    audit_events.c.position,
    postgresql_where=_where,
    sqlite_where=_where,
)

audit_payloads = sa.Table(
    "audit_payloads",
    metadata,
    _log_column(),
    sa.Column("id", sa.Uuid(), nullable=False),
    sa.Column("sealed", sa.LargeBinary(), nullable=False),
    sa.Column("data_key_id", sa.Uuid(), nullable=False),
    sa.PrimaryKeyConstraint("tenant_id", "id"),
)
"""What is personal in an event, sealed, with the salt of its commitment. It can be erased; the log stays what it is."""

audit_tiles = sa.Table(
    "audit_tiles",
    metadata,
    _log_column(),
    sa.Column("level", sa.SmallInteger(), nullable=False),
    sa.Column("position", sa.BigInteger(), nullable=False),
    sa.Column("hashes", sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint("tenant_id", "level", "position"),
)
"""The Merkle trees, in tiles of 256 hashes (C2SP tlog-tiles)."""

audit_checkpoints = sa.Table(
    "audit_checkpoints",
    metadata,
    _log_column(),
    sa.Column("size", sa.BigInteger(), nullable=False),
    sa.Column("note", sa.Text(), nullable=False),
    sa.Column("created_at", sa.BigInteger(), nullable=False),
    # Up to here events were removed: what is left is held to it, so it stays.
    sa.Column("is_kept", sa.Boolean(), nullable=False, server_default=sa.false()),
    sa.PrimaryKeyConstraint("tenant_id", "size"),
)
"""Signed heads (C2SP tlog-checkpoint)."""
sa.Index("ix_audit_checkpoints_created_at", audit_checkpoints.c.created_at)

audit_retention = sa.Table(
    "audit_retention",
    metadata,
    _log_column(),
    # 0: for ever.
    sa.Column("keep_days", sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint("tenant_id"),
)
"""How long a log keeps its events, where it is not as long as the settings say."""

audit_erasures = sa.Table(
    "audit_erasures",
    metadata,
    _log_column(),
    sa.Column("user_id", sa.Uuid(), nullable=False),
    sa.Column("erased_at", sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint("tenant_id", "user_id"),
)
"""Users who were erased a moment ago: what may still come of them is erased, too."""

audit_destinations = sa.Table(
    "audit_destinations",
    metadata,
    # The URI, as it is configured.
    sa.Column("destination", sa.String(1024), nullable=False),
    # Whose log, as `tenant_id` elsewhere. No tenant's work comes here.
    sa.Column("log", sa.Uuid(), nullable=False),
    sa.Column("size", sa.BigInteger(), nullable=False),
    sa.Column("sent_at", sa.BigInteger()),
    sa.Column("failures", sa.Integer(), nullable=False),
    sa.Column("next_try_at", sa.BigInteger(), nullable=False),
    sa.Column("reason", sa.String(64)),
    sa.PrimaryKeyConstraint("destination", "log"),
)
"""Which checkpoint of each log has last left for each destination, and how often that has failed since."""

LOGS: Final = frozenset({audit_inbox, audit_logs, audit_events, audit_tiles, audit_checkpoints, audit_retention})
"""What outlives a tenant. What is personal in a log goes with it."""

webhook_endpoints = sa.Table(
    "webhook_endpoints",
    metadata,
    _log_column(),
    sa.Column("id", sa.Uuid(), nullable=False, unique=True),
    sa.Column("url", sa.String(2000), nullable=False),
    sa.Column("events", sa.JSON(), nullable=False),
    sa.Column("description", sa.String(200), nullable=False),
    sa.Column("is_enabled", sa.Boolean(), nullable=False),
    sa.Column("wants_personal", sa.Boolean(), nullable=False),
    # The name of one of ours.
    sa.Column("certificate", sa.String(64)),
    sa.Column("created_at", sa.BigInteger(), nullable=False),
    # The position in its log that it reads next.
    sa.Column("next_position", sa.BigInteger(), nullable=False),
    sa.Column("last_success_at", sa.BigInteger()),
    # Since when nothing was taken any more, and why.
    sa.Column("failing_since", sa.BigInteger()),
    sa.Column("reason", sa.String(32)),
    # Until when its receiver wants to be left alone.
    sa.Column("rests_until", sa.BigInteger(), nullable=False),
    # Until when it is one process's own, and the how manieth time that is.
    sa.Column("claimed_until", sa.BigInteger(), nullable=False),
    sa.Column("claims", sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint("tenant_id", "id"),
)
"""Where events of a log are sent, and how far that has come."""

webhook_secrets = sa.Table(
    "webhook_secrets",
    metadata,
    _log_column(),
    sa.Column("endpoint_id", sa.Uuid(), nullable=False),
    sa.Column("version", sa.Integer(), nullable=False),
    sa.Column("sealed", sa.LargeBinary(), nullable=False),
    # Of a tenant's endpoint the first, of the platform's the second.
    sa.Column("data_key_id", sa.Uuid()),
    sa.Column("service_data_key_id", sa.Uuid(), sa.ForeignKey("service_data_keys.id")),
    # When it stops signing, because another one has taken its place.
    sa.Column("expires_at", sa.BigInteger()),
    sa.CheckConstraint("(data_key_id is null) <> (service_data_key_id is null)", "one_key"),
    sa.PrimaryKeyConstraint("tenant_id", "endpoint_id", "version"),
    sa.ForeignKeyConstraint(
        ["tenant_id", "endpoint_id"], ["webhook_endpoints.tenant_id", "webhook_endpoints.id"], ondelete="CASCADE"
    ),
    sa.ForeignKeyConstraint(["tenant_id", "data_key_id"], ["data_keys.tenant_id", "data_keys.id"]),
)
"""What events are signed with: of each endpoint the newest, and the one before it for a while."""

webhook_deliveries = sa.Table(
    "webhook_deliveries",
    metadata,
    _log_column(),
    sa.Column("endpoint_id", sa.Uuid(), nullable=False),
    sa.Column("position", sa.BigInteger(), nullable=False),
    sa.Column("event_id", sa.Uuid(), nullable=False),
    sa.Column("type", sa.String(48), nullable=False),
    # Whom or what it is about: of the same, the earlier one goes first.
    sa.Column("subject", sa.String(96), nullable=False),
    sa.Column("attempts", sa.Integer(), nullable=False),
    sa.Column("first_at", sa.BigInteger(), nullable=False),
    sa.Column("due_at", sa.BigInteger(), nullable=False),
    sa.Column("given_up_at", sa.BigInteger()),
    sa.Column("reason", sa.String(32)),
    sa.PrimaryKeyConstraint("tenant_id", "endpoint_id", "position"),
    sa.ForeignKeyConstraint(
        ["tenant_id", "endpoint_id"], ["webhook_endpoints.tenant_id", "webhook_endpoints.id"], ondelete="CASCADE"
    ),
)
"""Events that an endpoint has not taken yet, or was given up on. What it has taken leaves no row."""
sa.Index("ix_webhook_deliveries_due_at", webhook_deliveries.c.due_at)

UNRECORDED: Final = frozenset(
    {
        *(*(LOGS - {audit_retention}), audit_payloads, audit_erasures, audit_destinations),
        # Made when first needed, and wrapped again: what asks for it is recorded.
        *(data_keys, service_data_keys),
        # Counters of what is being tried. What follows from them is recorded: waiting, stopping, refusing.
        *(rate_limits, limit_usage, login_attempts, login_failures, login_minutes, lockout_notices),
        # The feed, and known devices: they follow from ends of sessions, changes of permissions, logins.
        *(token_revocations, service_revocations, known_devices),
        # Who is there, and who does the duties.
        *(followers, leases, revocation_counter),
        # The way of a message is in the log lines; what it tells of is recorded.
        mails,
        # The same of an event to an endpoint.
        webhook_deliveries,
    }
)
"""What changes without an event. Everything else commits with one, or not at all: a new table belongs to that."""

TENANT_TABLES: Final = tuple(table for table in metadata.sorted_tables if "tenant_id" in table.c)
"""The tables that hold what belongs to a tenant."""

WALLED: Final = {table: table.c.tenant_id for table in TENANT_TABLES} | {tenants: tenants.c.id}
"""What each tenant sees only its own rows of, and the column that says whose they are: forced row-level security on
PostgreSQL, checked statements on SQLite."""


def wall_off(table: str, column: str = "tenant_id") -> tuple[str, ...]:
    """The PostgreSQL statements that wall a table off.

    `current_user` is compared instead of writing `TO payymo_platform`, because a policy for a role also applies to
    every member of it: the service's login role is a member of both. `nullif`: a transaction-local setting is the
    empty string, not NULL, once a pooled connection has used it.
    """
    own = f"{column} = nullif(current_setting('payymo.tenant', true), '')::uuid"
    everything = f"current_user = '{PLATFORM_ROLE}'"
    return (
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
        f"CREATE POLICY own_tenant ON {table} USING ({own}) WITH CHECK ({own})",
        f"CREATE POLICY platform ON {table} USING ({everything}) WITH CHECK ({everything})",
    )
