"""What people do with the pages, in a real browser: by the names that they read, and without a manual."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import PHONE, Person, Site, Someone, serving
from tests.support.house import PASSWORD, Database, House
from tests.support.mail import LINK, MailServer, deliver, mail_server, text_of

NEW = "the quiet teapot climbs a hill"


@pytest.mark.parametrize(
    "options", [{}, {"viewport": PHONE}, {"java_script_enabled": False}], ids=["desk", "phone", "no script"]
)
def test_a_newcomer_finds_in_and_out_again(someone: Someone, options: dict[str, object]) -> None:
    """Register, see where one is signed in, sign out, sign in: by links and buttons alone."""
    who = someone(**options)
    page = who.open("/")
    page.get_by_role("link", name="Create an account").click()
    page.get_by_label("E-mail address").fill("alice@example.com")
    page.get_by_label("User name").fill("alice")
    page.get_by_label("Password").fill(NEW)
    who.press("Create account")
    who.sees("alice@example.com")
    page.get_by_role("link", name="Sessions").click()
    who.sees("this one")
    page.get_by_role("button", name="Sign out").click()
    who.sees("You are signed out.")
    page.get_by_label("E-mail address").fill("alice@example.com")
    page.get_by_label("Password").fill(NEW)
    who.press("Sign in")
    who.sees("My account")


def test_a_wrong_password_is_told_and_the_address_is_kept(site: Site, someone: Someone) -> None:
    """One sentence, for the screen reader at once; and the next try needs the password alone."""
    site.house.user("alice")
    who = someone()
    page = who.open("/sign-in")
    page.get_by_label("E-mail address").fill("alice@example.com")
    page.get_by_label("Password").fill("wrong")
    who.press("Sign in")
    expect(page.get_by_role("alert")).to_have_text("The e-mail address or the password is wrong.")
    expect(page.get_by_label("E-mail address")).to_have_value("alice@example.com")
    expect(page.get_by_label("Password")).to_have_value("")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    who.sees("My account")


def test_one_person_ends_a_session_elsewhere(site: Site, someone: Someone) -> None:
    """The other window is out with its next click; the one that acted stays in."""
    site.house.user("alice")
    here, there = someone(), someone(viewport=PHONE)
    here.sign_in()
    there.sign_in()
    here.open("/account/sessions")
    here.page.get_by_role("button", name="End", exact=True).click()
    here.sees("The session has ended.")
    there.page.get_by_role("link", name="Activity").click()
    expect(there.page).to_have_url(re.compile(r"/sign-in\?next=/account/activity$"))
    there.page.get_by_label("E-mail address").fill("alice@example.com")
    there.page.get_by_label("Password").fill(PASSWORD)
    there.press("Sign in")
    expect(there.page).to_have_url(re.compile(r"/account/activity$"))


def test_another_password_ends_the_others_and_keeps_this_one(site: Site, someone: Someone) -> None:
    """Changed here, out there; and the old one is worth nothing."""
    site.house.user("alice")
    here, there = someone(), someone()
    here.sign_in()
    there.sign_in()
    page = here.open("/account")
    page.get_by_role("link", name="Change password").click()
    page.get_by_label("Current password").fill(PASSWORD)
    page.get_by_label("New password").fill("short")
    here.press("Change password")
    expect(page.get_by_label("New password")).to_be_focused()
    here.sees("12 to 128 characters")
    page.get_by_label("Current password").fill(PASSWORD)
    page.get_by_label("New password").fill(NEW)
    here.press("Change password")
    here.sees("Your password is changed.")
    there.page.reload()
    expect(there.page.get_by_role("button", name="Sign in")).to_be_visible()


def test_the_way_back_shows_nothing_to_whoever_sits_down_next(site: Site, someone: Someone) -> None:
    """After a sign-out the browser's back button finds the page to sign in, and no copy of the account."""
    site.house.user("alice")
    who = someone()
    page = who.sign_in()
    who.open("/account/activity")
    page.get_by_role("button", name="Sign out").click()
    who.sees("You are signed out.")
    page.go_back()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    assert "alice" not in page.content()


def test_a_form_that_is_sent_twice_acts_once(site: Site, someone: Someone) -> None:
    """Two clicks, one request; and after the way back it can be sent again."""
    site.house.user("alice")
    who = someone()
    page = who.sign_in()
    who.open("/account/email")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method) if request.method == "POST" else None)
    page.get_by_label("New e-mail address").fill("al@example.com")
    page.get_by_label("Current password").fill(PASSWORD)
    page.get_by_role("main").get_by_role("button").dblclick()
    who.sees("This service sends no mail.")
    assert sent == ["POST"]
    page.go_back()
    page.get_by_label("Current password").fill(PASSWORD)
    page.get_by_role("main").get_by_role("button").click()
    who.sees("This service sends no mail.")
    assert sent == ["POST", "POST"]


@pytest.mark.parametrize("has_scripts", [True, False])
def test_what_was_typed_survives_the_end_of_the_session(site: Site, someone: Someone, has_scripts: bool) -> None:  # noqa: FBT001
    """It ends in the middle of a form: sign in, one button, and the form is there again."""
    site.house.user("alice")
    who = someone(java_script_enabled=has_scripts)
    page = who.sign_in()
    who.open("/account/email")
    page.get_by_label("New e-mail address").fill("typed@example.com")
    page.get_by_label("Current password").fill(PASSWORD)
    site.house.clock.advance(site.house.settings.console.session_seconds + 1)
    who.press("Send the link")
    who.sees("what you typed is still here")
    page.get_by_label("E-mail address").fill("alice@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    who.press("Sign in")
    who.sees("typed@example.com")
    who.press("Go on")
    expect(page.get_by_label("New e-mail address")).to_have_value("typed@example.com")


def test_an_export_asks_who_it_is_and_comes_as_a_file(site: Site, someone: Someone, tmp_path: Path) -> None:
    """Not fresh: the password first; then the button gives the file, and once more, for who has lost it."""
    site.house.user("alice")
    who = someone()
    page = who.sign_in()
    site.house.clock.advance(301)
    who.open("/account")
    page.get_by_role("link", name="Export my data").click()
    page.get_by_label("Password").fill(PASSWORD)
    who.press("Go on")
    with page.expect_download() as waiting:
        who.press("Download")
    waiting.value.save_as(tmp_path / "my-data.json")
    assert json.loads((tmp_path / "my-data.json").read_text())["user"]["email"] == "alice@example.com"
    expect(page.get_by_role("button", name="Download")).not_to_have_attribute("aria-disabled", "true")
    with page.expect_download():
        who.press("Download")


def test_two_people_of_two_tenants_see_their_own(site: Site, someone: Someone) -> None:
    """At once, in two windows, under one host name and with one address each."""
    for slug in ("acme", "other"):
        site.house.user("alice", tenant=site.house.tenant(slug))
    one, two = someone(), someone()
    one.sign_in(tenant="acme")
    two.sign_in(tenant="other")
    for who, name in ((one, "Acme"), (two, "Other"), (one, "Acme")):
        page = who.open("/account")
        expect(page.get_by_role("banner")).to_contain_text(name)
        page.get_by_role("link", name="Sessions").click()
        expect(page.get_by_role("listitem")).to_have_count(1)


@pytest.fixture
def post() -> Iterator[MailServer]:
    """A mail server on the loopback."""
    with mail_server() as found:
        yield found


@pytest.mark.parametrize("has_scripts", [True, False])
def test_a_link_from_a_mail_is_opened(
    sqlite_database: Database,
    post: MailServer,
    browser: Browser,
    has_scripts: bool,  # noqa: FBT001
) -> None:
    """With scripts the token goes from behind the # into the form and out of the address; without, it is pasted."""
    house = House(sqlite_database, mail=post.settings())
    house.user("alice", tenant=house.tenant("acme"))
    with serving(house) as site, browser.new_context(java_script_enabled=has_scripts) as context:
        complaints: list[str] = []
        who = Person(context, site.base, complaints)
        page = who.open("/sign-in?tenant=acme")
        page.get_by_role("link", name="Forgot your password?").click()
        page.get_by_label("E-mail address").fill("alice@example.com")
        who.press("Send the link")
        who.sees("a mail with a link is on its way")
        deliver(house)
        deliver(house)
        found = next(found for mail in reversed(post.received) if (found := LINK.search(text_of(mail))))
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url + str(request.headers)))
        who.open("/reset-password" + (f"#{found[0].partition('#')[2]}" if has_scripts else ""))
        if has_scripts:
            expect(page.get_by_label("The link from the mail")).to_be_hidden()
            assert "#" not in page.url
        else:
            page.get_by_label("The link from the mail").fill(found[0])
        page.get_by_label("New password").fill(NEW)
        who.press("Change password")
        who.sees("Your password is changed. Sign in with it.")
        assert found[1] not in "".join(asked)
        page.get_by_label("E-mail address").fill("alice@example.com")
        page.get_by_label("Password").fill(NEW)
        who.press("Sign in")
        who.sees("My account")
        assert complaints == []
    house.close()
