"""Names as long as they may be, without a place to break them, on a phone: every page that shows them fits it."""

import pytest

from payymo.apikeys.model import Draft
from payymo.logs import Trace
from tests.browser.conftest import PHONE, Site, Someone
from tests.support.house import PASSWORD

NAME, ROLE = "W" * 30, "w" * 50
EMAIL = f"{'w' * 64}@{'w' * 63}.{'w' * 63}.example"
PERMISSION = f"{'w' * 40}:{'w' * 40}"


@pytest.mark.timeout(120)
def test_very_long_names_make_no_page_wider_than_a_phone(site: Site, someone: Someone) -> None:
    """A tenant's, a user's, an address, a role, a permission, a key."""
    services, trace = site.house.services, Trace()
    tenant = services.administration.create_tenant("w" * 63, "W" * 200, by=None, trace=trace)
    services.roles.create(tenant.id, ROLE, [PERMISSION], by=None, trace=trace)
    key = services.api_keys.create(tenant.id, Draft("w" * 63, (PERMISSION,)), by=None, trace=trace).key
    roles = ("tenant-administrator", ROLE)
    user = services.users.create(
        tenant.id, email=EMAIL, username=NAME, password=PASSWORD, roles=roles, by=None, trace=trace
    )
    site.house.event_on_record(tenant.id)
    who = someone(viewport=PHONE)
    page = who.open(f"/sign-in?tenant={tenant.slug}")
    page.get_by_label("E-mail address").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    who.press("Sign in")
    who.sees("My account")
    one = f"/admin/users/{user.id}"
    wide = {}
    for path in (
        *("/account", "/account/email", "/account/sessions", "/account/activity", "/admin/users", "/admin/users/new"),
        *(one, f"{one}/erase", f"{one}/impersonate", "/admin/roles", f"/admin/roles/{ROLE}"),
        *(f"/admin/roles/{ROLE}/remove", "/admin/sessions", "/admin/api-keys", "/admin/api-keys/new"),
        *(f"/admin/api-keys/{key.id}/revoke", "/admin/appearance", "/admin/audit"),
    ):
        who.open(path)
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > PHONE["width"]:
            wide[path] = width
    assert wide == {}
