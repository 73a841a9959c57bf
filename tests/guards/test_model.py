"""What service credentials and followers are, without a database."""

import ipaddress
import uuid
from dataclasses import replace

import pytest

from payymo.guards.model import KIDS_AT_MOST, GuardPolicy, ServiceCredential, is_follower_id, tidied

T = 1_800_000_000
CREDENTIAL = ServiceCredential(uuid.UUID(int=1), "billing", b"digest", ("feed",), T, T + 100)


@pytest.mark.parametrize(("second", "state"), [(99, "active"), (100, "expired"), (101, "expired")])
def test_a_credential_counts_until_it_expires(second: int, state: str) -> None:
    """To the second; whatever it is by time, revoked is revoked."""
    assert CREDENTIAL.state(T + second) == state
    assert replace(CREDENTIAL, revoked_at=T + 1).state(T + second) == "revoked"


def test_a_credential_shows_no_digest() -> None:
    """Nothing to compare with in a traceback."""
    assert "digest" not in repr(CREDENTIAL)


@pytest.mark.parametrize(
    ("address", "open_"),
    [("10.1.2.3", True), ("11.1.2.3", False), ("fd00::1", True), ("fe80::1", False), ("unknown", False), ("", False)],
)
def test_an_address_is_in_an_open_network_or_not(address: str, open_: bool) -> None:  # noqa: FBT001 - a table
    """What can't be read as an address is in none."""
    policy = GuardPolicy((ipaddress.IPv4Network("10.0.0.0/8"), ipaddress.IPv6Network("fd00::/16")))
    assert policy.is_open_to(address) is open_
    assert not GuardPolicy().is_open_to(address)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("a" * 8, True),
        ("Az09_-Az", True),
        ("a" * 64, True),
        ("a" * 7, False),
        ("a" * 65, False),
        ("a" * 8 + "\n", False),
    ],
)
def test_followers_have_names_of_a_shape(text: str, good: bool) -> None:  # noqa: FBT001 - a table
    """As the contract of the feed says."""
    assert is_follower_id(text) is good


def test_keys_that_are_held_are_tidied() -> None:
    """In one order, each once, bounded; what can be no kid is dropped, NUL above all, which PostgreSQL can't keep."""
    assert tidied(["b", "a", "b", "", "x" * 65, "a\0", "ü"]) == ("a", "b")
    assert len(tidied(str(number) for number in range(100))) == KIDS_AT_MOST
