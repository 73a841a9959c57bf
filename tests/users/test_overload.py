"""What happens to logins when there is more to hash than the machine can take."""

import os

import pytest
from werkzeug.security import generate_password_hash

from payymo.errors import Overloaded
from payymo.users.passwords import Passwords
from tests.support.house import PASSWORD, House


def test_a_right_password_is_no_503_because_its_old_hash_could_not_be_replaced(
    sqlite_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The password was proven: whether there is room for another hash must neither refuse it nor tell it apart."""
    user = sqlite_house.user("alice")
    old = generate_password_hash(PASSWORD, "pbkdf2:sha256:1000")
    with sqlite_house.by_hand(user.tenant_id) as tx:
        sqlite_house.services.users.change_password(tx, user.id, old)

    def refuse(_password: str) -> str:
        raise Overloaded

    with monkeypatch.context() as busy:
        busy.setattr(sqlite_house.services.passwords, "hash", refuse)
        assert sqlite_house.client().log_in().status_code == 200
        assert sqlite_house.client().log_in(password="not the password").status_code == 401
    assert sqlite_house.client().log_in().status_code == 200


def test_the_cores_are_shared_between_the_processes() -> None:
    """Four workers on four cores hash one at a time each; and never none."""
    cores = os.cpu_count() or 1
    assert Passwords().parallel == cores
    assert Passwords(processes=cores).parallel == 1
    assert Passwords(processes=cores + 1).parallel == 1
