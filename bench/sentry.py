"""A resource server's guard in a process of its own, which knows nothing of the service.

`python -m bench.sentry PORT ISSUER LIMIT`. It is told tokens, in the order in which they are going to be refused. It
writes how many of them it accepts; and, when all are refused, the code and the moment of each (null: never refused).
"""

import json
import sys
import time

from payymo_guard import Guard, Refused

WINDOW = 16
"""So many of the tokens that are not refused yet are tried in turn: those whose end is near."""
PAUSE_SECONDS = 0.002
PATIENCE_SECONDS = 30.0
Refusal = tuple[str, float]


def main() -> int:
    """Until the input ends."""
    port, issuer, limit = sys.argv[1:]
    url = f"http://127.0.0.1:{port}/.well-known/payymo"
    with Guard(issuer=issuer, audience="payymo-api", discovery_url=url, max_stale_seconds=float(limit)) as guard:
        for line in sys.stdin:
            tokens = json.loads(line)
            for token in tokens:
                guard.verify(token)
            _say(len(tokens))
            _say(_watch(guard, tokens))
    return 0


def _watch(guard: Guard, tokens: list[str]) -> list[Refusal | None]:
    found: list[Refusal | None] = [None] * len(tokens)
    waiting = list(range(len(tokens)))
    last = time.monotonic()
    while waiting and time.monotonic() - last < PATIENCE_SECONDS:
        for number in waiting[:WINDOW]:
            try:
                guard.verify(tokens[number])
            except Refused as refused:
                last = time.monotonic()
                found[number] = (refused.code, last)
                waiting.remove(number)
        time.sleep(PAUSE_SECONDS)
    return found


def _say(value: object) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    sys.exit(main())
