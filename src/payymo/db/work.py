"""The unit of work: one transaction, bound to one tenant.

`with work(tenant_id) as tx:` begins; leaving commits, an exception rolls back. On PostgreSQL the transaction runs as
`payymo_runtime` with the tenant in a transaction-local setting, and row-level security does the walling, whatever role
logged in. SQLite has none, so there each statement is checked before it runs: every tenant table in it has to be
compared with the tenant of the unit of work. `work.platform()` sees all tenants, and is easy to search for.
"""

import sqlite3
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from payymo.db import schema
from payymo.db.closing import Closing, Value
from payymo.db.columns import read_columns
from payymo.db.file import follow_file
from payymo.db.patience import arguments_for, open_patiently, take_time
from payymo.db.process import keep_to_process
from payymo.db.question import Question
from payymo.db.standby import leave_standby
from payymo.db.tenancy import TenantWallBreached, require_tenant
from payymo.db.wal import use_write_ahead_log
from payymo.errors import Misconfigured, TenantUnknown, Unavailable
from payymo.spans import Span, untraced

Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None


class Transaction:
    """What a step of a use case runs its statements on."""

    def __init__(
        self, connection: sa.Connection, tenant_id: uuid.UUID | None, *, checked: bool, closing: Closing | None
    ) -> None:
        self.tenant_id = tenant_id
        self._connection = connection
        self._checked = checked
        self._closing = closing

    @property
    def dialect(self) -> str:
        """`postgresql` or `sqlite`."""
        return self._connection.dialect.name

    @contextmanager
    def within(self, tenant_id: uuid.UUID) -> Iterator["Transaction"]:
        """The same transaction, seeing and writing one tenant's rows for a while. For platform work alone."""
        if self.tenant_id is not None:
            raise TenantWallBreached(private="tenant work stays in its tenant")
        is_postgres = self.dialect == "postgresql"
        if is_postgres:
            self._connection.exec_driver_sql(_NARROW.format(role=schema.RUNTIME_ROLE, tenant=tenant_id.hex))
        yield Transaction(self._connection, tenant_id, checked=not is_postgres, closing=self._closing)
        if is_postgres:  # after an exception there is nothing to go back to: it ends the transaction
            self._connection.exec_driver_sql(_NARROW.format(role=schema.PLATFORM_ROLE, tenant=""))

    def execute(self, statement: sa.Executable, parameters: Parameters = None) -> sa.CursorResult[*tuple[Any, ...]]:
        """Run one statement. In tenant work `schema.TENANT` is filled in here, and only here."""
        if self.tenant_id is None:
            return self._run(statement, parameters)
        if self._checked:
            require_tenant(statement)
        rows = parameters if isinstance(parameters, Sequence) else [parameters or {}]
        if any("tenant_id" in row or schema.TENANT.key in row for row in rows):
            raise TenantWallBreached(private="a statement brought its own tenant")
        bound = [{**row, schema.TENANT.key: self.tenant_id} for row in rows]
        return self._run(statement, bound if isinstance(parameters, Sequence) else bound[0])

    def _run(self, statement: sa.Executable, parameters: Parameters) -> sa.CursorResult[*tuple[Any, ...]]:
        result = self._connection.execute(statement, parameters)
        if self._closing is not None:
            self._closing.note(statement, result)
        return result

    def read_columns(self, statement: sa.Select[Any], **values: uuid.UUID | int) -> list[list[Any]]:
        """A list for each column, as the driver has it: for platform work that reads by the hundred thousand.

        Identifiers among the columns are to be cast to texts: what SQLAlchemy knows of types is left out.
        """
        if self.tenant_id is not None or self._closing is not None:
            raise TenantWallBreached(private="rows as they are, are for platform work that reads")
        try:
            return read_columns(self._connection, statement, values)
        except self._connection.dialect.loaded_dbapi.Error as error:
            raise Unavailable(private=type(error).__name__) from error

    def take_time(self) -> None:
        """Let statements take minutes from here on: for what concerns as many rows as there are, and is one change."""
        if self.dialect == "postgresql":
            take_time(self._connection)

    def write_last(self, table: sa.Table, row: Mapping[str, Value]) -> None:
        """Have a row inserted when everything else is done, in the round trip of the commit."""
        self._require_closing().write(table, row)

    def after_commit(self, act: Callable[[], None]) -> None:
        """Have something done once this has committed; never, if it is rolled back."""
        self._require_closing().then(act)

    def _require_closing(self) -> Closing:
        if self._closing is None:
            raise TenantWallBreached(private="a transaction that reads has nothing to write")
        return self._closing


class Work:
    """Opens transactions on one engine. The engine is built in `payymo.compose`."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._is_postgres = engine.dialect.name == "postgresql"
        self._questions: list[Question] = []
        self._span: Span = untraced

    def trace(self, span: Span) -> None:
        """Let a tracer hear of every transaction from now on."""
        self._span = span

    @contextmanager
    def __call__(self, tenant_id: uuid.UUID) -> Iterator[Transaction]:
        """A transaction that sees and writes one tenant's rows.

        Raises TenantUnknown: it was deleted a moment ago, and what was written refers to nothing.
        """
        try:
            with self._writing(schema.RUNTIME_ROLE, tenant_id) as tx:
                yield tx
        except IntegrityError:
            with self.platform(writes=False) as tx:
                if tx.execute(_TENANT, {"of_id": tenant_id}).scalar() is None:
                    raise TenantUnknown from None
            raise

    @contextmanager
    def reading(self, tenant_id: uuid.UUID) -> Iterator[Transaction]:
        """The same for look-ups alone. On SQLite it does not wait for a writer."""
        with self._transaction(schema.RUNTIME_ROLE, tenant_id.hex, writes=False) as connection:
            yield Transaction(connection, tenant_id, checked=not self._is_postgres, closing=None)

    @contextmanager
    def platform(self, *, writes: bool = True) -> Iterator[Transaction]:
        """A transaction across tenants: keys, tenants, pruning. Never handed anything that a tenant's user controls."""
        if writes:
            with self._writing(schema.PLATFORM_ROLE, None) as tx:
                yield tx
        else:
            with self._transaction(schema.PLATFORM_ROLE, "", writes=False) as connection:
                yield Transaction(connection, None, checked=False, closing=None)

    @contextmanager
    def _writing(self, role: str, tenant_id: uuid.UUID | None) -> Iterator[Transaction]:
        closing = Closing()
        tenant = "" if tenant_id is None else tenant_id.hex
        with self._transaction(role, tenant, writes=True) as connection:
            checked = tenant_id is not None and not self._is_postgres
            yield Transaction(connection, tenant_id, checked=checked, closing=closing)
            closing.end(connection)
        closing.tell()

    def question(self, statement: sa.Executable) -> Question:
        """A look-up that is asked over and over, in one round trip."""
        found = Question(self._engine, statement)
        self._questions.append(found)
        return found

    def close(self) -> None:
        """Give the connections back to the database."""
        self._engine.dispose()
        for question in self._questions:
            question.close()

    @contextmanager
    def _transaction(self, role: str, tenant: str, *, writes: bool) -> Iterator[sa.Connection]:
        first = _ENTER.format(role=role, tenant=tenant) if self._is_postgres else _WRITE if writes else "BEGIN"
        try:
            with (
                self._span("transaction"),
                self._engine.connect().execution_options(payymo_begin=first) as connection,
                begin(connection),
            ):
                yield connection
        except (OperationalError, PoolTimeout) as error:
            raise Unavailable(private=type(error).__name__) from error
        except DBAPIError as error:
            if error.connection_invalidated:
                raise Unavailable(private=type(error.orig).__name__) from error
            raise


def begin(connection: sa.Connection) -> sa.Transaction:
    """A connection that lay idle may have died unnoticed, as after a restart of the database.

    Nothing has happened on it yet, so another one may be begun on. The pool throws away all that are as old.
    """
    try:
        return connection.begin()
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        return connection.begin()


_TENANT = sa.select(schema.tenants.c.id).where(schema.tenants.c.id == sa.bindparam("of_id"))
_NARROW = "SET LOCAL ROLE {role}; SET LOCAL payymo.tenant = '{tenant}'"
_ENTER = f"BEGIN; {_NARROW}"
"""One round trip. What is filled in is a constant, and an identifier in hexadecimal digits."""
_WRITE = "BEGIN IMMEDIATE"
"""A writer on SQLite takes the write lock at once: two that upgrade a read lock would fail instead of waiting."""

_TIME = sa.text("SELECT extract(epoch FROM clock_timestamp())::double precision")


def database_time(work: Work) -> float | None:
    """What the database's clock says, in seconds since 1970; None: it has this machine's. Raises Unavailable."""
    with work.platform(writes=False) as tx:
        return None if tx.dialect == "sqlite" else float(tx.execute(_TIME).scalar_one())


@contextmanager
def reaching(engine: sa.Engine) -> Iterator[None]:
    """For what an operator does before there is a service: what the database refuses is raised as Misconfigured.

    The first line of its message says where and why, and holds no data (those stand in the lines after it).
    """
    try:
        yield
    except PoolTimeout:
        raise Misconfigured(["every connection to the database is in use"]) from None
    except DBAPIError as error:
        first, *_ = str(error.orig).splitlines() or [""]
        where = engine.url.database if engine.dialect.name == "sqlite" else engine.url.render_as_string()
        raise Misconfigured([f"the database {where} can't be used: {first}"]) from None


Engine = sa.Engine


def connect(url: str, *, pool_size: int = 10, timeout_seconds: int = 5) -> sa.Engine:
    """An engine with the settings that the unit of work relies on. Raises Misconfigured: not a URL that we take."""
    try:
        kind = sa.make_url(url).drivername
    except (ArgumentError, ValueError):
        kind = ""
    if kind not in {"sqlite", "postgresql+psycopg"} or (kind == "sqlite" and not sa.make_url(url).database):
        raise Misconfigured(
            ["the database URL can't be read: write postgresql://user:password@host:5432/name or sqlite:////path/file"]
        )
    if kind == "sqlite":
        arguments: dict[str, Any] = {"timeout": timeout_seconds}
        engine = sa.create_engine(
            url,
            pool_size=pool_size,
            pool_timeout=timeout_seconds,
            connect_args=arguments,
            execution_options={"payymo_connect_args": arguments},
        )
        event.listen(engine, "connect", _prepare_sqlite)
        follow_file(engine)
    else:
        arguments = arguments_for(sa.make_url(url), timeout_seconds=timeout_seconds)
        engine = sa.create_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=timeout_seconds,
            connect_args=arguments,
            execution_options={"payymo_connect_args": arguments},
            hide_parameters=True,
            use_native_hstore=False,  # there is none, and the first connection need not look for it
        )
        open_patiently(engine, timeout_seconds)
        event.listen(engine, "handle_error", leave_standby)
    keep_to_process(engine)
    event.listen(engine, "begin", _say_begin)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    """WAL lets readers go on while one writes; FULL makes an answered commit survive a power cut.

    Who was erased, and keys that were destroyed, are written over, which SQLite does by itself only if it was built so.
    """
    connection.isolation_level = None  # we say BEGIN ourselves
    use_write_ahead_log(connection)
    for pragma in ("synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _say_begin(connection: sa.Connection) -> None:
    default = _WRITE if connection.dialect.name == "sqlite" else "BEGIN"
    connection.exec_driver_sql(connection.get_execution_options().get("payymo_begin", default))
