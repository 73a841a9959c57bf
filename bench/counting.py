"""What being counted adds to a request: the same route of the same service, with and without."""

import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path

from bench.measure import Act, Effort, Figure, Sample, interleave, milliseconds, ratio, timed
from bench.scene import Request, Stage
from payymo.app import create_app
from payymo.clock import system_clock
from payymo.metrics.facts import Reading
from payymo.metrics.lanes import Lanes
from payymo.metrics.meter import Meter
from payymo.metrics.node import Exposition

REPEAT = 10
TURNS = 10
"""As many times as many rounds as elsewhere, each of them short: the difference is smaller than what else goes on."""


def computed(act: Act, *, repeat: int) -> Sample:
    """A sample: the seconds of computing that the act takes. What others do meanwhile is more than the difference."""

    def sample() -> float:
        start = time.process_time()
        for _ in range(repeat):
            act()
        return (time.process_time() - start) / repeat

    return sample


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
        for path, bearer, at_most in (("/health/live", None, 1.20), ("/api/auth/me", token, 1.05)):
            found = interleave(
                {
                    "counted": computed(Request(counted, path, token=bearer).send, repeat=REPEAT),
                    "plain": computed(Request(plain, path, token=bearer).send, repeat=REPEAT),
                },
                rounds=effort.rounds * TURNS,
            )
            figures.append(
                Figure(
                    f"GET {path}, counted / not counted, computing",
                    ratio(found, "counted", "plain"),
                    at_most=at_most,
                    parts=milliseconds(found),
                )
            )
        count = computed(lambda: meter.request("/health/live", "GET", 200, 0.001), repeat=1000)
        alone = statistics.median(interleave({"count": count}, rounds=effort.rounds * TURNS)["count"])
        figures.append(Figure("counting one request, computing", alone * 1e6, "us", at_most=15.0))
        told = Exposition(Lanes(Path(folder)), Reading(services))
        scrapes = interleave({"scrape": timed(lambda: told.render(""))}, rounds=effort.rounds * 4)
        figures.append(Figure("one scrape", statistics.median(scrapes["scrape"]) * 1000, "ms"))
    return figures
