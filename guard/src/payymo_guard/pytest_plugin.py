"""Fixtures for the tests of services that a guard protects.

They are there with `pytest_plugins = ["payymo_guard.pytest_plugin"]` in the uppermost conftest.py.
"""

from collections.abc import Iterator

import pytest

from payymo_guard.guard import Guard
from payymo_guard.testing import FakeIssuer


@pytest.fixture
def payymo_issuer() -> FakeIssuer:
    """An issuer of this test's own: mints, revokes, rotates."""
    return FakeIssuer()


@pytest.fixture
def payymo_guard(payymo_issuer: FakeIssuer) -> Iterator[Guard]:
    """A guard that trusts `payymo_issuer` and hears at once of what it revokes."""
    with payymo_issuer.guard() as guard:
        yield guard
