"""What pages remember of the language of who registers, signs in, or chooses one: mails are written in it."""

import json

from payymo.audit.entries import Filters
from payymo.logs import Trace
from tests.support.house import PASSWORD, Database, House
from tests.support.mail import deliver, mail_server
from tests.support.surfer import Surfer

COOKIE = "payymo-language"


class Reader(Surfer):
    """A browser that asks for a language."""

    def __init__(self, house: House, asks_for: str) -> None:
        super().__init__(house)
        self.http.environ_base["HTTP_ACCEPT_LANGUAGE"] = asks_for


def kept(house: House, name: str = "alice") -> str | None:
    return house.services.users.get_by_email(house.default.id, f"{name}@example.com").language


def registered(house: House, name: str, asks_for: str, chosen: str | None = None) -> Surfer:
    """Somebody who has registered on the page."""
    reader = Reader(house, asks_for)
    if chosen is not None:
        reader.http.set_cookie(COOKIE, chosen)
    reader.get("/register")
    reader.submit("/register", email=f"{name}@example.com", username=name, password=PASSWORD)
    return reader


def types(house: House) -> list[str]:
    """Of the events on record."""
    house.services.sequencer.integrate_all()
    reader = house.services.audit_reader
    page = reader.page(house.default.id, Filters(), cursor=None, count=200, newest_first=False)
    return [entry.record.type for entry in page.entries]


def test_who_registers_on_the_page_is_written_to_in_its_language(house: House) -> None:
    """As chosen, else as their browser asks for; where it asks for none that there is, nobody knows."""
    for name, asks_for, chosen, code in (
        ("alice", "de-AT, en;q=0.5", None, "de"),
        ("berta", "de", "en", "en"),
        ("carla", "fr", None, None),
        ("dora", "", "xx", None),
    ):
        registered(house, name, asks_for, chosen)
        assert kept(house, name) == code


def test_so_is_the_letter_of_a_registration(sqlite_database: Database) -> None:
    """With verification: the link comes in the language of the page, and the account has it."""
    with mail_server() as server:
        house = House(sqlite_database, mail=server.settings(), registration={"verify_email": "required"})
        registered(house, "alice", "de")
        deliver(house)
        assert [mail["Subject"] for mail in server.received] == ["Bestätigen Sie Ihre E-Mail-Adresse"]
        assert kept(house) == "de"
        house.close()


def test_a_sign_in_makes_up_for_a_language_that_nobody_knows(house: House) -> None:
    """What a browser asks for counts once; what was chosen in it counts always; a wrong password changes nothing."""
    house.user("alice")
    Reader(house, "de").sign_in(password="wrong")
    assert kept(house) is None
    Reader(house, "fr").sign_in()
    assert kept(house) is None
    Reader(house, "de").sign_in()
    assert kept(house) == "de"
    Reader(house, "en").sign_in()
    assert kept(house) == "de"
    reader = Reader(house, "de")
    reader.http.set_cookie(COOKIE, "en")
    reader.sign_in()
    assert kept(house) == "en"


def test_a_choice_is_remembered_of_who_is_signed_in(house: House) -> None:
    """And of nobody else; it is on no record, and stands in what is handed out to them."""
    alice = house.user("alice")
    house.user("bob")
    reader = Surfer(house)
    reader.get("/sign-in")
    reader.submit("/language", language="de")
    assert (kept(house), kept(house, "bob")) == (None, None)
    reader.sign_in()
    assert kept(house) == "de"
    before = types(house)
    reader.submit("/language", language="en")
    assert "My account" in reader.text
    assert (kept(house), kept(house, "bob")) == ("en", None)
    assert types(house) == before
    pieces = house.services.personal_data.export(house.default.id, alice.id, reason="by-user", trace=Trace())
    assert json.loads("".join(pieces))["user"]["language"] == "en"


def test_who_acts_as_somebody_chooses_for_their_own_browser_alone(house: House) -> None:
    """The user's letters stay in the user's language."""
    house.services.roles.create(
        house.default.id, "actor", ["impersonation:write", "users:*", "sessions:*"], by=None, trace=Trace()
    )
    house.user("boss", roles=("actor", "member"))
    alice = house.user("alice")
    Reader(house, "en").sign_in()
    boss = Reader(house, "en")
    boss.sign_in("boss")
    path = f"/admin/users/{alice.id}/impersonate"
    boss.get(path)
    boss.submit(path, why="ticket 4711")
    assert "boss, you act as alice" in boss.text
    boss.submit("/language", language="de")
    assert "Mein Konto" in boss.text
    assert (kept(house), kept(house, "boss")) == ("en", "en")
