"""A memory limit around processes, where this machine lets us set one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_ROOTS = (
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.max_usage_in_bytes"),
    (Path("/sys/fs/cgroup"), "memory.max", "memory.peak"),
)


class Limit:
    """A group of processes whose memory is bounded. Raises OSError where that can't be had."""

    def __init__(self, folder: Path, limit: str, peak: str, megabytes: int) -> None:
        self.folder = folder
        self._peak = folder / peak
        (folder / limit).write_text(str(megabytes * 1024 * 1024))

    def peak_megabytes(self) -> float:
        """The most that they held together."""
        return int(self._peak.read_text()) / 1024 / 1024


@contextmanager
def limited(megabytes: int) -> Iterator[Limit | None]:
    """A limit of that size, or None where this machine offers none. Its processes have to be gone when it ends."""
    for root, limit, peak in _ROOTS:
        folder = root / f"payymo-bench-{os.getpid()}"
        try:
            folder.mkdir()
            made = Limit(folder, limit, peak, megabytes)
            made.peak_megabytes()
        except OSError:
            with suppress(OSError):
                folder.rmdir()
            continue
        try:
            yield made
        finally:
            with suppress(OSError):
                folder.rmdir()
        return
    yield None
