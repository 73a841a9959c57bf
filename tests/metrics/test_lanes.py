"""What processes count is one sum: whoever ends, nothing goes back and nothing is counted twice."""

import itertools
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from payymo.maintenance import Round
from payymo.metrics import catalogue as c
from payymo.metrics.family import OTHER, SECONDS
from payymo.metrics.lanes import ROOM_BYTES, Lane, Lanes
from payymo.metrics.meter import Meter
from tests.support.house import FakeClock

ONE_THAT_ENDS = """
import sys
from pathlib import Path
from payymo.metrics import catalogue as c
from payymo.metrics.lanes import Lanes
lane = Lanes(Path(sys.argv[1])).claim()
lane.set(c.WORKERS, value=1.0)
for seconds in (0.003, 0.004):
    lane.add(c.LIMITED_TOTAL, "login")
    lane.observe(c.REQUEST_SECONDS, "/health/live", "GET", value=seconds)
"""


def told(lanes: Lanes) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample, by its name and the values of its labels."""
    samples = (sample for metric in lanes.sum() for sample in metric.samples)
    return {(sample.name, tuple(sample.labels.values())): sample.value for sample in samples}


@pytest.fixture
def lanes(tmp_path: Path) -> Lanes:
    """Of nobody yet."""
    return Lanes(tmp_path)


@pytest.fixture
def lane(lanes: Lanes) -> Iterator[Lane]:
    """Of this process."""
    with closing(lanes.claim()) as claimed:
        yield claimed


def test_a_lane_goes_on_where_a_process_that_has_ended_left_it(tmp_path: Path, lanes: Lanes, lane: Lane) -> None:
    """Counters and histograms never go back; what it was just doing is forgotten; no file more for each process."""
    lane.set(c.WORKERS, value=1.0)
    for round_number in (1, 2):
        subprocess.run([sys.executable, "-c", ONE_THAT_ENDS, str(tmp_path)], check=True)
        files = sorted(tmp_path.iterdir())
        found = told(lanes)
        assert found["payymo_rate_limit_refusals_total", ("login",)] == 2 * round_number
        assert found["payymo_http_request_duration_seconds_count", ("GET", "/health/live")] == 2 * round_number
        assert found["payymo_workers", ()] == 1
    assert sum(path.name.startswith("counter_") for path in files) == 2


def test_what_a_stranger_says_is_no_series(lanes: Lanes, lane: Lane) -> None:
    """Labels have closed vocabularies: anything else is `other`, and takes no memory either."""
    meter = Meter(lane, FakeClock())
    before = len(told(lanes))
    for number in range(50):
        meter.request(f"/users/{number}", f"BREW{number}", 200 + 100 * number, 0.1)
        meter.event(f"user.{number}", "success")
    found = told(lanes)
    assert found["payymo_security_events_total", ("other", "success")] == 50
    assert {labels for name, labels in found if name == "payymo_http_requests_total"} == {
        ("other", "other", status) for status in ("2xx", "3xx", "4xx", "5xx", "other")
    }
    assert len(found) - before < 25


def test_every_series_that_there_can_be_finds_room(tmp_path: Path, lane: Lane) -> None:
    """A file that had to grow on a full disk would end its process: everything is there from the beginning."""
    for family in c.COUNTED:
        for labels in itertools.product(*([*(words or ()), OTHER] for words in family.labels.values())):
            for seconds in SECONDS if family.kind == "histogram" else ():
                lane.observe(family, *labels, value=seconds)
            if family.kind == "counter":
                lane.add(family, *labels)
    for kind, room in ROOM_BYTES.items():
        sizes = {path.stat().st_size for path in tmp_path.glob(f"{kind}_*.db")}
        assert sizes == {room}, kind


def test_duties_tell_who_does_them_when_and_how(lanes: Lanes, lane: Lane) -> None:
    """A round of another process says nothing of ours; one that fails is no success."""
    clock = FakeClock()
    meter = Meter(lane, clock)
    meter.round(Round(is_leader=True, has_failed=False, seconds=1.5))
    clock.advance(60)
    meter.round(Round(is_leader=True, has_failed=True, seconds=2.5))
    found = told(lanes)
    assert found["payymo_duties_last_success_timestamp_seconds", ()] == clock.now - 60
    assert found["payymo_duties_last_duration_seconds", ()] == 2.5
    assert found["payymo_duties_rounds_total", ("error",)] == found["payymo_duties_rounds_total", ("success",)] == 1
    meter.round(Round(is_leader=False, has_failed=False, seconds=None))
    assert told(lanes) | {("payymo_duties_leader", ()): 1.0} == found
