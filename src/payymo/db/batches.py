"""Statements that forget what has run out, some of it at a time.

PostgreSQL gives a statement up after a few seconds. What nobody has forgotten for days would never be forgotten in one
statement: each try would be given up, and be tried again.
"""

import sqlalchemy as sa

COUNT = "count"
"""The parameter that says how many rows go at most."""


def forget_some(table: sa.Table, has_run_out: sa.ColumnElement[bool], *, oldest: sa.Column[int]) -> sa.Delete:
    """Delete some rows of which this holds, the oldest first. Rows that another cleaner has locked are left to it."""
    key = list(table.primary_key.columns)
    batch = sa.select(*key).where(has_run_out).order_by(oldest).limit(sa.bindparam(COUNT))
    return sa.delete(table).where(sa.tuple_(*key).in_(batch.with_for_update(skip_locked=True)))
