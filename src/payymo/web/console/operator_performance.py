"""`/operator/performance`: how long answers take, and how soon followers hear of revocations.

It shows what this node has measured of itself for its metrics, and measures nothing.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from payymo.clock import Clock
from payymo.guards.model import standing_of
from payymo.guards.service import Guards
from payymo.limits.model import Tier
from payymo.web.console.figures import Buckets, Figures, Measured, together
from payymo.web.console.latency_pictures import spreads
from payymo.web.console.pages import Answer, Page, Sheet, page
from payymo.web.console.visit import Visit
from payymo.web.routing import Route

KINDS: Final = ("proofs", "refresh", "verify", "api", "feed", "pages", "others")
_OF_TIERS: Final[dict[Tier | None, str]] = {
    "login": "proofs",
    "registration": "proofs",
    "refresh": "refresh",
    "verify": "verify",
    "service": "feed",
    None: "others",
}
Kinds = Mapping[tuple[str, str], str]


def kinds_of(routes: Iterable[Route], pages: Iterable[Page]) -> Kinds:
    """What kind of thing each route does, by its template and method, as far as its time tells of that."""
    found: dict[tuple[str, str], str] = {}
    found.update(((one.path, one.method), _OF_TIERS.get(one.limit, "api")) for one in routes)
    found.update(((one.path, one.method), _OF_TIERS.get(one.limit, "pages")) for one in pages)
    return found


class PerformanceDesk:
    """The node's own figures."""

    def __init__(self, *, measured: Measured | None, kinds: Kinds, guards: Guards, clock: Clock) -> None:
        self._measured = measured
        self._kinds = kinds
        self._guards = guards
        self._clock = clock

    @page("GET", "/operator/performance", permission="platform:read")
    def show(self, visit: Visit) -> Answer:
        """Show the distributions, and who follows how well."""
        del visit
        now, lags = self._clock(), self._guards.list_lags()
        figures = None if self._measured is None else self._measured()
        facts = {
            "is_measured": self._measured is not None,
            "figures": figures,
            "answers": None if figures is None else spreads(self._rows(figures)),
            "deliveries": None if figures is None else spreads([("deliveries", figures.deliveries)]),
            "standings": Counter(standing_of(follower, lag, now) for follower, lag in lags),
            "furthest": max((lag for _, lag in lags), default=0),
            "longest": max((now - follower.last_seen_at for follower, _ in lags), default=None),
        }
        return Sheet("operator_performance.html", facts)

    def _rows(self, figures: Figures) -> Iterator[tuple[str, Buckets]]:
        found: dict[str, list[Buckets]] = {}
        for (route, method), buckets in figures.requests.items():
            kind = self._kinds.get((route, "GET" if method == "HEAD" else method), "others")
            found.setdefault(kind, []).append(buckets)
        return ((kind, together(found.get(kind, ()))) for kind in KINDS)
