"""The HTTP contract: statuses, envelope, headers, rate limits, and what is answered while the database is away."""

import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from werkzeug.test import TestResponse

from payymo.clock import system_clock
from payymo.db import migrate
from payymo.db.work import connect
from payymo.web.headers import HEADERS
from payymo.web.reading import MAX_BODY
from tests.conftest import SERVICE_ROLE
from tests.support import services
from tests.support.house import PASSWORD, Database, House, fresh_name
from tests.web.scene import NOBODY, ROUTES, contents, faults_of, label, pointers_of, set_scene

WRONG = "wrong password 1"


def limited(database: Database, **limits: Any) -> House:
    """A house that counts, and only what the test names."""
    lifted = {"login": "", "refresh": "", "verify": "", "registration": "", "default": ""}
    overrides = {name: limits.pop(name) for name in ("lockout", "trusted_proxies") if name in limits}
    return House(database, limits={"enabled": True, **lifted, **limits}, **overrides)


# ── the envelope and the headers ─────────────────────────────────────────────────────────────────────────────────────


def _one_of_each(house: House) -> Iterator[tuple[int, TestResponse]]:
    """One answer of each status, with the status that it has to have."""
    client = house.client()
    yield 201, client.register()
    yield 200, client.log_in()
    yield 200, client.get("/api/auth/me")
    yield 200, client.get("/health/live")
    yield 200, client.get("/.well-known/jwks.json")
    yield 400, client.http.post("/api/auth/login", data=b"{", content_type="application/json")
    yield 401, house.client().get("/api/auth/me")
    yield 401, client.log_in(password=WRONG)
    yield 403, client.get("/api/admin/users")
    yield 404, client.get("/nowhere")
    yield 404, client.get(f"/api/admin/users/{NOBODY}/x")
    yield 405, client.get("/api/auth/login")
    yield 405, client.call("DELETE", "/api/auth/me")
    yield 413, client.http.post("/api/auth/login", data=b"x" * (MAX_BODY + 1), content_type="application/json")
    yield 415, client.http.post("/api/auth/login", data=b"{}", content_type="text/plain")
    yield 422, client.post("/api/auth/login", {})


def test_every_answer_has_a_request_id_and_the_security_headers(house: House) -> None:
    """Whatever the status: an id of our own for this one request, and every header of the security set."""
    ids = []
    for status, answer in _one_of_each(house):
        assert answer.status_code == status, answer.get_data()
        assert HEADERS.keys() <= dict(answer.headers).keys()
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "Set-Cookie" not in answer.headers
        ids.append(answer.headers["X-Request-ID"])
    assert len(set(ids)) == len(ids)


def test_request_id_is_never_the_callers(sqlite_house: House) -> None:
    """What a stranger sends as a request id is in no answer and in no log."""
    answer = sqlite_house.client(headers={"X-Request-ID": "chosen-by-me"}).get("/api/auth/me")
    assert "chosen-by-me" not in answer.headers["X-Request-ID"] + answer.get_data(as_text=True)


def test_successes_are_data_and_refusals_are_problem_documents(house: House) -> None:
    """Two shapes of answers, told apart by status and content type."""
    for status, answer in _one_of_each(house):
        if status >= 400:
            assert not faults_of(answer, status)
        elif answer.content_type == "application/json":
            assert answer.get_json().keys() == {"data"}


def test_answers_with_credentials_are_never_stored(house: House) -> None:
    """RFC 6749 §5.1, CVE-2023-30861: no cache keeps a token, or what a token opened."""
    client = house.client()
    answers = [client.register(), client.log_in(), client.refresh(), client.get("/api/auth/me")]
    answers += [client.post("/api/auth/token/verify", {"token": client.access_token}), client.get("/api/auth/sessions")]
    answers += [client.log_in(password=WRONG), client.get("/api/admin/users")]
    assert {answer.headers["Cache-Control"] for answer in answers} == {"no-store"}


def test_authenticated_answers_are_never_stored_on_any_route(sqlite_house: House) -> None:
    """CVE-2023-30861, for every route that asks for a token, whatever it answers."""
    scene = set_scene(sqlite_house)
    for route in ROUTES:
        if route.authentication is not None:
            scene.admin.log_in("root@example.com")
            answer = scene.send(route, b"" if route.body is None else {})
            assert answer.headers["Cache-Control"] == "no-store", label(route)


def test_transport_security_is_announced_behind_https_only(sqlite_database: Database) -> None:
    """RFC 6797 §7.2: the header has no place on plain http."""
    for issuer, expected in (("https://login.example", True), ("http://127.0.0.1:5000", False)):
        house = House(sqlite_database, issuer=issuer)
        assert ("Strict-Transport-Security" in house.client().get("/nowhere").headers) is expected
        house.close()


@pytest.mark.parametrize(
    "origin", ["null", "https://evil.example", "http://127.0.0.1:5000", "http://127.0.0.1:5000.evil"]
)
def test_no_origin_is_invited(sqlite_house: House, origin: str) -> None:
    """CVE-2024-41657, CVE-2024-25124: no answer lets another site's scripts read it, preflights neither."""
    client = sqlite_house.client(headers={"Origin": origin, "Access-Control-Request-Method": "POST"})
    for method, path in (("OPTIONS", "/api/auth/login"), ("POST", "/api/auth/login"), ("GET", "/.well-known/payymo")):
        answer = client.call(method, path)
        assert not [name for name in dict(answer.headers) if name.lower().startswith("access-control-")]


def test_methods_that_are_not_offered_are_405_with_allow(sqlite_house: House) -> None:
    """RFC 9110 §15.5.6: every path says what it offers. CVE-2021-21241: tokens are never handed out by GET."""
    scene = set_scene(sqlite_house)
    offered: dict[str, set[str]] = {}
    for route in ROUTES:
        offered.setdefault(scene.path(route), set()).add(route.method)
    for path, methods in offered.items():
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"} - methods:
            answer = scene.admin.call(method, path)
            assert not faults_of(answer, 405), (method, path)
            allowed = {name.strip() for name in answer.headers["Allow"].split(",")}
            assert allowed - {"HEAD", "OPTIONS"} == methods


def test_head_is_get_without_a_body(sqlite_house: House) -> None:
    """RFC 9110 §9.3.2: the same status and headers, no octet of a body."""
    sqlite_house.user("alice")
    client = sqlite_house.logged_in()
    for path in ("/api/auth/me", "/.well-known/jwks.json", "/health/ready", "/nowhere"):
        head, get = client.call("HEAD", path), client.get(path)
        assert head.status_code == get.status_code
        assert head.get_data() == b""
        assert head.headers["Content-Type"] == get.headers["Content-Type"]
        assert head.headers["X-Request-ID"]
    assert sqlite_house.client().call("HEAD", "/api/auth/me").status_code == 401


def test_options_does_nothing_and_says_what_is_offered(sqlite_house: House) -> None:
    """OPTIONS answers without a token, tells no data and ends no session."""
    scene = set_scene(sqlite_house)
    before = contents(sqlite_house)
    for route in ROUTES:
        answer = scene.admin.call("OPTIONS", scene.path(route))
        assert answer.status_code == 200
        assert route.method in answer.headers["Allow"]
        assert answer.get_data() == b""
    assert contents(sqlite_house) == before


# ── registration, public documents ───────────────────────────────────────────────────────────────────────────────────


def test_closed_registration_is_403_for_every_registration(sqlite_database: Database) -> None:
    """The operator closed it: no name, taken or free, gets another answer."""
    house = House(sqlite_database, registration={"enabled": False})
    house.user("alice")
    for name in ("alice", "bob"):
        answer = house.client().register(name)
        assert not faults_of(answer, 403)
        assert answer.get_json()["code"] == "registration_closed"
    house.close()


def test_taken_address_and_taken_name_are_refused_alike(house: House) -> None:
    """Invariant 24: one bland 422, so that nobody learns which of the two exists, in whichever case it is written."""
    house.user("alice")
    before = contents(house)
    taken = [
        {"email": "alice@example.com", "username": "free-name"},
        {"email": "ALICE@EXAMPLE.COM", "username": "free-name"},
        {"email": "free@example.com", "username": "alice"},
        {"email": "free@example.com", "username": "ALICE"},
        {"email": "alice@example.com", "username": "alice"},
    ]
    answers = [house.client().post("/api/auth/register", body | {"password": PASSWORD}) for body in taken]
    assert not [fault for answer in answers for fault in faults_of(answer, 422)]
    documents = [{**answer.get_json(), "request_id": "-"} for answer in answers]
    assert all(document == documents[0] for document in documents)
    assert documents[0]["code"] == "already_taken"
    assert "errors" not in documents[0]
    assert contents(house) == before


def test_key_set_is_cached_by_its_etag(house: House) -> None:
    """RFC 9110 §13: the same keys are 304 without a body, new keys are 200 with another tag."""
    client = house.client()
    first = client.get("/.well-known/jwks.json")
    assert first.content_type == "application/jwk-set+json"
    assert first.headers["Cache-Control"] == "public, max-age=300"
    for tag in (first.headers["ETag"], f'"x", {first.headers["ETag"]}', f"W/{first.headers['ETag']}"):
        again = client.call("GET", "/.well-known/jwks.json", headers={"If-None-Match": tag})
        assert (again.status_code, again.get_data()) == (304, b"")
        assert again.headers["X-Request-ID"]
    house.services.ring.rotate(at_once=True)
    changed = client.call("GET", "/.well-known/jwks.json", headers={"If-None-Match": first.headers["ETag"]})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != first.headers["ETag"]


def test_key_set_holds_public_signing_keys_of_access_tokens_only(house: House) -> None:
    """No private member, no refresh key, and the next key beside the active one."""
    keys = house.client().get("/.well-known/jwks.json").get_json(force=True)["keys"]
    assert len(keys) == 2
    for key in keys:
        assert key.keys() == {"kty", "n", "e", "use", "alg", "kid"}
        assert house.services.ring.find_access_key(key["kid"]) is not None
        assert house.services.ring.find_refresh_key(key["kid"]) is None


def test_metadata_names_places_below_the_issuer(sqlite_database: Database) -> None:
    """CVE-2021-30185: every address in it comes from the configuration, whatever the request claims to be."""
    house = House(sqlite_database, issuer="https://login.example/base/")
    answer = house.client(headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"}).get(
        "/.well-known/payymo"
    )
    document = answer.get_json()
    assert document["issuer"] == "https://login.example/base/"
    assert document["audience"] == "payymo-api"
    assert document["access_token_signing_alg_values_supported"] == ["RS256"]
    places = {name: value for name, value in document.items() if name.endswith(("_uri", "_endpoint", "_documentation"))}
    assert len(places) == 9
    assert all(value.startswith("https://login.example/base/") for value in places.values())
    house.close()


def test_complaint_about_a_new_password_points_to_the_new_password(sqlite_house: House) -> None:
    """RFC 6901: the pointer names the member that was sent, of two passwords the right one."""
    sqlite_house.user("alice")
    client = sqlite_house.logged_in()
    answer = client.post("/api/auth/password/change", {"current_password": PASSWORD, "new_password": "short"})
    assert not faults_of(answer, 422)
    assert pointers_of(answer) == ["/new_password"]


# ── rate limits ──────────────────────────────────────────────────────────────────────────────────────────────────────


def assert_limited(answer: TestResponse, seconds: range = range(1, 61)) -> None:
    """A 429 with when to come back, for programs and for people."""
    assert not faults_of(answer, 429), answer.get_data()
    wait = int(answer.headers["Retry-After"])
    assert wait in seconds
    assert answer.headers["X-RateLimit-Remaining"] == "0"
    assert ";r=0;" in answer.headers["RateLimit"]
    assert f"q={answer.headers['X-RateLimit-Limit']};" in answer.headers["RateLimit-Policy"]
    assert answer.headers["RateLimit"].endswith(f";t={wait}")
    assert f"Please wait {wait} second" in answer.get_json()["detail"]
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    ("tier", "path", "body"),
    [
        ("login", "/api/auth/login", {"email": "nobody@example.com", "password": WRONG}),
        ("refresh", "/api/auth/refresh", {"refresh_token": "x"}),
        ("verify", "/api/auth/token/verify", {"token": "x"}),
        ("registration", "/api/auth/register", {"email": "x", "username": "x", "password": "x"}),
    ],
)
def test_each_tier_counts_down_and_then_refuses(database: Database, tier: str, path: str, body: dict[str, str]) -> None:
    """The first n tries are answered and say how many are left; the next is 429; after the window it goes on."""
    house = limited(database, **{tier: "3/minute"})
    client = house.client()
    left = []
    for _ in range(3):
        answer = client.post(path, body)
        assert answer.status_code in {401, 422}
        assert answer.headers["RateLimit-Policy"] == f'"{tier}";q=3;w=60'
        left.append(answer.headers["X-RateLimit-Remaining"])
    assert left == ["2", "1", "0"]
    assert_limited(client.post(path, body))
    house.clock.advance(121)
    assert client.post(path, body).status_code in {401, 422}
    house.close()


def test_default_tier_covers_every_route_that_names_it(sqlite_database: Database) -> None:
    """CVE-2024-32868: no route that names a limit is without it; refused requests count as well."""
    house = limited(sqlite_database, default="5/minute")
    client = house.client()
    assert [client.get("/api/auth/me").status_code for _ in range(5)] == [401] * 5
    for route in ROUTES:
        if route.limit == "default":
            path = route.path.replace("<uuid:", "").replace("<string:", "").replace(">", "")
            path = path.replace("user_id", NOBODY).replace("session_id", NOBODY).replace("tenant_id", NOBODY)
            path = path.replace("event_id", NOBODY).replace("webhook_id", NOBODY).replace("api_key_id", NOBODY)
            assert_limited(client.call(route.method, path))
    house.close()


def test_another_address_has_a_count_of_its_own(database: Database) -> None:
    """Limits are per address: one flood does not lock everybody out."""
    house = limited(database, verify="1/minute", trusted_proxies=("10.0.0.0/8",))
    first, second = (house.client(headers={"X-Forwarded-For": address}) for address in ("192.0.2.1", "192.0.2.2"))
    for client in (first, second):
        client.http.environ_base["REMOTE_ADDR"] = "10.0.0.1"
        assert client.post("/api/auth/token/verify", {"token": "x"}).status_code == 401
    assert_limited(first.post("/api/auth/token/verify", {"token": "x"}))
    house.close()


def _tries(house: House, headers: dict[str, str], peer: str, count: int = 1) -> list[int]:
    client = house.client(headers=headers)
    client.http.environ_base["REMOTE_ADDR"] = peer
    return [client.post("/api/auth/token/verify", {"token": "x"}).status_code for _ in range(count)]


@pytest.mark.parametrize(
    "name", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "CF-Connecting-IP", "True-Client-IP", "X-Client-IP"]
)
def test_stranger_does_not_choose_their_address(sqlite_database: Database, name: str) -> None:
    """CVE-2026-45045, CVE-2026-33495: without a trusted proxy no header changes who is counted."""
    house = limited(sqlite_database, verify="2/minute")
    for number, status in ((1, 401), (2, 401), (3, 429), (4, 429)):
        assert _tries(house, {name: f"192.0.2.{number}"}, "198.51.100.1") == [status]
    house.close()


def test_untrusted_peer_does_not_forward(sqlite_database: Database) -> None:
    """Trusting one network does not mean believing everybody else."""
    house = limited(sqlite_database, verify="2/minute", trusted_proxies=("10.0.0.0/8",))
    for number, status in ((1, 401), (2, 401), (3, 429)):
        assert _tries(house, {"X-Forwarded-For": f"192.0.2.{number}"}, "198.51.100.1") == [status]
    house.close()


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("203.0.113.9, 192.0.2.1", "192.0.2.1"),
        ("203.0.113.9,192.0.2.1,10.0.0.2", "192.0.2.1"),
        ("127.0.0.1, 10.9.9.9, 192.0.2.1, 10.0.0.3, 10.0.0.2", "192.0.2.1"),
        ("garbage", "10.0.0.1"),
        ("192.0.2.1, garbage", "10.0.0.1"),
        ("192.0.2.1, 10.0.0.2:443", "10.0.0.1"),
        ("", "10.0.0.1"),
        (", ,", "10.0.0.1"),
        ("10.0.0.7", "10.0.0.7"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1%eth0\r\n x", "10.0.0.1"),
        ("fe80::1%" + "x" * 300, "fe80::1"),
        ("'; DROP TABLE users; --", "10.0.0.1"),
        ("9" * 5_000, "10.0.0.1"),
        ("1.1.1.1," * 2_000 + "192.0.2.1", "192.0.2.1"),
    ],
    ids=lambda text: text[:40].encode("unicode_escape").decode(),
)
def test_forwarded_addresses_are_counted_from_the_right(
    sqlite_database: Database, forwarded: str, address: str
) -> None:
    """The nearest address that isn't a trusted proxy's is the client; strangers wrote what is left of it."""
    house = House(sqlite_database, trusted_proxies=("10.0.0.0/8",))
    house.user("alice")
    client = house.client()
    client.http.environ_base["REMOTE_ADDR"] = "10.0.0.1"
    if "\r" not in forwarded:
        client.headers["X-Forwarded-For"] = forwarded
    else:
        client.http.environ_base["HTTP_X_FORWARDED_FOR"] = forwarded
        address = "2001:db8::1"
    assert client.log_in().status_code == 200
    assert client.get("/api/auth/me").get_json()["data"]["session"]["address"] == address
    house.close()


def test_one_ipv6_subscriber_is_one_address(sqlite_database: Database) -> None:
    """A /64 is one customer's: 2^64 addresses do not give 2^64 tries."""
    house = limited(sqlite_database, verify="2/minute")
    peers = ("2001:db8:1:1::1", "2001:db8:1:1:ffff::2", "2001:db8:1:1::3", "2001:db8:1:2::1")
    assert [_tries(house, {}, peer)[0] for peer in peers] == [401, 401, 429, 401]
    house.close()


EMAILS = ("alice@example.com", "ALICE@EXAMPLE.COM", "Alice@Example.Com", "alice@EXAMPLE.com", "aLiCe@example.com")


def _from_many_addresses(house: House, emails: tuple[str, ...], network: int = 0) -> list[TestResponse]:
    answers = []
    for number, email in enumerate(emails):
        client = house.client()
        client.http.environ_base["REMOTE_ADDR"] = f"198.51.{network}.{number + 1}"
        answers.append(client.log_in(email, WRONG))
    return answers


def test_account_is_counted_over_all_addresses_and_spellings(database: Database) -> None:
    """CVE-2025-24806, CVE-2025-54998: one account has one count, from wherever and in whichever case it is tried."""
    house = limited(database, login="4/minute")
    house.user("alice")
    answers = _from_many_addresses(house, EMAILS)
    assert [answer.status_code for answer in answers] == [401] * 4 + [429]
    assert_limited(answers[-1])
    assert house.client().log_in("bob@example.com", WRONG).status_code == 401
    house.close()


def test_unknown_account_is_counted_like_a_known_one(database: Database) -> None:
    """Invariant 24: being counted is no sign of existing."""
    house = limited(database, login="2/minute")
    house.user("alice")
    for network, email in enumerate(("alice@example.com", "nobody@example.com", "not an address")):
        assert [answer.status_code for answer in _from_many_addresses(house, (email,) * 3, network)] == [401, 401, 429]
    house.close()


def test_composed_and_decomposed_spellings_reach_no_account_twice(sqlite_database: Database) -> None:
    """Addresses are ASCII: no normal form of another text names an account, or gives further tries at one."""
    house = limited(sqlite_database, login="2/minute")
    house.user("alice")
    forms = tuple(unicodedata.normalize(form, "al\u00efce@example.com") for form in ("NFC", "NFD"))
    others = (
        *forms,
        "alice@ex\u0430mple.com",
        "\uff41lice@example.com",
        "al\u0131ce@example.com",
        " alice@example.com",
    )
    for network, email in enumerate(others):
        client = house.client()
        client.http.environ_base["REMOTE_ADDR"] = f"203.0.113.{network}"
        assert client.log_in(email, PASSWORD).status_code == 401
    house.close()


def test_right_password_clears_the_account_and_never_the_address(database: Database) -> None:
    """Allauth 65.9: one's own login does not buy an address more tries at other accounts."""
    house = limited(database, login="4/minute")
    house.user("alice")
    client = house.client()
    assert [client.log_in(password=WRONG).status_code for _ in range(3)] == [401] * 3
    assert client.log_in().status_code == 200
    assert_limited(client.log_in("bob@example.com", WRONG))
    fresh = _from_many_addresses(house, ("alice@example.com",) * 5)
    assert [answer.status_code for answer in fresh] == [401] * 4 + [429]
    house.close()


def test_locked_account_refuses_the_right_password_too(database: Database) -> None:
    """ASVS 6.3.1: a guesser who happens on the password during a lockout learns nothing from it."""
    house = limited(database, lockout={"enabled": True})
    house.user("alice")
    assert {answer.status_code for answer in _from_many_addresses(house, ("alice@example.com",) * 5)} == {401}
    assert_limited(house.client().log_in(), range(30, 31))
    house.clock.advance(30)
    assert house.client().log_in().status_code == 200
    house.close()


def test_strangers_who_lock_an_account_keep_its_owner_from_nothing_that_is_open(database: Database) -> None:
    """CVE-2026-9798, decided otherwise: a lockout is about passwords. Who is in stays in, and can set another one."""
    house = limited(database, lockout={"enabled": True}, trusted_proxies=("127.0.0.0/8",))
    house.user("alice")
    alice = house.logged_in()
    assert {answer.status_code for answer in _from_many_addresses(house, ("alice@example.com",) * 5)} == {401}
    assert_limited(house.client().log_in(), range(30, 31))
    assert alice.get("/api/auth/me").status_code == alice.refresh().status_code == 200
    new = "another fine Passw0rd"
    body = {"current_password": PASSWORD, "new_password": new}
    assert alice.post("/api/auth/password/change", body).status_code == 200
    assert house.client().log_in(password=new).status_code == 200
    house.close()


def test_strangers_who_use_up_an_address_keep_a_known_device_behind_it_from_nothing(database: Database) -> None:
    """An office has one address. Who is known there has as many logins of their own, at their own account alone."""
    house = limited(database, login="3/minute", lockout={"enabled": True})
    house.user("alice")
    house.user("bob")
    alice = house.client()
    assert alice.log_in().status_code == 200
    stranger = house.client()
    assert [stranger.log_in("nobody@example.com", WRONG).status_code for _ in range(3)] == [401, 401, 429]
    before = contents(house)
    [name] = (cookie.key for cookie in alice.http._cookies.values())
    for value in ("A" * 43, "", f"{'A' * 43}." * 5):
        stranger.http.set_cookie(name, value)
        assert_limited(stranger.log_in())
    assert_limited(alice.log_in("bob@example.com"))
    assert_limited(alice.post("/api/auth/login", {"email": 1}))
    assert contents(house) == before
    answers = [alice.log_in(password=password) for password in (WRONG, PASSWORD, PASSWORD, PASSWORD)]
    assert [answer.status_code for answer in answers] == [401, 200, 200, 429]
    assert_limited(answers[-1])
    house.clock.advance(60 * 60)
    new = "another fine Passw0rd"
    body = {"current_password": PASSWORD, "new_password": new}
    elsewhere = house.logged_in()
    assert elsewhere.post("/api/auth/password/change", body).status_code == 200
    assert [stranger.log_in("nobody@example.com", WRONG).status_code for _ in range(2)] == [401, 429]
    assert_limited(alice.log_in(password=new))  # it knew the old one
    assert elsewhere.log_in(password=new).status_code == 200
    house.close()


def test_a_device_that_is_forgotten_meanwhile_passes_no_limit(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its try is refused like a stranger's, and nobody has tried anything: the account does not wait for it."""
    house = limited(database, login="8/minute", lockout={"enabled": True})
    house.user("alice")
    stranger = house.client()
    assert {stranger.log_in(f"nobody{number}@example.com", WRONG).status_code for number in range(8)} == {401}
    stranger.http.set_cookie(f"payymo-device-{house.default.id.hex[:12]}", "A" * 43)
    monkeypatch.setattr(house.services.attempts, "knows", lambda *_: True)
    assert {stranger.log_in(password=WRONG).status_code for _ in range(8)} == {429}
    monkeypatch.undo()
    assert {answer.status_code for answer in _from_many_addresses(house, ("alice@example.com",) * 5)} == {401}
    house.close()


def test_a_stolen_token_guesses_no_more_passwords_from_many_addresses(database: Database) -> None:
    """CVE-2025-64102: changes of the password are counted by user, too."""
    house = limited(database, lockout={"enabled": True}, trusted_proxies=("127.0.0.0/8",))
    house.user("alice")
    token = house.logged_in().access_token
    body = {"current_password": WRONG, "new_password": "another fine Passw0rd"}
    statuses = []
    for number in range(7):
        thief = house.client(headers={"X-Forwarded-For": f"192.0.2.{number + 1}"})
        thief.access_token = token
        statuses.append(thief.post("/api/auth/password/change", body).status_code)
    assert statuses == [401] * 5 + [429] * 2
    house.close()


def test_same_address_in_two_tenants_is_two_accounts(sqlite_database: Database) -> None:
    """One tenant's attacker does not lock another tenant's user out."""
    house = limited(sqlite_database, login="2/minute", trusted_proxies=("127.0.0.0/8",))
    house.tenant("other")
    house.user("alice")
    answers = []
    for number in range(3):
        client = house.client(tenant="other", headers={"X-Forwarded-For": f"192.0.2.{number + 1}"})
        answers.append(client.log_in(password=WRONG).status_code)
    assert answers == [401, 401, 429]
    assert house.client().log_in().status_code == 200
    house.close()


def test_password_change_is_counted_as_a_login(database: Database) -> None:
    """CVE-2025-64102: a stolen access token is no way around the limit on guessing the password."""
    house = limited(database, login="3/minute")
    house.user("alice")
    client = house.logged_in()
    body = {"current_password": WRONG, "new_password": "another fine Passw0rd"}
    statuses = [client.post("/api/auth/password/change", body).status_code for _ in range(3)]
    assert statuses == [401, 401, 429]
    house.close()


# ── the database is gone ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def own_server() -> Iterator[services.Postgres]:
    """A PostgreSQL that a test may kill."""
    with services.postgres() as server:
        yield server


def test_database_that_is_gone_is_503_and_never_a_success(own_server: services.Postgres, tmp_path: Path) -> None:
    """Invariant 7, CVE-2020-15222: whoever can't know says so: no logout or refresh succeeds; then all recovers."""
    database = _migrated(own_server, tmp_path)
    house = House(database)
    house.clock.now = system_clock()  # the database's own
    house.user("alice")
    client, other = house.logged_in(), house.logged_in()
    own_server.kill()
    for attempt in range(2):  # over a broken connection, and over none
        house.clock.advance(
            2 * attempt
        )  # at first the tenant is still remembered, and revocation is what can't be asked
        for method, path, body in (
            ("POST", "/api/auth/logout", None),
            ("POST", "/api/auth/logout", {"everywhere": True}),
            ("POST", "/api/auth/token/verify", {"token": client.access_token}),
            ("POST", "/api/auth/refresh", {"refresh_token": client.refresh_token}),
            ("POST", "/api/auth/login", {"email": "alice@example.com", "password": PASSWORD}),
            ("POST", "/api/auth/register", {"email": "b@example.com", "username": "bob", "password": PASSWORD}),
            ("GET", "/api/auth/me", None),
            ("GET", "/api/admin/users", None),
        ):
            answer = client.call(method, path, body)
            assert not faults_of(answer, 503), (attempt, path, answer.get_data())
            assert int(answer.headers["Retry-After"]) >= 1
            assert answer.get_json()["code"] == "unavailable"
        garbage = house.client().post("/api/auth/token/verify", {"token": "a.b.c"})
        assert garbage.status_code in {401, 503}
        assert client.get("/health/ready").status_code == 503
        assert client.get("/health/live").status_code == 200
        assert client.get("/.well-known/jwks.json").status_code == 200
    own_server.start()
    house.clock.advance(2)
    assert client.get("/health/ready").status_code == 200
    assert client.get("/api/auth/me").status_code == 200
    assert client.refresh().status_code == 200
    assert client.post("/api/auth/logout").status_code == 200
    assert client.get("/api/auth/me").status_code == 401
    assert other.get("/api/auth/me").status_code == 200
    house.close()


def _migrated(server: services.Postgres, data: Path) -> Database:
    name = fresh_name()
    server.create_database(name)
    owner = connect(server.url(name))
    migrate.upgrade(owner)
    with owner.begin() as connection:
        connection.execute(sa.text(f"CREATE ROLE {SERVICE_ROLE} LOGIN IN ROLE payymo_runtime, payymo_platform"))
    owner.dispose()
    return Database("postgresql", server.url(name, SERVICE_ROLE), server.url(name), data)


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip"])
def test_a_body_in_an_encoding_is_refused(sqlite_house: House, encoding: str) -> None:
    """What is not decoded is not to be taken for what was meant (RFC 9110 §8.4)."""
    answer = sqlite_house.client(headers={"Content-Encoding": encoding}).log_in()
    assert not faults_of(answer, 415)
