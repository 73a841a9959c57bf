"""What a process loads before it does anything: a command no more than it needs, a server all that requests need."""

import json
import subprocess
import sys

import click
import pytest

from payymo.cli import COMMANDS, payymo
from tests.support.house import PASSWORD, Database
from tests.support.processes import environment

LISTS_ONLY = {"alembic", "babel", "cryptography", "flask", "limits", "pydantic", "rich", "sqlalchemy", "structlog"}
LOOKS_ONLY = {"alembic", "babel", "email_validator", "flask", "granian", "jinja2", "rich", "structlog", "werkzeug"}
COMMAND = """
import contextlib, sys
from payymo.cli import payymo
with contextlib.suppress(SystemExit):
    payymo.main(sys.argv[1:])
print(*sys.modules)
"""
SERVER = """
import json, re, stringprep, sys  # which what sends the requests here needs
import _strptime  # which a catalogue's date is read with, once
from payymo.app import create_app
from payymo.config import read_settings
app = create_app(read_settings())
client, known = app.test_client(), set(sys.modules)
def loaded_by(method, path, body=None, token=""):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = client.open(path, method=method, json=body, headers=headers)
    new = sorted(name for name in set(sys.modules) - known if not name.startswith("encodings."))
    if new:
        sys.exit(f"{method} {path} loaded {new}")
    return answer.get_json(silent=True)
for path, body in json.loads(sys.argv[1]):
    data = (loaded_by("POST", path, body) or {}).get("data") or {}
    tokens = {name: data[name] for name in ("access_token", "refresh_token") if name in data} or tokens
    loaded_by("POST", "/api/auth/token/verify", {"token": tokens["access_token"]})
    loaded_by("POST", "/api/auth/refresh", {"refresh_token": tokens["refresh_token"]})
for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule.endswith("/logout")):
    if rule.rule.startswith(("/api/", "/.well-known/", "/health/")):
        path = re.sub("<uuid:[^>]+>", "00000000-0000-0000-0000-000000000000", rule.rule)
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            for token in ("", tokens["access_token"]):
                loaded_by(method, re.sub("<[^>]+>", "1", path), None if method == "GET" else {}, token)
if not app.extensions["payymo"].courier.deliver_due():
    sys.exit("no mail was sent")
loaded_by("GET", "/api/nothing")
"""
ADA = {"email": "ada@example.com", "password": PASSWORD}
REQUESTS = [
    ("/api/auth/register", {**ADA, "username": "ada"}),
    ("/api/auth/register", {**ADA, "username": "ada"}),
    ("/api/auth/register", {"email": "@", "username": "-", "password": "password"}),
    ("/api/auth/login", ADA),
    ("/api/auth/login", {**ADA, "password": "wrong"}),
    ("/api/auth/login", {**ADA, "email": "nobody@example.com"}),
    ("/api/auth/password/reset", {"email": "ada@example.com"}),
    ("/api/auth/password/reset", {"email": "nobody@example.com"}),
    ("/api/auth/password/reset/confirm", {"token": "-", "new_password": PASSWORD}),
]


def run(database: Database, script: str, *words: str, **more: str) -> str:
    """What a fresh Python printed, which has to succeed."""
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        env=environment(database, **more),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_list_of_commands_loads_none_of_them(sqlite_database: Database) -> None:
    """`payymo --help` is what people try first, and shells ask for."""
    shown, _, loaded = run(sqlite_database, COMMAND, "--help").strip().rpartition("\n")
    assert all(f" {name} {sentence}" in " ".join(shown.split()) for name, (_, sentence) in COMMANDS.items())
    assert not LISTS_ONLY & set(loaded.split())
    assert [name for name in loaded.split() if name.startswith("payymo.")] == ["payymo.cli"]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_list_of_commands_says_what_they_say(name: str) -> None:
    """Each sentence is there twice, so that the list needs no command."""
    command = payymo.get_command(click.Context(payymo), name)
    assert command is not None
    listed = click.Command(name, help=COMMANDS[name][1])
    assert all(listed.get_short_help_str(width) == command.get_short_help_str(width) for width in range(20, 140))


def test_a_command_that_looks_loads_nothing_to_serve_write_or_draw_with(sqlite_database: Database) -> None:
    """Most commands of a script answer a question, in JSON."""
    shown, _, loaded = run(sqlite_database, COMMAND, "key", "list", "--json").strip().rpartition("\n")
    assert json.loads(shown)
    assert not LOOKS_ONLY & set(loaded.split())


def test_no_request_loads_anything(sqlite_database: Database) -> None:
    """It would be slower than the next one; and where one answer loads what another does not, its time tells."""
    folder = f"file:{sqlite_database.data}/mail"
    run(sqlite_database, SERVER, json.dumps(REQUESTS), PAYYMO_MAIL__TRANSPORT=folder)
