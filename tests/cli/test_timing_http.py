"""`payymo prove timing --url`: a service that runs, one that does not answer, one that hangs up."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from payymo.cli import timing_lines
from payymo.cli.timing_lines import Http
from payymo.cli.timing_world import Ask
from payymo.errors import Misconfigured
from tests.conftest import Copied
from tests.support.processes import PAYYMO, Server, environment

ANSWER = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno"
ASK = Ask("/a", b"{}", {"Content-Type": "application/json"})


@contextmanager
def answering(*connections: Callable[[socket.socket], None]) -> Iterator[str]:
    """A listener that does one thing with each connection, and closes it. Answers its URL."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def serve() -> None:
            for act in connections:
                with closing(listener.accept()[0]) as found:
                    act(found)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(10)


def answer(found: socket.socket) -> None:
    found.recv(65_536)
    found.sendall(ANSWER)


def test_a_connection_that_was_closed_is_opened_again() -> None:
    """Services close connections that have served enough; that is no reason to lose hours."""
    with answering(answer, answer) as url, closing(Http(url)) as line:
        assert [line.send(ASK)[1].body, line.send(ASK)[1].body] == [b"no", b"no"]


def test_a_service_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not there, no such name, or silent: not a word of the output, which is as good as ever."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        nowhere = f"http://127.0.0.1:{listener.getsockname()[1]}"
    for url in (nowhere, "http://nowhere.invalid"):
        with closing(Http(url)) as line, pytest.raises(Misconfigured, match=r"--url: nobody answers there: .*Errno"):
            line.send(ASK)
    monkeypatch.setattr(timing_lines, "PATIENCE_SECONDS", 0.1)
    is_over = threading.Event()
    with answering(lambda _found: is_over.wait(10) or None) as url, closing(Http(url)) as line:
        with pytest.raises(Misconfigured, match="--url: no answer within"):
            line.send(ASK)
        is_over.set()


def test_a_measurement_that_was_killed_goes_on(sqlite_database: Copied, tmp_path: Path) -> None:
    """Over HTTP, on a service that runs: what is in the file when the process ends counts for the next one."""
    environ = environment(sqlite_database)
    server = Server(sqlite_database, environ)
    server.start()
    file = tmp_path / "samples"
    words = [PAYYMO, "prove", "timing", "--url", server.base, "--pair", "refresh-garbage", "--samples", "60", "--json"]
    words += ["--output", str(file), "--resume"]
    try:
        killed = subprocess.Popen(words, env=environ, stdout=subprocess.DEVNULL)
        while not file.exists() or file.read_bytes().count(b"\n") < 20:
            assert killed.poll() is None
            time.sleep(0.01)
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait(20)
        before = file.read_bytes().rpartition(b"\n")[0]
        done = subprocess.run(words, check=False, env=environ, capture_output=True, text=True, timeout=60)
    finally:
        server.terminate()
    rows = json.loads(done.stdout)
    assert [(row["samples"], row["same_answer"]) for row in rows][-1] == (60, True), done.stderr
    assert file.read_bytes().startswith(before)
    assert file.read_bytes().count(b"\n") == 1 + 2 * 60
