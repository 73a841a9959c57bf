"""Settings for mail and links: what is refused at the start, and what production refuses."""

import io
from pathlib import Path
from typing import Any

import pytest

from payymo.config import Settings, read_settings
from payymo.entropy import Entropy
from payymo.errors import Misconfigured
from payymo.mail.letters import Letters
from payymo.mail.model import Sender
from payymo.mail.transports import ConsoleTransport, FolderTransport
from payymo.policies import link_policy, mail_policy, mail_transport
from payymo.production import reasons_against_production
from payymo.wording import language_of
from tests.support.house import Database, House
from tests.support.mail import text_of

SMTP: dict[str, Any] = {"host": "smtp.example.com", "sender": "a@example.com"}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"registration": {"verify_email": "required"}}, "PAYYMO_REGISTRATION: VERIFY_EMAIL is required, and no mail"),
        ({"mail": {"host": "smtp.example.com"}}, "PAYYMO_MAIL: host and sender have to be set"),
        ({"mail": {"transport": "smtp", "sender": "a@example.com"}}, "PAYYMO_MAIL: host and sender have to be set"),
        ({"mail": SMTP | {"user": "u"}}, "PAYYMO_MAIL: user and password: both or neither"),
        ({"mail": {"transport": "file:"}}, "PAYYMO_MAIL__TRANSPORT"),
        ({"mail": {"transport": "pigeon"}}, "PAYYMO_MAIL__TRANSPORT"),
        ({"links": {"base_url": "https://a.example/?x=1"}}, "PAYYMO_LINKS__BASE_URL: write https://HOST/PATH"),
        ({"links": {"unlock": "https://a.example/#x"}}, "PAYYMO_LINKS__UNLOCK: write https://HOST/PATH"),
        ({"links": {"unlock": "javascript:alert(1)"}}, "PAYYMO_LINKS__UNLOCK: write https://HOST/PATH"),
        ({"links": {"unlock": "https://user@evil.example/"}}, "PAYYMO_LINKS__UNLOCK: write https://HOST/PATH"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(given: dict[str, Any], reason: str) -> None:
    """With a sentence that names the setting."""
    with pytest.raises(Misconfigured, match=reason):
        read_settings({}, **given)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sender": "no address"}, "PAYYMO_MAIL__SENDER: an e-mail address"),
        ({"sender_name": "A\r\nBcc: b@example.com"}, "PAYYMO_MAIL__SENDER_NAME: 1 to 100 printable"),
        ({"ca_file": Path("/nowhere.pem")}, "PAYYMO_MAIL__CA_FILE"),
    ],
)
def test_mail_that_could_not_be_sent_is_refused_at_the_start(change: dict[str, Any], reason: str) -> None:
    """Not at the first letter."""
    mail = Settings(mail=SMTP | change).mail
    with pytest.raises(Misconfigured, match=reason):
        _ = mail_policy(mail), mail_transport(mail, Entropy())


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"mail": {"transport": "console"}}, "PAYYMO_MAIL__TRANSPORT"),
        ({"mail": {"transport": "file:/var/mail"}}, "PAYYMO_MAIL__TRANSPORT"),
        ({"mail": SMTP | {"tls": "off"}}, "PAYYMO_MAIL__TLS"),
        ({"links": {"reset_password": "http://a.example/reset"}}, "PAYYMO_LINKS__"),
    ],
)
def test_production_refuses_mail_that_others_read(given: dict[str, Any], reason: str) -> None:
    """A link is as good as a password: neither a console nor a network in plain sees it."""
    sound: dict[str, Any] = {"env": "production", "issuer": "https://auth.example.com"}
    assert [found for found in reasons_against_production(Settings(**sound, **given)) if reason in found]
    fine = Settings(**sound, mail=SMTP | {"host": "127.0.0.1", "tls": "off"}, links={"unlock": "https://a.example/u"})
    assert [found for found in reasons_against_production(fine) if "MAIL" in found or "LINKS" in found] == []


def test_links_lead_to_the_issuer_unless_something_else_is_said() -> None:
    """Each page on its own."""
    given = Settings(issuer="https://auth.example.com/", links={"unlock": "https://app.example.com/u"})
    assert link_policy(given).pages == {
        "verify-email": "https://auth.example.com/verify-email",
        "change-email": "https://auth.example.com/change-email",
        "reset-password": "https://auth.example.com/reset-password",
        "unlock": "https://app.example.com/u",
    }


def test_a_developer_finds_the_link(sqlite_database: Database, tmp_path: Path) -> None:
    """In a folder that nobody else reads, or on the console; once, however often it is sent."""
    folder = tmp_path / "mail"
    house = House(sqlite_database, mail={"transport": f"file:{folder}"})
    house.user("alice")
    assert house.client().post("/api/auth/password/reset", {"email": "alice@example.com"}).status_code == 202
    sum(iter(house.services.courier.deliver_due, 0))
    [found] = folder.iterdir()
    assert b"#token=3Dpayymo_" in found.read_bytes()
    assert (folder.stat().st_mode & 0o777, found.stat().st_mode & 0o777) == (0o700, 0o600)
    house.close()

    letters, stream = Letters(), io.StringIO()
    sender, mail_id = Sender("a@example.com", "A"), Entropy().uuid()
    letter = letters.write("test", {}, name="A", language=language_of())
    mail = letters.render(letter, mail_id=mail_id, to="b@c.example", sender=sender, created_at=0)
    ConsoleTransport(stream).send(mail)
    assert text_of(mail) in stream.getvalue()
    for _ in range(2):
        FolderTransport(folder, Entropy()).send(mail)
    assert len(list(folder.iterdir())) == 2
