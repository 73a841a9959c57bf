"""In which language pages are: that everything in them is said in it, and that nothing else changes with it."""

import re
import string
from html.parser import HTMLParser

import pytest
from flask import Request
from werkzeug.test import EnvironBuilder

from payymo.apikeys.model import Draft
from payymo.errors import TooManyRequests
from payymo.logs import Trace
from payymo.phrases import Phrase
from payymo.users.password_policy import PasswordPolicy, password_problems
from payymo.web.complaints import told
from payymo.web.console.language import wish_of
from payymo.web.console.opening import list_pages
from payymo.web.console.pages import Page
from payymo.web.console.rendering import load_templates
from payymo.wording import duration, exact_moment, list_languages, make_language, moment, number, say, speaking
from tests.support.house import House
from tests.support.surfer import Surfer
from tests.support.translations import (
    TRANSLATIONS,
    Pseudo,
    find_messages,
    forms,
    is_told,
    read_catalogue,
    without_brackets,
)

CATALOGUES = sorted(TRANSLATIONS.glob("*/LC_MESSAGES/messages.po"))
COOKIE = "payymo-language"
IDENTIFIER = re.compile(r"[(\"]?([A-Za-z]+[.:_*-]+)+[A-Za-z*]*[),\"]?|[0-9a-f-]{8,}[,.]?|[0-9]+[a-z:.,+-]*")
"""What machines call things: user.created, users:read, platform-administrator; identifiers and numbers."""
APART = {"script", "style", "code", "pre", "time", "textarea"}
SAID = {"aria-label", "alt", "placeholder", "title", "data-copied", "label"}
VOID = {"input", "meta", "link", "br", "hr", "img"}


class Words(HTMLParser):
    """The words of a page that its reader sees or hears, but for what is code, a time, or said to be English."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self.attributes: list[str] = []
        self._open: list[tuple[str, bool]] = []

    @property
    def _is_apart(self) -> bool:
        return any(apart for _, apart in self._open)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        is_apart = tag in APART or (tag != "html" and "lang" in dict(attrs)) or self._is_apart
        if tag not in VOID:
            self._open.append((tag, is_apart))
        if not is_apart:
            self.attributes += [text for name, text in attrs if name in SAID and text]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not self._is_apart:
            self.pieces.append(data)


def left_out(page: str, data: set[str]) -> list[str]:
    """The words of a page that are in no brackets, and are none of its data."""
    reader = Words()
    reader.feed(page)
    found: list[str] = []
    for text in (" ".join(reader.pieces), *reader.attributes):
        rest = without_brackets(text).replace("…", " ")
        for known in sorted(data, key=len, reverse=True):
            rest = rest.replace(known, " ")
        words = [word for word in rest.split() if re.search(r"[^\W\d_]{2,}", word)]
        found += [word for word in words if not IDENTIFIER.fullmatch(word)]
    return found


class Scene:
    """A house with something in every list, and its operator in a browser that speaks the language of brackets."""

    def __init__(self, house: House) -> None:
        self.house = house
        services, trace = house.services, Trace()
        house.user("root", roles=("platform-administrator",))
        self.alice = house.user("alice")
        house.client().log_in("alice", password="wrong")
        house.logged_in("alice")
        services.roles.create(house.default.id, "auditor", ["invoices:read"], by=None, trace=trace)
        services.guards.create("scene", scopes=["feed"], trace=trace)
        services.secrets.put("api", b"x", trace=trace)
        services.brands.set(house.default.id, "Acme", "#c81e3c", logo=None, by=None, trace=trace)
        api_key = services.api_keys.create(
            house.default.id, Draft("importer", ("invoices:read",)), by=None, trace=trace
        )
        house.tenant("second")
        self.event_id = house.event_on_record(house.default.id)
        [key, *_] = [key for key in services.ring.list_keys() if key.purpose == "access"]
        [self.session] = services.sessions.list_sessions(house.default.id, self.alice.id)
        self.root = Surfer(house)
        self.root.http.set_cookie(COOKIE, "de")
        self.root.sign_in("root")
        self.known = {
            "user_id": str(self.alice.id),
            "session_id": str(self.session.id),
            "event_id": str(self.event_id),
            "tenant_id": str(house.default.id),
            "name": "auditor",
            "purpose": "access",
            "kid": key.kid,
            "api_key_id": str(api_key.key.id),
        }
        self.data = {
            *("root@example.com", "alice@example.com", "root", "alice", "auditor", "scene", "api", "second", "Second"),
            *("Acme", "importer", "client_credentials"),
            *("Payymo", "Python", "Werkzeug/", "UTC", "EdDSA", "RS256", "ES256", "maintenance", "member", "active"),
            *("Stunden", "Stunde", "Minuten", "Tage"),  # of the CLDR
            *(house.default.name, house.default.slug, house.settings.issuer),
            *(key.kid[:8] for key in services.ring.list_keys()),
        }

    def path(self, page: Page) -> str:
        """The path of a page, of things that are there."""
        known = self.known | ({"name": "scene"} if page.path.startswith("/operator/guards") else {})
        known |= {"event_id": str(self.house.event_on_record(None))} if page.path.startswith("/operator/audit/") else {}
        return re.sub(r"<\w+:(\w+)>", lambda match: known[match[1]], page.path)


@pytest.fixture
def brackets(sqlite_house: House, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """A scene in which every message that the catalogues know is told in brackets."""
    monkeypatch.setitem(list_languages(), "de", make_language("de", Pseudo()))  # type: ignore[arg-type]
    return Scene(sqlite_house)


def test_every_word_of_every_page_can_be_translated(brackets: Scene) -> None:
    """Whatever a page says stands in the catalogues, also what it says of a form that is refused."""
    stranger = Surfer(brackets.house)
    stranger.http.set_cookie(COOKIE, "de")
    left: dict[str, list[str]] = {}
    for page in sorted(list_pages(), key=lambda one: (one.path, one.method)):
        who = stranger if page.access == "anyone" else brackets.root
        if page.method == "GET":
            answer = who.open("GET", brackets.path(page))
        elif page.form is not None:
            who.get("/language")
            answer = who.force(brackets.path(page))
        else:
            continue
        if (
            answer.mimetype == "text/html"
            and answer.status_code != 303
            and (words := left_out(answer.text, brackets.data))
        ):
            left[f"{page.method} {page.path} {answer.status_code}"] = words
    assert not left, "\n".join(f"{page}: {words}" for page, words in left.items())


def test_so_can_every_word_of_who_acts_as_somebody_else(brackets: Scene) -> None:
    """The banner, and what the others see of it."""
    path = f"/admin/users/{brackets.alice.id}/impersonate"
    brackets.root.get(path)
    brackets.root.submit(path, why="WHY")
    assert not left_out(brackets.root.answer.text, brackets.data)
    alice = Surfer(brackets.house)
    alice.http.set_cookie(COOKIE, "de")
    alice.sign_in("alice")
    for shown in ("/account/sessions", "/account/activity"):
        alice.get(shown)
        assert not left_out(alice.answer.text, brackets.data), shown


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parents[1].name)
def test_a_catalogue_is_complete_and_of_today(path: object) -> None:
    """It has what is said and nothing else, each message told, with the same things put in: `make translations`."""
    catalogue = read_catalogue(path)  # type: ignore[arg-type]
    messages = [message for message in catalogue if message.id]
    assert {message.id for message in messages} == set(find_messages())
    assert [message.id for message in messages if message.fuzzy or not is_told(message.string)] == []
    for message in messages:
        for form in forms(message.string):
            originals = [_placeholders(one) for one in forms(message.id)]
            assert _placeholders(form) in originals, message.id
            assert form.strip() == form, message.id


def _placeholders(text: str) -> tuple[list[str], list[str], int]:
    named = sorted(name for _, name, _, _ in string.Formatter().parse(text) if name)
    return sorted(re.findall(r"%\(\w+\)s", text)), named, text.count("%%")


def test_the_language_is_chosen_by_hand_or_by_the_browser(sqlite_house: House) -> None:
    """What was chosen counts most, then what the browser asks for; headers say so, to people and to caches."""
    surfer = Surfer(sqlite_house)
    german = {"Accept-Language": "fr, de-AT;q=0.8, en;q=0.5"}
    for headers, code, heading in (({}, "en", "Sign in"), (german, "de", "Anmelden")):
        answer = surfer.open("GET", "/sign-in", headers=headers)
        assert answer.headers["Content-Language"] == code
        assert "Accept-Language" in answer.headers["Vary"]
        assert f'<html lang="{code}">' in answer.text
        assert f"<h1>{heading}</h1>" in answer.text
    surfer.get("/sign-in?next=/account/activity")
    surfer.submit("/language", language="de")
    assert "Anmelden" in surfer.text
    assert dict(surfer.forms[-1].fields)["next"] == "/sign-in?next=/account/activity"
    assert surfer.open("GET", "/sign-in", headers={"Accept-Language": "en"}).headers["Content-Language"] == "de"
    sqlite_house.user("alice")
    surfer.sign_in()
    assert "Mein Konto" in surfer.text
    assert "1\N{NO-BREAK SPACE}" not in surfer.text
    surfer.submit("/language", language="en")
    assert "My account" in surfer.text


def test_a_choice_is_a_form_like_others(sqlite_house: House) -> None:
    """Of this site, with its token, of languages that there are, and leading nowhere else; the cookie is no secret."""
    surfer = Surfer(sqlite_house)
    surfer.get("/language")
    assert surfer.post("/language", {"language": "de"}).status_code == 403
    token = dict(surfer.forms[0].fields)["csrf"]
    foreign = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert surfer.post("/language", {"csrf": token, "language": "de"}, headers=foreign).status_code == 403
    for wrong in ("xx", "../de", "de-AT", ""):
        assert surfer.post("/language", {"csrf": token, "language": wrong}).status_code == 422
    done = surfer.post("/language", {"csrf": token, "language": "de", "next": "//evil.example"})
    assert done.headers["Location"] == "/account"
    [kept] = [text for text in done.headers.getlist("Set-Cookie") if text.startswith(COOKIE)]
    assert "HttpOnly" in kept
    assert "SameSite=Lax" in kept
    assert "Path=/" in kept
    surfer.http.set_cookie(COOKIE, "xx")
    assert surfer.open("GET", "/sign-in").headers["Content-Language"] == "en"


def test_what_a_form_has_led_to_has_no_choice_of_language(sqlite_house: House) -> None:
    """It could not be come back to, and what was typed, or is shown once, would be gone."""
    surfer = Surfer(sqlite_house)
    surfer.get("/sign-in")
    surfer.send("/sign-in", email="nobody@example.com", password="wrong")
    assert surfer.answer.status_code == 401
    assert [form.action for form in surfer.forms] == ["/sign-in"]


@pytest.mark.parametrize(
    "header",
    [
        "",
        "x" * 8_000,
        "de," * 2_600,
        ";q=,;;=,*;q=nan,de;q=1e9",
        "*",
        "de;q=0",
        "\u00e4\u0000",
        "zz-" * 99,
        ",",
        "en;q=x",
    ],
)
def test_whatever_a_browser_asks_for_it_gets_a_language(header: str) -> None:
    """Headers of any length and with anything in them: one of those that there are, or none."""
    environ = EnvironBuilder(headers={}).get_environ() | {"HTTP_ACCEPT_LANGUAGE": header}
    assert wish_of(Request(environ), None).code in {None, *list_languages()}


def test_times_and_numbers_are_written_as_the_language_does() -> None:
    """And all in UTC. English is as it always was."""
    at, languages = 1_800_000_000, list_languages()
    with speaking(languages["en"]):
        shown = (moment(at), exact_moment(at), number(12345.5), duration(1800))
        assert shown == ("15 Jan 2027, 08:00 UTC", "15 Jan 2027, 08:00:00 UTC", "12,345.5", "30 minutes")
    with speaking(languages["de"]):
        shown = (moment(at), exact_moment(at), number(12345.5), duration(1800))
        assert shown == ("15.01.2027, 08:00 UTC", "15.01.2027, 08:00:00 UTC", "12.345,5", "30 Minuten")


def test_a_sentence_is_english_until_it_is_said() -> None:
    """For logs and the API; said, also what stands in it is, and no name is taken for a pattern or a message."""
    refusal = TooManyRequests(1, tier="login", limit=1, window_seconds=1)
    [weak] = password_problems("short", PasswordPolicy(), email="a@example.com", username="alice")
    nested = Phrase("The certificate {name} {warning}.", name="{name} now", warning=Phrase("has expired"))
    assert refusal.detail == "Too many tries. Please wait 1 second and try again."
    assert nested == "The certificate {name} now has expired."
    with speaking(list_languages()["de"]):
        assert (
            say(refusal.detail)
            == "Zu viele Versuche. Bitte warten Sie 1 Sekunde, und versuchen Sie es dann noch einmal."
        )
        assert str(say(weak.detail)).startswith("12 bis 128 Zeichen; das sind 5. Ein paar Wörter")
        assert say(nested) == "Das Zertifikat {name} now ist abgelaufen."
        assert say(told("string_too_long", "String should have at most 9 characters", {"max_length": 9})) == (
            "Der Text darf höchstens 9 Zeichen haben"
        )
    assert told("string_too_long", "Something else", {"max_length": 9}) == "Something else"
    assert say(nested) == nested


def test_a_translation_is_text_and_no_markup() -> None:
    """Whatever stands in a sentence is escaped once it is said."""
    page = load_templates().from_string("{{ what }}|{{ what | say }}|{{ other }}")
    with speaking(list_languages()["de"]):
        shown = page.render(what=Phrase("{browser} on {system}", browser="<b>", system="x"), other="User")
    assert shown == "&lt;b&gt; auf x|&lt;b&gt; auf x|User"


def test_problem_documents_stay_english(sqlite_house: House) -> None:
    """What programs read does not change with who reads it."""
    answer = sqlite_house.client(headers={"Accept-Language": "de"}).log_in("nobody")
    assert answer.get_json()["detail"] == "The e-mail address or the password is wrong."
    assert "Content-Language" not in answer.headers
