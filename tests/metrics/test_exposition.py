"""What a scrape gets: every metric of the catalogue, in both forms, true at the second, and also without a database."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from payymo.app import create_app
from payymo.maintenance import Round
from payymo.metrics.catalogue import COUNTED, READ
from payymo.metrics.facts import Reading
from payymo.metrics.lanes import Lanes
from payymo.metrics.meter import Line, Meter
from payymo.metrics.node import Exposition
from tests.support.certificates import NAME, Issuer, add
from tests.support.house import Client, Database, House

PARSERS = {"": parse_plain, "application/openmetrics-text;version=1.0.0;q=0.9,text/plain;q=0.1": parse_openmetrics}
ISSUER = Issuer()
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Scraped:
    """A house that is counted, with a client of it, and what a scrape gets."""

    def __init__(self, house: House, folder: Path, *, patience_seconds: float = 10) -> None:
        self.house = house
        (folder / "metrics").mkdir()
        lanes = Lanes(folder / "metrics")
        self._lane = lanes.claim()
        self.meter = Meter(self._lane, house.clock)
        self.meter.delivery(0.06)
        self.meter.round(Round(is_leader=True, has_failed=False, seconds=0.1))
        self.meter.worker(duties_every_seconds=60, listener_expires_at=house.clock.now)
        house.services.log.observe(self.meter.event)
        house.services.limiter.observe(self.meter.refusal)
        house.services.attempts.observe(self.meter.lockout)
        app = create_app(house.settings, services=house.services, observe=self.meter.request)
        self.client = Client(app.test_client(), {})
        reading = Reading(house.services, fresh_seconds=0, patience_seconds=patience_seconds)
        self.exposition = Exposition(lanes, reading)

    def close(self) -> None:
        """Give the files back."""
        self._lane.close()

    def samples(self, accept: str = "") -> Samples:
        """What a scrape says."""
        self.meter.sample(self.house.services)
        text = self.exposition.render(accept)[0].decode()
        families = list(PARSERS[accept](text))
        return {(found.name, tuple(sorted(found.labels.items()))): found.value for f in families for found in f.samples}

    def wait_until_up(self) -> None:
        """Scrape until the database has been read."""
        deadline = time.monotonic() + 20
        while not self.one("payymo_database_up"):
            assert time.monotonic() < deadline

    def one(self, name: str, /, **labels: str) -> float:
        """One sample."""
        return self.samples()[name, tuple(sorted(labels.items()))]


@pytest.fixture
def scraped(house: House, tmp_path: Path) -> Iterator[Scraped]:
    """On each database."""
    with closing(Scraped(house, tmp_path)) as built:
        yield built


@pytest.fixture
def quick(sqlite_house: House, tmp_path: Path) -> Iterator[Scraped]:
    """Where the database makes no difference."""
    with closing(Scraped(sqlite_house, tmp_path)) as built:
        yield built


def names(samples: Samples) -> Iterator[str]:
    for name, _ in samples:
        yield name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum")


def test_every_metric_of_the_catalogue_is_told_in_both_forms(database: Database, tmp_path: Path) -> None:
    """Prometheus' own parsers read it; there is nothing that the catalogue does not know, and nothing is missing."""
    place = f"file:{tmp_path}/checkpoints"
    house = House(database, audit={"checkpoints_to": [place]})
    with closing(house), closing(Scraped(house, tmp_path)) as scraped:
        house.user("alice")
        scraped.client.log_in()
        house.services.sequencer.integrate_all()
        house.services.checkpoints.sign_due()
        scraped.client.post("/api/auth/logout")
        add(house, ISSUER.material())
        catalogued = {family.name for family in (*COUNTED, *READ)}
        catalogued.remove("payymo_webhook_oldest_waiting_timestamp_seconds")  # nothing waits
        assert all(family.help for family in (*COUNTED, *READ))
        plain, openmetrics = (scraped.samples(accept) for accept in PARSERS)
        assert set(names(plain)) == set(names(openmetrics)) == catalogued
        assert plain["payymo_feed_position", ()] == 1
        assert plain["payymo_feed_last_entry_timestamp_seconds", ()] == house.clock.now
        assert plain["payymo_audit_events", (("log", "tenants"),)] == 2
        assert plain["payymo_audit_waiting_events", ()] == 3
        assert plain["payymo_audit_oldest_waiting_timestamp_seconds", ()] == house.clock.now
        assert plain["payymo_audit_destination_behind_logs", (("destination", place),)] == 2


def test_a_certificate_is_valid_until_its_last_second_and_no_longer(quick: Scraped) -> None:
    """RFC 5280 §4.1.2.5, at the second before, the last one, and the one after; the end itself does not move."""
    add(quick.house, ISSUER.material())
    web = {"name": NAME, "version": "1", "state": "active", "usage": "server"}
    end = quick.one("payymo_certificate_expiry_timestamp_seconds", **web)
    assert end > quick.house.clock.now
    for moment, is_valid in ((end - 1, 1), (end, 1), (end + 1, 0)):
        quick.house.clock.now = moment
        assert quick.one("payymo_certificate_valid", **web) == is_valid
        assert quick.one("payymo_certificate_expiry_timestamp_seconds", **web) == end


def test_a_key_says_when_the_calendar_changes_it(quick: Scraped) -> None:
    """Overdue is told from the metric alone: it is the second from which the calendar asks."""
    ring, clock = quick.house.services.ring, quick.house.clock
    due = quick.one("payymo_signing_key_next_change_timestamp_seconds", purpose="access", state="active")
    for moment, retiring in ((due - 1, 0), (due, 1)):
        clock.now = moment
        ring.rotate_due()
        assert quick.one("payymo_signing_keys", purpose="access", state="retiring") == retiring


def test_strangers_make_no_series(quick: Scraped) -> None:
    """Invariants 10 and 17: paths, queries, methods, tenants and names are nowhere in what Prometheus gets."""
    quick.house.user("alice")
    for hostile in ("/api/auth/me?q=hostile", "/hostile/api", "/api/admin/users/hostile", "//hostile"):
        for method in ("GET", "HOSTILE", "hostile"):
            quick.client.call(method, hostile, headers={"X-Tenant": "hostile", "User-Agent": "hostile"})
    quick.client.log_in("hostile@example.com", "hostile hostile hostile")
    text = quick.exposition.render("")[0].decode()
    assert "hostile" not in text.lower()
    assert "alice" not in text
    assert str(quick.house.default.id) not in text


def test_refusals_are_counted_by_tier_and_by_event(sqlite_database: Database, tmp_path: Path) -> None:
    """A flood shows, and says which limit holds it."""
    house = House(sqlite_database, limits={"login": "2/minute"})
    with closing(house), closing(Scraped(house, tmp_path)) as scraped:
        for _ in range(5):
            scraped.client.log_in("nobody@example.com")
        found = scraped.samples()
    assert found["payymo_rate_limit_refusals_total", (("tier", "login"),)] == 3
    refused = (("event", "session.login"), ("outcome", "refused"))
    assert found["payymo_security_events_total", refused] == 2
    counted = (("method", "POST"), ("route", "/api/auth/login"), ("status", "4xx"))
    assert found["payymo_http_requests_total", counted] == 5


def test_the_lockout_is_counted_beside_the_limits(sqlite_database: Database, tmp_path: Path) -> None:
    """Guesses that are refused before the password is looked at show, too."""
    house = House(sqlite_database, lockout={"enabled": True})
    with closing(house), closing(Scraped(house, tmp_path)) as scraped:
        for _ in range(7):
            scraped.client.log_in("nobody@example.com")
        assert scraped.samples()["payymo_rate_limit_refusals_total", (("tier", "lockout"),)] == 2


def test_who_waits_before_a_thread_is_taken_is_counted_too(quick: Scraped) -> None:
    """That is where a flood of logins waits, and is sent away: `PayymoHashesShed` rests on it."""
    for shed in (2, 5):
        quick.meter.watch(partial(Line, waiting=3, shed=shed))
        assert quick.one("payymo_password_hashes", state="waiting") == 3
        assert quick.one("payymo_password_hashes_shed_total") == shed


def test_without_the_database_a_scrape_tells_what_it_knows_and_that_it_is_away(
    postgres_database: Database, tmp_path: Path
) -> None:
    """It waits no longer than its patience, keeps the ends of certificates, and recovers by itself (invariant 25)."""
    house = House(postgres_database)
    add(house, ISSUER.material())
    with closing(house), closing(Scraped(house, tmp_path, patience_seconds=0.05)) as scraped:
        scraped.wait_until_up()
        before = scraped.samples()
        with ExitStack() as every_connection:
            for _ in range(house.services.connections().at_most):
                every_connection.enter_context(house.services.work.platform())
            away = scraped.samples()
        scraped.wait_until_up()
    assert away["payymo_database_up", ()] == 0
    assert away["payymo_database_connections_in_use", ()] == away["payymo_database_pool_size", ()]
    assert away.keys() == before.keys()
    ends = [key for key in before if key[0] == "payymo_certificate_expiry_timestamp_seconds"]
    assert [away[key] for key in ends] == [before[key] for key in ends] != []
