"""The time that passes, whatever the wall clock is set to, and also while the machine sleeps."""

import functools
import time
from collections.abc import Callable
from typing import Final


def _best() -> Callable[[], float]:
    """Linux counts suspended time in another clock than the one that Python calls monotonic."""
    clock: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic if clock is None else functools.partial(time.clock_gettime, clock)


system_elapsed: Final[Callable[[], float]] = _best()
"""Seconds since some moment; never goes back. Both clocks mean the same in every process of a machine."""
