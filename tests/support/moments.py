"""What falls between two statements: another act, a kill. Each moment is made, not waited for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

import pytest
from sqlalchemy import event

from tests.support.house import House


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


class Dying:
    """Within it the process dies right before its `number`-th statement, if it gets so far."""

    def __init__(self, house: House, number: int) -> None:
        self.survived = False
        self._engine = house.services.engine
        self._left = number

    def __enter__(self) -> None:
        event.listen(self._engine, "before_cursor_execute", self._look)

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trail: TracebackType | None
    ) -> bool:
        event.remove(self._engine, "before_cursor_execute", self._look)
        self.survived = kind is None
        return kind is Killed

    def _look(self, *_: object) -> None:
        self._left -= 1
        if self._left == 0:
            raise Killed


def kill_points(house: House, at_most: int = 60) -> Iterator[Dying]:
    """One attempt after the other, each dying a statement later than the one before, until one reaches its end."""
    for number in range(1, at_most):
        attempt = Dying(house, number)
        yield attempt
        if attempt.survived:
            return
    pytest.fail("never reached the end")
