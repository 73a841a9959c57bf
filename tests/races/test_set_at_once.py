"""What a tenant has one of, set by two at the same moment for the first time: one is told, and nothing fails."""

from collections.abc import Callable, Iterator
from typing import Final

import pytest

from payymo.errors import Conflict
from payymo.logs import Trace
from payymo.mail.model import Sender
from payymo.users.password_policy import PasswordPolicy
from tests.support.house import Database, House
from tests.support.moments import before

Set = Callable[[House, int], None]


def _set_policy(house: House, number: int) -> None:
    policy = PasswordPolicy(min_length=12 + number)
    house.services.password_policies.set(house.default.id, policy, by=None, trace=Trace())


def _set_retention(house: House, number: int) -> None:
    house.services.retention.set(house.default.id, 100 + number, trace=Trace())


def _set_sender(house: House, number: int) -> None:
    sender = Sender(f"desk-{number}@example.com", "Desk")
    house.services.outbox.set_sender(house.default.id, sender, trace=Trace())


SETTINGS: Final[dict[str, Set]] = {
    "password_policies": _set_policy,
    "audit_retention": _set_retention,
    "mail_senders": _set_sender,
}


@pytest.fixture
def house(postgres_database: Database) -> Iterator[House]:
    """On PostgreSQL: SQLite's writers are alone."""
    built = House(postgres_database)
    yield built
    built.close()


@pytest.mark.parametrize("table", SETTINGS)
def test_of_two_who_set_it_for_the_first_time_one_is_told(house: House, table: str) -> None:
    """There was nothing to lock yet. What the other one has set stays, and the next try takes its place."""
    put = SETTINGS[table]
    with (
        before(house, lambda statement: f"INSERT INTO {table} " in statement, lambda: put(house, 1)),
        pytest.raises(Conflict),
    ):
        put(house, 2)
    put(house, 3)
