"""What every page is like, whoever asks for it: headers, caches, and what is in it of others."""

import gzip
import hashlib
import re
import uuid
from importlib import resources

import pytest

from payymo.errors import Unavailable
from payymo.logs import Trace
from payymo.web.console.assets import PREFIX, Assets
from payymo.web.console.opening import list_pages
from tests.support.house import PASSWORD, Database, House
from tests.support.surfer import Surfer

PAGES = sorted({page.path for page in list_pages() if page.method == "GET"})
HTMX = "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717"
"""SHA-256 of dist/htmx.min.js of htmx.org 2.0.11."""


def filled(path: str) -> str:
    return re.sub(r"<\w+:\w+>", str(uuid.UUID(int=0)), path)


def boss(house: House) -> Surfer:
    house.user("boss", roles=("platform-administrator",))
    surfer = Surfer(house)
    surfer.sign_in("boss")
    return surfer


def test_every_page_has_the_headers_of_a_page(sqlite_house: House) -> None:
    """CVE-2023-30861, CVE-2026-27205. Signed in and not: a policy with a nonce of its own, and kept by no cache."""
    nonces = []
    for surfer in (boss(sqlite_house), Surfer(sqlite_house)):
        for path in PAGES:
            answer = surfer.open("GET", filled(path))
            assert answer.headers["Cache-Control"] == "no-store", path
            assert answer.status_code < 500, path
            if answer.status_code == 303:
                continue
            policy = answer.headers["Content-Security-Policy"]
            found = re.fullmatch(
                r"default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
                r"script-src 'nonce-(\w+)'; style-src 'nonce-(\w+)'; img-src 'self'; connect-src 'self'",
                policy,
            )
            assert found is not None
            assert found[1] == found[2]
            nonces.append(found[1])
            assert answer.headers["Referrer-Policy"] == "same-origin"
            assert "Cookie" in answer.headers["Vary"]
            for name in ("X-Content-Type-Options", "X-Frame-Options", "Permissions-Policy", "X-Request-ID"):
                assert answer.headers[name], (path, name)
            assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert len(set(nonces)) == len(nonces)


def test_no_page_has_anything_that_the_policy_would_refuse(sqlite_house: House) -> None:
    """No inline script, style, handler or `data:`; and every script and stylesheet bears the nonce."""
    surfer = boss(sqlite_house)
    for path in PAGES:
        text = surfer.open("GET", filled(path)).text
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:|data:", text), path
        for tag in re.findall(r"<(?:script|link rel=\"stylesheet\")[^>]*>", text):
            assert 'nonce="' in tag, path


@pytest.mark.parametrize(
    ("issuer", "prefix", "more"), [("https://localhost", "__Host-", "Secure; "), ("http://localhost", "", "")]
)
def test_the_cookies_are_as_tight_as_the_address_allows(
    sqlite_database: Database, issuer: str, prefix: str, more: str
) -> None:
    """Over https: `__Host-`, Secure; always HttpOnly, SameSite, no domain, gone with the browser."""
    house = House(sqlite_database, issuer=issuer)
    house.user("alice")
    surfer = Surfer(house, scheme=issuer.partition(":")[0])
    first = surfer.open("GET", "/sign-in").headers["Set-Cookie"]
    assert re.fullmatch(rf"{prefix}payymo-visit=\S{{44}}; {more}HttpOnly; Path=/; SameSite=Lax", first)
    surfer.get("/sign-in")
    answer = surfer.send("/sign-in", email="alice@example.com", password=PASSWORD)
    session, gone = answer.headers.getlist("Set-Cookie")[:2]
    assert re.fullmatch(rf"{prefix}payymo-session=\S+; {more}HttpOnly; Path=/; SameSite=Lax", session)
    assert gone.startswith(f"{prefix}payymo-visit=; Expires=Thu, 01 Jan 1970")
    house.close()


def test_assets_are_kept_for_ever_under_names_of_their_own(sqlite_house: House) -> None:
    """By what is in them; compressed for who understands it; nothing else of the folder, and nothing above it."""
    surfer = Surfer(sqlite_house)
    for name, path in Assets().paths.items():
        plain, packed = (surfer.open("GET", path, headers={"Accept-Encoding": how}) for how in ("identity", "gzip"))
        assert plain.data == gzip.decompress(packed.data)
        assert hashlib.sha256(plain.data).hexdigest()[:12] in path
        assert plain.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert (packed.headers["Content-Encoding"], packed.headers["Vary"]) == ("gzip", "Accept-Encoding")
        assert surfer.open("GET", f"{PREFIX}{name}").status_code == 404
    for path in ("htmx.LICENSE", "../templates/base.html", "..%2fpages.py", "%2e%2e/pages.py", ""):
        assert surfer.open("GET", f"{PREFIX}{path}").status_code == 404


def test_the_vendored_script_is_the_one_that_was_published() -> None:
    """htmx, as its package has it; nobody has changed a byte."""
    data = (resources.files("payymo.web.console") / "static" / "htmx.min.js").read_bytes()
    assert hashlib.sha256(data).hexdigest() == HTMX


def test_a_page_is_small_enough(sqlite_house: House) -> None:
    """Over the wire, compressed: 60 KB with everything on the first visit, 15 KB afterwards."""
    surfer = boss(sqlite_house)
    assets = Assets()
    for path in PAGES:
        answer = surfer.open("GET", filled(path), headers={"Accept-Encoding": "gzip"})
        if answer.status_code == 303:
            continue
        text = gzip.decompress(answer.data).decode()
        own = len(answer.data) + len(str(answer.headers))
        needed = [found for found in assets.paths.values() if found in text]
        whole = own + sum(len(surfer.open("GET", found, headers={"Accept-Encoding": "gzip"}).data) for found in needed)
        assert (own <= 15_000, whole <= 60_000) == (True, True), (path, own, whole)


def test_what_people_write_is_shown_and_not_run(sqlite_house: House) -> None:
    """A tenant's name and a user agent are chosen by others."""
    evil = "<img src=x onerror=alert(1)>\"'&"
    tenant = sqlite_house.services.administration.create_tenant("acme", evil, by=None, trace=Trace())
    sqlite_house.user("alice", tenant=tenant)
    surfer = Surfer(sqlite_house, tenant="acme")
    surfer.http.environ_base["HTTP_USER_AGENT"] = evil
    surfer.sign_in()
    sqlite_house.services.sequencer.integrate_all()
    for path in PAGES:
        text = surfer.open("GET", filled(path)).text
        assert "<img" not in text, path
    assert "&lt;img" in surfer.get("/account/sessions").text


def test_where_there_is_nothing_people_get_a_page_and_programs_a_problem(sqlite_house: House) -> None:
    """By what they say that they read; below /api it is always the problem."""
    surfer = Surfer(sqlite_house)
    browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    for path, accept, found in (
        ("/nowhere", browser, "text/html"),
        ("/nowhere", "*/*", "application/problem+json"),
        ("/nowhere", "application/json", "application/problem+json"),
        ("/api/nowhere", browser, "application/problem+json"),
    ):
        answer = surfer.open("GET", path, headers={"Accept": accept})
        assert (answer.status_code, answer.mimetype) == (404, found)
        assert "There is no such thing here." in answer.text


def test_so_does_who_asks_for_a_page_that_a_form_alone_leads_to(sqlite_house: House) -> None:
    """Its address is typed, or reloaded: `/sign-out` is what people try."""
    for path, accept, found in (
        ("/sign-out", "text/html", "text/html"),
        ("/sign-out", "*/*", "application/problem+json"),
        ("/api/auth/login", "text/html", "application/problem+json"),
    ):
        answer = Surfer(sqlite_house).open("GET", path, headers={"Accept": accept})
        assert (answer.status_code, answer.mimetype, answer.headers["Allow"]) == (405, found, "OPTIONS, POST")
        assert "This method is not offered here." in answer.text


def test_the_address_of_a_form_leads_to_the_page_with_the_form(sqlite_house: House) -> None:
    """A refused form is shown under the address that it was sent to, and people load that again."""
    surfer = boss(sqlite_house)
    sent = {page.path: page.refused for page in list_pages() if page.method == "POST"}
    alone = [path for path, refused in sent.items() if refused is not None and path not in PAGES]
    assert len(alone) > 10
    for path in alone:
        answer = surfer.open("GET", filled(path))
        assert answer.status_code == 303
        target = answer.headers["Location"]
        assert filled(path).startswith(target)
        assert target in {filled(page) for page in PAGES}
    assert surfer.open("GET", "/admin/users/nobody/roles").status_code == 404
    alice = sqlite_house.user("alice")
    surfer.get(f"/admin/users/{alice.id}/roles")
    assert "alice@example.com" in surfer.text


def test_the_house_without_pages_has_none(sqlite_database: Database) -> None:
    """Switched off, they are not there at all."""
    house = House(sqlite_database, console={"enabled": False})
    surfer = Surfer(house)
    for path in (*PAGES, *Assets().paths.values()):
        assert surfer.open("GET", filled(path)).status_code == 404, path
    house.close()


def test_with_the_database_away_a_page_says_so(sqlite_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """503, as a page, without a word of why; and nobody is taken for signed out."""
    surfer = boss(sqlite_house)
    before = surfer.cookie()

    def fail(*_args: object, **_options: object) -> None:
        raise Unavailable(private="secret-dsn")

    monkeypatch.setattr(type(sqlite_house.services.work), "reading", fail)
    answer = surfer.open("GET", "/account")
    assert (answer.status_code, answer.mimetype) == (503, "text/html")
    assert "secret-dsn" not in answer.text
    assert surfer.cookie() == before
