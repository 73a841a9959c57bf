"""What every page declares, held against lists that are written out here on purpose."""

import re
import typing

import pytest

from payymo.limits.model import Tier
from payymo.web.console.opening import DESKS, list_pages
from payymo.web.console.pages import Page, pages_of

PAGES = sorted(list_pages(), key=lambda page: (page.path, page.method))
OPEN = {
    ("GET", "/"),
    ("GET", "/change-email"),
    ("GET", "/forgot-password"),
    ("GET", "/language"),
    ("GET", "/register"),
    ("GET", "/reset-password"),
    ("GET", "/sign-in"),
    ("GET", "/unlock"),
    ("GET", "/verify-email"),
    ("POST", "/change-email"),
    ("POST", "/forgot-password"),
    ("POST", "/language"),
    ("POST", "/register"),
    ("POST", "/reset-password"),
    ("POST", "/sign-in"),
    ("POST", "/unlock"),
    ("POST", "/verify-email"),
}
"""Everybody sees these."""
GUESSED = {
    ("POST", "/account/email"),
    ("POST", "/account/password"),
    ("POST", "/confirm"),
    ("POST", "/reset-password"),
    ("POST", "/sign-in"),
}
"""A password or a link is looked at: limited like a login, and refusals take the same time."""


def label(page: Page) -> str:
    """How a test's name shows a page."""
    return f"{page.method} {page.path}"


def test_every_page_asks_who_it_is_but_for_a_short_list() -> None:
    """A page that anybody may see is a decision that stands in this file."""
    assert {(page.method, page.path) for page in PAGES if page.access == "anyone"} == OPEN


def test_every_page_is_limited_and_what_can_be_guessed_at_like_a_login() -> None:
    """There is no page that can be asked for without an end."""
    assert {page.limit for page in PAGES} <= set(typing.get_args(Tier))
    assert all(page.limit == "login" and page.pace.holds for page in PAGES if (page.method, page.path) in GUESSED)


def test_every_page_of_the_administration_names_a_permission() -> None:
    """To read or to write, as the API's route for the same thing does; a page with a form alone may ask for both.

    `/admin` shows nothing: it leads on to what one may see.
    """
    shown_again = {page.refused for page in PAGES}
    for page in PAGES:
        if page.path.startswith(("/admin/", "/operator/")):
            action = (page.permission or "").partition(":")[2]
            is_of_a_form = (
                page.method == "GET" and action == "write" and (page.name in shown_again or page.is_dangerous)
            )
            assert action == ("read" if page.method == "GET" else "write") or is_of_a_form, label(page)


def test_no_page_is_declared_twice() -> None:
    """One method on one path is one page."""
    assert len({(page.method, page.path) for page in PAGES}) == len(PAGES)


def test_only_forms_change_something() -> None:
    """A page that is fetched takes no form; one that takes a form is sent."""
    assert [label(page) for page in PAGES if page.form is not None and page.method == "GET"] == []


@pytest.mark.parametrize("desk", DESKS, ids=lambda desk: desk.__name__)
def test_a_refused_form_is_shown_again(desk: type) -> None:
    """Nothing that was typed is lost: every form says on which page of its desk it comes back."""
    pages = [page for page, _ in pages_of(desk)]
    shown = {page.name: page for page in pages if page.method == "GET"}
    for page in pages:
        if page.form is not None:
            assert page.refused in shown, label(page)
            again = shown[page.refused]
            assert again.access == page.access, label(page)
            assert again.permission in {page.permission, (page.permission or "").replace(":write", ":read")}, label(
                page
            )


HARMLESS = {
    "/admin/appearance",
    "/admin/appearance/logo/remove",
    "/admin/appearance/remove",
    "/admin/sessions/<uuid:user_id>/<uuid:session_id>/end",
    "/admin/users/<uuid:user_id>/sessions/<uuid:session_id>/end",
    "/admin/users/<uuid:user_id>/sessions/end",
    "/admin/users/<uuid:user_id>/unlock",
    "/operator/tenants",
    "/operator/tenants/<uuid:tenant_id>/resume",
}
"""Changes that are easily undone, or that somebody in a hurry makes to stop an attack."""
GUIDES = {("GET", "/admin")}
"""Leads on to the first page that somebody may see, and shows nothing itself."""


def test_only_the_way_in_asks_for_no_permission() -> None:
    """Whatever shows or changes something of others names one."""
    inner = [page for page in PAGES if re.match("/(admin|operator)(/|$)", page.path)]
    assert {(page.method, page.path) for page in inner if page.permission is None} == GUIDES


def test_the_page_before_a_dangerous_act_asks_for_the_password_already() -> None:
    """Or what was typed is kept meanwhile: a password is not, and so is asked for on a page of its own."""
    asked = {page.path for page in PAGES if page.method == "GET" and page.is_dangerous}
    acts = [page for page in PAGES if page.method == "POST" and page.is_dangerous and page.path not in asked]
    secret = [name for page in acts if page.form for name in page.form.model_fields if "password" in name]
    assert secret == []


def test_whatever_gives_or_takes_power_is_dangerous() -> None:
    """Roles, passwords of others, keys, credentials, tenants, what is asked of passwords: the password again."""
    inner = {page.path for page in PAGES if page.method == "POST" and re.match("/(admin|operator)/", page.path)}
    dangerous = {page.path for page in PAGES if page.method == "POST" and page.is_dangerous}
    assert inner - dangerous == HARMLESS
