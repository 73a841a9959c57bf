"""Moments that rows wait for: those that can't have been meant have come, too.

A clock that was ahead for a while wrote down moments that lie as far ahead. Who waited for them would wait for as long
after it was set right, which may be a year, and nobody but somebody at the database could end that.
"""

from typing import Any, Final

import sqlalchemy as sa

SKEW_SECONDS: Final = 60
"""How far apart the clocks of two nodes may be before one of them is wrong (twice what health allows each)."""


def has_come(column: Any, moment: Any, *, longest_seconds: int | sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
    """Whether the moment in a column is past, or later than anybody waits for. `longest_seconds`: what that is."""
    return sa.or_(column <= moment, column > moment + (longest_seconds + SKEW_SECONDS))


def is_to_come(column: Any, moment: Any, *, longest_seconds: int) -> sa.ColumnElement[bool]:
    """The contrary."""
    return sa.and_(column > moment, column <= moment + (longest_seconds + SKEW_SECONDS))
