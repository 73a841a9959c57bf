"""The monitor: however many ask, and however long a database hangs, it costs one thread and little patience."""

import io
import threading
import time

import pytest

from payymo.errors import Unavailable
from payymo.health.model import Check, Finding
from payymo.health.service import Monitor
from payymo.logs import SecurityLog
from tests.support.crew import Crew
from tests.support.house import FakeClock

OK = Finding("ok", "")


class Database:
    """One that answers, hangs, or refuses."""

    def __init__(self) -> None:
        self.asked = 0
        self.is_away = False
        self.answers = threading.Event()
        self.answers.set()

    def ask(self) -> Finding:
        self.asked += 1
        self.answers.wait()
        if self.is_away:
            raise Unavailable(private="connection refused")
        return OK


class Watched:
    """A monitor of such a database, and of something that needs it."""

    def __init__(self) -> None:
        self.database, self.clock, self.lines = Database(), FakeClock(), io.StringIO()
        self.feed_asked = 0
        checks = (
            Check("keys", lambda: OK),
            Check("database", self.database.ask, remedy="start it"),
            Check("outbox", self._ask_outbox, worst="degraded", needs=("database",)),
        )
        self.monitor = Monitor(checks, self.clock, SecurityLog(stream=self.lines), patience_seconds=0.05)

    def _ask_outbox(self) -> Finding:
        self.feed_asked += 1
        return OK

    def told(self) -> dict[str, str]:
        return {name: found.standing for name, found in self.monitor.health().findings.items()}


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_many_who_ask_in_a_second_are_one_look(watched: Watched) -> None:
    """It is no cheap way to load the database; at the next second it is asked again, also when the clock went back."""
    watched.monitor.health()
    for moment, asked in ((0.9, 1), (1.0, 2), (-5, 3)):
        watched.clock.now = FakeClock().now + moment
        with Crew(8) as pool:
            list(pool.map(lambda _: watched.told(), range(50)))
        assert watched.database.asked == asked


def test_a_database_that_hangs_takes_no_thread_hostage(watched: Watched) -> None:
    """Whoever asks is answered: the first after a moment, the others at once; what needs no database is told."""
    watched.told()
    watched.database.answers.clear()
    away = {"keys": "ok", "database": "failing", "outbox": "degraded"}
    for _ in range(20):
        watched.clock.advance(2)
        assert watched.told() == away
    assert watched.database.asked == 2  # one look waits, and no second one joins it
    watched.database.answers.set()
    deadline = time.monotonic() + 20
    while watched.told() == away:
        watched.clock.advance(2)
        assert time.monotonic() < deadline


def test_what_needs_the_database_does_not_wait_for_it_too(watched: Watched) -> None:
    """Else each check would wait for the same time-out; and the reason says where to look."""
    watched.database.is_away = True
    found = watched.monitor.health().findings
    assert found["database"] == Finding("failing", "connection refused", "start it")
    assert found["outbox"] == Finding("degraded", "not asked: database")
    assert watched.feed_asked == 0


def test_a_change_is_logged_once_with_its_reason(watched: Watched) -> None:
    """The public answer has no reasons, so the log does."""
    for is_away in (False, True, True, False):
        watched.database.is_away = is_away
        watched.clock.advance(2)
        watched.told()
    lines = [line for line in watched.lines.getvalue().splitlines() if "database" in line.partition("not asked")[0]]
    assert ["connection refused" in line for line in lines] == [True, False]
