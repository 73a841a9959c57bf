"""What the processes of a node have counted, in files that they share; and its sum.

Each process counts in a lane of its own. A lane belongs to whoever has locked it, and the lock ends with the process:
the next one goes on in the same lane, from what stands there, so that counters never go back and no process leaves
files behind. The files and their sum are prometheus-client's, whose own numbering by process id leaves as many files
as there ever were processes, and which is chosen for a whole program by a variable of its environment.
"""

import fcntl
import itertools
import os
import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.utils import floatToGoString

from payymo.metrics.catalogue import COUNTED
from payymo.metrics.family import SECONDS, Family, Kind

ROOM_BYTES: Final = {"counter": 2 * 1024 * 1024, "histogram": 4 * 1024 * 1024, "gauge": 64 * 1024}
"""Room for every series that there can be, taken at once: to write into a mapped file on a full disk ends a process."""
_HELP: Final = {family.base: family.help for family in COUNTED}
_ENDS: Final = tuple(floatToGoString(bound) for bound in SECONDS)


class Series:
    """One series of a lane. Nobody else writes it, so what it stands at is known here."""

    __slots__ = ("_file", "_key", "_value")

    def __init__(self, file: MmapedDict, key: str) -> None:
        self._file = file
        self._key = key
        self._value: float = file.read_value(key)[0]

    def add(self, amount: float) -> None:
        """Count."""
        self._value += amount
        self._file.write_value(self._key, self._value, 0.0)

    def set(self, value: float, moment: float) -> None:
        """Say how it is."""
        self._value = value
        self._file.write_value(self._key, value, moment)


class Lanes:
    """The lanes of a node, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def claim(self) -> "Lane":
        """A lane for this process, from now until it ends. Raises OSError: there is no room for it."""
        for number in itertools.count():
            lock = _lock(self._folder / f"{number}.lock")
            if lock is not None:
                mark_process_dead(number, str(self._folder))  # what its last owner was just doing
                try:
                    return Lane(self._folder, number, lock)
                except OSError:
                    os.close(lock)
                    raise
        raise AssertionError("there is always another number")

    def sum(self) -> Iterator[Metric]:
        """What all processes have counted, those that are gone included."""
        for path in self._folder.glob("*.lock"):
            lock = _lock(path)
            if lock is not None:  # its owner is gone, and nobody can claim it before what it was doing is forgotten
                mark_process_dead(int(path.stem), str(self._folder))
                os.close(lock)
        for metric in MultiProcessCollector(None, str(self._folder)).collect():
            metric.documentation = _HELP[metric.name]
            yield metric

    def histograms(self) -> Iterable[Metric]:
        """The histograms alone, with buckets that are not accumulated."""
        files = [str(path) for path in self._folder.glob("histogram_*.db")]
        return MultiProcessCollector.merge(files, accumulate=False)  # type: ignore[no-any-return]


class Lane:
    """Where one process counts. Thread-safe."""

    def __init__(self, folder: Path, number: int, lock: int) -> None:
        self._folder = folder
        self._number = number
        self._held = lock
        self._writing = threading.Lock()
        self._files: dict[str, MmapedDict] = {}
        self._known: dict[tuple[str, tuple[str, ...], str], Series] = {}
        for family in COUNTED:
            self._file(family)  # all room is taken now, and none in the midst of a request
            if family.starts_at_zero:
                self._begin(family)

    def close(self) -> None:
        """Give the lane to whoever comes next. The end of the process does that, too."""
        with self._writing:
            for file in self._files.values():
                file.close()
            os.close(self._held)

    def add(self, family: Family, *labels: str, amount: float = 1.0) -> None:
        """Count."""
        with self._writing:
            self._series(family, family.name, labels).add(amount)

    def set(self, family: Family, *labels: str, value: float, moment: float = 0.0) -> None:
        """Say how it is. `moment`: when that was, for what the most recent one is exported of."""
        with self._writing:
            self._series(family, family.name, labels).set(value, moment)

    def observe(self, family: Family, *labels: str, value: float) -> None:
        """Count into a bucket."""
        end = _ENDS[bisect_left(SECONDS, value)]
        with self._writing:
            self._series(family, f"{family.name}_sum", labels).add(value)
            self._series(family, f"{family.name}_bucket", labels, end).add(1.0)

    def _begin(self, family: Family) -> None:
        """Each series at zero, or where the lane's last owner has left it."""
        for labels in itertools.product(*(sorted(words or ()) for words in family.labels.values())):
            self._series(family, family.name, labels)

    def _series(self, family: Family, sample: str, labels: tuple[str, ...], end: str = "") -> Series:
        """A series. What was told by its vocabulary once is found at once."""
        found = self._known.get((sample, labels, end))
        if found is None:
            told = family.told(labels)
            found = self._known.get((sample, told, end)) or self._new(family, sample, told, end)
            # Under what was told, and not under what a stranger has said: there is no end of that.
            self._known[sample, told, end] = found
        return found

    def _new(self, family: Family, sample: str, labels: tuple[str, ...], end: str) -> Series:
        """A series. With a bucket come all the others: OpenMetrics asks for the last one."""
        names, file = [*family.labels], self._file(family)
        if not end:
            return Series(file, mmap_key(family.base, sample, names, [*labels], ""))
        buckets = {one: mmap_key(family.base, sample, [*names, "le"], [*labels, one], "") for one in _ENDS}
        return {one: Series(file, key) for one, key in buckets.items()}[end]

    def _file(self, family: Family) -> MmapedDict:
        prefix = f"gauge_{family.mode}" if family.kind == "gauge" else family.kind
        found = self._files.get(prefix)
        if found is None:
            found = self._files[prefix] = _open(self._folder / f"{prefix}_{self._number}.db", family.kind)
        return found


def _open(path: Path, kind: Kind) -> MmapedDict:
    """A file with room. It appears whole: readers don't take an empty one."""
    if not path.exists():
        draft = path.with_suffix(".draft")
        try:
            with draft.open("wb") as file:
                file.write(bytes(ROOM_BYTES[kind]))
        except OSError:
            draft.unlink()  # a full disk is not to be any fuller for it
            raise
        draft.rename(path)
    return MmapedDict(str(path))


def _lock(path: Path) -> int | None:
    """The lock of a lane, held until it is closed or this process ends; None: another process has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
