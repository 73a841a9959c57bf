"""The page on which a refused form comes back: it says what was wrong, and of everything else what is so."""

import re

import pytest

from payymo.errors import Overloaded
from payymo.logs import Trace
from payymo.sessions.browser import FRESH_SECONDS
from tests.support.house import PASSWORD, Database, House, RememberedPasswords
from tests.support.surfer import Surfer, signed_in

STALE = "A" * 88


class BusyPasswords(RememberedPasswords):
    """Nobody's turn comes while `is_busy`."""

    is_busy = False

    def verify(self, password: str, stored: str) -> bool:
        """As ever, or not now."""
        if self.is_busy:
            raise Overloaded
        return super().verify(password, stored)


def boss_of(house: House) -> Surfer:
    """The tenant's administrator, signed in."""
    house.user("boss", roles=("tenant-administrator",))
    return signed_in(house, "boss")


def ticked(surfer: Surfer) -> set[str]:
    """The boxes of the present page that are ticked."""
    boxes = re.findall(r'type="checkbox"[^>]* value="([^"]+)"( checked)?', surfer.answer.text)
    return {value for value, checked in boxes if checked}


def test_what_one_form_is_refused_for_unticks_nothing_in_another(sqlite_house: House) -> None:
    """A status that came with a form out of date: or the next click on "Save roles" would take every role away."""
    boss, alice = boss_of(sqlite_house), sqlite_house.user("alice")
    base = f"/admin/users/{alice.id}"
    boss.get(base)
    assert ticked(boss) == {"member"}
    assert boss.post(f"{base}/status", {"csrf": STALE, "status": "disabled"}).status_code == 403
    assert "out of date" in boss.text
    assert ticked(boss) == {"member"}


def test_boxes_come_back_as_they_were_sent(sqlite_house: House) -> None:
    """Also when none of them is ticked any more: what is to be looked over is what was sent."""
    boss, alice = boss_of(sqlite_house), sqlite_house.user("alice")
    base = f"/admin/users/{alice.id}"
    for sent in (["tenant-administrator"], ["member", "tenant-administrator"], []):
        boss.get(base)
        answer = boss.post(f"{base}/roles", [("csrf", STALE), *(("roles", role) for role in sent)])
        assert answer.status_code == 403
        assert ticked(boss) == set(sent)


def test_a_button_that_is_out_of_date_comes_back_where_it_can_be_pressed(sqlite_house: House) -> None:
    """The list that it stood in says what was wrong, with buttons that work: not a page with nothing to send again."""
    house = sqlite_house
    house.user("root", roles=("platform-administrator",))
    alice, root = house.user("alice"), signed_in(house, "root")
    house.logged_in("alice")
    house.logged_in("root")
    acme = house.tenant("acme")
    house.services.administration.suspend(acme.id, by=None, trace=Trace())
    [theirs] = house.services.sessions.list_sessions(house.default.id, alice.id)
    user = f"/admin/users/{alice.id}"
    root.get("/account/sessions")
    [own] = [form.action for form in root.forms if re.fullmatch("/account/sessions/[0-9a-f-]{36}/end", form.action)]
    for action in (
        own,
        "/account/sessions/end-others",
        f"{user}/sessions/{theirs.id}/end",
        f"/admin/sessions/{alice.id}/{theirs.id}/end",
        f"/operator/tenants/{acme.id}/resume",
        "/account/export",
    ):
        assert root.post(action, {"csrf": STALE}).status_code == 403
        assert "out of date" in root.text
        assert action in [form.action for form in root.forms], action
    root.post(own, {"csrf": STALE})
    assert root.submit(own).status_code == 200
    assert "The session has ended." in root.text


def test_a_record_that_has_gone_meanwhile_leads_back_to_the_list(sqlite_house: House) -> None:
    """The page was open while somebody else erased the user: what is there now is shown, and that this is not."""
    boss, alice = boss_of(sqlite_house), sqlite_house.user("alice")
    sqlite_house.logged_in("alice")
    boss.get("/admin/sessions")
    [end] = [form.action for form in boss.forms if form.action.startswith(f"/admin/sessions/{alice.id}/")]
    house, trace = sqlite_house, Trace()
    house.services.personal_data.erase(house.default.id, alice.id, by=None, trace=trace)
    assert boss.send(end).status_code == 404
    assert "/admin/sessions" in boss.answer.text
    assert "Where people are signed in" in boss.text


def test_a_session_that_ends_while_the_password_is_asked_for_again_costs_nothing_more(sqlite_house: House) -> None:
    """Signing in is to give it: one goes on with the form that it was asked for, and not with the question."""
    boss, alice = boss_of(sqlite_house), sqlite_house.user("alice")
    erase = f"/admin/users/{alice.id}/erase"
    boss.get(erase)
    sqlite_house.clock.advance(FRESH_SECONDS + 1)
    assert boss.send(erase, username="alice").status_code == 401
    sqlite_house.clock.advance(sqlite_house.settings.console.session_seconds)
    assert boss.send("/confirm", password=PASSWORD).status_code == 401
    assert "Your session has ended." in boss.text
    boss.submit("/sign-in", email="boss@example.com", password=PASSWORD)
    assert "Go on where you were" in boss.text
    assert "Kept" not in boss.text
    boss.submit(erase)
    assert "The user is erased." in boss.text


@pytest.mark.parametrize(
    ("seconds", "ask", "typed", "told"),
    [
        (
            None,
            "/sign-in",
            {"email": "boss@example.com"},
            "Your session has ended, and what you typed was too long to be kept.",
        ),
        (FRESH_SECONDS + 1, "/confirm", {}, "What you typed was too long to be kept."),
    ],
)
def test_a_form_that_is_too_long_to_be_kept_is_told_of_and_led_to(
    sqlite_house: House, seconds: int | None, ask: str, typed: dict[str, str], told: str
) -> None:
    """Whoever proves themselves comes to the page with the form, though it is sent to an address that has no page."""
    boss = boss_of(sqlite_house)
    boss.get("/admin/security")
    sqlite_house.clock.advance(seconds or sqlite_house.settings.console.session_seconds)
    assert boss.send("/admin/security/password-policy", own_words="ü" * 2_300).status_code == 401
    assert told in boss.text
    assert boss.submit(ask, **typed, password=PASSWORD).status_code == 200
    assert "/admin/security/password-policy" in [form.action for form in boss.forms]


def test_what_a_button_is_to_do_is_not_called_typed(sqlite_house: House) -> None:
    """Where nothing was typed, the page says that something was pressed, and is not done yet."""
    boss, alice = boss_of(sqlite_house), sqlite_house.user("alice")
    base = f"/admin/users/{alice.id}"
    boss.get(base)
    sqlite_house.clock.advance(FRESH_SECONDS + 1)
    assert boss.send(f"{base}/force-reset").status_code == 401
    boss.submit("/confirm", password=PASSWORD)
    assert "nothing was done yet" in boss.text
    assert "typed" not in boss.text
    boss.submit(f"{base}/force-reset")
    assert "The password does not work any more." in boss.text


def test_who_keeps_no_cookies_is_told_so(sqlite_house: House) -> None:
    """Or they would send a page that is "out of date" again and again. What was typed is there all the same."""
    sqlite_house.user("alice")
    surfer = Surfer(sqlite_house)
    surfer.http = sqlite_house.app.test_client(use_cookies=False)
    surfer.get("/sign-in")
    for _ in range(2):
        assert surfer.send("/sign-in", email="alice@example.com", password=PASSWORD).status_code == 403
        assert "your browser keeps no cookies of this site" in surfer.text
        assert 'value="alice@example.com"' in surfer.answer.text


def test_a_link_to_sign_in_may_have_gone_through_somebodys_counters(sqlite_house: House) -> None:
    """What they add to an address is passed over, as on pages that take nothing; on pages for who is signed in, not."""
    boss, stranger = boss_of(sqlite_house), Surfer(sqlite_house)
    for path in ("/sign-in", "/language", "/register"):
        assert stranger.get(f"{path}?utm_source=letter&fbclid=x").status_code == 200
    assert boss.open("GET", "/sign-in?next=/account/sessions&fbclid=x").headers["Location"] == "/account/sessions"
    assert boss.get("/admin/users?fbclid=x").status_code == 422


def test_what_was_typed_is_there_when_the_service_was_too_busy(sqlite_database: Database) -> None:
    """A flood of logins is when many try: the form comes back with the address in it, and a moment later it works."""
    passwords = BusyPasswords()
    house = House(sqlite_database, passwords=passwords)
    house.user("alice")
    surfer = Surfer(house)
    surfer.get("/sign-in")
    passwords.is_busy = True
    answer = surfer.submit("/sign-in", email="alice@example.com", password=PASSWORD)
    assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
    assert "Too busy right now. Please try again in a moment." in surfer.text
    assert 'value="alice@example.com"' in answer.text
    passwords.is_busy = False
    surfer.submit("/sign-in", email="alice@example.com", password=PASSWORD)
    assert "My account" in surfer.text
    house.close()


def test_what_is_wrong_with_permissions_is_said_once_and_names_them(sqlite_house: House) -> None:
    """Of thirty lines, which: and not the same sentence for each of them."""
    boss = boss_of(sqlite_house)
    boss.get("/admin/roles/_new")
    typed = "invoices:read\ninvoice\nA:b\nc d\ne"
    assert boss.send("/admin/roles/_new", name="clerk", others=typed).status_code == 422
    assert boss.text.count("write permissions as resource:action") == 1
    assert "and not as A:b, c, d, …" in boss.text
