"""Master key and data keys change while everybody works, and whatever dies on the way is finished by the next run."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from payymo.audit.log import PURPOSE as AUDIT
from payymo.audit.verification import Question
from payymo.db.schema import audit_payloads, audit_tiles, data_keys, master_keys, service_data_keys, service_secrets
from payymo.errors import Misconfigured, NotFound
from payymo.keys.model import PURPOSES
from payymo.logs import Trace
from payymo.secrets.master import write_key
from payymo.secrets.rotation import Domain
from tests.support.crew import Crew
from tests.support.house import MASTER_KEY, Database, House
from tests.support.moments import before, kill_points

NEXT_KEY = write_key(bytes(range(32, 64)), development=False)
HOUR = 3600
VALUES = {("a", "one"): b"1", ("a", "two"): b"2", ("b", "one"): b"3", (None, "one"): b"4"}


def nothing(*_: object) -> None:
    """Nobody watches."""


@pytest.fixture
def both(database: Database) -> Iterator[House]:
    """A service with both master keys, with secrets of two tenants and of its own, and somebody logged in."""
    house = House(database, next_master_key=NEXT_KEY)
    house.user("alice")
    for slug in ("a", "b"):
        house.tenant(slug)
    for (slug, name), value in VALUES.items():
        house.services.secrets.put(name, value, tenant_id=tenant_id(house, slug), trace=Trace())
    house.services.sequencer.integrate_all()
    yield house
    house.close()


def tenant_id(house: House, slug: str | None) -> Any:
    return None if slug is None else house.services.tenants.get_by_slug(slug).id


def rotate(house: House) -> int:
    following = house.services.next_master_key
    assert following is not None
    return house.services.master_rotation.run(following, progress=nothing, trace=Trace())


def reencrypt(house: House, pause: Any = nothing) -> int:
    return house.services.reencryption.run(progress=nothing, pause=pause, trace=Trace()).values


def assert_everything_opens(house: House) -> None:
    """In the process at hand, and in one that has opened nothing yet."""
    again = House(house.database, clock=house.clock, master_key=house.settings.master_key, next_master_key=NEXT_KEY)
    for one in (house, again):
        for (slug, name), value in VALUES.items():
            assert one.services.secrets.get(name, tenant_id=tenant_id(one, slug), trace=Trace()).value == value
        assert one.logged_in().refresh().status_code == 200
    again.close()


def keys_in(house: House, *tables: sa.Table) -> list[Any]:
    owner = house.database.owner()
    with owner.connect() as connection:
        found = [row for table in tables for row in connection.execute(sa.select(table))]
    owner.dispose()
    return found


def test_after_a_rotation_the_next_master_key_is_the_only_one(both: House) -> None:
    """Nothing needs the old one any more, and nothing opens with it."""
    assert both.services.master_rotation.count(both.services.next_master_key) > 0  # type: ignore[arg-type]
    done = rotate(both)
    assert done == len(keys_in(both, data_keys, service_data_keys))
    assert both.services.master_rotation.count(both.services.next_master_key) == 0  # type: ignore[arg-type]
    assert_everything_opens(both)
    alone = House(both.database, clock=both.clock, master_key=NEXT_KEY)
    assert alone.logged_in().refresh().status_code == 200
    alone.close()
    with pytest.raises(Misconfigured):
        House(both.database, clock=both.clock)
    assert rotate(both) == 0
    assert [event["event"] for event in both.events()].count("master-key.rotated") == 1
    assert [event["event"] for event in both.events()].count("master-key.dropped") == 1


def test_a_rotation_that_dies_at_any_statement_leaves_everything_readable_and_is_finished_by_the_next(
    both: House,
) -> None:
    """Invariants 14 and 16, at every kill point, with what is still to be done read from the database."""
    for dying in kill_points(both, 80):
        with dying:
            rotate(both)
        assert_everything_opens(both)
        held = {row.master_key_id for row in keys_in(both, data_keys, service_data_keys)}
        assert held <= {row.id for row in keys_in(both, master_keys)}
        if not dying.survived and len(keys_in(both, master_keys)) == 2:
            with pytest.raises(Misconfigured, match="is being changed"):
                House(both.database, clock=both.clock, master_key=NEXT_KEY)
    [only] = keys_in(both, master_keys)
    following = both.services.next_master_key
    assert following is not None
    assert (only.id, only.state) == (following.id, "current")


def test_who_makes_a_data_key_while_the_master_key_changes_is_not_left_behind(both: House) -> None:
    """Two services and many new tenants, at the moment of the change: each new data key ends under the next key."""
    other = House(both.database, clock=both.clock, next_master_key=NEXT_KEY)
    tenants = [both.tenant(f"t{number}") for number in range(12)]
    start = threading.Barrier(5)

    def put(house: House, part: int) -> None:
        start.wait()
        for tenant in tenants[part::4]:
            house.services.secrets.put("new", tenant.slug.encode(), tenant_id=tenant.id, trace=Trace())

    def turn() -> None:
        start.wait()
        rotate(both)

    with Crew(5) as pool:
        work = [pool.submit(put, house, part) for part, house in enumerate((both, other, both, other))]
        for done in (*work, pool.submit(turn)):
            done.result()
    other.close()
    alone = House(both.database, clock=both.clock, master_key=NEXT_KEY)
    for tenant in tenants:
        assert alone.services.secrets.get("new", tenant_id=tenant.id, trace=Trace()).value == tenant.slug.encode()
    alone.close()


def test_after_a_reencryption_the_old_data_keys_are_gone(both: House) -> None:
    """Everything is sealed under new ones, and opens; what an old key had opened is unreadable by it."""
    both.clock.advance(HOUR)
    before = {row.id for row in keys_in(both, data_keys, service_data_keys)}
    count = both.services.reencryption.count()
    events = len(keys_in(both, audit_payloads))
    assert count == len(VALUES) + 2 * len(PURPOSES) + events > len(VALUES) + 2 * len(PURPOSES)
    assert reencrypt(both) == count
    after = {row.id for row in keys_in(both, data_keys, service_data_keys)}
    assert len(after) == len(before)
    assert not after & before
    assert_everything_opens(both)
    assert both.services.reencryption.count() == reencrypt(both) == 0


def test_a_log_that_was_changed_stops_a_reencryption_for_itself_alone(both: House) -> None:
    """Its waiting events stay readable, their key stays; all others are through, and the next run finishes the rest."""
    ours = audit_tiles.c.tenant_id == both.default.id
    [tile] = [row for row in keys_in(both, audit_tiles) if row.tenant_id == both.default.id]
    change(both, sa.update(audit_tiles).where(ours).values(hashes=bytes(len(tile.hashes))))
    both.user("bob")
    both.clock.advance(HOUR)
    old = {row.id: row for row in keys_in(both, data_keys, service_data_keys)}
    found = both.services.reencryption.run(progress=nothing, pause=nothing, trace=Trace())
    assert found.left == {Domain(both.default.id, AUDIT)}
    kept = [old[row.id] for row in keys_in(both, data_keys, service_data_keys) if row.id in old]
    assert [(row.tenant_id, row.purpose) for row in kept] == [(both.default.id, AUDIT)]
    assert_everything_opens(both)
    change(both, sa.update(audit_tiles).where(ours).values(hashes=tile.hashes))
    assert both.services.reencryption.run(progress=nothing, pause=nothing, trace=Trace()).left == frozenset()
    assert not old.keys() & {row.id for row in keys_in(both, data_keys, service_data_keys)}
    report = both.services.verification.verify(
        Question(both.default.id, personal=True), both.services.checkpoints.vouchers()
    )
    assert (report.is_intact, report.personal is not None and report.personal.erased) == (True, 0)


def test_a_value_that_does_not_open_stops_a_reencryption_for_its_tenant_and_purpose_alone(both: House) -> None:
    """Its neighbours stay readable, their key stays; all others are through, and the next run finishes the rest."""
    both.clock.advance(HOUR)
    [row] = keys_in(both, service_secrets)
    of_it = service_secrets.c.name == row.name
    change(both, sa.update(service_secrets).where(of_it).values(sealed=row.sealed[:-1] + b"?"))
    old = {key.id: key for key in keys_in(both, data_keys, service_data_keys)}
    found = both.services.reencryption.run(progress=nothing, pause=nothing, trace=Trace())
    assert found.broken == {Domain(None, "secrets"): f"service/secrets/{row.name}/{row.version}/value: does not open"}
    kept = [old[key.id] for key in keys_in(both, data_keys, service_data_keys) if key.id in old]
    assert [key.id for key in kept] == [row.data_key_id]
    change(both, sa.update(service_secrets).where(of_it).values(sealed=row.sealed))
    assert_everything_opens(both)
    assert both.services.reencryption.run(progress=nothing, pause=nothing, trace=Trace()).broken == {}
    assert not old.keys() & {key.id for key in keys_in(both, data_keys, service_data_keys)}
    assert_everything_opens(both)


def change(house: House, statement: sa.Update) -> None:
    owner = house.database.owner()
    with owner.begin() as connection:
        connection.execute(statement)
    owner.dispose()


def test_a_reencryption_that_dies_at_any_statement_is_finished_by_the_next(both: House) -> None:
    """Invariants 14 and 15: nothing is lost at any kill point, and no run begins what the one before had done."""
    both.clock.advance(HOUR)
    first = {row.id for row in keys_in(both, data_keys, service_data_keys)}
    for dying in kill_points(both, 200):
        with dying:
            reencrypt(both)
        if dying.survived or keys_in(both, data_keys):
            for (slug, name), value in VALUES.items():
                found = both.services.secrets.get(name, tenant_id=tenant_id(both, slug), trace=Trace())
                assert found.value == value
        generations = {row.generation for row in keys_in(both, data_keys, service_data_keys)}
        assert generations <= {1, 2}
    assert_everything_opens(both)
    assert not first & {row.id for row in keys_in(both, data_keys, service_data_keys)}


def test_who_still_seals_under_the_old_data_key_is_taken_along(both: House) -> None:
    """A process may rely on the old one for a second: it is waited for, and looked after again."""
    both.clock.advance(HOUR)
    other = House(both.database, clock=both.clock, next_master_key=NEXT_KEY)
    a = tenant_id(both, "a")
    other.services.secrets.put("warm", b"0", tenant_id=a, trace=Trace())

    pauses = []

    def late(seconds: float) -> None:
        if not pauses:  # there are more where something else is under way in the database
            other.services.secrets.put("late", b"5", tenant_id=a, trace=Trace())
            other.services.secrets.retire("two", 1, tenant_id=a, trace=Trace())
            both.clock.advance(2)
        pauses.append(seconds)

    reencrypt(both, late)
    assert pauses
    other.close()
    fresh = House(both.database, clock=both.clock, next_master_key=NEXT_KEY)
    assert fresh.services.secrets.get("late", tenant_id=a, trace=Trace()).value == b"5"
    fresh.close()
    assert {row.generation for row in keys_in(both, data_keys)} == {2}


def test_secrets_are_put_read_and_retired_while_everything_is_sealed_again(both: House) -> None:
    """Nothing that was acknowledged is lost, and nothing that was retired comes back."""
    both.clock.advance(HOUR)
    b, kept = tenant_id(both, "b"), both.services.secrets
    stop = threading.Event()

    def write() -> int:
        number = 0
        while not stop.is_set():
            number += 1
            both.clock.advance(0.1)  # as it does: for a second one relies on the data key that one has read
            kept.put("busy", b"%d" % number, tenant_id=b, trace=Trace())
            assert kept.get("busy", number, tenant_id=b, trace=Trace()).value == b"%d" % number
            if number % 3 == 0:
                kept.retire("busy", number, tenant_id=b, trace=Trace())
        return number

    with Crew(1) as pool:
        writing = pool.submit(write)
        try:
            for _ in range(3):
                reencrypt(both)
                both.clock.advance(HOUR)
        finally:
            stop.set()
        last = writing.result()
    versions = {found.version: found for found in kept.list_versions(tenant_id=b) if found.name == "busy"}
    assert set(versions) == set(range(1, last + 1))
    for number, found in versions.items():
        assert (found.retired_at is not None) is (number % 3 == 0)
        if found.retired_at is None:
            assert kept.get("busy", number, tenant_id=b, trace=Trace()).value == b"%d" % number


def test_a_run_that_relies_on_an_older_data_key_itself_comes_to_its_end(
    both: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread may read the newest key just before the next one is committed, and leave it as what to rely on."""
    both.clock.advance(HOUR)
    envelope, renew = both.services.envelope, both.services.envelope.renew
    both.services.secrets.put("late", b"1", tenant_id=tenant_id(both, "b"), trace=Trace())

    def renew_and_be_late(*given: Any) -> None:
        relied_on = dict(envelope._newest)
        renew(*given)
        envelope._newest.update(relied_on)

    monkeypatch.setattr(envelope, "renew", renew_and_be_late)
    assert reencrypt(both) > 0
    assert {row.generation for row in keys_in(both, data_keys)} == {2}
    assert_everything_opens(both)


def test_master_keys_of_two_changes_are_all_asked_for(both: House) -> None:
    """A change that was left half-way is not covered up by the next one."""
    for dying in kill_points(both, 80):
        with dying:
            rotate(both)
        if len(keys_in(both, master_keys)) == 2:
            break
    with pytest.raises(Misconfigured, match="is being changed"):
        House(both.database, master_key=MASTER_KEY, next_master_key=write_key(bytes(range(64, 96)), development=False))
    rotate(both)
    House(both.database, clock=both.clock, master_key=NEXT_KEY).close()


def test_a_secret_that_is_retired_while_it_is_sealed_again_stays_retired(postgres_database: Database) -> None:
    """Between the reading of a row and its writing. SQLite has one writer at a time, and no such moment."""
    house = House(postgres_database)
    house.services.secrets.put("one", b"1", trace=Trace())
    house.clock.advance(HOUR)

    def retire() -> None:
        house.services.secrets.retire("one", 1, trace=Trace())

    with before(house, lambda statement: statement.startswith("UPDATE service_secrets SET sealed"), retire):
        reencrypt(house)
    [row] = keys_in(house, service_secrets)
    assert (row.sealed, row.data_key_id) == (None, None)
    house.close()


def test_a_change_to_another_key_does_not_cross_one_that_is_under_way(both: House) -> None:
    """Whoever has waited at the question while another change was made is refused, and reports no success."""
    third = write_key(bytes(range(64, 96)), development=False)
    waiting = House(both.database, clock=both.clock, next_master_key=third)
    for dying in kill_points(both, 80):
        with dying:
            rotate(both)
        if len(keys_in(both, master_keys)) == 2:
            break
    with pytest.raises(Misconfigured, match="is being changed: give the one with the id"):
        rotate(waiting)
    rotate(both)
    with pytest.raises(Misconfigured):
        rotate(waiting)
    [only] = keys_in(both, master_keys)
    assert both.services.next_master_key is not None
    assert only.id == both.services.next_master_key.id
    assert "master-key.rotated" not in [event["event"] for event in waiting.events()]
    waiting.close()


def test_a_reencryption_passes_by_a_tenant_that_is_being_deleted(both: House) -> None:
    """Shredded between its listing and its turn, and the deletion killed: everybody else is sealed again."""
    both.clock.advance(HOUR)
    admin, a = both.services.administration, tenant_id(both, "a")
    admin.suspend(a, by=None, trace=Trace())
    shredded = []

    def shred(_done: int, _total: int) -> None:
        if shredded:
            return
        for dying in kill_points(both):
            with dying:
                admin.delete_tenant(a, by=None, progress=nothing, trace=Trace())
            if both.services.tenants.get(a).status == "deleted":
                shredded.append(a)
                return

    both.services.reencryption.run(progress=shred, pause=nothing, trace=Trace())
    assert both.services.reencryption.count() == reencrypt(both) == 0
    assert both.services.secrets.get("one", tenant_id=tenant_id(both, "b"), trace=Trace()).value == b"3"
    for name in ("one", "new"):
        with pytest.raises(NotFound):
            both.services.secrets.put(name, b"x", tenant_id=a, trace=Trace())


def test_in_an_emergency_young_data_keys_are_changed_too(both: House) -> None:
    """And what was kept is counted: nobody should believe in a change that was not made."""
    reencrypt(both)  # now all of them are young
    before_it = {row.id for row in keys_in(both, data_keys, service_data_keys)}
    kept = both.services.reencryption.run(progress=nothing, pause=nothing, trace=Trace())
    assert (kept.values, kept.renewed, kept.kept) == (0, 0, len(before_it))
    both.clock.advance(-HOUR)  # made in what is the future now
    assert both.services.reencryption.count() > 0
    both.clock.advance(HOUR)
    done = both.services.reencryption.run(progress=nothing, pause=nothing, trace=Trace(), whatever_age=True)
    assert (done.renewed, done.kept) == (len(before_it), 0)
    assert not before_it & {row.id for row in keys_in(both, data_keys, service_data_keys)}
