"""A real browser for the tests: found, or installed where that can be done, and started without a window.

A browser that isn't there is an error and never a skip. Debian's package is taken, which comes from where the machine's
other packages come from; Playwright drives it by the protocol that all of its kind speak.
"""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, sync_playwright

VARIABLE: Final = "PAYYMO_TEST_CHROMIUM"
NAMES: Final = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
REMEDY: Final = (
    f"no Chromium found: install one (Debian: apt-get install chromium), or set {VARIABLE} to its executable"
)
INSTALL_SECONDS: Final = 420
FLAGS: Final = (
    "--no-sandbox",  # tests run as root in containers, and show it nothing but our own pages
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find_chromium() -> str:
    """The executable. Raises RuntimeError, with the remedy."""
    named = os.environ.get(VARIABLE)
    if named:
        if shutil.which(named) is None:
            raise RuntimeError(f"{VARIABLE}={named}: there is no such executable")
        return named
    found = next((path for name in NAMES if (path := shutil.which(name))), None) or _install()
    if found is None:
        raise RuntimeError(REMEDY)
    return found


def _install() -> str | None:
    """Where we may: as root, on a system that has apt. Of parallel processes one does it, and the others wait."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return None
    with Path("/tmp/payymo-test-chromium.lock").open("w") as lock:  # noqa: S108 - a lock, and nothing is read from it
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (found := shutil.which("chromium")) is not None:
            return found
        quiet = {"env": os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, "timeout": INSTALL_SECONDS}
        for words in (("update",), ("install", "--yes", "--no-install-recommends", "chromium")):
            done = subprocess.run(["apt-get", *words], capture_output=True, text=True, check=False, **quiet)  # type: ignore[call-overload]
            if done.returncode:
                raise RuntimeError(f"{REMEDY}\napt-get {' '.join(words)}: {done.stderr[-500:]}")
    return shutil.which("chromium")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
        yield browser
        browser.close()
