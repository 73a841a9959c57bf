"""A process with a guard that knows of so many revocations, and nothing else. `python -m bench.seen COUNT ROUNDS`.

Writes what the revocations take, in MB, and what a token costs that was seen before, in microseconds, as JSON.
"""

import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from payymo_guard import Guard
from payymo_guard.feed import MAX_ENTRIES, Entry
from payymo_guard.testing import FakeIssuer

TOKENS = 200
PASSES = 10


def main() -> int:
    """Hear of all of them, and measure."""
    count, rounds = int(sys.argv[1]), int(sys.argv[2])
    issuer = FakeIssuer()
    guard = issuer.guard()
    tokens = [issuer.mint(session_id=_identifier(), subject=_identifier()) for _ in range(TOKENS)]
    _verify(guard, tokens)
    entries = _entries(issuer)
    _page(entries, MAX_ENTRIES)  # one is there at a time, however many there are in all
    before = _resident_megabytes()
    heard = sum(_hear(guard, entries, min(MAX_ENTRIES, count - done)) for done in range(0, count, MAX_ENTRIES))
    gc.collect()
    found = {
        "grown": _resident_megabytes() - before,
        "tables": guard.revocations.ids_bytes / 1e6,
        "heard": heard / count * 1e6,
        "quiet": statistics.median(_verify(guard, tokens * PASSES) for _ in range(rounds)),
    }
    news = []
    for _ in range(rounds):
        _hear(guard, entries, 1)
        news.append(_verify(guard, tokens))
    print(json.dumps(found | {"news": statistics.median(news)}))
    return 0


def _verify(guard: Guard, tokens: list[str]) -> float:
    """Microseconds for each."""
    verify = guard.verify
    begun = time.perf_counter()
    for token in tokens:
        verify(token)
    return (time.perf_counter() - begun) / len(tokens) * 1e6


def _hear(guard: Guard, entries: Iterator[Entry], count: int) -> float:
    """Seconds of computing that it takes to apply so many more."""
    page = _page(entries, count)
    begun = time.process_time()
    guard.revocations.apply(page, elapsed=time.monotonic())
    return time.process_time() - begun


def _page(entries: Iterator[Entry], count: int) -> list[Entry]:
    return [next(entries) for _ in range(count)]


def _entries(issuer: FakeIssuer) -> Iterator[Entry]:
    """Sessions that were logged out, without end."""
    now, seq = int(issuer.clock()), 0
    while True:
        seq += 1
        yield Entry(seq, "session", _identifier(), now, now + 960, "tenant-1")


def _identifier() -> str:
    text = os.urandom(16).hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _resident_megabytes() -> float:
    listed = subprocess.run(["ps", "-o", "rss=", "-p", str(os.getpid())], check=True, capture_output=True, text=True)
    return int(listed.stdout) * 1024 / 1e6


if __name__ == "__main__":
    sys.exit(main())
