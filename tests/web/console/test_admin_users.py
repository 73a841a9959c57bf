"""`/admin/users`: what an administrator sees and does, and what is refused."""

import re
import uuid
from collections.abc import Iterator

import pytest

from payymo.audit.entries import Filters
from payymo.logs import Trace
from payymo.sessions.browser import FRESH_SECONDS
from payymo.users.passwords import Passwords
from payymo.users.service import UNVERIFIED_SECONDS
from tests.support.house import PASSWORD, Database, House
from tests.support.mail import MailServer, deliver, mail_server, text_of
from tests.support.surfer import Surfer

USERS = "/admin/users"
NEW = f"{USERS}/new"
BETTER = "the quiet teapot climbs a hill"


@pytest.fixture
def server() -> Iterator[MailServer]:
    """A mail server on the loopback."""
    with mail_server() as found:
        yield found


@pytest.fixture
def mailing(database: Database, server: MailServer) -> Iterator[House]:
    """A service that sends mail."""
    built = House(database, mail=server.settings())
    yield built
    built.close()


def surfer_of(house: House, name: str = "boss", *, roles: tuple[str, ...] = ("tenant-administrator",)) -> Surfer:
    """Somebody new, signed in."""
    house.user(name, roles=roles)
    surfer = Surfer(house)
    surfer.sign_in(name)
    return surfer


def events_of(house: House, user_id: uuid.UUID) -> list[str]:
    """What is on record of a user, the oldest first."""
    house.services.sequencer.integrate_all()
    page = house.services.audit_reader.page(
        house.default.id, Filters(user_id=user_id), cursor=None, count=50, newest_first=False
    )
    return [entry.record.type for entry in page.entries]


def test_users_are_looked_through_and_searched(sqlite_house: House) -> None:
    """Fifty a page, by user name; a search goes on to its next page; without any JavaScript."""
    boss = surfer_of(sqlite_house)
    for number in range(60):
        sqlite_house.user(f"user-{number:02}")
    boss.get(USERS)
    shown = re.findall(r'scope="row"><a href="[^"]+">([^<]+)', boss.answer.text)
    assert shown == ["boss", *(f"user-{number:02}" for number in range(49))]
    boss.get(f"{USERS}?q=USER-")
    assert len(re.findall('scope="row"', boss.answer.text)) == 50
    [onward] = re.findall(r'rel="next" href="([^"]+)"', boss.answer.text)
    boss.get(onward.replace("&amp;", "&"))
    assert re.findall(r">(user-\d\d)</a>", boss.answer.text) == [f"user-{number}" for number in range(50, 60)]
    assert 'rel="next"' not in boss.answer.text
    boss.get(f"{USERS}?q=user-07@example.com")
    assert re.findall(r">(user-\d\d)</a>", boss.answer.text) == ["user-07"]


def test_a_user_is_created_with_a_password(house: House) -> None:
    """They sign in with it. What is refused comes back as it was typed, without the password."""
    boss = surfer_of(house)
    boss.get(NEW)
    typed = {"email": "carl@example.com", "username": "carl", "password": BETTER}
    assert boss.send(NEW, **(typed | {"password": "short"})).status_code == 422
    assert 'value="carl@example.com"' in boss.answer.text
    assert 'value="short"' not in boss.answer.text
    assert "12 to 128 characters" in boss.text
    assert boss.submit(NEW, **typed).status_code == 200
    assert "The user is created." in boss.text
    Surfer(house).sign_in("carl", BETTER)
    boss.get(NEW)
    assert boss.send(NEW, **typed).status_code == 422
    assert "Somebody here has this address or this user name already." in boss.text


def test_nobody_gives_a_new_user_more_than_they_have(sqlite_house: House) -> None:
    """A role that is not offered is refused when it is sent all the same; nobody is created."""
    boss = surfer_of(sqlite_house)
    boss.get(NEW)
    assert "platform-administrator" not in boss.text
    typed = {"email": "carl@example.com", "username": "carl", "password": BETTER, "roles": "platform-administrator"}
    assert boss.send(NEW, **typed).status_code == 403
    assert "a permission that you don&#39;t have" in boss.answer.text
    assert sqlite_house.services.directory.page(sqlite_house.default.id, "carl", after="", count=1).users == ()


def test_an_invited_user_chooses_a_password(mailing: House, server: MailServer) -> None:
    """Nobody signs in before the link is opened; with it they are verified, and have the roles; it works once."""
    house, boss = mailing, surfer_of(mailing)
    boss.get(NEW)
    assert boss.submit(NEW, how="mail", email="dora@example.com", username="dora").status_code == 200
    assert "The invitation is on its way." in boss.text
    dora = house.services.users.get_by_email(house.default.id, "dora@example.com")
    assert dora.status == "unverified"
    assert house.client().log_in("dora@example.com").status_code == 401
    deliver(house)
    assert "Your user name is dora." in " ".join(text_of(server.received[-1]).split())
    assert "within 7 days" in " ".join(text_of(server.received[-1]).split())
    link = {"token": server.links()[-1], "new_password": BETTER}
    house.clock.advance(UNVERIFIED_SECONDS - 1)
    guest = Surfer(house)
    for status in (303, 422):
        guest.get("/reset-password")
        assert guest.send("/reset-password", **link).status_code == status
    guest.sign_in("dora", BETTER)
    user, grants = house.services.users.get(house.default.id, dora.id)
    assert (user.status, user.email_verified_at, grants.roles) == ("active", int(house.clock()), ("member",))
    assert events_of(house, dora.id)[:3] == ["user.invited", "session.login", "user.password-reset"]


def test_who_does_not_come_is_forgotten_with_the_link(mailing: House) -> None:
    """After seven days the names are free again."""

    def invite() -> uuid.UUID:
        return mailing.services.invitations.invite(
            mailing.default.id,
            email="dora@example.com",
            username="dora",
            roles=("member",),
            by=None,
            trace=Trace(),
        ).id

    first = invite()
    mailing.clock.advance(UNVERIFIED_SECONDS - 1)
    assert mailing.services.personal_data.forget_unverified() == 0
    mailing.clock.advance(1)
    assert mailing.services.personal_data.forget_unverified() == 1
    assert invite() != first


def test_letters_of_invitation_to_one_address_are_limited(sqlite_database: Database, server: MailServer) -> None:
    """Whoever invites, erases and invites again fills nobody's mailbox; and without mail nobody is invited."""
    limits = {"enabled": True, "default": "", "login": "", "mail": "1/hour"}
    for given, status in (({"mail": server.settings(), "limits": limits}, 429), ({}, 403)):
        house = House(sqlite_database, **given)  # type: ignore[arg-type]
        boss = surfer_of(house, f"boss-{status}")
        for number in (1, 2):
            boss.get(NEW)
            answer = boss.send(NEW, how="mail", email="emil@example.com", username=f"emil-{number}")
        assert answer.status_code == status
        house.close()


def test_an_administrator_changes_a_user(house: House) -> None:
    """Roles, status, lock, password and sessions: each does what it says, and goes on record."""
    boss = surfer_of(house)
    user = house.user("carl")
    page, services = f"{USERS}/{user.id}", house.services
    phone, laptop = house.logged_in("carl"), house.logged_in("carl")
    first, _ = services.sessions.list_sessions(house.default.id, user.id)
    boss.get(page)
    assert "The session has ended." in _submit(boss, page, f"sessions/{first.id}/end")
    assert sorted(client.get("/api/auth/me").status_code for client in (phone, laptop)) == [200, 401]
    assert "All of the user's sessions have ended." in _submit(boss, page, "sessions/end")
    assert {client.get("/api/auth/me").status_code for client in (phone, laptop)} == {401}
    assert "It is saved." in _submit(boss, page, "roles", roles="read-only")
    assert services.users.get(house.default.id, user.id)[1].roles == ("read-only",)
    assert "The user can try to sign in again." in _submit(boss, page, "unlock")
    assert "The user is disabled" in _submit(boss, page, "status", status="disabled")
    assert house.client().log_in("carl@example.com").status_code == 401
    assert "The user can sign in again." in _submit(boss, page, "status", status="active")
    assert "give them another one" in _submit(boss, page, "force-reset")
    boss.get(f"{page}/password")
    boss.submit(f"{page}/password", password=BETTER)
    assert "Tell it to them." in boss.text
    assert house.client().log_in("carl@example.com", BETTER).status_code == 200
    assert [name for name in events_of(house, user.id) if name not in {"user.created", "session.login"}] == [
        "session.ended",
        "session.all-ended",
        "user.roles-changed",
        "user.unlocked",
        "user.status-changed",
        "user.status-changed",
        "user.reset-forced",
        "user.password-changed",
    ]


def _submit(surfer: Surfer, page: str, act: str, **typed: str) -> str:
    """What the user's page says after a form of it was sent."""
    surfer.get(page)
    surfer.submit(f"{page}/{act}", **typed)
    return surfer.answer.text.replace("&#39;", "'")


def test_who_may_do_more_is_shown_and_not_changed(house: House) -> None:
    """No form is offered; one that is sent all the same comes back with the sentence, and nothing has changed."""
    root = house.user("root", roles=("platform-administrator",))
    boss = surfer_of(house)
    page = f"{USERS}/{root.id}"
    house.logged_in("root")
    boss.get(page)
    token = dict(boss.forms[0].fields)["csrf"]
    assert "This user may do more than you may." in boss.text
    assert [form.action for form in boss.forms] == ["/sign-out", "/language"]
    forms: dict[str, dict[str, str]] = {
        "status": {"status": "disabled"},
        "roles": {"roles": "member"},
        "password": {"password": BETTER},
        "erase": {"username": "root"},
    }
    for act in ("status", "roles", "password", "erase", "unlock", "force-reset", "sessions/end"):
        answer = boss.post(f"{page}/{act}", {"csrf": token, **forms.get(act, {})})
        assert answer.status_code == 403, act
        assert "This user may do more than you may." in boss.text
    assert house.services.users.get(house.default.id, root.id)[0].is_active
    assert len(house.services.sessions.list_sessions(house.default.id, root.id)) == 1


def test_a_refusal_shows_no_page_that_its_sender_may_not_see(sqlite_house: House) -> None:
    """A form comes back on a page that asks for a permission of its own: without it, the refusal is all there is."""
    victim = sqlite_house.user("victim")
    sqlite_house.services.roles.create(sqlite_house.default.id, "ender", ["sessions:write"], by=None, trace=Trace())
    for name, roles in (("mallory", ("member",)), ("eve", ("ender",))):
        surfer = surfer_of(sqlite_house, name, roles=roles)
        surfer.get("/account")
        token = dict(surfer.forms[0].fields)["csrf"]
        for act in ("status", "unlock", "sessions/end"):
            answer = surfer.post(f"{USERS}/{victim.id}/{act}", {"csrf": token, "status": "nonsense", "roles": "x"})
            assert answer.status_code in {303, 403}, act
            assert "victim" not in answer.text


def test_sessions_and_activity_are_seen_with_their_own_permissions(sqlite_house: House) -> None:
    """Who may read users alone sees neither, and no form."""
    house = sqlite_house
    user = house.user("carl")
    house.logged_in("carl")
    house.services.sequencer.integrate_all()
    boss = surfer_of(house)
    boss.get(f"{USERS}/{user.id}")
    assert {"Sessions", "Last activity"} <= set(re.findall(r"<h2[^>]*>([^<]+)", boss.answer.text))
    house.services.roles.create(house.default.id, "reader", ["users:read"], by=None, trace=Trace())
    reader = surfer_of(house, "rita", roles=("reader",))
    reader.get(f"{USERS}/{user.id}")
    assert re.findall(r"<h2[^>]*>([^<]+)", reader.answer.text) == ["Profile"]
    assert [form.action for form in reader.forms] == ["/sign-out", "/language"]
    assert reader.get(NEW).status_code == 403


def test_a_user_is_erased_by_who_types_the_name_and_has_just_given_their_password(house: House) -> None:
    """Any other name changes nothing; five minutes later the password is asked for first."""
    user, boss = house.user("carl"), surfer_of(house)
    path = f"{USERS}/{user.id}/erase"
    house.clock.advance(301)
    boss.get(path)
    assert "Your password again" in boss.text
    boss.submit("/confirm", password=PASSWORD)
    assert "This can't be undone" in boss.answer.text
    assert boss.send(path, username="karl").status_code == 422
    assert "This is not the name of this user." in boss.text
    assert house.services.users.get(house.default.id, user.id)
    boss.submit(path, username="Carl")
    assert "The user is erased." in boss.text
    assert boss.get(f"{USERS}/{user.id}").status_code == 404
    assert house.client().log_in("carl@example.com").status_code == 401
    assert events_of(house, user.id)[-1] == "user.erased"


def test_enabling_does_not_stand_in_for_verifying(house: House) -> None:
    """Who has not shown that the address is theirs is neither disabled nor enabled, and still can't sign in."""
    boss = surfer_of(house)
    with house.by_hand(house.default.id) as tx:
        account = house.services.users.add_unverified(
            tx, house.default.id, email="carl@example.com", username="carl", password_hash=Passwords().hash(PASSWORD)
        )
    page = f"{USERS}/{account.user.id}"
    boss.get(page)
    assert f"{page}/status" not in [form.action for form in boss.forms]
    token = dict(boss.forms[0].fields)["csrf"]
    for status in ("disabled", "active"):
        assert boss.post(f"{page}/status", {"csrf": token, "status": status}).status_code == 409
    assert house.services.users.get(house.default.id, account.user.id)[0].status == "unverified"
    assert house.client().log_in("carl@example.com").status_code == 401


def test_ones_own_password_is_changed_with_the_present_one_alone(house: House) -> None:
    """Not by the page for others, which asks for none."""
    boss = surfer_of(house)
    [own] = [user for user, _ in house.services.users.list_users(house.default.id, after="", count=10)]
    page = f"{USERS}/{own.id}/password"
    boss.get("/account")
    assert boss.get(page).status_code == 403
    token = dict(boss.forms[0].fields)["csrf"]
    assert boss.post(page, {"csrf": token, "password": BETTER}).status_code == 403
    assert house.client().log_in(own.email).status_code == 200


def test_roles_that_were_chosen_survive_the_password_that_is_asked_for(house: House) -> None:
    """Not fresh any more: the password, one button, and the user has them."""
    boss = surfer_of(house)
    user = house.user("carl")
    page = f"{USERS}/{user.id}"
    boss.get(page)
    house.clock.advance(FRESH_SECONDS + 1)
    assert boss.send(f"{page}/roles", roles="read-only").status_code == 401
    assert house.services.users.get(house.default.id, user.id)[1].roles == ("member",)
    boss.submit("/confirm", password=PASSWORD)
    assert "read-only" in boss.text
    boss.submit(f"{page}/roles")
    assert house.services.users.get(house.default.id, user.id)[1].roles == ("read-only",)
