"""A real PKCS#11 token for the tests: SoftHSM, with a token of its own in a folder that goes with the tests.

Where the system doesn't have it, Debian and Ubuntu give out its packages to anybody: they are unpacked under `.cache`,
which needs no rights. Nothing found is an error and never a skip.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from payymo.secrets.model import Access, TokenAccess

VARIABLE = "PAYYMO_TEST_SOFTHSM"
REMEDY = f"no SoftHSM found: sudo apt install softhsm2, brew install softhsm, or set {VARIABLE} to its libsofthsm2.so"
CACHE = Path(__file__).parents[2] / ".cache" / "softhsm"
PACKAGES = ("softhsm2", "libsofthsm2", "softhsm2-common")
LIBRARY = "libsofthsm2.so"
FOLDERS = (
    "/usr/lib/softhsm",
    "/usr/lib64/pkcs11",
    "/usr/local/lib/softhsm",
    "/opt/homebrew/lib/softhsm",
)
LABEL, PIN = "payymo", "4711-canary-pin"


@dataclass(frozen=True, slots=True)
class SoftHsm:
    """A token that is ready, and how it is reached."""

    module: Path
    configuration: Path
    util: Path

    @property
    def token(self) -> TokenAccess:
        """How the token is reached."""
        return TokenAccess(self.module, PIN)

    @property
    def access(self) -> Access:
        """The same among others that keep keys."""
        return Access(token=self.token)

    @property
    def settings(self) -> dict[str, str]:
        """The settings that name it."""
        return {"module": str(self.module), "pin": PIN}

    @property
    def environment(self) -> dict[str, str]:
        """What a process of its own needs to be told."""
        return {
            "SOFTHSM2_CONF": str(self.configuration),
            "PAYYMO_PKCS11__MODULE": str(self.module),
            "PAYYMO_PKCS11__PIN": PIN,
        }

    def add_token(self, label: str) -> None:
        """One more token, for who has not begun yet."""
        pins = ["--so-pin", "12345678", "--pin", PIN]
        command = [str(self.util), "--module", str(self.module), "--init-token", "--free", "--label", label, *pins]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=os.environ | self.environment)
        if done.returncode:
            raise RuntimeError(f"softhsm2-util failed:\n{done.stdout}{done.stderr}")


@contextmanager
def softhsm() -> Iterator[SoftHsm]:
    """A token for this process and those that it starts."""
    module, util = find_softhsm()
    folder = Path(tempfile.mkdtemp(prefix="payymo-hsm-"))
    configuration = folder / "softhsm2.conf"
    (folder / "tokens").mkdir()
    configuration.write_text(
        f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    os.environ["SOFTHSM2_CONF"] = str(configuration)  # read when the library begins, once in a process
    try:
        found = SoftHsm(module, configuration, util)
        found.add_token(LABEL)
        yield found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def find_softhsm() -> tuple[Path, Path]:
    """The library, and the program that makes tokens. Raises RuntimeError with the remedy."""
    named = os.environ.get(VARIABLE)
    if named:
        return _pair(Path(named)) or _refuse(f"{VARIABLE}={named}: there is no softhsm2-util beside it or on the PATH")
    for place in _places():
        if found := _pair(place):
            return found
    return _unpacked() or _refuse(REMEDY)


def _refuse(reason: str) -> tuple[Path, Path]:
    raise RuntimeError(reason)


def _places() -> Iterable[Path]:
    yield from (Path(folder, LIBRARY) for folder in FOLDERS)
    yield from Path("/usr/lib").glob(f"*-linux-gnu/softhsm/{LIBRARY}")
    yield CACHE / "usr" / "lib" / "softhsm" / LIBRARY


def _pair(library: Path) -> tuple[Path, Path] | None:
    """The library and its program: in the same tree, or on the PATH."""
    tree = library.parents[2] / "bin" / "softhsm2-util" if len(library.parents) > 2 else library
    util = str(tree) if tree.is_file() else shutil.which("softhsm2-util")
    return (library, Path(util)) if library.is_file() and util and os.access(util, os.X_OK) else None


def _unpacked() -> tuple[Path, Path] | None:
    """Debian's packages, unpacked by the first of the processes that need them."""
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        return None
    CACHE.parent.mkdir(exist_ok=True)
    with (CACHE.parent / "softhsm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        library = CACHE / "usr" / "lib" / "softhsm" / LIBRARY
        if _pair(library) is None:
            with tempfile.TemporaryDirectory(dir=CACHE.parent) as text:
                folder = Path(text)
                _download(folder)
                for package in folder.glob("*.deb"):
                    _run("dpkg", "-x", str(package), str(folder / "tree"), folder=folder)
                shutil.rmtree(CACHE, ignore_errors=True)
                (folder / "tree").rename(CACHE)
        return _pair(library)


def _download(folder: Path) -> None:
    """With the lists that the system has, or with ones of our own: to read those of the system takes rights."""
    try:
        _run("apt-get", "download", *PACKAGES, folder=folder)
    except RuntimeError:
        for part in ("lists/partial", "archives/partial"):
            (folder / part).mkdir(parents=True)
        own = (f"Dir::State::lists={folder / 'lists'}", f"Dir::Cache={folder}", "Debug::NoLocking=1")
        options = [part for option in own for part in ("-o", option)]
        _run("apt-get", "update", *options, folder=folder)
        _run("apt-get", "download", *PACKAGES, *options, folder=folder)


def _run(*command: str, folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{REMEDY}\n{' '.join(command)}:\n{done.stdout}{done.stderr}")
