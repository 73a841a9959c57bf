"""Ports for servers that tests start: below those that the system hands to whoever connects somewhere.

A port of those (from 32768 on) that was free a moment ago may be the near end of somebody's connection when the server
begins, or begins again.
"""

import itertools
import os
import socket
from collections.abc import Iterator
from typing import Final

PORTS: Final = range(10_000, 32_000)
_begin = os.getpid() * 131 % len(PORTS)
_in_turn: Iterator[int] = itertools.cycle([*PORTS[_begin:], *PORTS[:_begin]])
"""Processes that test beside each other begin at places of their own."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on. This process gives it to nobody else for a long time."""
    for port in itertools.islice(_in_turn, len(PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("there is no free port")
