"""The examination of statements, which is the wall on SQLite; and both walls as application code meets them."""

import importlib
import pkgutil
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

import payymo
from payymo.db.question import Question
from payymo.db.schema import (
    TENANT,
    TENANT_TABLES,
    metadata,
    revocation_counter,
    roles,
    service_secrets,
    sessions,
    signing_keys,
    tenants,
    token_revocations,
    user_roles,
    users,
)
from payymo.db.tenancy import TenantWallBreached, require_tenant
from payymo.db.work import Work
from payymo.errors import PayymoError
from tests.conftest import Copied
from tests.support.house import House
from tests.support.two_tenants import Side, build_sides
from tests.web.scene import contents

OWN = users.c.tenant_id == TENANT
OWN_ROLES = roles.c.tenant_id == TENANT
OTHER = uuid.UUID(int=7)
EMAILS = sa.select(users.c.email)
ONE = sa.select(sa.literal(1))
U = users.alias("u")
SAME = sessions.c.user_id == users.c.id
NEW = {"tenant_id": TENANT, "id": OTHER, "email": "x@example.com"}

REFUSED: dict[str, Any] = {
    # ── the tenant is missing, or what stands there is not the tenant
    "select without tenant": EMAILS,
    "select by id": EMAILS.where(users.c.id == OTHER),
    "tenant in an OR": EMAILS.where(sa.or_(OWN, users.c.status == "active")),
    "tenant in an OR inside an AND": EMAILS.where(users.c.status == "active", sa.or_(OWN, users.c.id == OTHER)),
    "not the tenant": EMAILS.where(users.c.tenant_id != TENANT),
    "negated": EMAILS.where(sa.not_(OWN)),
    "negated AND": EMAILS.where(sa.not_(sa.and_(OWN, users.c.status == "active"))),
    "another column compared": EMAILS.where(users.c.id == TENANT),
    "another table's column compared": EMAILS.where(OWN_ROLES),
    "compared with itself": EMAILS.where(users.c.tenant_id == users.c.tenant_id),
    "a literal tenant": EMAILS.where(users.c.tenant_id == OTHER),
    "another parameter": EMAILS.where(users.c.tenant_id == sa.bindparam("tenant", type_=sa.Uuid())),
    "a unique parameter of the name": EMAILS.where(
        users.c.tenant_id == sa.bindparam(TENANT.key, OTHER, type_=sa.Uuid(), unique=True)
    ),
    "a list of tenants": EMAILS.where(users.c.tenant_id.in_([OTHER])),
    "tenant in HAVING": EMAILS.group_by(users.c.email, users.c.tenant_id).having(OWN),
    "tenant in the columns": sa.select(users.c.email, OWN),
    "tenant in a CASE": EMAILS.where(sa.case((OWN, sa.true()), else_=sa.true())),
    # ── joins
    "second table without tenant": sa.select(users.c.email, roles.c.name).where(OWN),
    "join without the second tenant": sa.select(users.c.email).select_from(sessions.join(users, SAME)).where(OWN),
    "outer join whose ON names only the left": sa.select(users.c.email).select_from(
        users.outerjoin(sessions, sa.and_(OWN, SAME))
    ),
    "outer join, left unnamed": EMAILS.select_from(
        users.outerjoin(sessions, sa.and_(sessions.c.tenant_id == TENANT, SAME))
    ),
    "full join": EMAILS.select_from(tenants.join(users, OWN, full=True)),
    "full join under a left join": EMAILS.select_from(
        sessions.outerjoin(tenants.join(users, OWN, full=True), SAME)
    ).where(sessions.c.tenant_id == TENANT),
    "full join over a named one": EMAILS.select_from(tenants.join(users, OWN).join(roles, OWN_ROLES, full=True)),
    "join of a join": EMAILS.select_from(
        users.join(sessions.join(user_roles, user_roles.c.user_id == sessions.c.user_id), SAME)
    ).where(OWN),
    "cross join": sa.select(users.c.email).select_from(users, roles).where(OWN),
    # ── selects inside
    "subquery": sa.select(EMAILS.subquery().c.email),
    "lateral": sa.select(sa.lateral(EMAILS)),
    "EXISTS": ONE.where(EMAILS.exists()),
    "IN": EMAILS.where(OWN, users.c.id.in_(sa.select(sessions.c.user_id))),
    "scalar": sa.select(EMAILS.scalar_subquery()),
    "scalar in ORDER BY": EMAILS.where(OWN).order_by(sa.select(roles.c.name).scalar_subquery()),
    "scalar in LIMIT": EMAILS.where(OWN).limit(sa.select(sa.func.count(roles.c.name)).scalar_subquery()),
    "correlated": ONE.where(sa.exists(ONE.where(users.c.email == "x").correlate(users))),
    "outside named, inside not": EMAILS.where(OWN, sa.exists(ONE.where(SAME, sessions.c.id == OTHER))),
    "CTE": sa.select(EMAILS.cte().c.email),
    "recursive CTE": sa.select(EMAILS.where(OWN).cte("x", recursive=True).union_all(EMAILS).c.email),
    "CTE that deletes": ONE.add_cte(sa.delete(users).cte("gone")),
    "UNION": EMAILS.where(OWN).union(EMAILS),
    "UNION ALL": EMAILS.union_all(EMAILS.where(OWN)),
    "INTERSECT in a subquery": sa.select(EMAILS.intersect(EMAILS.where(OWN)).subquery().c.email),
    # ── other names for a table
    "alias without tenant": sa.select(U.c.email),
    "alias beside its named table": sa.select(U.c.email).where(OWN),
    "tablesample": sa.select(users.tablesample(100)).where(OWN),
    "a table that is not of the schema": sa.select(sa.column("email")).select_from(sa.table("users")),
    "the table out of another schema": sa.select(sa.Table("users", sa.MetaData(), sa.Column("email", sa.String()))),
    # ── inserts
    "insert without tenant": sa.insert(users).values(email="x"),
    "insert without values": sa.insert(users),
    "insert with another tenant": sa.insert(users).values(tenant_id=OTHER),
    "insert with another parameter": sa.insert(users).values(tenant_id=sa.bindparam("tenant", type_=sa.Uuid())),
    "insert of many": sa.insert(users).values([{**NEW}, {**NEW, "tenant_id": OTHER}]),
    "insert from select without tenant": sa.insert(users).from_select(["tenant_id"], sa.select(sessions.c.tenant_id)),
    "insert from select of another": sa.insert(users).from_select(["tenant_id"], sa.select(sa.literal(OTHER))),
    "insert from select that sets another column": sa.insert(users).from_select(["id"], sa.select(TENANT)),
    "insert from union": sa.insert(users).from_select(
        ["tenant_id"], sa.select(TENANT).union_all(sa.select(sa.literal(OTHER)))
    ),
    "insert from select that reads all": sa.insert(users).from_select(
        ["tenant_id", "email"], sa.select(TENANT, users.c.email)
    ),
    "insert of another's value": sa.insert(users).values(tenant_id=TENANT, email=EMAILS.scalar_subquery()),
    "insert that yields where": sqlite.insert(users).values(**NEW).on_conflict_do_nothing(index_elements=["id"]),
    "insert that yields and brings no tenant": sqlite.insert(users).values(email="x").on_conflict_do_nothing(),
    "insert into the counter": sa.insert(revocation_counter),
    "insert of a tenant": sa.insert(tenants),
    "upsert on SQLite": sqlite.insert(users)
    .values(**NEW)
    .on_conflict_do_update(index_elements=[users.c.id], set_={"email": "x"}),
    "upsert on PostgreSQL": postgresql.insert(users)
    .values(**NEW)
    .on_conflict_do_update(index_elements=[users.c.id], set_={"email": "x"}),
    # ── updates and deletes
    "update all": sa.update(users).values(status="disabled"),
    "update by id": sa.update(users).where(users.c.id == OTHER).values(status="disabled"),
    "update setting tenant_id": sa.update(users).where(OWN).values(tenant_id=OTHER),
    "update setting its own tenant_id": sa.update(users).where(OWN).values({users.c.tenant_id: TENANT}),
    "ordered update setting tenant_id": sa.update(users).where(OWN).ordered_values((users.c.tenant_id, OTHER)),
    "update from another table": sa.update(roles).where(OWN_ROLES, roles.c.name == users.c.username).values(name="x"),
    "update to another table's value": sa.update(roles).where(OWN_ROLES).values(name=users.c.email),
    "update to another's value": sa.update(roles).where(OWN_ROLES).values(name=EMAILS.scalar_subquery()),
    "update returning others": sa.update(roles).where(OWN_ROLES).values(name="x").returning(EMAILS.scalar_subquery()),
    "update of the counter to another table's value": sa.update(revocation_counter).values(last_seq=users.c.created_at),
    "update of an alias": sa.update(U).where(OWN).values(email="x"),
    "update of a platform table by another's rows": sa.update(tenants).where(tenants.c.name == users.c.email),
    "update of a tenant": sa.update(tenants).where(tenants.c.id == TENANT).values(status="active"),
    "update of a revocation": sa.update(token_revocations)
    .where(token_revocations.c.tenant_id == TENANT)
    .values(expires_at=0),
    "delete of revocations": sa.delete(token_revocations).where(token_revocations.c.tenant_id == TENANT),
    "delete of the counter": sa.delete(revocation_counter),
    "select of keys": sa.select(signing_keys.c.private_key),
    "select of secrets": sa.select(service_secrets.c.sealed),
    "delete all": sa.delete(users),
    "delete by id": sa.delete(users).where(users.c.id == OTHER),
    "delete using another table": sa.delete(roles).where(OWN_ROLES, roles.c.name == users.c.username),
    "delete by others": sa.delete(users).where(OWN, users.c.id.in_(sa.select(sessions.c.user_id))),
    "delete of an alias": sa.delete(U).where(OWN),
    # ── text, and what isn't a query
    "text": sa.text("SELECT email FROM users"),
    "text with columns": sa.text("SELECT email FROM users").columns(users.c.email),
    "text as a condition": EMAILS.where(OWN, sa.text("1 = 1")),
    "text as a table": sa.select(sa.column("email")).select_from(sa.text("users")),
    "text as a column": sa.select(sa.literal_column("(SELECT email FROM users)")),
    "text as an operator": EMAILS.where(OWN, users.c.email.op("= '' OR '' =")("")),
    "text as a prefix": EMAILS.where(OWN).prefix_with("email FROM users --"),
    "text as a suffix": EMAILS.where(OWN).suffix_with("OR 1 = 1"),
    "text as a hint": EMAILS.where(OWN).with_statement_hint("OR 1 = 1"),
    "text as a value": sa.update(users).where(OWN).values(email=sa.literal_column("(SELECT email FROM users)")),
    "DDL": sa.DDL("DROP TABLE users"),
    "drop": sa.schema.DropTable(users),
    "a bare function": sa.func.now(),
}

TAKEN: dict[str, Any] = {
    "select": EMAILS.where(OWN),
    "more conditions": EMAILS.where(OWN, users.c.status == "active", sa.or_(users.c.id == OTHER, users.c.id.is_(None))),
    "nested AND": EMAILS.where(sa.and_(users.c.status == "active", sa.and_(OWN, users.c.id == OTHER))),
    "no tenant table": sa.select(tenants.c.status).where(tenants.c.id == TENANT),
    "nothing at all": ONE,
    "join, both in WHERE": EMAILS.select_from(sessions.join(users, SAME)).where(OWN, sessions.c.tenant_id == TENANT),
    "join, one in its ON": EMAILS.select_from(sessions.join(users, sa.and_(OWN, SAME))).where(
        sessions.c.tenant_id == TENANT
    ),
    "outer join, right in its ON": EMAILS.select_from(
        users.outerjoin(sessions, sa.and_(sessions.c.tenant_id == TENANT, SAME))
    ).where(OWN),
    "subquery": sa.select(EMAILS.where(OWN).subquery().c.email),
    "EXISTS": ONE.where(EMAILS.where(OWN).exists()),
    "IN": EMAILS.where(OWN, users.c.id.in_(sa.select(sessions.c.user_id).where(sessions.c.tenant_id == TENANT))),
    "scalar": sa.select(EMAILS.where(OWN).scalar_subquery()),
    "CTE": sa.select(EMAILS.where(OWN).cte().c.email),
    "UNION": EMAILS.where(OWN).union(sa.select(roles.c.name).where(OWN_ROLES)),
    "FOR UPDATE": EMAILS.where(OWN).with_for_update(),
    "insert": sa.insert(users).values(**NEW),
    "insert that yields": sqlite.insert(users).values(**NEW).on_conflict_do_nothing(),
    "insert that yields on PostgreSQL": postgresql.insert(users).values(**NEW).on_conflict_do_nothing(),
    "insert from select": sa.insert(users).from_select(["tenant_id", "email"], sa.select(TENANT, sa.literal("x"))),
    "alias": sa.select(U.c.email).where(U.c.tenant_id == TENANT),
    "alias beside its table": sa.select(U.c.email).where(U.c.tenant_id == TENANT, OWN, U.c.id == users.c.id),
    "update": sa.update(users).where(OWN, users.c.id == OTHER).values(status="disabled"),
    "update by its own column": sa.update(sessions)
    .where(sessions.c.tenant_id == TENANT)
    .values(replays=sessions.c.replays),
    "update elsewhere": sa.update(revocation_counter).values(last_seq=1),
    "delete": sa.delete(users).where(OWN),
}

PLATFORM = (
    {
        ("payymo.apikeys.store", "_FIND_ANYWHERE"),
        *(("payymo.webhooks.store", name) for name in ("_LOCK_CLAIMS", "_PRUNE_SECRETS")),
        *(
            ("payymo.webhooks.progress", name)
            for name in (
                *("_READY", "_PICK", "_CLAIM", "_COUNT_FAILING", "_OLDEST_WAITING", "_OLDEST_UNREAD"),
                *("_OLD", "_PRUNE"),
            )
        ),
    }
    | {
        ("payymo.audit.store", name)
        for name in (
            *(
                "_WAITING",
                "_BACKLOG",
                "_BEGIN",
                "_LOCK",
                "_TAKE",
                "_ADD_EVENTS",
                "_ADD_PAYLOADS",
                "_PUT_TILES",
                "_ADVANCE",
            ),
            *("_TILE", "_UNSIGNED", "_ADD_CHECKPOINT", "_NEWEST_CHECKPOINT"),
            *("_REPLACE_CHECKPOINT", "_MARK_DAMAGED", "_HEADS", "_HEAD"),
            *("_OF_PLATFORM.list", "_OF_PLATFORM.count", "_OF_PLATFORM.reseal"),
        )
    }
    | {
        ("payymo.certificates.store", name)
        for name in (
            "_LIST",
            "_OF_NAME",
            "_ALIVE",
            "_ACTIVE",
            "_ACTIVE_VERSION",
            "_LOCK",
            "_ADD",
            "_FILL",
            "_ACTIVATE",
            "_STEP_DOWN",
            "_RESCHEDULE",
            "_DESTROY",
            "_WARN",
            "_REVOKED_PIN",
            "_WITH_PIN",
            "_LIST_SEALED",
            "_COUNT_SEALED",
            "_RESEAL",
        )
    }
    | {
        ("payymo.keys.store", name)
        for name in (
            "_EVER",
            "_LIST",
            "_LOCK",
            "_ADD",
            "_MOVE",
            "_ACTIVATE",
            "_RETIRE",
            "_EXPIRE",
            "_DROP_NEXT",
            "_RETIRE_NEXT",
            "_LEFTOVERS",
            "_FORGET_LOCATION",
            "_REVOKE",
            "_KNOWN",
            "_LENGTHEN",
            "_LIST_SEALED",
            "_COUNT_SEALED",
            "_RESEAL",
        )
    }
    | {
        ("payymo.secrets.master_rows", name)
        for name in ("_ADD_MASTER", "_DROP_MASTER", "_LEAVE", "_LOCK_MASTERS", "_MAKE_CURRENT")
    }
    | {
        ("payymo.secrets.key_rows", name)
        for name in (
            *("_SERVICE_PURPOSES", "_SHRED", "_TENANT_PURPOSES"),
            *(f"_OF_TENANTS.{name}" for name in ("list_wrapped", "oldest", "count_wrapped", "rewrap")),
            *(f"_OF_SERVICE.{name}" for name in ("list_wrapped", "oldest", "count_wrapped", "rewrap")),
            *(f"_OF_SERVICE.{name}" for name in ("add", "by_id", "drop", "newest", "older")),
        )
    }
    | {
        ("payymo.secrets.store", name)
        for name in (
            *(f"_SERVICE_SECRETS.{name}" for name in ("add", "last", "list_all", "newest", "one", "retire")),
            *(f"_SERVICE_SECRETS.{name}" for name in ("count_sealed", "list_sealed", "reseal")),
        )
    }
    | {("payymo.attempts.store", name) for name in ("_PRUNE_ATTEMPTS", "_PRUNE_FAILURES", "_PRUNE_MINUTES")}
    | {("payymo.attempts.device_rows", "_PRUNE_DEVICES")}
    | {("payymo.attempts.notice_rows", name) for name in ("_PRUNE_NOTICES", "_UNTOLD")}
    | {
        ("payymo.limits.store", name)
        for name in (
            *("_ADD_USAGE", "_USAGE", "_PRUNE_USAGE", "_HOW_MANY", "_OF_CLIENTS", "_OF_TENANTS"),
            *("_SET_CLIENT", "_SET_TENANT", "_UNSET_CLIENT", "_UNSET_TENANT"),
        )
    }
    | {("payymo.feed.store", name) for name in ("_ADD_FOR_SERVICE", "_MADE_AT", "_NONCES", "_PRUNE", "READ")}
    | {
        ("payymo.guards.store", name)
        for name in (
            *("_ADD_CREDENTIAL", "_END", "_END_EXPIRED", "_LIST_CREDENTIALS", "_NOTE_USE", "_PLACE", "_SAVE_PLACE"),
            *("_ADD_FOLLOWER", "_COUNT_ALL", "_COUNT_OF_CREDENTIAL", "_FORGET", "_LIST_FOLLOWERS", "_LIST_SINCE"),
            *("_PRUNE", "_REPORT"),
        )
    }
    | {("payymo.links.store", "_PRUNE"), ("payymo.users.store", "_REMOVE_UNVERIFIED")}
    | {("payymo.mail.store", name) for name in ("_ANY_DUE", "_BACKLOG", "_CLAIM", "_PICK", "_PRUNE", "_STUCK")}
    | {("payymo.audit.search", name) for name in ("_NEWEST", "_TILES")}
    | {
        ("payymo.audit.pruning", name)
        for name in (
            *(
                "_SWEEP",
                "_FIRST_THERE",
                "_RETENTION",
                "_FORGET_ERASURE",
                "_KEEP",
                "_UNSET_RETENTION",
                "_THIN",
                "_ADVANCE",
            ),
            *(
                "_SWEEP_PAYLOADS",
                "_LOCK_PAYLOADS",
                "_SET_RETENTION",
                "_LOCK",
                "_SIGNED_BY_THEN",
                "_ERASURES",
                "_LOGS",
                "_AT",
                "_FIRST",
                "_OTHER",
            ),
            *("_NEXT", "_ERASE", "_LOCK_ERASED"),
        )
    }
    | {
        ("payymo.sessions.ending_rows", "_PRUNE"),
        ("payymo.tenants.store", "_ADD"),
        ("payymo.tenants.store", "_BY_HOST"),
        ("payymo.tenants.store", "_BY_ID"),
        ("payymo.tenants.store", "_BY_SLUG"),
        ("payymo.tenants.store", "_DELETE"),
        ("payymo.tenants.store", "_LOCK"),
        ("payymo.tenants.store", "_DELETE_SOME"),
        ("payymo.tenants.store", "_LIST"),
        ("payymo.tenants.store", "_SET_STATUS"),
    }
)
"""Run by `work.platform()` alone: keys, secrets, guards, tenants, the feed as a whole, and cleaners."""
PARTS = {
    ("payymo.feed.store", "_OF_SERVICE"),
    ("payymo.feed.store", "_OF_TENANTS"),
    ("payymo.links.store", "_EXPIRED"),
    ("payymo.mail.store", "_OLD"),
    ("payymo.sessions.ending_rows", "_EXPIRED"),
    ("payymo.sessions.store", "_SELECT"),
    ("payymo.users.store", "_NEVER_VERIFIED"),
}
"""What is no statement yet: others are made from it, and no function runs it."""


@pytest.mark.parametrize("statement", REFUSED.values(), ids=REFUSED)
def test_a_statement_without_its_tenant_is_refused(statement: Any) -> None:
    """Invariant 10: what doesn't plainly keep to its tenant never reaches the database, each time it is tried."""
    for _ in range(2):
        with pytest.raises(TenantWallBreached):
            require_tenant(statement)


@pytest.mark.parametrize("statement", TAKEN.values(), ids=TAKEN)
def test_a_statement_that_names_its_tenant_is_taken(statement: Any) -> None:
    """The wall has doors: each of these keeps to its tenant, and runs; the second time without examination."""
    for _ in range(2):
        require_tenant(statement)


@pytest.mark.parametrize("table", TENANT_TABLES, ids=lambda table: table.name)
def test_every_tenant_table_is_examined(table: sa.Table) -> None:
    """Invariant 10: none of the tenant tables is forgotten, for reading or for writing."""
    own = table.c.tenant_id == TENANT
    for bare in (sa.select(table), sa.update(table), sa.delete(table), sa.insert(table)):
        with pytest.raises(TenantWallBreached):
            require_tenant(bare)
    require_tenant(sa.select(table).where(own))
    with pytest.raises(TenantWallBreached):
        require_tenant(sa.select(sa.literal(1)).where(sa.exists(sa.select(table))))
    assert {found for found in metadata.sorted_tables if "tenant_id" in found.c} == set(TENANT_TABLES)


def test_the_table_of_tenants_is_examined_too() -> None:
    """Invariant 10: the tenant's own row, by its own identifier, whatever the table is called meanwhile."""
    other = tenants.alias("other")
    for bare in (
        sa.select(tenants),
        sa.select(tenants).where(tenants.c.slug == "acme"),
        sa.select(tenants, other).where(tenants.c.id == TENANT),
        sa.select(sa.literal(1)).where(sa.exists(sa.select(other.c.id))),
    ):
        with pytest.raises(TenantWallBreached):
            require_tenant(bare)
    require_tenant(sa.select(tenants.c.status).where(tenants.c.id == TENANT))
    require_tenant(sa.select(other.c.status).where(other.c.id == TENANT))


def store_statements() -> Iterator[tuple[str, str, sa.Executable]]:
    """Every statement that a store holds as a constant."""
    for package in pkgutil.iter_modules(payymo.__path__, "payymo."):
        if package.ispkg:
            for module in pkgutil.iter_modules([f"{payymo.__path__[0]}/{package.name[7:]}"]):
                if module.name == "store" or module.name.endswith("_rows"):
                    yield from statements_of(f"{package.name}.{module.name}")
    for beside in (
        "payymo.audit.following",
        "payymo.audit.pruning",
        "payymo.audit.search",
        "payymo.webhooks.progress",
    ):
        yield from statements_of(beside)


def statements_of(path: str) -> Iterator[tuple[str, str, sa.Executable]]:
    """Those of one module."""
    module = importlib.import_module(path)
    for name, value in vars(module).items():
        if name[:2] != "__":
            yield from ((module.__name__, *found) for found in statements_in(name, value, module.__name__))


def statements_in(name: str, value: Any, module: str) -> Iterator[tuple[str, sa.Executable]]:
    """The statement, or those in a list, in a dictionary, or in an object of the store's own."""
    if isinstance(value, sa.Executable) and isinstance(value, sa.ClauseElement):
        yield name, value
    elif isinstance(value, dict | list):
        for found in value.values() if isinstance(value, dict) else value:
            yield from statements_in(name, found, module)
    elif type(value).__module__ == module:
        for member, found in vars(value).items():
            yield from statements_in(f"{name}.{member}", found, module)


def test_every_statement_of_the_stores_names_its_tenant() -> None:
    """Invariant 10: what the service runs keeps to its tenant, but for a list of platform statements that is exact."""
    refused, examined = set(), set()
    for module, name, statement in store_statements():
        examined.add(module)
        try:
            require_tenant(statement)
        except TenantWallBreached:
            refused.add((module, name))
    assert {f"payymo.{owner}.store" for owner in ("keys", "roles", "sessions", "tenants", "users")} <= examined
    assert refused == PLATFORM | PARTS


def test_a_question_names_its_tenant_too(house: House) -> None:
    """Invariant 10: the look-up outside of transactions is examined on both databases, when it is made."""
    with pytest.raises(TenantWallBreached):
        Question(house.services.engine, EMAILS)
    with pytest.raises(TenantWallBreached):
        house.services.work.question(sa.text("SELECT email FROM users"))


# ── the unit of work, on both databases ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, copied: Copied, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One service on each kind of database for all tests here: what they try is refused, and undone."""
    with copied(request.param, tmp_path_factory.mktemp("walls")) as database:
        built = House(database)
        yield built
        built.close()


@pytest.fixture(scope="module")
def sides(house: House) -> tuple[Side, Side]:
    """Two tenants with rows in every tenant table."""
    return build_sides(house)


def outcome(work: Work, tenant_id: uuid.UUID, statement: Any, values: Any = None) -> list[Any] | None:
    """What a statement answers in a tenant's work; None when it was refused, by us or by the database."""
    try:
        with work(tenant_id) as tx:
            result = tx.execute(statement, values)
            return list(result.all()) if result.returns_rows else [result.rowcount]
    except (PayymoError, DBAPIError):
        return None


@pytest.mark.parametrize("table", TENANT_TABLES, ids=lambda table: table.name)
def test_work_of_b_never_meets_a(house: House, sides: tuple[Side, Side], table: sa.Table) -> None:
    """Invariant 10: no answer of tenant B holds tenant A's data, and nothing of A changes, though the code is wrong."""
    a, b = (side.tenant.id for side in sides)
    work = house.services.work
    before = contents(house)
    own = table.c.tenant_id == TENANT
    for statement in (sa.select(table.c.tenant_id), sa.select(table.c.tenant_id).where(table.c.tenant_id == a)):
        assert {row[0] for row in outcome(work, b, statement) or ()} <= {b}
    assert {row[0] for row in outcome(work, b, sa.select(table.c.tenant_id).where(own)) or ()} == {b}
    key = next(column for column in table.c if column.name != "tenant_id")
    guessed = table.c.tenant_id == a
    row: dict[str, Any] = {column.name: 1 for column in table.c if column.name != "tenant_id"}
    for column in table.c:
        if isinstance(column.type, sa.Uuid | sa.LargeBinary) and column.name in row:
            row[column.name] = OTHER if isinstance(column.type, sa.Uuid) else b"x"
    for statement in (
        sa.update(table).where(guessed).values({key: key}),
        sa.update(table).where(own).values(tenant_id=a),
        sa.delete(table).where(guessed),
        sa.insert(table).values(tenant_id=a, **row),
        sa.insert(table).from_select(["tenant_id", *row], sa.select(sa.literal(a), *map(sa.literal, row.values()))),
    ):
        assert outcome(work, b, statement) in (None, [0]), statement
    assert contents(house) == before


@pytest.mark.parametrize("name", ["tenant_id", TENANT.key])
def test_a_statement_that_brings_its_own_tenant_is_refused(house: House, sides: tuple[Side, Side], name: str) -> None:
    """Invariant 10: only the unit of work says whose it is; a parameter can't, alone or in a list."""
    a, b = (side.tenant.id for side in sides)
    for opened in (house.services.work, house.services.work.reading):
        for values in ({name: a}, {name: b}, [{"of_id": b}, {name: a}]):
            with pytest.raises(TenantWallBreached), opened(b) as tx:
                tx.execute(EMAILS.where(OWN), values)


def test_a_tenant_bound_beforehand_is_overruled(house: House, sides: tuple[Side, Side]) -> None:
    """Invariant 10: a value that was put into the statement itself gives way to the unit of work's."""
    a, b = (side.tenant.id for side in sides)
    bound = sa.select(users.c.tenant_id).where(OWN).params({TENANT.key: a})
    valued = sa.select(users.c.tenant_id).where(users.c.tenant_id == sa.bindparam(TENANT.key, a, type_=sa.Uuid()))
    for statement in (bound, valued):
        with house.services.work.reading(b) as tx:
            assert set(tx.execute(statement).scalars()) == {b}


def test_a_breach_is_an_internal_error_and_rolls_back(house: House, sides: tuple[Side, Side]) -> None:
    """Invariant 10: what was written before the breach in the same work is undone, and the answer names no table."""
    _, b = sides
    before = contents(house)
    disable = sa.update(users).where(OWN).values(status="disabled")
    with pytest.raises(TenantWallBreached) as breach, house.services.work(b.tenant.id) as tx:
        tx.execute(EMAILS.where(OWN), {"tenant_id": tx.execute(disable).rowcount})
    assert breach.value.code == "internal_error"
    assert "users" not in breach.value.detail
    assert contents(house) == before
