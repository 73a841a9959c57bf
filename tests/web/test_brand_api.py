"""`/api/admin/brand`: a tenant's display name, colour and logo."""

import hashlib
import io
from typing import Any

import pytest
from werkzeug.test import TestResponse

from payymo.brands.png import MAX_BYTES
from payymo.logs import Trace
from payymo.web.reading import LARGER, MAX_UPLOAD
from tests.support.house import Client, House
from tests.support.pictures import large, picture
from tests.web.scene import faults_of, pointers_of

BRAND, LOGO = "/api/admin/brand", "/api/admin/brand/logo"
DIGEST = hashlib.sha256(picture()).hexdigest()


def administrator(house: House) -> Client:
    """The tenant's."""
    house.user("boss", roles=("tenant-administrator",))
    return house.logged_in("boss")


def upload(client: Client, data: bytes, **given: Any) -> TestResponse:
    """A logo, as bytes."""
    headers = {"Authorization": f"Bearer {client.access_token}", **given.pop("headers", {})}
    return client.http.put(LOGO, data=data, headers=headers, **({"content_type": "image/png"} | given))


def test_a_brand_is_set_shown_and_removed(house: House) -> None:
    """Step by step; what is not given is not there, except for the logo, which has a path of its own."""
    boss = administrator(house)
    assert not faults_of(boss.get(BRAND), 404)
    assert not faults_of(upload(boss, picture()), 409)
    first = boss.call("PUT", BRAND, {"name": "Acme", "accent": "#0B5D63"})
    assert first.get_json()["data"] == {
        "name": "Acme",
        "accent": "#0b5d63",
        "logo": None,
        "language": None,
    }
    assert upload(boss, picture()).get_json()["data"]["logo"] == DIGEST
    assert boss.call("PUT", BRAND, {"name": "Acme 2", "language": "de"}).get_json()["data"] == {
        "name": "Acme 2",
        "accent": None,
        "logo": DIGEST,
        "language": "de",
    }
    assert boss.get(BRAND).get_json()["data"]["logo"] == DIGEST
    assert boss.call("DELETE", LOGO).get_json()["data"]["logo"] is None
    assert not faults_of(boss.call("DELETE", LOGO), 404)
    assert boss.call("DELETE", BRAND).get_json() == {"data": {}}
    assert boss.get(BRAND).status_code == 404


@pytest.mark.parametrize("code", ["", "xx", "de-AT", "x" * 5_000, None, 1, ["de"]])
def test_an_unknown_language_is_refused(sqlite_house: House, code: object) -> None:
    """With the closed list; none at all is as good as none given."""
    answer = administrator(sqlite_house).call("PUT", BRAND, {"name": "Acme", "language": code})
    if code is None:
        assert answer.get_json()["data"]["language"] is None
        return
    assert not faults_of(answer, 422)
    assert pointers_of(answer) == ["/language"]
    if isinstance(code, str):
        assert answer.get_json()["errors"][0]["detail"] == "Input should be 'en' or 'de'"


def test_only_who_may_write_policies_does(house: House) -> None:
    """Others read it, or nothing of it; nothing changes."""
    house.services.roles.create(house.default.id, "reader", ["policies:read"], by=None, trace=Trace())
    house.services.brands.set(house.default.id, "Acme", None, logo=picture(), by=None, trace=Trace())
    house.user("reader", roles=("reader",))
    house.user("alice")
    reader, alice = house.logged_in("reader"), house.logged_in("alice")
    assert reader.get(BRAND).status_code == 200
    assert alice.get(BRAND).status_code == 403
    for client in (reader, alice):
        assert client.call("PUT", BRAND, {"name": "Evil"}).status_code == 403
        assert upload(client, picture(3, 3)).status_code == 403
        assert [client.call("DELETE", path).status_code for path in (LOGO, BRAND)] == [403, 403]
    brand = house.services.brands.get(house.default.id)
    assert brand is not None
    assert (brand.name, brand.logo) == ("Acme", DIGEST)


@pytest.mark.parametrize(
    ("data", "given", "status"),
    [
        (b"", {}, 422),
        (b"<svg/>", {}, 422),
        (picture() + b"x", {}, 422),
        (large(MAX_BYTES + 1), {}, 422),
        (bytes(MAX_UPLOAD + 1), {}, 413),
        (picture(), {"content_type": "image/svg+xml"}, 415),
        (picture(), {"content_type": "application/json"}, 415),
        (picture(), {"content_type": None}, 415),
        (picture(), {"headers": {"Content-Encoding": "gzip"}}, 415),
    ],
)
def test_what_is_no_logo_is_refused(sqlite_house: House, data: bytes, given: dict[str, Any], status: int) -> None:
    """With the reason, and the logo before it stays."""
    boss = administrator(sqlite_house)
    sqlite_house.services.brands.set(sqlite_house.default.id, "Acme", None, logo=picture(), by=None, trace=Trace())
    answer = upload(boss, data, **given)
    assert not faults_of(answer, status)
    if status == 422:
        assert pointers_of(answer) == ["/logo"]
    if status == 413:
        assert "128 KiB" in answer.get_json()["detail"]
    assert boss.get(BRAND).get_json()["data"]["logo"] == DIGEST


def test_a_logo_that_breaks_off_or_has_no_end_is_refused(sqlite_house: House) -> None:
    """Shorter than announced; and in chunks, longer than what is read: what is left is not taken for it."""
    boss = administrator(sqlite_house)
    sqlite_house.services.brands.set(sqlite_house.default.id, "Acme", None, by=None, trace=Trace())
    padded = picture() + bytes(MAX_UPLOAD)
    for data, environ, status in (
        (picture()[:-1], {"CONTENT_LENGTH": str(len(picture()))}, 400),
        (padded, {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}, 413),
    ):
        given = {"wsgi.input": io.BytesIO(data), "wsgi.input_terminated": True} | environ
        assert not faults_of(upload(boss, b"", environ_overrides=given), status)
    assert boss.get(BRAND).get_json()["data"]["logo"] is None


def test_names_and_colours_are_held_to_their_rules(sqlite_house: House) -> None:
    """The pointer says which."""
    boss = administrator(sqlite_house)
    for body, pointer in (
        ({"name": "Acme\u202e"}, "/name"),
        ({"name": "x" * 61}, "/name"),
        ({"name": "x" * 241}, "/name"),
        ({"name": "Acme", "accent": "red"}, "/accent"),
        ({"name": "Acme", "accent": "#0b5d63\n"}, "/accent"),
        ({"name": "Acme", "accent": "#0b5d63;}"}, "/accent"),
        ({"name": "Acme", "logo": "x"}, "/logo"),
    ):
        answer = boss.call("PUT", BRAND, body)
        assert not faults_of(answer, 422)
        assert pointers_of(answer) == [pointer]
    assert boss.get(BRAND).status_code == 404


def test_more_is_read_where_a_file_may_come_and_nowhere_else() -> None:
    """A list of two."""
    assert dict.fromkeys(("/admin/appearance", LOGO), MAX_UPLOAD) == LARGER
