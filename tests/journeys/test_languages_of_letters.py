"""In which language a letter is: its reader's own, else the tenant's, else English; over HTTP and by real mail."""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from payymo.logs import Trace
from tests.support.house import PASSWORD, Database, House
from tests.support.mail import MailServer, deliver, mail_server, text_of

RESET = "/api/auth/password/reset"
SUBJECTS = {"en": "Choose a new password", "de": "Neues Passwort wählen"}


@pytest.fixture
def server() -> Iterator[MailServer]:
    """A mail server on the loopback."""
    with mail_server() as found:
        yield found


def build(database: Database, server: MailServer) -> House:
    return House(database, mail=server.settings(), registration={"verify_email": "required"})


@pytest.fixture
def house(database: Database, server: MailServer) -> Iterator[House]:
    """A service that sends mail and wants addresses verified."""
    built = build(database, server)
    yield built
    built.close()


def dress(house: House, language: str | None) -> None:
    """Give the default tenant a brand with this language."""
    house.services.brands.set(house.default.id, "Acme", None, language=language, by=None, trace=Trace())


def ask_for_reset(house: House, name: str = "alice") -> None:
    assert house.client().post(RESET, {"email": f"{name}@example.com"}).status_code == 202


def newest_subject(house: House, server: MailServer) -> str:
    """Of the newest letter, once everything has been delivered."""
    deliver(house)
    return str(server.received[-1]["Subject"])


def test_a_letter_is_in_the_tenants_language(house: House, server: MailServer) -> None:
    """Subject, text and HTML, which says so; of another tenant, or without a brand, it is English."""
    house.user("alice")
    ask_for_reset(house)
    assert newest_subject(house, server) == SUBJECTS["en"]
    dress(house, "de")
    house.clock.advance(61)
    ask_for_reset(house)
    assert newest_subject(house, server) == SUBJECTS["de"]
    mail = server.received[-1]
    assert "1 Stunde lang" in text_of(mail)
    assert '<html lang="de">' in mail.get_body(("html",)).get_content()  # type: ignore[union-attr]
    other = house.tenant("other")
    house.user("alice", tenant=other)
    assert house.client(tenant="other").post(RESET, {"email": "alice@example.com"}).status_code == 202
    assert newest_subject(house, server) == SUBJECTS["en"]


def test_a_letter_that_waits_stays_in_its_language(house: House, server: MailServer) -> None:
    """It was chosen when the letter was written; the name and the colour are those of the day it goes out."""
    house.user("alice")
    dress(house, "de")
    ask_for_reset(house)
    server.answers["RCPT"] = ["451 come again"]
    house.services.courier.deliver_due()
    assert server.received == []
    dress(house, None)
    house.clock.advance(60)
    assert newest_subject(house, server) == SUBJECTS["de"]


def test_a_test_mail_is_in_the_tenants_language(house: House, server: MailServer) -> None:
    """It shows what others will get."""
    dress(house, "de")
    house.services.courier.send_test("root@example.com", house.default.id)
    assert server.received[-1]["Subject"] == "Test der Mail-Einstellungen"


def test_who_registers_is_written_to_in_the_language_they_give(house: House, server: MailServer) -> None:
    """From the first letter on, whatever the tenant's is; who has the address already, in theirs."""
    dress(house, "de")
    for name, language, subject in (
        ("alice", "en", "Confirm your e-mail address"),
        ("berta", "de", "Bestätigen Sie Ihre E-Mail-Adresse"),
        ("carla", None, "Bestätigen Sie Ihre E-Mail-Adresse"),
    ):
        assert register(house, name, name, language) == 202
        assert newest_subject(house, server) == subject
        assert server.recipients[-1] == f"{name}@example.com"
    register(house, "nobody", "alice", "en")
    assert newest_subject(house, server) == "Choose another user name"
    house.user("dora")
    register(house, "dora", "other", "en")
    assert newest_subject(house, server) == "Sie haben schon ein Konto"
    register(house, "alice", "other", "de")
    assert newest_subject(house, server) == "Choose your password"


def register(house: House, name: str, username: str, language: str | None) -> int:
    body = {"email": f"{name}@example.com", "username": username, "password": PASSWORD, "language": language}
    return house.client().post("/api/auth/register", body).status_code


@pytest.mark.parametrize("act", ["registration", "reset"])
def test_nobody_learns_from_a_language_who_has_an_account(house: House, server: MailServer, act: str) -> None:
    """The same bytes after the same statements: for users with a language, without one, and for nobody."""
    dress(house, "de")
    register(house, "alice", "alice", "en")
    house.user("bob")
    deliver(house)
    statements: list[list[str]] = []

    def count(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements[-1].append(statement)

    sa.event.listen(house.services.engine, "before_cursor_execute", count)
    answers = set()
    for name in ("alice", "bob", "nobody"):
        for language in ("en", "de", None):
            statements.append([])
            client = house.client(headers={"Accept-Language": language or "fr"})
            body = {"email": f"{name}@example.com"}
            if act == "registration":
                body |= {"username": name, "password": PASSWORD} | ({"language": language} if language else {})
            answer = client.post("/api/auth/register" if act == "registration" else RESET, body)
            answers.add((answer.status_code, answer.get_data()))
    sa.event.remove(house.services.engine, "before_cursor_execute", count)
    assert answers == {(202, b'{"data":{}}')}
    assert all(found == statements[0] for found in statements)


def test_an_unknown_language_is_a_field_error(house: House, server: MailServer) -> None:
    """Of a closed list, and before anything is written down."""
    for wrong in ("", "xx", "de-AT", "x" * 5_000, 1, ["de"]):
        body = {"email": "a@example.com", "username": "alice", "password": PASSWORD, "language": wrong}
        answer = house.client().post("/api/auth/register", body)
        assert answer.status_code == 422
        assert [problem["pointer"] for problem in answer.get_json()["errors"]] == ["/language"]
    assert deliver(house) == 0


def test_an_administrator_gives_a_new_user_a_language(house: House, server: MailServer) -> None:
    """With the account that they make."""
    house.user("root", roles=("platform-administrator",))
    body = {"email": "alice@example.com", "username": "alice", "password": PASSWORD, "language": "de"}
    assert house.logged_in("root").post("/api/admin/users", body).status_code == 201
    ask_for_reset(house)
    assert newest_subject(house, server) == SUBJECTS["de"]


def test_every_letter_to_a_user_is_in_their_language(house: House, server: MailServer) -> None:
    """Of what they do, of what others do to them, and to an address that is to become theirs."""
    house.user("root", roles=("platform-administrator",))
    register(house, "alice", "alice", "de")
    deliver(house)
    client, user = house.client(), house.services.users.get_by_email(house.default.id, "alice@example.com")
    assert client.post("/api/auth/email/verify", {"token": server.links()[-1]}).status_code == 200
    client.log_in()
    asked = {"new_email": "new@example.com", "current_password": PASSWORD}
    assert client.post("/api/auth/email/change", asked).status_code == 202
    assert newest_subject(house, server) == "Bestätigen Sie Ihre neue E-Mail-Adresse"
    changed = {"current_password": PASSWORD, "new_password": f"{PASSWORD} 2"}
    assert client.post("/api/auth/password/change", changed).status_code == 200
    assert newest_subject(house, server) == "Ihr Passwort wurde geändert"
    assert house.logged_in("root").post(f"/api/admin/users/{user.id}/force-reset").status_code == 200
    assert newest_subject(house, server) == SUBJECTS["de"]


def test_an_invitation_is_in_the_tenants_language(house: House, server: MailServer) -> None:
    """Nobody knows that of who is invited."""
    dress(house, "de")
    house.services.invitations.invite(
        house.default.id, email="new@example.com", username="new", roles=("member",), by=None, trace=Trace()
    )
    assert newest_subject(house, server) == "Ihr Konto bei Acme"


def test_who_is_warned_of_guesses_reads_it_in_their_language(sqlite_database: Database, server: MailServer) -> None:
    """Whatever the browser of who guesses asks for."""
    lockout = {"enabled": True, "failures": 1, "stop": 2}
    house = House(sqlite_database, mail=server.settings(), lockout=lockout)
    body = {"email": "alice@example.com", "username": "alice", "password": PASSWORD, "language": "de"}
    assert house.client().post("/api/auth/register", body).status_code == 201
    for _ in range(2):
        assert house.client(headers={"Accept-Language": "en"}).log_in(password="wrong").status_code == 401
        house.clock.advance(30)
    house.services.lockouts.tell_due()
    deliver(house)
    told = {str(mail["Subject"]) for mail in server.received}
    assert told == {"Jemand probiert Passwörter an Ihrem Konto", "Ihr Konto ist gesperrt"}
    house.close()
