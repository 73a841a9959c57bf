"""What it costs to put events on record, and whether the log keeps up.

The cost is time in the database: of every statement and commit of a login or a refresh, with its event and without.
"""

import statistics
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

import sqlalchemy as sa

from bench.measure import Effort, Figure, Sample, interleave, ratio
from bench.scene import DATABASES, Scene, Stage
from payymo.audit.log import AuditLog
from payymo.auditing import Auditor
from payymo.db.closing import Closing
from payymo.db.schema import audit_inbox
from payymo.db.work import Transaction
from payymo.logs import Event, Trace

AT_MOST = {"login": 1.15, "refresh": 1.25}
EVENTS_PER_SECOND = 2_000
LAG_SECONDS = 1.0
REPEAT = 5


def cost(stage: Stage, effort: Effort) -> list[Figure]:
    """The time in the database of a login and of a refresh, with an event by the same without."""
    figures = []
    for kind in DATABASES:
        scene = stage.scene(kind, "recorded")
        spent = _Spent(scene.services.engine)
        for name, act in (("login", scene.log_in), ("refresh", scene.refresher())):
            found = interleave(
                {"with": spent.by(act), "without": _unrecorded(spent.by(act))}, rounds=effort.rounds * REPEAT
            )
            parts = ", ".join(f"{what} {statistics.median(values) * 1e3:.2f} ms" for what, values in found.items())
            share = ratio(found, "with", "without")
            figures.append(Figure(f"{name} in the database, {kind}", share, at_most=AT_MOST[name], parts=parts))
        spent.close()
    return figures


class _Spent:
    """Counts the seconds that an engine's connections are busy."""

    def __init__(self, engine: sa.Engine) -> None:
        self._seconds = 0.0
        self._began = threading.local()
        self._engine = engine
        sa.event.listen(engine, "before_cursor_execute", self._begin)
        sa.event.listen(engine, "after_cursor_execute", self._end)
        self._commit = engine.dialect.do_commit
        engine.dialect.do_commit = self._committing  # type: ignore[method-assign, assignment]  # there is no event after it

    def by(self, act: Callable[[], object]) -> Sample:
        """A sample: the seconds that an act spends in the database."""

        def sample() -> float:
            self._seconds = 0.0
            act()
            return self._seconds

        return sample

    def close(self) -> None:
        """Leave the engine as it was."""
        sa.event.remove(self._engine, "before_cursor_execute", self._begin)
        sa.event.remove(self._engine, "after_cursor_execute", self._end)
        self._engine.dialect.do_commit = self._commit  # type: ignore[method-assign]

    def _begin(self, *_given: object) -> None:
        self._began.at = time.perf_counter()

    def _end(self, *_given: object) -> None:
        self._seconds += time.perf_counter() - self._began.at

    def _committing(self, connection: object) -> None:
        began = time.perf_counter()
        self._commit(connection)  # type: ignore[arg-type]
        self._seconds += time.perf_counter() - began


def _unrecorded(sample: Sample) -> Sample:
    """The same in a service that would not record anything."""

    def without() -> float:
        with mock.patch.object(AuditLog, "record", _pass), mock.patch.object(Closing, "note", _pass):
            return sample()

    return without


def _pass(*_given: object) -> None:
    pass


def keeping_up(stage: Stage, effort: Effort) -> list[Figure]:
    """How many events a second get their positions; and how old the oldest gets without one, at half of the target."""
    figures = []
    for kind in DATABASES:
        scene = stage.scene(kind, "integrated")
        count = effort.operations * 2
        _write(scene, count, batch=500)
        began = time.perf_counter()
        done = scene.services.sequencer.integrate_all()
        rate = done / (time.perf_counter() - began)
        figures.append(Figure(f"events integrated, {kind}", rate, "/s", at_least=EVENTS_PER_SECOND, parts=f"{done}"))
        figures.append(_lag(scene, kind, effort))
    return figures


def _lag(scene: Scene, kind: str, effort: Effort) -> Figure:
    """Events come at an even rate, in transactions of ten; an auditor runs beside. Looked at ten times a second."""
    auditor = Auditor(scene.services)
    oldest: list[float] = []
    with _coming(scene, EVENTS_PER_SECOND // 2) as came:
        auditor.start()
        until = time.monotonic() + effort.slice_seconds * 10
        while time.monotonic() < until:
            time.sleep(0.1)
            oldest.append(_age_of_the_oldest(scene))
    auditor.stop()
    parts = f"{came() / (effort.slice_seconds * 10):.0f} a second came, median {statistics.median(oldest):.2f} s"
    return Figure(f"lag at half of that, {kind}", max(oldest), "s", at_most=LAG_SECONDS, parts=parts)


def _age_of_the_oldest(scene: Scene) -> float:
    with scene.services.work.platform(writes=False) as tx:
        waiting = tx.execute(sa.select(audit_inbox.c.record).order_by(audit_inbox.c.seq).limit(1)).scalar()
    if waiting is None:
        return 0.0
    at = int(bytes(waiting).partition(b'"at":')[2].partition(b",")[0])
    return max(0.0, scene.services.clock() - at / 1000)


@contextmanager
def _coming(scene: Scene, per_second: int) -> Iterator[Callable[[], int]]:
    stop, written = threading.Event(), [0]

    def come() -> None:
        began = time.monotonic()
        while not stop.is_set():
            due = int((time.monotonic() - began) * per_second) - written[0]
            if due < 10:
                stop.wait(0.005)
                continue
            _write(scene, 10, batch=10)
            written[0] += 10

    thread = threading.Thread(target=come)
    thread.start()
    try:
        yield lambda: written[0]
    finally:
        stop.set()
        thread.join()


def _write(scene: Scene, count: int, *, batch: int) -> None:
    for _ in range(count // batch):
        with scene.services.work(scene.tenant.id) as tx:
            for _ in range(batch):
                _one(scene, tx)


def _one(scene: Scene, tx: Transaction) -> None:
    trace = Trace(scene.services.entropy.token(12), "192.0.2.1")
    user, session = (uuid.UUID(bytes=scene.services.entropy.bytes(16)) for _ in range(2))
    scene.services.audit.record(tx, Event("session.login", trace=trace, user_id=user, session_id=session))
