"""The samples of a measurement in a file: what takes hours can be stopped and goes on, and others can judge it anew.

JSON lines. The first says how it was measured; each other one is two samples, of which one was taken right after the
other. A line that was begun and never ended, because the process was killed, is cut off.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from payymo.errors import Misconfigured
from payymo.timing.gathering import Samples

FORMAT: Final = "payymo-timing-1"


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How it was measured. What was measured in another way is not put beside it."""

    format: str
    over: str
    """`process` or `http`."""
    bound_us: int


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Two samples of a pair, in nanoseconds."""

    pair: str
    first_ns: int
    second_ns: int
    same_answer: bool
    """Whether all answers of the pair were the same until then."""


_write = msgspec.json.Encoder().encode
_read_head = msgspec.json.Decoder(Head).decode
_read_line = msgspec.json.Decoder(Line).decode


class SampleFile:
    """What was gathered before, and where the next samples go. Without a file: nothing, and nowhere."""

    def __init__(self, file: BinaryIO | None = None) -> None:
        self._file = file
        self._found: dict[str, Samples] = {}
        self._differing: set[str] = set()

    def samples_of(self, pair: str) -> Samples:
        """What there is of a pair, to be added to."""
        return self._found.setdefault(pair, Samples())

    def is_same(self, pair: str) -> bool:
        """Whether all answers of a pair were the same, as far as the file tells."""
        return pair not in self._differing

    def add(self, pair: str, samples: Samples, *, same: bool) -> None:
        """Keep the latest two samples of a pair."""
        if self._file is not None:
            self._file.write(_write(Line(pair, samples.first[-1], samples.second[-1], same)) + b"\n")

    def take(self, line: Line) -> None:
        """Take in what was kept before."""
        samples = self.samples_of(line.pair)
        samples.first.append(line.first_ns)
        samples.second.append(line.second_ns)
        if not line.same_answer:
            self._differing.add(line.pair)


@contextmanager
def kept(path: Path | None, head: Head, *, resume: bool) -> Iterator[SampleFile]:
    """The file at `path`, to be begun, or with `resume` to be gone on with. Raises Misconfigured."""
    if path is None:
        yield SampleFile()
        return
    with _open(path, resume=resume) as file:
        found = SampleFile(file)
        _take_all(path, file, head, found)
        yield found
        file.flush()
        os.fsync(file.fileno())


def _open(path: Path, *, resume: bool) -> BinaryIO:
    try:
        file = path.open("r+b" if resume and path.exists() else "xb+")
    except FileExistsError:
        raise Misconfigured([f"{path}: is there already: --resume goes on with it, or name another"]) from None
    except OSError as error:
        raise Misconfigured([f"{path}: {error.strerror}"]) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise Misconfigured([f"{path}: another measurement is writing it"]) from None
    return file


def _take_all(path: Path, file: BinaryIO, head: Head, found: SampleFile) -> None:
    """Take in all whole lines, and stand behind the last one. An empty file gets its first line."""
    end, number = 0, 0
    for number, text in enumerate(iter(file.readline, b""), 1):
        if not text.endswith(b"\n"):
            break
        try:
            if number > 1:
                found.take(_read_line(text))
            else:
                _require_head(text, head)
        except ValueError as error:  # msgspec's are such, too
            raise Misconfigured([f"{path}, line {number}: {error}: name another file"]) from None
        end += len(text)
    file.seek(end)
    file.truncate()
    if not end:
        file.write(_write(head) + b"\n")


def _require_head(text: bytes, head: Head) -> None:
    if _read_head(text) != head:
        raise ValueError(f"measured in another way than {_write(head).decode()}")
