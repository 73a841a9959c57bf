"""What tests of races begin with."""

from collections.abc import Iterator

import pytest

from payymo.users.passwords import Passwords
from tests.support.house import Database, House


@pytest.fixture
def house(database: Database) -> Iterator[House]:
    """The service on each kind of database in turn. A password takes its time here: others come in between."""
    built = House(database, passwords=Passwords())
    yield built
    built.close()
