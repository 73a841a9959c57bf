"""Acting as somebody else, in a real browser: there, seen on every page, and back."""

import pytest
from playwright.sync_api import expect

from payymo.logs import Trace
from tests.browser.conftest import PHONE, Site, Someone


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_there_and_back(site: Site, someone: Someone, scheme: str) -> None:
    """An administrator gets from the page of a user into their account, is told so, and gets back by one button."""
    house = site.house
    house.services.roles.create(
        house.default.id, "support", ["impersonation:write", "users:read", "sessions:read"], by=None, trace=Trace()
    )
    house.user("boss", roles=("support", "member"))
    alice = house.user("alice")
    boss, person = someone(color_scheme=scheme), someone(color_scheme=scheme)
    page = boss.sign_in("boss")
    boss.open(f"/admin/users/{alice.id}")
    page.get_by_role("link", name="Act as them …").click()
    boss.require_accessible()
    boss.keep_picture(f"admin-users-impersonate-{scheme}")
    page.get_by_label("Why").fill("ticket 4711: the invoice is not to be seen")
    boss.press("Act as alice")
    banner = page.get_by_role("region", name="Acting as somebody else")
    expect(banner).to_contain_text("boss, you act as alice – until")
    boss.sees("alice@example.com")
    boss.require_accessible()
    boss.keep_picture(f"acting-{scheme}")
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    boss.keep_picture(f"acting-phone-{scheme}")
    person.sign_in("alice")
    person.open("/account/sessions")
    person.sees("An administrator of yours, boss")
    person.require_accessible()
    person.keep_picture(f"acted-as-{scheme}")
    banner.get_by_role("button", name="Stop").click()
    boss.sees("You are yourself again.")
    expect(banner).to_have_count(0)
    boss.require_accessible()
