"""Registration, verification, reset, and change of address and password, over HTTP and by real mail."""

from collections.abc import Iterator
from itertools import permutations
from typing import Any

import pytest
import sqlalchemy as sa

from payymo.db import schema
from payymo.logs import Trace
from payymo.users.model import User
from payymo.web.mount import list_routes
from tests.support.crew import Crew
from tests.support.house import PASSWORD, Client, Database, House
from tests.support.mail import MailServer, deliver, mail_server, text_of
from tests.support.moments import before

NEW = "another fine Passw0rd"
HOUR = 3600
VERIFY, RESET, CONFIRM = "/api/auth/email/verify", "/api/auth/password/reset", "/api/auth/password/reset/confirm"
CHANGE_EMAIL, CONFIRM_EMAIL = "/api/auth/email/change", "/api/auth/email/change/confirm"
CHANGE_PASSWORD = "/api/auth/password/change"


@pytest.fixture
def server() -> Iterator[MailServer]:
    """A mail server on the loopback."""
    with mail_server() as found:
        yield found


def build(database: Database, server: MailServer, **more: Any) -> House:
    return House(database, mail=server.settings(), registration={"verify_email": "required"}, **more)


@pytest.fixture
def house(database: Database, server: MailServer) -> Iterator[House]:
    """A service that sends mail and wants addresses verified."""
    built = build(database, server)
    yield built
    built.close()


@pytest.fixture
def one(sqlite_database: Database, server: MailServer) -> Iterator[House]:
    """The same, where the database makes no difference."""
    built = build(sqlite_database, server)
    yield built
    built.close()


def newest(house: House, server: MailServer) -> str:
    """The token of the newest link, once everything has been delivered."""
    deliver(house)
    return server.links()[-1]


def subjects(server: MailServer) -> list[str]:
    return [str(mail["Subject"]) for mail in server.received]


def ask_for_reset(house: House, email: str = "alice@example.com") -> None:
    assert house.client().post(RESET, {"email": email}).status_code == 202


def confirm(house: House, token: str, password: str = NEW) -> tuple[int, str]:
    return said(house.client().post(CONFIRM, {"token": token, "new_password": password}))


def said(answer: Any) -> tuple[int, str]:
    """The status, and the code of a refusal."""
    return answer.status_code, answer.get_json().get("code", "")


REFUSED = (422, "invalid_link")
DONE = (200, "")
WRONG = (401, "invalid_credentials")


# ── registration ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_registers_logs_in_once_the_link_was_opened(house: House, server: MailServer) -> None:
    """Before, the right password is refused like any wrong one; the link works once."""
    client = house.client()
    answer = client.register()
    assert (answer.status_code, answer.get_json()) == (202, {"data": {}})
    token = newest(house, server)
    assert said(client.log_in()) == WRONG
    assert said(client.post(VERIFY, {"token": token})) == DONE
    assert said(client.post(VERIFY, {"token": token})) == REFUSED
    assert client.log_in().get_json()["data"]["user"]["email_verified"]
    assert subjects(server) == ["Confirm your e-mail address"]


def test_registration_answers_the_same_whatever_is_taken(house: House, server: MailServer) -> None:
    """Nobody learns by trying who has an account, or a user name: not by the answer, not by the work behind it."""
    house.user("alice")
    statements: list[list[str]] = []

    def count(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements[-1].append(statement)

    for name in ("warm", "warmer"):  # the tenant's data key is made, and then found
        house.client().register(name)
    sa.event.listen(house.services.engine, "before_cursor_execute", count)
    answers = []
    for email, username in (("new", "new"), ("alice", "other"), ("other", "alice"), ("ALICE", "Alice")):
        statements.append([])
        body = {"email": f"{email}@example.com", "username": username, "password": PASSWORD}
        answer = house.client().post("/api/auth/register", body)
        answers.append((answer.status_code, answer.get_data()))
    sa.event.remove(house.services.engine, "before_cursor_execute", count)
    assert set(answers) == {(202, b'{"data":{}}')}
    assert statements[0] == statements[1] == statements[2] == statements[3]
    deliver(house)
    assert {(str(mail["To"]), str(mail["Subject"])) for mail in server.received} == {
        ("warm@example.com", "Confirm your e-mail address"),
        ("warmer@example.com", "Confirm your e-mail address"),
        ("new@example.com", "Confirm your e-mail address"),
        ("alice@example.com", "You have an account already"),
        ("other@example.com", "Choose another user name"),
    }


def test_a_stranger_who_registers_first_does_not_get_into_the_account(one: House, server: MailServer) -> None:
    """Pre-hijacking: whoever opens the link of a second registration chooses the password; the earlier link is dead."""
    one.client().register(password="the stranger's Passw0rd")
    first = newest(one, server)
    one.client().register(password=PASSWORD)
    second = newest(one, server)
    assert said(one.client().post(VERIFY, {"token": first})) == REFUSED
    assert confirm(one, second) == DONE
    assert said(one.client().log_in(password="the stranger's Passw0rd")) == WRONG
    assert one.client().log_in(password=NEW).status_code == 200


def test_a_letter_calls_no_link_dead_that_lives(one: House, server: MailServer) -> None:
    """Several links to choose a password are good until one is used; the one that confirms the address is not."""
    one.client().register()
    first = newest(one, server)
    one.client().register()
    earlier = newest(one, server)
    one.client().register()
    later = newest(one, server)
    text = " ".join(server.received[-1].get_body(("plain",)).get_content().split())
    assert "An earlier link to confirm the address doesn't work any more." in text
    assert "Earlier ones" not in text
    assert said(one.client().post(VERIFY, {"token": first})) == REFUSED
    assert [confirm(one, token) for token in (earlier, later)] == [DONE, REFUSED]


def test_a_registration_that_nobody_verifies_is_forgotten(one: House, server: MailServer) -> None:
    """After a week its names are free again, and not a second earlier; who has verified stays."""
    one.client().register("alice")
    token = newest(one, server)
    one.client().register("bob")
    assert said(one.client().post(VERIFY, {"token": token})) == DONE
    deliver(one)
    one.clock.advance(7 * 24 * HOUR - 1)
    assert one.services.personal_data.forget_unverified() == 0
    one.clock.advance(1)
    assert one.services.personal_data.forget_unverified() == 1
    assert one.client().log_in().status_code == 200


def test_who_was_made_by_an_administrator_is_taken_for_verified(one: House) -> None:
    """Somebody vouches for the address; and users of before the setting are not shut out by it."""
    user = one.user("alice")
    assert user.email_verified_at == one.clock.now
    assert one.client().log_in().status_code == 200


# ── reset ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_reset_ends_every_session_and_begins_none(house: House, server: MailServer) -> None:
    """The old password is worthless, the new one works, and the user hears of it."""
    house.user("alice")
    old = house.logged_in()
    ask_for_reset(house)
    answer = house.client().post(CONFIRM, {"token": newest(house, server), "new_password": NEW})
    assert (answer.status_code, answer.get_json()) == (200, {"data": {}})
    assert old.get("/api/auth/me").status_code == 401
    assert old.refresh().status_code == 401
    assert said(house.client().log_in()) == WRONG
    assert house.client().log_in(password=NEW).status_code == 200
    deliver(house)
    assert subjects(server) == ["Choose a new password", "Your password was changed", "New sign-in to your account"][:2]


def test_a_reset_answers_the_same_whoever_it_is_for(house: House, server: MailServer) -> None:
    """Known, unknown, disabled, no address at all: the same bytes after the same statements; one of them gets mail."""
    house.user("alice")
    disabled = house.user("dora")
    house.services.administration.change_user(house.default.id, disabled.id, status="disabled", by=None, trace=Trace())
    for name in ("warm", "warmer"):  # the tenant's data key is made, and then found
        ask_for_reset(house, f"{name}@example.com")
    statements: list[list[str]] = []

    def count(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements[-1].append(statement)

    sa.event.listen(house.services.engine, "before_cursor_execute", count)
    answers = set()
    for email in ("alice@example.com", "nobody@example.com", "dora@example.com", "no address", "é@example.com"):
        statements.append([])
        answer = house.client().post(RESET, {"email": email})
        answers.add((answer.status_code, answer.get_data()))
    sa.event.remove(house.services.engine, "before_cursor_execute", count)
    assert answers == {(202, b'{"data":{}}')}
    assert all(one == statements[0] for one in statements)
    deliver(house)
    assert server.recipients == ["alice@example.com"]
    told = [found["outcome"] for found in house.events() if found["event"] == "user.reset-requested"]
    assert sorted(told) == ["refused"] * 6 + ["success"]


def test_a_reset_goes_to_the_address_that_is_stored(one: House, server: MailServer) -> None:
    """CVE-2019-19844: in the letters in which its owner has given it, and never in those of whoever asks."""
    one.services.users.create(
        one.default.id, email="Alice.B@Example.COM", username="alice", password=PASSWORD, by=None, trace=Trace()
    )
    ask_for_reset(one, "aLICE.b@eXAMPLE.com")
    body = {"email": "ALICE.B@example.com", "username": "other", "password": PASSWORD}
    assert one.client().post("/api/auth/register", body).status_code == 202
    deliver(one)
    assert server.recipients == ["Alice.B@Example.COM"] * 2


def test_a_suspended_tenant_answers_a_reset_like_any_other(one: House, server: MailServer) -> None:
    """And sends nothing; a link from before is refused while it lasts."""
    one.user("alice")
    ask_for_reset(one)
    token = newest(one, server)
    one.services.administration.suspend(one.default.id, by=None, trace=Trace())
    one.clock.advance(2)
    ask_for_reset(one)
    deliver(one)
    assert len(server.received) == 1
    assert confirm(one, token) == REFUSED


def test_a_link_works_to_the_last_second_and_not_after(house: House, server: MailServer) -> None:
    """Expiry is checked at use (CVE-2025-64708): no cleaner has run."""
    house.user("alice")
    for late, expected in ((0, REFUSED), (-1, DONE)):
        ask_for_reset(house)
        token = newest(house, server)
        house.clock.advance(HOUR + late)
        assert confirm(house, token, f"{NEW}{late}") == expected


def test_a_bad_password_does_not_use_the_link_up(one: House, server: MailServer) -> None:
    """Whoever chooses badly chooses again."""
    one.user("alice")
    ask_for_reset(one)
    token = newest(one, server)
    answer = one.client().post(CONFIRM, {"token": token, "new_password": "short"})
    assert [found["pointer"] for found in answer.get_json()["errors"]] == ["/new_password"]
    assert confirm(one, token) == DONE


def test_a_link_dies_with_what_it_was_made_for(one: House, server: MailServer) -> None:
    """A changed password, a changed address, a disabled user: each ends it."""
    user = one.user("alice")

    def password(client: Client) -> None:
        assert said(client.post(CHANGE_PASSWORD, {"new_password": NEW})) == DONE

    def address(client: Client) -> None:
        assert client.post(CHANGE_EMAIL, {"new_email": "alice@other.example"}).status_code == 202
        assert said(client.post(CONFIRM_EMAIL, {"token": newest(one, server)})) == DONE

    def disabled(_: Client) -> None:
        one.services.administration.change_user(one.default.id, user.id, status="disabled", by=None, trace=Trace())

    for act in (password, address, disabled):
        email = one.services.users.get(one.default.id, user.id)[0].email
        client = one.client()
        client.log_in(email, NEW if act in {address, disabled} else PASSWORD)
        ask_for_reset(one, email)
        token = newest(one, server)
        act(client)
        assert confirm(one, token) == REFUSED, act.__name__


def test_whoever_has_an_address_next_inherits_nothing_that_was_tried_at_it(
    database: Database, server: MailServer
) -> None:
    """Neither a wait, nor from where its last owner mistyped."""
    house = build(database, server, lockout={"enabled": True, "failures": 1})
    house.user("alice")
    client = house.logged_in("alice")
    for _ in range(2):
        house.client().log_in(password="mistyped by alice")
    client.post(CHANGE_EMAIL, {"new_email": "moved@example.com"})
    assert house.client().post(CONFIRM_EMAIL, {"token": newest(house, server)}).status_code == 200
    house.services.users.create(
        house.default.id, email="alice@example.com", username="other", password=PASSWORD, by=None, trace=Trace()
    )
    other = house.logged_in("alice")
    assert other.get("/api/auth/export").get_json()["failed_logins"] == []
    house.close()


def test_a_stranger_who_asks_for_a_reset_ends_nobodys_link(house: House, server: MailServer) -> None:
    """The link of an invitation or of an earlier mail stays good, and the first that is used ends all of them."""
    user = house.user("alice")
    house.services.administration.force_reset(house.default.id, user.id, by=None, trace=Trace())
    links = [newest(house, server)]
    for _ in range(2):
        ask_for_reset(house)
        links.append(newest(house, server))
    assert len(set(links)) == 3
    house.clock.advance(2 * HOUR)  # what was asked for is over, and what the administrator sent is not
    assert [confirm(house, token) for token in (*links[1:], links[0])] == [REFUSED, REFUSED, DONE]
    ask_for_reset(house)
    earlier = newest(house, server)
    ask_for_reset(house)
    assert [confirm(house, token, f"{NEW} again") for token in (earlier, newest(house, server))] == [DONE, REFUSED]


def test_many_who_use_one_link_at_once_have_one_winner(house: House, server: MailServer) -> None:
    """Invariant 5, CVE-2025-46815, CVE-2026-37982, CVE-2022-23485: in threads of two services on one database."""
    house.user("alice")
    ask_for_reset(house)
    token = newest(house, server)
    other = build(house.database, server)
    passwords = [f"{NEW} number {number}" for number in range(6)]
    with Crew(6) as crew:
        done = list(crew.map(lambda n: confirm((house, other)[n % 2], token, passwords[n]), range(6)))
    assert sorted(done) == [DONE, *[REFUSED] * 5]
    other.close()
    winner = passwords[done.index(DONE)]
    assert house.client().log_in(password=winner).status_code == 200


def test_many_who_use_several_links_at_once_have_one_winner(house: House, server: MailServer) -> None:
    """All of them are good, and the first password that is chosen ends them: also in threads of two services."""
    house.user("alice")
    tokens = []
    for _ in range(3):
        ask_for_reset(house)
        tokens.append(newest(house, server))
    other = build(house.database, server)
    passwords = [f"{NEW} number {number}" for number in range(6)]
    with Crew(6) as crew:
        done = list(crew.map(lambda n: confirm((house, other)[n % 2], tokens[n % 3], passwords[n]), range(6)))
    assert sorted(done) == [DONE, *[REFUSED] * 5]
    other.close()
    assert house.client().log_in(password=passwords[done.index(DONE)]).status_code == 200


def test_a_reset_that_meets_a_change_of_the_password_loses(house: House, server: MailServer) -> None:
    """The change commits while the new password of the reset is being hashed: the link is dead by then."""
    user = house.user("alice")
    ask_for_reset(house)
    token = newest(house, server)

    def change() -> None:
        house.services.administration.change_user(
            house.default.id, user.id, password=f"{NEW} by somebody else", by=None, trace=Trace()
        )

    hash_it = house.services.users._passwords.hash
    waiting = [change]

    def hash_after(password: str) -> str:
        if waiting:
            waiting.pop()()
        return hash_it(password)

    house.services.users._passwords.hash = hash_after  # type: ignore[method-assign]
    assert confirm(house, token) == REFUSED
    assert said(house.client().log_in(password=NEW)) == WRONG


# ── links ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_link_is_of_one_kind_one_tenant_one_user(house: House, server: MailServer) -> None:
    """A token is of one kind (CVE-2026-4325), of one tenant, and decides alone who is meant (CVE-2023-26481)."""
    other = house.tenant("other")
    alice, bob = house.user("alice"), house.user("bob")
    house.user("alice", tenant=other)
    client = house.logged_in()
    ask_for_reset(house)
    reset = newest(house, server)
    client.post(CHANGE_EMAIL, {"new_email": "new@example.com"})
    change = newest(house, server)
    assert confirm(house, change) == REFUSED
    for path in (VERIFY, CONFIRM_EMAIL):
        assert said(house.client().post(path, {"token": reset})) == REFUSED
    elsewhere = house.client(tenant="other").post(CONFIRM, {"token": reset, "new_password": NEW})
    assert said(elsewhere) == REFUSED
    hostile = {"token": reset, "new_password": NEW, "user_id": str(bob.id)}
    assert house.client().post(CONFIRM, hostile).status_code == 422
    for wrong in ("", "x", reset[:-1], reset.swapcase(), f"payymo_{alice.id.hex}_{'A' * 43}"):
        assert confirm(house, wrong)[0] == 422
    assert confirm(house, reset) == DONE
    assert house.client().log_in("bob@example.com").status_code == 200


def test_links_lead_where_the_configuration_says(sqlite_database: Database, server: MailServer) -> None:
    """CVE-2021-30185, CVE-2025-64101: no header of a request gets into a mail; the token stands in the fragment."""
    house = House(
        sqlite_database,
        mail=server.settings(),
        issuer="https://auth.example.com",
        links={"reset_password": "https://app.example.com/new-password"},
    )
    house.user("alice")
    poison = {
        "Host": "evil.example",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Server": "evil.example",
        "X-Forwarded-Proto": "gopher",
        "Forwarded": "host=evil.example;proto=gopher",
        "X-Original-Host": "evil.example",
        "Origin": "https://evil.example",
        "Referer": "https://evil.example/",
    }
    for name, value in poison.items():
        answer = house.client().call("POST", RESET, {"email": "alice@example.com"}, headers={name: value})
        assert answer.status_code == 202, name
    house.logged_in().call("POST", CHANGE_EMAIL, {"new_email": "new@example.com"}, headers=poison)
    deliver(house)
    for mail in server.received:
        assert b"evil" not in mail.as_bytes()
        assert b"gopher" not in mail.as_bytes()
    texts = [text_of(mail) for mail in server.received]
    assert sum("https://app.example.com/new-password#token=payymo_" in text for text in texts) == len(poison)
    assert sum("https://auth.example.com/change-email#token=payymo_" in text for text in texts) == 1
    assert all("?" not in text.partition("#token=")[0].rpartition("https://")[2] for text in texts)
    house.close()


def test_no_token_is_kept_or_logged(house: House, server: MailServer) -> None:
    """Invariant 17: what stands in the mailbox stands nowhere else once the mail is sent."""
    house.user("alice")
    ask_for_reset(house)
    token = newest(house, server)
    secret = token.split("_", 2)[2]
    assert confirm(house, f"{token[:-4]}AAAA") == REFUSED
    assert confirm(house, token) == DONE
    assert secret not in house.log_lines.getvalue()
    assert "alice@example.com" not in house.log_lines.getvalue()
    owner = house.database.owner()
    with owner.connect() as connection:
        for table in schema.metadata.sorted_tables:
            assert secret not in repr([tuple(row) for row in connection.execute(sa.select(table))]), table.name
    owner.dispose()


def test_no_order_of_calls_sets_a_password_without_the_token(one: House, server: MailServer) -> None:
    """CVE-2026-18963: whatever a stranger asks for in whatever order, the mailbox is the only way."""
    one.user("alice")
    stranger = one.client()
    calls = [
        lambda: stranger.post(RESET, {"email": "alice@example.com"}),
        lambda: stranger.post(CONFIRM, {"token": f"payymo_{'0' * 32}_{'A' * 43}", "new_password": NEW}),
        lambda: stranger.post(VERIFY, {"token": f"payymo_{'0' * 32}_{'A' * 43}"}),
        lambda: stranger.register(password=NEW),
    ]
    for order in permutations(calls):
        for call in order:
            assert call().status_code in {202, 422}
        deliver(one)
    assert said(stranger.log_in(password=NEW)) == WRONG
    assert stranger.log_in().status_code == 200


def test_nobody_says_of_themselves_that_they_are_verified() -> None:
    """CVE-2026-27946, CVE-2026-54693: no body of any route has a member for it."""
    members = {name for route in list_routes() if route.body is not None for name in route.body.model_fields}
    assert not {name for name in members if "verif" in name}


# ── changes by the user ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_changed_password_ends_all_other_sessions(house: House, server: MailServer) -> None:
    """This one goes on; those of other users do, too; the user hears of it."""
    house.user("alice")
    house.user("bob")
    bob = house.logged_in("bob")
    others, this = [house.logged_in(), house.logged_in()], house.logged_in()
    assert said(this.post(CHANGE_PASSWORD, {"current_password": "wrong password 1", "new_password": NEW})) == WRONG
    assert said(this.post(CHANGE_PASSWORD, {"current_password": PASSWORD, "new_password": NEW})) == DONE
    for other in others:
        assert other.get("/api/auth/me").status_code == 401
        assert other.refresh().status_code == 401
    assert this.get("/api/auth/me").status_code == 200
    assert this.refresh().status_code == 200
    assert bob.get("/api/auth/me").status_code == 200
    deliver(house)
    assert subjects(server) == ["Your password was changed"]


def test_a_login_of_a_moment_ago_stands_for_the_password(one: House) -> None:
    """For five minutes, to the second; afterwards the password is asked for (RFC 9470)."""
    one.user("alice")
    client = one.logged_in()
    one.clock.advance(300)
    assert said(client.post(CHANGE_PASSWORD, {"new_password": NEW})) == DONE
    one.clock.advance(1)
    answer = client.post(CHANGE_PASSWORD, {"new_password": PASSWORD})
    assert said(answer) == (401, "insufficient_user_authentication")
    assert 'error="insufficient_user_authentication", max_age="300"' in answer.headers["WWW-Authenticate"]
    refused = client.post(CHANGE_EMAIL, {"new_email": "new@example.com"})
    assert said(refused) == (401, "insufficient_user_authentication")


def test_an_address_changes_when_its_new_owner_says_so(house: House, server: MailServer) -> None:
    """The link goes to the new address, the notice to the old one; the old address logs nobody in any more."""
    house.user("alice")
    client = house.logged_in()
    body = {"new_email": "new@example.com", "current_password": PASSWORD}
    assert client.post(CHANGE_EMAIL, body | {"current_password": "wrong password 1"}).status_code == 401
    assert client.post(CHANGE_EMAIL, body).status_code == 202
    token = newest(house, server)
    assert server.recipients == ["new@example.com"]
    assert house.client().log_in().status_code == 200
    assert said(house.client().post(CONFIRM_EMAIL, {"token": token})) == DONE
    assert said(house.client().log_in()) == WRONG
    assert house.client().log_in("new@example.com").status_code == 200
    deliver(house)
    assert server.recipients == ["new@example.com", "alice@example.com"]
    assert said(house.client().post(CONFIRM_EMAIL, {"token": token})) == REFUSED


def test_asking_for_an_address_tells_nobody_whether_it_is_taken(house: House, server: MailServer) -> None:
    """Allauth 0.63.3: the answer is the same; only who reads the mailbox learns it. The link is not used up by that."""
    house.user("alice")
    house.user("bob")
    client = house.logged_in()
    answers = [
        client.post(CHANGE_EMAIL, {"new_email": f"{name}@example.com"}).get_data() for name in ("free", "BOB", "alice")
    ]
    assert len(set(answers)) == 1
    deliver(house)
    client.post(CHANGE_EMAIL, {"new_email": "bob@example.com"})
    token = newest(house, server)
    assert said(house.client().post(CONFIRM_EMAIL, {"token": token})) == (422, "already_taken")
    assert said(house.client().post(CONFIRM_EMAIL, {"token": token})) == (422, "already_taken")


def test_a_login_from_elsewhere_is_told(one: House, server: MailServer) -> None:
    """From an address or a device that was not seen before; not the first login of all, and not a known one."""
    one.user("alice")

    def log_in(address: str, agent: str) -> int:
        client = one.client(headers={"User-Agent": agent})
        client.http.environ_base["REMOTE_ADDR"] = address
        assert client.log_in().status_code == 200
        before_it = len(server.received)
        deliver(one)
        return len(server.received) - before_it

    assert log_in("192.0.2.1", "one") == 0
    assert log_in("192.0.2.1", "one") == 0
    assert log_in("192.0.2.2", "one") == 1
    assert log_in("192.0.2.1", "two http://evil.example") == 1
    assert log_in("2001:db8::1", "one") == 1
    assert log_in("2001:db8::2", "one") == 0
    assert "evil" not in "".join(text_of(mail) for mail in server.received)
    assert "192.0.2.2" in text_of(server.received[0])


# ── force, limits, and where there is no mail ────────────────────────────────────────────────────────────────────────


def test_a_forced_reset_shuts_the_old_password_out_at_once(house: House, server: MailServer) -> None:
    """Bland, like any wrong one; sessions are over; the link in the mail is the way back in, and it lives a day."""
    house.user("root", roles=("platform-administrator",))
    victim = house.user("alice")
    session, root = house.logged_in(), house.logged_in("root")
    answer = root.post(f"/api/admin/users/{victim.id}/force-reset")
    assert (answer.status_code, answer.get_json()) == (200, {"data": {"mail_sent": True}})
    assert said(house.client().log_in()) == WRONG
    assert session.refresh().status_code == 401
    token = newest(house, server)
    house.clock.advance(24 * HOUR - 1)
    assert confirm(house, token) == DONE
    assert house.client().log_in(password=NEW).status_code == 200


def test_a_forced_reset_that_dies_anywhere_is_done_or_not(one: House, server: MailServer) -> None:
    """Invariant 9: never a user without a way back in, never a link without the old password's end."""
    user = one.user("alice")

    def die() -> None:
        raise RuntimeError

    with (
        pytest.raises(RuntimeError),
        before(one, lambda statement: statement.startswith("INSERT INTO mails"), die),
    ):
        one.services.administration.force_reset(one.default.id, user.id, by=None, trace=Trace())
    assert one.client().log_in().status_code == 200
    deliver(one)
    assert server.received == []


def test_letters_to_one_address_are_limited_without_saying_so(sqlite_database: Database, server: MailServer) -> None:
    """Whoever fills somebody's mailbox is answered as ever; spelling the address in capitals is no other address."""
    house = build(sqlite_database, server, limits={"login": "", "registration": "", "mail": "3/hour"})
    house.user("alice")
    for email in ("alice@example.com", "ALICE@example.com", "Alice@Example.com", "alice@EXAMPLE.com"):
        ask_for_reset(house, email)
    assert house.client().register("alice").status_code == 202
    deliver(house)
    assert len(server.received) == 3
    house.close()


def test_who_looks_for_a_good_password_uses_up_no_letters(sqlite_database: Database, server: MailServer) -> None:
    """A registration that is refused sends none: the letter that counts came no more, and nobody was told."""
    house = build(sqlite_database, server, limits={"registration": "", "mail": "1/hour"})
    for password in ("short", "alice", "password1234", ""):
        assert house.client().register(password=password).status_code == 422
    assert house.client().register().status_code == 202
    deliver(house)
    assert len(server.received) == 1
    house.close()


def test_links_for_another_address_are_letters_to_it_too(database: Database, server: MailServer) -> None:
    """Accounts are there for the asking: however many of them name one mailbox, of whatever tenant the request is."""
    house = build(database, server, limits={"login": "", "registration": "", "mail": "3/hour"})
    acme = house.tenant("acme")
    house.user("victim")
    answers = set()
    for number in range(3):
        house.user(f"user{number}", tenant=acme)
        client = house.logged_in(f"user{number}", tenant=acme)
        del client.headers["X-Tenant"]  # the token says it
        for email in ("victim@example.com", "Victim@EXAMPLE.com"):
            answer = client.post(CHANGE_EMAIL, {"new_email": email, "current_password": PASSWORD})
            answers.add((answer.status_code, answer.get_data()))
    assert answers == {(202, b'{"data":{}}')}
    deliver(house)
    assert [to.lower() for to in server.recipients] == ["victim@example.com"] * 3
    ask_for_reset(house, "victim@example.com")  # in the default tenant, which has letters of its own
    deliver(house)
    assert len(server.received) == 4
    house.close()


def test_a_stranger_who_uses_up_somebodys_letters_keeps_them_from_none(database: Database, server: MailServer) -> None:
    """A device that has logged in has letters of its own to ask for, and no more than anybody; another's has none."""
    house = build(
        database,
        server,
        lockout={"enabled": True},
        limits={"login": "", "registration": "", "mail": "2/hour"},
    )
    house.user("alice")
    house.user("bob")
    alice, bob = house.logged_in("alice"), house.logged_in("bob")
    deliver(house)
    server.received.clear()

    def letters(client: Client) -> int:
        assert client.post(RESET, {"email": "alice@example.com"}).status_code == 202
        deliver(house)
        return len(server.received)

    assert [letters(house.client()) for _ in range(4)] == [1, 2, 2, 2]
    assert letters(bob) == 2
    assert [letters(alice) for _ in range(4)] == [3, 4, 4, 4]
    house.close()


def test_a_cookie_learns_nothing_of_other_addresses(database: Database, server: MailServer) -> None:
    """A known device, one of another tenant and one that was made up: the same for its own address, others and none."""
    house = build(
        database, server, lockout={"enabled": True}, limits={"login": "", "registration": "", "mail": "50/hour"}
    )
    other = house.tenant("other")
    for name in ("alice", "bob"):
        house.user(name)
    house.user("alice", tenant=other)
    known, elsewhere, forged = house.logged_in("bob"), house.logged_in(tenant=other), house.client()
    name = f"payymo-device-{house.default.id.hex[:12]}"
    bobs = known.http.get_cookie(name)
    assert bobs is not None
    forged.http.set_cookie(name, bobs.value[:-4] + ("AAAA" if bobs.value[-4:] != "AAAA" else "BBBB"))
    statements: list[list[str]] = []

    def count(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements[-1].append(statement)

    sa.event.listen(house.services.engine, "before_cursor_execute", count)  # after two, which find a key of the tenant
    for client in (known, forged, elsewhere):
        told = []
        for email in ("warm", "warmer", "bob", "alice", "nobody", "not an address"):
            statements.append([])
            answer = client.post(RESET, {"email": f"{email}@example.com"})
            told.append((answer.status_code, answer.get_data(), sorted(answer.headers.keys()), statements[-1]))
        assert all(one == told[2] for one in told[3:])
    sa.event.remove(house.services.engine, "before_cursor_execute", count)
    house.close()


def test_without_mail_nobody_is_promised_any(sqlite_house: House) -> None:
    """What is done by mail alone is refused for everybody alike; a changed password needs none."""
    user: User = sqlite_house.user("alice")
    client = sqlite_house.logged_in()
    for path, body in ((RESET, {"email": "alice@example.com"}), (CHANGE_EMAIL, {"new_email": "new@example.com"})):
        assert said(client.post(path, body)) == (403, "mail_off")
    assert said(client.post(RESET, {"email": "nobody@example.com"})) == (403, "mail_off")
    assert said(client.post(CHANGE_PASSWORD, {"current_password": PASSWORD, "new_password": NEW})) == DONE
    force = sqlite_house.services.administration.force_reset
    assert force(sqlite_house.default.id, user.id, by=None, trace=Trace()) is False
    assert said(client.log_in(password=NEW)) == WRONG


@pytest.mark.parametrize("act", ["registration", "change"])
def test_an_address_that_was_stopped_before_it_was_anybodys_opens_with_its_link(
    sqlite_database: Database, server: MailServer, act: str
) -> None:
    """Nobody was told of the stop, and it never ends by itself: who is shown to have the address begins anew."""
    house = build(sqlite_database, server, lockout={"enabled": True, "failures": 1, "stop": 2})
    for status in (401, 401, 429):
        assert house.client().log_in("new@example.com", NEW).status_code == status
        house.clock.advance(30)
    if act == "registration":
        house.client().register("new")
        path = VERIFY
    else:
        house.user("alice")
        asked = {"new_email": "new@example.com", "current_password": PASSWORD}
        assert house.logged_in().post(CHANGE_EMAIL, asked).status_code == 202
        path = CONFIRM_EMAIL
    assert house.client().post(path, {"token": newest(house, server)}).status_code == 200
    assert house.client().log_in("new@example.com").status_code == 200
    house.close()


def test_mail_of_a_tenant_bears_its_display_name(house: House, server: MailServer) -> None:
    """As long as it has one, from the address that the operator has set; and no other tenant's does."""
    acme, brands = house.tenant("acme"), house.services.brands
    brands.set(acme.id, "Acme & Söhne", "#c81e3c", by=None, trace=Trace())
    for tenant in (acme, house.default):
        house.user("alice", tenant=tenant)
        house.client(tenant=tenant.slug).post(RESET, {"email": "alice@example.com"})
    deliver(house)
    brands.remove(acme.id, by=None, trace=Trace())
    house.client(tenant="acme").post(RESET, {"email": "alice@example.com"})
    deliver(house)
    senders = [mail["From"].addresses[0] for mail in server.received]
    usual = house.services.outbox.sender_of(house.default.id)
    assert sorted(sender.display_name for sender in senders) == sorted(["Acme & Söhne", usual.name, usual.name])
    assert {sender.addr_spec for sender in senders} == {usual.address}
    [branded] = [mail for mail in server.received if mail["From"].addresses[0].display_name == "Acme & Söhne"]
    assert "Acme & Söhne" in text_of(branded)
    assert "border-top: 4px solid #c81e3c" in branded.get_body(("html",)).get_content()  # type: ignore[union-attr]
