"""What being counted adds to a request: the same route of the same service, with and without."""

import statistics
import tempfile
from contextlib import closing
from pathlib import Path

from bench.measure import Effort, Figure, interleave, milliseconds, ratio, timed
from bench.scene import Request, Stage
from payymo.app import create_app
from payymo.clock import system_clock
from payymo.metrics.facts import Reading
from payymo.metrics.lanes import Lanes
from payymo.metrics.meter import Meter
from payymo.metrics.node import Exposition

REPEAT = 200


def counting(stage: Stage, effort: Effort) -> list[Figure]:
    """The cheapest route, where it weighs most, one that checks a token; and what a scrape takes."""
    scene = stage.scene("sqlite")
    token = scene.log_in()["access_token"]
    settings, services = scene.services.settings, scene.services
    with tempfile.TemporaryDirectory() as folder, closing(Lanes(Path(folder)).claim()) as lane:
        meter = Meter(lane, system_clock)
        plain = create_app(settings, services=services)
        counted = create_app(settings, services=services, observe=meter.request)
        figures = []
        for path, bearer, at_most in (("/health/live", None, 1.10), ("/api/auth/me", token, 1.05)):
            found = interleave(
                {
                    "counted": timed(Request(counted, path, token=bearer).send, repeat=REPEAT),
                    "plain": timed(Request(plain, path, token=bearer).send, repeat=REPEAT),
                },
                rounds=effort.rounds * 4,
            )
            figures.append(
                Figure(
                    f"GET {path}, counted / not counted",
                    ratio(found, "counted", "plain"),
                    at_most=at_most,
                    parts=milliseconds(found),
                )
            )
        told = Exposition(Lanes(Path(folder)), Reading(services))
        scrapes = interleave({"scrape": timed(lambda: told.render(""))}, rounds=effort.rounds * 4)
        figures.append(Figure("one scrape", statistics.median(scrapes["scrape"]) * 1000, "ms"))
    return figures
