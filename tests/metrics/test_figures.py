"""What a node has measured, as the operator's page shows it: what was observed, and nothing more often than needed."""

from pathlib import Path

import pytest

from payymo.app import create_app
from payymo.metrics.figures import Book
from payymo.metrics.lanes import Lanes
from payymo.metrics.meter import Meter
from payymo.web.console.figures import INFINITE, Buckets, Figures, together
from payymo.web.console.latency_pictures import spreads
from payymo.web.console.opening import list_pages
from payymo.web.console.operator_performance import KINDS, kinds_of
from payymo.web.mount import list_routes
from tests.support.house import House
from tests.support.surfer import Surfer

PAGE = "/operator/performance"


def test_a_share_ends_in_a_bucket() -> None:
    """The upper bound of where it ends: never less than the truth; beyond the last bound nothing is known."""
    found = Buckets({0.001: 50.0, 0.01: 45.0, 0.1: 4.0, INFINITE: 1.0})
    assert found.total == 100
    assert [found.within(share) for share in (0.5, 0.51, 0.95, 0.96, 0.99, 1)] == [
        0.001,
        0.01,
        0.01,
        0.1,
        0.1,
        INFINITE,
    ]
    assert Buckets({0.001: 0.0, 0.01: 1.0}).within(0.5) == 0.01
    assert together([found, found]).counts == {0.001: 100.0, 0.01: 90.0, 0.1: 8.0, INFINITE: 2.0}
    with pytest.raises(ValueError, match="nothing"):
        together([]).within(0.5)


def test_bars_lie_within_the_picture_and_grow_with_the_share() -> None:
    """However short or long something took; and there is no picture of nothing."""
    assert spreads([("none", Buckets({0.1: 0.0}))]) is None
    chart = spreads([(name, Buckets({bound: 3.0})) for name, bound in (("a", 0.0), ("b", 0.05), ("c", INFINITE))])
    assert chart is not None
    for row in chart.rows:
        assert 0 <= row.half_width <= row.most_width <= row.nearly_all_width <= 720
        assert row.y < chart.height
    assert chart.rows[2].half is None
    assert chart.rows[2].half_width == 720


def test_every_route_and_page_is_of_a_kind() -> None:
    """Whoever adds one need not think of it."""
    kinds = kinds_of(list_routes(), list_pages())
    assert set(kinds.values()) == set(KINDS)
    assert kinds["/api/auth/login", "POST"] == kinds["/sign-in", "POST"] == "proofs"
    assert kinds["/sign-in", "GET"] == "pages"


def test_the_page_shows_what_the_node_has_measured(sqlite_house: House, tmp_path: Path) -> None:
    """All processes together, those that are gone included; files are read once in a while, however often one looks."""
    lanes = Lanes(tmp_path)
    gone, here = lanes.claim(), lanes.claim()
    for lane, seconds in ((gone, 0.003), (here, 0.2), (here, 0.2)):
        Meter(lane, sqlite_house.clock).request("/api/auth/login", "POST", 200, seconds)
    Meter(here, sqlite_house.clock).delivery(0.06)
    gone.close()
    book = Book(lanes, since=sqlite_house.clock(), log=sqlite_house.services.log)
    figures = book.read()
    assert figures is not None
    login = figures.requests["/api/auth/login", "POST"]
    assert {bound: count for bound, count in login.counts.items() if count} == {0.005: 1, 0.25: 2}
    Meter(here, sqlite_house.clock).delivery(0.06)
    assert book.read() is figures
    sqlite_house.app = create_app(sqlite_house.settings, services=sqlite_house.services, measured=book.read)
    sqlite_house.user("root", roles=("platform-administrator",))
    root = Surfer(sqlite_house)
    root.sign_in("root")
    root.get(PAGE)
    assert "What asks for a password or a link 3 250 ms 250 ms 250 ms" in root.text
    assert "Until a guard that waits has it 1 100 ms 100 ms 100 ms" in root.text
    here.close()


@pytest.mark.parametrize(
    ("measured", "sentence"),
    [
        (None, "This service does not measure itself."),
        (lambda: None, "The figures can't be read now."),
        (lambda: Figures(0, {}, Buckets({})), "No request was answered yet. No guard has waited"),
    ],
)
def test_where_there_is_nothing_the_page_says_so(sqlite_house: House, measured: object, sentence: str) -> None:
    """Metrics that are off, that can't be read, or that are new."""
    sqlite_house.app = create_app(sqlite_house.settings, services=sqlite_house.services, measured=measured)  # type: ignore[arg-type]
    sqlite_house.user("root", roles=("platform-administrator",))
    root = Surfer(sqlite_house)
    root.sign_in("root")
    assert root.get(PAGE).status_code == 200
    assert sentence in root.text
    assert "Furthest behind 0 entries" in root.text


def test_files_that_cannot_be_read_are_told_and_logged(sqlite_house: House, tmp_path: Path) -> None:
    """The page is there in spite of it."""
    (tmp_path / "histogram_0.db").write_bytes(b"junk" * 9)
    assert Book(Lanes(tmp_path), since=0, log=sqlite_house.services.log).read() is None
