"""The command line as an operator uses it: tables, JSON, exit codes, questions before destruction."""

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from payymo.audit.entries import Filters
from payymo.cli import COMMANDS, payymo
from payymo.clock import system_clock
from payymo.keys.model import PURPOSES
from payymo.logs import Trace
from tests.support.house import MASTER_KEY, PASSWORD, Database, House
from tests.support.processes import PAYYMO, environment


class Shell:
    """Runs `payymo …` against one database."""

    def __init__(self, database: Database, **environment: str) -> None:
        self.environment = {
            **{name: None for name in os.environ if name.startswith("PAYYMO_")},
            "PAYYMO_DATA": str(database.data),
            "PAYYMO_MASTER_KEY": MASTER_KEY,
            "PAYYMO_DATABASE__URL": database.url,
            "PAYYMO_DATABASE__OWNER_URL": database.owner_url,
            **environment,
        }

    def run(self, *words: str, stdin: str | None = None) -> Result:
        """One command; standard error is apart in the result."""
        return CliRunner().invoke(payymo, words, input=stdin, env=self.environment)

    def json(self, *words: str, stdin: str | None = None) -> Any:
        """The parsed output of a command that has to succeed."""
        done = self.run(*words, "--json", stdin=stdin)
        assert done.exit_code == 0, done.output + done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def shell(database: Database) -> Shell:
    return Shell(database)


@pytest.fixture
def house(database: Database) -> Iterator[House]:
    """The service on the machine's clock, because the commands are on it."""
    built = House(database, clock=system_clock)
    yield built
    built.close()


WRONG_SETTINGS = {
    "no URL": ({"PAYYMO_DATABASE__URL": "nonsense"}, ["db", "check"], "the database URL can't be read"),
    "no driver": ({"PAYYMO_DATABASE__URL": "mysql://x/y"}, ["db", "check"], "the database URL can't be read"),
    "no port": ({"PAYYMO_DATABASE__URL": "postgresql://u@h:9x/d"}, ["db", "upgrade"], "the database URL can't be read"),
    "no folder": ({"PAYYMO_DATABASE__URL": "sqlite:////nowhere/x.db"}, ["db", "upgrade"], "unable to open"),
    "nobody there": ({"PAYYMO_DATABASE__URL": "postgresql://u:canary@127.0.0.1:1/d"}, ["db", "check"], "refused"),
    "data is a file": ({"PAYYMO_DATA": __file__}, ["db", "upgrade"], "this folder can't be made"),
    "data is nowhere": ({"PAYYMO_DATA": "/proc/nowhere/x"}, ["serve"], "this folder can't be made"),
    "no Redis": ({"PAYYMO_REDIS__URL": "http://x"}, ["serve"], "PAYYMO_REDIS__URL can't be read"),
    "no revision": ({}, ["db", "downgrade", "nonsense", "--yes"], "there is no revision 'nonsense'"),
}


WRONG_SETTINGS |= {
    "no file": ({"PAYYMO_DATABASE__URL": "sqlite:///"}, ["user", "list"], "the database URL can't be read"),
    "no revision at all": ({}, ["db", "downgrade", "", "--yes"], "there is no revision ''"),
    "a sentence of Alembic's": ({}, ["db", "downgrade", "0001@", "--yes"], "there is no revision '0001@'"),
    "no list": ({"PAYYMO_TRUSTED_PROXIES": "10.0.0.0/8"}, ["config"], "PAYYMO_TRUSTED_PROXIES: write a JSON list"),
    "no network": ({"PAYYMO_TRUSTED_PROXIES": '["x"]'}, ["config"], "PAYYMO_TRUSTED_PROXIES__0: Input is not"),
    "a group": ({"PAYYMO_DATABASE": "x"}, ["config"], "PAYYMO_DATABASE is a group"),
    "half an issuer": ({"PAYYMO_ISSUER": "http://["}, ["config"], "PAYYMO_ISSUER: an http(s) URL"),
    "no slug": ({"PAYYMO_DEFAULT_TENANT": "A B"}, ["config"], "PAYYMO_DEFAULT_TENANT: "),
    "part of a URL": ({"PAYYMO_DATA": "a?b"}, ["db", "upgrade"], "PAYYMO_DATA: a path without ?"),
    "no host": ({"PAYYMO_SERVER__HOST": ""}, ["serve"], "PAYYMO_SERVER__HOST: '' is no address"),
    "nobody's host": ({"PAYYMO_SERVER__HOST": "nobody.invalid"}, ["serve"], "'nobody.invalid' is no address"),
}


@pytest.mark.parametrize(("settings", "words", "reason"), WRONG_SETTINGS.values(), ids=WRONG_SETTINGS)
def test_what_can_not_be_used_is_named_in_a_sentence(
    tmp_path: Path, settings: dict[str, str], words: list[str], reason: str
) -> None:
    """No traceback, no secret: what, where, and what to do."""
    environment = {name: None for name in os.environ if name.startswith("PAYYMO_")}
    environment |= {"PAYYMO_DATA": str(tmp_path), **settings}
    if "serve" not in words:
        CliRunner().invoke(payymo, ["db", "upgrade"], env={"PAYYMO_DATA": str(tmp_path)})
    done = CliRunner().invoke(payymo, words, env=environment)
    assert (done.exit_code, type(done.exception)) == (1, SystemExit)
    assert reason in done.stderr
    assert "canary" not in done.stderr  # longer than what a random kid may have in it


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("user disable alice@example.com <&-", "Aborted"),
        ("user create a@example.com --username alice --password-stdin <&-", "password: 12 to 128"),
        ("token inspect - --json <&-", ""),
        ("secret put a <&-", "value: 1 to"),
        ("tenant resume $(printf '\\377')", "an argument is not UTF-8"),
        ("user list > /dev/full", "No space left on device"),
        ("--help > /dev/full", "No space left on device"),
    ],
)
def test_closed_full_and_garbled_ends_of_a_pipe(sqlite_house: House, line: str, message: str) -> None:
    """Whatever the shell does, there is a sentence and an exit code, and no traceback."""
    sqlite_house.user("alice")
    done = subprocess.run(
        ["sh", "-c", f"{PAYYMO} {line}"],
        env=environment(sqlite_house.database),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_looking_does_not_wait_for_who_writes(sqlite_house: House) -> None:
    """SQLite has one writer at a time: neither readiness nor a list needs to be it."""
    owner = sqlite_house.database.owner()
    with owner.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        assert sqlite_house.client().get("/health/ready").status_code == 200
        shell = Shell(sqlite_house.database)
        for words in (("user", "list"), ("tenant", "list"), ("key", "list"), ("secret", "list")):
            assert shell.run(*words).exit_code == 0, words
        connection.rollback()
    owner.dispose()


def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    """Nothing is lost: it may be somebody's."""
    (tmp_path / "payymo.db").write_bytes(b"something else" * 100)
    for words in (["db", "check"], ["db", "upgrade"], ["serve"]):
        done = CliRunner().invoke(payymo, words, env={"PAYYMO_DATA": str(tmp_path)})
        assert (done.exit_code, type(done.exception)) == (1, SystemExit)
        assert "not a database" in done.stderr
    assert (tmp_path / "payymo.db").read_bytes() == b"something else" * 100


def test_a_tenant_with_a_user_a_role_and_a_session_from_the_command_line(shell: Shell, house: House) -> None:
    """Everything that the first day needs works without HTTP, and shows in HTTP."""
    assert shell.json("tenant", "create", "acme", "--name", "Acme Inc.")["slug"] == "acme"
    shell.json("role", "create", "clerk", "invoices:read", "--tenant", "acme")
    words = ("user", "create", "carl@example.com", "--role", "member", "--role", "clerk", "--tenant", "acme")
    made = shell.json(*words, "--password-stdin", stdin=PASSWORD + "\n")
    assert made["permissions"] == ["account:*", "invoices:read"]

    client = house.client(tenant="acme")
    assert client.log_in("carl@example.com").status_code == 200
    assert shell.json("token", "inspect", client.access_token)["accepted"] is True
    assert len(shell.json("session", "list", "carl@example.com", "--tenant", "acme")) == 1
    assert shell.json("session", "end", "carl@example.com", "--tenant", "acme", "--yes")["ended"] == 1
    assert client.get("/api/auth/me").status_code == 401

    refused = shell.run("token", "inspect", client.access_token, "--json")
    assert refused.exit_code == 1
    assert json.loads(refused.stdout)["why"] == "token_revoked"


def test_all_sessions_of_somebody_end_as_one_change(shell: Shell, house: House) -> None:
    """However many there are, and whatever is killed: all of them or none."""
    house.user("alice")
    clients = [house.logged_in() for _ in range(3)]
    assert shell.json("session", "end", "alice@example.com", "--yes")["ended"] == 3
    assert {client.get("/api/auth/me").status_code for client in clients} == {401}
    house.services.sequencer.integrate_all()
    batches = house.services.audit_reader.batches(house.default.id, Filters(type="session."))
    [ended] = [entry.record for batch in batches for entry in batch if "ended" in entry.record.type]
    assert (ended.type, ended.about["count"]) == ("session.all-ended", 3)


def test_disabling_suspending_and_resetting_end_sessions(shell: Shell, house: House) -> None:
    """Invariant 2, from the command line."""
    house.user("alice")
    for words in (
        ("user", "disable", "alice@example.com", "--yes"),
        ("user", "password", "alice@example.com", "--password-stdin"),
        ("tenant", "suspend", "default", "--yes"),
    ):
        shell.json("user", "enable", "alice@example.com")
        shell.json("user", "password", "alice@example.com", "--password-stdin", stdin=PASSWORD)
        client = house.logged_in()
        assert client.get("/api/auth/me").status_code == 200
        shell.json(*words, stdin="another fine Passw0rd\n")
        assert client.get("/api/auth/me").status_code == 401, words
        assert client.refresh().status_code == 401, words


def test_the_operator_looks_at_a_brand_and_takes_it_away(sqlite_house: House) -> None:
    """Asked first; a tenant without one is a negative finding."""
    shell, brands = Shell(sqlite_house.database), sqlite_house.services.brands
    brands.set(sqlite_house.default.id, "Acme & Söhne", "#c81e3c", by=None, trace=Trace())
    assert shell.json("tenant", "brand", "default")["name"] == "Acme & Söhne"
    assert shell.run("tenant", "brand", "default", "--remove", stdin="n\n").exit_code == 1
    assert brands.get(sqlite_house.default.id) is not None
    assert shell.json("tenant", "brand", "default", "--remove", "--yes")["removed"] is True
    assert brands.get(sqlite_house.default.id) is None
    assert shell.run("tenant", "brand", "default").exit_code == 1


def test_one_token_is_revoked_and_its_session_goes_on(shell: Shell, house: House) -> None:
    """A token that leaked is refused alone."""
    house.user("alice")
    client = house.logged_in()
    shell.json("token", "revoke", client.access_token, "--yes")
    assert client.get("/api/auth/me").status_code == 401
    assert client.refresh().status_code == 200
    assert client.get("/api/auth/me").status_code == 200


@pytest.mark.parametrize(
    "words",
    [
        ("user", "disable", "alice@example.com"),
        ("tenant", "suspend", "default"),
        ("session", "end", "alice@example.com"),
        ("key", "rotate"),
        ("key", "revoke", "KID", "--compromised"),
        ("db", "downgrade", "base"),
        ("role", "remove", "clerk"),
    ],
)
def test_destructive_commands_ask_and_a_no_changes_nothing(shell: Shell, house: House, words: tuple[str, ...]) -> None:
    """A slip of the fingers costs nothing; `--yes` is for scripts."""
    house.user("alice")
    house.services.roles.create(house.default.id, "clerk", ["invoices:read"], by=None, trace=Trace())
    client = house.logged_in()
    kid = house.services.ring.active_kid("access")
    done = shell.run(*(kid if word == "KID" else word for word in words), stdin="n\n")
    assert done.exit_code == 1
    assert client.get("/api/auth/me").status_code == 200
    assert house.services.ring.list_keys()[0].kid
    assert house.services.ring.active_kid("access") == kid
    assert len(house.services.roles.list_roles(house.default.id)) == 5


def test_what_users_chose_is_printed_as_it_is(shell: Shell, house: House) -> None:
    """No markup, no crash: not in a tenant's name, not in where a session was started."""
    house.user("alice")
    client = house.client(headers={"User-Agent": "x[/red] [bold]y"})
    client.log_in()
    listed = shell.run("session", "list", "alice@example.com").output
    assert all(word in listed for word in ("x[/red]", "[bold]y"))
    made = shell.run("tenant", "create", "acme", "--name", "[/red]")
    assert (made.exit_code, "[/red]" in made.output) == (0, True)
    assert "[/red]" in shell.run("tenant", "list").output


def test_no_name_is_not_the_default_tenants(shell: Shell) -> None:
    """An empty variable in a script must not reach another tenant."""
    assert shell.run("user", "list", "--tenant", "").exit_code == 1


def test_rotation_from_the_command_line_reaches_a_running_service(shell: Shell, house: House) -> None:
    """Old tokens go on, new ones are signed by the key that was published before."""
    house.user("alice")
    client = house.logged_in()
    published = {key["kid"] for key in client.get("/.well-known/jwks.json").get_json()["keys"]}
    now_active = shell.json("key", "rotate", "--at-once", "--yes")["active"]
    assert now_active in published
    assert client.get("/api/auth/me").status_code == 200
    house.services.ring.list_keys()  # what every process does within a second
    client.log_in()
    header = shell.json("token", "inspect", client.access_token)
    assert header["kid"] == now_active
    too_soon = shell.run("key", "rotate", "--yes")
    assert too_soon.exit_code == 1
    assert "seconds" in too_soon.stderr


def test_a_compromised_key_is_revoked_from_the_command_line(shell: Shell, house: House) -> None:
    """It takes the word for it, says what follows, and ends every session."""
    house.user("alice")
    client = house.logged_in()
    kid = house.services.ring.active_kid("access")
    assert shell.run("key", "revoke", kid, "--yes").exit_code == 2
    assert shell.json("key", "revoke", kid, "--compromised", "--yes") == {"revoked": kid, "sessions_ended": 1}
    house.services.ring.list_keys()  # what every process does within a second
    assert client.get("/api/auth/me").status_code == 401
    assert client.refresh().status_code == 401
    assert kid not in {key["kid"] for key in shell.json("key", "list")}
    for nothing in ("nothing", "-Vnothing", "--hing"):  # a kid may begin like an option
        unknown = shell.run("key", "revoke", nothing, "--compromised", "--yes")
        assert (unknown.exit_code, unknown.stderr) == (1, "payymo: There is no such key.\n")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_explains_itself(name: str) -> None:
    """`--help` works without a database and without settings."""
    done = CliRunner().invoke(payymo, [name, "--help"])
    assert done.exit_code == 0
    assert "Usage: " in done.output


def test_misuse_exits_with_2_and_refusals_with_1(shell: Shell) -> None:
    """Scripts can tell a wrong call from a no."""
    assert shell.run("user", "creat").exit_code == 2
    assert shell.run("tenant", "create").exit_code == 2
    missing = shell.run("user", "show", "nobody@example.com")
    assert missing.exit_code == 1
    assert missing.stderr == "payymo: There is no user with this e-mail address.\n"
    weak = shell.run("user", "create", "x@example.com", "--password-stdin", stdin="short\n")
    assert weak.exit_code == 1
    assert "password: 12 to 128 characters" in weak.stderr


@pytest.mark.parametrize("text", ["garbage", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", ""])
def test_inspecting_garbage_is_a_finding(shell: Shell, text: str) -> None:
    """What is no token is explained, not a crash."""
    done = shell.run("token", "inspect", text, "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["accepted"] is False


def test_check_finds_a_missing_migration(shell: Shell, database: Database) -> None:
    """`payymo db check` is 0 on a current database and 1 otherwise; other commands then say what to do."""
    assert shell.json("db", "check")["current"] is True
    shell.json("db", "downgrade", "base", "--yes")
    assert shell.run("db", "check", "--json").exit_code == 1
    refused = shell.run("user", "list")
    assert refused.exit_code == 1
    assert "payymo db upgrade" in refused.stderr
    shell.json("db", "upgrade")
    assert shell.json("db", "check")["current"] is True


def test_a_wrong_master_key_opens_nothing_and_writes_nothing(database: Database) -> None:
    """Invariant 16."""
    other = Shell(database, PAYYMO_MASTER_KEY="payymo-key:" + "Zm9vYmFyYmF6cXV4MDEyMzQ1Njc4OWFiY2RlZmdoaWo"[:43])
    done = other.run("user", "list")
    assert done.exit_code == 1
    assert "the master key is not the one" in done.stderr


def test_no_new_key_is_made_beside_a_sealed_database(sqlite_database: Database) -> None:
    """Invariant 16: a lost key is reported, and not replaced by one that opens nothing."""
    shell = Shell(sqlite_database)
    del shell.environment["PAYYMO_MASTER_KEY"]
    done = shell.run("user", "list")
    assert done.exit_code == 1
    assert "restore master.key" in done.stderr
    assert not (sqlite_database.data / "master.key").exists()


def test_a_generated_master_key_is_accepted(sqlite_database: Database, tmp_path: Path) -> None:
    """What `key generate-master` prints works as the setting, and never twice the same."""
    empty = Database("sqlite", f"sqlite:///{tmp_path / 'new.db'}", f"sqlite:///{tmp_path / 'new.db'}", tmp_path)
    first = CliRunner().invoke(payymo, ["key", "generate-master"]).stdout.strip()
    second = CliRunner().invoke(payymo, ["key", "generate-master"]).stdout.strip()
    assert first != second
    shell = Shell(empty, PAYYMO_MASTER_KEY=first)
    shell.json("db", "upgrade")
    assert len(shell.json("key", "list")) == 2 * len(PURPOSES)


def test_what_a_command_writes_is_nobody_elses_to_read(tmp_path: Path) -> None:
    """Also in a folder that was there before, and under a careless umask."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PAYYMO_")}
    command = [Path(sys.executable).parent / "payymo", "db", "upgrade"]
    subprocess.run(command, env=environment | {"PAYYMO_DATA": str(folder)}, check=True, umask=0, capture_output=True)
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_an_upgrade_makes_a_folder_that_nobody_else_can_read(tmp_path: Path) -> None:
    """The data folder is 0700, the development key in it 0600."""
    folder = tmp_path / "data"
    environment = {name: None for name in os.environ if name.startswith("PAYYMO_")} | {"PAYYMO_DATA": str(folder)}
    assert CliRunner().invoke(payymo, ["db", "upgrade"], env=environment).exit_code == 0
    assert CliRunner().invoke(payymo, ["key", "list"], env=environment).exit_code == 0
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "master.key").stat().st_mode) == 0o600


def test_a_port_that_is_taken_is_refused(tmp_path: Path) -> None:
    """Two servers would share the port in silence, and each answer half of the requests."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PAYYMO_")}
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        command = [Path(sys.executable).parent / "payymo", "serve", "--port", port]
        settings = environment | {"PAYYMO_DATA": str(tmp_path)}
        done = subprocess.run(command, env=settings, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"127.0.0.1:{port}: Address already in use" in done.stderr


def test_no_collector_looks_through_what_a_command_has_loaded() -> None:
    """A quarter of a second each time, in which nothing else runs: what was loaded is set apart, and it is on again."""
    ask = "import gc; from payymo.cli import payymo; payymo.get_command(None, 'serve'); "
    ask += "print(gc.isenabled(), gc.get_freeze_count())"
    told = subprocess.run([sys.executable, "-c", ask], check=True, capture_output=True, text=True).stdout.split()
    assert told[0] == "True"
    assert int(told[1]) > 50_000


def test_a_collector_that_somebody_else_has_switched_off_stays_off() -> None:
    """Commands run in other processes, too, as in `flask payymo`: how those go about garbage is not ours to change."""
    ask = "import gc; gc.disable(); from payymo.cli import payymo; payymo.get_command(None, 'token'); "
    ask += "print(gc.isenabled(), gc.get_freeze_count())"
    told = subprocess.run([sys.executable, "-c", ask], check=True, capture_output=True, text=True).stdout.split()
    assert told == ["False", "0"]
