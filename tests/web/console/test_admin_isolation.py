"""Two tenants in the pages of the administration: an identifier of one's things is worth nothing in the other."""

import re
import uuid

from payymo.web.console.admin_desks import ADMIN_DESKS
from payymo.web.console.pages import Page, pages_of
from tests.support.house import House
from tests.support.surfer import Surfer
from tests.support.two_tenants import Side, build_sides
from tests.web.scene import contents

PAGES = [page for desk in ADMIN_DESKS for page, _ in pages_of(desk) if "<" in page.path]
FORMS = {
    "StatusForm": {"status": "disabled"},
    "RolesForm": {"roles": "member"},
    "PasswordForm": {"password": "the quiet teapot climbs a hill"},
    "ImpersonateForm": {"why": "ticket 4711"},
    "EraseForm": {"username": "alice"},
    "PermissionsForm": {"permissions": "users:write"},
}
"""A good form for each page that takes one; one that is missing here fails the test."""


def known_of(side: Side) -> dict[str, str]:
    """Every identifier of a tenant that these paths could hold."""
    return {
        "user_id": str(side.alice_id),
        "session_id": str(side.session_id),
        "name": side.role,
        "api_key_id": str(side.api_key_id),
    }


def send(boss: Surfer, page: Page, known: dict[str, str], token: str) -> tuple[int, str]:
    """A request that would be good if its sender had a right to these identifiers."""
    path = re.sub(r"<\w+:(\w+)>", lambda match: known[match[1]], page.path)
    form = {"csrf": token, **({} if page.form is None else FORMS[page.form.__name__])}
    answer = boss.open("GET", path) if page.method == "GET" else boss.post(path, form)
    text = re.sub(r'(nonce|value)="[^"]*"|<code>[0-9a-f]+</code>', "", answer.text)
    return answer.status_code, text


def test_identifiers_of_another_tenant_lead_nowhere(house: House) -> None:
    """Invariant 10: B's administrator with A's identifiers gets what a made-up one gets, and nothing changes."""
    a, b = build_sides(house)
    boss = Surfer(house, tenant="b")
    boss.sign_in("boss")
    token = dict(boss.forms[0].fields)["csrf"]
    own, theirs, before = known_of(b), known_of(a), contents(house)
    made_up = {
        "user_id": str(uuid.UUID(int=7)),
        "session_id": str(uuid.UUID(int=8)),
        "name": "nobodys",
        "api_key_id": str(uuid.UUID(int=9)),
    }
    for page in PAGES:
        names = re.findall(r"<\w+:(\w+)>", page.path)
        for name in names:
            answers = [send(boss, page, {**own, name: found[name]}, token) for found in (theirs, made_up)]
            assert answers[0][0] == answers[1][0] == 404, (page, name)
            assert answers[0][1].replace(theirs[name], "") == answers[1][1].replace(made_up[name], ""), (page, name)
    assert contents(house) == before
    assert a.alice.get("/api/auth/me").status_code == 200
    for page in PAGES:  # and it was not for a bad request: at home the same pages are there
        if page.method == "GET":
            assert send(boss, page, own, token)[0] == 200, page


def test_lists_hold_ones_own_tenant_alone(house: House) -> None:
    """Invariant 10: users, sessions and roles, though the names are the same."""
    a, b = build_sides(house)
    for side, other in ((a, b), (b, a)):
        boss = Surfer(house, tenant=side.tenant.slug)
        boss.sign_in("boss")
        paths = (
            "/admin/users",
            "/admin/users?q=al",
            f"/admin/users/{side.alice_id}",
            "/admin/sessions",
            "/admin/roles",
            "/admin/api-keys",
            "/admin/security",
        )
        text = "".join(boss.get(path).text for path in paths)
        for own in (side.alice_id, side.session_id, side.role, side.api_key_id):
            assert str(own) in text
        for foreign in (other.alice_id, other.boss_id, other.session_id, other.tenant.id, other.role, other.api_key_id):
            assert str(foreign) not in text
