"""Where bars and spans go."""

import pytest

from payymo.keys.model import SigningKey, State
from payymo.limits.model import STEPS, Tally, UsageKey
from payymo.web.console.charts import BARS_AT_MOST, Span, histogram, timeline
from payymo.web.console.key_story import ENDED_SHOWN, lives_of, picture_of
from payymo.web.console.limit_pictures import pictures_of


@pytest.mark.parametrize("spread", [0, 1, 29, 30, 31, 3_599, 86_400, 400 * 86_400, 40 * 365 * 86_400])
def test_every_event_is_in_one_bar_of_few(spread: int) -> None:
    """Whatever time they are spread over: none is lost or counted twice, and bars stay within the picture."""
    moments = [(1_800_000_007 + spread * number // 9, number % 3 != 0) for number in range(10)]
    chart = histogram(moments)
    assert chart is not None
    assert len(chart.bars) <= BARS_AT_MOST
    assert sum(bar.good for bar in chart.bars) == 6
    assert sum(bar.bad for bar in chart.bars) == 4
    for at, _ in moments:
        assert sum(bar.begins_at <= at < bar.begins_at + chart.step_seconds for bar in chart.bars) == 1
    assert all(bar.x + bar.width <= 720 and bar.up <= chart.axis for bar in chart.bars)
    assert all(chart.axis + bar.down <= chart.height for bar in chart.bars)


def test_there_is_no_picture_of_nothing() -> None:
    """Neither bars nor lanes."""
    assert histogram([]) is None
    assert timeline([], now=5) is None


def test_spans_lie_on_one_scale_with_the_present() -> None:
    """What begins at once begins at one place; the present is where it belongs, also outside of every span."""
    chart = timeline([("a", [Span(0, 50, "works", "")]), ("b", [Span(50, 100, "ends", "")])], now=200)
    assert chart is not None
    first, second = chart.lanes[0].spans[0], chart.lanes[1].spans[0]
    assert first.x + first.width == pytest.approx(second.x, abs=0.2)
    assert chart.now - second.x - second.width == pytest.approx(2 * second.width, abs=0.5)


def key(kid: str, state: State, created: int, activated: int | None, retires: int | None) -> SigningKey:
    return SigningKey(kid, "access", "EdDSA", state, {}, None, None, 900, created, activated, retires)


def test_a_key_has_signed_until_another_one_did_or_it_was_revoked() -> None:
    """Next, signing, only verifying: one after the other, and nothing after a revocation."""
    keys = [
        key("gone", "revoked", 0, 10, 40),
        key("old", "retiring", 10, 40, 150),
        key("now", "active", 40, 100, None),
        key("soon", "next", 100, None, None),
    ]
    lives = lives_of(keys)
    assert [life.stopped_at for life in lives] == [40, 100, None, None]
    picture = picture_of(lives, 120)
    assert picture is not None
    spans = [[(placed.span.begins_at, placed.span.ends_at) for placed in lane.spans] for lane in picture.lanes]
    assert spans == [[(0, 10), (10, 40)], [(10, 40), (40, 100), (100, 150)], [(40, 100), (100, 120)], [(100, 120)]]


def test_of_keys_that_are_over_the_newest_are_shown() -> None:
    """However many there were; those that do something are all there."""
    over = [key(f"k{number}", "retired", number, number, number + 5) for number in range(50)]
    shown = [life.key.kid for life in lives_of([*over, key("now", "active", 60, 60, None)])]
    assert shown == [*(f"k{number}" for number in range(50 - ENDED_SHOWN, 50)), "now"]


def tally(passed: int, refused: int) -> Tally:
    """So many tries let through, and so many refused."""
    return Tally(refused=refused, steps=[passed, *[0] * (STEPS - 1)])


def test_a_try_is_one_try_however_many_limits_it_met() -> None:
    """An hour is a bar; what another limit has counted again is not added; what is older than a day is left out."""
    now = 1_800_000_000
    hour = now // 3600
    usage = {
        UsageKey(hour, "login", "address", 20, 60): tally(7, 2),
        UsageKey(hour, "login", "account", 5, 60): tally(6, 1),
        UsageKey(hour - 23, "login", "address", 20, 60): tally(4, 0),
        UsageKey(hour - 24, "login", "address", 20, 60): tally(100, 100),
        UsageKey(hour - 1, "refresh", "address", 60, 60): tally(3, 0),
        UsageKey(hour - 1, "default", "address", 300, 60): tally(5, 1),
    }
    proofs, others = pictures_of(usage, now)
    assert proofs is not None
    assert others is not None
    assert [(bar.good, bar.bad) for bar in (proofs.bars[0], proofs.bars[-1])] == [(4, 0), (7, 3)]
    assert sum(bar.good + bar.bad for bar in proofs.bars) == 14
    assert [(bar.good, bar.bad) for bar in others.bars if bar.good] == [(8, 1)]
    assert pictures_of({}, now) == (None, None)
