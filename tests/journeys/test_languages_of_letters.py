"""In which language a letter is: its reader's own, else the tenant's, else English; over HTTP and by real mail."""

from collections.abc import Iterator

import pytest

from payymo.logs import Trace
from tests.support.house import Database, House
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
