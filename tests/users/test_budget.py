"""What a refused login has to take: as long as the slowest kind of hash that its tenant has."""

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from werkzeug.security import generate_password_hash

from payymo.entropy import Entropy
from payymo.tenants.model import Tenant
from payymo.users.budget import LOOK_SECONDS, REST_SECONDS, Budgets
from payymo.users.hash_times import ASSUMED_SECONDS, LEAST_TAIL, RECENT, HashTimes
from payymo.users.hashes import Argon2Cost, kind_of
from payymo.users.passwords import Passwords
from tests.support.crew import Crew
from tests.support.house import Database, FakeClock, House

CURRENT = Argon2Cost()
OLD = generate_password_hash("x", "pbkdf2:sha256:1000")
OLDER = "$argon2id$v=19$m=512,t=1,p=1$YWFhYWFhYWE$YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE"


def test_the_slow_ones_of_the_slowest_kind_count() -> None:
    """By what was seen of late; how far slow ones lie from the middle is taken from the kind that is seen most."""
    times = HashTimes()
    assert times.slowest(["rare"], usual="usual") == ASSUMED_SECONDS
    times.note("rare", 0.2)
    assert times.slowest(["usual", "rare"], usual="usual") == ASSUMED_SECONDS
    for _ in range(RECENT):
        times.note("usual", 0.02)
    assert times.slowest(["usual", "rare"], usual="usual") == pytest.approx(0.2 * LEAST_TAIL)
    for _ in range(5):
        times.note("usual", 0.06)
    assert times.slowest(["usual", "rare"], usual="usual") == pytest.approx(0.2 * 3)
    for _ in range(RECENT):
        times.note("usual", 0.02)
        times.note("rare", 0.4)
    assert times.slowest(["usual", "rare"], usual="usual") == pytest.approx(0.4 * LEAST_TAIL)


@pytest.fixture
def house(database: Database) -> Iterator[House]:
    """With hashes that are computed each time: their time counts."""
    built = House(database, passwords=Passwords())
    yield built
    built.close()


def _import(house: House, tenant: Tenant, stored: str) -> uuid.UUID:
    user = house.user(f"user-{house.services.entropy.token(4)}", tenant=tenant)
    with house.by_hand(tenant.id) as tx:
        house.services.users.change_password(tx, user.id, stored)
    return user.id


def test_a_tenant_waits_for_its_own_slowest_kind(house: House) -> None:
    """Today's where there is no other; the others' never; all are found, and measured before anybody waits for them."""
    times, other = house.services.passwords.times, house.tenant("other")
    budgets = Budgets(house.services.work, house.services.passwords, Entropy())
    own = budgets.of(house.default.id, 0.0).seconds
    assert REST_SECONDS < times.slowest([CURRENT.kind], usual=CURRENT.kind) + REST_SECONDS < own < ASSUMED_SECONDS
    for stored in (OLD, OLD, OLDER):
        _import(house, other, stored)
    times.note(CURRENT.kind, 0.001)
    found = budgets.of(other.id, 0.0).seconds
    for stored in (OLD, OLDER):
        times.note(kind_of(stored), 0.3)
        assert times.slowest([kind_of(stored)], usual=CURRENT.kind) < ASSUMED_SECONDS  # it was measured
    assert REST_SECONDS < found < ASSUMED_SECONDS
    assert budgets.of(other.id, 0.0).seconds >= 0.3 + REST_SECONDS
    assert budgets.of(house.default.id, 0.0).seconds == own


def test_the_slowest_of_many_kinds_counts_whatever_it_is_called(sqlite_house: House) -> None:
    """A site of many years has more than are timed at once: none is left out because its name comes last."""
    times, tenant = sqlite_house.services.passwords.times, sqlite_house.default
    budgets = Budgets(sqlite_house.services.work, sqlite_house.services.passwords, Entropy())
    stored = [f"pbkdf2:sha256:{10 + number}$salt${'00' * 32}" for number in range(25)]
    for one in stored:
        _import(sqlite_house, tenant, one)
    for _ in range(RECENT):
        times.note(kind_of(stored[-1]), 2.0)
    assert budgets.of(tenant.id, 0.0).seconds >= 2.0 + REST_SECONDS


def test_who_comes_while_somebody_looks_makes_no_look_of_their_own(sqlite_house: House) -> None:
    """Refused logins come in crowds: one of them asks the database, and all have the answer."""
    looks: list[str] = []

    @contextmanager
    def counted(name: str) -> Iterator[None]:
        looks.append(name)
        yield

    work, tenant = sqlite_house.services.work, sqlite_house.default
    _import(sqlite_house, tenant, OLD)
    budgets = Budgets(work, sqlite_house.services.passwords, Entropy())
    work.trace(counted)
    with Crew(8) as crew:
        found = [found.seconds for found in crew.map(lambda tenant_id: budgets.of(tenant_id, 0.0), [tenant.id] * 8)]
    assert looks == ["transaction"]
    assert min(found) > 0


@pytest.mark.parametrize(("later", "is_seen"), [(-1, False), (0, True), (1, True)])
def test_an_import_is_seen_half_a_minute_later(sqlite_house: House, later: int, is_seen: bool) -> None:  # noqa: FBT001 - a table
    """And so is that nobody's hash is of that kind any more."""
    clock = FakeClock()
    budgets = Budgets(sqlite_house.services.work, sqlite_house.services.passwords, Entropy(), clock=clock)
    tenant = sqlite_house.default
    times = sqlite_house.services.passwords.times
    usual = budgets.of(tenant.id, 0.0).seconds
    user_id = _import(sqlite_house, tenant, OLD)
    for _ in range(RECENT):
        times.note(kind_of(OLD), 2.0)
    clock.advance(LOOK_SECONDS + later)
    assert (budgets.of(tenant.id, 0.0).seconds > 2.0) is is_seen
    with sqlite_house.by_hand(tenant.id) as tx:
        sqlite_house.services.users.change_password(tx, user_id, CURRENT.dummy)
    clock.advance(LOOK_SECONDS)
    assert budgets.of(tenant.id, 0.0).seconds == usual


def test_who_was_late_is_known_by_the_hash_that_was_verified(house: House) -> None:
    """By the one of this request, in this thread; what is measured on the way is nobody's."""
    passwords, tenant = house.services.passwords, house.tenant("other")
    _import(house, tenant, OLD)
    budgets = Budgets(house.services.work, passwords, Entropy())
    began = time.monotonic()
    budgets.of(tenant.id, began)
    for stored, turns in ((CURRENT.dummy, 1), (OLD, 2), (OLD, 1)):
        began = time.monotonic()
        passwords.verify("x", stored)
        with ThreadPoolExecutor(1) as other:
            other.submit(passwords.verify, "x", CURRENT.dummy).result()
        budgets.of(tenant.id, began).turns(turns)
    budgets.of(tenant.id, time.monotonic()).turns(1)
    kinds = (kind_of(OLD),)
    seen = {own: (found.count, list(found.late)) for (_, own), found in budgets._lateness._seen.items()}
    assert {tenants for tenants, _ in budgets._lateness._seen} == {kinds}
    assert seen == {CURRENT.kind: (1, []), kind_of(OLD): (2, [(1, 2)]), "": (1, [])}
