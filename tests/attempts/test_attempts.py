"""Guessing, over HTTP and on both databases: what a stranger can try, and what a stranger can't do to an owner."""

import re
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from werkzeug.test import TestResponse

from payymo.errors import Overloaded
from payymo.logs import Trace
from tests.support.house import PASSWORD, Client, Database, House
from tests.support.services import Postgres
from tests.web.scene import contents

WRONG = "wrong password 1"
ALICE = "alice@example.com"


def guarded(database: Database, **lockout: Any) -> House:
    """A house where guessing costs something and nothing else does; addresses are told by a proxy."""
    house = House(database, lockout={"enabled": True, **lockout}, trusted_proxies=("127.0.0.0/8",))
    house.user("alice")
    return house


def from_address(house: House, address: str = "198.51.100.1") -> Client:
    """A new browser at this address."""
    return house.client(headers={"X-Forwarded-For": address})


def guess(house: House, times: int, email: str = ALICE, *, network: int = 1) -> list[int]:
    """The statuses of failed logins, each from another address of many networks."""
    return [
        from_address(house, f"203.{network}.{number}.9").log_in(email, WRONG).status_code for number in range(times)
    ]


def device_of(answer: TestResponse) -> str:
    """The value of the device cookie that an answer sets."""
    [cookie] = answer.headers.getlist("Set-Cookie")
    return cookie.partition("=")[2].partition(";")[0]


@pytest.mark.parametrize("email", [ALICE, "nobody@example.com", "not an address"])
def test_a_wait_comes_before_the_password_for_everybody_alike(
    database: Database, email: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 24: the sixth try is refused, right or not, existing or not, in the same words; nothing is hashed."""
    house = guarded(database)
    assert guess(house, 5, email) == [401] * 5

    def never(*_: object) -> bool:
        raise AssertionError("a password was looked at")

    monkeypatch.setattr(type(house.services.passwords), "verify", never)
    for password in (PASSWORD, WRONG):
        answer = from_address(house).log_in(email, password)
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "30")
        document = answer.get_json()
        assert document["detail"] == "Too many tries. Please wait 30 seconds and try again."
    monkeypatch.undo()
    house.clock.advance(29)
    assert from_address(house).log_in(email, WRONG).status_code == 429
    house.clock.advance(1)
    assert from_address(house).log_in(email, WRONG).status_code == 401
    answer = from_address(house).log_in(email, WRONG)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "60")
    house.close()


def test_a_failed_login_asks_the_database_the_same_for_somebody_and_nobody(database: Database) -> None:
    """Invariant 24: the same statements in the same order, also when a wait begins and while it runs."""
    house = guarded(database)
    seen: list[str] = []
    event.listen(
        house.services.engine,
        "before_cursor_execute",
        lambda *given: seen.append(re.sub(r"VALUES .*;", "VALUES …;", given[2])),
    )
    asked = []
    guess(house, 1, "first@example.com", network=9)  # the tenant is known by now
    for email in (ALICE, "nobody@example.com"):
        seen.clear()
        guess(house, 7, email)
        asked.append(list(seen))
    assert asked[0] == asked[1]
    assert len(asked[0]) > 7
    house.close()


def test_a_known_device_gets_in_while_strangers_lock_the_account(database: Database) -> None:
    """Nobody locks an owner out: neither by waits nor by the stop; and the stranger has learned nothing by it."""
    house = guarded(database, stop=6)
    alice = from_address(house)
    assert alice.log_in().status_code == 200
    assert guess(house, 5) == [401] * 5
    assert from_address(house).log_in().status_code == 429
    assert alice.log_in().status_code == 200
    assert guess(house, 2) == [401, 429]  # the owner's login ended the wait; the next failure is the stop
    house.clock.advance(90 * 86_400)
    assert from_address(house).log_in().status_code == 429
    assert alice.log_in().status_code == 200
    assert from_address(house).log_in().status_code == 429
    house.close()


def test_a_device_that_fails_too_often_is_a_stranger(database: Database) -> None:
    """A stolen cookie is good for ten tries that are counted apart, and then for nothing."""
    house = guarded(database, device_failures=3)
    alice = from_address(house)
    alice.log_in()
    assert [alice.log_in(password=WRONG).status_code for _ in range(2)] == [401] * 2
    assert alice.log_in().status_code == 200  # a success counts from the beginning again
    assert [alice.log_in(password=WRONG).status_code for _ in range(3)] == [401] * 3
    assert guess(house, 5) == [401] * 5  # none of them was counted at the account
    assert alice.log_in().status_code == 429
    house.close()


def test_a_cookie_that_is_not_ours_changes_nothing(database: Database) -> None:
    """Forged, of another user, of another tenant: the same answers as without one, and nothing is written for it."""
    house = guarded(database)
    house.user("bob")
    other = house.tenant("other")
    house.user("alice", tenant=other)
    bobs = device_of(from_address(house).log_in("bob@example.com"))
    theirs = device_of(house.client(tenant="other", headers={"X-Forwarded-For": "198.51.100.1"}).log_in())
    name = f"payymo-device-{house.default.id.hex[:12]}"
    guess(house, 5)
    before = contents(house)
    for value in (bobs, theirs, "A" * 43, "", "x" * 4000, f"{'A' * 43}.{bobs}"):
        client = from_address(house)
        client.http.set_cookie(name, value)
        answer = client.log_in()
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "30")
        assert "Set-Cookie" not in answer.headers
    assert contents(house) == before
    house.close()


def test_the_cookie_is_one_that_no_script_and_no_other_site_gets_at(sqlite_database: Database) -> None:
    """HttpOnly, SameSite=Strict, __Host- and Secure where the issuer is https; only its digest is kept; renewed."""
    house = guarded(sqlite_database)
    client = from_address(house)
    answer = client.log_in()
    [cookie] = answer.headers.getlist("Set-Cookie")
    assert cookie.startswith("payymo-device-")
    assert all(part in cookie for part in ("; HttpOnly", "; SameSite=Strict", "; Path=/", "; Max-Age=31536000"))
    assert device_of(answer) not in str(contents(house))
    house.clock.advance(300 * 86_400)
    assert device_of(client.log_in()) == device_of(answer)
    house.clock.advance(300 * 86_400)
    guess(house, 5)
    assert client.log_in().status_code == 200
    house.close()
    secure = House(
        sqlite_database, lockout={"enabled": True}, issuer="https://auth.example.com", trusted_proxies=("127.0.0.0/8",)
    )
    [cookie] = secure.client().log_in().headers.getlist("Set-Cookie")
    assert cookie.startswith("__Host-payymo-device-")
    assert "; Secure" in cookie
    secure.close()


def test_registering_makes_a_device_known_and_two_users_of_a_browser_stay_known(database: Database) -> None:
    """The second one to log in does not make a stranger of the first."""
    house = guarded(database)
    browser = from_address(house)
    assert browser.register("bob").status_code == 201
    assert browser.log_in().status_code == 200
    for email in ("bob@example.com", ALICE):
        assert guess(house, 5, email, network=5 if email == ALICE else 6) == [401] * 5
        assert browser.log_in(email).status_code == 200
    house.close()


def test_devices_of_one_user_are_a_bounded_number(sqlite_database: Database) -> None:
    """The eleventh takes the place of the one that was not used for longest."""
    house = guarded(sqlite_database)
    browsers = [from_address(house) for _ in range(11)]
    for browser in browsers:
        assert browser.log_in().status_code == 200
        house.clock.advance(1)
    guess(house, 5)
    assert len(contents(house)["known_devices"]) == 10
    assert [browser.log_in().status_code for browser in (browsers[0], browsers[1])] == [429, 200]
    house.close()


@pytest.mark.parametrize("act", ["own change", "administrator"])
def test_another_password_forgets_devices_and_opens_the_account(database: Database, act: str) -> None:
    """Who had the old password may have had the cookie. What was tried before was tried at another password."""
    house = guarded(database)
    user = house.user("bob")
    house.clock.advance(1)
    bob, thief = from_address(house), from_address(house)
    for browser in (bob, thief):
        browser.log_in("bob@example.com")
    guess(house, 5, "bob@example.com")
    house.clock.advance(1)
    new = "another fine Passw0rd"
    if act == "own change":
        answer = bob.post("/api/auth/password/change", {"current_password": PASSWORD, "new_password": new})
        assert answer.status_code == 200
    else:
        house.services.administration.change_user(house.default.id, user.id, password=new, by=None, trace=Trace())
    assert guess(house, 5, "bob@example.com", network=2) == [401] * 5
    assert thief.log_in("bob@example.com", new).status_code == 429
    assert bob.log_in("bob@example.com", new).status_code == (200 if act == "own change" else 429)
    house.close()


def test_a_success_clears_its_own_networks_failures_and_no_others(database: Database) -> None:
    """Allauth 65.9, NIST SP 800-63B §3.2.2: the owner's typing errors are forgotten, a stranger's tries are not."""
    house = guarded(database)
    owner = from_address(house)
    assert [owner.log_in(password=WRONG).status_code for _ in range(4)] == [401] * 4
    assert owner.log_in().status_code == 200
    assert guess(house, 4) == [401] * 4
    assert from_address(house, "198.51.100.2").log_in().status_code == 200
    assert guess(house, 2, network=2) == [401, 429]
    house.close()


def test_who_is_logged_in_takes_their_own_typing_errors_back_by_the_right_password(database: Database) -> None:
    """Else they add up for as long as one acts now and then, to waits of an hour and to the stop; others' stay."""
    lockout, mail = {"enabled": True, "failures": 2, "stop": 4}, {"transport": f"file:{database.data}/mail"}
    house = House(database, lockout=lockout, mail=mail, trusted_proxies=("127.0.0.0/8",))
    house.user("alice")
    alice, thief = from_address(house), from_address(house, "203.0.113.9")
    alice.log_in()
    thief.access_token = alice.access_token

    def act(client: Client, **password: str) -> int:
        return client.post("/api/auth/email/change", {"new_email": "new@example.com", **password}).status_code

    for _ in range(6):
        assert [act(alice, current_password=word) for word in (WRONG, PASSWORD)] == [401, 202]
    assert act(thief, current_password=WRONG) == 401
    assert act(alice, current_password=PASSWORD) == 202
    assert [act(alice, current_password=WRONG) for _ in range(2)] == [401, 429]
    house.close()


def test_a_login_of_a_moment_ago_takes_no_failure_back(sqlite_database: Database) -> None:
    """It stands for the password, and proves none: with a session alone nobody has as many tries as they like."""
    lockout, mail = {"enabled": True, "failures": 3}, {"transport": f"file:{sqlite_database.data}/mail"}
    house = House(sqlite_database, lockout=lockout, mail=mail)
    house.user("alice")
    thief = house.logged_in()
    asked = ({"new_email": "a@example.com", "current_password": WRONG}, {"new_email": "a@example.com"}) * 3
    statuses = [thief.post("/api/auth/email/change", body).status_code for body in asked]
    assert statuses == [401, 202, 401, 202, 401, 429]
    house.close()


def test_many_accounts_from_one_network_are_slowed_and_known_devices_pass(database: Database) -> None:
    """Credential stuffing: one try each, from addresses of one /24; others and known devices notice nothing."""
    house = guarded(database, network_accounts=6, network_seconds=600)
    alice = from_address(house, "192.0.2.77")
    alice.log_in()
    statuses = [
        from_address(house, f"192.0.2.{number}").log_in(f"user{number}@example.com", WRONG).status_code
        for number in range(8)
    ]
    assert statuses == [401] * 6 + [429] * 2
    refused = from_address(house, "192.0.2.200").log_in()
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "600")
    assert alice.log_in().status_code == 200
    assert from_address(house).log_in().status_code == 200
    assert [e["reason"] for e in house.events() if e["event"] == "login.stuffing"] == ["network"]
    house.clock.advance(599)
    assert from_address(house, "192.0.2.200").log_in().status_code == 429
    house.clock.advance(1)
    assert from_address(house, "192.0.2.200").log_in().status_code == 200
    house.close()


def test_a_guessers_own_account_does_not_clear_the_network(database: Database) -> None:
    """Allauth 65.9: what a login proves is one account; the others that the network tried stay counted."""
    house = guarded(database, network_accounts=4)
    house.user("mallory")
    statuses = []
    for number in range(5):
        statuses.append(from_address(house, "192.0.2.1").log_in(f"user{number}@example.com", WRONG).status_code)
        from_address(house, "192.0.2.1").log_in("mallory@example.com")
    assert statuses == [401] * 4 + [429]
    house.close()


def test_many_failures_of_a_tenant_slow_strangers_down_everywhere_in_it(database: Database) -> None:
    """From however many networks: strangers of this tenant wait, its known devices and other tenants don't."""
    house = guarded(database, tenant_failures=5, tenant_seconds=120)
    other = house.tenant("other")
    house.user("alice", tenant=other)
    alice = from_address(house)
    alice.log_in()
    statuses = [guess(house, 1, f"user{number}@example.com", network=number)[0] for number in range(6)]
    assert statuses == [401] * 5 + [429]
    assert from_address(house).log_in().status_code == 429
    assert alice.log_in().status_code == 200
    assert house.client(tenant="other", headers={"X-Forwarded-For": "203.9.9.9"}).log_in().status_code == 200
    assert [e["reason"] for e in house.events() if e["event"] == "login.stuffing"] == ["tenant"]
    house.clock.advance(180)
    assert from_address(house).log_in().status_code == 200
    house.close()


def test_an_administrator_unlocks_and_every_step_is_an_event(database: Database) -> None:
    """Waits, the stop and the unlocking are told to the operator; who may not change a user may not unlock them."""
    house = guarded(database, failures=2, stop=3)
    boss = house.user("boss", roles=("tenant-administrator",))
    user = house.services.users.get_by_email(house.default.id, ALICE)
    admin = house.logged_in("boss")
    guess(house, 2)
    house.clock.advance(30)
    assert guess(house, 2) == [401, 429]
    assert admin.post(f"/api/admin/users/{user.id}/unlock").status_code == 200
    assert guess(house, 1) == [401]
    house.services.administration.unlock_user(house.default.id, user.id, by=None, trace=Trace())
    assert from_address(house).log_in().status_code == 200
    told = [(e["event"], e.get("user_id"), e.get("actor_id")) for e in house.events()]
    for expected in (
        ("login.waits", str(user.id), None),
        ("login.stopped", str(user.id), None),
        ("user.unlocked", str(user.id), str(boss.id)),
        ("user.unlocked", str(user.id), None),
    ):
        assert expected in told
    root = house.user("root", roles=("platform-administrator",))
    assert admin.post(f"/api/admin/users/{root.id}/unlock").status_code == 403
    house.close()


def test_a_user_is_to_hear_of_it_once_a_day(database: Database) -> None:
    """A wait is noted once a day, the stop beside it; for nobody nothing is noted. An unlocking makes it news again."""
    house = guarded(database, failures=2, stop=5)
    user = house.services.users.get_by_email(house.default.id, ALICE)
    guess(house, 2, "nobody@example.com")
    for _ in range(4):
        guess(house, 2)
        house.clock.advance(3600)
    kinds = sorted("stop" if "'stop'" in row else "wait" for row in contents(house)["lockout_notices"])
    assert kinds == ["stop", "wait"]
    house.services.administration.unlock_user(house.default.id, user.id, by=None, trace=Trace())
    assert contents(house)["lockout_notices"] == []
    house.close()


def test_a_login_that_was_too_much_for_the_machine_is_no_failure(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody learned anything about the password by a 503, so nobody waits for it."""
    house = guarded(sqlite_database)

    def busy(*_: object) -> bool:
        raise Overloaded

    monkeypatch.setattr(type(house.services.passwords), "verify", busy)
    assert guess(house, 7) == [503] * 7
    monkeypatch.undo()
    assert guess(house, 6) == [401] * 5 + [429]
    house.close()


def test_a_login_that_the_service_could_not_bring_to_its_end_is_no_failure(database: Database) -> None:
    """Invariant 25: nobody waits for an outage when it is over, and no known device has become a stranger by it."""
    house = guarded(database, device_failures=3)
    alice = from_address(house)
    assert alice.log_in().status_code == 200

    def fail(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO sessions"):  # after the right password
            raise sa.exc.OperationalError(statement, None, Exception("away for a moment"))

    event.listen(house.services.engine, "before_cursor_execute", fail)
    for client in (alice, from_address(house)):
        assert [client.log_in().status_code for _ in range(7)] == [503] * 7
    event.remove(house.services.engine, "before_cursor_execute", fail)
    assert guess(house, 6) == [401] * 5 + [429]
    assert alice.log_in().status_code == 200
    house.close()


def test_without_the_database_nobody_is_admitted(postgres_database: Database, postgres_server: Postgres) -> None:
    """Invariant 23: no count, no try: 503, and no password is looked at."""
    house = guarded(postgres_database)
    house.client().log_in()  # the tenant is known for a second
    name = house.services.engine.url.database
    elsewhere = sa.create_engine(postgres_server.url(), isolation_level="AUTOCOMMIT")
    with elsewhere.connect() as connection:
        connection.exec_driver_sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        connection.exec_driver_sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        try:
            assert from_address(house).log_in().status_code == 503
        finally:
            connection.exec_driver_sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    elsewhere.dispose()
    house.close()


def test_what_has_run_out_is_pruned_and_a_stop_is_not(database: Database) -> None:
    """Names that strangers made up fill no table for ever."""
    house = guarded(database, failures=1, stop=2)
    alice = from_address(house)
    alice.log_in()
    guess(house, 1, "nobody@example.com")
    guess(house, 1)
    house.clock.advance(30)
    guess(house, 1)
    house.clock.advance(366 * 86_400)
    house.services.prune()
    left = contents(house)
    for name in ("login_failures", "login_minutes", "known_devices", "lockout_notices"):
        assert left[name] == [], name
    assert len(left["login_attempts"]) == 1
    assert from_address(house).log_in().status_code == 429
    house.close()


def test_nobody_is_locked_out_under_a_name_that_is_none(sqlite_database: Database) -> None:
    """What is no address is counted apart: from addresses, whose owners would not be told, and from user ids."""
    house = guarded(sqlite_database)
    mark = house.user("mark")
    owner = house.logged_in("mark")
    for number, name in enumerate((str(mark.id), "mar\N{KELVIN SIGN}@example.com")):
        assert guess(house, 6, name, network=number) == [401] * 5 + [429]
    assert from_address(house).log_in("mark@example.com").status_code == 200
    change = {"current_password": PASSWORD, "new_password": "another fine Passw0rd"}
    assert owner.post("/api/auth/password/change", change).status_code == 200
    house.close()


def test_what_this_service_does_not_do_is_no_failure(sqlite_database: Database) -> None:
    """Without mail no address is changed, and no password was looked at: changing that goes on."""
    house = guarded(sqlite_database)
    alice = house.logged_in()
    asked = {"new_email": "alice@example.org", "current_password": PASSWORD}
    assert {alice.post("/api/auth/email/change", asked).get_json()["code"] for _ in range(6)} == {"mail_off"}
    change = {"current_password": PASSWORD, "new_password": "another fine Passw0rd"}
    assert alice.post("/api/auth/password/change", change).status_code == 200
    house.close()


def test_a_login_that_a_new_password_overtakes_makes_no_device_known(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was proven is the old password; between its session and its device the user gets another one."""
    house = guarded(database)
    user, act = house.user("bob"), house.services.attempts.succeeded
    new = "another fine Passw0rd"

    def overtaken(*given: Any) -> str | None:
        house.clock.advance(1)
        house.services.administration.change_user(house.default.id, user.id, password=new, by=None, trace=Trace())
        return act(*given)

    monkeypatch.setattr(house.services.attempts, "succeeded", overtaken)
    thief = from_address(house)
    assert thief.log_in("bob@example.com").status_code == 200
    monkeypatch.undo()
    assert guess(house, 5, "bob@example.com") == [401] * 5
    assert thief.log_in("bob@example.com", new).status_code == 429
    house.close()
