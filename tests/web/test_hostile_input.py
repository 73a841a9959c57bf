"""Input from people who mean harm: every route that reads a body, on both databases, refuses it and changes nothing."""

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.test import EnvironBuilder, run_wsgi_app

from payymo.web.reading import MAX_BODY
from payymo.web.routing import Route
from tests.conftest import Copied
from tests.support.house import PASSWORD, House
from tests.web.scene import NEW_PASSWORD, ROUTES, TAKING, Scene, contents, faults_of, label, pointers_of, set_scene

SURROGATE = "\ud800"
CONTROLS = ("\x00", "a\x00b", "\x1b[31m", "a\r\nb", SURROGATE, f"a{SURROGATE}b", "\udfff\ud800")
"""No member of any body may hold these."""

LOOKALIKES = (
    "adm\u0131n",  # dotless i
    "\u212aelly",  # Kelvin sign, which lower-cases to k
    "\uff41\uff44\uff4d\uff49\uff4e",  # full width
    "\u0430dmin",  # Cyrillic a
    "ad\u200bmin",  # zero width space
    "admin\u202enimda",  # right-to-left override
    "\u2066admin\u2069",  # isolates
    "admin\ufeff",
    "adm\u0069\u0307n",  # combining dot
    "stra\u00dfe",
    "\U0001f600admin",
)
INJECTIONS = (
    "' OR '1'='1",
    "admin'--",
    "'; DROP TABLE users; --",
    '" OR ""="',
    "1; SELECT pg_sleep(10)--",
    "\\'; SELECT 1; --",
    "../../etc/passwd",
    "..\\..\\windows",
    "%00",
    "%2e%2e%2f",
    "${jndi:ldap://x}",
    "{{7*7}}",
    "<script>alert(1)</script>",
    "$argon2id$v=19$m=19456,t=2,p=1$",
)
PROSE = {"password", "current_password", "new_password", "words", "description", "why"}
"""Members in which any printable text is legitimate: passwords, what is not to be in them, descriptions, reasons."""
NULLABLE = {
    *((body, "current_password") for body in ("ChangeEmailBody", "ChangePasswordBody", "ImpersonateBody")),
    *(("ChangeUserBody", name) for name in ("status", "roles", "password")),
    *(("ChangeWebhookBody", name) for name in ("url", "events", "description", "personal", "enabled")),
    ("NewTenantBody", "host"),
    ("BrandBody", "accent"),
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def scene(request: pytest.FixtureRequest, copied: Copied, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Everybody in their place, on each kind of database in turn.

    One scene serves every test here, because each of them proves that it has changed nothing.
    """
    with copied(request.param, tmp_path_factory.mktemp("scene")) as database:
        house = House(database)
        yield set_scene(house)
        house.close()


@pytest.fixture(scope="module")
def unasked(copied: Copied, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """For what is refused while a request is read: no database is asked then, and SQLite's is one as good as any."""
    with copied("sqlite", tmp_path_factory.mktemp("unasked")) as database:
        house = House(database)
        yield set_scene(house)
        house.close()


each_route = pytest.mark.parametrize("route", TAKING, ids=label)


def _unreadable(good: dict[str, Any]) -> Iterator[bytes]:
    """Texts that are not JSON, or not JSON that two readers would understand alike."""
    text = json.dumps(good)
    for cut in (1, 2, len(text) // 3, len(text) // 2, len(text) - 2, len(text) - 1):
        yield text[:cut].encode()
    name, value = next(iter(good.items()))
    member = f"{json.dumps(name)}: {json.dumps(value)}"
    for twice in (
        f"{{{member}, {member}}}",
        text[:-1] + f', "{name}": null}}',
        text[:-1] + f', "\\u{ord(name[0]):04x}{name[1:]}": {json.dumps(value)}}}',  # the same name, written otherwise
        text[:-1] + ', "x": {"y": 1, "y": 2}}',
        text[:-1] + ', "x": [[{"y": {"z": 1, "z": 1}}]]}',
        text[:-1] + ', "": 1, "": 1}',
    ):
        yield twice.encode()
    for number in ("NaN", "Infinity", "-Infinity", "9" * 15_000, "-" + "9" * 5_000, "01", "+1", "0x10", "1e", ".5"):
        yield (text[:-1] + f', "x": {number}}}').encode()
    yield from (text.encode() + tail for tail in (b"x", b"{}", b"\x00", b"]", text.encode()))
    yield from (b" ", b"\x00", b"'", b"{'a': 1}", b"{a: 1}", b"/* */{}", b"{},", b"undefined", b"True", b")]}',\n{}")
    yield b"[" * 10_000
    yield b'{"a":' * 3_000
    yield b"[" * 8_000 + b"]" * 8_000
    yield b'{"a":' * 2_500 + b"1" + b"}" * 2_500
    yield from (b"\xef\xbb\xbf" + text.encode(), text.encode("utf-16"), text.encode("utf-32"), text.encode("utf-16-le"))
    for octets in (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80"):
        yield text.encode().replace(b": ", b': "' + octets + b'", "x": ', 1)


@each_route
def test_unreadable_body_is_400_and_changes_nothing(unasked: Scene, route: Route) -> None:
    """CVE-2025-6203, CVE-2025-12044: truncated, nested, repeated, mis-encoded, or no JSON: one small refusal."""
    before = contents(unasked.house)
    for body in _unreadable(unasked.body(route)):
        response = unasked.send(route, body)
        assert not faults_of(response, 400), (body[:80], faults_of(response, 400))
        assert response.content_length is not None
        assert response.content_length < 1_000
    assert contents(unasked.house) == before


@each_route
def test_body_that_is_no_object_is_422(unasked: Scene, route: Route) -> None:
    """Numbers, strings, lists and null are JSON, and no request."""
    before = contents(unasked.house)
    for body in (None, True, 0, 1.5, "x", [], [{}], [unasked.body(route)], "\x00", SURROGATE, 10**300):
        response = unasked.send(route, body)
        assert not faults_of(response, 422), (body, faults_of(response, 422))
    assert contents(unasked.house) == before


@each_route
def test_unknown_member_is_422_and_named(unasked: Scene, route: Route) -> None:
    """Mass assignment: a member that the route doesn't declare refuses the request, whatever else is in it."""
    before = contents(unasked.house)
    names = (
        "id",
        "tenant_id",
        "is_admin",
        "email_verified",
        "__proto__",
        "constructor",
        "",
        "a/b~c",
        "\x00",
        SURROGATE,
    )
    for name in (*names, "exp", "aud", "password_hash", "x" * 5_000, "\u202e"):
        if name in unasked.body(route):
            continue
        response = unasked.send(route, unasked.body(route) | {name: "x"})
        assert not faults_of(response, 422), (name, faults_of(response, 422))
        expected = name[:64].replace("~", "~0").replace("/", "~1")
        assert pointers_of(response) == ([""] if name == SURROGATE else [f"/{expected}"])
    assert contents(unasked.house) == before


@each_route
def test_as_many_members_as_fit_get_a_short_answer(unasked: Scene, route: Route) -> None:
    """A stranger's names are not repeated to them by the thousand."""
    members = {f"{number:x}": 1 for number in range(1_800)}
    body = json.dumps(members, separators=(",", ":")).encode()
    assert 14_000 < len(body) <= MAX_BODY
    response = unasked.send(route, body)
    assert not faults_of(response, 422)
    assert len(pointers_of(response)) == 20


@each_route
def test_wrong_types_are_422_with_their_pointer(scene: Scene, route: Route) -> None:
    """Nothing is coerced: not 1 to true, not "true" to true, not a number to a string."""
    before = contents(scene.house)
    for name, value in scene.body(route).items():
        for wrong in _wrong(value):
            if wrong is None and (route.body.__name__, name) in NULLABLE:  # type: ignore[union-attr]
                continue
            if wrong == "" and name == "description":  # nothing need be said of something
                continue
            response = scene.send(route, scene.body(route) | {name: wrong})
            assert not faults_of(response, 422), (name, wrong, faults_of(response, 422))
            assert all(f"{pointer}/".startswith(f"/{name}/") for pointer in pointers_of(response))
            assert pointers_of(response)
    assert contents(scene.house) == before


def _wrong(value: object) -> tuple[object, ...]:
    match value:
        case bool():
            return (None, 0, 1, "true", "", [], {}, [True], 1.0)
        case int():
            return (None, True, -1, 10**300, 1.5, "1", "", [], {}, [1])
        case list():
            return (None, 0, "member", {}, [None], [1], [["member"]], {"0": "member"}, [{}], ["x" * 101], True)
        case _:
            return (None, 0, 10**300, 1.5, True, [], {}, [value], {"$ne": ""}, {"x": value}, "")


@each_route
def test_missing_members_are_422_with_their_pointer(unasked: Scene, route: Route) -> None:
    """Each member that the route needs is named when it isn't there."""
    before = contents(unasked.house)
    assert route.body is not None
    required = [name for name, field in route.body.model_fields.items() if field.is_required()]
    for name in required:
        response = unasked.send(route, {key: value for key, value in unasked.body(route).items() if key != name})
        assert not faults_of(response, 422)
        assert pointers_of(response) == [f"/{name}"]
    assert contents(unasked.house) == before


@each_route
def test_content_type_is_json_or_415(unasked: Scene, route: Route) -> None:
    """Nothing that a form on another site can send is read, however good its body is."""
    before = contents(unasked.house)
    types = (None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json")
    more = ("application/json5", "application/problem+json", "application/jsonx", "json", "*/*", "text/plain; a=json")
    for content_type in (*types, *more, "text/plain, application/json", "application/ json", "\u00e4"):
        response = unasked.send(route, unasked.body(route), content_type=content_type)
        assert not faults_of(response, 415), (content_type, faults_of(response, 415))
    assert contents(unasked.house) == before


@each_route
def test_charset_parameter_changes_nothing(unasked: Scene, route: Route) -> None:
    """RFC 8259 §8.1: JSON is UTF-8. A parameter that says otherwise does not make other octets readable."""
    before = contents(unasked.house)
    text = json.dumps(unasked.body(route))
    for charset in ("utf-16", "utf-16-le", "utf-32", "utf-7", "cp037"):
        body = text.replace("{", "+AHs-") if charset == "utf-7" else text
        content_type = f"application/json; charset={charset}"
        response = unasked.send(
            route, body.encode("ascii" if charset == "utf-7" else charset), content_type=content_type
        )
        assert not faults_of(response, 400), (charset, faults_of(response, 400))
    assert contents(unasked.house) == before


@each_route
def test_controls_and_lone_surrogates_are_refused_in_every_string(scene: Scene, route: Route) -> None:
    """NUL ends C strings and PostgreSQL's, and half a character can't be written in UTF-8: neither gets that far."""
    before = contents(scene.house)
    for name, text in _strings(scene.body(route)):
        for character in CONTROLS:
            body = scene.body(route) | {name: _replaced(scene.body(route)[name], character, text)}
            response = scene.send(route, body)
            assert not faults_of(response), (name, character, faults_of(response))
    assert contents(scene.house) == before


@each_route
def test_raw_control_characters_in_strings_are_400(unasked: Scene, route: Route) -> None:
    """RFC 8259 §7: control characters stand in a string only escaped."""
    before = contents(unasked.house)
    for octet in (b"\x00", b"\n", b"\x1f"):
        body = json.dumps(unasked.body(route)).encode()[:-1] + b', "x": "' + octet + b'"}'
        assert not faults_of(unasked.send(route, body), 400)
    assert contents(unasked.house) == before


@each_route
def test_lookalikes_and_injections_are_refused_in_every_name(scene: Scene, route: Route) -> None:
    """CVE-2019-19844: names are ASCII of a small alphabet, so nothing looks like another name or like a statement."""
    before = contents(scene.house)
    is_prose = PROSE | ({"name"} if route.body.__name__ in {"NewTenantBody", "BrandBody"} else set())  # type: ignore[union-attr]
    for name, text in _strings(scene.body(route)):
        if name in is_prose:
            continue
        # "admin'--@example.com" is an address like any other: see the next test
        for hostile in LOOKALIKES if name == "email" else LOOKALIKES + INJECTIONS:
            body = scene.body(route) | {name: _replaced(scene.body(route)[name], hostile, text)}
            response = scene.send(route, body)
            assert not faults_of(response), (name, hostile, faults_of(response))
    assert contents(scene.house) == before


@pytest.mark.parametrize("name", ["admin'--", "{{7*7}}", "x'||'y", "$argon2id$v=19", "%00", "a`id`", "*", "_%"])
def test_address_that_looks_like_a_statement_is_text(house: House, name: str) -> None:
    """RFC 5322 §3.2.3 allows quotes, braces and percent signs in an address: they are stored, found, and do nothing."""
    house.user("alice")
    before = contents(house)
    client = house.client()
    body = {"email": f"{name}@example.com", "username": "newcomer", "password": NEW_PASSWORD}
    assert client.post("/api/auth/register", body).get_json()["data"]["user"]["email"] == f"{name}@example.com"
    assert client.log_in(f"{name}@example.com", NEW_PASSWORD).status_code == 200
    after = contents(house)
    assert len(after["users"]) == len(before["users"]) + 1
    assert set(before["users"]) < set(after["users"])


def _strings(body: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in body.items():
        match value:
            case str():
                yield name, value
            case [str() as first]:
                yield name, first


def _replaced(value: object, hostile: str, text: str) -> object:
    """The hostile text in the place of the good one; addresses stay addresses around it."""
    hostile = f"{hostile}@example.com" if "@" in text else hostile
    return [hostile] if isinstance(value, list) else hostile


@each_route
def test_long_strings_are_422(unasked: Scene, route: Route) -> None:
    """Every string has a bound, so that no megabyte is hashed, compared or stored."""
    before = contents(unasked.house)
    for name, text in _strings(unasked.body(route)):
        body = unasked.body(route) | {name: _replaced(unasked.body(route)[name], "x" * 10_240, text)}
        response = unasked.send(route, body)
        assert not faults_of(response, 422), (name, faults_of(response, 422))
        assert all(f"{pointer}/".startswith(f"/{name}/") for pointer in pointers_of(response))
    assert contents(unasked.house) == before


@each_route
def test_body_over_16_kib_is_413(unasked: Scene, route: Route) -> None:
    """One octet over the limit is not read, whether its size is announced or it comes in chunks."""
    before = contents(unasked.house)
    for size in (MAX_BODY + 1, 10 * MAX_BODY, 10_000_000):
        body = json.dumps(unasked.body(route)).encode().ljust(size)
        assert not faults_of(unasked.send(route, body), 413)
        status, answer = _chunked(unasked, route, body)
        assert (status, json.loads(answer)["code"]) == (413, "payload_too_large")
    assert contents(unasked.house) == before


@each_route
def test_body_of_exactly_16_kib_is_read(scene: Scene, route: Route) -> None:
    """The limit itself is still inside, in one piece or in chunks."""
    hostile = json.dumps({"unknown": 1}).encode().ljust(MAX_BODY)
    response = scene.send(route, hostile)
    assert not faults_of(response, 422)
    assert _chunked(scene, route, hostile)[0] == 422


def _chunked(scene: Scene, route: Route, body: bytes) -> tuple[int, bytes]:
    """What a server hands on of a body in chunks: no length, and a stream that ends by itself."""
    builder = EnvironBuilder(
        path=scene.path(route),
        method=route.method,
        content_type="application/json",
        headers={"Authorization": f"Bearer {scene.token_for(route)}", "Transfer-Encoding": "chunked"},
    )
    environ = builder.get_environ()
    environ.pop("CONTENT_LENGTH", None)
    environ |= {"wsgi.input": io.BytesIO(body), "wsgi.input_terminated": True}
    answer, status, _ = run_wsgi_app(scene.house.app, environ)
    return int(status.split()[0]), b"".join(answer)


@pytest.mark.parametrize("length", ["-1", "abc", "5", "0", "1e3", "\u0665"])
def test_content_length_that_lies_is_4xx(unasked: Scene, length: str) -> None:
    """A length that is no length, or is shorter than the body, leaves nothing that could be read as a request."""
    before = contents(unasked.house)
    builder = EnvironBuilder(path="/api/auth/login", method="POST", content_type="application/json")
    environ = builder.get_environ()
    body = json.dumps({"email": "victim@example.com", "password": PASSWORD}).encode()
    environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": length}
    answer, status, _ = run_wsgi_app(unasked.house.app, environ)
    assert int(status.split()[0]) in {400, 413}
    assert "code" in json.loads(b"".join(answer))
    assert contents(unasked.house) == before


STRANGE_PARTS = (
    "..",
    "%2e%2e",
    "..%2f..%2fusers",
    "%00",
    "auditor%00",
    "auditor%0d%0aX: y",
    "%c0%af",
    "%ff",
    "%ed%a0%80",
    "%u0061uditor",
    "AUDITOR",
    "auditor%20",
    "auditor;x=1",
    "auditor/",
    "audi\u202etor",
    "%EF%BD%81uditor",
    "'; DROP TABLE roles; --",
    "' OR '1'='1",
    "x" * 8_000,
    "00000000-0000-4000-8000-00000000000g",
    "{00000000-0000-4000-8000-000000000000}",
    "urn:uuid:00000000-0000-4000-8000-000000000000",
    "-1",
    "9" * 400,
    "null",
)


@pytest.mark.parametrize("route", [route for route in ROUTES if "<" in route.path], ids=label)
def test_strange_path_parts_are_404(scene: Scene, route: Route) -> None:
    """What stands in a path is a name or an identifier; anything else is no such thing."""
    before = contents(scene.house)
    template = scene.path(route)
    for known in (scene.victim_id, "auditor", scene.tenant_id, "00000000-0000-4000-8000-000000000000"):
        for part in STRANGE_PARTS if f"/{known}" in template else ():
            path = template.replace(known, part)
            body = b"" if route.body is None else scene.body(route)
            response = scene.send(route, body, path=path)
            assert not faults_of(response, 404, 405), (path[:100], faults_of(response))
    assert contents(scene.house) == before


@pytest.mark.parametrize(
    "path",
    [
        "/api//auth/me",
        "/api/auth/me/",
        "/api/auth/./me",
        "/api/auth/x/../me",
        "/api/auth/me%2f",
        "/api/auth/%6de%00",
        "/API/auth/me",
        "/api/auth/me;a=b",
        "/api\\auth\\me",
        "/api/auth/\x00",
    ],
)
def test_path_has_one_spelling(scene: Scene, path: str) -> None:
    """CVE-2026-33494: another spelling of a path is another path. It neither arrives nor redirects."""
    response = scene.admin.http.get(path, headers={"Authorization": f"Bearer {scene.admin.access_token}"})
    assert not faults_of(response, 404)
    assert "Location" not in response.headers


@pytest.mark.parametrize("path", ["/api/admin/users", "/api/admin/tenants"])
@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=1&limit=2", 400),
        ("limit=1&limit=1", 400),
        ("after=a&limit=1&after=b", 400),
        ("limit=0", 422),
        ("limit=-1", 422),
        ("limit=101", 422),
        ("limit=99999999999999999999999", 422),
        ("limit=" + "9" * 5_000, 422),
        ("limit=1e1", 422),
        ("limit=0x10", 422),
        ("limit=NaN", 422),
        ("limit=", 422),
        ("limit=1%00", 422),
        ("limit=true", 422),
        ("limit[]=1", 422),
        ("limit[$gt]=1", 422),
        ("after=%00", 422),
        ("after=a%0a", 422),
        ("after=%ff", 422),
        ("after=%ed%a0%80", 422),
        ("after=' OR 1=1 --", 422),
        ("after=" + "a" * 65, 422),
        ("after=%E2%80%AE", 422),
        ("sort=password_hash", 422),
        ("filter[password_hash]=$argon2", 422),
        ("tenant_id=00000000-0000-4000-8000-000000000000", 422),
        ("Limit=1", 422),
        ("=1", 422),
    ],
)
def test_strange_queries_are_refused(scene: Scene, path: str, query: str, status: int) -> None:
    """CVE-2026-33503, CVE-2022-31177: pages are asked for by a name and a number; nothing sorts or filters."""
    response = scene.admin.http.get(f"{path}?{query}", headers={"Authorization": f"Bearer {scene.admin.access_token}"})
    assert not faults_of(response, status)


def test_strange_tenant_names_are_404(scene: Scene) -> None:
    """`X-Tenant` is a slug or no tenant at all, whatever characters a stranger writes there."""
    before = contents(scene.house)
    body = json.dumps({"email": "victim@example.com", "password": PASSWORD})
    for slug in (
        "",
        " ",
        "\x00",
        "default\x00",
        "Default",
        "default,second",
        "\u00e9",
        "\xff",
        *INJECTIONS,
        "x" * 9_000,
    ):
        response = scene.admin.http.post(
            "/api/auth/login", data=body, content_type="application/json", headers={"X-Tenant": slug}
        )
        assert not faults_of(response, 404), (slug, faults_of(response, 404))
    assert contents(scene.house) == before


def test_strange_hosts_and_forwarding_never_steer_an_answer(unasked: Scene) -> None:
    """CVE-2021-30185, CVE-2025-64101: nothing that claims to be a host name is repeated or causes an error."""
    http = unasked.admin.http
    hosts = (
        "",
        "evil.example",
        "evil.example:x",
        "a b",
        "[::1",
        "[::1]:99999",
        "a/b",
        "a@b",
        "'--",
        "\x00",
        "x" * 9_000,
    )
    names = ("Host", "X-Forwarded-Host", "Forwarded", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix")
    more = ("X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "X-Host", "X-Real-IP", "X-Forwarded-For")
    for name in names + more:
        for value in (*hosts, "\u00e4", "1.2.3.4, 5.6.7.8", "fe80::1%x", "/api/admin/users", "DELETE"):
            for path in ("/.well-known/payymo", "/api/openapi.json", "/.well-known/jwks.json"):
                response = http.get(path, headers={name: value})
                assert response.status_code == 200 or (name == "Host" and not faults_of(response, 400)), (name, value)
                assert "evil.example" not in response.get_data(as_text=True) + str(response.headers)
            assert not faults_of(http.get("/api/auth/me", headers={name: value}), 400, 401)


@pytest.mark.parametrize(
    "value",
    [
        "Bearer " + "a" * 8_193,
        "Bearer " + "." * 1_000_000,
        "Bearer " + "a." * 100_000,
        "Bearer " + "=" * 20_000,
        "Bearer " + "eyJ" * 5_000 + ".a.b",
        "Bearer \x00.\x00.\x00",
        "Bearer \u00e4.b.c",
        "Bearer ..",
        "Bearer {}",
        "Bearer ' OR 1=1 --",
        "Bearer a.b.c.d.e",
    ],
    ids=lambda value: value[:24].encode("unicode_escape").decode(),
)
def test_strange_bearer_tokens_are_401(scene: Scene, value: str) -> None:
    """CVE-2025-30204, CVE-2025-61920: a token of any size and shape costs nothing but its refusal, on every route."""
    before = contents(scene.house)
    for route in ROUTES:
        if route.authentication in {"bearer", "service"}:
            body = b"" if route.body is None else scene.body(route)
            response = scene.send(route, body, headers={"Authorization": value})
            assert not faults_of(response, 401), (label(route), faults_of(response, 401))
            assert response.headers["WWW-Authenticate"] == 'Bearer realm="payymo", error="invalid_token"'
    assert contents(scene.house) == before


@pytest.mark.parametrize(
    "token", ["x" * 8_192, "x" * 10_240, "." * 8_192, "a.b.c", "..", "\x00.\x00.\x00", "é.b.c", "[]"]
)
def test_strange_tokens_in_bodies_are_refused(scene: Scene, token: str) -> None:
    """Tokens in bodies are as little believed as those in headers."""
    before = contents(scene.house)
    for path, name in (("/api/auth/token/verify", "token"), ("/api/auth/refresh", "refresh_token")):
        response = scene.admin.http.post(path, json={name: token})
        assert not faults_of(response, 401, 422), (path, faults_of(response))
    assert contents(scene.house) == before


@pytest.mark.parametrize("query", ["after=\xff", "\xe9=1", "after=a%ffb&wait=\xc3"])
def test_octets_in_a_query_that_are_no_text_are_refused(sqlite_house: House, query: str) -> None:
    """Sent as they are, which servers of applications that mount the service let through."""
    sqlite_house.user("alice")
    client = sqlite_house.logged_in()
    headers = {"Authorization": f"Bearer {client.access_token}"}
    answer = client.http.get("/api/auth/activity", headers=headers, environ_overrides={"QUERY_STRING": query})
    assert (answer.status_code, answer.get_json()["code"]) == (400, "malformed_request")
