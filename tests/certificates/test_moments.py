"""Killed at any statement, or done by several at once: one version at most is active, and no key is half there."""

from collections import Counter
from collections.abc import Callable

import pytest

from payymo.certificates.making import parse_names
from payymo.certificates.model import DAY_SECONDS
from payymo.errors import Conflict, PayymoError
from payymo.logs import Trace
from tests.races.test_threads import at_once
from tests.support.certificates import HOST, NAME, Issuer, add, duties, rows, states, told
from tests.support.house import House
from tests.support.moments import kill_points

ISSUER = Issuer()
TRACE = Trace()
ROUNDS = 5


def assert_sound(house: House, active: set[int]) -> None:
    """Invariant 14: the active version is one of these, it opens, and no private half is there without its seal."""
    found = rows(house)
    assert Counter(row.state for row in found)["active"] == 1
    assert {row.version for row in found if row.state == "active"} <= active
    for row in found:
        assert (row.private_key is None) == (row.data_key_id is None) == (row.state in {"retired", "revoked"})
    assert house.services.certificates.current(NAME, trace=TRACE) is not None


def test_a_first_import_that_dies_leaves_nothing(house: House) -> None:
    """Or all of it; the next attempt does all of it."""
    material = ISSUER.material()
    for dying in kill_points(house):
        with dying:
            add(house, material)
        assert len(rows(house)) == (1 if dying.survived else 0)
    assert_sound(house, {1})


def test_an_import_that_takes_over_at_once_may_die_anywhere(house: House) -> None:
    """The one before is in use until the new one is."""
    add(house, ISSUER.material())
    material = ISSUER.material()
    for dying in kill_points(house):
        with dying:
            add(house, material, activates_at=int(house.clock.now))
        assert_sound(house, {2} if dying.survived else {1})


@pytest.mark.parametrize("by_calendar", [False, True], ids=["by hand", "by calendar"])
def test_an_activation_may_die_anywhere(house: House, *, by_calendar: bool) -> None:
    """There is one active version before it and after it."""
    add(house, ISSUER.material(days=90))
    add(house, ISSUER.material(days=120))
    house.clock.advance(84 * DAY_SECONDS)
    for dying in kill_points(house):
        with dying:
            if by_calendar:
                duties(house)
            else:
                house.services.certificates.activate(NAME, 2, trace=TRACE)
        assert_sound(house, {2} if dying.survived else {1, 2})


@pytest.mark.parametrize(
    ("act", "heir"),
    [
        (lambda house: house.services.certificates.revoke(NAME, 1, trace=TRACE), 2),
        (lambda house: house.services.certificates.retire(NAME, 2, trace=TRACE), 1),
    ],
    ids=["revoke", "retire"],
)
def test_an_ending_may_die_anywhere(house: House, act: Callable[[House], object], heir: int) -> None:
    """The private half is destroyed in the transaction that says so."""
    add(house, ISSUER.material())
    add(house, ISSUER.material())
    for dying in kill_points(house):
        with dying:
            act(house)
        assert_sound(house, {heir} if dying.survived else {1})


def test_a_request_and_its_answer_may_die_anywhere(house: House) -> None:
    """The key is there with its request, or neither is."""
    for dying in kill_points(house):
        with dying:
            house.services.certificates.request(NAME, parse_names([HOST], [], []), trace=TRACE)
        assert len(rows(house)) == (1 if dying.survived else 0)


def tried(act: Callable[[], object]) -> Callable[[], str]:
    """What came of it: done, or refused."""

    def run() -> str:
        try:
            act()
        except PayymoError as error:
            return type(error).__name__
        return "done"

    return run


def test_imports_at_once_become_one_active_and_one_next(house: House) -> None:
    """The rest are told that there is a next one; the same file twice is one version."""
    for number in range(ROUNDS):
        name = f"n{number}"
        materials = [ISSUER.material() for _ in range(4)]
        results = at_once(*[tried(lambda m=m, name=name: add(house, m, name)) for m in materials])  # type: ignore[misc]
        assert sorted(results) == ["Conflict", "Conflict", "done", "done"]
        assert sorted(states(house, name)) == ["active", "next"]
        same = ISSUER.material()
        results = at_once(*[tried(lambda m=same, name=name: add(house, m, f"{name}-same"))] * 4)  # type: ignore[misc]
        assert sorted(results) == ["Conflict", "Conflict", "Conflict", "done"]


def test_activations_at_once_happen_once(house: House) -> None:
    """By hand and by calendar, from two services."""
    other = House(house.database, clock=house.clock)
    for number in range(ROUNDS):
        name = f"n{number}"
        add(house, ISSUER.material(days=30), name)
        add(house, ISSUER.material(days=120), name, activates_at=int(house.clock.now) + 60)
        house.clock.advance(60)
        acts = [lambda each=each: duties(each) for each in (house, other)]  # type: ignore[misc]
        acts += [lambda name=name: house.services.certificates.activate(name, 2, trace=TRACE)] * 2  # type: ignore[misc]
        results = at_once(*map(tried, acts))
        assert set(results) <= {"done", "Conflict"}
        assert states(house, name) == ["retiring", "active"]
        done = sum(len(told(each, "certificate.activated")) for each in (house, other))
        assert done == 2 * (number + 1)
    other.close()


def test_activation_against_retirement(house: House) -> None:
    """Either the version is in use, or its key is gone; never both, and never is none in use."""
    seen = set()
    for number in range(ROUNDS):
        name = f"n{number}"
        for _ in range(2):
            add(house, ISSUER.material(), name)
        results = at_once(
            tried(lambda name=name: house.services.certificates.activate(name, 2, trace=TRACE)),  # type: ignore[misc]
            tried(lambda name=name: house.services.certificates.retire(name, 2, trace=TRACE)),  # type: ignore[misc]
        )
        assert sorted(results) == ["Conflict", "done"]
        seen.add(tuple(states(house, name)))
        assert seen <= {("retiring", "active"), ("active", "retired")}
        assert house.services.certificates.current(name, trace=TRACE) is not None


def test_warnings_at_once_are_one(house: House) -> None:
    """Two services that both believe they hold the lease."""
    other = House(house.database, clock=house.clock)
    add(house, ISSUER.material(days=20))
    at_once(*[lambda each=each: duties(each) for each in (house, other, house, other)])  # type: ignore[misc]
    assert len(told(house)) + len(told(other)) == 1
    other.close()


def test_a_revocation_is_not_undone_by_a_reencryption(house: House) -> None:
    """What was destroyed while values are sealed again stays so."""
    for number in range(ROUNDS):
        name = f"n{number}"
        add(house, ISSUER.material(), name)
        at_once(
            lambda name=name: house.services.certificates.revoke(name, 1, trace=TRACE),  # type: ignore[misc]
            lambda: house.services.reencryption.run(
                progress=lambda *_: None, pause=lambda _: None, trace=TRACE, whatever_age=True
            ),
        )
    assert all(row.private_key is None for row in rows(house))
    with pytest.raises(Conflict):
        house.services.certificates.revoke("n0", 1, trace=TRACE)
