"""What an installed service consists of."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "payymo"


def test_every_file_that_is_no_module_is_in_the_wheel() -> None:
    """Templates, catalogues, pictures: who installs the service has what who works on it has."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packed = {
        path for pattern in project["tool"]["setuptools"]["package-data"]["payymo"] for path in SOURCE.glob(pattern)
    }
    there = {path for path in SOURCE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {path for path in there if path.suffix != ".py"} == packed
    assert SOURCE / "translations" / "de" / "LC_MESSAGES" / "messages.po" in packed


LINES: int = 300
LISTS = {"db/schema.py", "db/migrations/versions/0001_foundation.py"}
"""Nothing but tables, one after the other."""


def test_every_module_is_short_enough_to_be_read_at_once() -> None:
    """What grows beyond that holds two things; they are named, and each gets a page of its own."""
    guard = ROOT / "guard" / "src" / "payymo_guard"
    long = {
        path.relative_to(folder).as_posix()
        for folder in (SOURCE, guard)
        for path in folder.rglob("*.py")
        if len(path.read_text().splitlines()) > LINES
    }
    assert long == LISTS
