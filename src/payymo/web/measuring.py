"""Tells how each request went: its route, never its path; and how long it took."""

import time
from collections.abc import Callable
from typing import Final

from flask import Flask, Response, g, request

Observe = Callable[[str, str, int, float], None]
"""Hears of every answer: the route's template, the method, the status, and the seconds that it took."""
UNMATCHED: Final = "unmatched"
"""In the place of a route where there is none."""


def measure(app: Flask, observe: Observe) -> None:
    """Let somebody hear of every answer. A request that is left waiting is told of when it comes again."""

    def begin() -> None:
        g.payymo_began = time.perf_counter()

    def end(response: Response) -> Response:
        if "payymo_is_parked" not in g:
            rule = request.url_rule
            seconds = time.perf_counter() - g.payymo_began
            observe(UNMATCHED if rule is None else rule.rule, request.method, response.status_code, seconds)
        return response

    app.before_request(begin)
    app.after_request(end)
