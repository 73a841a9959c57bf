"""How a transaction ends: what it writes last, what it must not have forgotten, and what is told once it has committed.

A change of what is on record (`schema.UNRECORDED` says what is not) commits together with an event, or not at all.
Events are written last, so that transactions which wait for each other have theirs in the order in which they commit;
and in the round trip of the commit, so that they cost none of their own.
"""

import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.sql.dml import Delete, Insert, Update

from payymo.db import schema
from payymo.errors import PayymoError

ASIDE: Final = "payymo_aside"
"""An execution option of a statement whose change is not worth an event; its value says why. For what is only noted
besides, such as when a credential was used last."""
Value = bytes | uuid.UUID | None
Act = Callable[[], None]


class ChangeUnrecorded(PayymoError):
    """A transaction changed what is on record, and wrote no event: a bug in our code, stopped before it committed."""

    code = "internal_error"


class Closing:
    """What one transaction does at its end. A transaction within another one shares it."""

    def __init__(self) -> None:
        self._rows: list[tuple[sa.Table, dict[str, Value]]] = []
        self._acts: list[Act] = []
        self._changes: list[tuple[str, sa.CursorResult[Any]]] = []

    def write(self, table: sa.Table, row: Mapping[str, Value]) -> None:
        """Insert this last."""
        self._rows.append((table, dict(row)))

    def then(self, act: Act) -> None:
        """Do this once it has committed."""
        self._acts.append(act)

    def note(self, statement: sa.Executable, result: sa.CursorResult[Any]) -> None:
        """Remember what a statement may have changed; how many rows is known when they have been fetched."""
        if not isinstance(statement, Insert | Update | Delete) or statement.table in schema.UNRECORDED:
            return
        if ASIDE not in statement.get_execution_options():
            self._changes.append((str(statement.table), result))

    def end(self, connection: sa.Connection) -> None:
        """Write what is written last; on PostgreSQL the transaction has committed then. Raises ChangeUnrecorded."""
        if not self._rows:
            if changed := {table for table, result in self._changes if result.rowcount}:
                raise ChangeUnrecorded(private=f"{', '.join(sorted(changed))}: changed without an event")
        elif connection.dialect.name == "postgresql":
            inserts = "; ".join(_insert(table, row) for table, row in self._rows)
            connection.exec_driver_sql(f"{inserts}; COMMIT")
        else:
            for table, row in self._rows:
                connection.execute(_statement(table), row)

    def tell(self) -> None:
        """Do what is to be done after the commit."""
        for act in self._acts:
            act()


def _insert(table: sa.Table, row: Mapping[str, Value]) -> str:
    """SQL text of names from the schema, and of hexadecimal digits."""
    return f"INSERT INTO {table.name} ({', '.join(row)}) VALUES ({', '.join(map(_literal, row.values()))})"  # noqa: S608


def _literal(value: Value) -> str:
    match value:
        case None:
            return "NULL"
        case uuid.UUID():
            return f"'{value.hex}'"
        case bytes():
            return f"'\\x{value.hex()}'"


def _statement(table: sa.Table) -> sa.Insert:
    found = _statements.get(table)
    if found is None:
        found = _statements[table] = sa.insert(table)
    return found


_statements: dict[Any, sa.Insert] = {}
