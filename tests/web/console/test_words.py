"""What is put together of several sentences, or told of an event: in the reader's language to its end."""

import pytest

from payymo.apikeys.model import Draft
from payymo.audit.entries import QUIET
from payymo.events import CATALOGUE
from payymo.logs import Trace
from payymo.sessions.browser import FRESH_SECONDS
from payymo.web.console.labels import LABELS
from payymo.web.console.opening import list_pages
from payymo.web.console.words import REFUSALS, SENTENCES
from tests.support.house import PASSWORD, Database, House
from tests.support.surfer import Surfer, text_of
from tests.web.console.test_appearance import PAGE, send
from tests.web.console.test_impersonation import act, furnish

OF_USERS = [name for name, kind in CATALOGUE.items() if kind.is_recorded and "user_id" in kind.fields]
UNSEEN = {*QUIET, "user.erased"}


def german(house: House, name: str, *, roles: tuple[str, ...] = ("member",)) -> Surfer:
    """Somebody new, signed in, who reads German."""
    house.user(name, roles=roles)
    surfer = Surfer(house)
    surfer.http.set_cookie("payymo-language", "de")
    surfer.sign_in(name)
    return surfer


@pytest.mark.parametrize("name", sorted({*OF_USERS} - UNSEEN))
def test_every_event_about_a_user_is_told_in_a_sentence(name: str) -> None:
    """Not by its type, least of all when somebody tries passwords: that is when people look there."""
    assert name in SENTENCES or name in REFUSALS


def test_what_somebody_did_in_ones_place_is_told_in_ones_language(sqlite_house: House) -> None:
    """Both sentences: what it was, and that it was an administrator."""
    boss, path = furnish(sqlite_house)
    act(boss, path)
    assert boss.get("/admin/users").status_code == 403
    sqlite_house.services.sequencer.integrate_all()
    alice = Surfer(sqlite_house)
    alice.http.set_cookie("payymo-language", "de")
    alice.sign_in("alice")
    alice.get("/account/activity")
    assert "Etwas wurde abgelehnt, weil Sie es nicht dürfen." in alice.text
    assert "It was an administrator" not in alice.text


def test_what_is_wrong_with_a_logo_is_told_in_the_readers_language(sqlite_house: House) -> None:
    """As at every other field."""
    boss = german(sqlite_house, "boss", roles=("tenant-administrator",))
    boss.get(PAGE)
    assert send(boss, b"GIF89a").status_code == 422
    assert "ein Bild im Format PNG" in text_of(boss.answer)


def test_states_and_what_a_key_is_for_are_told_in_the_readers_language(sqlite_house: House) -> None:
    """Also within a sentence, and with the capitals of the language."""
    root = german(sqlite_house, "root", roles=("platform-administrator",))
    draft = Draft("importer", ("invoices:read",))
    sqlite_house.services.api_keys.create(sqlite_house.default.id, draft, by=None, trace=Trace())
    assert '<span class="tag good">aktiv</span>' in root.get("/admin/api-keys").text
    assert "Schlüssel für Access-Token wechseln?" in text_of(root.get("/operator/keys/access/rotate"))
    assert "Die Schlüssel für Köpfe der Audit-Protokolle im Lauf der Zeit" in text_of(root.get("/operator/keys"))


def test_one_minute_is_no_minutes(sqlite_database: Database) -> None:
    """A number that may be one is told as one."""
    house = House(sqlite_database, impersonation={"seconds": 60})
    boss, path = furnish(house)
    assert "For 1 minute at most" in text_of(boss.get(path))
    boss.http.set_cookie("payymo-language", "de")
    assert "Höchstens 1 Minute lang" in text_of(boss.get(path))
    house.close()


def test_every_field_that_is_kept_has_a_name_that_people_read() -> None:
    """Of each form that may be under way when a session ends, or a password is asked for again."""
    forms = [page.form for page in list_pages() if page.form is not None and page.access == "signed-in"]
    fields = {name for form in forms for name in form.model_fields if "password" not in name}
    assert fields - {"next", "kept"} == LABELS.keys()


def test_what_is_gone_on_with_is_told_in_the_readers_language(sqlite_house: House) -> None:
    """What the field is called, and what was chosen in it."""
    boss, alice = german(sqlite_house, "boss", roles=("tenant-administrator",)), sqlite_house.user("alice")
    boss.get(f"/admin/users/{alice.id}")
    sqlite_house.clock.advance(FRESH_SECONDS + 1)
    boss.send(f"/admin/users/{alice.id}/status", status="disabled")
    assert boss.submit("/confirm", password=PASSWORD).status_code == 200
    assert "Status gesperrt" in boss.text
