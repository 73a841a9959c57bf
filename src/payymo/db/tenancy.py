"""The tenant wall for databases without row-level security: no statement runs that doesn't name its tenant.

The rule is syntactic and simple, so that it can be trusted: each walled table (or alias of one) in a statement is
compared, as `table.tenant_id = TENANT` or `tenants.id = TENANT`, in a condition that every row has to meet: the
top-level AND of WHERE, or the ON of the join that brings the table in. Inserts set `tenant_id` to TENANT, updates never
set it. What may be done to which table is the same as what PostgreSQL grants the runtime role. Anything cleverer is
refused.
"""

import weakref
from collections.abc import Iterator
from typing import Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy.sql import ClauseElement, operators, visitors
from sqlalchemy.sql.dml import Delete, Insert, Update
from sqlalchemy.sql.selectable import FromGrouping

from payymo.db import schema
from payymo.errors import PayymoError

Act = Literal["SELECT", "INSERT", "UPDATE", "DELETE"]
ALL_ACTS: Final[frozenset[Act]] = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})
ALLOWED: Final[dict[sa.Table, frozenset[Act]]] = dict.fromkeys(schema.TENANT_TABLES, ALL_ACTS) | {
    schema.tenants: frozenset[Act]({"SELECT"}),
    schema.data_keys: frozenset[Act]({"SELECT", "INSERT", "DELETE"}),
    schema.master_keys: frozenset[Act]({"SELECT"}),
    schema.token_revocations: frozenset[Act]({"SELECT", "INSERT"}),
    schema.revocation_counter: frozenset[Act]({"SELECT", "UPDATE"}),
    schema.tenant_limits: frozenset[Act]({"SELECT"}),
    schema.audit_inbox: frozenset[Act]({"SELECT", "INSERT"}),
    schema.audit_logs: frozenset[Act]({"SELECT"}),
    schema.audit_events: frozenset[Act]({"SELECT"}),
    schema.audit_payloads: frozenset[Act]({"SELECT", "UPDATE"}),
    schema.audit_tiles: frozenset[Act]({"SELECT"}),
    schema.audit_checkpoints: frozenset[Act]({"SELECT"}),
    schema.audit_retention: frozenset[Act]({"SELECT"}),
    schema.audit_erasures: frozenset[Act]({"SELECT", "INSERT"}),
    schema.api_keys: frozenset[Act]({"SELECT", "INSERT", "UPDATE"}),
}
"""What tenant work may do to which table. A test holds it to what PostgreSQL grants the runtime role."""

_TEXT_BESIDE = ("_prefixes", "_suffixes", "_hints", "_statement_hints")
"""Where SQLAlchemy keeps pieces of SQL text that are no elements of the tree."""


class TenantWallBreached(PayymoError):
    """A statement touches a tenant table without naming the tenant: a bug in our code, stopped before it ran."""

    code = "internal_error"


_examined: "weakref.WeakSet[ClauseElement]" = weakref.WeakSet()


def require_tenant(statement: sa.Executable) -> None:
    """Refuse a statement that could see or change another tenant's rows.

    Raises TenantWallBreached. Statements are module constants, so each is examined once.
    """
    whole: Any = statement
    if not isinstance(whole, sa.Select | sa.CompoundSelect | Insert | Update | Delete):
        raise TenantWallBreached(private="tenant work runs built statements: no text, functions or definitions")
    if whole in _examined:
        return
    for part in visitors.iterate(whole):
        _require_no_text(part)
        match part:
            case sa.Select():
                _require_select(part)
            case Insert():
                _require_insert(part)
            case Update() | Delete():
                _require_change(part)
            case _:
                pass
    _examined.add(whole)


def _require_no_text(part: Any) -> None:
    """Text could say anything, also where it looks harmless: in a prefix, a hint, an operator, a literal column."""
    is_text = (
        isinstance(part, sa.TextClause)
        or getattr(part, "is_literal", False)
        or isinstance(getattr(part, "operator", None), operators.custom_op)
        or any(getattr(part, place, None) for place in _TEXT_BESIDE)
    )
    if is_text:
        raise TenantWallBreached(private="a statement with text inside")


def _require_select(select: sa.Select[Any]) -> None:
    named = _named(select.whereclause)
    missing: set[sa.FromClause] = set()
    for source in select.get_final_froms():
        named |= _named_by_joins(source)
        missing |= _tables(source)
    _require(missing - named)


def _require_insert(insert: Insert) -> None:
    _require_allowed(insert.table, "INSERT")
    if not _yields_at_most(insert._post_values_clause):
        raise TenantWallBreached(private="an insert that may change the row that is in its way")
    if insert.table not in schema.TENANT_TABLES:
        return
    if insert.select is not None:
        names = [column if isinstance(column, str) else column.key for column in insert._select_names or ()]
        values = list(insert.select.exported_columns) if isinstance(insert.select, sa.Select) else []
        value = dict(zip(names, values, strict=True)).get("tenant_id") if len(names) == len(values) else None
        value = getattr(value, "element", value)
    else:
        value = {_key(column): value for column, value in (insert._values or {}).items()}.get("tenant_id")
    if not _is_the_tenant(value):
        raise TenantWallBreached(private=f"an insert into {insert.table} does not set its tenant")


def _yields_at_most(clause: Any) -> bool:
    """No ON CONFLICT, or ON CONFLICT DO NOTHING without more words."""
    words = ("constraint_target", "inferred_target_elements", "inferred_target_whereclause")
    return clause is None or (
        clause.__visit_name__ == "on_conflict_do_nothing" and all(getattr(clause, word, None) is None for word in words)
    )


def _require_change(change: Update | Delete) -> None:
    """Tables that a condition or a value mentions are joined to the one that is changed (UPDATE … FROM): they count."""
    _require_allowed(change.table, "UPDATE" if isinstance(change, Update) else "DELETE")
    values = (change._values or {}).values() if isinstance(change, Update) else ()
    missing: set[sa.FromClause] = _tables(change.table)
    for part in (change.whereclause, *values):
        for source in getattr(part, "_from_objects", ()):
            missing |= _tables(source)
    _require(missing - _named(change.whereclause))
    if isinstance(change, Update) and "tenant_id" in _set_columns(change):
        raise TenantWallBreached(private="an update sets tenant_id")


def _require(unnamed: set[sa.FromClause]) -> None:
    for table in unnamed:
        raise TenantWallBreached(private=f"a statement on {table} does not name its tenant")


def _require_allowed(table: Any, act: Act) -> None:
    if act not in ALLOWED.get(table, ()):
        raise TenantWallBreached(private=f"tenant work may not {act} {table}")


def _tables(source: Any) -> set[sa.FromClause]:
    """The tenant tables, and aliases of such, that a FROM brings in.

    Subqueries and CTEs are selects of their own and examined as such. What we don't know is refused.
    """
    found: set[sa.FromClause] = set()
    waiting = [source]
    while waiting:
        match waiting.pop():
            case sa.Join(left=left, right=right):
                waiting += [left, right]
            case FromGrouping(element=element):
                waiting.append(element)
            case sa.Alias(element=sa.Table() as table) | (sa.Table() as table) as found_here:
                _require_allowed(table, "SELECT")
                if table in schema.WALLED:
                    found.add(found_here)
            case sa.Subquery() | sa.CTE():
                pass
            case unknown:
                raise TenantWallBreached(private=f"a statement reads from {type(unknown).__name__}")
    return found


def _named_by_joins(source: Any) -> set[sa.FromClause]:
    """Tables whose own ON names the tenant. It restricts only what the join brings in, its right side.

    A full join keeps the rows of both sides, whatever its ON says.
    """
    if not isinstance(source, sa.Join) or source.full:
        return set()
    return (_named(source.onclause) & _tables(source.right)) | _named_by_joins(source.left)


def _named(condition: Any) -> set[sa.FromClause]:
    """Tables and aliases that a condition, which every row has to meet, compares with the tenant."""
    return {
        part.left.table
        for part in _conjuncts(condition)
        if isinstance(part, sa.BinaryExpression)
        and part.operator is operators.eq
        and isinstance(part.left, sa.Column)
        and isinstance(part.left.table, sa.Table | sa.Alias)
        and _says_whose(part.left)
        and _is_the_tenant(part.right)
    }


def _says_whose(column: sa.Column[Any]) -> bool:
    table = column.table.element if isinstance(column.table, sa.Alias) else column.table
    return table in schema.WALLED and schema.WALLED[table].key == column.key


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
