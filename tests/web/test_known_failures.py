"""What went wrong in comparable systems, tried on ours over HTTP: each test names the published failure.

Hostile texts, invalid tokens, rate limits and logs have files of their own; here is what is left.
"""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from payymo.apikeys.model import Draft
from payymo.logs import Trace
from tests.conftest import Copied
from tests.support.house import PASSWORD, Client, House
from tests.web.scene import NOBODY, ROUTES, WEBHOOK_URL, contents, faults_of, label, set_scene


def _change(house: House, user_id: uuid.UUID, **changes: Any) -> None:
    house.services.administration.change_user(house.default.id, user_id, by=None, trace=Trace(), **changes)


# ── refresh, revocation, status ──────────────────────────────────────────────────────────────────────────────────────


def test_refresh_token_with_a_tail_cut_off_or_added_is_refused(house: House) -> None:
    """CVE-2026-27840: no cut, longer or otherwise cased text stands for a refresh token; the whole one works."""
    house.user("alice")
    client = house.logged_in()
    token = client.refresh_token
    assert token is not None
    wrong = [token[:-count] for count in (*range(1, 20), 64, 86, 87, 200)] + [token[count:] for count in range(1, 9)]
    wrong += [token + tail for tail in ("A", "AA", "=", ".", "\x00", " ", token)] + [
        token.upper(),
        token.lower(),
        token[::-1],
    ]
    for text in wrong:
        assert house.client().post("/api/auth/refresh", {"refresh_token": text}).status_code == 401
    assert client.refresh().status_code == 200


@pytest.mark.parametrize("everywhere", [True, False])
def test_what_was_logged_out_can_not_be_exchanged(house: House, *, everywhere: bool) -> None:
    """CVE-2020-10594, CVE-2026-9097: neither token of an ended session gets anybody anything, anywhere."""
    house.user("alice")
    client = house.logged_in()
    assert client.refresh().status_code == 200
    assert client.post("/api/auth/logout", {"everywhere": everywhere}).status_code == 200
    for token in (client.access_token, client.refresh_token):
        assert client.post("/api/auth/refresh", {"refresh_token": token}).status_code == 401
        assert client.post("/api/auth/token/verify", {"token": token}).status_code == 401
    assert client.post("/api/auth/logout").status_code == 401


def test_disabled_users_tokens_and_password_open_nothing(house: House) -> None:
    """CVE-2026-43983, CVE-2025-53942: disabling ends sessions, refresh and login at once, and enabling revives none."""
    user = house.user("alice")
    client = house.logged_in()
    _change(house, user.id, status="disabled")
    for _ in range(2):
        assert client.get("/api/auth/me").status_code == 401
        assert client.refresh().status_code == 401
        assert (
            client.post(
                "/api/auth/password/change", {"current_password": PASSWORD, "new_password": "x" * 14}
            ).status_code
            == 401
        )
        _change(house, user.id, status="active")
    assert house.logged_in().get("/api/auth/me").status_code == 200


def test_role_that_was_taken_away_is_gone_from_the_next_token_and_from_this_one(house: House) -> None:
    """CVE-2026-43983, GHSA-x883-2vmg-xwf7: a refresh brings today's rights; the old token has no more than those."""
    user = house.user("alice", roles=("tenant-administrator",))
    client = house.logged_in()
    assert client.get("/api/admin/users").status_code == 200
    _change(house, user.id, roles=["member"])
    assert client.get("/api/admin/users").status_code == 403
    assert client.refresh().status_code == 200
    verified = client.post("/api/auth/token/verify", {"token": client.access_token}).get_json()["data"]["token_info"]
    assert verified["roles"] == ["member"]
    assert verified["permissions"] == ["account:*"]
    assert client.get("/api/admin/users").status_code == 403


def test_removed_role_grants_nothing_to_those_who_held_it(house: House) -> None:
    """PyPI 2025-04-14, CVE-2024-46999: rights go with the role that they came from, and come back with no namesake."""
    scene = set_scene(house)
    scene.admin.post("/api/admin/roles", {"name": "reader", "permissions": ["users:read"]})
    assert scene.admin.call("PATCH", f"/api/admin/users/{scene.victim_id}", {"roles": ["reader"]}).status_code == 200
    victim = house.logged_in("victim")
    assert victim.get("/api/admin/users").status_code == 200
    assert scene.admin.call("DELETE", "/api/admin/roles/reader").status_code == 200
    assert victim.get("/api/admin/users").status_code == 403
    scene.admin.post("/api/admin/roles", {"name": "reader", "permissions": ["users:read"]})
    assert victim.get("/api/admin/users").status_code == 403


# ── tenants ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _two_tenants(house: House) -> tuple[Client, Client, dict[str, str]]:
    """An administrator of each of two tenants, and identifiers of things in the second one."""
    other = house.tenant("other")
    house.services.roles.create(house.default.id, "actor", ["impersonation:write"], by=None, trace=Trace())
    house.user("alice", roles=("tenant-administrator", "actor"))
    victim = house.user("bob", tenant=other, roles=("tenant-administrator",))
    alice, bob = house.logged_in(), house.logged_in("bob", tenant=other)
    bob.post("/api/admin/roles", {"name": "theirs", "permissions": ["users:read"]})
    [session] = bob.get("/api/auth/sessions").get_json()["data"]["sessions"]
    theirs = {"user_id": str(victim.id), "session_id": session["id"], "tenant_id": str(other.id), "name": "theirs"}
    told = bob.post("/api/admin/webhooks", {"url": WEBHOOK_URL, "events": ["user."]}).get_json()["data"]["webhook"]
    key = house.services.api_keys.create(other.id, Draft("theirs", ("users:read",)), by=None, trace=Trace()).key
    theirs |= {"webhook_id": told["id"], "api_key_id": str(key.id)}
    return alice, bob, {**theirs, "event_id": str(house.event_on_record(other.id))}


Neighbours = tuple[House, Client, Client, dict[str, str]]
BODIES: dict[str, dict[str, Any]] = {
    "ChangeUserBody": {"status": "disabled"},
    "RoleBody": {"permissions": ["users:read"]},
    "ChangeWebhookBody": {"enabled": False},
    "RotateSecretBody": {},
    "ImpersonateBody": {"why": "ticket 4711"},
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def neighbours(
    request: pytest.FixtureRequest, copied: Copied, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Neighbours]:
    """Two tenants for all attempts that are refused, since those leave nothing behind."""
    with copied(request.param, tmp_path_factory.mktemp("neighbours")) as database:
        house = House(database)
        yield house, *_two_tenants(house)
        house.close()


@pytest.fixture(scope="module")
def hosted(copied: Copied, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbours]:
    """The same, and a third one with a host name of its own. On SQLite: tokens are judged before it is asked."""
    with copied("sqlite", tmp_path_factory.mktemp("hosted")) as database:
        house = House(database)
        administration = house.services.administration
        administration.create_tenant("hosted", "Hosted", host="hosted.example", by=None, trace=Trace())
        yield house, *_two_tenants(house)
        house.close()


@pytest.mark.parametrize("route", [route for route in ROUTES if "<" in route.path], ids=label)
def test_identifier_of_another_tenant_names_nothing_here(neighbours: Neighbours, route: Any) -> None:
    """CVE-2025-14777, CVE-2026-94215, CVE-2026-45808: no route reads, changes or ends what is another tenant's."""
    house, alice, bob, theirs = neighbours
    before = contents(house)
    path = route.path
    for kind in ("uuid", "string"):
        for name, value in theirs.items():
            path = path.replace(f"<{kind}:{name}>", value)
    answer = alice.call(route.method, path, BODIES[route.body.__name__] if route.body else None)
    assert not faults_of(answer, 403 if "/tenants/" in path or "/platform/" in path else 404)
    assert contents(house) == before
    assert bob.get("/api/auth/me").status_code == 200


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.authentication in {"bearer", "service"}], ids=label
)
def test_token_of_one_tenant_is_refused_where_another_is_named(hosted: Neighbours, route: Any) -> None:
    """CVE-2026-9094: keys are shared by all tenants, so each token is held to its own, by header and by host name."""
    _house, alice, _bob, theirs = hosted
    path = route.path
    for kind in ("uuid", "string"):
        for name, value in theirs.items():
            path = path.replace(f"<{kind}:{name}>", value)
    for naming in ({"X-Tenant": "other"}, {"Host": "hosted.example"}, {"Host": "HOSTED.example:8080"}):
        answer = alice.call(route.method, path, headers=naming)
        assert not faults_of(answer, 401)
    assert alice.get("/api/auth/me").status_code == 200


def test_tokens_in_bodies_are_held_to_the_named_tenant_too(house: House) -> None:
    """CVE-2026-9094: verify and refresh refuse another tenant's token, and refusing it does not use it up."""
    alice, _bob, _theirs = _two_tenants(house)
    stranger = house.client(tenant="other")
    assert stranger.post("/api/auth/token/verify", {"token": alice.access_token}).status_code == 401
    assert stranger.post("/api/auth/refresh", {"refresh_token": alice.refresh_token}).status_code == 401
    assert alice.refresh().status_code == 200


def test_login_of_one_tenant_is_none_of_another(house: House) -> None:
    """The same address and password in two tenants are two users with two passwords."""
    other = house.tenant("other")
    house.user("alice")
    assert house.client(tenant="other").log_in().status_code == 401
    house.user("alice", tenant=other)
    mine, theirs = house.logged_in(), house.logged_in(tenant=other)
    ids = [client.get("/api/auth/me").get_json()["data"]["user"]["id"] for client in (mine, theirs)]
    assert len(set(ids)) == 2


def test_suspended_tenant_is_closed_at_every_door(house: House) -> None:
    """CVE-2024-47060, CVE-2026-42186: tokens, refresh, login and registration stop; resuming revives no old session."""
    other = house.tenant("other")
    house.user("bob", tenant=other)
    bob = house.logged_in("bob", tenant=other)
    house.services.administration.suspend(other.id, by=None, trace=Trace())
    assert bob.get("/api/auth/me").status_code == 401
    assert bob.post("/api/auth/token/verify", {"token": bob.access_token}).status_code == 401
    assert bob.refresh().status_code == 401
    assert bob.log_in("bob@example.com").status_code == 403
    assert bob.register("carol").status_code == 403
    house.services.administration.resume(other.id, by=None, trace=Trace())
    assert bob.get("/api/auth/me").status_code == 401
    assert bob.refresh().status_code == 401
    assert bob.log_in("bob@example.com").status_code == 200


# ── escalation ───────────────────────────────────────────────────────────────────────────────────────────────────────

ESCALATIONS: list[tuple[str, str, dict[str, Any]]] = [
    ("PATCH", "/api/admin/users/{me}", {"roles": ["platform-administrator"]}),
    ("PATCH", "/api/admin/users/{me}", {"roles": ["tenant-administrator", "platform-administrator"]}),
    ("PATCH", "/api/admin/users/{root}", {"password": "a fine new Passw0rd"}),
    ("PATCH", "/api/admin/users/{root}", {"status": "disabled"}),
    ("PATCH", "/api/admin/users/{root}", {"roles": ["member"]}),
    ("PATCH", "/api/admin/users/{member}", {"roles": ["platform-administrator"]}),
    (
        "POST",
        "/api/admin/users",
        {"email": "n@example.com", "username": "newone", "password": PASSWORD, "roles": ["platform-administrator"]},
    ),
    ("POST", "/api/admin/roles", {"name": "everything", "permissions": ["*:*"]}),
    ("POST", "/api/admin/roles", {"name": "everything", "permissions": ["*:read"]}),
    ("POST", "/api/admin/roles", {"name": "everything", "permissions": ["tenants:write"]}),
    ("POST", "/api/admin/roles", {"name": "everything", "permissions": ["invoices:write"]}),
    ("POST", "/api/admin/roles", {"name": "platform-administrator", "permissions": ["users:read"]}),
    ("PUT", "/api/admin/roles/member", {"permissions": ["users:read"]}),
    ("PUT", "/api/admin/roles/platform-administrator", {"permissions": ["users:read"]}),
    ("DELETE", "/api/admin/roles/member", {}),
    ("POST", "/api/admin/tenants", {"slug": "mine", "name": "Mine"}),
    ("GET", "/api/admin/tenants", {}),
    ("POST", "/api/admin/users/{root}/impersonate", {"why": "to be more", "current_password": PASSWORD}),
    ("POST", "/api/admin/users/{member}/impersonate", {"why": "not mine to do", "current_password": PASSWORD}),
    ("POST", "/api/admin/roles", {"name": "everybody", "permissions": ["impersonation:write"]}),
    ("GET", "/api/admin/platform/audit/events", {}),
]


@pytest.mark.parametrize(("method", "path", "body"), ESCALATIONS, ids=lambda part: str(part)[:60])
def test_administrator_gives_themselves_and_others_no_more_than_they_have(
    house: House, method: str, path: str, body: dict[str, Any]
) -> None:
    """CVE-2026-4629, CVE-2026-3121, CVE-2026-9099: no call makes more of anybody, or takes over who is more."""
    root = house.user("root", roles=("platform-administrator",))
    me = house.user("alice", roles=("tenant-administrator",))
    member = house.user("bob")
    client = house.logged_in()
    before = contents(house)
    answer = client.call(method, path.format(root=root.id, me=me.id, member=member.id), body or None)
    assert not faults_of(answer, 403, 422)
    assert contents(house) == before


@pytest.mark.parametrize(
    "extra",
    [
        {"roles": ["platform-administrator"]},
        {"permissions": ["*:*"]},
        {"tenant_id": NOBODY},
        {"id": NOBODY},
        {"status": "active"},
        {"email_verified": True},
        {"is_admin": True},
        {"password_hash": "$argon2id$"},
        {"sub": NOBODY},
    ],
    ids=lambda extra: next(iter(extra)),
)
def test_registration_decides_nothing_but_its_three_members(sqlite_house: House, extra: dict[str, Any]) -> None:
    """CVE-2026-27946, CVE-2024-29892: nobody registers with rights, an id or a tenant of their choice."""
    body = {"email": "alice@example.com", "username": "alice", "password": PASSWORD}
    answer = sqlite_house.client().post("/api/auth/register", body | extra)
    assert not faults_of(answer, 422)
    assert sqlite_house.client().log_in().status_code == 401


OPEN = {
    "POST /api/auth/register",
    "POST /api/auth/login",
    "POST /api/auth/refresh",
    "POST /api/auth/token/verify",
    "POST /api/auth/unlock",
    "POST /api/auth/email/verify",
    "POST /api/auth/email/change/confirm",
    "POST /api/auth/password/reset",
    "POST /api/auth/password/reset/confirm",
    "GET /.well-known/jwks.json",
    "GET /.well-known/payymo",
    "GET /api/openapi.json",
    "GET /api/docs",
    "GET /api/docs.css",
    "GET /health/live",
    "GET /health/ready",
}


def test_open_routes_are_these_and_administration_asks_for_a_permission() -> None:
    """CVE-2026-25748: what nobody has to log in for is a short list, and no administrative route lacks a permission."""
    assert {label(route) for route in ROUTES if route.authentication is None} == OPEN
    guarded = {label(route) for route in ROUTES if route.permission and route.authentication == "bearer"}
    assert guarded == {label(route) for route in ROUTES if route.path.startswith("/api/admin/")}


@pytest.mark.parametrize("route", [route for route in ROUTES if route.permission], ids=label)
def test_every_guarded_route_asks_for_its_permission(sqlite_house: House, route: Any) -> None:
    """CVE-2025-27507: without the permission nothing is looked up, and the answer is RFC 6750's error."""
    sqlite_house.user("alice")
    path = route.path.replace("<string:name>", "member")
    for name in ("user_id", "session_id", "tenant_id", "event_id", "webhook_id", "api_key_id"):
        path = path.replace(f"<uuid:{name}>", NOBODY)
    answer = sqlite_house.logged_in().call(route.method, path)
    assert not faults_of(answer, 403)
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="payymo", error="insufficient_scope"'
    assert sqlite_house.client().call(route.method, path).status_code == 401


# ── identity ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "email",
    [
        "al\u0131ce@example.com",
        "\uff41lice@example.com",
        "alice@\u212aexample.com",
        "alice@ex\u0430mple.com",
        "alice\u0301@example.com",
        "alice@example\uff0ecom",
        "alice\uff20example.com",
        "alice\u200b@example.com",
        " alice@example.com",
        "alice@example.com ",
        "alice@example.com\n",
        "alice@example.com\u0000",
        "alice@example.com,evil@example.com",
        "alice@example.com%0abcc:evil@example.com",
        "<alice@example.com>",
        '"alice"@example.com',
        "alice(comment)@example.com",
        "alice@[127.0.0.1]",
        "alice@example.com.",
        "alice@@example.com",
        "ali..ce@example.com",
    ],
    ids=lambda email: email.encode("unicode_escape").decode(),
)
def test_address_that_resembles_another_is_neither_that_user_nor_a_new_one(sqlite_house: House, email: str) -> None:
    """CVE-2019-19844, GitHub 2016: no spelling that folds to an existing address logs in as it or is registered."""
    sqlite_house.user("alice")
    before = contents(sqlite_house)
    assert sqlite_house.client().log_in(email).status_code == 401
    body = {"email": email, "username": "somebody", "password": "another fine Passw0rd"}
    assert not faults_of(sqlite_house.client().post("/api/auth/register", body), 422)
    assert contents(sqlite_house) == before


@pytest.mark.parametrize("name", ["ALICE", "Alice", "aLICE"])
def test_user_name_is_one_name_in_every_case_on_every_path(house: House, name: str) -> None:
    """CVE-2026-47203: registration and administration compare names in the same canonical form."""
    scene = set_scene(house)
    house.user("alice")
    body = {"email": "free@example.com", "username": name, "password": "another fine Passw0rd"}
    for client, path in ((house.client(), "/api/auth/register"), (scene.admin, "/api/admin/users")):
        answer = client.post(path, body)
        assert not faults_of(answer, 422)
        assert answer.get_json()["code"] == "already_taken"


def test_address_is_one_address_in_every_case(house: House) -> None:
    """CVE-2025-54998: another case logs the same user in, and shows the address as it was registered."""
    house.client().post(
        "/api/auth/register", {"email": "Alice.B@Example.COM", "username": "alice", "password": PASSWORD}
    )
    client = house.client()
    assert client.log_in("aLICE.b@eXAMPLE.com").status_code == 200
    assert client.get("/api/auth/me").get_json()["data"]["user"]["email"] == "Alice.B@Example.COM"


# ── passwords ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_password_counts_beyond_its_72nd_octet(house: House) -> None:
    """Okta 2024-10-30: nothing is cut off, neither of a long password nor because of a long name."""
    stem = "correct horse battery staple, and then some more words to get past it all"
    assert len(stem) > 72
    client = house.client()
    client.register("a" * 30, stem + " one")
    address = f"{'a' * 30}@example.com"
    for wrong in (stem, stem + " two", stem + " one ", stem[:72]):
        assert client.log_in(address, wrong).status_code == 401
    assert client.log_in(address, stem + " one").status_code == 200


@pytest.mark.parametrize(
    "password", ["", " ", None, [], False, 0, "\x00", "*", "%", "$argon2id$", PASSWORD[:-1], PASSWORD.lower()]
)
def test_blank_or_strange_password_logs_nobody_in(sqlite_house: House, password: Any) -> None:
    """Allauth 65.11.1: no value stands for "any password" or "no password"."""
    sqlite_house.user("alice")
    answer = sqlite_house.client().post("/api/auth/login", {"email": "alice@example.com", "password": password})
    assert not faults_of(answer, 401, 422)


def test_long_password_is_refused_before_it_is_hashed(house: House) -> None:
    """ASVS 6.2.9: a kilobyte is the most that anybody hashes for a stranger, at login too."""
    house.user("alice")
    assert house.client().log_in(password="x" * 1_025).status_code == 422
    assert house.client().log_in(password="x" * 1_024).status_code == 401


def test_no_answer_holds_a_hash(house: House) -> None:
    """CVE-2022-31177, CVE-2023-46128: hashes and refresh families are in no answer that anybody gets."""
    scene = set_scene(house)
    hashes = [row.split("$argon2id$")[1].split("'")[0] for row in contents(house)["users"]]
    for route in ROUTES:
        if route.method == "GET":
            text = scene.admin.get(scene.path(route)).get_data(as_text=True)
            assert "argon2" not in text
            assert "refresh_id" not in text
            assert not [found for found in hashes if found in text]


# ── sessions, one-time use ───────────────────────────────────────────────────────────────────────────────────────────


def test_two_users_of_one_browser_have_nothing_of_each_other(house: House) -> None:
    """CVE-2025-12390, CVE-2024-28197: every login is a new session, and takes nothing over from the one before."""
    house.user("alice")
    house.user("bob")
    browser = house.client()
    browser.log_in()
    first = browser.get("/api/auth/me").get_json()["data"]
    alices = browser.refresh_token
    browser.log_in("bob@example.com")
    second = browser.get("/api/auth/me").get_json()["data"]
    assert first["user"]["id"] != second["user"]["id"]
    assert first["session"]["id"] != second["session"]["id"]
    browser.post("/api/auth/logout")
    assert house.client().refresh(alices).status_code == 200


def test_client_chooses_no_session_identifier(sqlite_house: House) -> None:
    """CVE-2024-38513: whatever cookies or headers a stranger brings along, the session's id is ours and new."""
    sqlite_house.user("alice")
    client = sqlite_house.client(headers={"Cookie": f"session={NOBODY}; sid={NOBODY}", "X-Session-Id": NOBODY})
    client.log_in()
    assert client.get("/api/auth/me").get_json()["data"]["session"]["id"] != NOBODY


def test_reused_refresh_token_ends_the_family_for_good(house: House) -> None:
    """RFC 9700 §4.14.2, CVE-2026-9802: the thief and the owner are both out, and stay out after a restart."""
    house.user("alice")
    client = house.logged_in()
    stolen = client.refresh_token
    client.refresh()
    house.clock.advance(house.settings.tokens.grace_seconds + 1)
    assert house.client().refresh(stolen).status_code == 401
    restarted = House(house.database)
    restarted.clock.now = house.clock.now
    for place in (house, restarted):
        assert place.client().refresh(stolen).status_code == 401
        assert place.client().refresh(client.refresh_token).status_code == 401
        answer = place.client().post("/api/auth/token/verify", {"token": client.access_token})
        assert answer.status_code == 401
    restarted.close()


def test_tokens_are_handed_out_by_post_alone(sqlite_house: House) -> None:
    """CVE-2021-21241: no GET, HEAD or form of any route answers with a token."""
    scene = set_scene(sqlite_house)
    for route in ROUTES:
        for method in ("GET", "HEAD", "OPTIONS"):
            answer = scene.admin.call(method, scene.path(route))
            assert '_token":' not in answer.get_data(as_text=True) or scene.path(route) == "/api/openapi.json"
            assert "Set-Cookie" not in answer.headers
