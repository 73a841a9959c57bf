"""Events on their way into the log, while processes die and others do the same: none is lost, none is there twice."""

import signal
import subprocess
import sys
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from payymo.audit.model import decode
from payymo.audit.verification import Question
from payymo.db.schema import audit_events, audit_inbox, audit_payloads
from payymo.logs import Event, Trace
from tests.support.crew import Crew
from tests.support.house import Database, House
from tests.support.moments import begun_beside
from tests.support.processes import environment

EVENTS = 120
INTEGRATE = """
from payymo.compose import compose
from payymo.config import read_settings
from payymo.audit import sequencer
import time
sequencer.BATCH = 7
services = compose(read_settings(), signs=False)
print("ready", flush=True)
while True:
    services.sequencer.integrate()
    time.sleep(0.01)
"""


def record(house: House, number: int) -> None:
    with house.services.work(house.default.id) as tx:
        house.services.audit.record(tx, Event("session.refresh", trace=Trace(request_id=f"r{number}")))


def on_record(house: House) -> list[tuple[int, str]]:
    """Position and request of every event of ours, in order."""
    engine = house.database.owner()
    with engine.connect() as connection:
        found = connection.execute(
            sa.select(audit_events.c.position, audit_events.c.record)
            .where(audit_events.c.tenant_id == house.default.id)
            .order_by(audit_events.c.position)
        ).all()
        assert connection.execute(sa.select(sa.func.count()).select_from(audit_inbox)).scalar() == 0
    engine.dispose()
    return [(row.position, decode(bytes(row.record)).request_id) for row in found]


def require_all(house: House, count: int) -> None:
    house.services.sequencer.integrate_all()
    found = on_record(house)
    assert [position for position, _ in found] == list(range(count))
    assert sorted(request for _, request in found) == sorted(f"r{number}" for number in range(count))
    report = house.services.verification.verify(Question(house.default.id), house.services.checkpoints.vouchers())
    assert report.is_intact


def test_processes_that_are_killed_while_they_integrate_lose_nothing(postgres_database: Database) -> None:
    """Invariant 8: two at a time, each killed and followed by another, while events go on being committed."""
    house, started = House(postgres_database), list[subprocess.Popen[str]]()

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", INTEGRATE], env=environment(house.database), stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    try:
        running = [start(), start()]
        for number in range(EVENTS):
            record(house, number)
            if number % (EVENTS // 4) == EVENTS // 8:
                victim = running.pop(0)
                victim.send_signal(signal.SIGKILL)
                victim.wait(20)
                running.append(start())
    finally:
        for process in started:
            process.kill()
            process.wait(20)
            if process.stdout is not None:
                process.stdout.close()
    require_all(house, EVENTS)
    house.close()


@pytest.mark.parametrize("act", ["erases", "seals again", "removes by age"])
def test_whoever_changes_what_is_personal_locks_it_in_one_order(postgres_database: Database, act: str) -> None:
    """Duties, administrators who erase somebody, and an operator who seals all again, end in no deadlock."""
    house = House(postgres_database)
    user, services, log = house.user("alice"), house.services, house.default.id
    for _ in range(12):
        house.logged_in("alice")
    services.sequencer.integrate_all()
    acts: dict[str, Callable[[], object]] = {
        "erases": lambda: services.personal_data.erase(log, user.id, by=None, trace=Trace()),
        "seals again": lambda: services.reencryption.run(
            progress=lambda *_: None, pause=lambda _: None, trace=Trace(), whatever_age=True
        ),
        "removes by age": services.retention.remove_due,
    }
    services.checkpoints.sign_due()
    services.retention.set(log, 1, trace=Trace())
    house.clock.advance(3 * 86_400)
    with Crew(1) as crew:
        with services.work.platform() as tx:
            every = sa.select(audit_payloads.c.id).where(audit_payloads.c.tenant_id == log)
            ids = sorted(tx.execute(every).scalars())
            lock = sa.select(audit_payloads.c.id).where(audit_payloads.c.id == sa.bindparam("of_id")).with_for_update()
            tx.execute(lock, {"of_id": ids[0]})
            done = begun_beside(crew, postgres_database, acts[act])
            for of_id in ids[1:]:
                tx.execute(lock, {"of_id": of_id})
        done.result()
    house.close()
