"""`payymo limits` and `payymo user unlock`, as an operator calls them."""

import json
from typing import Any

import pytest
from click.testing import CliRunner

from payymo.cli import payymo
from tests.support.house import Database, House
from tests.support.processes import environment


def run(database: Database, *words: str, code: int = 0) -> Any:
    """What a command prints as JSON; nothing when it prints none."""
    done = CliRunner().invoke(payymo, [*words, "--json"], env={**environment(database), "PAYYMO_SECRETS_DIR": None})
    assert done.exit_code == code, done.output
    return json.loads(done.stdout) if done.stdout.strip().startswith(("[", "{")) else None


def test_limits_are_reported_proposed_set_listed_and_unset(sqlite_database: Database) -> None:
    """From figures to a limit of one's own, and back."""
    house = House(sqlite_database, limits={"enabled": True, "verify": "10/minute"})
    for _ in range(12):
        house.client().post("/api/auth/token/verify", {"token": "x"})
    house.services.limit_usage.flush()
    house.close()
    [row] = run(sqlite_database, "limits", "report", "--tier", "verify", "--propose", "4/minute")
    assert (row["limit"], row["passed"], row["refused"], row["would_refuse"]) == ("10/minute", 10, 2, 8)
    run(sqlite_database, "limits", "set", "login", "20/minute", "--client", "192.0.2.0/24")
    run(sqlite_database, "limits", "set", "service", "exempt", "--service", "invoices")
    run(sqlite_database, "limits", "set", "login", "30/minute", "--tenant", "default")
    assert [row["limits"] for row in run(sqlite_database, "limits", "list")] == ["30/minute", "20/minute", "exempt"]
    run(sqlite_database, "limits", "unset", "login", "--tenant", "default")
    run(sqlite_database, "limits", "unset", "login", "--tenant", "default", code=1)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("set", "login", "20/minute"), 2),
        (("set", "login", "20/minute", "--tenant", "default", "--client", "192.0.2.1"), 2),
        (("set", "nothing", "20/minute", "--tenant", "default"), 2),
        (("set", "login", "many", "--tenant", "default"), 1),
        (("set", "login", "20/minute", "--tenant", "nowhere"), 1),
        (("report", "--propose", "many"), 1),
        (("report", "--days", "0"), 2),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, tuple) else str(part),
)
def test_what_is_not_meant_is_refused(sqlite_database: Database, words: tuple[str, ...], code: int) -> None:
    """Misuse is 2, a refusal is 1, and neither changes anything."""
    run(sqlite_database, "limits", *words, code=code)
    assert run(sqlite_database, "limits", "list") == []


def test_unlock_by_command(sqlite_database: Database) -> None:
    """Without a question: it takes nothing away."""
    house = House(sqlite_database, lockout={"enabled": True})
    user = house.user("alice")
    statuses = [house.client().log_in(password="wrong password 1").status_code for _ in range(6)]
    assert statuses == [401] * 5 + [429]
    assert run(sqlite_database, "user", "unlock", "alice@example.com")["id"] == str(user.id)
    assert house.client().log_in().status_code == 200
    house.close()
