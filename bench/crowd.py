"""Many followers of the feed, each with a connection of its own, in one process.

`python -m bench.crowd PORT COUNT CURSOR`. Writes a line when all are connected. Told anything, it waits until each has
heard of one entry more, and writes how many have, and when the last one did.
"""

import asyncio
import json
import resource
import sys
import time
from typing import Any

PATIENCE_SECONDS = 60.0
SPARE_FILES = 100


class Crowd:
    """The followers, and when each of them has heard of something."""

    def __init__(self, port: int) -> None:
        self.heard: list[float] = []
        self._port = port
        self._tasks: list[asyncio.Task[None]] = []

    async def join(self, number: int, cursor: str) -> None:
        """One more."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._tasks.append(asyncio.create_task(self._follow(reader, writer, number, cursor)))

    async def all_heard(self) -> list[float]:
        """How many, and when. The next time, of something else."""
        given_up = time.monotonic() + PATIENCE_SECONDS
        while len(self.heard) < len(self._tasks) and time.monotonic() < given_up:
            for task in self._tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.01)
        heard, self.heard = self.heard, []
        return [len(heard), max(heard, default=0.0)]

    async def _follow(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int, cursor: str
    ) -> None:
        while True:
            path = f"/api/revocations?after={cursor}&wait=20&follower=bench-{number:08}"
            writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            page = await _answer(reader)
            if page["entries"]:
                self.heard.append(time.monotonic())
            cursor = page["cursor"]


async def _answer(reader: asyncio.StreamReader) -> dict[str, Any]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = int(head.partition("\r\ncontent-length:")[2].partition("\r\n")[0])
    body = await reader.readexactly(length)
    if not head.startswith("http/1.1 200"):
        raise RuntimeError(f"{head}{body!r}")
    data: dict[str, Any] = json.loads(body)["data"]
    return data


async def run(port: int, count: int, cursor: str) -> None:
    """Until the input ends."""
    crowd = Crowd(port)
    for number in range(count):
        await crowd.join(number, cursor)
    print(json.dumps(count), flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await crowd.all_heard()), flush=True)


def main() -> int:
    """A connection is a file, and there are more of them than a process may usually open."""
    port, count, cursor = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(allowed, count + SPARE_FILES), most))
    asyncio.run(run(port, count, cursor))
    return 0


if __name__ == "__main__":
    sys.exit(main())
