"""Row-level security, tried with raw SQL: what holds when every line of our own code is wrong."""

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from payymo.db import schema
from payymo.db.tenancy import ALLOWED
from payymo.db.work import Work, connect
from tests.conftest import Copied
from tests.support import services
from tests.support.house import Database, House, fresh_name
from tests.support.two_tenants import Side, build_sides
from tests.web.scene import contents

ENTER = sa.text("SELECT set_config('role', :role, true), set_config('payymo.tenant', :tenant, true)")
LEFT_OVER = sa.text("SELECT session_user = current_user, coalesce(current_setting('payymo.tenant', true), '')")
NAMES = [table.name for table in schema.TENANT_TABLES]
HIDDEN = (
    *("signing_keys", "service_secrets", "certificates", "service_credentials", "followers"),
    *("rate_limits", "client_limits", "limit_usage"),
)
PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
NEEDED = "23503"
"""SQLSTATE of a row that others refer to: it was met, and stays."""
REFUSED = "42501"
"""SQLSTATE of a missing privilege, and of a row that row-level security does not let in."""


@dataclass(frozen=True, slots=True)
class Walls:
    """Two tenants on PostgreSQL, and a login as the service, past all of our own code."""

    house: House
    a: Side
    b: Side
    login: sa.Engine

    def acting_as(self, tenant: str | None, statement: str, **values: Any) -> Any:
        """One raw statement in the role of a tenant's work, rolled back. None: the setting was never made."""
        with self.login.connect() as connection:
            if tenant is None:
                connection.execute(sa.text(f"SET LOCAL ROLE {schema.RUNTIME_ROLE}"))
            else:
                connection.execute(ENTER, {"role": schema.RUNTIME_ROLE, "tenant": tenant})
            result = connection.execute(sa.text(statement), values)
            return result.freeze()() if result.returns_rows else result

    def rows_of(self, table: str, tenant_id: uuid.UUID) -> list[dict[str, Any]]:
        """What a tenant has in a table, as the owner sees it."""
        owner = self.house.database.owner()
        with owner.connect() as connection:
            text = sa.text(f"SELECT to_jsonb(t) FROM {table} t WHERE tenant_id = :tenant ORDER BY t::text")
            found = list(connection.execute(text, {"tenant": tenant_id}).scalars())
        owner.dispose()
        return found


@pytest.fixture(scope="module")
def migrated(copied: Copied, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """One database for all tests here: what they try is refused, or rolled back."""
    with copied("postgresql", tmp_path_factory.mktemp("walls")) as database:
        yield database


@pytest.fixture(scope="module")
def walls(migrated: Database) -> Iterator[Walls]:
    """Tenants `a` and `b`, each with rows in every tenant table."""
    house = House(migrated)
    login = connect(migrated.url, pool_size=1)
    yield Walls(house, *build_sides(house), login)
    login.dispose()
    house.close()


def catalogue(database: Database, statement: str, **values: Any) -> list[Mapping[str, Any]]:
    """Ask the live catalogue, as the owner."""
    owner = database.owner()
    with owner.connect() as connection:
        found = [dict(row) for row in connection.execute(sa.text(statement), values).mappings()]
    owner.dispose()
    return found


def refusal_of(walls: Walls, tenant: str | None, statement: str, **values: Any) -> str:
    """The SQLSTATE of a statement that the database refuses."""
    with pytest.raises(DBAPIError) as refused:
        walls.acting_as(tenant, statement, **values)
    return str(getattr(refused.value.orig, "sqlstate", ""))


def changed_by(walls: Walls, tenant: str | None, statement: str, **values: Any) -> int:
    """How many rows a statement touched; a refusal touches none."""
    try:
        return int(walls.acting_as(tenant, statement, **values).rowcount)
    except IntegrityError:
        raise
    except DBAPIError as error:
        assert getattr(error.orig, "sqlstate", "") == REFUSED  # noqa: PT017 - a refusal for this reason alone
        return 0


# ── the catalogue ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_table_with_a_tenant_is_walled_off(migrated: Database) -> None:
    """Invariant 10: no table with a tenant_id is without forced row-level security, whoever adds one."""
    found = catalogue(
        migrated,
        "SELECT c.relname AS name, c.relrowsecurity AS enabled, c.relforcerowsecurity AS forced FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid "
        "WHERE a.attname = 'tenant_id' AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT a.attisdropped "
        "AND n.nspname NOT IN ('pg_catalog', 'information_schema')",
    )
    assert {row["name"] for row in found} == set(NAMES)
    assert [row["name"] for row in found if not (row["enabled"] and row["forced"])] == []


def test_each_tenant_table_has_the_two_policies_for_reading_and_writing(migrated: Database) -> None:
    """Invariant 10: both policies say what may be seen and what may be written, for every command."""
    found = catalogue(migrated, "SELECT * FROM pg_policies WHERE schemaname = 'public'")
    assert {(row["tablename"], row["policyname"]) for row in found} == {
        (table.name, policy) for table in schema.WALLED for policy in ("own_tenant", "platform")
    }
    for row in found:
        assert row["cmd"] == "ALL"
        assert row["roles"] == ["public"] or row["roles"] == "{public}"
        assert row["qual"] is not None
        assert row["qual"] == row["with_check"]
        assert ("payymo.tenant" if row["policyname"] == "own_tenant" else "payymo_platform") in row["qual"]


def test_the_roles_of_work_own_nothing_and_step_over_nothing(migrated: Database) -> None:
    """Invariant 10: an owner, a superuser or BYPASSRLS could lift the wall; neither role is one, or can log in."""
    roles = [schema.RUNTIME_ROLE, schema.PLATFORM_ROLE]
    found = catalogue(
        migrated,
        "SELECT rolname, rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication OR rolcanlogin "
        "AS is_mighty, EXISTS (SELECT 1 FROM pg_shdepend d WHERE d.refobjid = r.oid AND d.deptype = 'o') AS owns, "
        "EXISTS (SELECT 1 FROM pg_auth_members m WHERE m.member = r.oid) AS is_member "
        "FROM pg_roles r WHERE rolname = ANY(:roles)",
        roles=roles,
    )
    assert sorted(row["rolname"] for row in found) == sorted(roles)
    assert [row for row in found if row["is_mighty"] or row["owns"] or row["is_member"]] == []


@pytest.mark.parametrize("table", HIDDEN)
def test_tenant_work_has_no_privilege_on_what_belongs_to_the_service(migrated: Database, table: str) -> None:
    """Invariant 10: keys, secrets and counters are out of reach of a unit of work that is bound to a tenant."""
    for privilege in PRIVILEGES:
        [row] = catalogue(
            migrated,
            "SELECT has_table_privilege(:role, :table, :privilege) AS granted",
            role=schema.RUNTIME_ROLE,
            table=table,
            privilege=privilege,
        )
        assert not row["granted"], privilege
    [row] = catalogue(
        migrated,
        "SELECT has_any_column_privilege(:role, :table, 'SELECT,INSERT,UPDATE,REFERENCES') AS granted",
        role=schema.RUNTIME_ROLE,
        table=table,
    )
    assert not row["granted"]


def test_both_walls_allow_the_same(migrated: Database) -> None:
    """Invariant 10: what the examination of statements lets tenant work do is what PostgreSQL grants its role."""
    found = catalogue(
        migrated,
        "SELECT table_name, privilege_type FROM information_schema.role_table_grants "
        "WHERE table_schema = 'public' AND grantee = :role",
        role=schema.RUNTIME_ROLE,
    )
    allowed = {(table.name, act) for table, acts in ALLOWED.items() for act in acts}
    assert {(row["table_name"], row["privilege_type"]) for row in found} == allowed


def test_nobody_may_truncate_or_reference_or_trigger(migrated: Database) -> None:
    """Invariant 10: TRUNCATE, foreign keys and triggers do not ask policies, so no role of ours has them."""
    found = catalogue(
        migrated,
        "SELECT grantee, table_name, privilege_type FROM information_schema.role_table_grants "
        "WHERE table_schema = 'public' AND grantee IN (:runtime, :platform, 'PUBLIC') "
        "AND (privilege_type NOT IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE') OR grantee = 'PUBLIC')",
        runtime=schema.RUNTIME_ROLE,
        platform=schema.PLATFORM_ROLE,
    )
    assert found == []


def test_no_function_or_view_of_ours_runs_with_its_owners_rights(migrated: Database) -> None:
    """Invariant 10: a SECURITY DEFINER function, or a view, would be a door in the wall."""
    found = catalogue(
        migrated,
        "SELECT proname AS name FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace "
        "WHERE n.nspname = 'public' UNION ALL SELECT relname FROM pg_class c JOIN pg_namespace n "
        "ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relkind IN ('v', 'm')",
    )
    assert found == []


# ── raw SQL as the other tenant ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("table", NAMES)
def test_another_tenants_rows_are_not_to_be_seen(walls: Walls, table: str) -> None:
    """Invariant 10: no answer of tenant B holds tenant A's data, also when application code is wrong."""
    a, b = walls.a.tenant.id, walls.b.tenant.id
    assert walls.rows_of(table, a), "nothing is there to be hidden"
    seen = walls.acting_as(str(b), f"SELECT DISTINCT tenant_id FROM {table}").scalars().all()
    assert seen == [b]
    for statement in (
        f"SELECT count(*) FROM {table} WHERE tenant_id = :a",
        f"SELECT count(*) FROM {table} WHERE tenant_id = :a OR tenant_id <> :b",
        f"SELECT count(*) FROM {table} x FULL JOIN {table} y ON false WHERE x.tenant_id = :a OR y.tenant_id = :a",
        f"WITH x AS (SELECT * FROM {table}) SELECT count(*) FROM x WHERE tenant_id <> :b",
    ):
        values = {name: value for name, value in (("a", a), ("b", b)) if f":{name}" in statement}
        assert walls.acting_as(str(b), statement, **values).scalar_one() == 0, statement


NO_NAMES = {
    *("password_policies", "tenant_brands", "audit_retention"),
    *("audit_logs", "audit_events", "audit_tiles", "audit_checkpoints"),
}
"""The tenant itself is the key, or a number that every tenant has."""


@pytest.mark.parametrize("table", [name for name in NAMES if name not in NO_NAMES])
def test_another_tenants_rows_are_not_found_by_their_identifiers(walls: Walls, table: str) -> None:
    """Invariant 10: whoever has guessed every identifier of a row still gets nothing, and changes nothing."""
    before = contents(walls.house)
    b = str(walls.b.tenant.id)
    keys = [column.name for column in schema.metadata.tables[table].primary_key if column.name != "tenant_id"]
    where = " AND ".join(f"{key}::text = :{key}" for key in keys)
    theirs = {json.dumps([row[key] for key in keys]) for row in walls.rows_of(table, walls.b.tenant.id)}
    guesses = [
        row for row in walls.rows_of(table, walls.a.tenant.id) if json.dumps([row[k] for k in keys]) not in theirs
    ]
    assert guesses
    for row in guesses:
        guess = {key: str(row[key]) for key in keys}
        assert walls.acting_as(b, f"SELECT * FROM {table} WHERE {where}", **guess).all() == []
        assert changed_by(walls, b, f"UPDATE {table} SET {keys[-1]} = {keys[-1]} WHERE {where}", **guess) == 0
        assert changed_by(walls, b, f"DELETE FROM {table} WHERE {where}", **guess) == 0
    assert contents(walls.house) == before


@pytest.mark.parametrize("table", NAMES)
def test_another_tenants_rows_are_not_changed_or_removed(walls: Walls, table: str) -> None:
    """Invariant 10: UPDATE and DELETE without any condition reach one's own rows alone."""
    a, b = walls.a.tenant.id, walls.b.tenant.id
    column = schema.metadata.tables[table].primary_key.columns.keys()[-1]
    own = len(walls.rows_of(table, b))
    update, delete = f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}"
    assert changed_by(walls, str(b), update) in {0, own}
    try:
        assert changed_by(walls, str(b), delete) in {0, own}
    except IntegrityError as error:  # data keys: its own secrets are sealed under them
        assert getattr(error.orig, "sqlstate", "") == NEEDED  # noqa: PT017 - a refusal for this reason alone
    assert changed_by(walls, str(b), f"{update} WHERE tenant_id = :a", a=a) == 0
    assert changed_by(walls, str(b), f"{delete} WHERE tenant_id = :a", a=a) == 0


@pytest.mark.parametrize("table", NAMES)
def test_no_row_is_planted_in_another_tenant(walls: Walls, table: str) -> None:
    """Invariant 10: an INSERT with another tenant's id is refused, as is every one without a tenant."""
    row = json.dumps(walls.rows_of(table, walls.a.tenant.id)[0])
    insert = f"INSERT INTO {table} SELECT * FROM jsonb_populate_record(NULL::{table}, CAST(:row AS jsonb))"
    for tenant in (str(walls.b.tenant.id), "", None):
        assert refusal_of(walls, tenant, insert, row=row) == REFUSED


@pytest.mark.parametrize("table", NAMES)
def test_no_row_moves_to_another_tenant(walls: Walls, table: str) -> None:
    """Invariant 10: nobody gives a row away, and nobody takes one."""
    a, b = walls.a.tenant.id, walls.b.tenant.id
    assert refusal_of(walls, str(b), f"UPDATE {table} SET tenant_id = :a", a=a) == REFUSED
    assert changed_by(walls, str(b), f"UPDATE {table} SET tenant_id = :b WHERE tenant_id = :a", a=a, b=b) == 0


@pytest.mark.parametrize("table", NAMES)
@pytest.mark.parametrize("tenant", ["", None], ids=["empty", "never set"])
def test_without_a_tenant_there_is_nothing(walls: Walls, table: str, tenant: str | None) -> None:
    """Invariant 10: a forgotten tenant is an empty database, not a whole one."""
    assert walls.acting_as(tenant, f"SELECT * FROM {table}").all() == []
    assert changed_by(walls, tenant, f"DELETE FROM {table}") == 0


@pytest.mark.parametrize("table", NAMES)
def test_the_login_role_itself_sees_nothing(walls: Walls, table: str) -> None:
    """Invariant 10: being a member of both roles opens nothing: a policy asks who one is, not who one could be."""
    with walls.login.connect() as connection:
        assert connection.execute(sa.text(f"SELECT * FROM {table}")).all() == []


@pytest.mark.parametrize("which", ["b", "", None], ids=["own", "empty", "never set"])
def test_a_tenant_sees_no_tenant_but_itself(walls: Walls, which: str | None) -> None:
    """Invariant 10: who else is a customer, and under which host, is nobody's business."""
    tenant = str(walls.b.tenant.id) if which == "b" else which
    seen = walls.acting_as(tenant, "SELECT id FROM tenants").scalars().all()
    assert seen == ([walls.b.tenant.id] if which == "b" else [])
    with walls.login.connect() as connection:
        assert connection.execute(sa.select(schema.tenants)).all() == []
    [row] = catalogue(
        walls.house.database,
        "SELECT relrowsecurity AND relforcerowsecurity AS walled FROM pg_class WHERE oid = 'tenants'::regclass",
    )
    assert row["walled"]


def test_a_reference_into_another_tenant_is_refused(walls: Walls) -> None:
    """Invariant 10: foreign keys see through the wall, and so hold the tenant themselves."""
    with pytest.raises(IntegrityError), Work(walls.login)(walls.b.tenant.id) as tx:
        tx.execute(
            sa.insert(schema.user_roles).values(
                tenant_id=schema.TENANT, user_id=sa.bindparam("of_user"), role_name="member"
            ),
            {"of_user": walls.a.alice_id},
        )


# ── connections that are used again ──────────────────────────────────────────────────────────────────────────────────


def test_nothing_of_a_tenant_stays_on_a_pooled_connection(walls: Walls) -> None:
    """Invariant 10: role and tenant end with the transaction, also when it ends by an error."""
    work = Work(walls.login)  # its pool has one connection
    emails = sa.select(schema.users.c.tenant_id).distinct()
    with work(walls.a.tenant.id) as tx:
        assert tx.execute(emails).scalars().all() == [walls.a.tenant.id]
    with walls.login.connect() as connection:
        assert tuple(connection.execute(LEFT_OVER).one()) == (True, "")
    with pytest.raises(DBAPIError), work(walls.a.tenant.id) as tx:
        tx.execute(sa.select(sa.literal(1) / sa.literal(0)))
    with walls.login.connect() as connection:
        assert tuple(connection.execute(LEFT_OVER).one()) == (True, "")
    with pytest.raises(ZeroDivisionError), work(walls.a.tenant.id) as tx:
        divmod(len(tx.execute(emails).all()), 0)
    with work.platform() as tx:
        assert len(tx.execute(emails).all()) == 2
    with work(walls.b.tenant.id) as tx:
        assert tx.execute(emails).scalars().all() == [walls.b.tenant.id]
    with walls.login.connect() as connection:
        assert tuple(connection.execute(LEFT_OVER).one()) == (True, "")
        assert connection.execute(emails).all() == []


def test_work_walls_off_a_superuser_too(walls: Walls) -> None:
    """Invariant 10: a deployment that logs in as the owner or a superuser still works as the runtime role."""
    engine = connect(walls.house.database.owner_url, pool_size=1)
    for open_work in (Work(engine), Work(engine).reading):
        with open_work(walls.b.tenant.id) as tx:
            for table in schema.TENANT_TABLES:
                assert set(tx.execute(sa.select(table.c.tenant_id)).scalars()) == {walls.b.tenant.id}
    with pytest.raises(DBAPIError), Work(engine)(walls.b.tenant.id) as tx:
        tx.execute(sa.update(schema.users).values(tenant_id=walls.a.tenant.id))
    engine.dispose()


def test_the_owner_of_the_tables_is_walled_off(walls: Walls, postgres_server: services.Postgres) -> None:
    """Invariant 10: row-level security is forced, so that it also holds for who owns the tables."""
    database = walls.house.database
    name = fresh_name()
    superuser = database.owner()
    with superuser.begin() as connection:
        connection.execute(sa.text(f"CREATE ROLE {name} LOGIN IN ROLE {schema.RUNTIME_ROLE}, {schema.PLATFORM_ROLE}"))
        for table in NAMES:
            connection.execute(sa.text(f"ALTER TABLE {table} OWNER TO {name}"))
    engine = connect(postgres_server.url(sa.make_url(database.url).database or "", name), pool_size=1)
    with engine.connect() as connection:
        for table in NAMES:
            assert connection.execute(sa.text(f"SELECT * FROM {table}")).all() == []
            assert connection.execute(sa.text(f"DELETE FROM {table}")).rowcount == 0
    with Work(engine)(walls.b.tenant.id) as tx:
        for table in schema.TENANT_TABLES:
            assert set(tx.execute(sa.select(table.c.tenant_id)).scalars()) == {walls.b.tenant.id}
    engine.dispose()
    with superuser.begin() as connection:
        connection.execute(sa.text(f"REASSIGN OWNED BY {name} TO CURRENT_USER"))
        connection.execute(sa.text(f"DROP OWNED BY {name}"))
        connection.execute(sa.text(f"DROP ROLE {name}"))
    superuser.dispose()
