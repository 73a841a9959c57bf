"""What an API key is exchanged for, over HTTP: as RFC 6749 says, and refused everywhere once the key is."""

import base64
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from payymo.apikeys import service, store
from payymo.apikeys.model import DAY_SECONDS, Draft
from payymo.apikeys.service import NewKey
from payymo.db.work import Transaction
from payymo.extension import Payymo
from payymo.feed.model import MARGIN_SECONDS, Entry
from payymo.logs import Trace
from payymo.tenants.model import Tenant
from payymo.web.pacing import HOLD
from tests.support.house import Database, House
from tests.web.scene import NOBODY, faults_of

TOKEN = "/api/auth/token"
GRANT = {"grant_type": "client_credentials"}


def make(house: House, *permissions: str, tenant: Tenant | None = None, days: int = 90) -> NewKey:
    """A key that the operator has made."""
    draft = Draft("nightly", permissions or ("invoices:read", "users:read"), days)
    return house.services.api_keys.create((tenant or house.default).id, draft, by=None, trace=Trace())


def basic(client_id: object, secret: str) -> str:
    """An Authorization header (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


def ask(
    house: House, authorization: str | None, form: object = GRANT, *, address: str = "10.0.0.1", **headers: str
) -> TestResponse:
    """One request for a token."""
    sent = headers | ({} if authorization is None else {"Authorization": authorization})
    environ = {HOLD: lambda _moment: None, "REMOTE_ADDR": address}
    return house.app.test_client().post(TOKEN, data=form, headers=sent, environ_overrides=environ)


def exchanged(house: House, key: NewKey, **more: str) -> str:
    """An access token of a key."""
    answer = ask(house, basic(key.key.id, key.secret), GRANT | more)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    found: str = answer.get_json()["access_token"]
    return found


def verified(house: House, token: str) -> Any:
    """What the service itself says of a token; None: it is not valid."""
    answer = house.client().post("/api/auth/token/verify", {"token": token})
    return answer.get_json()["data"]["token_info"] if answer.status_code == 200 else None


def entries(house: House) -> list[Entry]:
    """What the feed says."""
    return list(house.services.feed.read(None).entries)


def test_a_key_is_exchanged_for_a_token_that_says_whose_it_is(house: House) -> None:
    """RFC 6749 §4.4.3 and §5.1, RFC 9068 §2.2: no envelope, no refresh token, subject and client are the key."""
    made = make(house)
    answer = ask(house, basic(made.key.id, made.secret))
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    assert answer.headers["Cache-Control"] == "no-store"
    document = answer.get_json()
    assert {name: document[name] for name in document if name != "access_token"} == {
        "token_type": "Bearer",
        "expires_in": house.settings.tokens.access_ttl_seconds,
        "scope": "invoices:read users:read",
    }
    claims = house.services.verifier.verify(document["access_token"])
    key_id = str(made.key.id)
    assert (claims.sub, claims.client_id, claims.sid, claims.tenant_id) == (*[key_id] * 3, str(house.default.id))
    assert claims.is_service
    assert (claims.permissions, claims.roles) == (("invoices:read", "users:read"), ())
    info = verified(house, document["access_token"])
    assert (info["is_service"], info["client_id"], info["user_id"]) == (True, key_id, key_id)


def test_a_user_is_no_service(house: House) -> None:
    """What tells a key from a person holds of nobody who logs in."""
    house.user("alice")
    token = house.logged_in().access_token
    assert token is not None
    assert not house.services.verifier.verify(token).is_service
    assert verified(house, token)["is_service"] is False


def test_a_scope_asks_for_less(house: House) -> None:
    """RFC 6749 §3.3; more than the key may do is `invalid_scope`, and on record."""
    made = make(house)
    token = exchanged(house, made, scope="users:read", unheard_of="passed over", client_id="", audience="x")
    assert house.services.verifier.verify(token).permissions == ("users:read",)
    refused = ask(house, basic(made.key.id, made.secret), GRANT | {"scope": "users:read users:write"})
    assert not faults_of(refused, 400)
    assert (refused.get_json()["code"], refused.get_json()["error"]) == ("invalid_scope", "invalid_scope")
    [event] = [found for found in house.events() if found["event"] == "apikey.exchange"][1:]
    assert (event["outcome"], event["reason"], event["apikey"]) == ("refused", "scope", str(made.key.id))


@pytest.mark.parametrize(
    ("form", "content_type", "status", "error"),
    [
        ("", "application/x-www-form-urlencoded", 400, "invalid_request"),
        ("grant_type=", "application/x-www-form-urlencoded", 400, "invalid_request"),
        (
            "grant_type=password&username=a&password=b",
            "application/x-www-form-urlencoded",
            400,
            "unsupported_grant_type",
        ),
        (
            "grant_type=client_credentials&grant_type=client_credentials",
            "application/x-www-form-urlencoded",
            400,
            "invalid_request",
        ),
        (
            "scope=a:b&scope=a:c&grant_type=client_credentials",
            "application/x-www-form-urlencoded",
            400,
            "invalid_request",
        ),
        ('{"grant_type": "client_credentials"}', "application/json", 415, "invalid_request"),
        (
            "grant_type=client_credentials&scope=" + "x" * 17_000,
            "application/x-www-form-urlencoded",
            413,
            "invalid_request",
        ),
    ],
)
def test_what_is_badly_asked_is_told_so(
    sqlite_house: House, form: str, content_type: str, status: int, error: str
) -> None:
    """RFC 6749 §5.2, in one of our problem documents."""
    made = make(sqlite_house)
    answer = ask(sqlite_house, basic(made.key.id, made.secret), form.encode(), **{"Content-Type": content_type})
    assert not faults_of(answer, status)
    assert answer.get_json()["error"] == error
    assert answer.get_json()["error_description"].isascii()


def _forged(made: NewKey) -> str:
    return made.secret[:-43] + "A" * 43


REFUSED: dict[str, Callable[[House, NewKey], str | None]] = {
    "nothing": lambda _house, _made: None,
    "a bearer": lambda _house, made: f"Bearer {made.secret}",
    "no base64": lambda _house, _made: "Basic *",
    "not ASCII": lambda _house, _made: "Basic " + base64.b64encode(b"\xff\xfe:x").decode(),
    "no secret": lambda _house, made: basic(made.key.id, ""),
    "no identifier": lambda _house, made: basic("", made.secret),
    "another spelling": lambda _house, made: basic(str(made.key.id).upper(), made.secret),
    "another identifier": lambda house, made: basic(house.services.entropy.uuid(), made.secret),
    "unknown": lambda _house, made: basic(NOBODY, f"payymo_{NOBODY.replace('-', '')}_{made.secret[-43:]}"),
    "wrong": lambda _house, made: basic(made.key.id, _forged(made)),
}


@pytest.mark.parametrize("what", REFUSED)
def test_who_does_not_prove_themselves_gets_one_answer(sqlite_house: House, what: str) -> None:
    """RFC 6749 §5.2: `invalid_client`, with the scheme that is asked for; the reason is in the log alone."""
    made = make(sqlite_house)
    _assert_refused(ask(sqlite_house, REFUSED[what](sqlite_house, made)))
    assert sqlite_house.events()[-1]["event"] == "request.invalid_client"
    assert made.secret not in sqlite_house.log_lines.getvalue()


def _assert_refused(answer: TestResponse) -> None:
    assert not faults_of(answer, 401)
    document = answer.get_json()
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="payymo"'
    assert (document["code"], document["error"]) == ("invalid_client", "invalid_client")
    assert (
        document["detail"] == "The API key is not valid. Send its id as user and its secret as password (HTTP Basic)."
    )


def _revoke(house: House, made: NewKey) -> None:
    house.services.api_keys.revoke(house.default.id, made.key.id, by=None, trace=Trace())


def _suspend(house: House, _made: NewKey) -> None:
    house.services.administration.suspend(house.default.id, by=None, trace=Trace())


def _expire(house: House, _made: NewKey) -> None:
    house.clock.advance(DAY_SECONDS)


ENDS = {"revoked": _revoke, "inactive-tenant": _suspend, "expired": _expire}


@pytest.mark.parametrize("reason", ENDS)
def test_a_key_that_has_ended_is_refused_with_its_tokens(house: House, reason: str) -> None:
    """Invariants 1 and 2: at once, the same way as one that never was; and it is on record why."""
    made = make(house, days=1)
    house.clock.advance(DAY_SECONDS - 1)
    token = exchanged(house, made)
    assert verified(house, token) is not None
    house.clock.advance(-60 if reason != "expired" else 0)
    ENDS[reason](house, made)
    assert verified(house, token) is None
    _assert_refused(ask(house, basic(made.key.id, made.secret)))
    [event] = [found for found in house.events() if found["event"] == "apikey.exchange"][1:]
    assert (event["outcome"], event["reason"]) == ("refused", reason)


def test_a_key_is_good_in_its_own_tenant_alone(house: House) -> None:
    """Invariant 10: a request that names another tenant, by header or host, is refused; one that names none is not."""
    acme = house.tenant("acme")
    made = make(house, tenant=acme)
    authorization = basic(made.key.id, made.secret)
    assert ask(house, authorization).status_code == 200
    assert ask(house, authorization, **{"X-Tenant": "acme"}).status_code == 200
    house.tenant("other")
    _assert_refused(ask(house, authorization, **{"X-Tenant": "other"}))
    assert ask(house, authorization, **{"X-Tenant": "nobody"}).status_code == 404


def test_a_token_lives_no_longer_than_its_key(house: House) -> None:
    """Expiry is checked at use: in the last second of a key, its token has one second, too."""
    made = make(house, days=1)
    house.clock.advance(DAY_SECONDS - 1)
    answer = ask(house, basic(made.key.id, made.secret)).get_json()
    assert answer["expires_in"] == 1
    house.clock.advance(1)
    assert verified(house, answer["access_token"]) is None


def test_one_entry_of_the_feed_refuses_whatever_a_key_was_exchanged_for(house: House) -> None:
    """Invariant 2, for guards: the entry names the key as the session, and outlives its last token."""
    made = make(house)
    exchanged(house, made)
    _revoke(house, made)
    _revoke(house, made)
    [entry] = entries(house)
    assert (entry.kind, entry.id, entry.tenant_id) == ("session", str(made.key.id), str(house.default.id))
    assert entry.expires_at >= int(house.clock()) + house.settings.tokens.access_ttl_seconds
    assert [found["event"] for found in house.events()].count("apikey.revoked") == 1


@pytest.mark.parametrize("end", [_revoke, _suspend])
def test_entries_outlive_tokens_of_keys_from_before_lifetimes_were_shortened(
    database: Database, end: Callable[[House, NewKey], None]
) -> None:
    """Invariant 1: as it is of sessions, though the row of a key is written once a minute at most."""
    with closing(House(database, tokens={"access_ttl_seconds": 3600})) as before:
        made = make(before)
        exchanged(before, made)
        before.clock.advance(service.USE_SECONDS + 1)
        token = exchanged(before, made)
        expires_at = before.services.verifier.verify(token).exp
    with closing(House(database, tokens={"access_ttl_seconds": 60})) as house:
        end(house, made)
        [entry] = entries(house)
    assert entry.expires_at >= expires_at + MARGIN_SECONDS


@pytest.mark.parametrize("is_before", [True, False], ids=["before the look", "after it"])
@pytest.mark.parametrize("end", [_revoke, _suspend])
def test_an_exchange_that_an_end_overtakes_leaves_no_good_token(
    postgres_database: Database,
    monkeypatch: pytest.MonkeyPatch,
    end: Callable[[House, NewKey], None],
    is_before: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Invariant 1: nothing that is minted after an acknowledged end is accepted, whenever the look at the key was.

    On SQLite one waits for the other.
    """
    real = store.find_standing
    with closing(House(postgres_database)) as house:
        made = make(house)

        def overtaken(tx: Transaction, key_id: uuid.UUID) -> store.Standing | None:
            if is_before:
                end(house, made)
                return real(tx, key_id)
            found = real(tx, key_id)
            end(house, made)
            return found

        monkeypatch.setattr(store, "find_standing", overtaken)
        answer = ask(house, basic(made.key.id, made.secret))
        assert answer.status_code == (401 if is_before else 200)
        assert is_before or verified(house, answer.get_json()["access_token"]) is None


@pytest.mark.parametrize("is_right", [True, False], ids=["the key", "another secret"])
def test_a_tenant_that_is_deleted_during_an_exchange_is_refused_like_everybody(
    house: House, monkeypatch: pytest.MonkeyPatch, *, is_right: bool
) -> None:
    """RFC 6749 §5.2: the client gets what it understands, though there is no log left to say it in."""
    tenant, services, real = house.tenant("gone"), house.services, service.ApiKeys.look_at
    made = make(house, tenant=tenant)

    def overtaken(*given: Any, **named: Any) -> service.Sight:
        seen = real(*given, **named)
        services.administration.suspend(tenant.id, by=None, trace=Trace())
        services.administration.delete_tenant(tenant.id, by=None, progress=lambda _: None, trace=Trace())
        return seen

    monkeypatch.setattr(service.ApiKeys, "look_at", overtaken)
    answer = ask(house, basic(made.key.id, made.secret if is_right else _forged(made)))
    assert not faults_of(answer, 401)
    assert answer.get_json()["error"] == "invalid_client"


def test_the_last_use_is_written_once_a_minute(house: House) -> None:
    """Who sees the list sees what is still in use, and from where; exchanges wait for no row meanwhile."""
    made = make(house)
    authorization = basic(made.key.id, made.secret)
    started = int(house.clock())
    seen = []
    for seconds, address in ((0, "10.0.0.1"), (59, "10.0.0.2"), (61, "10.0.0.3")):
        house.clock.now = started + seconds
        assert ask(house, authorization, address=address).status_code == 200
        key = house.services.api_keys.list_keys(house.default.id)[0].key
        seen.append((key.last_used_at, key.last_used_address))
    assert seen == [(started, "10.0.0.1"), (started, "10.0.0.1"), (started + 61, "10.0.0.3")]


def test_payymo_itself_is_for_people(house: House) -> None:
    """Fail closed: whatever a key may do elsewhere, no route of ours that asks for a bearer takes its token."""
    token = exchanged(house, make(house, "users:*", "roles:*", "apikeys:*", "account:*"))
    client = house.client()
    client.access_token = token
    for method, path in (
        ("GET", "/api/admin/users"),
        ("GET", "/api/admin/api-keys"),
        ("POST", "/api/admin/api-keys"),
        ("GET", "/api/auth/me"),
        ("POST", "/api/auth/logout"),
        ("GET", "/api/auth/sessions"),
    ):
        answer = client.call(method, path)
        assert not faults_of(answer, 403)
        assert answer.get_json()["code"] == "keys_not_allowed", path


def test_a_host_application_takes_keys_for_as_long_as_they_are_good(house: House) -> None:
    """`Payymo.require` asks what the key may do now, as it does of users; and puts on record whose key lacked it."""
    app = Flask("host")
    guard = Payymo(app, services=house.services)
    app.get("/invoices", endpoint="invoices")(
        guard.require("invoices:read")(lambda: str(guard.caller.principal.is_service))
    )
    app.get("/payments", endpoint="payments")(guard.require("payments:read")(lambda: "never"))
    made = make(house)
    header = {"Authorization": f"Bearer {exchanged(house, made)}"}
    answer = app.test_client().get("/invoices", headers=header)
    assert (answer.status_code, answer.get_data(as_text=True)) == (200, "True")
    assert app.test_client().get("/payments", headers=header).status_code == 403
    event = house.events()[-1]
    assert (event["event"], event["apikey"]) == ("permission.required", str(made.key.id))
    assert not {"user_id", "actor_id"} & event.keys()
    _revoke(house, made)
    assert app.test_client().get("/invoices", headers=header).status_code == 401


@pytest.fixture
def limited(sqlite_database: Database) -> Iterator[House]:
    """A service that takes three exchanges a minute."""
    built = House(sqlite_database, limits={"enabled": True, "refresh": "3/minute"})
    yield built
    built.close()


def test_exchanges_are_counted_by_key_and_refusals_by_address(limited: House) -> None:
    """Who knows an identifier does not shut its owner out, and is shut out himself."""
    made = make(limited)
    good, bad = basic(made.key.id, made.secret), basic(made.key.id, _forged(made))
    assert [ask(limited, bad, address="10.0.0.66").status_code for _ in range(5)] == [401, 401, 401, 429, 429]
    on_record = [found for found in limited.events() if found["event"] == "apikey.exchange"]
    assert [found["reason"] for found in on_record] == ["wrong-secret"] * 3
    answers = [ask(limited, good, address=f"10.0.0.{number}") for number in range(3)]
    assert [answer.headers["RateLimit"][:13] for answer in answers] == [
        f'"refresh";r={left}'[:13] for left in (2, 1, 0)
    ]
    refused = ask(limited, good, address="10.0.0.66")
    assert not faults_of(refused, 429)
    assert refused.get_json()["error"] == "too_many_requests"
    assert [ask(limited, None, address="10.0.0.67").status_code for _ in range(4)] == [401, 401, 401, 429]


def test_what_a_tenant_may_do_more_often_its_keys_may(limited: House) -> None:
    """`payymo limits set refresh … --tenant`: who exchanges a key asks this tenant for something."""
    made, other = make(limited), make(limited, tenant=limited.tenant("acme"))
    limited.services.limit_overrides.set("refresh", "5/minute", tenant_id=limited.default.id, trace=Trace())
    for key, expected in ((made, 5), (other, 3)):
        statuses = [ask(limited, basic(key.key.id, key.secret)).status_code for _ in range(8)]
        assert statuses == [200] * expected + [429] * (8 - expected)
