"""The programs on the pages beside docs/guard run as they stand there, with what they say that one has."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from payymo.clock import system_clock
from payymo_guard.fake_authority import FakeAuthority
from payymo_guard.testing import FakeIssuer
from tests.support.house import Database
from tests.support.processes import PAYYMO, environment, servers

ROOT = Path(__file__).parents[2]
PASSWORDS = ROOT / "docs" / "operations" / "passwords.md"
PLACEHOLDERS = {
    "payymo_…": f"payymo_{'0' * 32}_{'A' * 43}",
    "whsec_…": f"whsec_{'A' * 32}",
    "jxspr8Ki0R…WXA==": "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==",
}
FIREBASE = {  # the example of github.com/firebase/scrypt, whose parameters are those of the page
    "localId": "jane",
    "email": "jane@acme.example",
    "salt": "42xEC+ixf3L2lw==",
    "passwordHash": "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==",
}
SITE = """
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from django.contrib.auth.models import User
User.objects.create_user("jane", "jane@acme.example", "SecurePassword123!")
"""


def programs(page: str | Path) -> list[str]:
    """The programs of a page, with something in the place of each placeholder."""
    text = (ROOT / page).read_text("utf-8")
    for placeholder, found in PLACEHOLDERS.items():
        text = text.replace(placeholder, found)
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def run(program: str, folder: Path, environ: dict[str, str] | None = None) -> str:
    """What it prints; it has to succeed."""
    words = [sys.executable, "-c", program]
    return subprocess.run(words, cwd=folder, env=environ, check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.mark.parametrize("page", ["README.md", "guard/README.md"])
def test_every_program_of_a_readme_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a token, a key set and a bank's certificates at hand."""
    now = system_clock()
    bank = FakeAuthority("Bank", now=now)
    issuing = FakeAuthority("Issuing", now=now, above=bank)
    (tmp_path / "bank-roots.pem").write_bytes(bank.pem)
    (tmp_path / "bank-issuing.pem").write_bytes(issuing.pem)
    (tmp_path / "bank.crl.pem").write_bytes(issuing.revocation_list())
    monkeypatch.chdir(tmp_path)
    issuer = FakeIssuer(issuer="https://auth.example.com", audience="https://api.example.com")
    found = programs(page)
    assert found
    for program in found:
        names: dict[str, Any] = {"token": issuer.mint(), "jwks_document": issuer.jwks(), "__name__": "program"}
        exec(compile(program, page, "exec"), names)  # noqa: S102 - it is our own


AFTERWARDS = """
curl -s $B/api/auth/me -H "Authorization: Bearer $ACCESS_TOKEN"
curl -s $B/api/auth/refresh -H "$J" -d "{\\"refresh_token\\":\\"$REFRESH_TOKEN\\"}"
"""


def test_the_first_round_of_the_readme_is_true(sqlite_database: Database) -> None:
    """Its commands, but for the port; and after the logout both tokens are refused."""
    [block] = re.findall(r"^```console\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("$ ") for line in block.splitlines() if line.startswith(("$ ", "    "))]
    with servers(sqlite_database, 1) as [server]:
        words = "\n".join(lines).replace("http://127.0.0.1:5000", server.base) + AFTERWARDS
        done = subprocess.run(["sh", "-e"], input=words, check=True, capture_output=True, text=True, timeout=60)
    registered, me, refreshed, left, *late = (
        json.loads(line) for line in re.sub(r"\}\s*\{\"", '}\n{"', done.stdout).splitlines()
    )
    assert list(registered["data"]) == ["access_token", "refresh_token", "token_type", "expires_in", "user"]
    assert me["data"]["user"] == registered["data"]["user"]
    assert refreshed["data"]["refresh_token"] != registered["data"]["refresh_token"]
    assert left == {"data": {}}
    assert [refusal["code"] for refusal in late] == ["invalid_token", "invalid_token"]


def test_the_application_that_mounts_the_service_runs(sqlite_database: Database, tmp_path: Path) -> None:
    """docs/operations/embedded.md: its view is guarded, and the API is there."""
    [program] = programs("docs/operations/embedded.md")
    asked = "print([app.test_client().get(path).status_code for path in ('/invoices', '/health/live', '/sign-in')])"
    assert run(f"{program}\n{asked}", tmp_path, environment(sqlite_database)).strip() == "[401, 200, 404]"


@pytest.mark.parametrize("which", [0, 1], ids=["django", "firebase"])
def test_what_an_export_writes_is_imported(sqlite_database: Database, tmp_path: Path, which: int) -> None:
    """docs/operations/passwords.md: users of Django and of Firebase, with their passwords."""
    program = programs(PASSWORDS)[which]
    (tmp_path / "users.json").write_text(json.dumps({"users": [FIREBASE]}))
    lines = tmp_path / "users.jsonl"
    lines.write_text(run(program if which else SITE + program, tmp_path))
    words = [PAYYMO, "user", "import", str(lines), "--json"]
    done = subprocess.run(words, env=environment(sqlite_database), check=True, capture_output=True, text=True)
    assert json.loads(done.stdout.splitlines()[-1])["imported"] == 1
