"""Every page, light and dark, on a desk and on a phone: nothing that axe, the policy or the width refuses."""

import re
from typing import Literal

import pytest
from playwright.sync_api import expect

from payymo.logs import Trace
from payymo.web.console.opening import list_pages
from tests.browser.conftest import PHONE, WIDE, Site, Someone
from tests.support.house import PASSWORD, House
from tests.support.pictures import large, picture

SHOWN = sorted(page.path for page in list_pages() if page.method == "GET" and "<" not in page.path and page.path != "/")
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
OPEN = {page.path for page in list_pages() if page.access == "anyone"}


def furnish(house: House) -> None:
    """Enough for every list to show something."""
    house.user("alice", roles=("platform-administrator",))
    house.logged_in("alice")
    house.client().log_in(password="wrong")
    house.services.sequencer.integrate_all()
    house.services.checkpoints.sign_due()


@pytest.mark.timeout(400)
def test_every_page_is_accessible_and_pictured(site: Site, someone: Someone) -> None:
    """Axe finds nothing; the policy refuses nothing; no page is wider than a phone; and people can look at it."""
    furnish(site.house)
    stranger, alice = (someone(reduced_motion="reduce") for _ in range(2))  # colours change at once
    alice.sign_in()
    for path in SHOWN:
        who = stranger if path in OPEN else alice
        page = who.open(path)
        expect(page.get_by_role("heading", level=1)).to_have_count(1)
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            who.require_accessible()
            who.keep_picture(f"{path.strip('/').replace('/', '-')}-{scheme}")
        page.set_viewport_size(PHONE)  # type: ignore[arg-type]
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], (path, scheme)
        page.set_viewport_size(WIDE)  # type: ignore[arg-type]


def test_no_colour_of_a_tenant_makes_a_page_that_can_not_be_read(site: Site, someone: Someone) -> None:
    """Axe finds nothing on branded pages, light and dark; the policy lets the stylesheet and the logo in."""
    house = site.house
    house.user("alice", roles=("tenant-administrator",))
    stranger, alice = (someone(reduced_motion="reduce") for _ in range(2))  # colours change at once
    alice.sign_in()
    for accent in ("#ffff00", "#000000", "#ffffff", "#7f7f7f"):
        house.services.brands.set(house.default.id, "Acme & Söhne", accent, logo=picture(), by=None, trace=Trace())
        fill = f"rgb({', '.join(map(str, bytes.fromhex(accent[1:])))})"
        for who, path, button in ((stranger, "/sign-in", "Sign in"), (alice, "/admin/appearance", "Save")):
            page = who.open(path)
            logo = page.get_by_role("banner").get_by_role("img", name="Acme & Söhne")
            expect(logo).to_have_js_property("naturalWidth", 2)
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme)
                expect(page.get_by_role("main").get_by_role("button", name=button)).to_have_css(
                    "background-color", fill
                )
                who.require_accessible()
    alice.keep_picture("brand")


def test_a_logo_is_uploaded_and_told_of_when_it_is_too_large(site: Site, someone: Someone) -> None:
    """By the form, as people do; the browser says so itself before a file is sent in vain."""
    site.house.user("alice", roles=("tenant-administrator",))
    who = someone()
    who.sign_in()
    page = who.open("/admin/appearance")
    field = page.get_by_label("Logo")
    field.set_input_files({"name": "large.png", "mimeType": "image/png", "buffer": large(70_000)})
    assert field.evaluate("input => input.validationMessage").startswith("This file is too large")
    field.set_input_files({"name": "logo.png", "mimeType": "image/png", "buffer": large(60_000)})
    page.get_by_label("Display name").fill("Acme")
    who.press("Save")
    who.sees("It is saved.")
    expect(page.get_by_role("banner").get_by_role("img", name="Acme")).to_have_js_property("naturalWidth", 2)


def test_every_page_is_told_in_german_and_fits_a_phone(site: Site, someone: Someone) -> None:
    """Long words, too: no page is wider than a phone."""
    furnish(site.house)
    stranger, alice = someone(locale="de-DE", viewport=PHONE), someone(viewport=PHONE)
    alice.sign_in()
    alice.page.get_by_role("button", name="Deutsch").click()
    expect(alice.page.get_by_role("heading", level=1)).to_have_text("Mein Konto")
    for path in SHOWN:
        who = stranger if path in OPEN else alice
        page = who.open(path)
        assert page.evaluate("document.documentElement.lang") == "de"
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path
        who.keep_picture(f"{path.strip('/').replace('/', '-')}-german")


def test_a_refused_form_is_accessible_too(someone: Someone) -> None:
    """What is wrong is tied to its field, and the focus is there."""
    who = someone()
    page = who.open("/register")
    page.get_by_label("E-mail address").fill("a@b")
    page.get_by_label("User name").fill("alice")
    page.get_by_label("Password").fill("short")
    who.press("Create account")
    who.sees("Something in the form has to be corrected.")
    field = page.get_by_label("Password")
    assert "12 to 128" in page.locator(f"#{field.get_attribute('aria-describedby').split()[-1]}").inner_text()  # type: ignore[union-attr]
    who.require_accessible()


def test_the_keyboard_is_enough(site: Site, someone: Someone) -> None:
    """Tab and Enter: past the bar, to the first field, in; and what has the focus can be seen."""
    site.house.user("alice")
    who = someone()
    page = who.open("/sign-in")
    page.get_by_label("E-mail address").press_sequentially("alice@example.com")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Tab")
    focused = page.locator(":focus")
    expect(focused).to_have_text("Sign in")
    assert focused.evaluate("element => getComputedStyle(element).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    who.sees("My account")
    page.reload()
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to content")
    page.keyboard.press("Enter")
    expect(page.locator(":focus")).to_have_attribute("id", "main")


def test_nothing_that_was_smuggled_in_runs(site: Site, someone: Someone) -> None:
    """The policy, tried: a script, a handler and a style that are put into the page do nothing."""
    who = someone()
    page = who.open("/sign-in")
    page.evaluate("""() => {
        window.ran = [];
        for (const html of ['<img src=x onerror="window.ran.push(1)">', '<p style="position:fixed">x</p>']) {
            document.querySelector('main').insertAdjacentHTML('beforeend', html);
        }
        const script = document.createElement('script');
        script.textContent = 'window.ran.push(2)';
        document.body.append(script);
    }""")
    page.wait_for_function("() => document.querySelector('main img').complete")
    assert page.evaluate("window.ran") == []
    assert page.evaluate("getComputedStyle(document.querySelector('main p[style]')).position") == "static"
    refused = [text for text in who.complaints if re.search("Content Security Policy", text)]
    assert len(refused) >= 3
    who.complaints.clear()


def test_no_page_of_another_site_gets_to_act(site: Site, someone: Someone) -> None:
    """A form on somebody else's page, sent by the browser with its cookies: nothing is done. Nor is a page framed."""
    site.house.user("alice")
    who = someone()
    page = who.sign_in()
    evil = site.base.replace("localhost", "127.0.0.1")  # another site to the browser
    form = f'<form method="post" action="{site.base}/sign-out"><button>Win</button></form>'
    frame = f'<iframe src="{site.base}/account"></iframe>'
    page.route(f"{evil}/evil", lambda route: route.fulfill(content_type="text/html", body=form + frame))
    page.goto(f"{evil}/evil")
    assert page.frame_locator("iframe").get_by_text("My account").count() == 0
    page.get_by_role("button", name="Win").click()
    who.sees("did not come from a page of this site")
    who.open("/account")
    who.sees("alice@example.com")
    who.complaints.clear()  # of the frame that was refused
