"""`payymo secret` and `payymo tenant delete` as an operator uses them, and killed for real."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from payymo.clock import system_clock
from payymo.db.schema import audit_tiles, data_keys, master_keys, secrets, service_data_keys, service_secrets
from payymo.logs import Trace
from payymo.secrets.master import write_key
from tests.cli.test_commands import Shell
from tests.support.house import MASTER_KEY, Database, FakeClock, House
from tests.support.processes import PAYYMO, environment

NEXT_KEY = write_key(bytes(range(32, 64)), development=False)
MANY = 300


@pytest.fixture
def shell(database: Database) -> Shell:
    return Shell(database)


def age_data_keys(database: Database, seconds: int = 7200) -> None:
    owner = database.owner()
    with owner.begin() as connection:
        for table in (data_keys, service_data_keys):
            connection.execute(sa.update(table).values(created_at=table.c.created_at - seconds))
    owner.dispose()


def test_a_secret_from_standard_input_to_standard_output(shell: Shell) -> None:
    """As it is, newlines and all; of the service, and of a tenant; never in a list or in the log."""
    shell.json("tenant", "create", "acme")
    assert shell.json("secret", "put", "smtp-password", stdin="VALUE-1\n") == {"name": "smtp-password", "version": 1}
    assert shell.json("secret", "put", "smtp-password", stdin="VALUE-2")["version"] == 2
    assert shell.json("secret", "put", "smtp-password", "--tenant", "acme", stdin="VALUE-3")["version"] == 1
    assert shell.run("secret", "get", "smtp-password").stdout == "VALUE-2"
    assert shell.run("secret", "get", "smtp-password", "--version", "1").stdout == "VALUE-1\n"
    assert shell.run("secret", "get", "smtp-password", "--tenant", "acme").stdout == "VALUE-3"
    assert [row["version"] for row in shell.json("secret", "list")] == [1, 2]
    shell.json("secret", "retire", "smtp-password", "2", "--yes")
    done = shell.run("secret", "get", "smtp-password")
    assert done.stdout == "VALUE-1\n"
    assert "VALUE" not in done.stderr + shell.run("secret", "list").output
    refused = shell.run("secret", "get", "nothing")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert shell.run("secret", "list", "--tenant", "nobody").exit_code == 1


def test_a_value_in_an_argument_is_refused_and_not_repeated(shell: Shell) -> None:
    """The likeliest slip; and a question is not part of the JSON."""
    done = shell.run("secret", "put", "smtp", "THE-VALUE")
    assert (done.exit_code, "standard input" in done.stderr) == (1, True)
    assert "THE-VALUE" not in done.output + done.stderr
    shell.json("secret", "put", "smtp", stdin="x")
    asked = shell.run("secret", "retire", "smtp", "1", "--json", stdin="y\n")
    assert json.loads(asked.stdout) == {"name": "smtp", "retired": 1}


def test_a_value_that_does_not_open_is_named_at_the_command_line(shell: Shell, database: Database) -> None:
    """Which secret, and that it does not open: whoever sits there is no stranger."""
    for name in ("one", "two"):
        shell.json("secret", "put", name, stdin=f"VALUE-{name}")
    owner, c = database.owner(), service_secrets.c
    with owner.begin() as connection:
        sealed = connection.execute(sa.select(c.sealed).where(c.name == "one")).scalar()
        connection.execute(sa.update(service_secrets).where(c.name == "two").values(sealed=sealed))
    owner.dispose()
    done = shell.run("secret", "get", "two")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "secrets/two/1/value: does not open" in done.stderr
    assert "VALUE" not in done.stderr


def test_secrets_in_a_folder_and_in_variables(shell: Shell, tmp_path: Path) -> None:
    """The same commands, chosen by URI; where nothing can be written, that is said."""
    folder = tmp_path / "kept"
    folder.mkdir(mode=0o700)
    at = f"file:{folder}"
    assert shell.json("secret", "put", "api-key", "--at", at, stdin="x")["version"] == 1
    assert (folder / "api-key").read_text() == "x"
    assert [row["name"] for row in shell.json("secret", "list", "--at", at)] == ["api-key"]
    shell.environment["APP_API_KEY"] = "from a variable"
    assert shell.run("secret", "get", "api-key", "--at", "env:APP_").stdout == "from a variable"
    refused = shell.run("secret", "put", "api-key", "--at", "env:APP_", stdin="x")
    assert (refused.exit_code, "where the service is started" in refused.stderr) == (1, True)


def test_the_master_key_is_changed_from_the_command_line(shell: Shell, database: Database) -> None:
    """Dry run, question, change; then the next key alone, and the old one is refused."""
    shell.json("secret", "put", "a", stdin="x")
    missing = shell.run("secret", "rotate-master", "--yes")
    assert (missing.exit_code, "PAYYMO_NEXT_MASTER_KEY" in missing.stderr) == (1, True)
    shell.environment["PAYYMO_NEXT_MASTER_KEY"] = NEXT_KEY
    planned = shell.json("secret", "rotate-master", "--dry-run")["data_keys_to_wrap"]
    assert shell.run("secret", "rotate-master", stdin="n\n").exit_code == 1
    assert shell.json("secret", "rotate-master", "--dry-run")["data_keys_to_wrap"] == planned > 0
    assert shell.json("secret", "rotate-master", "--yes")["data_keys_wrapped"] == planned
    assert shell.json("secret", "rotate-master", "--yes")["data_keys_wrapped"] == 0
    assert MASTER_KEY != NEXT_KEY
    shell.environment |= {"PAYYMO_MASTER_KEY": NEXT_KEY, "PAYYMO_NEXT_MASTER_KEY": None}
    assert shell.run("secret", "get", "a").stdout == "x"
    shell.environment["PAYYMO_MASTER_KEY"] = MASTER_KEY
    assert shell.run("secret", "get", "a").exit_code == 1


def test_everything_is_sealed_again_from_the_command_line(shell: Shell, database: Database) -> None:
    """Dry run, question, and the values as they were. A second run within the hour has nothing to do."""
    shell.json("secret", "put", "a", stdin="x")
    age_data_keys(database)
    planned = shell.json("secret", "reencrypt", "--dry-run")["values_to_seal"]
    assert planned == 7  # the secret, and an active and a next key of each purpose
    assert shell.run("secret", "reencrypt", stdin="n\n").exit_code == 1
    assert shell.json("secret", "reencrypt", "--yes")["values_sealed"] == planned
    assert shell.json("secret", "reencrypt", "--dry-run")["values_to_seal"] == 0
    assert shell.run("secret", "get", "a").stdout == "x"


def test_a_log_that_was_changed_is_named_and_the_rest_is_sealed_again(shell: Shell, database: Database) -> None:
    """It is a finding: the exit code is 1, and says so to who reads JSON, too."""
    shell.json("secret", "put", "a", stdin="x")
    age_data_keys(database)
    shell.run("audit", "checkpoint", "--platform")
    owner = database.owner()
    with owner.begin() as connection:
        connection.execute(sa.update(audit_tiles).values(hashes=b"\0" * 32))
    owner.dispose()
    shell.json("secret", "put", "a", stdin="y")
    done = shell.run("secret", "reencrypt", "--yes", "--json")
    assert (done.exit_code, json.loads(done.stdout)["logs_left"]) == (1, ["platform"])
    assert "platform were changed (payymo audit verify says where)" in done.stderr
    assert shell.run("secret", "get", "a").stdout == "y"


def test_a_value_that_does_not_open_is_named_and_the_rest_is_sealed_again(shell: Shell, database: Database) -> None:
    """With what to do about it, and exit code 1: also to who reads JSON."""
    shell.json("secret", "put", "a", stdin="x")
    age_data_keys(database)
    owner = database.owner()
    with owner.begin() as connection:
        connection.execute(sa.update(service_secrets).values(sealed=b"?" * 64))
    owner.dispose()
    done = shell.run("secret", "reencrypt", "--yes", "--json")
    [broken] = json.loads(done.stdout)["broken"]
    assert (done.exit_code, broken["tenant"], broken["purpose"]) == (1, "platform", "secrets")
    assert f"payymo: {broken['value']}: put it back from a backup" in done.stderr
    shell.json("secret", "put", "a", stdin="y")
    assert shell.run("secret", "get", "a").stdout == "y"


def test_a_tenant_is_deleted_from_the_command_line(shell: Shell) -> None:
    """Suspended first, asked for, and gone."""
    shell.json("tenant", "create", "acme")
    assert "Suspend this tenant first" in shell.run("tenant", "delete", "acme", "--yes").stderr
    shell.json("tenant", "suspend", "acme", "--yes")
    assert shell.run("tenant", "delete", "acme", stdin="n\n").exit_code == 1
    assert [row["slug"] for row in shell.json("tenant", "list")] == ["acme", "default"]
    shell.json("tenant", "delete", "acme", "--yes")
    assert [row["slug"] for row in shell.json("tenant", "list")] == ["default"]
    assert shell.run("tenant", "delete", "acme", "--yes").exit_code == 1


@pytest.mark.parametrize("words", [("secret", "reencrypt"), ("secret", "rotate-master")], ids=" ".join)
def test_a_run_that_is_killed_is_finished_by_the_next(database: Database, words: tuple[str, ...]) -> None:
    """`kill -9` as soon as it has written something, again and again; every value is there at the end."""
    house = House(database, clock=system_clock)
    tenants = [house.tenant(f"t{number}") for number in range(6)]
    for number in range(MANY):
        tenant = tenants[number % len(tenants)]
        house.services.secrets.put(f"s{number}", b"%d" % number, tenant_id=tenant.id, trace=Trace())
    house.close()
    age_data_keys(database)
    kills = sum(is_killed_in_the_middle(database, words) for _ in range(2))
    assert kills > 0, "it was never killed"
    clock = FakeClock(system_clock())
    next_one = House(database, clock=clock, next_master_key=NEXT_KEY)
    if "reencrypt" in words:
        next_one.services.reencryption.run(progress=lambda *_: None, pause=clock.advance, trace=Trace())
    else:
        following = next_one.services.next_master_key
        assert following is not None
        next_one.services.master_rotation.run(following, progress=lambda *_: None, trace=Trace())
    next_one.close()
    after = House(database, clock=system_clock, master_key=NEXT_KEY if "rotate-master" in words else MASTER_KEY)
    for number in range(MANY):
        found = after.services.secrets.get(f"s{number}", tenant_id=tenants[number % len(tenants)].id, trace=Trace())
        assert found.value == b"%d" % number
    after.close()


def run(database: Database, words: tuple[str, ...]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [PAYYMO, *words, "--yes", "--json"],
        env=environment(database, PAYYMO_NEXT_MASTER_KEY=NEXT_KEY),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def is_killed_in_the_middle(database: Database, words: tuple[str, ...]) -> bool:
    """Kill the command when it has written something. False: it was faster."""
    command = run(database, words)
    owner = database.owner()
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        before = keys_in_use(connection)
        while command.poll() is None and keys_in_use(connection) == before:
            time.sleep(0.002)
    owner.dispose()
    command.kill()
    command.communicate(timeout=60)
    return command.returncode != 0


def keys_in_use(connection: sa.Connection) -> list[tuple[Any, ...]]:
    """What is sealed under what: which master key wraps the data keys, which of these seal the secrets."""
    queries = (
        sa.select(data_keys.c.id, data_keys.c.master_key_id),
        sa.select(service_data_keys.c.id, service_data_keys.c.master_key_id),
        sa.select(secrets.c.name, secrets.c.data_key_id),
        sa.select(master_keys.c.id, master_keys.c.state),
    )
    return [tuple(row) for query in queries for row in connection.execute(query.order_by(*query.selected_columns))]
