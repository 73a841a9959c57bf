"""The revocation feed: what stands in it, in which order, and whom it refuses. On both databases."""

import uuid
from collections.abc import Callable
from contextlib import closing

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import psycopg

from payymo.db.schema import revocation_counter, service_revocations, sessions, token_revocations
from payymo.db.work import Transaction
from payymo.feed import service as feed_service
from payymo.feed import store as feed_store
from payymo.feed.model import Cursor, Entry, Subject
from payymo.logs import Trace
from payymo.sessions import store
from payymo.sessions.model import Session
from tests.support.crew import Crew
from tests.support.house import Client, Database, House


def entries(house: House, after: str | None = None) -> list[Entry]:
    return list(house.services.feed.read(after).entries)


def place(house: House) -> str:
    return str(house.services.feed.head())


def change(house: House, statement: sa.Executable) -> None:
    """As the owner of the database may, and nobody else."""
    owner = house.database.owner()
    with owner.begin() as connection:
        connection.execute(statement)
    owner.dispose()


def position_of(house: House, client: Client) -> int:
    return house.services.verifier.verify(client.access_token or "").rev


@pytest.fixture
def alice(house: House) -> Client:
    house.user("alice")
    return house.logged_in()


# ── what is written ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_act_has_its_entry(house: House) -> None:
    """Invariant 2: whatever ends something says so, with what it concerns, since when and for how long."""
    user, now, tenant = house.user("alice"), int(house.clock()), str(house.default.id)
    acts = house.services.administration
    client = house.logged_in()
    claims = house.services.verifier.verify(client.access_token or "")
    token_id = uuid.UUID(claims.jti)
    house.services.feed.revoke_token(
        house.default.id, user.id, token_id=token_id, expires_at=claims.exp, reason="x", trace=Trace()
    )
    client = house.logged_in()
    session_id = house.services.verifier.verify(client.access_token or "").sid
    assert client.post("/api/auth/logout").status_code == 200
    acts.change_user(house.default.id, user.id, roles=("tenant-administrator",), by=None, trace=Trace())
    house.logged_in()
    acts.change_user(house.default.id, user.id, status="disabled", by=None, trace=Trace())
    acts.suspend(house.default.id, by=None, trace=Trace())
    kid = house.services.ring.active_kid("access")
    acts.revoke_key(kid, keep_sessions=True, trace=Trace())
    expected = [
        ("token", claims.jti, tenant),
        ("session", session_id, tenant),
        ("permissions", str(user.id), tenant),
        ("user", str(user.id), tenant),
        ("tenant", tenant, tenant),
        ("key", kid, None),
    ]
    found = entries(house)
    assert [(entry.kind, entry.id, entry.tenant_id) for entry in found] == expected
    assert [entry.cursor.seq for entry in found] == [1, 2, 3, 4, 5, 6]
    assert {entry.not_before for entry in found} == {now}
    assert {entry.expires_at for entry in found} == {now + 900 + 60}


def test_one_session_is_named_and_several_are_one_mark(house: House, alice: Client) -> None:
    """A list where it says more, a watermark where it says as much."""
    assert alice.post("/api/auth/logout", {"everywhere": True}).status_code == 200
    clients = [house.logged_in() for _ in range(3)]
    assert clients[0].post("/api/auth/logout", {"everywhere": True}).status_code == 200
    assert [entry.kind for entry in entries(house)] == ["session", "user"]
    assert [client.get("/api/auth/me").status_code for client in (alice, *clients)] == [401] * 4


def test_who_logs_in_again_in_the_same_second_is_let_in(house: House, alice: Client) -> None:
    """A mark refuses what is older than itself by number, and not by a clock of whole seconds."""
    others = [house.logged_in() for _ in range(2)]
    alice.post("/api/auth/logout", {"everywhere": True})
    again = house.logged_in()
    assert again.get("/api/auth/me").status_code == 200
    assert again.refresh().status_code == 200
    assert again.get("/api/auth/me").status_code == 200
    assert [client.get("/api/auth/me").status_code for client in others] == [401, 401]


def test_a_token_knows_what_was_before_it(house: House, alice: Client) -> None:
    """Logins, refreshes and retries read the position before they read what may be done."""
    [first] = [position_of(house, alice)]
    assert first == 0
    house.logged_in().post("/api/auth/logout")
    used = alice.refresh_token
    alice.refresh()
    assert position_of(house, alice) == 1
    house.logged_in().post("/api/auth/logout")
    alice.refresh(used)  # within the grace window: the same successor, and another access token
    assert position_of(house, alice) == 2
    assert position_of(house, house.logged_in()) == 2


@pytest.mark.parametrize("act", ["change", "remove", "assign"])
def test_a_change_of_what_somebody_may_do_is_told(house: House, act: str) -> None:
    """Invariant 11: to everybody who holds the role, and to nobody else."""
    roles, tenant = house.services.roles, house.default.id
    roles.create(tenant, "clerk", ["invoices:read"], by=None, trace=Trace())
    clerks = [house.user(name, roles=("clerk",)) for name in ("alice", "bob")]
    holders = {str(clerk.id) for clerk in clerks}
    house.user("carol")
    before = place(house)
    if act == "change":
        roles.change(tenant, "clerk", ["invoices:write"], by=None, trace=Trace())
    elif act == "remove":
        roles.remove(tenant, "clerk", by=None, trace=Trace())
    else:
        house.services.administration.change_user(tenant, clerks[0].id, roles=(), by=None, trace=Trace())
        holders = {str(clerks[0].id)}
    found = entries(house, before)
    assert {entry.id for entry in found} == holders
    assert {entry.kind for entry in found} == {"permissions"}


def test_a_role_of_many_is_one_mark_for_their_tenant(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody refreshes once; nobody has to be told thousands of names."""
    monkeypatch.setattr("payymo.roles.service.MANY_HOLDERS", 1)
    monkeypatch.setattr(feed_service, "MANY_HOLDERS", 1)
    roles, tenant = house.services.roles, house.default.id
    roles.create(tenant, "clerk", ["invoices:read"], by=None, trace=Trace())
    for name in ("alice", "bob"):
        house.user(name, roles=("clerk",))
    roles.change(tenant, "clerk", ["invoices:write"], by=None, trace=Trace())
    [entry] = entries(house)
    assert (entry.kind, entry.id) == ("permissions", str(tenant))


def test_permissions_are_no_matter_of_the_feed_here(house: House) -> None:
    """The service itself asks for live permissions, so that a token from before is still good for its own session."""
    user = house.user("alice")
    client = house.logged_in()
    house.services.administration.change_user(
        house.default.id, user.id, roles=("tenant-administrator",), by=None, trace=Trace()
    )
    assert client.get("/api/auth/me").status_code == 200


def test_a_deleted_tenant_is_refused_after_its_rows_are_gone(house: House) -> None:
    """Also by who begins to follow now."""
    acme = house.tenant("acme")
    house.user("alice", tenant=acme)
    acts = house.services.administration
    acts.suspend(acme.id, by=None, trace=Trace())
    acts.delete_tenant(acme.id, by=None, progress=lambda _: None, trace=Trace())
    [entry] = entries(house)
    assert (entry.kind, entry.id, entry.tenant_id) == ("tenant", str(acme.id), None)


@pytest.mark.parametrize("act", ["assign", "role of many", "delete"])
def test_entries_outlive_tokens_from_before_lifetimes_were_shortened(
    database: Database, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    """Invariant 11: what was taken away does not come back to a token that still lives."""
    before = House(database, tokens={"access_ttl_seconds": 3600})
    acme, now = before.tenant("acme"), int(before.clock())
    user = before.user("alice", tenant=acme)
    before.logged_in(tenant=acme)
    before.close()
    house = House(database, tokens={"access_ttl_seconds": 60})
    acts = house.services.administration
    if act == "delete":
        acts.suspend(acme.id, by=None, trace=Trace())
        acts.delete_tenant(acme.id, by=None, progress=lambda _: None, trace=Trace())
    else:
        monkeypatch.setattr(feed_service, "MANY_HOLDERS", 1 if act == "assign" else 0)
        acts.change_user(acme.id, user.id, roles=(), by=None, trace=Trace())
    [entry] = entries(house)
    house.close()
    assert entry.expires_at == now + 3600 + 60


def test_a_suspension_is_told_though_nobody_is_logged_in(house: House) -> None:
    """A login may be under way, and its token with it."""
    house.services.administration.suspend(house.default.id, by=None, trace=Trace())
    assert [entry.kind for entry in entries(house)] == ["tenant"]


def test_the_keys_of_refresh_tokens_are_nobodys_business(house: House) -> None:
    """Nobody verifies by them but the service."""
    house.services.administration.revoke_key(
        house.services.ring.active_kid("refresh"), keep_sessions=True, trace=Trace()
    )
    assert entries(house) == []


def test_a_revoked_key_is_refused_for_as_long_as_caches_show_it(sqlite_database: Database) -> None:
    """Invariant 12: whoever has it signs tokens of any age."""
    house = House(sqlite_database, keys={"jwks_max_age_seconds": 3600})
    house.services.administration.revoke_key(
        house.services.ring.active_kid("access"), keep_sessions=True, trace=Trace()
    )
    [entry] = entries(house)
    house.close()
    assert entry.expires_at == int(house.clock()) + 3600 + 60


def test_what_was_rolled_back_leaves_no_gap(house: House, alice: Client) -> None:
    """Numbers are taken in the transaction that uses them."""

    def end_and_die() -> None:
        with house.services.work(house.default.id) as tx:
            house.services.feed.add(tx, "user", [Subject(house.default.id, None, 10)], reason="x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        end_and_die()
    alice.post("/api/auth/logout")
    assert [entry.cursor.seq for entry in entries(house)] == [1]


# ── how it is read ───────────────────────────────────────────────────────────────────────────────────────────────────


def fill(house: House, count: int) -> None:
    with house.services.work(house.default.id) as tx:
        subjects = [Subject(uuid.UUID(int=number), None, 4_000_000_000) for number in range(1, count + 1)]
        house.services.feed.add(tx, "session", subjects, reason="x")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_pages_follow_each_other_without_gap_or_repetition(house: House, size: int) -> None:
    """Also where a page ends in the middle of what was written at once."""
    fill(house, 5)
    with house.services.work.platform() as tx:
        house.services.feed.key_revoked(tx, "kid", live_until=4_000_000_000)
    fill_more = [uuid.UUID(int=number) for number in range(100, 104)]
    with house.services.work(house.default.id) as tx:
        house.services.feed.add(tx, "session", [Subject(found, None, 4_000_000_000) for found in fill_more], reason="x")
    seen, cursor = [], None
    while True:
        page = house.services.feed.read(cursor, count=size)
        assert not page.restart
        seen += [entry.cursor.seq for entry in page.entries]
        cursor = str(page.cursor)
        if not page.more:
            break
    assert seen == list(range(1, 11))
    assert cursor == place(house)
    assert not house.services.feed.read(cursor).entries


@pytest.mark.parametrize("size", [1, 2, 3])
def test_gaps_between_pages_are_passed_over(house: House, size: int) -> None:
    """What expires first leaves them. Who has come to one does not begin again, for ever."""
    fill(house, 7)
    change(house, sa.delete(token_revocations).where(token_revocations.c.seq.in_([2, 4, 5])))
    seen, cursor, more = [], None, True
    while more and len(seen) < 7:
        page = house.services.feed.read(cursor, count=size)
        assert not page.restart
        seen += [entry.cursor.seq for entry in page.entries]
        cursor, more = str(page.cursor), page.more
    assert seen == [1, 3, 6, 7]


def test_the_last_page_says_that_it_is(house: House) -> None:
    """Also when it is full: a follower that has everything is not sent to ask again."""
    fill(house, 4)
    first = house.services.feed.read(None, count=2)
    last = house.services.feed.read(str(first.cursor), count=2)
    assert (first.more, last.more) == (True, False)
    assert str(last.cursor) == place(house)


def test_a_page_costs_no_more_where_more_follows(postgres_database: Database) -> None:
    """PostgreSQL reads what it answers and not all that follows, whatever it supposes of the policy."""
    statement = feed_store.READ.compile(dialect=psycopg.dialect())
    with closing(House(postgres_database)) as house:
        fill(house, 10_000)
        with house.services.work.platform(writes=False) as tx:
            explained = tx._connection.exec_driver_sql(
                f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", {"after": 100, "count": 10}
            )
            nodes, read = [explained.scalar_one()[0]["Plan"]], 0.0
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", ())
        read = max(read, node["Actual Rows"])
    assert read == 10


def test_news_is_read_once_and_forgotten_with_the_next(house: House) -> None:
    """All followers ask for the same; what was kept counts up to one head, and is small."""
    known = place(house)
    fill(house, 2)
    page = house.services.feed.read(known)
    assert house.services.feed.read(known) is page
    assert [entry.cursor.seq for entry in page.entries] == [1, 2]
    assert len(house.services.feed.read(known, count=1).entries) == 1
    with house.services.work(house.default.id) as tx:
        house.services.feed.add(tx, "user", [Subject(uuid.UUID(int=7), None, 4_000_000_000)], reason="x")
    assert len(house.services.feed.read(known).entries) == 3


def test_a_number_that_commits_late_is_never_missed(house: House, alice: Client) -> None:
    """Whoever has seen n has seen everything before n: the next number is not given while one is not decided."""
    bob = (house.user("bob"), house.logged_in("bob"))[1]
    with Crew(1) as crew:
        with house.services.work(house.default.id) as tx:
            house.services.feed.add(tx, "user", [Subject(uuid.UUID(int=1), None, 4_000_000_000)], reason="x")
            later = crew.submit(lambda: bob.post("/api/auth/logout").status_code)
            for _ in range(20):
                assert entries(house) == []
                assert not later.done()
        assert later.result() == 200
    assert [entry.kind for entry in entries(house)] == ["user", "session"]
    assert alice.get("/api/auth/me").status_code == 200


def restore(house: House) -> Callable[[], None]:
    """What brings the feed back to where it is now, as a backup would."""
    owner = house.database.owner()
    with owner.connect() as connection:
        counter = connection.execute(sa.select(revocation_counter)).mappings().one()
    owner.dispose()

    def go_back() -> None:
        change(house, sa.delete(token_revocations).where(token_revocations.c.seq > counter["last_seq"]))
        change(house, sa.delete(service_revocations).where(service_revocations.c.seq > counter["last_seq"]))
        change(house, sa.update(revocation_counter).values(**counter))

    return go_back


@pytest.mark.parametrize("acts_after", [0, 1, 2, 3, 5])
def test_a_place_in_a_history_that_was_undone_begins_again(house: House, acts_after: int) -> None:
    """Invariant 19: however many entries the restored feed has by then, fewer or more."""
    fill(house, 2)
    go_back = restore(house)
    known = place(house)
    fill(house, 1)
    fill(house, 1)
    undone = place(house)
    go_back()
    change(house, sa.delete(token_revocations).where(token_revocations.c.subject_id == uuid.UUID(int=1)))
    for number in range(acts_after):
        with house.services.work(house.default.id) as tx:
            subject = Subject(uuid.UUID(int=1000 + number), None, 4_000_000_000)
            house.services.feed.add(tx, "session", [subject], reason="x")
    page = house.services.feed.read(undone)
    assert page.restart
    assert len(page.entries) == acts_after + 1
    assert not house.services.feed.read(known).restart
    assert len(house.services.feed.read(known).entries) == acts_after


@pytest.mark.parametrize(
    "text", ["0.0000000000000000", "x", "1", "1.", "-1.0123456789abcdef", "1.0123456789ABCDEF", "9" * 30, "\x00"]
)
def test_a_place_that_is_none_begins_at_the_beginning(house: House, text: str) -> None:
    """Whatever it is: a follower that reads too much is right."""
    fill(house, 1)
    page = house.services.feed.read(text)
    assert page.restart
    assert len(page.entries) == 1


def test_who_waited_at_the_end_for_long_goes_on(house: House) -> None:
    """The entry that ended the feed may be forgotten meanwhile."""
    fill(house, 1)
    known = place(house)
    change(house, sa.delete(token_revocations))
    assert not house.services.feed.read(known).restart
    fill(house, 1)
    page = house.services.feed.read(known)
    assert not page.restart
    assert [entry.cursor.seq for entry in page.entries] == [2]


def test_what_has_expired_is_forgotten_and_what_has_not_is_kept(house: House, alice: Client) -> None:
    """Tested at t-1 and t."""
    alice.post("/api/auth/logout")
    with house.services.work.platform() as tx:
        house.services.feed.key_revoked(tx, "kid", live_until=int(house.clock()) + 900)
    house.clock.advance(900 + 59)
    house.services.prune()
    assert len(entries(house)) == 2
    house.clock.advance(1)
    house.services.prune()
    assert entries(house) == []


def test_a_cursor_is_read_as_it_was_written() -> None:
    """And nothing else is."""
    cursor = Cursor(2**62, "0123456789abcdef")
    assert Cursor.parse(str(cursor)) == cursor
    assert Cursor.parse("01.0123456789abcdef") is None
    assert Cursor.parse(f"{2**63 - 1}.0123456789abcdef") is not None
    assert Cursor.parse(f"{2**63}.0123456789abcdef") is None


def test_a_login_under_way_when_everything_ends_has_an_old_token(house: House) -> None:
    """Its session was not there to be ended; its token is older than the mark all the same."""
    house.user("alice")
    client = house.logged_in()
    change(house, sa.update(sessions).values(ended_at=1))  # as if the tenant's sessions did not include it
    with house.services.work(house.default.id) as tx:
        house.services.revocations.end_all(tx, reason="tenant-suspended")
    assert client.get("/api/auth/me").status_code == 401


@pytest.mark.parametrize("path", ["login", "register"])
def test_a_login_that_a_suspension_overtakes_brings_no_token(
    postgres_database: Database, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Invariant 2: between the look at the tenant and the session, when the mark can't know of the session.

    Its token would have known of the mark, and no guard would have refused it. On SQLite one waits for the other.
    """
    house = House(postgres_database)
    house.user("alice")
    real = store.add_session

    def overtaken(tx: Transaction, session: Session) -> int | None:
        house.services.administration.suspend(house.default.id, by=None, trace=Trace())
        return real(tx, session)

    monkeypatch.setattr(store, "add_session", overtaken)
    client = house.client()
    answer = client.log_in() if path == "login" else client.register("bob")
    house.close()
    assert answer.status_code in {401, 403}


@pytest.mark.parametrize(
    "statement", [feed_store.IS_REFUSED, feed_store.IS_REFUSED_ELSEWHERE], ids=["here", "elsewhere"]
)
def test_whether_a_token_is_refused_is_looked_up_and_not_searched_for(
    sqlite_database: Database, statement: sa.Select[tuple[object, ...]]
) -> None:
    """SQLite has no statistics before somebody collects them, and must not go through a tenant's revocations then."""
    engine = sqlite_database.owner()
    compiled = statement.compile(engine)
    given = tuple(compiled.params[name] for name in compiled.positiontup or ())
    with engine.connect() as connection:
        plan = [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", given)]
    engine.dispose()
    found = [line for line in plan if "token_revocations" in line]
    assert found
    assert all("tenant_id=? AND subject_id=?" in line for line in found), plan
