"""The audit log: how fast it is checked, what a proof costs, and whether tampering is found."""

import gc
import statistics
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from typing import Any

import psycopg
import sqlalchemy as sa

from bench.measure import Effort, Figure, timed
from bench.scene import DATABASES, Scene, Stage
from payymo.audit import store
from payymo.audit.merkle import Edge, leaf_hash, leaf_hashes, root_at, subtree_root
from payymo.audit.model import Record
from payymo.audit.verification import Question
from payymo.db.schema import audit_events, audit_logs, audit_tiles
from tests.support.house import House
from tests.support.tampering import TRICKS, Tampered

TEN_MILLION = 10_000_000
MOST_ROWS = 300_000
PER_CHECKPOINT = 1_000
EDITS = 1_000
AT_ONCE = 10_000
_COLUMNS = "tenant_id, position, id, record, type, at, actor, user_id, outcome"
_COPY = f"COPY audit_events ({_COLUMNS}) FROM STDIN (FORMAT BINARY)"
_TYPES = ("uuid", "int8", "uuid", "bytea", "varchar", "int8", "varchar", "uuid", "varchar")


def verifying(stage: Stage, effort: Effort) -> list[Figure]:
    """A log with a checkpoint for every thousand events, checked whole, as the command does it."""
    figures, count = [], min(effort.many, MOST_ROWS)
    for kind in DATABASES:
        scene = stage.scene(kind, "verifying")
        _fill(scene, count)
        with _only_garbage_of_ours():
            rates, walls = zip(*(_verify(scene, count) for _ in range(max(2, effort.rounds // 3))), strict=True)
        name, beside = f"verify {count:,} events, {kind}, per core", f"{statistics.median(walls):.0f}/s on the clock"
        figures.append(Figure(name, statistics.median(rates), "/s", at_least=100_000, parts=beside))
    return figures


def proving(stage: Stage, effort: Effort) -> list[Figure]:
    """One event among ten million, of which only what the proof reads is there."""
    scene = stage.scene("postgresql", "proving")
    event_id = _plant(scene, TEN_MILLION, TEN_MILLION // 3)
    proving, log = scene.services.proving, scene.tenant.id
    size = len(proving.prove(log, event_id).encode())
    seconds = statistics.median(timed(lambda: proving.prove(log, event_id))() for _ in range(effort.rounds * 10))
    name = f"a proof for one event of {TEN_MILLION:,}"
    return [
        Figure(name, seconds * 1000, "ms", at_most=10.0, parts="made, and checked before it is handed out"),
        Figure(f"{name}, size", size / 1024, "", at_most=2.0, parts="in KiB, with the record"),
    ]


def tampering(stage: Stage, effort: Effort) -> list[Figure]:
    """Edits by a superuser, each undone before the next: found, and located."""
    house = House(stage.scene("postgresql", "tampering").database)
    count = EDITS if effort.few >= EDITS else effort.few
    missed: Counter[str] = Counter()
    with Tampered(house, count=700, seed=2026) as world:
        for trick in islice(cycle(TRICKS), count):
            with world.afterwards_as_before() as connection:
                expected = trick(world, connection)
                connection.commit()
                if not expected.matches(world.verify()):
                    missed[trick.__name__] += 1
        is_intact = world.verify().is_intact
    house.close()
    parts = (
        f"{len(TRICKS)} kinds; missed: {dict(missed) or 'none'}; afterwards {'intact' if is_intact else 'NOT INTACT'}"
    )
    return [
        Figure(
            f"{count:,} edits by a superuser, found and located", count - sum(missed.values()), "", count, parts=parts
        )
    ]


@contextmanager
def _only_garbage_of_ours() -> Iterator[None]:
    """Nothing looks for garbage in what was there before: `payymo` freezes what it has loaded (payymo.cli)."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _verify(scene: Scene, count: int) -> tuple[float, float]:
    """Events per second of this process, and on the clock."""
    services = scene.services
    computed, begun = time.process_time(), time.perf_counter()
    report = services.verification.verify(Question(scene.tenant.id), services.checkpoints.vouchers())
    computed, begun = time.process_time() - computed, time.perf_counter() - begun
    if not report.is_intact or report.checked < count:
        raise RuntimeError(f"not as it was made: {report}")
    return count / computed, count / begun


def _fill(scene: Scene, count: int) -> None:
    """So many events, their tree, and checkpoints on the way."""
    services, log, edge = scene.services, scene.tenant.id, Edge()
    services.sequencer.integrate_all()
    with services.work.platform(writes=False) as tx:
        begin = len(tx.execute(sa.select(audit_events.c.position).where(audit_events.c.tenant_id == log)).all())
        edge.add(leaf_hashes(bytes(row.record) for row in tx.execute(_OWN, {"log": log})))
    rows = _rows(log, begin, count)
    insert = _copying if scene.database.is_postgres else _inserting
    with insert(scene) as add:
        for _ in range(0, count, PER_CHECKPOINT):
            page = list(islice(rows, PER_CHECKPOINT))
            add(page)
            tiles = edge.add(leaf_hashes(row[3] for row in page)) | edge.partial()
            with services.work.platform() as tx:
                store.advance(tx, log, size=edge.size, root=edge.root(), tiles=tiles, now=int(services.clock()))
            services.checkpoints.sign_due(at_once=True)


Rows = list[tuple[Any, ...]]


@contextmanager
def _copying(scene: Scene) -> Iterator[Callable[[Rows], None]]:
    with psycopg.connect(scene.database.owner_url.replace("+psycopg", "")) as connection:

        def add(page: Rows) -> None:
            with connection.cursor().copy(_COPY) as copy:
                copy.set_types(_TYPES)
                for row in page:
                    copy.write_row(row)
            connection.commit()

        yield add


@contextmanager
def _inserting(scene: Scene) -> Iterator[Callable[[Rows], None]]:
    names = _COLUMNS.split(", ")

    def add(page: Rows) -> None:
        with scene.services.work.platform() as tx:
            tx.execute(sa.insert(audit_events), [dict(zip(names, row, strict=True)) for row in page])

    yield add


_OWN = (
    sa.select(audit_events.c.record)
    .where(audit_events.c.tenant_id == sa.bindparam("log", type_=sa.Uuid()))
    .order_by(audit_events.c.position)
)


def _rows(log: uuid.UUID, begin: int, count: int) -> Iterator[tuple[Any, ...]]:
    for position in range(begin, begin + count):
        record = _record(log, position)
        user_id = uuid.UUID(str(record.about["user_id"]))
        found = (record.type, record.at_ms, record.actor, user_id, record.outcome)
        yield log, position, record.id, record.encode(), *found


def _record(log: uuid.UUID, number: int) -> Record:
    user = str(uuid.UUID(int=2**100 + number))
    about = {"user_id": user, "session_id": str(uuid.UUID(int=2**101 + number)), "reason": "rotated"}
    return Record(
        id=uuid.UUID(int=2**120 + number),
        log=log,
        type="session.refresh",
        version=1,
        at_ms=1_800_000_000_000 + number,
        actor=f"user:{user}",
        request_id=f"{number:032x}",
        outcome="success",
        about=about,
        old=None,
        new=None,
        personal="ab" * 32,
    )


def _plant(scene: Scene, size: int, position: int) -> uuid.UUID:
    """One event in a tree whose other leaves are all the same, so that few tiles say everything. Answers its id."""
    services, log, record = scene.services, scene.tenant.id, _record(scene.tenant.id, position)
    other, mine, tiles, level = leaf_hash(b"other"), leaf_hash(record.encode()), {}, 0
    while size >> 8 * level:
        index, width = position >> 8 * level, size >> 8 * level
        row = [other] * 256
        row[index % 256] = mine
        tiles[level, index // 256] = b"".join(row)
        if width % 256 and width // 256 != index // 256:
            tiles[level, width // 256] = other * (width % 256)
        if width // 256 == index // 256:
            tiles[level, index // 256] = b"".join(row[: width % 256])
        else:
            mine = subtree_root(b"".join(row))
        other, level = subtree_root(other * 256), level + 1
    root = root_at(size, lambda level, position: tiles.get((level, position), b""))
    engine = scene.database.owner()
    with engine.begin() as connection:
        for table in (audit_tiles, audit_events):
            connection.execute(sa.delete(table).where(table.c.tenant_id == log))
        event = dict(
            zip(
                audit_events.c.keys(),
                (log, position, record.id, record.encode(), record.type, 0, "-", None, record.outcome),
                strict=True,
            )
        )
        connection.execute(sa.insert(audit_events), event)
        connection.execute(sa.delete(audit_logs).where(audit_logs.c.tenant_id == log))
    engine.dispose()
    with services.work.platform() as tx:
        store.lock(tx, log, empty_root=root, now=0)
        store.advance(tx, log, size=size, root=root, tiles=tiles, now=0)
    services.checkpoints.sign_due(at_once=True)
    return record.id
