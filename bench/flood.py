"""A flood of logins, each with a connection of its own, that begins again as soon as it is answered.

`python -m bench.flood PORT COUNT`. Writes a line when it has begun; told anything, how often each status was answered,
how many were never answered, and how many refusals had no Retry-After.
"""

import asyncio
import json
import sys
from collections import Counter


class Flood:
    """The logins, and what they got."""

    def __init__(self, port: int) -> None:
        self.statuses: Counter[str] = Counter()
        self._port = port

    async def log_in_for_ever(self, number: int) -> None:
        """With an address of nobody's, each time."""
        body = json.dumps({"email": f"nobody-{number}@example.com", "password": "not the password"}).encode()
        head = (
            b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        )
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                while True:
                    writer.write(head % len(body) + body)
                    await self._hear(reader)
            except (OSError, asyncio.IncompleteReadError):
                self.statuses["none"] += 1
                await asyncio.sleep(0.1)

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        await reader.readexactly(int(answer.partition("\r\ncontent-length:")[2].partition("\r\n")[0]))
        status = answer.split(" ", 2)[1]
        self.statuses[status] += 1
        if status in {"429", "503"} and "\r\nretry-after:" not in answer:
            self.statuses["no retry-after"] += 1


async def run(port: int, count: int) -> None:
    """Until the input ends."""
    flood = Flood(port)
    tasks = [asyncio.create_task(flood.log_in_for_ever(number)) for number in range(count)]
    print(json.dumps(count), flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(flood.statuses), flush=True)
        flood.statuses.clear()
    for task in tasks:
        task.cancel()


def main() -> int:
    """One process, so that the flood costs one core at most."""
    asyncio.run(run(int(sys.argv[1]), int(sys.argv[2])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
