"""Secrets stay where they belong: no log line, no error, no `repr` shows one, whatever happens to the service."""

import base64
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from payymo.config import describe
from payymo.entropy import Entropy
from payymo.errors import Misconfigured
from payymo.logs import SecurityLog, Trace
from payymo.secrets.master import find_master_key, read_key
from payymo.secrets.model import Access
from payymo.sessions.model import TokenPair
from payymo.users.model import Proof
from tests.support.house import MASTER_KEY, Client, Database, House

PASSWORD = "CanaryPassword-6f1d0c"
NEXT_PASSWORD = "CanaryPassword-next-91ab"
WRONG_PASSWORD = "CanaryPassword-wrong-77e2"
EMAIL = "canary-7c1e@example.com"
USERNAME = "canary-user-name"
AGENT = "CanaryAgent/1.0"
HEADER = "canary-header-5d2b"
NEVER = [PASSWORD, NEXT_PASSWORD, WRONG_PASSWORD, EMAIL, EMAIL.upper(), "canary-7c1e", HEADER, "$argon2", "PRIVATE KEY"]


class Witness:
    """Hears everything that is written anywhere, and keeps every token that was handed out."""

    def __init__(self, house: House, capture: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
        self.house = house
        self._capture = capture
        self._caplog = caplog
        self._bodies: list[str] = []
        self._tokens: list[str] = []

    def send(self, client: Client, method: str, path: str, body: Any = None, **headers: str) -> int:
        """One request with canaries in its headers. Answers the status."""
        extra = {
            "User-Agent": AGENT,
            "Cookie": f"session={HEADER}",
            "X-Api-Key": HEADER,
            "Referer": f"http://x/{HEADER}",
        }
        answer = client.call(method, path, body, headers=extra | headers)
        if answer.status_code >= 400:
            self._bodies.append(answer.get_data(as_text=True) + str(answer.headers))
        elif "access_token" in answer.get_data(as_text=True):
            data = answer.get_json()["data"]
            client.access_token, client.refresh_token = data["access_token"], data["refresh_token"]
            self._tokens += [data["access_token"], data["refresh_token"]]
        return answer.status_code

    def heard(self) -> str:
        """Every log line, everything printed, everything Python's own logging got, every refusal."""
        out, err = self._capture.readouterr()
        return "\n".join([self.house.log_lines.getvalue(), out, err, self._caplog.text, *self._bodies])

    def secrets(self) -> Iterator[str]:
        """What must not be heard."""
        yield from NEVER
        yield from (segment for token in self._tokens for segment in token.split("."))
        key = base64.urlsafe_b64decode(MASTER_KEY.partition(":")[2] + "=")
        yield from (
            MASTER_KEY,
            MASTER_KEY.partition(":")[2],
            key.hex(),
            repr(key)[2:-1],
            base64.b64encode(key).decode(),
        )
        yield from (self.house.database.url, self.house.database.owner_url)


@pytest.fixture
def witness(house: House, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Witness:
    """Somebody who listens, at the most talkative level, on each kind of database in turn."""
    caplog.set_level(logging.DEBUG)
    return Witness(house, capfd, caplog)


def live_through_everything(witness: Witness) -> None:
    """Every use case, with canaries in each field: good, wrong, repeated, hostile, administrative."""
    house = witness.house
    house.user("root", roles=("platform-administrator",))
    client, admin = house.client(), house.client()
    name = {"email": EMAIL, "username": USERNAME, "password": PASSWORD}
    assert witness.send(client, "POST", "/api/auth/register", name) == 201
    assert witness.send(client, "POST", "/api/auth/register", name) == 422
    assert witness.send(client, "POST", "/api/auth/register", name | {"password": "x"}) == 422
    assert witness.send(client, "POST", "/api/auth/register", name | {"unknown": PASSWORD}) == 422
    login = {"email": EMAIL, "password": PASSWORD}
    assert witness.send(client, "POST", "/api/auth/login", login | {"password": WRONG_PASSWORD}) == 401
    assert witness.send(client, "POST", "/api/auth/login", login) == 200
    assert witness.send(client, "POST", "/api/auth/token/verify", {"token": client.access_token}) == 200
    assert witness.send(client, "POST", "/api/auth/token/verify", {"token": client.refresh_token}) == 401
    used = client.refresh_token
    assert witness.send(client, "POST", "/api/auth/refresh", {"refresh_token": used}) == 200
    house.clock.advance(60)
    assert witness.send(house.client(), "POST", "/api/auth/refresh", {"refresh_token": used}) == 401
    assert witness.send(client, "GET", "/api/auth/me") == 401
    assert witness.send(client, "POST", "/api/auth/login", login) == 200
    passwords = {"current_password": WRONG_PASSWORD, "new_password": NEXT_PASSWORD}
    assert witness.send(client, "POST", "/api/auth/password/change", passwords) == 401
    assert witness.send(client, "GET", "/api/admin/users") == 403
    assert witness.send(client, "POST", "/api/auth/password/change", passwords | {"current_password": PASSWORD}) == 200
    assert witness.send(client, "POST", "/api/auth/login", login | {"password": NEXT_PASSWORD}) == 200
    admin.log_in("root@example.com", "SecurePassword123!")
    user_id = house.services.users.get_by_email(house.default.id, EMAIL).id
    assert witness.send(admin, "PATCH", f"/api/admin/users/{user_id}", {"password": PASSWORD}) == 200
    assert witness.send(admin, "PATCH", f"/api/admin/users/{user_id}", {"status": "disabled"}) == 200
    assert witness.send(admin, "POST", "/api/admin/users", name) == 422
    assert witness.send(client, "POST", "/api/auth/login", login) == 401
    assert witness.send(admin, "POST", "/api/auth/logout", {"everywhere": True}) == 200


def assert_nothing_leaked(witness: Witness, *more: str) -> None:
    """None of the secrets is in anything that was heard."""
    heard = witness.heard()
    assert "session.login" in heard
    for secret in (*witness.secrets(), *more):
        assert secret not in heard


def test_whole_journey_leaves_no_secret_behind(witness: Witness) -> None:
    """Invariant 17, CVE-2025-62513: no password, token, key, address or database URL in a log or a refusal."""
    live_through_everything(witness)
    assert_nothing_leaked(witness)


@pytest.mark.parametrize("table", ["users", "sessions", "token_revocations", "user_roles"])
def test_broken_database_leaves_no_secret_behind(witness: Witness, table: str) -> None:
    """CVE-2024-32967: drivers put statements and parameters into their errors; ours say class and place alone."""
    house = witness.house
    client = house.client()
    name = {"email": EMAIL, "username": USERNAME, "password": PASSWORD}
    assert witness.send(client, "POST", "/api/auth/register", name) == 201
    owner = house.database.owner()
    with owner.begin() as connection:
        connection.execute(sa.text(f"ALTER TABLE {table} RENAME TO gone"))
    owner.dispose()
    calls = [
        ("/api/auth/register", {"email": f"2{EMAIL}", "username": "other", "password": PASSWORD}),
        ("/api/auth/login", {"email": EMAIL, "password": PASSWORD}),
        ("/api/auth/refresh", {"refresh_token": client.refresh_token}),
        ("/api/auth/password/change", {"current_password": PASSWORD, "new_password": NEXT_PASSWORD}),
        ("/api/auth/logout", {"everywhere": True}),
        ("/api/auth/token/verify", {"token": client.access_token}),
    ]
    statuses = [witness.send(client, "POST", path, body) for path, body in calls]
    assert {500, 503} & set(statuses)
    heard = witness.heard()
    assert '"event": "failure"' in heard
    for secret in (*witness.secrets(), "UPDATE ", "SELECT ", "INSERT ", "parameters"):
        assert secret not in heard


def test_hostile_input_leaves_no_secret_behind(witness: Witness) -> None:
    """A refusal repeats nothing of what it refuses: the secret may only have been in the wrong place."""
    client = witness.house.client()
    witness.send(client, "POST", "/api/auth/login", {"email": "x", "password": "y"})
    bodies: list[Any] = [
        {"email": EMAIL, "password": [PASSWORD]},
        {"email": {EMAIL: PASSWORD}, "password": PASSWORD},
        {"email": EMAIL, "password": PASSWORD + "\ud800"},
        {"email": EMAIL * 50, "password": PASSWORD},
        {"email": EMAIL, "password": PASSWORD * 100},
        {"email": EMAIL + "\x00", "password": PASSWORD},
        [EMAIL, PASSWORD],
        PASSWORD,
    ]
    for path in ("/api/auth/login", "/api/auth/register", "/api/auth/refresh", "/api/auth/token/verify"):
        for body in bodies:
            assert 400 <= witness.send(client, "POST", path, body) < 500
    for value in (f"Basic {HEADER}", f"Bearer {HEADER}", f"Bearer {HEADER}.{HEADER}.{HEADER}", HEADER):
        assert witness.send(client, "GET", "/api/auth/me", Authorization=value) == 401
    for path in (f"/{HEADER}", f"/api/auth/me/{HEADER}", f"/api/auth/x?token={HEADER}"):
        assert witness.send(client, "GET", path) == 404
    witness.send(client, "POST", "/api/auth/login", {"email": EMAIL, "password": PASSWORD}, **{"X-Tenant": HEADER})
    assert_nothing_leaked(witness)


AGENTS = (
    "a\r\nb",
    "a\nevent=forged",
    "\x1b[31mred\x1b[0m",
    "a\x00b",
    "a\x85b",
    "\x9b31m",
    "a\x0bb\x0cc",
    '", "event": "forged',
)


@pytest.mark.parametrize("agent", AGENTS, ids=lambda text: text.encode("unicode_escape").decode())
@pytest.mark.parametrize("is_json", [True, False], ids=["json", "console"])
def test_one_event_is_one_line(sqlite_database: Database, agent: str, *, is_json: bool) -> None:
    """ASVS 16.4.1: line breaks and terminal codes in a stranger's text never make, hide or colour a line."""
    house = House(sqlite_database)
    house.services.log._logger = SecurityLog(json=is_json, stream=house.log_lines)._logger
    house.user("alice")
    client = house.client()
    client.http.environ_base |= {"HTTP_USER_AGENT": agent, "HTTP_X_FORWARDED_FOR": agent, "HTTP_X_REQUEST_ID": agent}
    client.log_in()
    client.log_in(f"{agent}@example.com")
    client.post("/api/auth/register", {"email": "a@example.com", "username": agent, "password": PASSWORD})
    lines = house.log_lines.getvalue().splitlines()
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)
    assert not any("forged" in line for line in lines)
    assert client.get("/api/auth/me").get_json()["data"]["session"]["user_agent"].isprintable()
    house.close()


def test_log_line_has_members_from_the_list_alone(house: House) -> None:
    """Events hold a name, an outcome and identifiers; there is no other member for a secret to hide in."""
    house.user("alice")
    client = house.logged_in()
    client.log_in(password=WRONG_PASSWORD)
    house.services.roles.create(house.default.id, "clerk", ["invoices:read"], by=None, trace=Trace())
    client.post("/api/auth/logout")
    members = {name for event in house.events() for name in event}
    identifiers = {"tenant_id", "user_id", "actor_id", "session_id", "role", "kid", "request_id", "address"}
    assert members <= {"event", "outcome", "reason", "timestamp"} | identifiers
    assert {event["request_id"] for event in house.events()} - {"-"}


def test_failure_shows_neither_text_nor_parameters_of_its_cause(house: House) -> None:
    """What an exception says may hold anything; its class and place are enough to find it."""
    error = RuntimeError(NEXT_PASSWORD)
    error.__cause__ = ValueError(PASSWORD)
    house.services.log.failure(error, trace=Trace("id", "192.0.2.1"))
    [line] = house.events()
    assert (line["error"], line["cause"]) == ("RuntimeError", "ValueError")
    assert PASSWORD not in json.dumps(line)
    assert NEXT_PASSWORD not in json.dumps(line)


def test_repr_hides_every_secret(sqlite_database: Database) -> None:
    """CVE-2026-40091: settings, services, keys, proofs and token pairs may end in a traceback; their secrets don't."""
    url = "postgresql://payymo:canary-db-password@db.example/payymo"
    house = House(sqlite_database)
    settings = house.settings.model_copy(
        update={
            "database": type(house.settings.database).model_validate({"url": url, "owner_url": url}),
            "redis": type(house.settings.redis).model_validate({"url": "redis://:canary-db-password@cache.example"}),
        }
    )
    house.user("alice")
    client = house.logged_in()
    key = find_master_key(MASTER_KEY, sqlite_database.data, Access(), Entropy())
    assert key is not None
    value = base64.urlsafe_b64decode(MASTER_KEY.partition(":")[2] + "=")
    shown = [
        settings,
        key,
        TokenPair("canary-token", "canary-token", 900),
        Proof(house.default.id, "$argon2id$x", "active"),
    ]
    shown += [getattr(house.services, name) for name in house.services.__slots__ if name != "settings"]
    shown += [describe(settings), settings.model_dump(), settings.model_dump_json(), house.services]
    shown += list(house.services.ring.list_keys())
    text = "\n".join(f"{value!r} {value}" for value in shown)
    for secret in (
        "canary",
        "$argon2",
        MASTER_KEY,
        MASTER_KEY.partition(":")[2],
        repr(value)[2:-1],
        value.hex(),
    ):
        assert secret not in text
    assert str(client.access_token) not in text
    house.close()


@pytest.mark.parametrize("text", ["canary-key", "payymo-key:canary", f"{MASTER_KEY}canary", "payymo-key:" + "A" * 43])
def test_bad_master_key_is_named_by_its_place_and_never_shown(text: str) -> None:
    """What is wrong with a key is said without the key."""
    with pytest.raises(Misconfigured) as caught:
        read_key(text, "PAYYMO_MASTER_KEY", Entropy())
    assert "PAYYMO_MASTER_KEY" in str(caught.value)
    assert text not in str(caught.value) + repr(caught.value)
    assert text.partition(":")[2] not in str(caught.value) or not text.partition(":")[2]
