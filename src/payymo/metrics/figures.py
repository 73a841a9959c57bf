"""The histograms of a node for the console: the same files that a scrape reads, read at most every few seconds."""

import threading
import time
from collections.abc import Iterable
from typing import Final

from prometheus_client.metrics_core import Metric

from payymo.logs import SecurityLog, Trace
from payymo.metrics import catalogue as c
from payymo.metrics.lanes import Lanes
from payymo.web.console.figures import Buckets, Figures

FRESH_SECONDS: Final = 5.0
"""How long figures are told again: whoever reloads a page reads no file."""
TRACE: Final = Trace(request_id="metrics")


class Book:
    """The figures of this node. Thread-safe."""

    def __init__(self, lanes: Lanes, *, since: float, log: SecurityLog, fresh_seconds: float = FRESH_SECONDS) -> None:
        self._lanes = lanes
        self._since = since
        self._log = log
        self._fresh = fresh_seconds
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._figures: Figures | None = None

    def read(self) -> Figures | None:
        """The figures, some seconds old; None: the files can't be read, and the log says why."""
        with self._lock:
            if time.monotonic() - self._read_at >= self._fresh:
                self._figures, self._read_at = self._look(), time.monotonic()
            return self._figures

    def _look(self) -> Figures | None:
        try:
            return figures_of(self._lanes.histograms(), since=self._since)
        except Exception as error:  # noqa: BLE001 - a page tells what it can
            self._log.failure(error, trace=TRACE)
            return None


def figures_of(metrics: Iterable[Metric], *, since: float) -> Figures:
    """What the histograms come to. Their buckets are not accumulated."""
    requests: dict[tuple[str, str], dict[float, float]] = {}
    deliveries: dict[float, float] = {}
    for sample in (sample for metric in metrics for sample in metric.samples):
        bound = float(sample.labels.get("le", "nan"))
        if sample.name == f"{c.REQUEST_SECONDS.name}_bucket":
            requests.setdefault((sample.labels["route"], sample.labels["method"]), {})[bound] = sample.value
        elif sample.name == f"{c.DELIVERY_SECONDS.name}_bucket":
            deliveries[bound] = sample.value
    return Figures(since, {key: Buckets(counts) for key, counts in requests.items()}, Buckets(deliveries))
