"""The tenant wall for databases without row-level security: no statement runs that doesn't name its tenant.

The rule is syntactic and simple, so that it can be trusted: each tenant table in a statement is compared, as
`table.tenant_id = TENANT`, in a condition that every row has to meet (the top-level AND of WHERE, or the ON of the join
that brings the table in). Inserts set `tenant_id` to TENANT, updates never set it. Anything cleverer is refused.
"""

import weakref
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql import ClauseElement, operators, visitors
from sqlalchemy.sql.dml import Delete, Insert, Update

from payymo.db import schema
from payymo.errors import PayymoError


class TenantWallBreached(PayymoError):
    """A statement touches a tenant table without naming the tenant: a bug in our code, stopped before it ran."""

    code = "internal_error"


_examined: "weakref.WeakSet[ClauseElement]" = weakref.WeakSet()


def require_tenant(statement: sa.Executable) -> None:
    """Refuse a statement that could see or change another tenant's rows.

    Raises TenantWallBreached. Statements are module constants, so each is examined once.
    """
    whole: Any = statement
    if not isinstance(whole, ClauseElement) or isinstance(whole, sa.TextClause):
        raise TenantWallBreached(private="tenant work runs built statements, no text")
    if whole in _examined:
        return
    for part in visitors.iterate(whole):
        match part:
            case sa.Select():
                _require_select(part)
            case Insert():
                _require_insert(part)
            case Update() | Delete():
                _require(_tables(part.table) - _named(part.whereclause))
            case sa.TextClause():
                raise TenantWallBreached(private="a statement with text inside")
            case _:
                pass
        if isinstance(part, Update) and "tenant_id" in _set_columns(part):
            raise TenantWallBreached(private="an update sets tenant_id")
    _examined.add(whole)


def _require_select(select: sa.Select[Any]) -> None:
    named = _named(select.whereclause)
    missing: set[sa.Table] = set()
    for source in select.get_final_froms():
        named |= _named_by_joins(source)
        missing |= _tables(source)
    _require(missing - named)


def _require_insert(insert: Insert) -> None:
    if insert.table not in schema.TENANT_TABLES:
        return
    if insert.select is not None:
        names = [column if isinstance(column, str) else column.key for column in insert._select_names or ()]
        values = list(insert.select.exported_columns) if isinstance(insert.select, sa.Select) else []
        value = dict(zip(names, values, strict=False)).get("tenant_id")
        value = getattr(value, "element", value)
    else:
        value = {_key(column): value for column, value in (insert._values or {}).items()}.get("tenant_id")
    if not _is_the_tenant(value):
        raise TenantWallBreached(private=f"an insert into {insert.table} does not set its tenant")


def _require(unnamed: set[sa.Table]) -> None:
    for table in unnamed:
        raise TenantWallBreached(private=f"a statement on {table.name} does not name its tenant")


def _tables(source: Any) -> set[sa.Table]:
    """The tenant tables that a FROM brings in. Subqueries are selects of their own and examined as such."""
    found: set[sa.Table] = set()
    waiting = [source]
    while waiting:
        match waiting.pop():
            case sa.Join(left=left, right=right):
                waiting += [left, right]
            case sa.Alias(element=element):
                waiting.append(element)
            case sa.Table() as table if table in schema.TENANT_TABLES:
                found.add(table)
            case _:
                pass
    return found


def _named_by_joins(source: Any) -> set[sa.Table]:
    """Tables whose own ON names the tenant. It restricts only what the join brings in, its right side."""
    if not isinstance(source, sa.Join):
        return set()
    return (_named(source.onclause) & _tables(source.right)) | _named_by_joins(source.left)


def _named(condition: Any) -> set[sa.Table]:
    """Tables that a condition, which every row has to meet, compares with the tenant."""
    return {
        part.left.table
        for part in _conjuncts(condition)
        if isinstance(part, sa.BinaryExpression)
        and part.operator is operators.eq
        and isinstance(part.left, sa.Column)
        and part.left.key == "tenant_id"
        and isinstance(part.left.table, sa.Table)
        and _is_the_tenant(part.right)
    }


def _conjuncts(condition: Any) -> Iterator[Any]:
    if isinstance(condition, sa.BooleanClauseList) and condition.operator is operators.and_:
        for clause in condition.clauses:
            yield from _conjuncts(clause)
    elif condition is not None:
        yield condition


def _is_the_tenant(value: Any) -> bool:
    return isinstance(value, sa.BindParameter) and value.key == schema.TENANT.key


def _set_columns(update: Update) -> set[str]:
    return {_key(column) for column in update._values or {}}


def _key(column: Any) -> str:
    return column if isinstance(column, str) else str(column.key)
