"""What time it is. The only module that reads the machine's clock; everything else is handed one."""

import time
from collections.abc import Callable
from typing import TypeAlias

Clock: TypeAlias = Callable[[], float]
"""Answers the seconds since 1970-01-01T00:00:00Z. JWT times (RFC 7519 §2, NumericDate) are its whole part."""

system_clock: Clock = time.time  # noqa: TID251 - this module is the one that may
