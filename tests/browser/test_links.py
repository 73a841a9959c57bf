"""What links in mails lead to, in a real browser: the token behind the # is not lost on the way."""

from playwright.sync_api import expect

from tests.browser.conftest import Site, Someone

NEW = "the quiet teapot climbs a hill"


def test_whoever_chooses_another_language_keeps_the_link(someone: Someone) -> None:
    """Letters and browsers may speak different languages; the choice stands at the end of the page."""
    who = someone()
    page = who.open("/reset-password#token=first&tenant=default")
    expect(page.locator("#token")).to_have_value("first")
    page.get_by_role("button", name="Deutsch").click()
    expect(page.get_by_role("button", name="English")).to_be_visible()
    expect(page.locator("#token")).to_have_value("first")
    expect(page.locator("#token")).to_be_hidden()
    assert page.url.endswith("/reset-password")


def test_a_second_link_in_the_same_window_takes_the_place_of_the_first(someone: Someone) -> None:
    """Browsers load no page for what differs behind the # alone: also where the first link has just been refused."""
    who = someone()
    page = who.open("/reset-password#token=first&tenant=default")
    who.open("/reset-password#token=second&tenant=default")
    expect(page.locator("#token")).to_have_value("second")
    page.get_by_label("New password").fill(NEW)
    who.press("Change password")
    who.sees("This link is not valid any more.")
    expect(page.get_by_label("The link from the mail")).to_be_visible()
    who.open("/reset-password#token=third&tenant=default")
    expect(page.locator("#token")).to_have_value("third")
    assert page.url.endswith("/reset-password")


def test_a_password_that_is_refused_costs_no_link(site: Site, someone: Someone) -> None:
    """The form comes back with the link in it, though no page that the server makes has it in it; then it works."""
    house = site.house
    user = house.user("alice")
    with house.by_hand(house.default.id) as tx:
        found = house.services.users.find_account(tx, user.id)
        assert found is not None
        made = house.services.links.issue(tx, "reset-password", user.id, bound_to=found.binding)
    fragment = made.url.partition("#")[2]
    who = someone()
    page = who.open(f"/reset-password#{fragment}")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url + str(request.headers)))
    page.get_by_label("New password").fill("short")
    who.press("Change password")
    who.sees("12 to 128 characters")
    expect(page.get_by_label("The link from the mail")).to_be_hidden()
    assert "#" not in page.url
    page.get_by_label("New password").fill(NEW)
    who.press("Change password")
    who.sees("Your password is changed. Sign in with it.")
    assert "#" not in page.url
    assert fragment not in "".join(asked)
