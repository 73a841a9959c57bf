"""docs/guard is true: its programs run, and the first page is followed as it is written, with real processes."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.examples.test_guarded import Example, running
from tests.support.house import Database
from tests.support.processes import Server, environment

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "guard"
FIRST = PAGES / "protect-your-first-route.md"


def blocks(page: Path, language: str) -> list[str]:
    """The blocks of a page in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", ["frameworks.md", "migrating-from-flask-jwt-extended.md"])
def test_every_program_of_a_page_runs(name: str, tmp_path: Path) -> None:
    """As far as one gets without a server: imports, names and arguments are right. Django's pieces make one site."""
    programs = blocks(PAGES / name, "python")
    assert programs
    site = [text for text in programs if text.startswith("# ")]
    for number, text in enumerate([text for text in programs if text not in site]):
        (tmp_path / f"program_{number}.py").write_text(text)
        subprocess.run([sys.executable, "-W", "error", f"program_{number}.py"], cwd=tmp_path, check=True, timeout=60)
    if site:
        for text in site:
            (tmp_path / text.split()[1]).write_text(text)
        check = "from django.core.wsgi import get_wsgi_application as get; get(); import views"
        environ = os.environ | {"DJANGO_SETTINGS_MODULE": "settings"}
        subprocess.run([sys.executable, "-c", check], cwd=tmp_path, env=environ, check=True, timeout=60)


def test_the_first_page_is_true(sqlite_database: Database, tmp_path: Path) -> None:
    """Its commands and programs, but for the ports, which may be taken."""
    program, test = blocks(FIRST, "python")
    serve, people, run, trial = blocks(FIRST, "sh")
    assert serve.strip() == "make serve"
    server = Server(sqlite_database, environment(sqlite_database))
    server._environ["PAYYMO_ISSUER"] = server.base
    server.start()
    try:
        folder = tmp_path / "newcomer"
        folder.mkdir()
        (folder / "shop.py").write_text(program.replace("http://127.0.0.1:5000", server.base))
        (folder / "test_shop.py").write_text(test)
        words = people.replace(".venv/bin/", f"{Path(sys.executable).parent}/").replace("export PAYYMO_DATA=var\n", "")
        subprocess.run(["sh", "-e"], input=words, env=server._environ, check=True, text=True, timeout=60)
        command = tuple(run.strip().replace(".venv/bin", str(Path(sys.executable).parent)).split())
        shop = Example(tuple("{port}" if word == "8000" else word for word in command), "orders", httpx.Client.get)
        with running(shop, tmp_path, PYTHONPATH=str(folder)) as client:
            words = trial.replace("http://127.0.0.1:5000", server.base).replace(
                "http://127.0.0.1:8000", str(client.base_url)
            )
            done = subprocess.run(["sh", "-e"], input=words, check=True, capture_output=True, text=True, timeout=60)
    finally:
        server.kill()
    nobody, mia, carl, _, late = (json.loads(line) for line in re.sub(r"\}\s*\{", "}\n{", done.stdout).splitlines())
    assert [nobody["code"], mia["code"], late["code"]] == ["missing_token", "insufficient_scope", "invalid_token"]
    assert carl["orders"] == []
    subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"], cwd=folder, check=True, timeout=60)


def test_the_tools_of_the_first_page_are_there() -> None:
    """A page that can't be followed here can't be tested here: that is an error, and no reason to skip it."""
    assert shutil.which("curl")
    assert shutil.which("jq")
