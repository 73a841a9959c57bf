"""What users change of themselves without their password."""

import pytest

from payymo.languages import ENGLISH
from tests.support.house import House


def test_a_user_says_in_which_language_they_are_written_to(house: House) -> None:
    """It takes the place of what was known, everybody sees it who sees the user, and nobody else's changes."""
    house.user("bob")
    house.user("alice")
    alice = house.logged_in()
    assert alice.get("/api/auth/me").get_json()["data"]["user"]["language"] is None
    for code in ("de", ENGLISH):
        answer = alice.call("PATCH", "/api/auth/me", {"language": code})
        assert answer.get_json()["data"]["language"] == code
        assert alice.get("/api/auth/me").get_json()["data"]["user"]["language"] == code
    assert house.logged_in("bob").get("/api/auth/me").get_json()["data"]["user"]["language"] is None


@pytest.mark.parametrize("body", [{}, {"language": None}, {"language": "xx"}, {"language": "DE"}, {"username": "eve"}])
def test_what_is_no_language_changes_nothing(house: House, body: dict[str, object]) -> None:
    """And nothing but the language is changed without the password."""
    house.user("alice")
    alice = house.logged_in()
    alice.call("PATCH", "/api/auth/me", {"language": "de"})
    assert alice.call("PATCH", "/api/auth/me", body).status_code == 422
    user = alice.get("/api/auth/me").get_json()["data"]["user"]
    assert (user["language"], user["username"]) == ("de", "alice")
