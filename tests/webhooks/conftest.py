"""A receiver on the loopback, and services that may send there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.house import Database, House
from tests.support.receiver import Receiver, receiver


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Receiver]:
    """A receiver that takes what it gets."""
    with receiver(tmp_path) as found:
        yield found


@pytest.fixture
def house(database: Database, there: Receiver) -> Iterator[House]:
    """A service that trusts it, on each kind of database in turn."""
    built = House(database, **there.settings())
    yield built
    built.close()


@pytest.fixture
def sqlite_house(sqlite_database: Database, there: Receiver) -> Iterator[House]:
    """The same on SQLite, where the database makes no difference."""
    built = House(sqlite_database, **there.settings())
    yield built
    built.close()
