"""Getting in by pages: registration, links from mails, and what strangers learn on the way."""

from collections.abc import Iterator

import pytest

from payymo.links.model import LinkKind
from payymo.logs import Trace
from payymo.web.console.opening import list_pages
from payymo.web.mount import list_routes
from payymo.web.pacing import Pace
from tests.support.house import PASSWORD, Database, House
from tests.support.mail import LINK, MailServer, deliver, mail_server, text_of
from tests.support.surfer import Surfer

NEW = "the quiet teapot climbs a hill"
WORDS = {"email": "alice@example.com", "username": "alice", "password": NEW}
TWINS = {
    "/sign-in": "/api/auth/login",
    "/register": "/api/auth/register",
    "/confirm": "/api/auth/password/change",
    "/account/password": "/api/auth/password/change",
    "/account/email": "/api/auth/email/change",
    "/forgot-password": "/api/auth/password/reset",
    "/reset-password": "/api/auth/password/reset/confirm",
    "/verify-email": "/api/auth/email/verify",
    "/change-email": "/api/auth/email/change/confirm",
    "/unlock": "/api/auth/unlock",
}
"""Pages that do what a route does."""


@pytest.fixture
def server() -> Iterator[MailServer]:
    """A mail server on the loopback."""
    with mail_server() as found:
        yield found


@pytest.fixture
def house(sqlite_database: Database, server: MailServer) -> Iterator[House]:
    """A service that sends mail."""
    built = House(sqlite_database, mail=server.settings())
    yield built
    built.close()


def link_of(house: House, server: MailServer) -> tuple[str, str, str]:
    """The newest link that was sent: all of it, its token, its tenant. Letters of one moment come in any order."""
    deliver(house)
    found = next(found for mail in reversed(server.received) if (found := LINK.search(text_of(mail))))
    return found[0], found[1], found[2]


@pytest.mark.parametrize(("path", "twin"), TWINS.items())
def test_a_page_costs_and_takes_what_its_route_does(path: str, twin: str) -> None:
    """No way round a limit, and no answer that tells by its time what the API does not."""
    [page] = [found for found in list_pages() if (found.method, found.path) == ("POST", path)]
    [route] = [found for found in list_routes() if (found.method, found.path) == ("POST", twin)]
    assert (page.limit, page.spares_devices) == (route.limit, route.spares_devices)
    assert page.pace == route.pace != Pace()


def test_a_registration_signs_in_and_keeps_what_was_typed_while_it_is_refused(sqlite_house: House) -> None:
    """Each problem stands at its field; the password is not shown again."""
    surfer = Surfer(sqlite_house)
    surfer.get("/register")
    answer = surfer.submit("/register", email="no address", username="alice", password="pA§1")
    assert answer.status_code == 422
    assert answer.text.count('aria-invalid="true"') == 2
    assert 'value="no address"' in answer.text
    assert "pA§1" not in answer.text
    assert surfer.submit("/register", **WORDS).status_code == 200
    assert "alice@example.com" in surfer.get("/account").text


def test_nobody_registers_where_it_is_closed(sqlite_database: Database) -> None:
    """Neither by the page nor by a form that was kept; and nothing leads there."""
    house = House(sqlite_database, registration={"enabled": False})
    surfer = Surfer(house)
    assert "/register" not in surfer.get("/sign-in").text
    fields = surfer.forms[0].fields
    assert surfer.get("/register").status_code == 403
    assert surfer.post("/register", [*fields, *WORDS.items()]).status_code == 403
    house.close()


def test_a_wrong_login_says_one_sentence_whoever_it_was(sqlite_house: House) -> None:
    """Somebody, nobody, and who is disabled: the same page, but for its nonce, its token and what was typed."""
    sqlite_house.user("alice")
    bob = sqlite_house.user("bob")
    sqlite_house.services.administration.change_user(
        sqlite_house.default.id, bob.id, status="disabled", by=None, trace=Trace()
    )
    texts = set()
    for name, password in (("alice", "wrong"), ("nobody", "wrong"), ("bob", PASSWORD)):
        surfer = Surfer(sqlite_house)
        answer = surfer.sign_in(name, password)
        assert answer.status_code == 401
        texts.add(surfer.text)
    assert len(texts) == 1
    assert "The e-mail address or the password is wrong." in texts.pop()


def test_a_forgotten_password_is_replaced_by_a_link(house: House, server: MailServer) -> None:
    """The page says the same for everybody; the link works once, pasted whole, and every session ends."""
    house.user("alice", tenant=house.tenant("acme"))
    surfer, stranger = Surfer(house, tenant="acme"), Surfer(house, tenant="acme")
    surfer.sign_in()
    said = set()
    for name in ("alice", "nobody"):
        stranger.get("/forgot-password?tenant=acme")
        stranger.submit("/forgot-password", email=f"{name}@example.com")
        said.add(stranger.text)
        deliver(house)
    assert len(said) == 1
    deliver(house)
    url, _, tenant = link_of(house, server)
    assert (url.startswith(f"{house.settings.issuer}/reset-password#"), tenant) == (True, "acme")
    for password, status in (("short", 422), (NEW, 200), (NEW, 422)):
        stranger.get("/reset-password")
        assert stranger.submit("/reset-password", token=url, new_password=password).status_code == status
        assert url not in stranger.answer.text
    assert surfer.open("GET", "/account").status_code == 303
    assert Surfer(house, tenant="acme").sign_in(password=NEW).status_code == 200


def test_who_opens_the_link_where_they_are_signed_in_is_told_what_has_happened(
    house: House, server: MailServer
) -> None:
    """Their session is over, too: they are asked for the new password, and hear why; and hear it once."""
    house.user("alice", tenant=house.tenant("acme"))
    surfer = Surfer(house, tenant="acme")
    surfer.get("/forgot-password?tenant=acme")
    surfer.submit("/forgot-password", email="alice@example.com")
    deliver(house)
    url, _, _ = link_of(house, server)
    surfer.sign_in()
    surfer.get("/reset-password")
    assert surfer.submit("/reset-password", token=url, new_password=NEW).status_code == 200
    assert surfer.answer.request.path == "/sign-in"
    assert "Your password is changed. Sign in with it." in surfer.text
    assert "Acme" in surfer.text
    surfer.submit("/sign-in", email="alice@example.com", password=NEW)
    assert "My account" in surfer.text
    assert "Your password is changed." not in surfer.text


def test_a_form_is_of_the_tenant_that_its_page_shows(house: House, server: MailServer) -> None:
    """Also to who is signed in to a tenant without a host name: an account, and a letter, were the default tenant's."""
    acme = house.tenant("acme")
    house.user("alice", tenant=acme)
    surfer = Surfer(house, tenant="acme")
    surfer.sign_in()
    surfer.get("/forgot-password")
    assert "Acme" in surfer.text
    surfer.submit("/forgot-password", email="alice@example.com")
    deliver(house)
    assert link_of(house, server)[2] == "acme"
    surfer.get("/register")
    assert "Acme" in surfer.text
    surfer.submit("/register", email="bob@example.com", username="bob", password=NEW)
    assert "bob@example.com" in surfer.text
    assert house.services.users.get_by_email(acme.id, "bob@example.com").username == "bob"


def test_an_address_is_verified_and_changed_by_links(sqlite_database: Database, server: MailServer) -> None:
    """Opening the page changes nothing: scanners open every link of a mail."""
    house = House(sqlite_database, mail=server.settings(), registration={"verify_email": "required"})
    surfer = Surfer(house)
    surfer.get("/register")
    assert surfer.submit("/register", **WORDS).status_code == 200
    assert "A mail is on its way" in surfer.text
    deliver(house)
    _, token, tenant = link_of(house, server)
    assert Surfer(house).sign_in(password=NEW).status_code == 401
    surfer.get("/verify-email")
    assert Surfer(house).sign_in(password=NEW).status_code == 401
    surfer.submit("/verify-email", token=token, tenant=tenant)
    assert "Your address is verified." in surfer.text
    surfer.sign_in(password=NEW)
    surfer.get("/account/email")
    assert surfer.submit("/account/email", new_email="al@example.com", current_password="wrong").status_code == 401
    assert surfer.submit("/account/email", new_email="al@example.com", current_password=NEW).status_code == 200
    _, token, _ = link_of(house, server)
    surfer.get("/change-email")
    surfer.submit("/change-email", token=token)
    assert "al@example.com" in surfer.get("/account").text
    house.close()


@pytest.mark.parametrize(("path", "kind"), [("/verify-email", "verify-email"), ("/unlock", "unlock")])
def test_a_link_of_nobody_is_one_sentence(house: House, path: str, kind: LinkKind) -> None:
    """A token of another kind, garbage, a link without one, of a tenant that does not exist."""
    user = house.user("alice")
    other: LinkKind = "unlock" if kind == "verify-email" else "verify-email"
    with house.by_hand(house.default.id) as tx:
        made = house.services.links.issue(tx, other, user.id, bound_to=("x",))
    surfer = Surfer(house)
    garbage = [f"https://x.example/#{text}" for text in ("a=b", "token=a&token=b", "token=a&b=c&b=c&b=c&b=c")]
    for token in (made.url, "garbage", *garbage):
        surfer.get(path)
        assert surfer.submit(path, token=token).status_code == 422
        assert "This link is not valid any more." in surfer.text
    assert surfer.submit(path, token="https://x.example/#token=a&tenant=nowhere").status_code == 404


def test_who_tries_too_often_is_told_when_to_come_again(sqlite_database: Database) -> None:
    """429, as a page with what was typed, and for programs in Retry-After; the right password does not help."""
    house = House(sqlite_database, limits={"enabled": True, "login": "2/minute"})
    house.user("alice")
    surfer = Surfer(house)
    for status in (401, 401, 429):
        surfer.get("/sign-in")
        answer = surfer.submit("/sign-in", email="alice@example.com", password="wrong")
        assert answer.status_code == status
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    assert 'value="alice@example.com"' in answer.text
    assert surfer.submit("/sign-in", email="alice@example.com", password=PASSWORD).status_code == 429
    house.close()


def test_who_is_known_signs_in_where_strangers_have_used_up_the_address(sqlite_database: Database) -> None:
    """As by the API. A form that the door never sees is refused by the limit, whatever else is wrong with it."""
    house = House(sqlite_database, limits={"enabled": True, "login": "2/minute"}, lockout={"enabled": True})
    house.user("alice")
    alice, stranger = Surfer(house), Surfer(house)
    alice.sign_in()
    alice.submit("/sign-out")
    assert [stranger.sign_in("nobody").status_code for _ in range(2)] == [401, 429]
    assert stranger.sign_in().status_code == alice.sign_in("bob").status_code == 429
    alice.get("/sign-in")
    assert alice.send("/sign-in", email="", password=PASSWORD).status_code == 429
    assert alice.force("/sign-in", csrf="x").status_code == 429
    assert alice.sign_in().status_code == 200
    assert alice.cookie() is not None
    house.close()


def test_a_page_sends_no_more_letters_to_an_address_than_its_route(
    sqlite_database: Database, server: MailServer
) -> None:
    """Two users name one mailbox as theirs: both are told that a mail is on its way, and one is."""
    house = House(sqlite_database, mail=server.settings(), limits={"login": "", "mail": "1/hour"})
    for name in ("alice", "bob"):
        house.user(name)
        surfer = Surfer(house)
        surfer.sign_in(name)
        surfer.get("/account/email")
        typed = {"new_email": "victim@example.org", "current_password": PASSWORD}
        assert surfer.submit("/account/email", **typed).status_code == 200
        assert "on its way to the new address" in surfer.text
    deliver(house)
    assert server.recipients == ["victim@example.org"]
    house.close()


def test_where_no_mail_is_sent_one_is_told(sqlite_house: House) -> None:
    """An error that says what to do, on the page."""
    surfer = Surfer(sqlite_house)
    surfer.get("/forgot-password")
    assert surfer.submit("/forgot-password", email="alice@example.com").status_code == 403
    assert "This service sends no mail. Ask an administrator." in surfer.text


def test_pages_are_of_the_tenant_that_is_named(sqlite_house: House) -> None:
    """By the address of the page, through the form, and not of one that there is not."""
    acme = sqlite_house.tenant("acme")
    sqlite_house.user("alice", tenant=acme)
    surfer = Surfer(sqlite_house, tenant="acme")
    assert "Acme" in surfer.get("/sign-in?tenant=acme").text
    assert surfer.sign_in().status_code == 200
    assert "Acme" in surfer.get("/account").text
    assert Surfer(sqlite_house).sign_in().status_code == 401
    assert surfer.submit("/sign-out").status_code == 200
    assert "Acme" in surfer.text
    for slug in ("nowhere", "../x", "\x00", "x" * 64, "Acme"):
        stranger = Surfer(sqlite_house)
        answer = stranger.open("GET", "/sign-in", query_string={"tenant": slug})
        fields = {"csrf": "x", "tenant": slug, "email": "a@example.com", "password": "x"}
        assert (answer.status_code, stranger.post("/sign-in", fields).status_code) == (404, 404)


@pytest.mark.parametrize("seconds", [3601, 12 * 3600 + 1])
def test_who_was_signed_in_comes_back_to_their_own_tenant(house: House, seconds: int) -> None:
    """It has no host name: the cookie says it, also when its session is over; and a form that was under way is sent."""
    house.user("alice", tenant=house.tenant("acme"))
    surfer = Surfer(house, tenant="acme")
    surfer.sign_in()
    surfer.get("/account/email")
    house.clock.advance(seconds)
    assert surfer.send("/account/email", new_email="typed@example.com", current_password=PASSWORD).status_code == 401
    assert "Acme" in surfer.answer.text
    assert surfer.submit("/sign-in", email="alice@example.com", password=PASSWORD).status_code == 200
    assert "typed@example.com" in surfer.text
    house.clock.advance(seconds)
    answer = surfer.open("GET", "/account/activity?cursor=a%2Fb")
    assert answer.headers["Location"] == "/sign-in?next=/account/activity%3Fcursor%3Da%252Fb&tenant=acme"
    surfer.get("/account/sessions")
    assert surfer.submit("/sign-in", email="alice@example.com", password=PASSWORD).status_code == 200
    assert "Acme" in surfer.get("/account").text


def test_the_address_of_a_page_names_a_tenant_to_who_is_not_signed_in(sqlite_house: House) -> None:
    """Also one that wants to know who it is; and a cookie of nobody's names none."""
    administration, secret = sqlite_house.services.administration, f"payymo_{'0' * 32}_{'A' * 43}"
    administration.create_tenant("acme", "Acme", host="acme.example", by=None, trace=Trace())
    other = sqlite_house.tenant("other")
    stranger = Surfer(sqlite_house)
    assert "Acme" in stranger.get("/account?tenant=acme").text
    assert stranger.get("/account?tenant=nowhere").status_code == 404
    for text in ("x", f"{'0' * 32}.{secret}"):
        stranger.http.set_cookie("payymo-session", text, domain="localhost")
        assert stranger.open("GET", "/account").headers["Location"] == "/sign-in?next=/account"
    at_home = Surfer(sqlite_house, host="acme.example")
    at_home.http.set_cookie("payymo-session", f"{other.id.hex}.{secret}", domain="acme.example")
    assert at_home.open("GET", "/account").headers["Location"] == "/sign-in?next=/account"
    stranger.http.set_cookie("payymo-session", f"{other.id.hex}.{secret}", domain="localhost")
    assert stranger.open("GET", "/account").headers["Location"] == "/sign-in?next=/account&tenant=other"
