"""What is written down is true: the OpenAPI document, the links, the settings, the lock files."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

from click import Command, Context, Group
from pydantic import BaseModel

from payymo.cli import payymo
from payymo.config import Settings

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


def test_the_openapi_document_is_what_the_routes_declare() -> None:
    """`make docs` writes it; a change of a route without it fails here."""
    payymo = Path(sys.executable).parent / "payymo"
    made = subprocess.run([payymo, "openapi"], check=True, capture_output=True, text=True).stdout
    assert json.loads(made) == json.loads((ROOT / "docs" / "openapi.json").read_text("utf-8"))


def test_every_link_between_documents_leads_somewhere() -> None:
    """A newcomer is not sent into the void."""
    documents = [ROOT / "README.md", ROOT / "SECURITY.md", *(ROOT / "docs").rglob("*.md")]
    for document in documents:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text("utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_every_setting_is_documented() -> None:
    """`docs/operating.md` is the list that refusals point to."""
    text = (ROOT / "docs" / "operating.md").read_text("utf-8")
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            for inner in section.model_fields:
                assert re.search(rf"(?:{name}__|__){inner}`", text, re.IGNORECASE), f"{name}__{inner}"
        else:
            assert f"{name.upper()}`" in text, name


def test_every_command_of_a_page_exists_with_its_options() -> None:
    """Commands in documents are tried, not remembered."""
    pages = [ROOT / "README.md", ROOT / "guard" / "README.md", *(ROOT / "docs").rglob("*.md")]
    text = "\n".join(page.read_text("utf-8") for page in pages)
    lines = re.findall(r"(?:^ *|\| |`|/bin/)payymo ([a-z][^\n`]*)", text, re.MULTILINE)
    assert len(lines) > 150
    for line in lines:
        words = shlex.split(re.split(r" [<>|#] ", line)[0])
        command: Command = payymo
        while isinstance(command, Group) and words and words[0] != "…":
            found = command.get_command(Context(command), words[0])
            assert found is not None, f"payymo {line}"
            command, words = found, words[1:]
        if not isinstance(command, Group):
            command.make_parser(Context(command)).parse_args(words)


def test_lock_files_hold_hashes_and_no_host_names() -> None:
    """Whoever installs chooses where from, and gets exactly what was locked."""
    assert [path.name for path in LOCKS] == ["check.txt", "guard-test.txt", "runtime.txt", "test.txt"]
    for path in LOCKS:
        text = path.read_text("utf-8")
        assert "://" not in text
        requirements = re.findall(r"^[a-z0-9].*$", text, re.MULTILINE)
        assert requirements
        assert all("==" in line for line in requirements)
        assert text.count("--hash=sha256:") >= len(requirements)


def test_libraries_with_open_wounds_stay_out() -> None:
    """CVE-2026-85394: python-jose has no fixed release; PyJWT before 2.15.1 takes public keys for secrets.

    What it is measured against may lie in the tests' environment, and nowhere else.
    """
    for path in LOCKS:
        found = dict(re.findall(r"^([a-z0-9_.-]+)==([0-9.]+)", path.read_text("utf-8"), re.MULTILINE))
        assert not {"python-jose", "jwcrypto", "python-jwt"} & found.keys()
        if path.name in {"runtime.txt", "guard-test.txt"}:
            assert "pyjwt" not in found
        else:
            assert tuple(map(int, found["pyjwt"].split("."))) >= (2, 15, 1)
