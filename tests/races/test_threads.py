"""Races inside one process, on both databases: refresh against refresh, against logout, against an administrator."""

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

import pytest
import sqlalchemy as sa
from werkzeug.security import generate_password_hash

from payymo.db.schema import sessions, signing_keys, token_revocations, users
from payymo.logs import Event, Trace
from payymo.sessions import store
from payymo.sessions.model import Device
from tests.support.crew import Crew
from tests.support.house import PASSWORD, Client, Database, House
from tests.support.moments import before, begun_beside

T = TypeVar("T")


def at_once(*acts: Callable[[], T]) -> list[T]:
    """Run every act in a thread of its own, all from the same moment."""
    start = threading.Barrier(len(acts))

    def run(act: Callable[[], T]) -> T:
        start.wait()
        return act()

    with Crew(len(acts)) as pool:
        return list(pool.map(run, acts))


def refreshed(house: House, token: str | None) -> tuple[int, str | None]:
    """The status of a refresh by a fresh client, and the successor."""
    answer = house.client().refresh(token)
    return answer.status_code, answer.get_json()["data"]["refresh_token"] if answer.status_code == 200 else None


def living_sessions(house: House) -> int:
    owner = house.database.owner()
    with owner.connect() as connection:
        count: int = connection.execute(
            sa.select(sa.func.count()).select_from(sessions).where(sessions.c.ended_at.is_(None))
        ).scalar_one()
    owner.dispose()
    return count


def test_parallel_refreshes_get_one_successor(house: House) -> None:
    """Invariant 3 (CVE-2026-1035): whoever succeeds gets the same successor, and the chain goes on from it."""
    house.user("alice")
    for _ in range(8):
        client = house.logged_in()
        answers = at_once(*[lambda token=client.refresh_token: refreshed(house, token)] * 8)
        successors = {successor for _, successor in answers if successor}
        assert len(successors) == 1
        # One rotation and three replays; the rest is reuse, which ends the session.
        assert sorted(status for status, _ in answers) == [200] * 4 + [401] * 4
        assert client.refresh(successors.pop()).status_code == 401


def test_two_parallel_refreshes_both_go_on(house: House) -> None:
    """A client that sends its refresh twice is not logged out."""
    house.user("alice")
    client = house.logged_in()
    answers = at_once(*[lambda: refreshed(house, client.refresh_token)] * 2)
    assert [status for status, _ in answers] == [200, 200]
    assert len({successor for _, successor in answers}) == 1
    assert client.refresh(answers[0][1]).status_code == 200


def test_after_an_acknowledged_logout_nothing_of_the_family_works(house: House) -> None:
    """Invariant 2 (keycloak#51312): a refresh that races a logout leaves no token alive."""
    house.user("alice")
    for _ in range(8):
        client = house.logged_in()
        other = Client(house.app.test_client(), {})
        other.refresh_token = client.refresh_token
        status, _ = at_once(
            lambda client=client: client.post("/api/auth/logout").status_code,
            lambda other=other: other.refresh().status_code,
        )
        assert status == 200
        assert client.get("/api/auth/me").status_code == 401
        assert client.refresh().status_code == 401
        if other.access_token is not None:
            assert other.get("/api/auth/me").status_code == 401
            assert other.refresh().status_code == 401


def test_no_session_survives_a_disabled_user(house: House) -> None:
    """Invariant 2: logins and refreshes that race the disabling leave no living session."""
    user = house.user("alice")
    admin = house.services.administration
    for _ in range(6):
        admin.change_user(house.default.id, user.id, status="active", by=None, trace=Trace())
        client = house.logged_in()

        def disable() -> int:
            admin.change_user(house.default.id, user.id, status="disabled", by=None, trace=Trace())
            return 0

        at_once(
            disable,
            lambda: house.client().log_in().status_code,
            lambda: house.client().log_in().status_code,
            lambda token=client.refresh_token: refreshed(house, token)[0],
        )
        assert living_sessions(house) == 0


def test_nobody_waits_in_a_circle_over_a_role(postgres_database: Database) -> None:
    """Who removes a role while they give it to somebody, in another window: both are answered, in whatever order."""
    house = House(postgres_database)
    house.user("boss", roles=("tenant-administrator",))
    alice = house.user("alice")
    boss = house.logged_in("boss")
    house.services.roles.create(house.default.id, "clerk", ["users:read"], by=None, trace=Trace())
    locking: list[str] = []

    def is_second_lock(statement: str) -> bool:
        if "FOR UPDATE" in statement:
            locking.append(statement)
        return len(locking) == 2

    def give() -> int:
        return boss.call("PATCH", f"/api/admin/users/{alice.id}", {"roles": ["clerk"]}).status_code

    beside: list[Future[int]] = []
    with Crew(1) as crew:
        with before(house, is_second_lock, lambda: beside.append(begun_beside(crew, postgres_database, give))):
            assert boss.call("DELETE", "/api/admin/roles/clerk").status_code == 200
        assert beside[0].result() == 422
    house.close()


def test_nobody_waits_in_a_circle_over_who_acts_as_somebody(postgres_database: Database) -> None:
    """A tenant is suspended while an administrator, who acts as somebody, logs out: both come to their end."""
    house, why = House(postgres_database), {"why": "they asked me to", "current_password": PASSWORD}
    services, own, alice = house.services, house.default.id, house.user("alice")
    services.roles.create(own, "actor", ["impersonation:write"], by=None, trace=Trace())
    boss_id = house.user("boss", roles=("tenant-administrator", "actor")).id
    boss = house.logged_in("boss")
    [session] = services.sessions.list_sessions(own, boss_id)
    assert boss.post(f"/api/admin/users/{alice.id}/impersonate", why).status_code == 201
    with Crew(1) as crew:
        with services.work(own) as tx:
            assert store.lock_session(tx, session.id) is not None
            done = begun_beside(
                crew, postgres_database, lambda: services.administration.suspend(own, by=None, trace=Trace())
            )
            services.revocations.end_one(tx, session.id, of_user=boss_id, reason="logout")
            services.audit.record(tx, Event("session.logout", trace=Trace(), user_id=boss_id, session_id=session.id))
        done.result()
    assert living_sessions(house) == 0
    house.close()


def test_nobody_waits_in_a_circle_over_a_browser(postgres_database: Database) -> None:
    """Who is erased while they look at a page: both come to their end."""
    house = House(postgres_database)
    user, services, own = house.user("alice"), house.services, house.default.id
    here = Device("192.0.2.1", "a browser")
    signed_in = services.browsers.sign_in(own, email=user.email, password=PASSWORD, device=here, trace=Trace())
    house.clock.advance(120)  # that it is in use is written down again
    with Crew(1) as crew:
        with house.by_hand(own) as tx:
            services.users.lock(tx, user.id, by=None)
            services.revocations.end_of_user(tx, user.id, reason="user-erased")
            done = begun_beside(crew, postgres_database, lambda: services.browsers.find(signed_in.cookie.text))
            services.users.remove(tx, user.id)
        done.result()
    assert services.browsers.find(signed_in.cookie.text) is None
    house.close()


def test_no_session_survives_a_changed_password(house: House) -> None:
    """Invariant 2: a login with the old password that was under way starts nothing."""
    user = house.user("alice")
    admin = house.services.administration
    for number in range(6):
        new = f"another fine Passw0rd {number}"
        old = PASSWORD if number == 0 else f"another fine Passw0rd {number - 1}"

        def change(new: str = new) -> int:
            admin.change_user(house.default.id, user.id, password=new, by=None, trace=Trace())
            return 0

        at_once(change, *[lambda old=old: house.client().log_in(password=old).status_code] * 3)
        assert living_sessions(house) == 0


def test_one_of_many_registrations_of_one_address_wins(house: House) -> None:
    """Invariant 6: names are unique, whoever comes at the same time; the others get the bland refusal."""
    names = [f"user{number}" for number in range(6)]

    def register(name: str) -> int:
        body = {"email": "One@Example.com", "username": name, "password": PASSWORD}
        return house.client().post("/api/auth/register", body).status_code

    assert sorted(at_once(*[lambda name=name: register(name) for name in names])) == [201] + [422] * 5


def test_two_nodes_that_begin_at_once_have_one_default_tenant(postgres_database: Database) -> None:
    """On a database that is new: whoever is second takes what the first one has made, and begins."""
    one, other = (House(postgres_database) for _ in range(2))
    one.services.tenants.default_slug = other.services.tenants.default_slug = "new"
    with before(one, lambda found: "INSERT INTO tenants" in found, other.services.tenants.ensure_default):
        made = one.services.tenants.ensure_default()
    assert made == other.services.tenants.get_by_slug("new")
    one.close()
    other.close()


def test_parallel_logouts_leave_one_revocation(house: House) -> None:
    """Ending what has ended succeeds and is not counted twice."""
    house.user("alice")
    client = house.logged_in()
    statuses = at_once(*[lambda: client.post("/api/auth/logout").status_code] * 6)
    assert set(statuses) <= {200, 401}
    assert 200 in statuses
    owner = house.database.owner()
    with owner.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(token_revocations)).scalar() == 1
    owner.dispose()


def test_parallel_rotations_keep_one_active_key(house: House) -> None:
    """Invariant 14: at every moment exactly one key signs for each purpose."""
    at_once(*[lambda: house.services.ring.rotate("access", at_once=True)] * 4)
    owner = house.database.owner()
    with owner.connect() as connection:
        found = connection.execute(
            sa.select(signing_keys.c.purpose, signing_keys.c.state, sa.func.count()).group_by(
                signing_keys.c.purpose, signing_keys.c.state
            )
        ).all()
    owner.dispose()
    counts = {(purpose, state): count for purpose, state, count in found}
    assert counts["access", "active"] == counts["access", "next"] == 1
    assert counts["access", "retiring"] == 4


def test_revocations_become_visible_in_order_and_without_gaps(house: House) -> None:
    """The feed's law: a reader that follows the numbers never misses one that commits later."""
    house.user("alice")
    clients = [house.logged_in() for _ in range(24)]
    done = threading.Event()
    seen: list[int] = []

    def follow() -> int:
        owner = house.database.owner()
        while True:
            finished = done.is_set()
            with owner.connect() as connection:
                after = seen[-1] if seen else 0
                rows = connection.execute(
                    sa.select(token_revocations.c.seq)
                    .where(token_revocations.c.seq > after)
                    .order_by(token_revocations.c.seq)
                )
                seen.extend(rows.scalars())
            if finished:
                owner.dispose()
                return len(seen)

    with Crew(1) as pool:
        following = pool.submit(follow)
        try:
            with Crew(6) as writers:
                statuses = list(writers.map(lambda client: client.post("/api/auth/logout").status_code, clients))
        finally:
            done.set()
        assert following.result() == 24
    assert statuses == [200] * 24
    assert seen == list(range(1, 25))


def test_parallel_logins_with_an_older_hash_all_succeed(house: House) -> None:
    """A hash that somebody else has just replaced is still the same password: nobody is refused for it."""
    user = house.user("alice")
    owner = house.database.owner()
    for _ in range(3):
        older = generate_password_hash(PASSWORD, "pbkdf2:sha256:1000")
        with owner.begin() as connection:
            connection.execute(sa.update(users).where(users.c.id == user.id).values(password_hash=older))
        assert at_once(*[lambda: house.client().log_in().status_code] * 4) == [200] * 4
    owner.dispose()


def test_parallel_revocations_of_one_token_all_succeed_and_count_once(house: House) -> None:
    """Revoking twice succeeds, also at the same time, and leaves one entry and no gap."""
    house.user("alice")
    for number in range(4):
        claims = house.services.verifier.verify(house.logged_in().access_token or "")
        token_id, user_id = uuid.UUID(claims.jti), uuid.UUID(claims.sub)

        def revoke(token_id: uuid.UUID = token_id, user_id: uuid.UUID = user_id, expires_at: int = claims.exp) -> None:
            house.services.feed.revoke_token(
                house.default.id, user_id, token_id=token_id, expires_at=expires_at, reason="x", trace=Trace()
            )

        at_once(*[revoke] * 6)
        owner = house.database.owner()
        with owner.connect() as connection:
            numbers = connection.execute(sa.select(token_revocations.c.seq).order_by(token_revocations.c.seq))
            assert list(numbers.scalars()) == list(range(1, number + 2))
        owner.dispose()


@pytest.mark.parametrize("act", ["password", "disable", "everywhere", "suspend"])
def test_no_refresh_outlives_what_ends_its_session(house: House, act: str) -> None:
    """Invariant 2: refreshes that race the end of everything leave no token that works, whoever came first."""
    user = house.user("alice")
    admin = house.services.administration
    for number in range(3):
        admin.resume(house.default.id, by=None, trace=Trace())
        admin.change_user(house.default.id, user.id, status="active", password=PASSWORD, by=None, trace=Trace())
        client = house.logged_in()
        racers = [Client(house.app.test_client(), {}) for _ in range(3)]

        def end(client: Client = client) -> int:
            match act:
                case "password":
                    new = "another fine Passw0rd"
                    admin.change_user(house.default.id, user.id, password=new, by=None, trace=Trace())
                case "disable":
                    admin.change_user(house.default.id, user.id, status="disabled", by=None, trace=Trace())
                case "everywhere":
                    return client.post("/api/auth/logout", {"everywhere": True}).status_code
                case "suspend":
                    admin.suspend(house.default.id, by=None, trace=Trace())
            return 200

        def refresh(racer: Client, token: str | None = client.refresh_token) -> int:
            return racer.refresh(token).status_code

        done = at_once(end, *[lambda racer=racer: refresh(racer) for racer in racers])
        assert done[0] == 200
        assert set(done[1:]) <= {200, 401}
        for racer in racers:
            if racer.access_token is not None:
                assert racer.get("/api/auth/me").status_code == 401
                assert racer.refresh().status_code == 401
        assert living_sessions(house) == 0, number


def test_every_moment_of_parallel_rotations_has_one_active_and_one_next_key(house: House) -> None:
    """Invariant 14: somebody who looks all the time never sees two or none, and refreshes go on."""
    house.user("alice")
    client = house.logged_in()
    done = threading.Event()

    def watch() -> set[tuple[str, int]]:
        seen = set()
        owner = house.database.owner()
        query = (
            sa.select(signing_keys.c.state, sa.func.count())
            .where(signing_keys.c.purpose == "refresh", signing_keys.c.state.in_(("active", "next")))
            .group_by(signing_keys.c.state)
        )
        while not done.is_set():
            with owner.connect() as connection:
                rows = [(row[0], row[1]) for row in connection.execute(query)]
            seen.update(rows or [("none", 0)])
            if len(rows) != 2:
                seen.add(("missing", 0))
        owner.dispose()
        return seen

    def refresh_on() -> set[int]:
        statuses = set()
        while not done.is_set():
            statuses.add(client.refresh().status_code)
        return statuses

    with Crew(2) as pool:
        watching, refreshing = pool.submit(watch), pool.submit(refresh_on)
        try:
            at_once(*[lambda: [house.services.ring.rotate("refresh") for _ in range(3)]] * 4)
        finally:
            done.set()
        assert watching.result() == {("active", 1), ("next", 1)}
        assert refreshing.result() == {200}
