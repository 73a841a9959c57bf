"""`payymo password` and `payymo user import` as an operator uses them."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest

from payymo.clock import system_clock
from payymo.users.calibration import Measured, calibrate
from payymo.users.hashes import Argon2Cost
from tests.cli.test_commands import Shell
from tests.support.house import PASSWORD, Database, House

HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()


@pytest.fixture
def shell(sqlite_database: Database) -> Shell:
    return Shell(sqlite_database)


@pytest.fixture
def house(sqlite_database: Database) -> Iterator[House]:
    """The service on the machine's clock, because the commands are on it."""
    built = House(sqlite_database, clock=system_clock)
    yield built
    built.close()


def test_the_policy_is_shown_changed_and_reset(shell: Shell, house: House) -> None:
    """What is not given stays; the other way back is --reset; a running service asks for it at once."""
    assert shell.json("password", "policy")["set_by"] == "settings"
    shell.json("password", "policy", "--profile", "strict", "--word", "rocket", "--word", "road runner")
    found = shell.json("password", "policy", "--complexity-classes", "4")
    assert found == {
        "min_length": 15,
        "max_length": 128,
        "min_score": 3,
        "complexity_classes": 4,
        "words": ["rocket", "road runner"],
        "set_by": "tenant",
    }
    assert "15 to 128" in house.client().register(password="Short enough 1").get_json()["errors"][0]["detail"]
    assert shell.run("password", "policy", "--min-length", "7").exit_code == 1
    assert shell.run("password", "policy", "--reset", "--min-length", "12").exit_code == 2
    assert shell.json("password", "policy", "--reset")["set_by"] == "settings"
    assert house.client().register(password="Long enough 1!").status_code == 201


def test_a_password_is_checked_without_being_shown(shell: Shell, house: House) -> None:
    """Exit code and reasons; the password comes from standard input and is in no output."""
    acme = house.tenant("acme")
    house.user("alice", tenant=acme)
    good = shell.run("password", "check", stdin=f"{PASSWORD}\n")
    assert (good.exit_code, good.stdout) == (0, "This password is acceptable.\n")
    bad = shell.run("password", "check", "--tenant", "acme", "--username", "alice", "--json", stdin="alice-of-acme\n")
    assert bad.exit_code == 1
    assert json.loads(bad.stdout)["acceptable"] is False
    assert "everybody here knows" in json.loads(bad.stdout)["reasons"][0]
    assert "alice-of-acme" not in bad.output


def test_the_settings_are_the_default_and_are_held_to_the_lines_of_owasp(sqlite_database: Database) -> None:
    """Less than OWASP asks for is refused at the start, with what to set."""
    strict = Shell(sqlite_database, PAYYMO_PASSWORDS__PROFILE="strict", PAYYMO_PASSWORDS__WORDS='["rocket"]')
    found = strict.json("password", "policy")
    assert (found["min_length"], found["words"], found["set_by"]) == (15, ["rocket"], "settings")
    weak = Shell(sqlite_database, PAYYMO_PASSWORDS__ARGON2_MEMORY_KIB="19455").run("password", "policy")
    assert weak.exit_code == 1
    assert "PAYYMO_PASSWORDS__ARGON2_MEMORY_KIB" in weak.stderr
    assert "19456 with 2" in weak.stderr


def test_calibration_suggests_the_dearest_cost_within_the_target() -> None:
    """On a machine that passes over a KiB in a microsecond: memory first, then iterations; never below a line."""

    def measure(cost: Argon2Cost) -> float:
        return cost.memory_kib * cost.iterations / 1_000_000

    def suggest(target: float, memory: int) -> tuple[Argon2Cost, bool]:
        heard: list[Measured] = []
        best, is_within = calibrate(measure, target_seconds=target, memory_kib=memory, told=heard.append)
        assert best in heard
        return best.cost, is_within

    assert suggest(0.0389, 65_536) == (Argon2Cost(19_456, 2), False)
    assert suggest(0.0390, 65_536) == (Argon2Cost(19_456, 2), True)
    assert suggest(0.0500, 65_536) == (Argon2Cost(24_320, 2), True)
    assert suggest(0.2000, 65_536) == (Argon2Cost(65_536, 3), True)
    assert suggest(0.0400, 12_288) == (Argon2Cost(12_288, 3), True)
    with pytest.raises(ValueError, match="7168"):
        suggest(1.0, 7_000)


def test_calibration_measures_this_machine(shell: Shell) -> None:
    """What it prints can be set as it is, and it changes nothing."""
    done = shell.run("password", "calibrate", "--target-ms", "20", "--memory-mib", "8", "--cores", "1", "--json")
    found = json.loads(done.stdout)
    memory, iterations = (found[f"PAYYMO_PASSWORDS__ARGON2_{name}"] for name in ("MEMORY_KIB", "ITERATIONS"))
    assert Argon2Cost(memory, iterations).memory_kib <= 8 * 1024  # within OWASP's lines, however fast this machine is
    assert done.exit_code == (0 if found["within_target"] else 1)


def test_an_import_at_the_console(shell: Shell, house: House, tmp_path: Path) -> None:
    """Exit code 1 when lines failed; they are kept as they were, in a file of its owner's, and can be mended there."""
    source, rejects = tmp_path / "users.csv", tmp_path / "rejects.csv"
    source.write_text(f"email,username,password_hash\nalice@example.com,alice,{HASH}\nbob@example.com,b,{HASH}\n")
    rejects.write_text("something from before")
    rejects.chmod(0o644)
    words = ("user", "import", str(source), "--rejects", str(rejects))
    assert shell.run(*words, "--tenant", "nobodys").exit_code == 1
    assert rejects.read_text() == "something from before"
    assert json.loads(shell.run(*words, "--dry-run", "--json").stdout)["imported"] == 1
    done = shell.run(*words, "--json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert (found["imported"], found["failed"], found["schemes"]) == (1, 1, {"bcrypt,cost=4": 1})
    assert found["errors"] == [{"line": 3, "reason": "username: 3 to 30 letters, digits, _ or -"}]
    assert "line 3: username" in done.stderr
    assert HASH not in done.output
    assert stat.S_IMODE(rejects.stat().st_mode) == 0o600
    assert rejects.read_text() == f"email,username,password_hash\nbob@example.com,b,{HASH}\n"
    rejects.write_text(rejects.read_text().replace(",b,", ",bob,"))
    assert shell.json("user", "import", str(rejects))["imported"] == 1
    assert house.client().log_in("bob@example.com").status_code == 200
    assert shell.run("user", "import", str(source), "--rejects", str(source)).exit_code == 1
    assert "alice" in source.read_text()


def test_an_import_from_a_pipe_is_refused_and_not_taken_for_empty(shell: Shell, tmp_path: Path) -> None:
    """As `<(zcat users.gz)` gives one: the file is read twice, and nobody would be found at the second time."""
    pipe = tmp_path / "users.jsonl"
    os.mkfifo(pipe)
    done = shell.run("user", "import", str(pipe))
    assert done.exit_code == 1
    assert "put what comes from there into one first" in done.stderr
