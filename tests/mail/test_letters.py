"""What letters look like, in every language, whatever strangers put into them."""

import typing
import uuid
from email import message_from_bytes
from email.header import decode_header, make_header
from email.policy import default
from email.utils import getaddresses
from typing import Any

import pytest

from payymo.db import schema
from payymo.errors import InvalidInput
from payymo.languages import list_codes
from payymo.mail.letters import Letter, Letters
from payymo.mail.model import Kind, Sender, wait_seconds
from payymo.wording import Language, language_of, list_languages, make_language
from tests.support.translations import Pseudo, without_brackets

FACTS = {
    "link": "https://auth.example.com/x#token=t&tenant=default",
    "life": "3600",
    "when": "1800000000",
    "until": "1800003600",
    "administrator": "boss",
    "address": "192.0.2.1",
    "username": "alice",
}
SENDER = Sender("no-reply@example.com", "Payymo")
ENGLISH, GERMAN = (list_languages()[code] for code in ("en", "de"))


@pytest.mark.parametrize("language", list_languages().values(), ids=list_languages())
@pytest.mark.parametrize("kind", typing.get_args(Kind))
def test_every_letter_can_be_written(kind: str, language: Language) -> None:
    """Each kind has its template, a subject, and every word of its text in both forms; HTML says in which language."""
    letters = Letters()
    letter = letters.write(kind, FACTS, name="Acme", language=language)
    assert 10 < len(letter.subject) < 60
    assert len(letter.paragraphs) == len(letters.write(kind, FACTS, name="Acme", language=ENGLISH).paragraphs)
    mail = letters.render(letter, mail_id=uuid.UUID(int=1), to="a@example.com", sender=SENDER, created_at=0)
    plain, page = (mail.get_body((form,)) for form in ("plain", "html"))
    assert plain is not None
    assert page is not None
    for paragraph in letter.paragraphs:
        assert paragraph in plain.get_content()
    assert "{{" not in page.get_content()
    assert "%(" not in page.get_content()
    assert f'<html lang="{language.code}">' in page.get_content()
    assert mail.as_bytes().isascii()


@pytest.mark.parametrize("kind", typing.get_args(Kind))
def test_every_word_of_every_letter_can_be_translated(kind: str) -> None:
    """Whatever is no fact stands in the catalogues: told in a language of brackets, nothing is left outside of them."""
    letter = Letters().write(kind, FACTS, name="Acme", language=make_language("de", Pseudo()))
    assert without_brackets(letter.subject).split() == []
    left = "".join(without_brackets(text) for text in letter.paragraphs).split()
    assert left == ([FACTS["link"]] if FACTS["link"] in letter.paragraphs else [])


def test_every_code_of_a_language_can_be_kept() -> None:
    """Of users and of tenants; one that is gone since is English."""
    for column in (schema.users.c.language, schema.tenant_brands.c.language):
        assert max(map(len, list_codes())) <= column.type.length
    assert [language_of(*wishes).code for wishes in (("xx", "de"), ("xx", None), ())] == ["de", "en", "en"]


def test_times_are_written_as_the_readers_language_does() -> None:
    """And all in UTC."""
    for language, shown, life in (
        (ENGLISH, "at 15 Jan 2027, 08:00 UTC", "within 1 hour"),
        (GERMAN, "am 15.01.2027, 08:00 UTC", "1 Stunde lang"),
    ):
        text = " ".join(Letters().write("account-locked", FACTS, name="Acme", language=language).paragraphs)
        assert shown in text
        assert life in text


def test_a_fact_becomes_no_header_paragraph_or_markup() -> None:
    """Whatever a stranger has chosen stays one line of text; an address that is two headers is no address."""
    letters = Letters()
    hostile = "x\r\nBcc: all@example.com\r\n\r\n<script>alert(1)</script>"
    letter = letters.write("username-taken", {"username": hostile}, name="A\nB", language=GERMAN)
    mail = letters.render(letter, mail_id=uuid.UUID(int=1), to="a@example.com", sender=SENDER, created_at=0)
    assert mail["Bcc"] is None
    assert len(letter.paragraphs) == 2
    page = mail.get_body(("html",))
    assert page is not None
    assert "<script>" not in page.get_content()
    for wrong in (
        {"to": "a@example.com\r\nBcc: b@example.com"},
        {"letter": Letter("x\r\nBcc: b@example.com", (), "en")},
    ):
        given = {
            "letter": letter,
            "mail_id": uuid.UUID(int=1),
            "to": "a@example.com",
            "sender": SENDER,
            "created_at": 0,
        }
        with pytest.raises(ValueError, match=r".+"):
            letters.render(**(given | wrong))  # type: ignore[arg-type]
    for address, name in (
        ("a@example.com", "A\r\nB"),
        ("a@b@c", "A"),
        ("a@example.com\n", "A"),
        ("a@example.com", " "),
    ):
        with pytest.raises(InvalidInput):
            Sender(address, name)


@pytest.mark.parametrize(
    ("language", "subject"), [(ENGLISH, "Your account at"), (GERMAN, "Ihr Konto bei")], ids=["en", "de"]
)
@pytest.mark.parametrize(
    "word",
    [
        "=?utf-8?q?A=0D=0ABcc=3A_all=40example.com?=",
        "=?utf-8?q?A=0D=0A=0D=0AText?=",
        "=?utf-8?b?4oCuYWJj?=",  # turns the direction of what follows
        "==?utf-8?q?=0AX=3A_y?=",
        'x", =?utf-8?q?=0AX=3A_y?=',
    ],
)
def test_nothing_in_a_name_is_decoded_into_a_header(word: str, language: Language, subject: str) -> None:
    """RFC 2047 words are printable, and hide what is not: of a tenant's name none is one, in `From` and `Subject`."""
    letters = Letters()
    letter = letters.write("invitation", FACTS, name=word, language=language)
    sender = Sender("no-reply@example.com", word)
    mail = letters.render(letter, mail_id=uuid.UUID(int=1), to="a@example.com", sender=sender, created_at=0)
    seen = message_from_bytes(mail.as_bytes(), policy=default)
    names = ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"]
    assert seen.keys() == names
    shown = word.replace("=?", "= ?")
    assert seen["Subject"] == f"{subject} {shown}"
    assert [(one.display_name, one.addr_spec) for one in seen["From"].addresses] == [(shown, sender.address)]
    assert word in "".join(letter.paragraphs)


@pytest.mark.parametrize(
    "name",
    [
        *("Payymo", "Smith, Jones & Partners (UK) Ltd.", "a b " * 24 + "c", "Acme, Inc. " * 9),
        "ceo@bank.example, " + '"' * 42,
        "ceo@bank.example, " + "\\" * 42,
        *("ceo@bank.example <ceo@bank.example>, " * 2 + "x", "a;b:c," * 16),
        *("Grüße, " * 14, "😀" * 100, "ü," + "x" * 98),
    ],
)
def test_a_name_is_one_name_of_one_sender_however_long_it_is(name: str) -> None:
    """RFC 5322 §3.6.2: who may choose what a tenant is called does not choose a second sender of its letters."""
    sender = Sender("no-reply@example.com", name)
    mail = Letters().render(
        Letter("Hello", ("x",), "en"), mail_id=uuid.UUID(int=1), to="a@example.com", sender=sender, created_at=0
    )
    seen = message_from_bytes(mail.as_bytes(), policy=default)
    assert [one.addr_spec for one in seen["From"].addresses] == [sender.address]
    [(phrase, _)] = getaddresses([message_from_bytes(mail.as_bytes())["From"].replace("\r\n", "")])
    assert str(make_header(decode_header(phrase))).strip() == name.strip()
    head = mail.as_bytes().partition(b"\r\n\r\n")[0]
    assert max(map(len, head.split(b"\r\n"))) < 998
    assert all(len(word) <= 75 for word in head.split() if word.startswith(b"=?"))


def test_waits_double_up_to_an_hour() -> None:
    """Between the half and the whole, so that what failed together does not come back together."""
    assert [wait_seconds(attempts, 1.0) for attempts in (1, 2, 3, 4, 11, 12, 1000)] == [5, 10, 20, 40, 3600, 3600, 3600]
    assert [wait_seconds(attempts, 0.0) for attempts in (1, 2, 11)] == [2, 5, 1800]


def test_a_brand_gives_a_letter_its_name_and_a_line_of_its_colour() -> None:
    """Both are escaped, the From line holds one address, and text is written in no colour of the tenant's."""
    letters, name = Letters(), 'Evil" <ceo@bank.example>, & <b>Söhne'
    letter = letters.write("verify-email", FACTS, name=name, language=ENGLISH)
    sender = Sender("no-reply@example.com", name)
    given: Any = {"mail_id": uuid.UUID(int=1), "to": "a@example.com", "sender": sender, "created_at": 0}
    mail = letters.render(letter, accent="#ffff00", **given)
    assert [(found.display_name, found.addr_spec) for found in mail["From"].addresses] == [(name, sender.address)]
    assert mail.as_bytes().isascii()
    page = mail.get_body(("html",))
    assert page is not None
    assert "<b>" not in page.get_content()
    assert page.get_content().count("#ffff00") == 1
    assert "border-top: 4px solid #ffff00" in page.get_content()
    assert "border-top" not in str(letters.render(letter, **given).get_body(("html",)))
