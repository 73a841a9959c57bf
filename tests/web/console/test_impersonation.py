"""Acting as somebody else in a browser: seen on every page, kept from what is the person's own, and with a way back."""

import re

import pytest

from payymo.logs import Trace
from payymo.web.console.opening import list_pages
from payymo.web.console.pages import Page
from tests.support.house import PASSWORD, House
from tests.support.surfer import Surfer, text_of

WHY = "ticket 4711: the invoice is not to be seen"
ACTING = "payymo-acting"
FRESH = 300


def furnish(house: House) -> tuple[Surfer, str]:
    """An administrator's browser, and the path of the page from which they act as Alice."""
    roles = house.services.roles
    roles.create(house.default.id, "actor", ["impersonation:write", "users:*", "sessions:*"], by=None, trace=Trace())
    house.user("boss", roles=("actor", "member"))
    alice = house.user("alice")
    boss = Surfer(house)
    boss.sign_in("boss")
    return boss, f"/admin/users/{alice.id}/impersonate"


def act(boss: Surfer, path: str) -> None:
    """From the page of the user to their account."""
    boss.get(path)
    answer = boss.submit(path, why=WHY)
    assert answer.status_code == 200, answer.text


def test_there_and_back(house: House) -> None:
    """The whole way: from the user's page into their account, and by one button back to one's own session."""
    boss, path = furnish(house)
    boss.get(path.removesuffix("/impersonate"))
    assert f'href="{path}"' in boss.answer.text
    before = boss.cookie()
    act(boss, path)
    assert boss.answer.request.path == "/account"
    assert "boss, you act as alice – until 08:15 UTC Stop" in boss.text
    assert "alice@example.com" in boss.text
    assert "Change password" not in boss.text
    assert "Export my data" not in boss.text
    assert "Administration" not in boss.text  # what the user may not do, they may not either
    meanwhile = boss.cookie()
    boss.submit("/acting/stop")
    assert "You are yourself again." in boss.text
    assert "you act as" not in boss.text
    assert boss.answer.request.path == path.removesuffix("/impersonate")
    assert boss.cookie(ACTING) is None
    assert len({before, meanwhile, boss.cookie()}) == 3
    boss.get("/account")
    assert "boss@example.com" in boss.text


def test_the_password_is_asked_for_and_what_was_typed_is_kept(sqlite_house: House) -> None:
    """It is a dangerous act, like others."""
    boss, path = furnish(sqlite_house)
    boss.get(path)
    sqlite_house.clock.advance(FRESH + 1)
    assert boss.send(path, why=WHY).status_code == 401
    boss.submit("/confirm", password=PASSWORD)
    assert dict(boss.forms[-1].fields)["why"] == WHY
    boss.submit(path)
    assert "you act as alice" in boss.text


SHOWN = [page for page in list_pages() if page.method == "GET" and "<" not in page.path and page.path != "/"]
SENT = [page for page in list_pages() if page.method == "POST" and page.access == "signed-in"]
ALLOWED = {"/acting/stop", "/language", "/sign-out"}


def test_every_page_says_it(sqlite_house: House) -> None:
    """Whatever they look at while they act as somebody, with the button that ends it: also what is refused."""
    house = sqlite_house
    house.user("root", roles=("platform-administrator",))
    other = house.user("second", roles=("platform-administrator",))
    root = Surfer(house)
    root.sign_in("root")
    act(root, f"/admin/users/{other.id}/impersonate")
    for page in SHOWN:
        root.get(page.path)
        assert "root, you act as second" in root.text, page.path
        assert "/acting/stop" in [form.action for form in root.forms], page.path
        if page.access == "signed-in":
            assert (root.answer.status_code == 403) == (page.is_dangerous or page.path == "/confirm"), page.path


def test_no_form_does_anything_but_to_stop(sqlite_house: House) -> None:
    """A form that is sent while they act as somebody is refused before it is read, whatever it is."""
    boss, path = furnish(sqlite_house)
    act(boss, path)
    for page in SENT:
        if page.path not in ALLOWED:
            answer = boss.force(_filled(page))
            assert answer.status_code == 403, (page.path, answer.text)
            assert "You act as somebody else" in text_of(answer)


@pytest.mark.parametrize("allowed", sorted(ALLOWED))
def test_the_way_out_is_open(sqlite_house: House, allowed: str) -> None:
    """Back to oneself, or out altogether."""
    boss, path = furnish(sqlite_house)
    act(boss, path)
    assert boss.force(allowed, language="de").status_code == 303


def _filled(page: Page) -> str:
    values = {"name": "x", "kid": "x", "credential_id": "x"}
    return re.sub(r"<(?:(\w+):)?(\w+)>", lambda m: str(_NOBODY) if m[1] == "uuid" else values.get(m[2], "x"), page.path)


_NOBODY = "00000000-0000-4000-8000-000000000000"


def test_the_list_of_sessions_says_who_acts(sqlite_house: House) -> None:
    """In the place of where from: that is where the administrator sits, and no business of who looks at the list."""
    boss, path = furnish(sqlite_house)
    act(boss, path)
    other = Surfer(sqlite_house)
    sqlite_house.user("second", roles=("tenant-administrator",))
    other.sign_in("second")
    other.get("/admin/sessions")
    assert "alice boss acts as them signed in" in other.text


def test_the_person_sees_it_and_ends_it(house: House) -> None:
    """In their list with a name, in their activity in plain words; the administrator is themselves one page later."""
    boss, path = furnish(house)
    act(boss, path)
    alice = Surfer(house)
    alice.sign_in("alice")
    alice.get("/account/sessions")
    assert "An administrator of yours, boss" in alice.text
    ends = [form.action for form in alice.forms if form.action.endswith("/end")]
    assert len(ends) == 1
    alice.submit(ends[0])
    house.services.sequencer.integrate_all()
    alice.get("/account/activity")
    assert "An administrator began to act as you." in alice.text
    assert "An administrator stopped acting as you." in alice.text
    boss.get("/account")
    assert "boss@example.com" in boss.text
    assert "acting as somebody else is over" in boss.text
    boss.get("/account")
    assert "acting as somebody else is over" not in boss.text


def test_a_form_from_before_does_nothing_afterwards(house: House) -> None:
    """Who was acting when they opened a page does not act in their own name by it, nor the other way round."""
    boss, path = furnish(house)
    boss.get("/account/sessions")
    own = boss.forms
    act(boss, path)
    theirs, boss.forms = boss.forms, own
    assert "out of date" in text_of(boss.force("/sign-out"))
    house.clock.advance(900)
    boss.forms = theirs
    assert "out of date" in text_of(boss.force("/sign-out"))
    boss.get("/account")
    assert "boss@example.com" in boss.text


def test_the_cookie_is_worth_nothing_without_the_administrators_own(house: House) -> None:
    """Alone, in the place of the other one, beside somebody else's, or beside another session of the same person."""
    boss, path = furnish(house)
    act(boss, path)
    stolen = boss.cookie(ACTING) or ""
    house.user("mallory", roles=("actor", "member"))
    for name, cookies in (
        (None, {ACTING: stolen}),
        (None, {"payymo-session": stolen}),
        (None, {"payymo-session": stolen, ACTING: stolen}),
        ("mallory", {ACTING: stolen}),
        ("boss", {ACTING: stolen}),
    ):
        thief = Surfer(house)
        if name is not None:
            thief.sign_in(name)
        for cookie, value in cookies.items():
            thief.http.set_cookie(cookie, value, domain="localhost")
        thief.get("/account")
        assert "alice@example.com" not in thief.text
    boss.get("/account")
    assert "alice@example.com" in boss.text


@pytest.mark.parametrize("how", ["sign-out", "sign-in", "idle"])
def test_it_ends_with_the_administrators_own_session(house: House, how: str) -> None:
    """Signing out means all of it: whoever leaves leaves nothing behind. So does signing in as somebody."""
    boss, path = furnish(house)
    act(boss, path)
    match how:
        case "sign-out":
            boss.submit("/sign-out")
        case "sign-in":
            boss.force("/sign-in", email="boss@example.com", password=PASSWORD)
        case _:
            house.clock.advance(house.settings.console.idle_seconds)
    boss.get("/account")
    assert "you act as" not in boss.text
    assert boss.cookie(ACTING) is None
    sessions = house.services.sessions.list_sessions(
        house.default.id, house.services.users.get_by_email(house.default.id, "alice@example.com").id
    )
    assert not any(session.actor_user_id for session in sessions)


def test_looking_at_pages_keeps_the_administrators_own_session_in_use(sqlite_house: House) -> None:
    """Whoever acts for a while comes back to where they were, and not to the page to sign in."""
    house = sqlite_house
    boss, path = furnish(house)
    idle = house.settings.console.idle_seconds
    house.clock.advance(idle - 300)
    boss.get(path)
    boss.submit("/confirm", password=PASSWORD)
    act(boss, path)
    for _ in range(2):
        house.clock.advance(400)
        boss.get("/account")
    assert "you act as alice" in boss.text
    house.clock.advance(idle - 500)
    boss.get("/account")
    assert "boss@example.com" in boss.text
