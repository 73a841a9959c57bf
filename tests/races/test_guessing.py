"""Many tries at one password at once: no more are admitted than one after the other would be."""

import threading
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import Future

import pytest

from payymo.attempts.model import Origin
from payymo.limits.limiter import account_key
from payymo.logs import Trace
from tests.support.crew import Crew
from tests.support.house import Database, House
from tests.support.moments import before, begun_beside
from tests.support.processes import servers

WRONG = {"email": "alice@example.com", "password": "wrong password 1"}


def admitted(statuses: Iterable[int]) -> int:
    """How many tries came as far as the password. A busy machine may be too busy for one; it admits nobody by that."""
    counts = Counter(statuses)
    assert set(counts) <= {401, 429, 503}
    return counts[401]


def test_fifty_tries_at_once_are_five_in_one_process(database: Database) -> None:
    """Invariant 23: counted before the password is looked at, whether there is such an account or not."""
    house = House(database, lockout={"enabled": True})
    house.user("alice")
    for email in ("alice@example.com", "nobody@example.com"):
        start = threading.Barrier(50)

        def attempt(_: int, email: str = email, start: threading.Barrier = start) -> int:
            start.wait()
            return house.client().log_in(email, "wrong password 1").status_code

        with Crew(50) as crew:
            assert admitted(crew.map(attempt, range(50))) == 5
    house.close()


def test_parallel_logins_with_the_right_password_leave_nothing_counted(house: House) -> None:
    """What is counted first is given back in the end, however the tries overlap."""
    guarded = House(house.database, lockout={"enabled": True})
    guarded.user("alice")
    for _ in range(3):
        with Crew(4) as crew:
            assert set(crew.map(lambda _: guarded.client().log_in().status_code, range(4))) == {200}
    with Crew(8) as crew:
        statuses = crew.map(lambda _: guarded.client().log_in(password="wrong password 1").status_code, range(8))
        assert admitted(statuses) == 5
    guarded.close()


def test_a_device_has_its_tries_once(database: Database) -> None:
    """Forty, eight at once, with one stolen cookie: its own ten, and then the five that any stranger has."""
    house = House(database, lockout={"enabled": True})
    house.user("alice")
    client = house.client()
    [cookie] = client.log_in().headers.getlist("Set-Cookie")
    name, _, value = cookie.partition(";")[0].partition("=")

    def attempt(_: int) -> int:
        thief = house.client()
        thief.http.set_cookie(name, value)
        return thief.log_in(password="wrong password 1").status_code

    with Crew(8) as crew:
        assert admitted(crew.map(attempt, range(40))) == 15
    house.close()


@pytest.mark.parametrize("act", ["is admitted", "has logged in"])
def test_a_browser_that_logs_in_twice_at_once_is_known(postgres_database: Database, act: str) -> None:
    """A button that was pressed twice: neither login finds the other's row in its way, or takes it for used up."""
    house = House(postgres_database, lockout={"enabled": True})
    user, attempts, tenant_id = house.user("alice"), house.services.attempts, house.default.id
    house.logged_in()
    [session] = house.services.sessions.list_sessions(tenant_id, user.id)
    token = attempts.remember(tenant_id, user.id, session.id, ())
    origin = Origin(account_key(tenant_id, user.email), user.email, "192.0.2.1", (token or "",))
    one, other = (attempts.admit(tenant_id, origin, trace=Trace()) for _ in range(2))
    acts = {
        "is admitted": lambda: attempts.admit(tenant_id, origin, trace=Trace()),
        "has logged in": lambda: attempts.succeeded(other, user.id, session.id),
    }
    beside: list[Future[object]] = []

    def has_saved(statement: str) -> bool:
        return "DELETE FROM known_devices" in statement and "NOT IN" in statement

    with Crew(1) as crew:
        with before(house, has_saved, lambda: beside.append(begun_beside(crew, postgres_database, acts[act]))):
            attempts.succeeded(one, user.id, session.id)
        beside[0].result()
    assert attempts.knows(tenant_id, origin.tokens, user.email)
    assert "device.forgotten" not in {found["event"] for found in house.events()}
    house.close()


def test_a_try_that_meets_an_unlocking_is_counted(postgres_database: Database) -> None:
    """The account's row comes with another try, and goes with the unlocking, between two of our statements."""
    house = House(postgres_database, lockout={"enabled": True})
    user, attempts, tenant_id = house.user("alice"), house.services.attempts, house.default.id
    account = account_key(tenant_id, user.email)
    origin, added = Origin(account, user.email, "192.0.2.1"), []

    def is_adding(statement: str) -> bool:
        added.append("INSERT INTO login_attempts" in statement)
        return added[-1]

    def is_locking_again(statement: str) -> bool:
        return any(added) and "login_attempts" in statement and "FOR UPDATE" in statement

    def unlock() -> None:
        with house.by_hand(tenant_id) as tx:
            attempts.unlock(tx, user.id, account)

    with before(house, is_locking_again, unlock), before(house, is_adding, lambda: try_beside(house, origin)):
        assert attempts.admit(tenant_id, origin, trace=Trace()).counted == 1
    house.close()


def try_beside(house: House, origin: Origin) -> None:
    """In a process of its own, so to speak: it is none of our statements."""
    other = House(house.database, clock=house.clock, lockout={"enabled": True})
    other.services.attempts.admit(house.default.id, origin, trace=Trace())
    other.close()


def test_fifty_tries_at_once_are_five_on_two_nodes(database: Database) -> None:
    """Invariant 23: processes on one database count together."""
    house = House(database)
    house.user("alice")
    house.close()
    with servers(database, 2, PAYYMO_LOCKOUT__ENABLED="true") as nodes:
        start = threading.Barrier(50)

        def attempt(number: int) -> int:
            with nodes[number % 2].client() as client:
                start.wait()
                return client.post("/api/auth/login", json=WRONG).status_code

        with Crew(50) as crew:
            assert admitted(crew.map(attempt, range(50))) == 5


@pytest.mark.parametrize("act", ["a login", "a failure"])
def test_nobody_waits_in_a_circle_with_an_erasing(postgres_database: Database, act: str) -> None:
    """Whoever erases holds the user first, then forgets what was tried; so does everybody: none ends in a deadlock."""
    house = House(postgres_database, lockout={"enabled": True, "failures": 1})
    user, attempts, tenant_id = house.user("alice"), house.services.attempts, house.default.id
    account = account_key(tenant_id, user.email)
    house.logged_in()
    [session] = house.services.sessions.list_sessions(tenant_id, user.id)
    attempt = attempts.admit(tenant_id, Origin(account, user.email, "192.0.2.1"), trace=Trace())
    acts = {
        "a login": lambda: attempts.succeeded(attempt, user.id, session.id),
        "a failure": lambda: attempts.failed(attempt, trace=Trace()),
    }
    with Crew(1) as crew:
        with house.by_hand(tenant_id) as tx:
            house.services.users.lock(tx, user.id, by=None)
            done = begun_beside(crew, postgres_database, acts[act])
            attempts.forget(tx, account)
            house.services.users.remove(tx, user.id)
        done.result()
    house.close()


@pytest.mark.parametrize("act", ["a login", "a change of the password", "a letter"])
def test_nobody_waits_in_a_circle_with_an_unlocking(postgres_database: Database, act: str) -> None:
    """Whoever unlocks holds the user first, and then what was counted; so does everybody: none ends in a deadlock."""
    house = House(postgres_database, lockout={"enabled": True, "failures": 1})
    user, services, tenant_id = house.user("alice"), house.services, house.default.id
    account = account_key(tenant_id, user.email)
    house.logged_in()
    [session] = services.sessions.list_sessions(tenant_id, user.id)
    attempt = services.attempts.admit(tenant_id, Origin(account, user.email, "192.0.2.1"), trace=Trace())
    services.attempts.failed(attempt, trace=Trace())
    acts = {
        "a login": lambda: services.attempts.succeeded(attempt, user.id, session.id),
        "a change of the password": lambda: services.attempts.remember(
            tenant_id, user.id, session.id, (), unlocks=[account]
        ),
        "a letter": services.lockouts.tell_due,
    }
    with Crew(1) as crew:
        with services.work(tenant_id) as tx:
            services.users.lock(tx, user.id, by=None)
            done = begun_beside(crew, postgres_database, acts[act])
            services.attempts.unlock(tx, user.id, account)
        done.result()
    house.close()
