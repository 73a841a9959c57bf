"""The bounds of health, at the second before, the bound itself, and the one after."""

import pytest

from payymo.feed.model import MARGIN_SECONDS
from payymo.health.model import (
    CLOCK_FAILING_SECONDS,
    MISSED_ROUNDS,
    NAMES,
    OUTBOX_SECONDS,
    Finding,
    Health,
    Standing,
    clock_finding,
    duties_finding,
    outbox_finding,
)

NOW = 1_800_000_000


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize(
    ("off", "standing"), [(4, "ok"), (5, "ok"), (6, "degraded"), (30, "degraded"), (31, "failing")]
)
def test_a_clock_may_be_a_little_off_to_either_side(side: int, off: int, standing: Standing) -> None:
    """Two nodes that both serve never differ by more than revocations are kept longer than tokens."""
    assert clock_finding(side * off).standing == standing
    assert 2 * CLOCK_FAILING_SECONDS <= MARGIN_SECONDS


@pytest.mark.parametrize(("late", "standing"), [(-1, "ok"), (0, "ok"), (1, "degraded")])
def test_stuck_mail_and_missed_duties_degrade_and_never_fail(late: int, standing: Standing) -> None:
    """A process without them logs people in as before: it is not taken out of rotation."""
    assert outbox_finding(NOW - OUTBOX_SECONDS - late, NOW).standing == standing
    quiet = NOW - MISSED_ROUNDS * 60 - late
    assert duties_finding(quiet, NOW, since=NOW, every_seconds=60).standing == standing
    assert duties_finding(None, NOW, since=quiet, every_seconds=60).standing == standing
    assert outbox_finding(None, NOW).standing == "ok"


def test_only_what_fails_takes_a_process_out_of_rotation() -> None:
    """Any one of the checks does."""
    healthy = dict.fromkeys(NAMES, Finding("ok", ""))
    assert Health(healthy | dict.fromkeys(NAMES, Finding("degraded", ""))).is_ready
    for name in NAMES:
        assert not Health(healthy | {name: Finding("failing", "")}).is_ready
