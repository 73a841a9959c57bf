"""Standard input, output and error as they are handed over: closed, full, broken, of few letters."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.guard.ports import free_port
from tests.support.house import PASSWORD, House
from tests.support.processes import PAYYMO, START_SECONDS, environment

STREAMS = {
    "all closed": "<&- >&- 2>&-",
    "output closed": ">&-",
    "errors to a full disk": "2>/dev/full",
    "output to a full disk": ">/dev/full",
    "few letters": "",
}


@contextmanager
def serving(house: House, streams: str, **more: str) -> Iterator[tuple[int, str]]:
    """A server that a shell has started with these streams: the number of its process, and its address."""
    port = free_port()
    process = subprocess.Popen(
        ["sh", "-c", f"exec {PAYYMO} serve --port {port} {streams}"],
        env=environment(house.database, PYTHONIOENCODING="latin-1", **more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    base, deadline = f"http://127.0.0.1:{port}", time.monotonic() + START_SECONDS
    try:
        while not _is_ready(base):
            assert process.poll() is None, "it has ended"
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield process.pid, base
    finally:
        process.terminate()
        process.wait(20)


def _is_ready(base: str) -> bool:
    try:
        return httpx.get(f"{base}/health/ready", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("streams", STREAMS.values(), ids=STREAMS)
def test_the_service_answers_whatever_becomes_of_what_it_says(sqlite_house: House, streams: str) -> None:
    """Logins are written to standard error, and are answered where nobody reads that; no file takes its number."""
    sqlite_house.user("alice")
    with serving(sqlite_house, streams, PAYYMO_DATA=str(sqlite_house.database.data / "dąta")) as (pid, base):
        login = {"email": "alice@example.com", "password": PASSWORD}
        assert httpx.post(f"{base}/api/auth/login", json=login, timeout=20).status_code == 200
        login["password"] += "x"
        assert httpx.post(f"{base}/api/auth/login", json=login, timeout=20).status_code == 401
        files = [Path(f"/proc/{pid}/fd/{number}").readlink() for number in range(3)]
        assert all(file.parent == Path("/dev") for file in files), files


def test_a_table_is_printed_where_letters_are_missing(sqlite_house: House) -> None:
    """As escapes: one name in other letters must not keep an operator from all the others."""
    for words in (["tenant", "create", "acme", "--name", "Łódź"], ["tenant", "list"]):
        done = subprocess.run(
            [PAYYMO, *words],
            env=environment(sqlite_house.database, PYTHONIOENCODING="ascii"),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert "\\u0141\\xf3d\\u017a" in done.stdout


def test_a_folder_that_has_gone_is_not_called_the_output(tmp_path: Path) -> None:
    """Whoever stands in it, and names the data by a relative path."""
    done = subprocess.run(
        ["sh", "-c", f"mkdir gone; cd gone; rmdir ../gone; PAYYMO_DATA=data {PAYYMO} user list"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "payymo: the current folder: No such file or directory\n")
