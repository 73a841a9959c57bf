"""payymo-guard as others install it: a wheel of its own, in an environment where nothing of the service is.

Its tests pass there, so that neither a module nor a test of it leans on what happens to lie beside it in this house.
"""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

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
    install = (*PIP, "--python", python, "install", "--quiet", "--no-compile", "--no-deps")
    run(tmp_path, *install, "--require-hashes", "-r", ROOT / "requirements" / "guard-test.txt")
    run(tmp_path, *install, "--no-index", wheel)

    place, imported = run(tmp_path, python, "-c", IMPORTED).splitlines()
    assert Path(place).is_relative_to(tmp_path / "venv")
    assert imported == "None []"

    shutil.copy(ROOT / "pyproject.toml", tmp_path)  # how pytest is set up here
    shutil.copytree(ROOT / "tests" / "guard", tmp_path / "tests" / "guard")
    run(tmp_path, python, "-m", "pytest", "-x", "-q", "-n", "2", "tests/guard")
