"""The data keys change while a transaction is open that has sealed under the old ones: nobody sees that yet."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from payymo.audit.verification import Question
from payymo.db.schema import data_keys, secrets
from payymo.logs import Event, Trace
from payymo.secrets.rotation import PATIENCE_SECONDS, Sealing
from tests.support.house import Database, House

HOUR = 3600


@pytest.fixture
def house(postgres_database: Database) -> Iterator[House]:
    """On PostgreSQL, an hour after its data keys were made. On SQLite who writes is alone."""
    built = House(postgres_database)
    built.user("alice")
    built.services.sequencer.integrate_all()
    built.clock.advance(HOUR)
    yield built
    built.close()


def generations(house: House) -> set[int]:
    """Of the default tenant's data keys."""
    with house.services.work.platform(writes=False) as tx:
        return {row.generation for row in tx.execute(data_keys.select())}


def seal_everything_again(house: House, pause: Callable[[float], object]) -> Sealing:
    return house.services.reencryption.run(progress=lambda *_: None, pause=pause, trace=Trace())


def assert_nothing_personal_is_lost(house: House) -> None:
    """In a process that has opened nothing yet."""
    house.services.sequencer.integrate_all()
    again = House(house.database, clock=house.clock)
    report = again.services.verification.verify(
        Question(house.default.id, personal=True), again.services.checkpoints.vouchers()
    )
    assert report.is_intact, report
    assert report.personal is not None
    assert report.personal.erased == 0
    again.close()


def begun(house: House) -> ExitStack:
    """A transaction with an event on record, as a login is that waits for a row; closing it commits."""
    stack = ExitStack()
    tx = stack.enter_context(house.services.work(house.default.id))
    house.services.audit.record(tx, Event("user.unlocked", trace=Trace(address="192.0.2.1")))
    return stack


def test_what_such_a_transaction_has_sealed_opens(house: House) -> None:
    """However long it lasts after everybody else has begun to seal under the new ones: it is waited for."""
    open_one, pauses = begun(house), list[float]()

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            open_one.close()

    found = seal_everything_again(house, pause)
    assert (len(pauses), found.is_awaited) == (3, False)
    assert_nothing_personal_is_lost(house)
    assert generations(house) == {2}


def test_for_one_that_does_not_end_the_old_data_keys_stay(house: House) -> None:
    """The run ends and says so; the next one does the rest."""
    open_one, pauses = begun(house), list[float]()
    found = seal_everything_again(house, pauses.append)
    assert (sum(pauses[1:]), found.is_awaited) == (PATIENCE_SECONDS, True)
    assert generations(house) == {1, 2}
    open_one.close()
    assert_nothing_personal_is_lost(house)
    assert not seal_everything_again(house, pauses.append).is_awaited
    assert_nothing_personal_is_lost(house)
    assert generations(house) == {2}


def test_what_a_process_knew_before_it_stood_still_is_not_relied_on_after(house: House) -> None:
    """As when its machine is moved: another data key may have become the newest between the answer and the clock."""
    services, tenant = house.services, house.default.id
    services.secrets.put("one", b"1", tenant_id=tenant, trace=Trace())
    house.clock.advance(HOUR)
    answers = list[str]()

    def stand_still(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "FROM data_keys" not in statement or answers:
            return
        answers.append(statement)
        other = House(house.database, clock=house.clock)
        with other.services.work(tenant) as tx:
            other.services.envelope.renew(tx, "secrets")
            other.services.audit.record(tx, Event("user.unlocked", trace=Trace()))
        other.close()
        house.clock.advance(HOUR)

    event.listen(services.engine, "after_cursor_execute", stand_still)
    for value in (b"2", b"3"):
        services.secrets.put("one", value, tenant_id=tenant, trace=Trace())
    with services.work.platform(writes=False) as tx:
        newest = tx.execute(sa.select(secrets.c.data_key_id).order_by(secrets.c.version.desc()).limit(1)).scalar_one()
        key = tx.execute(sa.select(data_keys.c.generation).where(data_keys.c.id == newest)).scalar_one()
    assert key == 2
