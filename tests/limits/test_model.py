"""How limits are used, and what others would have refused: pure, over every limit and every crowd of clients."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payymo.errors import InvalidInput
from payymo.limits.model import (
    Tally,
    UsageKey,
    nearest,
    network_client,
    report,
    require_limits,
    service_client,
    suggest,
    would_refuse,
)


def used(amount: int, *clients: int) -> Tally:
    """What clients leave behind who make so many tries each in one window."""
    tally = Tally()
    for tries in clients:
        for number in range(1, tries + 1):
            if number <= amount:
                tally.count(number, amount)
            else:
                tally.refused += 1
    return tally


def key(amount: int) -> UsageKey:
    return UsageKey(0, "login", "address", amount, 60)


def test_a_report_says_how_far_clients_go() -> None:
    """Ninety use a tenth of the limit, nine a half, one all of it and more."""
    tally = used(20, *[2] * 90, *[10] * 9, 25)
    found = report(key(20), tally)
    assert (found.windows, found.passed, found.refused) == (100, 180 + 90 + 20, 5)
    assert (found.p50, found.p95, found.p99, found.most) == (10, 50, 50, 100)
    assert found.suggestion == 20


def test_nothing_used_says_nothing() -> None:
    """A tier that nobody asked has no shares, and still a suggestion that keeps nobody out."""
    found = report(key(10), Tally())
    assert (found.windows, found.p50, found.p99, found.most, found.suggestion) == (0, 0, 0, 0, 5)


@given(st.lists(st.integers(1, 40), max_size=30), st.integers(1, 60))
def test_what_another_limit_would_have_refused_is_what_it_would_have_refused(clients: list[int], other: int) -> None:
    """Exact for limits up to 20: told from counts of tries alone, without remembering anybody."""
    amount = 20
    would = would_refuse(key(amount), used(amount, *clients), other)
    if other <= amount:
        assert would == sum(max(0, tries - other) for tries in clients)
    else:
        assert would == sum(max(0, tries - amount) for tries in clients)  # at most: nobody knows how far they'd go


@given(st.integers(1, 50_000), st.lists(st.integers(1, 300), min_size=1, max_size=20))
def test_shares_are_in_order_and_within_the_limit(amount: int, clients: list[int]) -> None:
    """Whatever the limit and whoever comes: p50 <= p95 <= p99 <= most <= 100 %."""
    found = report(key(amount), used(amount, *clients))
    assert 0 <= found.p50 <= found.p95 <= found.p99 <= found.most <= 100
    assert found.windows >= len(clients)


def test_a_suggestion_is_round_and_has_room() -> None:
    """Twice of what is needed, rounded up to a number that one remembers."""
    assert [suggest(needed) for needed in (0, 1, 5, 10, 16, 49, 120)] == [5, 5, 10, 20, 50, 100, 300]


@pytest.mark.parametrize(
    "text",
    [
        *("", "20", "20/", "/minute", "0/minute", "-1/minute", "20/fortnight", "20 per minute", "20/minute "),
        *("20/MINUTE", "20/minute;", ";20/minute", "20/minute,5/hour", "99999999/minute", "1e3/hour", "exempt"),
        "\u0662\u0660/minute",
    ],
)
def test_a_limit_has_one_spelling(text: str) -> None:
    """What is not exactly a limit is refused: a misread one would be none."""
    with pytest.raises(InvalidInput):
        require_limits(text)


def test_limits_and_clients_that_are_taken() -> None:
    """As the settings have them; an IPv6 address stands for its /64, as it is counted."""
    for text in ("20/minute", "5/hour;20/day", "100/15 minute"):
        assert require_limits(text) == text
    assert network_client("192.0.2.7") == "network:192.0.2.7/32"
    assert network_client("2001:db8::7") == "network:2001:db8::/64"
    assert network_client("::ffff:192.0.2.7") == "network:192.0.2.7/32"
    assert network_client("::ffff:192.0.2.0/120") == "network:192.0.2.0/24"
    assert service_client("invoices") == "service:invoices"
    for text in ("", "192.0.2.7/24", "2001:db8::/80", "::ffff:192.0.2.7/120", "example.com", "192.0.2"):
        with pytest.raises(InvalidInput):
            network_client(text)


def test_the_narrowest_network_decides() -> None:
    """An exception inside an exception; what is no address is in none."""
    networks = {network_client(text): None for text in ("0.0.0.0/0", "192.0.2.0/24", "192.0.2.7", "2001:db8::/32")}
    assert nearest(networks, "192.0.2.7") == "network:192.0.2.7/32"
    assert nearest(networks, "192.0.2.8") == "network:192.0.2.0/24"
    assert nearest(networks, "203.0.113.1") == "network:0.0.0.0/0"
    assert nearest(networks, "2001:db8:1:2::/64") == "network:2001:db8::/32"
    assert nearest(networks, "2001:db9::/64") is None
    assert nearest(networks, "unknown") is None
