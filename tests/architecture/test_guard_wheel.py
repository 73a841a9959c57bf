"""payymo-guard as others install it: a wheel of its own, in an environment where nothing of the service is.

Its tests pass there, so that neither a module nor a test of it leans on what happens to lie beside it in this house.
What they need besides is copied from here, as it was downloaded and verified: again, that took a third of the time.
"""

import os
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")
STRANGERS = ("payymo", "sqlalchemy", "flask", "werkzeug", "django", "asgiref", "fastapi", "starlette", "pytest")
IMPORTED = f"""
import importlib.util, sys
import payymo_guard
print(payymo_guard.__file__)
print(importlib.util.find_spec("payymo"), sorted(set({STRANGERS!r}) & set(sys.modules)))
"""


def run(folder: Path, *words: str | Path) -> str:
    """The output of a command, which has to succeed. Of our environment it sees nothing that is about Python."""
    ours = ("PYTHON", "PYTEST", "PAYYMO", "COVERAGE", "VIRTUAL_ENV")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    done = subprocess.run(words, cwd=folder, env=environ, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def pins(lock: str) -> dict[str, str]:
    """What is locked for this Python, by its name: the version, and what a download of it has to hash to."""
    text = (ROOT / "requirements" / f"{lock}.txt").read_text("utf-8").replace("\\\n", "")
    lines = [line.partition("--hash") for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    found = [(Requirement(pin), separator + hashes) for pin, separator, hashes in lines]
    return {one.name: f"{one.specifier}{hashes}" for one, hashes in found if not one.marker or one.marker.evaluate()}


def lay_down(installed: metadata.Distribution, packages: Path) -> None:
    """Copy what pip has installed here into another environment; its commands name this one, and stay behind.

    Compiled modules come along: they hold as long as a source has its time and size.
    """
    assert installed.files
    for path in installed.files:
        if ".." not in path.parts:
            target = packages / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(str(path.locate()), target)


def test_what_the_guard_is_tested_with_is_what_is_installed_here() -> None:
    """Its lock has the versions and the hashes of the one by which this environment was made, by pip, of downloads."""
    ours = pins("test")
    assert {name: ours.get(name) for name in pins("guard-test")} == pins("guard-test")


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """The wheel, built of a copy: building leaves its products beside the source."""
    leftovers = shutil.ignore_patterns("build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT / "guard", tmp_path / "source", ignore=leftovers)
    build = ("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, tmp_path / "source")
    run(tmp_path, *PIP, *build)
    [found] = tmp_path.glob("*.whl")
    return found


def test_the_wheel_holds_the_guard_and_its_types(wheel: Path) -> None:
    """Every module of the guard is in it, `py.typed` (PEP 561) too, and nothing else."""
    source = ROOT / "guard" / "src"
    expected = {str(path.relative_to(source)) for path in (source / "payymo_guard").rglob("*.py")}
    found = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert found == expected | {"payymo_guard/py.typed"}


@pytest.mark.timeout(400)
def test_the_guard_passes_its_tests_alone(wheel: Path, tmp_path: Path) -> None:
    """Installed with what its own tests need and nothing of the service; imported, it brings no framework along."""
    python = tmp_path / "venv" / "bin" / "python"
    run(tmp_path, sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
    [packages] = (tmp_path / "venv").glob("lib/python*/site-packages")
    for name, pinned in pins("guard-test").items():
        installed = metadata.distribution(name)
        assert pinned.startswith(f"=={installed.version}--hash")
        lay_down(installed, packages)
    install = ("install", "--quiet", "--no-compile", "--no-deps", "--no-index", wheel)
    run(tmp_path, *PIP, "--python", python, *install)

    place, imported = run(tmp_path, python, "-c", IMPORTED).splitlines()
    assert Path(place).is_relative_to(tmp_path / "venv")
    assert imported == "None []"

    shutil.copy(ROOT / "pyproject.toml", tmp_path)  # how pytest is set up here
    shutil.copytree(ROOT / "tests" / "guard", tmp_path / "tests" / "guard")
    run(tmp_path, python, "-m", "pytest", "-x", "-q", "tests/guard")
