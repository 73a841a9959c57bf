"""One mailbox has one spelling, and two mailboxes never have the same."""

import pytest

from payymo.errors import AlreadyTaken, InvalidInput
from payymo.logs import Trace
from payymo.users.model import canonical_email
from tests.support.house import PASSWORD, House


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A.B+x@EXAMPLE.com", "a.b+x@example.com"),
        ("a@XN--BCHER-KVA.example", "a@xn--bcher-kva.example"),
        ("a@xn--bcher-kva.example", "a@xn--bcher-kva.example"),
        ("ab@example.com", "ab@example.com"),
        ("a@intranet.corp", "a@intranet.corp"),
    ],
)
def test_an_address_is_compared_in_small_letters_and_a_labels(text: str, expected: str) -> None:
    """Dots and tags in the local part are the mailbox's own business: they are kept."""
    assert canonical_email(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "a@bücher.example",  # one spelling for one domain: the A-label
        "а@example.com",  # CVE-2019-19844: a Cyrillic letter in the local part
        "mıke@example.org",  # dotless i
        "\N{KELVIN SIGN}ate@example.com",
        "ａ@example.com",  # full width
        "e\N{COMBINING ACUTE ACCENT}@example.com",
        "a@xn--80ak6aa92e.com",  # аррӏе, all of it Cyrillic
        "a@xn--80aa4bbmbb15i.com",  # сосасоӏа, with the letter that is drawn like c
        "a@xn--pple-43d.com",  # аpple, one letter of it
        "a@xn--q1a5a.example",  # ёс, with marks as ëc would have
        "a@xn--vxa9a.example",  # όκ
        "a@xn--ep-vlcqng.example",  # примep, whose last two letters are Latin: another mailbox than with Cyrillic ones
        "a@xn--latin-c9dhi.example",  # αβγlatin
        "a@xn--a.com",  # no A-label
        "a@xn--0.com",
        "a@example.com.",  # the root: the same mailbox in another spelling
        '"a"@example.com',  # quoted: the same mailbox in another spelling
        '"a b"@example.com',
        "a(x)@example.com",  # a comment
        "a@[192.0.2.1]",
        "a@exa_mple.com",
        " a@example.com",
        "a@example.com\n",
        "a@b@example.com",
        "a..b@example.com",
        ".a@example.com",
        "a%b@c@example.com",
        "=?utf-8?q?a?=@example.com",  # an encoded word: decoded on the way, so no mail would get there
        "a@" + "b." * 130 + "com",
        "a",
        "",
    ],
)
def test_what_could_be_another_spelling_is_no_address(text: str) -> None:
    """Refused rather than mended: who is taken for whom must not depend on how a library mends."""
    assert canonical_email(text) is None


@pytest.mark.parametrize(
    "script",
    [
        *("xn--h1alffa9f.xn--p1ai", "xn--hxajbheg2az3al.example", "xn--faade-zra.example", "xn--f1a7c.example"),
        *("xn--oxapnm1c.example", "xn--tckwer46pncbk91h.example", "xn--ca-gja.example"),
        *("xn--e1afmkfd.xn--p1acf", "xn--e1afmkfd.xn--80adxhks", "xn--e1afmkfd.xn--j1amh", "example.xn--j1aef"),
    ],
)
def test_domains_in_other_scripts_are_taken(script: str) -> None:
    """Россия.рф, παράδειγμα, façade, ёж, λόγος, 日本語コム, ëca, пример.рус, .москва, .укр, .ком are themselves."""
    assert canonical_email(f"a@{script}") == f"a@{script}"


@pytest.mark.parametrize("letter", "авсеһіјкӏмнорԛѕтуѵхүԁԝѡьαγεηικνορτυχωϳօսոհցքյզıɑɡɩ")
def test_no_letter_that_is_drawn_like_a_latin_one_makes_a_domain(letter: str) -> None:
    """Of each alphabet, whatever it is called: alone it would be read as the other."""
    assert canonical_email(f"a@xn--{(letter * 3).encode('punycode').decode()}.example") is None


def test_two_users_never_share_a_mailbox(house: House) -> None:
    """CVE-2019-19844: whatever way the address of a user is written, nobody else registers with it."""
    house.user("alice")
    for number, spelling in enumerate(("ALICE@example.com", "alice@EXAMPLE.COM", "Alice@Example.Com")):
        with pytest.raises(AlreadyTaken):
            create(house, spelling, f"other{number}")
        assert house.client().log_in(spelling).status_code == 200
    for number, spelling in enumerate(('"alice"@example.com', "alice@example.com.", "аlice@example.com")):
        with pytest.raises(InvalidInput):
            create(house, spelling, f"another{number}")


def create(house: House, email: str, username: str) -> None:
    house.services.users.create(
        house.default.id, email=email, username=username, password=PASSWORD, by=None, trace=Trace()
    )
