"""Programs of ours beside the servers: started, spoken to in lines of JSON, and always ended."""

import json
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PATIENCE_SECONDS = 120.0


class Program:
    """A program that writes one line for each line that it is told, and one of its own accord when it is ready."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def tell(self, value: object) -> None:
        """One line."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(value) + "\n")
        self._process.stdin.flush()

    def hear(self, seconds: float = PATIENCE_SECONDS) -> Any:
        """The next line. Raises RuntimeError when there is none in time."""
        assert self._process.stdout is not None
        if select.select([self._process.stdout], [], [], seconds)[0]:
            line = self._process.stdout.readline()
            if line:
                return json.loads(line)
        raise RuntimeError(f"no word of {self._process.args!r}")

    def end(self) -> None:
        """Close its input, and wait."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def program(name: str, *words: object) -> Iterator[Program]:
    """`python -m bench.NAME …`, which ends when its input does."""
    line = [sys.executable, "-m", f"bench.{name}", *map(str, words)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        found = Program(process)
        try:
            yield found
        finally:
            found.end()
