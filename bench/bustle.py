"""Load: people who are logged in, ask, and refresh now and then, at a steady pace. On the servers in turn.

`python -m bench.bustle EMAIL PASSWORD PORT PORT …`. Writes a line when everybody is logged in; told anything, how many
requests succeeded, and how many did not.
"""

import http.client
import json
import sys
import threading
from collections import Counter
from itertools import cycle
from typing import Any

PEOPLE = 4
PAUSE_SECONDS = 0.025
ASKS_PER_REFRESH = 10


class Person:
    """One of them, with connections of their own."""

    def __init__(self, ports: list[int]) -> None:
        self.counts: Counter[bool] = Counter()
        self._turn = cycle([http.client.HTTPConnection("127.0.0.1", port, timeout=20) for port in ports])
        self._tokens: dict[str, str] = {}

    def log_in(self, email: str, password: str) -> None:
        """Has to succeed, like each refresh."""
        self._tokens = self._ask("POST", "login", {"email": email, "password": password})["data"]

    def live(self, ended: threading.Event) -> None:
        """Ask and refresh."""
        for number in cycle(range(ASKS_PER_REFRESH)):
            if ended.wait(PAUSE_SECONDS):
                return
            if number:
                self._ask("GET", "me")
            else:
                self._tokens = self._ask("POST", "refresh", {"refresh_token": self._tokens["refresh_token"]})["data"]

    def _ask(self, method: str, what: str, body: dict[str, str] | None = None) -> dict[str, Any]:
        connection = next(self._turn)
        headers = {"Content-Type": "application/json"}
        if body is None:
            headers["Authorization"] = f"Bearer {self._tokens['access_token']}"
        connection.request(method, f"/api/auth/{what}", json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        found: dict[str, Any] = json.loads(answer.read())
        self.counts[answer.status == 200] += 1
        return found


def main() -> int:
    """Until the input ends."""
    email, password, *ports = sys.argv[1:]
    people = [Person([int(port) for port in ports]) for _ in range(PEOPLE)]
    for person in people:
        person.log_in(email, password)
    ended = threading.Event()
    threads = [threading.Thread(target=person.live, args=(ended,)) for person in people]
    for thread in threads:
        thread.start()
    print(json.dumps(len(people)), flush=True)
    sys.stdin.readline()
    ended.set()
    for thread in threads:
        thread.join()
    counts = sum((person.counts for person in people), Counter[bool]())
    print(json.dumps([counts[True], counts[False]]), flush=True)
    sys.stdin.readline()
    return 0


if __name__ == "__main__":
    sys.exit(main())
