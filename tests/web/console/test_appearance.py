"""`/admin/appearance`, what it makes of pages, and the address that a logo is at."""

import hashlib
import io
from typing import Any

import pytest
from werkzeug.test import TestResponse

from payymo.brands.png import MAX_BYTES
from payymo.brands.service import Brands
from payymo.errors import Unavailable
from payymo.logs import Trace
from payymo.web.pacing import HOLD
from payymo.web.reading import MAX_UPLOAD
from tests.support.house import Database, House
from tests.support.pictures import large, picture
from tests.support.surfer import Surfer, signed_in, text_of
from tests.support.two_tenants import build_sides

PAGE = "/admin/appearance"
NAME = "Acme <b>& Söhne"
DIGEST = hashlib.sha256(picture()).hexdigest()
SIGNED_OUT = ("/sign-in", "/register", "/forgot-password", "/reset-password", "/verify-email", "/unlock")


def boss_of(house: House) -> Surfer:
    """The tenant's administrator, on the page."""
    house.user("boss", roles=("tenant-administrator",))
    surfer = signed_in(house, "boss")
    surfer.get(PAGE)
    return surfer


def send(surfer: Surfer, file: bytes | None, *, headers: dict[str, str] | None = None, **typed: str) -> TestResponse:
    """The form of the page as browsers send it: with a file, or with none chosen."""
    fields: dict[str, Any] = dict(next(form for form in surfer.forms if form.action == PAGE).fields)
    fields |= {"name": NAME, "accent": "", **typed}
    fields["logo"] = (io.BytesIO(file or b""), "" if file is None else "logo.png")
    given = {"content_type": "multipart/form-data", "headers": surfer.ours if headers is None else headers}
    return surfer._read(surfer.open("POST", PAGE, data=fields, **given))


def dress(house: House, **given: Any) -> None:
    """Give the default tenant a brand."""
    house.services.brands.set(
        house.default.id, given.pop("name", NAME), given.pop("accent", None), by=None, trace=Trace(), **given
    )


def test_name_colour_and_logo_are_set_in_one_form(house: House) -> None:
    """Seen on the next page; without a new file the logo stays; and each can be taken away again."""
    boss, brands, tenant_id = boss_of(house), house.services.brands, house.default.id
    assert send(boss, picture(), accent="#C81E3C").status_code == 303
    page = text_of(boss.get(PAGE))
    assert f"<title>Appearance · {NAME}</title>" in page
    assert f'<img src="/brand/{DIGEST}.png?tenant=default" alt="{NAME}">' in page
    assert send(boss, large(MAX_BYTES), name="Acme").status_code == 303
    boss.get(PAGE)
    assert send(boss, None, name="Acme").status_code == 303
    found = brands.get(tenant_id)
    assert found is not None
    assert (found.name, found.accent, found.logo) == ("Acme", None, DIGEST)
    boss.get(PAGE)
    boss.submit(f"{PAGE}/logo/remove")
    assert "The logo is removed." in boss.text
    assert "<img" not in boss.answer.text
    boss.submit(f"{PAGE}/remove")
    assert brands.get(tenant_id) is None
    assert "Your pages look as the service does." in boss.text


def test_the_language_of_mails_is_set_there_too(house: House) -> None:
    """The one that is set is chosen on the next page; none is that of the service; and no other is taken."""
    boss, brands, tenant_id = boss_of(house), house.services.brands, house.default.id
    assert send(boss, None, language="de").status_code == 303
    found = brands.get(tenant_id)
    assert found is not None
    assert found.language == "de"
    assert '<option value="de" lang="de" selected>Deutsch</option>' in boss.get(PAGE).text
    assert send(boss, None, language="xx").status_code == 422
    assert "Input should be" in boss.text
    boss.get(PAGE)
    assert send(boss, None, language="").status_code == 303
    found = brands.get(tenant_id)
    assert found is not None
    assert found.language is None


def test_every_page_of_the_tenant_shows_it_escaped_and_the_operators_do_not(sqlite_house: House) -> None:
    """The name is text wherever it stands, colours are in a stylesheet with the nonce of the page."""
    dress(sqlite_house, accent="#ffff00", logo=picture())
    sqlite_house.user("root", roles=("platform-administrator",))
    stranger, root = Surfer(sqlite_house), signed_in(sqlite_house, "root")
    for surfer, paths in ((stranger, SIGNED_OUT), (root, ("/account", PAGE, "/admin/users", "/nowhere"))):
        for path in paths:
            answer = surfer.open("GET", path, headers={"Accept": "text/html"})
            nonce = answer.headers["Content-Security-Policy"].partition("style-src 'nonce-")[2].partition("'")[0]
            assert "Acme &lt;b&gt;&amp; Söhne" in answer.text, path
            assert "<b>" not in answer.text, path
            assert f'<style nonce="{nonce}">:root {{ --accent: light-dark(#' in answer.text, path
            assert f'src="/brand/{DIGEST}.png?tenant=default"' in answer.text, path
            assert "style=" not in answer.text, path
    for path in ("/operator", "/operator/tenants", "/operator/tenants/new", "/operator/keys"):
        answer = root.open("GET", path)
        assert answer.status_code == 200, path
        assert "Söhne" not in answer.text, path
        assert "<style" not in answer.text, path
        assert "/brand/" not in answer.text, path
        assert sqlite_house.default.name in answer.text, path


def test_a_tenant_without_a_brand_looks_as_ever(sqlite_house: House) -> None:
    """Nothing of another one's gets onto its pages."""
    sqlite_house.tenant("acme")
    dress(sqlite_house, accent="#ffff00", logo=picture())
    answer = Surfer(sqlite_house).get("/sign-in?tenant=acme")
    assert "<title>Sign in · Acme</title>" in answer.text
    assert "<style" not in answer.text
    assert "<img" not in answer.text


@pytest.mark.parametrize(
    ("file", "why"),
    [(large(MAX_BYTES + 1), "at most 64 KiB"), (b"<svg/>", "in the format PNG"), (b"", "in the format PNG")],
    ids=["too large", "an SVG", "an empty file"],
)
def test_a_refused_upload_keeps_the_other_fields(sqlite_house: House, file: bytes, why: str) -> None:
    """The reason stands at the file; what was typed is still there; nothing was saved."""
    boss = boss_of(sqlite_house)
    assert send(boss, file, name="Typed", accent="#123456").status_code == 422
    fields = next(form for form in boss.forms if form.action == PAGE).fields
    assert {("name", "Typed"), ("accent", "#123456")} <= set(fields)
    problem = boss.answer.text.partition('id="logo-problem">')[2].partition("<")[0]
    assert why in problem
    assert sqlite_house.services.brands.get(sqlite_house.default.id) is None


def test_other_refusals_keep_them_too(sqlite_house: House) -> None:
    """A name that is none; and a form whose session has ended: after signing in, one button sends it."""
    boss = boss_of(sqlite_house)
    assert send(boss, picture(), name="a\u202eb", accent="#123456").status_code == 422
    assert 'id="name-problem"' in boss.answer.text
    boss.get(PAGE)
    sqlite_house.clock.advance(sqlite_house.settings.console.session_seconds + 1)
    assert send(boss, picture(), name="Typed").status_code == 401
    boss.submit("/sign-in", email="boss@example.com", password="SecurePassword123!")
    assert "Typed" in boss.text
    assert boss.submit(PAGE).status_code == 200, boss.text
    found = sqlite_house.services.brands.get(sqlite_house.default.id)
    assert found is not None
    assert (found.name, found.logo) == ("Typed", None)


def test_an_upload_has_the_same_locks_as_every_form(sqlite_house: House) -> None:
    """From elsewhere, without the session's token, without the permission: nothing is saved, whatever comes along."""
    boss = boss_of(sqlite_house)
    evil = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    for headers in (evil, {}):
        assert send(boss, picture(), headers=headers).status_code == 403
        boss.get(PAGE)
    assert send(boss, picture(), csrf="A" * 88).status_code == 403
    assert "out of date" in boss.text
    sqlite_house.services.roles.create(sqlite_house.default.id, "reader", ["policies:read"], by=None, trace=Trace())
    sqlite_house.user("reader", roles=("reader",))
    reader = signed_in(sqlite_house, "reader")
    reader.get(PAGE)
    assert [form.action for form in reader.forms] == ["/sign-out", "/language"]
    token = dict(reader.forms[0].fields)["csrf"]
    fields = {"csrf": token, "name": "Evil", "logo": (io.BytesIO(picture()), "x.png")}
    assert reader.open("POST", PAGE, data=fields, headers=reader.ours).status_code == 403
    assert reader.force(f"{PAGE}/remove").status_code == 403
    assert sqlite_house.services.brands.get(sqlite_house.default.id) is None


def raw(surfer: Surfer, body: bytes, *, boundary: str = "x", length: int | None = None) -> int:
    """The status of a body that no browser sends."""
    environ = {
        "wsgi.input": io.BytesIO(body),
        "CONTENT_LENGTH": str(length or len(body)),
        "CONTENT_TYPE": f"multipart/form-data; boundary={boundary}",
        HOLD: lambda _moment: None,
    }
    given: Any = {"headers": surfer.ours, "environ_overrides": environ}
    return surfer.http.post(PAGE, base_url=surfer.base, **given).status_code


def part(disposition: str, body: bytes = b"x") -> bytes:
    return b"--x\r\nContent-Disposition: form-data; " + disposition.encode() + b"\r\n\r\n" + body + b"\r\n"


def test_bodies_that_play_tricks_are_refused(sqlite_house: House) -> None:
    """Cut short, without an end, too many parts, files that nobody asked for, more text than a form has."""
    boss = boss_of(sqlite_house)
    token = dict(boss.forms[0].fields)["csrf"]
    good = part('name="csrf"', token.encode()) + part('name="name"', b"Acme")
    logo, end = part('name="logo"; filename="a.png"', picture()), b"--x--\r\n"
    assert raw(boss, good + logo + end) == 303
    sqlite_house.services.brands.remove(sqlite_house.default.id, by=None, trace=Trace())
    for body, statuses in (
        ((good + logo + end)[:-30], {400}),
        (good + logo, {400}),
        (b"", {400}),
        (b"x" * 100, {400}),
        (good + logo + logo + end, {400}),
        (good + part('name="other"; filename="a.png"', picture()) + end, {400}),
        (good + part('name="csrf"; filename="a.png"', picture()) + end, {400}),
        (good + part('name="name"', b"Twice") + end, {400}),
        (good + part('name="logo"', picture()) + end, {422}),
        (good + part('name="role"', b"x") + end, {422}),
        (good + part("") + end, {400}),
        (good + part('name=""') + end, {400}),
        (good + part('name="accent') + end, {400}),
        (good + part('filename="a.png"', picture()) + end, {400}),
        (good + part('name="x"', b"x") * 40 + end, {413}),
        (good + part('name="accent"', bytes(20_000)) + end, {413}),
        (good + part('name="logo"; filename="a.png"', bytes(MAX_UPLOAD)) + end, {413}),
    ):
        assert raw(boss, body) in statuses, body[-200:]
    assert raw(boss, good + logo + end, length=len(good + logo + end) + 1) == 400
    assert raw(boss, good + logo + end, boundary="y") == 400
    assert sqlite_house.services.brands.get(sqlite_house.default.id) is None


@pytest.mark.parametrize("path", ["/admin/security/password-policy", f"{PAGE}/remove", "/sign-in", "/account/email"])
def test_no_other_form_takes_a_file(sqlite_house: House, path: str) -> None:
    """Nor more than sixteen KiB."""
    boss = boss_of(sqlite_house)
    token = dict(boss.forms[0].fields)["csrf"]
    fields = {"csrf": token, "logo": (io.BytesIO(picture()), "x.png")}
    assert boss.open("POST", path, data=fields, headers=boss.ours).status_code == 415
    assert boss.post(path, {"csrf": token, "name": "x" * 20_000}).status_code == 413


def test_a_logo_is_at_its_own_address_for_ever(sqlite_house: House) -> None:
    """With its type alone, nothing that may run, and for everybody: the sign-in page shows it."""
    dress(sqlite_house, logo=picture(2, 2, (b"tEXt", b"<script>alert(1)</script>")))
    answer = Surfer(sqlite_house).open("GET", f"/brand/{DIGEST}.png?tenant=default")
    assert answer.get_data() == picture()
    expected = {
        "Content-Type": "image/png",
        "Cache-Control": "public, max-age=31536000, immutable",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    assert {name: answer.headers[name] for name in expected} == expected
    assert "Set-Cookie" not in answer.headers


def test_a_logo_is_its_tenants_alone_and_tells_nothing_of_others(house: House) -> None:
    """Under a tenant's host or name another one's digest is a made-up one, and so is a tenant that there is not."""
    administration = house.services.administration
    administration.create_tenant("hosted", "Hosted", host="hosted.example", by=None, trace=Trace())
    a, b = build_sides(house)
    own, other = (str(house.services.brands.get(side.tenant.id).logo) for side in (a, b))  # type: ignore[union-attr]
    stranger, at_host = Surfer(house), Surfer(house, host="hosted.example")
    assert stranger.open("GET", f"/brand/{own}.png?tenant=a").status_code == 200
    refusals = [
        stranger.open("GET", f"/brand/{other}.png?tenant=a"),
        stranger.open("GET", f"/brand/{'0' * 64}.png?tenant=a"),
        stranger.open("GET", f"/brand/{own}.png?tenant=nobodys"),
        stranger.open("GET", f"/brand/{own}.png"),
        stranger.open("GET", f"/brand/{own}.png?tenant=%00"),
        stranger.open("GET", f"/brand/{own.upper()}.png?tenant=a"),
        stranger.open("GET", "/brand/x.png?tenant=a"),
        at_host.open("GET", f"/brand/{own}.png?tenant=a"),
    ]
    assert {(answer.status_code, answer.headers["Cache-Control"]) for answer in refusals} == {(404, "no-store")}
    assert len({str({**answer.get_json(), "request_id": ""}) for answer in refusals}) == 1


def test_logos_are_counted(sqlite_database: Database) -> None:
    """Each one costs the database a row: nobody asks without an end."""
    house = House(sqlite_database, limits={"enabled": True, "default": "2/minute"})
    dress(house, logo=picture())
    stranger = Surfer(house)
    statuses = [stranger.open("GET", f"/brand/{DIGEST}.png").status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    house.close()


def test_a_page_does_without_its_brand_while_the_database_is_away(
    sqlite_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an ornament: it keeps nobody from signing in, and a refusal from being told."""

    def fail(*_: object) -> None:
        raise Unavailable

    dress(sqlite_house)
    monkeypatch.setattr(Brands, "get", fail)
    sqlite_house.clock.advance(5)
    answer = Surfer(sqlite_house).get("/sign-in")
    assert answer.status_code == 200
    assert "Söhne" not in answer.text
