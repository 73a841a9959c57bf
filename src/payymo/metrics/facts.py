"""What is read from the database for a scrape, and what it comes to. Read by a thread of its own, and not too often."""

import platform
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from payymo import __version__
from payymo.audit.pages import Standing
from payymo.audit.sent import Lag
from payymo.certificates.model import CertificateVersion
from payymo.errors import Unavailable
from payymo.guards.model import STANDINGS, Follower, standing_of
from payymo.health.model import STANDINGS as HEALTH_STANDINGS
from payymo.health.model import Health
from payymo.keys.model import PURPOSES, Calendar, SigningKey, due_at
from payymo.logs import Trace
from payymo.metrics import catalogue as c
from payymo.metrics.family import Family
from payymo.services import Services

FRESH_SECONDS: Final = 5.0
"""How long what was read is told again. Whoever scrapes more often asks the database no more often."""
PATIENCE_SECONDS: Final = 2.0
"""How long a scrape waits for the database. Prometheus waits ten seconds for a scrape."""
TRACE: Final = Trace(request_id="metrics")
_ALIVE: Final = ("next", "active", "retiring")


@dataclass(frozen=True, slots=True)
class Facts:
    """What one look at the database has found."""

    read_at: float
    certificates: tuple[CertificateVersion, ...]
    keys: tuple[SigningKey, ...]
    calendar: Calendar | None
    """None: signing keys are not rotated by it."""
    feed_position: int
    feed_last_at: int | None
    followers: tuple[tuple[Follower, int], ...]
    webhooks_failing: int
    webhooks_waiting_since: int | None
    audit: Standing
    lags: tuple[Lag, ...]


class Reading:
    """What was last found in the database. A database that does not answer costs a scrape two seconds at most."""

    def __init__(
        self, services: Services, *, fresh_seconds: float = FRESH_SECONDS, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self._services = services
        self._fresh = fresh_seconds
        self._patience = patience_seconds
        self._lock = threading.Lock()
        self._under_way: threading.Event | None = None
        self._looked_at = float("-inf")
        self._facts: Facts | None = None
        self._is_up = False

    def tell(self) -> Iterator[Metric]:
        """The metrics; without the database, what it has last said, and that it is away."""
        facts, is_up = self._latest()
        yield _gauge(c.BUILD, [((__version__, platform.python_version()), 1.0)])
        yield _gauge(c.DATABASE_UP, [((), float(is_up))])
        yield _of_health(self._services.health.health())
        if facts is not None:
            yield from describe(facts, self._services.clock())

    def _latest(self) -> tuple[Facts | None, bool]:
        with self._lock:
            if self._under_way is None and time.monotonic() - self._looked_at >= self._fresh:
                self._under_way = threading.Event()
                thread = threading.Thread(target=self._look, args=(self._under_way,), name="payymo-facts", daemon=True)
                thread.start()
            under_way = self._under_way
        has_ended = under_way is None or under_way.wait(self._patience)
        return self._facts, self._is_up and has_ended

    def _look(self, done: threading.Event) -> None:
        try:
            self._facts = _read(self._services)
            self._is_up = True
        except Exception as error:  # noqa: BLE001 - a scrape tells what it can
            self._is_up = False
            if not isinstance(error, Unavailable):
                self._services.log.failure(error, trace=TRACE)
        finally:
            with self._lock:
                self._looked_at, self._under_way = time.monotonic(), None
            done.set()


def _read(services: Services) -> Facts:
    """Raises Unavailable."""
    rotates = services.settings.keys.rotate_automatically
    position, last_at = services.feed.last()
    failing, waiting_since = services.webhooks.measure()
    return Facts(
        read_at=services.clock(),
        certificates=services.certificates.list_all(),
        keys=services.ring.list_keys(),
        calendar=services.ring.calendar if rotates else None,
        feed_position=position,
        feed_last_at=last_at,
        followers=tuple(services.guards.list_lags()),
        webhooks_failing=failing,
        webhooks_waiting_since=waiting_since,
        audit=services.sequencer.standing(),
        lags=services.delivery.lags(),
    )


def describe(facts: Facts, now: float) -> Iterator[Metric]:
    """The facts as metrics. Whether something is over is told by the present second, however old the facts are."""
    yield _gauge(c.DATABASE_READ, [((), facts.read_at)])
    yield from _of_certificates(facts.certificates, int(now))
    yield from _of_keys(facts.keys, facts.calendar)
    yield _gauge(c.FEED_POSITION, [((), facts.feed_position)])
    yield _gauge(c.FEED_LAST, [] if facts.feed_last_at is None else [((), facts.feed_last_at)])
    standings = Counter(standing_of(follower, lag, now) for follower, lag in facts.followers)
    yield _gauge(c.FOLLOWERS, [((standing,), standings[standing]) for standing in STANDINGS])
    yield _gauge(c.WEBHOOKS_FAILING, [((), facts.webhooks_failing)])
    waiting_since = facts.webhooks_waiting_since
    yield _gauge(c.WEBHOOKS_OLDEST, [] if waiting_since is None else [((), waiting_since)])
    yield from _of_audit(facts.audit, facts.lags)


def _of_audit(audit: Standing, lags: Iterable[Lag]) -> Iterator[Metric]:
    yield _gauge(c.AUDIT_EVENTS, [(("platform",), audit.platform), (("tenants",), audit.tenants)])
    yield _gauge(c.AUDIT_WAITING, [((), audit.waiting)])
    yield _gauge(c.AUDIT_OLDEST, [] if audit.oldest_at is None else [((), audit.oldest_at)])
    yield _gauge(c.AUDIT_UNSIGNED, [((), audit.unsigned)])
    yield _gauge(c.AUDIT_SIGNED, [] if audit.signed_at is None else [((), audit.signed_at)])
    yield _gauge(c.AUDIT_DAMAGED, [((), audit.damaged)])
    yield _gauge(c.AUDIT_BEHIND, [((lag.destination,), lag.logs) for lag in lags])
    yield _gauge(c.AUDIT_BEHIND_SINCE, [((lag.destination,), lag.since) for lag in lags if lag.since is not None])


def _of_health(found: Health) -> Metric:
    standings = {name: finding.standing for name, finding in found.findings.items()}
    samples = [
        ((name, one), float(one == standing)) for name, standing in standings.items() for one in HEALTH_STANDINGS
    ]
    return _gauge(c.HEALTH, samples)


def _of_certificates(versions: Iterable[CertificateVersion], now: int) -> Iterator[Metric]:
    alive = [
        ((found.name, str(found.version), found.state, found.usage), found)
        for found in versions
        if found.state in _ALIVE and found.not_after is not None
    ]
    yield _gauge(c.CERTIFICATE_EXPIRY, [(labels, found.not_after or 0) for labels, found in alive])
    yield _gauge(c.CERTIFICATE_VALID, [(labels, float(found.is_valid_at(now))) for labels, found in alive])


def _of_keys(keys: Iterable[SigningKey], calendar: Calendar | None) -> Iterator[Metric]:
    of_state: dict[tuple[str, ...], list[SigningKey]] = {}
    for key in keys:
        of_state.setdefault((key.purpose, key.state), []).append(key)
    active = {labels: found[0] for labels, found in of_state.items() if labels[1] == "active"}
    retiring = {
        labels: min(key.retires_at or 0 for key in found)
        for labels, found in of_state.items()
        if labels[1] == "retiring"
    }
    changes = {labels: due_at(key, calendar) for labels, key in active.items()} if calendar else {}
    every = [(purpose, state) for purpose in PURPOSES for state in _ALIVE]  # also those of which there is none
    yield _gauge(c.KEYS, [(labels, len(of_state.get(labels, ()))) for labels in every])
    yield _gauge(c.KEY_CREATED, [(labels, min(key.created_at for key in found)) for labels, found in of_state.items()])
    yield _gauge(c.KEY_ACTIVATED, [((key.purpose,), key.activated_at or key.created_at) for key in active.values()])
    yield _gauge(c.KEY_CHANGES, [*changes.items(), *retiring.items()])


def _gauge(family: Family, samples: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    found = GaugeMetricFamily(family.name, family.help, labels=[*family.labels])
    for labels, value in samples:
        found.add_metric(family.told(labels), value)
    return found
