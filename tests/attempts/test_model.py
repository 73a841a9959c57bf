"""The state machine of an account that is tried, without a database: what is free, what waits, what stops."""

from hypothesis import given
from hypothesis import strategies as st

from payymo.attempts.model import (
    DAY_SECONDS,
    FORGET_SECONDS,
    Admitted,
    GuessingPolicy,
    Refused,
    Standing,
    decide,
    give_back,
    neighbourhood,
    read_tokens,
    succeed,
    write_tokens,
)

POLICY = GuessingPolicy(failures=5, first_wait_seconds=30, longest_wait_seconds=3600, stop=100)
NOW = 1_800_000_000


def tried(times: int, now: int = NOW) -> Standing:
    """An account after so many tries, each made as soon as it was admitted; and the last one at `now`."""
    standing = Standing()
    for number in range(times):
        decision = decide(standing, max(standing.wait_until, now - 10 * (times - number)), POLICY)
        assert isinstance(decision, Admitted)
        standing = decision.standing
    return standing


def test_waits_grow_from_half_a_minute_to_an_hour() -> None:
    """The issue's own words: 30 s, 1 min, 2 min … up to 1 h, after tries that are free."""
    waits = [POLICY.wait_after(failures) for failures in range(14)]
    assert waits == [0] * 5 + [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert POLICY.wait_after(10_000) == 3600


def test_a_wait_ends_at_its_second() -> None:
    """Refused at t - 1, admitted at t and t + 1, and told how long it still is."""
    until = tried(5).wait_until
    assert decide(tried(5), until - 1, POLICY) == Refused(1)
    for now in (until, until + 1):
        decision = decide(tried(5), now, POLICY)
        assert isinstance(decision, Admitted)
        assert decision.standing.wait_until == now + 60
        assert decision.began == "wait"


def test_no_more_are_admitted_at_once_than_are_free() -> None:
    """Counting comes first: of many tries in one second five are admitted, and none of them has failed yet."""
    standing, admitted = Standing(), 0
    for _ in range(50):
        decision = decide(standing, NOW, POLICY)
        if isinstance(decision, Admitted):
            standing, admitted = decision.standing, admitted + 1
    assert admitted == 5


def test_after_a_hundred_failures_nobody_is_admitted_and_nothing_is_forgotten() -> None:
    """NIST SP 800-63B §3.2.2: no more than a hundred; time does not open it again."""
    standing, now, begun = Standing(), NOW, []
    while isinstance(decision := decide(standing, now, POLICY), Admitted):
        standing, now = decision.standing, max(now, decision.standing.wait_until)
        begun.append(decision.began)
    assert standing.failures == 100
    assert begun == [None] * 4 + ["wait"] * 95 + ["stop"]
    assert decide(standing, now + 10 * FORGET_SECONDS, POLICY) == Refused(3600)


def test_what_cost_no_wait_is_forgotten_after_a_day_and_the_rest_after_a_month() -> None:
    """At the second, and not before: an owner's typing errors don't add up over the years."""
    for times, life in ((4, DAY_SECONDS), (7, FORGET_SECONDS)):
        standing = tried(times)
        last = (standing.expires_at or 0) - life
        for now, failures in ((last + life - 1, times + 1), (last + life, 1)):
            decision = decide(standing, now, POLICY)
            assert isinstance(decision, Admitted)
            assert decision.standing.failures == failures


def test_a_success_takes_back_what_it_proved_and_ends_the_wait() -> None:
    """Its own try and its own network's; what strangers tried in vain still counts when they come again."""
    standing = tried(9)
    after = succeed(standing, own_try=1, own_failures=3, now=NOW, policy=POLICY)
    assert (after.failures, after.wait_until) == (5, 0)
    again = decide(after, NOW, POLICY)
    assert isinstance(again, Admitted)
    assert again.standing.wait_until == NOW + 60
    assert succeed(tried(1), own_try=1, own_failures=9, now=NOW, policy=POLICY).failures == 0


def test_a_success_does_not_lift_a_stop_but_undoes_its_own_try() -> None:
    """A known device comes in and the stop stays; whose own try was the hundredth has stopped nothing."""
    stopped = tried(100)
    assert succeed(stopped, own_try=0, own_failures=100, now=NOW, policy=POLICY) == stopped
    assert succeed(stopped, own_try=1, own_failures=0, now=stopped.wait_until, policy=POLICY).failures == 99


def test_a_try_that_came_to_nothing_leaves_no_wait_behind() -> None:
    """Given back by the last who came: as if it had not been. By another: only the number."""
    before = tried(6)
    decision = decide(before, before.wait_until, POLICY)
    assert isinstance(decision, Admitted)
    undone = give_back(decision.standing, 7, now=before.wait_until, policy=POLICY)
    assert (undone.failures, undone.wait_until) == (6, 0)
    passed = give_back(tried(8), 7, now=NOW, policy=POLICY)
    assert (passed.failures, passed.wait_until) == (7, tried(8).wait_until)


@given(st.integers(0, 99), st.integers(1, 10**9))
def test_a_clock_that_goes_back_lengthens_no_wait_and_opens_nothing(failures: int, back: int) -> None:
    """Invariant 18: whoever waits goes on waiting, for no longer than the wait was."""
    standing = tried(failures)
    decision = decide(standing, standing.wait_until - back, POLICY)
    if standing.wait_until:
        assert isinstance(decision, Refused)
        assert 1 <= decision.retry_after <= POLICY.wait_after(failures)


def test_a_neighbourhood_is_a_24_or_a_48() -> None:
    """Whoever tries many accounts has more than one address."""
    assert neighbourhood("192.0.2.7") == neighbourhood("192.0.2.200") == "192.0.2.0/24"
    assert neighbourhood("2001:db8:1:2::/64") == neighbourhood("2001:db8:1:ffff::/64") == "2001:db8:1::/48"
    assert neighbourhood("unknown") == "unknown"


def test_a_cookie_has_one_form_and_a_bounded_number_of_tokens() -> None:
    """What is not ours is nothing; a browser's users keep their devices, the longest away gives way."""
    tokens = tuple(letter * 43 for letter in "abcdef")
    assert read_tokens(write_tokens(tokens[0], tokens[1:3])) == tokens[:3]
    assert read_tokens(write_tokens(tokens[1], tokens[:3])) == (tokens[1], tokens[0], tokens[2])
    assert len(read_tokens(write_tokens(tokens[0], tokens[1:]))) == 5
    for text in (None, "", "x", "a" * 42, "a" * 44, "a" * 42 + "=", ".".join(tokens), f"{'a' * 43}.", "ä" * 43):
        assert read_tokens(text) == ()
