"""Passwords: hashed and verified a bounded number at a time, replaced at login."""

import threading

import argon2
import pytest
import sqlalchemy as sa
from werkzeug.security import generate_password_hash

from payymo.db.schema import users
from payymo.errors import Overloaded
from payymo.users import hashes
from payymo.users.hashes import Argon2Cost
from payymo.users.passwords import Load, Passwords
from tests.support.crew import Crew
from tests.support.house import PASSWORD, House

CURRENT_PREFIX = "$argon2id$v=19$m=19456,t=2,p=1$"
DUMMY = Argon2Cost().dummy


@pytest.fixture(scope="module")
def hasher() -> Passwords:
    return Passwords()


@pytest.mark.parametrize(
    "stored",
    [
        generate_password_hash(PASSWORD, "scrypt:32768:8:1"),
        generate_password_hash(PASSWORD, "pbkdf2:sha256:1000"),
        argon2.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD),
        argon2.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=2).hash(PASSWORD),
    ],
    ids=["scrypt", "pbkdf2", "argon2-p1", "argon2-p2"],
)
def test_older_hashes_verify_and_are_replaced_at_the_next_login(house: House, stored: str) -> None:
    """Nobody has to choose a new password because the scheme changed."""
    user = house.user("alice")
    owner = house.database.owner()
    with owner.begin() as connection:
        connection.execute(sa.update(users).where(users.c.id == user.id).values(password_hash=stored))
    assert house.client().log_in(password="not the password").status_code == 401
    assert house.client().log_in().status_code == 200
    with owner.connect() as connection:
        replaced = connection.execute(sa.select(users.c.password_hash).where(users.c.id == user.id)).scalar_one()
    owner.dispose()
    assert replaced.startswith(CURRENT_PREFIX)
    assert house.client().log_in().status_code == 200


def test_nobody_costs_the_same_work_as_somebody(hasher: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 24: the dummy has exactly today's parameters, goes the same way, and never says yes."""
    assert not hasher.needs_replacement(DUMMY)
    assert not hasher.needs_replacement(hasher.hash(PASSWORD))
    asked: list[str] = []
    real = hashes.verify
    monkeypatch.setattr(hashes, "verify", lambda password, stored: asked.append(stored) or real(password, stored))
    assert hasher.dummy_password_check(PASSWORD) is False
    assert asked == [DUMMY]


def test_the_dummy_follows_the_parameters_and_older_hashes_are_replaced() -> None:
    """Whoever raises the cost raises it for nobody's password too, and for everybody at their next login."""
    grown = Passwords(cost=Argon2Cost(20_480, 2))
    assert hashes.scheme_of(grown.cost.dummy) == hashes.scheme_of(grown.hash(PASSWORD)) == "argon2id,m=20480,t=2,p=1"
    assert grown.needs_replacement(DUMMY)
    assert not grown.needs_replacement(grown.cost.dummy)


def test_what_is_more_than_the_machine_can_hash_is_refused() -> None:
    """Invariant 22: one runs, one waits, the third is told to come back."""
    gate = Passwords(parallel=1, waiting=2)
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with gate._turn():
            inside.set()
            leave.wait(30)

    with Crew(2) as pool:
        holding = pool.submit(hold)
        assert inside.wait(30)
        waiting = pool.submit(gate.verify, PASSWORD, DUMMY)
        while not gate.load().waiting:
            pass
        with pytest.raises(Overloaded):
            gate.verify(PASSWORD, DUMMY)
        assert gate.load() == Load(running=1, waiting=1, shed=1)
        leave.set()
        assert waiting.result() is False
        holding.result()
    assert gate.verify(PASSWORD, DUMMY) is False
    assert gate.load() == Load(running=0, waiting=0, shed=1)


@pytest.mark.parametrize(
    "stored", ["", "x", "$argon2id$", "$argon2id$v=19$m=9,t=2,p=1$x$y", "scrypt:1:1:1$a", "md5$x$y"]
)
def test_a_hash_that_cannot_be_read_is_a_no(hasher: Passwords, stored: str) -> None:
    """Errors fail closed: no exception, no login."""
    assert hasher.verify(PASSWORD, stored) is False


def test_nothing_is_cut_off(hasher: Passwords) -> None:
    """Okta 2024: passwords that agree in the first 72 bytes are two passwords."""
    stem = "a" * 80
    stored = hasher.hash(stem + "1")
    assert hasher.verify(stem + "1", stored)
    assert not hasher.verify(stem + "2", stored)
    assert not hasher.verify(stem, stored)


def test_one_password_typed_on_two_keyboards_is_one_password(hasher: Passwords) -> None:
    """NFC: a composed and a decomposed é are the same."""
    assert hasher.verify("correct cafe\u0301 horse", hasher.hash("correct caf\u00e9 horse"))
