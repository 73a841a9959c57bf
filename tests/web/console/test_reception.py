"""What comes back when a form is refused."""

from tests.support.house import House
from tests.support.surfer import signed_in, text_of


def test_a_refused_form_does_not_open_a_page_that_one_may_not_see(sqlite_house: House) -> None:
    """The page on which a form comes back is shown to who may see it, and not because the form was refused."""
    sqlite_house.user("alice")
    alice = signed_in(sqlite_house, "alice")
    for answer in (
        alice.force("/operator/tenants", slug="x", name="x"),
        alice.force("/operator/guards/new", name="x"),
        alice.open("GET", "/operator/limits"),
        alice.open("GET", "/admin/audit"),
    ):
        assert answer.status_code == 403
        assert "<form" not in text_of(answer).partition("<main")[2].partition("</main>")[0]


def test_a_form_that_asks_keeps_what_was_typed_and_leaves_out_what_was_not(sqlite_house: House) -> None:
    """Browsers send empty fields, too; what is wrong with a field stands at it, beside what was typed into others."""
    sqlite_house.user("root", roles=("platform-administrator",))
    root = signed_in(sqlite_house, "root")
    assert root.open("GET", "/admin/audit?type=&actor=&user=&outcome=&since=&before=").status_code == 200
    answer = root.open("GET", "/admin/audit?user=nobody&actor=operator:ann")
    assert answer.status_code == 422
    assert 'id="user-problem"' in text_of(answer)
    assert 'value="nobody"' in text_of(answer)
    assert 'value="operator:ann"' in text_of(answer)
    assert "<table" not in text_of(answer)  # what was not asked for is not taken for the answer


def test_the_page_of_what_is_not_there_is_of_who_is_signed_in(sqlite_house: House) -> None:
    """Its forms are of their session, and so they work; the browser gets no secret of a stranger beside it."""
    sqlite_house.user("alice")
    alice = signed_in(sqlite_house, "alice")
    answer = alice.get("/nowhere", headers={"Accept": "text/html"})
    assert (answer.status_code, "Set-Cookie" in answer.headers) == (404, False)
    assert alice.send("/language", language="de").headers["Location"] == "/nowhere"
    alice.get("/nowhere", headers={"Accept": "text/html"})
    assert alice.send("/sign-out").headers["Location"].startswith("/sign-in")
