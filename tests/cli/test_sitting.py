"""Who did it by command is on record."""

import os
import pwd
from pathlib import Path

import pytest

from payymo.cli import sitting
from payymo.cli.sitting import NOBODY, operator_name
from tests.cli.test_commands import Shell
from tests.support.house import Database

HERE = pwd.getpwuid(os.getuid()).pw_name


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (str(pwd.getpwnam("daemon").pw_uid), "daemon"),
        ("3999999999", "3999999999"),
        (str(NOBODY), HERE),
        ("", HERE),
        ("root", HERE),
        (None, HERE),
    ],
)
def test_it_is_who_logged_in_and_not_who_a_variable_names(
    said: str | None, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever they became since; the number, of an account without a name; this process's, where nobody logged in."""
    file = tmp_path / "loginuid"
    if said is not None:
        file.write_text(said)
    monkeypatch.setattr(sitting, "LOGIN", file)
    for variable in ("USER", "LOGNAME", "SUDO_USER"):
        monkeypatch.setenv(variable, "mallory")
    assert operator_name() == name


def test_an_account_with_a_name_that_is_no_word_goes_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory may hold any text."""
    known = pwd.getpwuid(0)
    for name in ("", "two words", "a\nb", "x" * 33, "ä"):
        monkeypatch.setattr(pwd, "getpwuid", lambda _, name=name: pwd.struct_passwd((name, *known[1:])))
        assert operator_name().isdecimal(), name


def test_what_a_command_does_is_on_record_with_who_did_it(sqlite_database: Database) -> None:
    """With several operators, the log says which."""
    shell = Shell(sqlite_database)
    assert shell.run("tenant", "create", "acme").exit_code == 0
    found = shell.run(
        "audit", "search", "--platform", "--type", "tenant.created", "--actor", f"operator:{operator_name()}"
    )
    assert "tenant.created" in found.stdout
