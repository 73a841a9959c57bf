"""`payymo status`: one page that tells the truth, whatever is up or down, and changes nothing."""

import json
from typing import Any

import pytest
import sqlalchemy as sa

from payymo.clock import system_clock
from payymo.db.schema import leases, metadata, signing_keys
from payymo.keys.model import PURPOSES
from tests.cli.test_commands import Shell
from tests.support.house import Database, House


def rows(database: Database) -> dict[str, list[Any]]:
    """Whatever stands in the database."""
    owner = database.owner()
    with owner.connect() as connection:
        found = {
            table.name: sorted(map(repr, connection.execute(sa.select(table)))) for table in metadata.sorted_tables
        }
    owner.dispose()
    return found


def test_all_is_well_and_looking_changes_nothing(database: Database) -> None:
    """Not even where the operator's shell has other settings than the service."""
    house = House(database, clock=system_clock)
    house.user("alice")
    house.logged_in()
    house.close()
    before = rows(database)
    shell = Shell(database, PAYYMO_TOKENS__ALGORITHM="ES256", PAYYMO_DEFAULT_TENANT="another")
    page = shell.json("status")
    assert rows(database) == before
    assert page["ok"] is True
    assert page["wrong"] == []
    assert {row["check"]: row["state"] for row in page["health"]} == dict.fromkeys(
        ("database", "migrations", "keys", "clock", "feed", "outbox", "audit", "duties"), "ok"
    )
    assert page["counts"] == {"tenants": {"active": 1}, "users": {"active": 1}, "sessions": 1}
    text = shell.run("status").stdout
    assert page["keys"][0]["active"] in text
    assert page["database"]["revision"] in text


def test_what_is_wrong_is_named_with_its_remedy(sqlite_database: Database) -> None:
    """And the exit code is 1."""
    owner = sqlite_database.owner()
    with owner.begin() as connection:
        connection.execute(sa.insert(leases).values(name="maintenance", holder="node-1.x", expires_at=0, done_at=1))
        connection.execute(sa.delete(signing_keys).where(signing_keys.c.state == "next"))
        connection.execute(sa.update(signing_keys).where(signing_keys.c.purpose == "access").values(activated_at=1))
    owner.dispose()
    done = Shell(sqlite_database).run("status", "--json")
    assert done.exit_code == 1
    wrong = json.loads(done.stdout)["wrong"]
    assert {(found["what"], bool(found["remedy"])) for found in wrong} == {("duties", True), ("keys", True)}
    assert len(wrong) == 1 + 1 + len(PURPOSES)  # duties, the overdue key, and each next one that is missing


@pytest.mark.parametrize(
    ("settings", "what", "reason"),
    [
        ({"PAYYMO_DATABASE__URL": "postgresql://u:hidden@127.0.0.1:1/d"}, "database", "refused"),
        ({"PAYYMO_DATABASE__URL": "sqlite:////nowhere/x.db"}, "database", "there is no file /nowhere/x.db"),
        (
            {"PAYYMO_MASTER_KEY": "payymo-key:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8"},
            "configuration",
            "sealed under",
        ),
        ({"PAYYMO_ENV": "production"}, "configuration", "PAYYMO_ISSUER is plain http"),
    ],
)
def test_what_keeps_the_service_from_running_is_a_finding(
    sqlite_database: Database, settings: dict[str, str], what: str, reason: str
) -> None:
    """A sentence, exit code 1, and no traceback and no password."""
    done = Shell(sqlite_database, **settings).run("status", "--json")
    assert (done.exit_code, type(done.exception)) == (1, SystemExit)
    page = json.loads(done.stdout)
    assert any(found["what"] == what and reason in found["reason"] for found in page["wrong"])
    assert page["service"]["version"]
    assert "hidden" not in done.stdout + done.stderr
