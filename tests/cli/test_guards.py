"""`payymo service` and `payymo guard` as an operator uses them."""

import re
from collections.abc import Iterator

import pytest

from payymo.clock import system_clock
from payymo.errors import InvalidToken
from payymo.logs import Trace
from tests.cli.test_commands import Shell
from tests.support.house import Database, House


@pytest.fixture
def shell(database: Database) -> Shell:
    return Shell(database)


@pytest.fixture
def skew() -> list[float]:
    """By how many seconds the clock of the service is ahead of the machine's."""
    return [0.0]


@pytest.fixture
def house(database: Database, skew: list[float]) -> Iterator[House]:
    """The service on the machine's clock, because the commands are on it."""
    built = House(database, clock=lambda: system_clock() + skew[0])
    yield built
    built.close()


def test_a_credential_from_its_making_to_its_end(shell: Shell, house: House, skew: list[float]) -> None:
    """Made, used by a running service, listed without its secret, revoked, and refused there a second later."""
    made = shell.json("service", "create", "billing", "--scope", "feed", "--scope", "introspection", "--days", "30")
    text, guards = made.pop("credential"), house.services.guards
    assert made == {"name": "billing", "scopes": ["feed", "introspection"], "expires_at": made["expires_at"]}
    assert 0 <= made["expires_at"] - system_clock() - 30 * 86_400 + 60 <= 60
    assert guards.authenticate(text, scope="introspection").name == "billing"
    listed = shell.run("service", "list", "--json")
    assert text.split("_", 2)[2] not in listed.output
    [row] = shell.json("service", "list")
    assert (row["name"], row["state"], row["last_used_at"] is None) == ("billing", "active", False)
    assert shell.json("service", "revoke", "billing", "--yes") == {"revoked": "billing"}
    skew[0] += 1
    with pytest.raises(InvalidToken):
        guards.authenticate(text, scope="feed")
    assert [row["state"] for row in shell.json("service", "list")] == ["revoked"]


def test_a_credential_is_shown_once_and_for_people_too(shell: Shell) -> None:
    """In one piece, whatever the width of the terminal; the log on standard error does not have it."""
    done = shell.run("service", "create", "billing")
    assert done.exit_code == 0
    [text] = re.findall(r"payymo_[0-9a-f]{32}_[A-Za-z0-9_-]{43}", done.stdout)
    assert "service.created" in done.stderr
    assert text.split("_", 2)[2] not in done.stderr
    table = shell.run("service", "list").stdout
    assert "billing" in table
    assert "feed" in table
    assert text not in table


def test_refusals_and_misuse_of_the_command_line(shell: Shell) -> None:
    """1: it can't be done; 2: it can't be meant."""
    for words, code, sentence in [
        (["service", "revoke", "nobody", "--yes"], 1, "There is no service credential nobody"),
        (["service", "create", "No Name"], 1, "name: 1 to 63 of"),
        (["service", "create", "a", "--scope", "everything"], 2, "everything"),
        (["service", "create", "a", "--days", "0"], 2, "days"),
        (["service", "create"], 2, "NAME"),
        (["guard", "lists"], 2, "lists"),
    ]:
        done = shell.run(*words)
        assert (done.exit_code, sentence in done.stderr) == (code, True), words
    shell.json("service", "create", "billing")
    again = shell.run("service", "create", "billing")
    assert (again.exit_code, again.stdout) == (1, "")
    kept = shell.run("service", "revoke", "billing", stdin="n\n")
    assert kept.exit_code == 1
    assert [row["state"] for row in shell.json("service", "list")] == ["active"]


def test_who_follows_is_listed(shell: Shell, house: House) -> None:
    """Since when, with what, how far, with which keys."""
    assert shell.json("guard", "list") == []
    credential = house.services.guards.create("billing", scopes=["feed"], trace=Trace()).credential
    guards = house.services.guards
    guards.report("follower-1", credential=credential, address="10.0.0.1", seq=0, kids=["b", "a"])
    guards.report("follower-2", credential=None, address="127.0.0.1", seq=0, kids=[])
    first, second = shell.json("guard", "list")
    assert (first["id"], first["credential"], first["address"]) == ("follower-1", "billing", "10.0.0.1")
    assert (first["cursor"], first["behind"], first["kids"]) == (0, 0, ["a", "b"])
    assert abs(first["first_seen_at"] - system_clock()) < 60
    assert (second["id"], second["credential"], second["kids"]) == ("follower-2", None, [])
    table = shell.run("guard", "list").stdout
    assert "a, b" in table
    assert "behind" in table
