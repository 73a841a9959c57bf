"""What falls between two statements: another act, a kill. Each moment is made, not waited for."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from tests.support.crew import Crew
from tests.support.house import Database, House

T = TypeVar("T")


class Killed(BaseException):
    """The process ends here."""


@contextmanager
def before(house: House, is_the_moment: Callable[[str], bool], act: Callable[[], object]) -> Iterator[None]:
    """Let `act` happen once, right before the first statement that is the moment."""
    waiting = [act]

    def look(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if waiting and is_the_moment(statement):
            waiting.pop()()

    event.listen(house.services.engine, "before_cursor_execute", look)
    try:
        yield
    finally:
        event.remove(house.services.engine, "before_cursor_execute", look)
    assert not waiting, "the moment never came"


_BLOCKED = sa.text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


def begun_beside(crew: Crew, database: Database, act: Callable[[], T]) -> "Future[T]":
    """An act in another thread, once it waits for a lock or has come to its end. On PostgreSQL."""
    done = crew.submit(act)
    owner = database.owner().execution_options(isolation_level="AUTOCOMMIT")
    with owner.connect() as looking:
        while not looking.execute(_BLOCKED).scalar() and not done.done():
            pass
    owner.dispose()
    return done


class Dying:
    """Within it the process dies right before its `number`-th statement, if it gets so far. 0: it lives."""

    def __init__(self, house: House, number: int) -> None:
        self.survived = False
        self._engine = house.services.engine
        self.statements = 0
        self._number = number

    def __enter__(self) -> None:
        event.listen(self._engine, "before_cursor_execute", self._look)

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trail: TracebackType | None
    ) -> bool:
        event.remove(self._engine, "before_cursor_execute", self._look)
        self.survived = kind is None
        return kind is Killed

    def _look(self, *_: object) -> None:
        self.statements += 1
        if self.statements == self._number:
            raise Killed


def sampled_kill_points(house: House, about: int) -> Iterator[Dying]:
    """`about` so many attempts, of which each has to begin anew: for what takes long, and has many statements.

    The first one reaches its end, and its statements are counted. The others die at the first one, at the last one, and
    evenly between: on SQLite at other ones than on PostgreSQL.
    """
    whole = Dying(house, 0)
    yield whole
    assert whole.survived
    step = max(1, whole.statements // about)
    begin = 1 + step // 2 if house.database.is_postgres else 1
    for number in sorted({1, *range(begin, whole.statements, step), whole.statements}):
        yield Dying(house, number)


def kill_points(house: House, at_most: int = 60) -> Iterator[Dying]:
    """One attempt after the other, each dying a statement later than the one before, until one reaches its end."""
    for number in range(1, at_most):
        attempt = Dying(house, number)
        yield attempt
        if attempt.survived:
            return
    pytest.fail("never reached the end")
