"""What changes something: from where it may come, what it has to bring, and what becomes of what was typed."""

import io
import re
import uuid
from typing import Any
from urllib.parse import quote

import pytest

from payymo.audit.entries import Filters
from payymo.sessions.browser import FRESH_SECONDS
from payymo.web.console.entry import HOME, within
from payymo.web.console.opening import list_pages
from payymo.web.csrf import StaleForm, make_token, require_token
from payymo.web.pacing import HOLD
from tests.support.house import PASSWORD, House
from tests.support.surfer import OURS, Surfer

POSTS = sorted({page.path for page in list_pages() if page.method == "POST"})
NEW = "the quiet teapot climbs a hill"


def signed_in(house: House) -> Surfer:
    house.user("alice")
    surfer = Surfer(house)
    surfer.sign_in()
    return surfer


def filled(path: str) -> str:
    return re.sub(r"<\w+:\w+>", str(uuid.UUID(int=0)), path)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://localhost.evil.example"},
        {"Origin": "http://sub.localhost"},
        {"Origin": "http://localhost:8080"},
        {"Origin": "http://user@localhost"},
        {"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://localhost", "Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": ""},
        {"Referer": "http://localhost/account"},
    ],
    ids=str,
)
def test_what_another_site_may_have_caused_is_refused(sqlite_house: House, headers: dict[str, str]) -> None:
    """CVE-2025-24358, CVE-2025-47909, CVE-2023-45128: Origin null, a subdomain, another port, a look-alike, missing."""
    surfer = signed_in(sqlite_house)
    surfer.get("/account")
    answer = surfer.send("/sign-out", headers=headers)
    assert (answer.status_code, "from a page of this site" in surfer.text) == (403, True)
    assert surfer.get("/account").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [OURS, {"Origin": "http://localhost"}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}],
    ids=str,
)
def test_our_own_pages_are_believed(sqlite_house: House, headers: dict[str, str]) -> None:
    """Old browsers say an Origin only, and new ones both."""
    surfer = signed_in(sqlite_house)
    surfer.get("/account")
    assert surfer.send("/sign-out", headers=headers).status_code == 303


@pytest.mark.parametrize("path", POSTS)
def test_no_form_works_without_its_token(sqlite_house: House, path: str) -> None:
    """Signed in and not, with the right origin: 403, or the page to sign in; and nothing is on record."""
    for surfer in (signed_in(sqlite_house), Surfer(sqlite_house)):
        sqlite_house.services.sequencer.integrate_all()
        before = len(sqlite_house.events())
        for token in ((), (("csrf", ""),), (("csrf", "A" * 88),), (("csrf", "é"),)):
            answer = surfer.post(filled(path), [*token, ("email", "a@example.com")])
            assert answer.status_code in {401, 403}, (path, token)
        assert [found["event"] for found in sqlite_house.events()[before:]] in ([], ["permission.required"] * 4)


def test_a_token_is_good_for_one_session(sqlite_house: House) -> None:
    """CVE-2025-68481. Of another browser, of the time before login: refused. Login itself, too (login CSRF)."""
    surfer, other = signed_in(sqlite_house), Surfer(sqlite_house)
    other.get("/sign-in")
    theirs = dict(other.forms[0].fields)["csrf"]
    surfer.get("/account")
    assert surfer.send("/sign-out", csrf=theirs).status_code == 403
    mine = dict(surfer.forms[0].fields)["csrf"]
    assert other.send("/sign-in", csrf=mine, email="alice@example.com", password=PASSWORD).status_code == 403
    fresh = Surfer(sqlite_house)
    fields = {"csrf": theirs, "email": "alice@example.com", "password": PASSWORD}
    assert fresh.post("/sign-in", fields).status_code == 403
    assert fresh.cookie() is None


def test_tokens_are_masked(sqlite_house: House) -> None:
    """Two of one session have next to nothing in common; any letter that is changed makes them worthless."""
    entropy, secret = sqlite_house.services.entropy, b"s" * 32
    one, other = (make_token(secret, entropy) for _ in range(2))
    assert one != other
    require_token(one, secret)
    changed = [one[:at] + ("A" if letter != "A" else "B") + one[at + 1 :] for at, letter in enumerate(one)]
    others = [(one, b"t" * 32), (one[:-4], secret), (one, None), ("", secret)]
    for text, against in [*((text, secret) for text in changed), *others]:
        with pytest.raises(StaleForm):
            require_token(text, against)


def test_a_stale_form_comes_back_with_what_was_typed(sqlite_house: House) -> None:
    """Signed in anew in another tab: the form is shown again, but for passwords, and works then."""
    surfer = signed_in(sqlite_house)
    surfer.get("/account/email")
    fields = [("csrf", "A" * 88), ("new_email", "typed@example.com"), ("current_password", PASSWORD)]
    assert surfer.post("/account/email", fields).status_code == 403
    assert "out of date" in surfer.text
    form = next(found for found in surfer.forms if found.action == "/account/email")
    assert ("new_email", "typed@example.com") in form.fields
    assert PASSWORD not in surfer.answer.text


def test_what_was_typed_survives_the_end_of_the_session(sqlite_house: House) -> None:
    """Sign in, wrong once, and one button sends the form that was under way; the password is asked for again."""
    surfer = signed_in(sqlite_house)
    surfer.get("/account/email")
    sqlite_house.clock.advance(sqlite_house.settings.console.session_seconds + 1)
    answer = surfer.send("/account/email", new_email="typed@example.com", current_password=PASSWORD)
    assert answer.status_code == 401
    assert "what you typed is still here" in surfer.text
    assert PASSWORD not in answer.text
    assert surfer.submit("/sign-in", email="alice@example.com", password="wrong").status_code == 401
    surfer.submit("/sign-in", email="alice@example.com", password=PASSWORD)
    assert "typed@example.com" in surfer.text
    assert surfer.submit("/account/email").status_code == 422
    form = next(found for found in surfer.forms if found.action == "/account/email")
    assert ("new_email", "typed@example.com") in form.fields


def test_dangerous_acts_ask_for_the_password_after_five_minutes(sqlite_house: House) -> None:
    """At the second; and then one goes on where one was."""
    surfer = signed_in(sqlite_house)
    sqlite_house.clock.advance(FRESH_SECONDS)
    assert surfer.get("/account/export").status_code == 200
    sqlite_house.clock.advance(1)
    assert surfer.send("/account/export").status_code == 401
    assert "Your password again" in surfer.text
    surfer.get("/account/export")
    assert surfer.submit("/confirm", password="wrong").status_code == 401
    assert surfer.submit("/confirm", password=PASSWORD).status_code == 200
    answer = surfer.send("/account/export")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="my-data.json"'
    assert answer.get_json()["user"]["username"] == "alice"


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "/\\/evil.example",
        "https://evil.example",
        "https:evil.example",
        "http:/\\evil.example",
        "javascript:alert(1)",
        "evil.example",
        "",
        " /account",
        "/ account",
        "/\t/evil.example",
        "/\n/evil.example",
        "/account\r\nSet-Cookie: a=b",
        "/é",
        "\\\\evil.example",
        "@evil.example",
        "/\x00",
        ".evil.example",
    ],
)
def test_one_goes_on_within_the_site_only(path: str) -> None:
    """CVE-2021-32618, CVE-2023-49438, CVE-2021-23401, CVE-2021-32805: slashes, backslashes, controls, schemes."""
    assert within(path) == HOME


@pytest.mark.parametrize("path", ["/account/sessions", "/account/activity?cursor=a%2Fb", "/admin/users?after=x&q=y"])
def test_one_does_go_on(path: str) -> None:
    """A page of ours, with its query."""
    assert within(path) == path


@pytest.mark.parametrize("path", ["//evil.example", "/\\evil.example", "https://evil.example"])
def test_no_answer_leads_off_the_site(sqlite_house: House, path: str) -> None:
    """Through every parameter that says where to go on."""
    surfer = signed_in(sqlite_house)
    assert surfer.open("GET", "/sign-in", query_string={"next": path}).headers["Location"] == HOME
    surfer.get("/account")
    surfer.submit("/sign-out")
    surfer.get("/sign-in")
    answer = surfer.send("/sign-in", email="alice@example.com", password=PASSWORD, next=path)
    assert answer.headers["Location"] == HOME
    surfer.get("/confirm")
    assert surfer.send("/confirm", password=PASSWORD, next=path).headers["Location"] == HOME
    surfer.get("/confirm")
    surfer.send("/confirm", password=PASSWORD, next=path, kept='[["a","b"]]')
    assert [form.action for form in surfer.forms if form.action != "/sign-out"] == [HOME]


@pytest.mark.parametrize(
    "kept", ["x", "[1]", "{}", '[["a"]]', "null", "[" * 3000, '[["a","<script>alert(1)</script>"]]']
)
def test_a_kept_form_that_was_tampered_with_does_no_harm(sqlite_house: House, kept: str) -> None:
    """It is shown, escaped, or it is empty; nothing fails, and nothing is sent by itself."""
    surfer = signed_in(sqlite_house)
    surfer.get("/confirm")
    answer = surfer.send("/confirm", password=PASSWORD, next="/account/email", kept=kept)
    assert answer.status_code == 200
    assert "<script>alert" not in answer.text


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"data": b"{}", "content_type": "application/json"}, 415),
        ({"data": b"a=b", "content_type": "text/plain"}, 415),
        ({"data": {"email": "a"}, "content_type": "multipart/form-data"}, 415),
        ({"data": b"a=" + b"x" * 20_000, "content_type": "application/x-www-form-urlencoded"}, 413),
        ({"data": b"email=a&email=b&password=c", "content_type": "application/x-www-form-urlencoded"}, 403),
    ],
)
def test_other_bodies_are_refused_as_a_page(sqlite_house: House, given: dict[str, Any], status: int) -> None:
    """A person reads what is wrong; no trace of how it is built."""
    surfer = Surfer(sqlite_house)
    answer = surfer.open("POST", "/sign-in", headers=OURS, **given)
    assert (answer.status_code, answer.mimetype) == (status, "text/html")
    assert "Traceback" not in answer.text


def test_a_field_too_many_or_twice_is_refused(sqlite_house: House) -> None:
    """As in the API: what nobody asked for is not ignored."""
    surfer = signed_in(sqlite_house)
    surfer.get("/account/password")
    both = {"current_password": PASSWORD, "new_password": NEW}
    assert surfer.send("/account/password", **both, roles="platform-administrator").status_code == 422
    token = dict(surfer.forms[-1].fields)["csrf"]
    twice = [("csrf", token), *both.items(), ("new_password", NEW)]
    assert surfer.post("/account/password", twice).status_code == 400
    assert surfer.submit("/account/password", **both).status_code == 200


def test_a_part_of_a_form_is_no_form(sqlite_house: House) -> None:
    """Cut short, or longer than what is read of chunks: with what is left roles would go, and passwords be shorter."""
    surfer = signed_in(sqlite_house)
    surfer.get("/account/password")
    token = dict(surfer.forms[-1].fields)["csrf"]
    whole = f"csrf={quote(token)}&current_password={quote(PASSWORD)}&new_password={quote(NEW)}".encode()
    chunked = whole + b"&" * 20_000 + b"x"
    for sent, environ, status in (
        (whole[:-4], {"CONTENT_LENGTH": str(len(whole))}, 400),
        (chunked, {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}, 413),
    ):
        given = {"wsgi.input": io.BytesIO(sent), "wsgi.input_terminated": True, HOLD: lambda _moment: None} | environ
        kind = "application/x-www-form-urlencoded"
        answer = surfer.http.post("/account/password", headers=OURS, content_type=kind, environ_overrides=given)
        assert answer.status_code == status
    assert sqlite_house.client().log_in().status_code == 200


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "[", "http://[x]"])
def test_an_origin_that_is_none_is_foreign(sqlite_house: House, origin: str) -> None:
    """Not an error of ours."""
    surfer = signed_in(sqlite_house)
    surfer.get("/account")
    assert surfer.send("/sign-out", headers={"Origin": origin}).status_code == 403


def test_what_nobody_can_read_is_no_error_of_ours(sqlite_house: House) -> None:
    """Octets in a query that should have been written as %C3%A4; half a character in a form that was kept."""
    stranger = Surfer(sqlite_house)
    octets = {"QUERY_STRING": "a=\xc3\xa4", HOLD: lambda _moment: None}
    answer = stranger.http.get("/account", environ_overrides=octets)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in?next=/account%3Fa%3D")
    surfer = signed_in(sqlite_house)
    surfer.get("/confirm")
    answer = surfer.send("/confirm", password=PASSWORD, next="/account/email", kept='[["a","\\ud800"]]')
    assert answer.status_code == 200
    assert surfer.get("/account").status_code == 200


def test_a_long_way_back_is_no_reason_to_be_kept_out(sqlite_house: House) -> None:
    """One lands on one's account then."""
    sqlite_house.user("alice")
    surfer = Surfer(sqlite_house)
    surfer.get("/account/activity?cursor=" + "x" * 2000)
    assert surfer.submit("/sign-in", email="alice@example.com", password=PASSWORD).status_code == 200
    assert "My account" in surfer.text


def test_who_tries_another_account_is_not_who_is_signed_in(sqlite_house: House) -> None:
    """In the log it is nobody until it is proven, in whichever tenant: else one person's record tells of another."""
    acme = sqlite_house.tenant("acme")
    bob = sqlite_house.user("bob", tenant=acme)
    surfer = signed_in(sqlite_house)
    surfer.get("/account")
    token = dict(surfer.forms[0].fields)["csrf"]
    for password in ("wrong", PASSWORD):
        fields = {"csrf": token, "tenant": "acme", "email": "bob@example.com", "password": password}
        assert surfer.post("/sign-in", fields).status_code in {303, 401}
    sqlite_house.services.sequencer.integrate_all()
    page = sqlite_house.services.audit_reader.page(
        acme.id, Filters(user_id=bob.id), cursor=None, count=50, newest_first=True
    )
    actors = {(entry.record.type, entry.record.actor) for entry in page.entries if entry.record.type == "session.login"}
    assert {actor for _, actor in actors} == {"anonymous"}
