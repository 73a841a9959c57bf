"""`payymo audit tail | search | export | retention` and `payymo user export | erase`, as an operator runs them."""

import fcntl
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from payymo.audit import reader
from payymo.audit.formats import read_place
from payymo.cli import audit_export, payymo
from payymo.cli.audit_reading import followed
from payymo.clock import system_clock
from payymo.db.schema import audit_events
from payymo.errors import Unavailable
from payymo.logs import Event, Trace
from payymo.sessions.personal import PersonalData
from tests.support.house import Database, House
from tests.support.processes import environment
from tests.support.tampering import damaged_tree


def run(database: Database, *words: str, exits: int = 0, **settings: str) -> Result:
    """One command."""
    given = environment(database, **settings)
    gone = {name: None for name in os.environ if name.startswith("PAYYMO_") and name not in given}
    done = CliRunner().invoke(payymo, words, env=given | gone)
    assert done.exit_code == exits, done.output
    return done


def lines(database: Database, *words: str) -> list[Any]:
    return [json.loads(line) for line in run(database, *words, "--json").stdout.splitlines()]


@pytest.fixture
def house(sqlite_database: Database) -> Iterator[House]:
    """On the machine's clock, because the commands are on it."""
    built = House(sqlite_database, clock=system_clock)
    built.user("alice")
    built.logged_in("alice").get("/api/admin/users")
    built.services.sequencer.integrate_all()
    yield built
    built.close()


def test_an_operator_sees_what_happens_and_what_happened(house: House) -> None:
    """The newest last in `tail`, first in `search`; one event a line for programs; `-f` goes on."""
    database = house.database
    assert [found["type"] for found in lines(database, "audit", "tail", "-n", "2")] == [
        "session.login",
        "permission.required",
    ]
    found = lines(database, "audit", "search", "--type", "session.", "--user", "alice@example.com")
    assert [(one["type"], one["personal"]["address"]) for one in found] == [("session.login", "127.0.0.1")]
    assert lines(database, "audit", "search", "--outcome", "refused", "--since", "2020-01-01")
    assert lines(database, "audit", "search", "--before", "2020-01-01T10:00") == []
    assert len(lines(database, "audit", "search", "--limit", "2", "--oldest-first")) == 2
    for slip, meant in (("session.logins", "session.login"), ("sesion.", "session."), ("mail.sent", ""), ("x", "")):
        told = run(database, "audit", "search", "--type", slip, exits=2).stderr
        assert f"No event on record is of the type '{slip}'." in told
        assert f"Did you mean {meant}?" in told or not meant
    assert "role=" not in run(database, "audit", "tail").stdout
    assert "session.login" in run(database, "audit", "tail").stdout
    assert lines(database, "audit", "tail", "--platform")[0]["log"] == "platform"
    for command in ("tail", "search", "checkpoint", "verify"):
        told = run(database, "audit", command, "--platform", "--tenant", "default", exits=2).stderr
        assert "--tenant or --platform: one of them" in told

    def pause() -> None:
        house.services.audit.record_apart(Event("tenant.active", trace=Trace(), tenant_id=house.default.id))
        house.services.sequencer.integrate_all()

    following = followed(house.services.audit_reader, house.default.id, 1, pause=pause)
    assert [next(following).position for _ in range(4)] == [2, 3, 4, 5]


def test_a_damaged_log_is_named_and_read_all_the_same(house: House, tmp_path: Path) -> None:
    """That is when somebody looks; and the other logs, and people's own data, are as good as ever."""
    acme = house.tenant("acme")
    house.user("eve", tenant=acme)
    with damaged_tree(house, acme.id):
        house.logged_in("eve", tenant=acme)
        for words in (
            ["audit", "tail", "--tenant", "acme"],
            ["audit", "tail", "-n", "1"],
            ["audit", "search", "--type", "user.created"],
            ["audit", "export", "-o", str(tmp_path / "log")],
            ["user", "export", "alice@example.com"],
        ):
            done = run(house.database, *words)
            assert str(acme.id) in done.stderr
            assert done.stdout


@pytest.mark.parametrize(
    ("member", "value"),
    [
        (rb'"at":[0-9]+', b'"at":99999999999999999'),
        (rb'"at":[0-9]+', b'"at":-99999999999999999'),
        (rb'"at":[0-9]+', b'"at":' + b"1" * 50),
        (rb'"about":{', b'"about":{"x":' + b"[" * 90 + b"]" * 90 + b","),
        (rb'"about":{', b'"about":{"x":' + b"[" * 90_000 + b"]" * 90_000 + b","),
    ],
    ids=["far", "before", "farther", "deep", "deeper"],
)
def test_what_no_record_of_ours_holds_keeps_nobody_from_reading(house: House, member: bytes, value: bytes) -> None:
    """Somebody has written it into one, which is shown as damaged where it stands; the others as ever."""
    owner, first = house.database.owner(), audit_events.c.position == 0
    with owner.begin() as connection:
        ours = sa.and_(audit_events.c.tenant_id == house.default.id, first)
        record = bytes(connection.execute(sa.select(audit_events.c.record).where(ours)).scalar_one())
        changed = re.sub(member, value, record)
        connection.execute(sa.update(audit_events).where(ours).values(record=changed))
    owner.dispose()
    for words in (["audit", "tail"], ["audit", "search", "--oldest-first"]):
        told = run(house.database, *words).stdout.splitlines()
        assert [("unreadable" in line, "DAMAGED" in line) for line in told].count((True, True)) == 1
        assert sum("session.login" in line for line in told) == 1


def test_the_log_of_a_tenant_that_is_gone_is_read_by_its_id(house: House, tmp_path: Path) -> None:
    """It stays, for whoever has to answer for it; the slug may be another one's by now. What was personal is gone."""
    gone = house.tenant("acme")
    eve = house.user("eve", tenant=gone)
    house.services.sequencer.integrate_all()
    house.services.checkpoints.sign_due()
    house.services.administration.suspend(gone.id, by=None, trace=Trace())
    house.services.administration.delete_tenant(gone.id, by=None, progress=lambda _: None, trace=Trace())
    house.tenant("acme")
    named = ("--tenant", str(gone.id))
    created, *_ = lines(house.database, "audit", "search", "--type", "user.created", *named)
    assert (created["about"]["user_id"], created["personal"], created["erased"]) == (str(eve.id), None, True)
    run(house.database, "audit", "export", "-o", str(tmp_path / "log"), *named)
    run(house.database, "audit", "prove", created["id"], *named)
    run(house.database, "audit", "verify", *named)
    assert "user.created" not in run(house.database, "audit", "tail", "--tenant", "acme").stdout
    run(house.database, "audit", "tail", "--tenant", str(eve.id), exits=1)


@pytest.mark.parametrize("form", ["jsonl", "cef", "ocsf"])
def test_an_export_that_was_killed_goes_on_without_a_gap(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Any
) -> None:
    """Cut off anywhere, with half a line behind it; and later what is new. Never into a file that is not its own."""
    database, file = house.database, tmp_path / "events"
    monkeypatch.setattr(reader, "BATCH", 2)
    command = ("audit", "export", "--format", form, "-o", str(file))
    run(database, *command)
    whole = file.read_bytes()
    assert [read_place(line, form).position for line in whole.decode().splitlines()] == [0, 1, 2]
    run(database, *command, exits=1)
    second = whole.index(b"\n") + 1
    for cut in (second, second + 1, len(whole) - 1, len(whole)):
        file.write_bytes(whole[:cut])
        run(database, *command, "--resume")
        assert file.read_bytes() == whole
    house.logged_in("alice")
    assert json.loads(run(database, *command, "--resume", "--json").stdout)["events"] == 1
    assert [read_place(line, form).position for line in file.read_text("utf-8").splitlines()] == [0, 1, 2, 3]
    last = str(read_place(whole.decode().splitlines()[-1], form).id).encode()
    other = str(house.services.entropy.uuid()).encode()
    for strange in (b"hello", b"hello\n", b'{"position":1}\n', whole.replace(last, other)):
        file.write_bytes(strange)
        assert audit_export.ELSEWHERE in run(database, *command, "--resume", exits=1).stderr
        assert file.read_bytes() == strange
    file.write_bytes(whole)
    run(database, *command, "--resume", "--platform", exits=1)
    file.unlink()
    run(database, *command, "--resume")
    assert file.read_bytes().startswith(whole)


def test_two_exports_do_not_write_one_file_at_once(house: House, tmp_path: Path) -> None:
    """`cron` begins the next one while the first, of a long log, is under way, and would cut off what it writes."""
    command = ("audit", "export", "-o", str(tmp_path / "events"), "--resume")
    run(house.database, *command)
    with (tmp_path / "events").open("r+b") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        first.seek(0, os.SEEK_END)
        first.write(b'{"begun')
        first.flush()
        assert "another export" in run(house.database, *command, exits=1).stderr
        assert (tmp_path / "events").read_bytes().endswith(b'{"begun')
    run(house.database, *command)
    assert (tmp_path / "events").read_bytes().endswith(b"}\n")


def test_an_operator_says_how_long_a_log_is_kept(house: House) -> None:
    """Asked before anything goes; days or for ever, and not both."""
    database, words = house.database, ("audit", "retention")
    assert json.loads(run(database, *words, "show", "--json").stdout) == {"keep_days": None, "set_by": "settings"}
    assert "Aborted" in run(database, *words, "set", "30", exits=1).stderr
    found = json.loads(run(database, *words, "set", "30", "--yes", "--json").stdout)
    assert found == {"keep_days": 30, "set_by": "log"}
    for wrong in (("set", "--yes"), ("set", "30", "--forever", "--yes")):
        run(database, *words, *wrong, exits=1)
    assert json.loads(run(database, *words, "set", "--forever", "--json").stdout)["set_by"] == "log"
    assert json.loads(run(database, *words, "unset", "--json").stdout)["set_by"] == "settings"


@pytest.mark.parametrize("longer", [["--forever"], ["40"]])
def test_it_is_asked_before_the_settings_shorten_a_log(house: House, longer: list[str]) -> None:
    """Events go for ever, whether by `set` or by `unset`; not asked where nothing goes."""

    def retention(*words: str, exits: int = 0) -> Result:
        return run(house.database, "audit", "retention", *words, exits=exits, PAYYMO_AUDIT__KEEP_DAYS="30")

    retention("set", *longer, "--yes")
    assert "Aborted" in retention("unset", exits=1).stderr
    assert json.loads(retention("show", "--json").stdout)["set_by"] == "log"
    retention("unset", "--yes")
    retention("set", "20", "--yes")
    assert json.loads(retention("unset", "--json").stdout) == {"keep_days": 30, "set_by": "settings"}


def test_what_is_handed_out_is_whole_and_takes_no_other_files_place(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is there stays as it is, and nothing goes on record then; what breaks off leaves none."""
    file, words = tmp_path / "alice.json", ("user", "export", "alice@example.com", "-o")
    file.write_text("of bob")
    assert "is there already" in run(house.database, *words, str(file), exits=1).stderr
    assert file.read_text() == "of bob"
    assert lines(house.database, "audit", "search", "--type", "user.exported") == []

    def break_off(*_args: object, **_options: object) -> Iterator[str]:
        yield "{"
        raise Unavailable

    monkeypatch.setattr(PersonalData, "export", break_off)
    run(house.database, *words, str(tmp_path / "other.json"), exits=1)
    assert not (tmp_path / "other.json").exists()


def test_an_operator_hands_out_and_erases_what_is_stored_of_a_person(house: House, tmp_path: Path) -> None:
    """By address, and once they are gone by id; a no erases nothing."""
    database, file = house.database, tmp_path / "alice.json"
    run(database, "user", "export", "alice@example.com", "-o", str(file))
    found = json.loads(file.read_text("utf-8"))
    assert found == {**json.loads(run(database, "user", "export", found["user"]["id"]).stdout), **found}
    assert "Aborted" in run(database, "user", "erase", "alice@example.com", exits=1).stderr
    done = json.loads(run(database, "user", "erase", "alice@example.com", "--yes", "--json").stdout)
    assert done == {"erased": found["user"]["id"], "events": 3}
    assert json.loads(run(database, "user", "erase", found["user"]["id"], "--yes", "--json").stdout)["events"] == 0
    run(database, "user", "erase", "alice@example.com", "--yes", exits=1)
    shown = lines(database, "audit", "search", "--user", found["user"]["id"], "--type", "session.")
    assert [(one["personal"], one["erased"]) for one in shown] == [(None, True)]
