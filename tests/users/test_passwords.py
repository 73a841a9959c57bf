"""Password hashes and the rule for new passwords."""

import threading

import argon2
import pytest
import sqlalchemy as sa
from werkzeug.security import generate_password_hash

from payymo.db.schema import users
from payymo.errors import Overloaded
from payymo.users import passwords
from payymo.users.passwords import CURRENT_PREFIX, Load, Passwords, needs_replacement, password_problems
from tests.support.crew import Crew
from tests.support.house import PASSWORD, House

LONG_USER = {"email": "someone@example.com", "username": "someone"}


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
    assert not needs_replacement(passwords._DUMMY)
    assert not needs_replacement(hasher.hash(PASSWORD))
    asked: list[str] = []
    real = passwords._verify
    monkeypatch.setattr(passwords, "_verify", lambda password, stored: asked.append(stored) or real(password, stored))
    assert hasher.dummy_password_check(PASSWORD) is False
    assert asked == [passwords._DUMMY]


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
        waiting = pool.submit(gate.verify, PASSWORD, passwords._DUMMY)
        while not gate.load().waiting:
            pass
        with pytest.raises(Overloaded):
            gate.verify(PASSWORD, passwords._DUMMY)
        assert gate.load() == Load(running=1, waiting=1, shed=1)
        leave.set()
        assert waiting.result() is False
        holding.result()
    assert gate.verify(PASSWORD, passwords._DUMMY) is False
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


@pytest.mark.parametrize(
    ("length", "accepted"), [(11, False), (12, True), (13, True), (127, True), (128, True), (129, False)]
)
def test_length_is_counted_in_code_points(length: int, accepted: bool) -> None:  # noqa: FBT001 - a table
    """12 to 128, whatever they weigh in UTF-8."""
    assert (password_problems("ž" * (length - 2) + "9!", **LONG_USER) == []) is accepted


@pytest.mark.parametrize("password", [PASSWORD, "correct horse battery staple!", "пароль-для-проверки", "🦉" * 12])
def test_good_passwords_are_taken(password: str) -> None:
    """No kinds of characters are asked for."""
    assert password_problems(password, email="alice@example.com", username="alice") == []


@pytest.mark.parametrize(
    "password",
    [
        "password1234",
        "PASSWORD1234",
        "alice@example.com",
        "xx-someone-xx",
        "SOMEONE-else",
        "with a \x00 inside it",
        "a line\nfeed inside",
        "a lone \ud800 surrogate",
    ],
)
def test_bad_passwords_are_refused(password: str) -> None:
    """Breached, one's own name or address, control characters, half a character."""
    found = password_problems(password, email="alice@example.com", username="someone")
    assert [problem.pointer for problem in found] == ["/password"]
