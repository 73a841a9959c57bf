"""`payymo audit …` as operators and auditors use it: exit codes, files, and what works without a database."""

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from payymo.cli import payymo
from payymo.clock import system_clock
from payymo.db.schema import audit_checkpoints, audit_events
from tests.cli.test_commands import Shell
from tests.support.house import Database, House


@pytest.fixture
def kept(sqlite_database: Database, tmp_path: Path) -> tuple[Shell, Path]:
    """A log with something in it; its keys and its checkpoint, in files of a folder."""
    house = House(sqlite_database, clock=system_clock)
    house.user("alice")
    house.user("bob")
    house.close()
    shell = Shell(sqlite_database)
    (tmp_path / "keys").write_text("\n".join(shell.json("audit", "keys")["keys"]))
    assert shell.run("audit", "checkpoint", "-o", str(tmp_path / "checkpoint")).exit_code == 0
    return shell, tmp_path


def events_of(shell: Shell, database: Database) -> list[str]:
    engine = database.owner()
    with engine.connect() as connection:
        found = connection.execute(sa.select(audit_events.c.id).where(audit_events.c.type == "user.created")).scalars()
        names = [str(one) for one in found]
    engine.dispose()
    return names


def test_who_lays_personal_data_open_is_on_record(kept: tuple[Shell, Path], sqlite_database: Database) -> None:
    """With the event, whom it is about, and who did it; a proof without it leaves nothing."""
    shell, _ = kept
    [event, _] = events_of(shell, sqlite_database)
    assert shell.run("audit", "prove", event).exit_code == 0
    assert on_record(shell, "audit.disclosed") == []
    assert shell.run("audit", "prove", event, "--disclose").exit_code == 0
    [told] = on_record(shell, "audit.disclosed")
    [user_id] = [one["about"]["user_id"] for one in on_record(shell, "user.created") if one["id"] == event]
    assert (told["new"], told["about"]["user_id"], told["request_id"]) == ({"event": event}, user_id, "console")


def on_record(shell: Shell, name: str) -> list[dict[str, Any]]:
    """The events of a type."""
    return [json.loads(line) for line in shell.run("audit", "search", "--type", name, "--json").stdout.splitlines()]


def test_a_proof_is_checked_where_there_is_nothing_else(
    kept: tuple[Shell, Path], sqlite_database: Database, tmp_path: Path
) -> None:
    """No settings, no database: the file and a key. Of another event, or with another key, it shows nothing."""
    shell, folder = kept
    [event, _] = events_of(shell, sqlite_database)
    proof = folder / "event.tlog-proof"
    assert shell.run("audit", "prove", event, "--disclose", "-o", str(proof)).exit_code == 0
    assert shell.run("audit", "consistency", str(folder / "checkpoint"), "-o", str(folder / "growth")).exit_code == 0
    nowhere = {"PAYYMO_NO_SUCH_SETTING": "1", "PAYYMO_DATABASE__URL": "nowhere"}
    words = ["audit", "check-proof", str(proof), "--key", str(folder / "keys"), "--json"]
    done = CliRunner().invoke(payymo, words, env=nowhere)
    assert done.exit_code == 0, done.output
    shown = json.loads(done.stdout)
    assert (shown["valid"], json.loads(shown["record"])["id"]) == (True, event)
    assert json.loads(shown["payload"])["email"] in {"alice@example.com", "bob@example.com"}
    proof.write_bytes(proof.read_bytes().replace(b"\nindex ", b"\nindex 1"))
    done = CliRunner().invoke(payymo, words, env=nowhere)
    assert (done.exit_code, json.loads(done.stdout)["reason"]) == (1, "not_included")
    words[2] = str(folder / "growth")
    assert CliRunner().invoke(payymo, words, env=nowhere).exit_code == 0
    told = CliRunner().invoke(payymo, words[:-1], env=nowhere).stdout
    assert ("size: 2" in told, "{" in told) == (True, False)  # for people, and not in Python's words
    words[2] = str(folder / "keys")
    assert CliRunner().invoke(payymo, words, env=nowhere).exit_code == 1


def test_what_was_kept_is_not_written_over(kept: tuple[Shell, Path], sqlite_database: Database) -> None:
    """An older checkpoint may be all that tells of a log that was cut off. Nothing is disclosed into it, either."""
    shell, folder = kept
    [event, _] = events_of(shell, sqlite_database)
    file = folder / "checkpoint"
    before = file.read_bytes()
    for words in (["checkpoint"], ["consistency", str(file)], ["prove", event, "--disclose"]):
        done = shell.run("audit", *words, "-o", str(file))
        assert (done.exit_code, "is there already" in done.stderr) == (1, True)
        assert file.read_bytes() == before
    assert on_record(shell, "audit.disclosed") == []


def test_the_keys_are_told_whatever_stands_for_a_checkpoint(
    kept: tuple[Shell, Path], sqlite_database: Database
) -> None:
    """What begins with no name, in one log, keeps nobody from the keys of the others: just then they are asked for."""
    shell, folder = kept
    owner = sqlite_database.owner()
    with owner.begin() as connection:
        connection.execute(sa.update(audit_checkpoints).values(note="no name of a log"))
    owner.dispose()
    assert shell.json("audit", "keys")["keys"] == (folder / "keys").read_text().splitlines()
    assert len(shell.json("audit", "keys", "--all")["keys"]) > 1


def test_verify_exits_by_what_it_finds(kept: tuple[Shell, Path], sqlite_database: Database) -> None:
    """0 when all is intact, 1 with a finding, 2 for what can't be read; what is not promised is said in words."""
    shell, folder = kept
    keys, checkpoint = ("--key", str(folder / "keys")), ("--checkpoint", str(folder / "checkpoint"))
    alone = shell.run("audit", "verify")
    assert alone.exit_code == 0, alone.output
    assert "Not promised: no checkpoint from outside" in alone.stdout
    sure = shell.run("audit", "verify", "--tenant", "default", "--personal", *keys, *checkpoint)
    assert (sure.exit_code, "Not promised" in sure.stdout) == (0, False), sure.output
    since = shell.json("audit", "verify", "--since", str(folder / "checkpoint"), *keys)
    assert [(log["verdict"], log["checked"]) for log in since["logs"]] == [("intact", 0)]
    assert shell.run("audit", "verify", "--all", "--platform").exit_code == 2
    assert shell.run("audit", "verify", "--checkpoint", str(folder / "keys")).exit_code == 2
    [event, _] = events_of(shell, sqlite_database)
    engine = sqlite_database.owner()
    with engine.begin() as connection:
        connection.execute(sa.update(audit_events).where(audit_events.c.type == "user.created").values(record=b"{}"))
    engine.dispose()
    found = shell.run("audit", "verify", "--json")
    assert found.exit_code == 1
    [log] = [log for log in json.loads(found.stdout)["logs"] if log["findings"]]
    assert (log["verdict"], log["findings"][0]["first"]) == ("edited", 0)
    assert shell.run("audit", "prove", event).exit_code == 1
