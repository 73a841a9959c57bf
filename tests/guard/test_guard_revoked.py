"""The set of revoked identifiers: exact, bounded, forgetful in time, and whole for whoever reads meanwhile."""

import subprocess
import sys
import threading

import pytest

from payymo_guard.revoked import ROOMY, SWEEP, TABLES, RevokedIds
from tests.guard.forge import NOW

MANY = 8_000


def identifier(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-{number * 7919:012x}"


def filled(count: int = MANY, *, ends_at: int = NOW) -> RevokedIds:
    ids = RevokedIds()
    for number in range(count):
        ids.add(identifier(number), ends_at)
    return ids


def forget(ids: RevokedIds, until: float) -> None:
    """One whole pass over the tables."""
    for _ in range(TABLES // SWEEP):
        ids.forget(until)


def test_what_was_put_in_is_in_and_nothing_else() -> None:
    """Through every growth of every table, each one is found, and as many strangers are not."""
    ids = RevokedIds()
    for number in range(MANY):
        assert identifier(number) not in ids
        ids.add(identifier(number), NOW)
        assert identifier(number) in ids
    assert len(ids) == MANY
    assert all(identifier(number) in ids for number in range(MANY))
    assert not any(identifier(number) in ids for number in range(MANY, 2 * MANY))


def test_any_of_several_is_enough() -> None:
    """Session and token are asked for in one go."""
    ids = filled(10)
    assert ids.has_any(("x", identifier(3)))
    assert ids.has_any((identifier(3), "x"))
    assert not ids.has_any(("x", "y"))
    assert not ids.has_any(())


def test_the_same_twice_takes_one_place() -> None:
    """Whoever revokes again, and again, fills nothing."""
    ids = RevokedIds()
    for _ in range(5):
        for number in range(100):
            ids.add(identifier(number), NOW)
    assert len(ids) == 100


def test_what_a_fork_left_half_put_in_is_put_in_when_it_is_told_again() -> None:
    """The number was stored, and the bit by which readers find it was not: the child reads the same entry anew."""
    ids = filled(1)
    for table in ids._tables:
        table.bits[:] = bytes(len(table.bits))
    assert identifier(0) not in ids
    ids.add(identifier(0), NOW)
    assert identifier(0) in ids


@pytest.mark.parametrize("first", [NOW, NOW + 5000])
def test_of_two_ends_the_later_counts(first: int) -> None:
    """In whichever order they come."""
    ids = filled(MANY)
    ids.add("twice", first)
    ids.add("twice", NOW + 5000 if first == NOW else NOW)
    forget(ids, NOW + 4900)
    assert "twice" in ids
    forget(ids, NOW + 5100)
    assert "twice" not in ids


@pytest.mark.parametrize("ends_at", [NOW, NOW + 1, NOW + 63, NOW + 64, NOW + 65])
def test_nothing_is_forgotten_before_its_end(ends_at: int) -> None:
    """At the second before it, all are there; a little later all are gone. Ends may be rounded up, never down."""
    ids = RevokedIds()
    ids.add("first", NOW)  # from which ends are counted
    for number in range(MANY):
        ids.add(identifier(number), ends_at)
    forget(ids, ends_at - 1)
    assert all(identifier(number) in ids for number in range(MANY))
    forget(ids, ends_at + 130)
    assert len(ids) == 0
    assert not any(identifier(number) in ids for number in range(MANY))


def test_what_ends_before_the_first_one_is_kept_at_least_as_long() -> None:
    """Entries come in the order of revocation, and not of their ends."""
    ids = RevokedIds()
    ids.add("late", NOW + 10_000)
    ids.add("early", NOW)
    forget(ids, NOW - 1)
    assert "early" in ids
    assert "late" in ids


def test_what_ends_in_many_years_stays() -> None:
    """A number that is too large for its place is never one that is forgotten."""
    ids = filled(MANY)
    ids.add("for good", 253_402_300_799)
    forget(ids, NOW + 10 * 365 * 86_400)
    assert "for good" in ids
    assert len(ids) == 1


def test_forgetting_waits_until_it_is_worth_it() -> None:
    """A set of which few have ended is not written anew each time."""
    ids = filled(MANY, ends_at=NOW + 10_000)
    for number in range(MANY, MANY + 100):
        ids.add(identifier(number), NOW)
    tables = list(ids._tables)
    forget(ids, NOW + 1000)
    assert all(before is after for before, after in zip(tables, ids._tables, strict=True))


def test_what_was_forgotten_is_not_looked_for_again() -> None:
    """After a whole pass, the next one waits for more to end; and nothing is kept about what is gone."""
    ids = filled(MANY)
    for number in range(MANY, 3 * MANY):
        ids.add(identifier(number), NOW + 10_000)
    forget(ids, NOW + 1000)
    tables = list(ids._tables)
    forget(ids, NOW + 2000)
    assert all(before is after for before, after in zip(tables, ids._tables, strict=True))
    assert len(ids._ends) == 1


def test_memory_is_bounded_and_given_back() -> None:
    """At most 9 bytes / ROOMY for each one, as it grows and as it ends; and nearly nothing when all have ended."""
    ids = RevokedIds()
    nothing = ids.table_bytes
    for number in range(2 * MANY):
        ids.add(identifier(number), NOW + (0 if number < MANY else 10_000))
        if number % 1000 == 999:
            assert ids.table_bytes <= nothing + number * 9 / ROOMY + 18 * TABLES
    forget(ids, NOW + 1000)
    assert len(ids) == MANY
    assert ids.table_bytes <= MANY * 9 / ROOMY + 18 * TABLES
    assert all(identifier(number) in ids for number in range(MANY, 2 * MANY))
    forget(ids, NOW + 20_000)
    assert ids.table_bytes == nothing


def test_it_stays_small_while_things_come_and_end() -> None:
    """As many as end are put in, for a long time: the memory stays what they need, and an eighth more of ended ones."""
    ids = RevokedIds()
    for number in range(6 * MANY):
        ids.add(identifier(number), NOW + number // 10)
        if number % 100 == 0:
            ids.forget(NOW + number // 10 - MANY // 10)
    live = MANY + 640
    assert MANY <= len(ids) <= live * 1.35
    assert all(identifier(number) in ids for number in range(5 * MANY, 6 * MANY))


@pytest.mark.parametrize("value", [0, 1, -1, 2**63 - 1, -(2**63), 0xFFFFF, 1 << 20, -(1 << 20)])
def test_every_fingerprint_has_a_place(value: int) -> None:
    """None of them is mistaken for a free place, or runs off a table's end."""
    ids = RevokedIds(lambda text: value if text == "odd" else hash(text))
    assert "odd" not in ids
    ids.add("odd", NOW)
    for number in range(MANY):
        ids.add(identifier(number), NOW)
    assert "odd" in ids
    assert len(ids) == MANY + 1


def test_crowds_find_their_way_around_the_end() -> None:
    """Many that want the very same place, the last one of a table, are found all the same."""
    numbers = {str(number): (number << 32 | 0xFFF00000) & ~0xFF for number in range(1, 3000)}
    ids = RevokedIds(numbers.__getitem__)
    for text in numbers:
        ids.add(text, NOW)
    assert all(text in ids for text in numbers)


def test_whoever_reads_sees_all_that_was_put_in_before() -> None:
    """While one thread puts in and forgets, through growth and sweeps, no other misses what is known to be in."""
    ids = RevokedIds()
    known, forgotten = 0, -1
    done = threading.Event()
    missed: list[int] = []

    def read() -> None:
        while not done.is_set():
            upto = known
            lately = range(max(0, upto - 300), upto)
            missed.extend(number for number in lately if identifier(number) not in ids and number > forgotten)

    readers = [threading.Thread(target=read) for _ in range(3)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for reader in readers:
            reader.start()
        for number in range(2 * MANY):
            ids.add(identifier(number), NOW + number)
            known = number + 1
            if number % 50 == 0:
                forgotten = number - 1000
                ids.forget(NOW + forgotten)
    finally:
        sys.setswitchinterval(interval)
        done.set()
        for reader in readers:
            reader.join(20)
    assert missed == []


@pytest.mark.parametrize("seed", ["0", "42", "random"])
def test_identifiers_that_look_alike_can_t_be_chosen(seed: str) -> None:
    """Also where the environment fixes Python's own hash: fingerprints differ from process to process."""
    program = "from payymo_guard.revoked import RevokedIds; print(RevokedIds()._fingerprint('x'), 'x' in RevokedIds())"
    lines = {
        subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for _ in range(2)
    }
    assert len(lines) == 2
    assert all(line.endswith(" False\n") for line in lines)
