"""The samples of a measurement in a file: what takes hours can be stopped and goes on, and others can judge it anew.

JSON lines. The first says how it was measured; each other one is two samples, of which one was taken right after the
other. Each is written at once, so that a reboot takes a line at most: one that was begun and never ended is cut off.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Final

import msgspec

from payymo.errors import Misconfigured
from payymo.timing.gathering import Samples

FORMAT: Final = "payymo-timing-1"
MAX_LINE: Final = 1024
"""Octets: more than the longest line."""


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

    def __init__(self, path: Path | None = None, file: FileIO | None = None) -> None:
        self._path = path
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
        """Keep the latest two samples of a pair. Raises Misconfigured: they can't be written."""
        self.write(Line(pair, samples.first[-1], samples.second[-1], same))

    def take(self, line: Line) -> None:
        """Take in what was kept before."""
        samples = self.samples_of(line.pair)
        samples.first.append(line.first_ns)
        samples.second.append(line.second_ns)
        if not line.same_answer:
            self._differing.add(line.pair)

    def write(self, line: Head | Line) -> None:
        """Add a line, whole. Raises Misconfigured."""
        if self._file is None:
            return
        text = _write(line) + b"\n"
        try:
            is_whole = self._file.write(text) == len(text)
        except OSError as error:
            raise Misconfigured([f"{self._path}: {error.strerror}"]) from None
        if not is_whole:
            raise Misconfigured([f"{self._path}: {os.strerror(errno.ENOSPC)}"])


@contextmanager
def kept(path: Path | None, head: Head, *, resume: bool) -> Iterator[SampleFile]:
    """The file at `path`, to be begun, or with `resume` to be gone on with. Raises Misconfigured."""
    if path is None:
        yield SampleFile()
        return
    with _open(path, resume=resume) as file:
        found = SampleFile(path, file)
        end = _take_all(path, head, found)
        file.truncate(end)
        file.seek(end)
        if not end:
            found.write(head)
        yield found


def _open(path: Path, *, resume: bool) -> FileIO:
    """The file, for this process alone."""
    try:
        file = path.open("r+b" if resume and path.exists() else "xb+", buffering=0)
    except FileExistsError:
        raise Misconfigured([f"{path}: is there already: --resume goes on with it, or name another"]) from None
    except OSError as error:
        raise Misconfigured([f"{path}: {error.strerror or error}"]) from None
    with ExitStack() as closing:
        closing.enter_context(file)
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise Misconfigured([f"{path}: is no regular file"])
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Misconfigured([f"{path}: another measurement is writing it"]) from None
        closing.pop_all()
    return file


def _take_all(path: Path, head: Head, found: SampleFile) -> int:
    """Take in all whole lines. Answers where the last one ends."""
    end = 0
    with path.open("rb") as file:
        for number, text in enumerate(iter(partial(file.readline, MAX_LINE), b""), 1):
            if not text.endswith(b"\n") and len(text) < MAX_LINE:
                break
            try:
                if number > 1:
                    found.take(_read_line(text))
                else:
                    _require_head(text, head)
            except ValueError as error:  # msgspec's are such, too
                raise Misconfigured([f"{path}, line {number}: {error}: name another file"]) from None
            end += len(text)
    return end


def _require_head(text: bytes, head: Head) -> None:
    if _read_head(text) != head:
        raise ValueError(f"measured in another way than {_write(head).decode()}")
