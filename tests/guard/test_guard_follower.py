"""A guard that follows an issuer over a real connection: what it hears and survives, and when it stops believing."""

import gc
import logging
import math
import threading
import time
from collections.abc import Iterator, Mapping

import pytest

from payymo_guard import Guard, Refused
from payymo_guard.discovery import Reach
from tests.guard.feed_server import (
    CREDENTIAL,
    FEED,
    JWKS,
    METADATA,
    VERIFY,
    FeedServer,
    Reply,
    reply,
    serving,
    until,
)
from tests.guard.forge import Clock


@pytest.fixture
def server() -> Iterator[FeedServer]:
    with serving() as found:
        yield found


def verdict(guard: Guard, token: str) -> str:
    try:
        guard.verify(token)
    except Refused as refused:
        return refused.code
    return "accepted"


def test_the_first_token_waits_for_keys_and_feed(server: FeedServer) -> None:
    """Nothing begins before it; what was revoked long ago is refused with the first call."""
    token, other = server.fake.mint(), server.fake.mint(session_id="other")
    server.revoke("session", "session-1")
    with server.guard() as guard:
        assert server.asked == []
        assert guard.status().stale_seconds == math.inf
        assert verdict(guard, token) == "token_revoked"
        assert verdict(guard, other) == "accepted"
        assert (server.count(METADATA), server.count(JWKS)) == (1, 1)


def test_news_are_heard_at_once(server: FeedServer) -> None:
    """The feed is held open: within a second, and not at the next poll."""
    token = server.fake.mint()
    with server.guard() as guard:
        assert verdict(guard, token) == "accepted"
        until(lambda: any("wait" in query for query in server.queries()))
        server.revoke("user", "user-1")
        until(lambda: verdict(guard, token) == "token_revoked", 10)


def test_what_comes_close_together_is_asked_for_together(server: FeedServer) -> None:
    """Else thirty guards of one credential use its limit up while an administrator ends some hundred sessions."""
    with server.guard() as guard:
        assert verdict(guard, server.fake.mint()) == "accepted"
        until(lambda: any("wait" in query for query in server.queries()))
        began, count, number = time.monotonic(), server.count(FEED), 0
        while time.monotonic() - began < 2:
            number += 1
            server.revoke("session", f"s{number}")
            time.sleep(0.01)
        until(lambda: guard.status().entries == number)
        assert server.count(FEED) - count <= 3 + 10 * (time.monotonic() - began)


def test_the_feed_is_asked_as_the_contract_has_it(server: FeedServer) -> None:
    """First without waiting, then with; always who asks, and which keys it has; the credential where it belongs."""
    with server.guard() as guard:
        verdict(guard, server.fake.mint())
        until(lambda: len(server.queries()) >= 2)
        first, second = server.queries()[:2]
        assert "after" not in first
        assert "wait" not in first
        assert (second["after"], second["wait"]) == ("a.0", "5")
        assert first["follower"] == second["follower"]
        assert len(first["follower"]) >= 8
        assert second["keys"] == server.fake.active_kid
        sent = {path: headers.get("Authorization") for path, _, headers in server.asked}
        assert sent == {METADATA: None, JWKS: None, FEED: f"Bearer {CREDENTIAL}"}


@pytest.mark.parametrize(("limit", "wait"), [(60, "20"), (10, "5"), (3, "1")])
def test_it_waits_for_half_of_what_it_may_be_stale(server: FeedServer, limit: float, wait: str) -> None:
    """And never longer than the server allows."""
    with server.guard(max_stale_seconds=limit) as guard:
        guard.start()
        until(lambda: any("wait" in query for query in server.queries()))
        assert server.queries()[-1]["wait"] == wait


def test_it_catches_up_page_by_page(server: FeedServer) -> None:
    """Nobody gets in before the last page."""
    server.page_size = 2
    for number in range(9):
        server.revoke("session", f"s{number}")
    with server.guard() as guard:
        assert verdict(guard, server.fake.mint(session_id="s8")) == "token_revoked"
        assert guard.status().entries == 9
        assert [query.get("after") for query in server.queries()[:5]] == [None, "a.2", "a.4", "a.6", "a.8"]


def test_it_goes_on_where_it_was(server: FeedServer) -> None:
    """The server was away: what happened meanwhile is heard, and what is known is not read again."""
    server.revoke("session", "s1")
    token = server.fake.mint(session_id="s2")
    with server.guard() as guard:
        assert verdict(guard, token) == "accepted"
        server.shut()
        until(lambda: guard.status().last_error)
        server.revoke("session", "s2")
        server.open()
        until(lambda: verdict(guard, token) == "token_revoked")
        assert [query.get("after") for query in server.queries() if "after" not in query] == [None]
        until(lambda: guard.status().last_error is None)


def test_a_server_that_is_away_for_long_makes_it_refuse(server: FeedServer) -> None:
    """Invariant 1: by the time that has passed here, whatever the wall clock says; and it recovers by itself (25)."""
    token = server.fake.mint()
    wall, elapsed = Clock(server.fake.clock() + 60), Clock(5000)
    with server.guard(clock=wall, elapsed=elapsed) as guard:
        assert verdict(guard, token) == "accepted"
        server.shut()
        until(lambda: guard.status().last_error)
        for passed, code in ((9, "accepted"), (10, "accepted"), (11, "revocations_stale")):
            elapsed.now = 5000 + passed
            assert verdict(guard, token) == code
        for jump in (-59, 300):  # whatever the wall clock is set to makes nothing fresh
            wall.now += jump
            assert verdict(guard, token) == "revocations_stale"
        server.open()
        until(lambda: verdict(guard, token) == "accepted")


def test_a_machine_that_slept_does_not_believe_what_it_knew(server: FeedServer) -> None:
    """The first token after it waits for nothing and is refused, until the feed has been heard."""
    elapsed = Clock(5000)
    token = server.fake.mint()
    with server.guard(elapsed=elapsed) as guard:
        assert verdict(guard, token) == "accepted"
        until(lambda: "wait" in server.queries()[-1])
        elapsed.now += 3600
        assert verdict(guard, token) in {"keys_unavailable", "revocations_stale"}
        server.revoke("session", "session-1")
        until(lambda: verdict(guard, token) == "token_revoked")


def test_a_restored_backup_is_read_from_its_beginning(server: FeedServer) -> None:
    """Invariant 19: until it is read, all that was known holds; then what the backup does not have is forgotten."""
    for number in range(4):
        server.revoke("session", f"s{number}")
    with server.guard() as guard:
        tokens = [server.fake.mint(session_id=f"s{number}") for number in range(5)]
        assert {verdict(guard, token) for token in tokens[:4]} == {"token_revoked"}
        server.page_size = 1
        held = threading.Event()

        def hold(query: str, _: Mapping[str, str]) -> Reply | None:
            if "after=b.1" in query:
                held.wait(20)
            return None

        server.instead[FEED] = hold
        server.restore(2, "b")
        until(lambda: server.queries()[-1].get("after") == "b.1")
        assert {verdict(guard, token) for token in tokens[:4]} == {"token_revoked"}
        held.set()
        until(lambda: verdict(guard, tokens[3]) == "accepted")
        assert [verdict(guard, token) for token in tokens] == ["token_revoked"] * 2 + ["accepted"] * 3


def test_an_entry_that_it_can_t_understand_stops_it(server: FeedServer, caplog: pytest.LogCaptureFixture) -> None:
    """Fail closed, and say so."""
    token = server.fake.mint()
    with server.guard() as guard, caplog.at_level(logging.CRITICAL):
        assert verdict(guard, token) == "accepted"
        server.revoke("device", "d1")
        until(lambda: verdict(guard, token) == "revocations_stale")
        asked = len(server.queries())
        until(lambda: len(server.queries()) > asked or "wait" in server.queries()[-1])
        assert verdict(guard, token) == "revocations_stale"
        assert not guard.status().is_trusted
        assert "device" in caplog.text


@pytest.mark.parametrize(("status", "word"), [(401, "credential is not accepted"), (403, "scope feed")])
def test_a_credential_that_is_not_accepted_is_said_loudly_and_once(
    server: FeedServer, caplog: pytest.LogCaptureFixture, status: int, word: str
) -> None:
    """Nobody waits for what needs a person, and the credential is not in the log (17)."""
    server.instead[FEED] = lambda *_: reply({}, status)
    with server.guard() as guard, caplog.at_level(logging.ERROR):
        began = time.monotonic()
        assert verdict(guard, server.fake.mint()) == "revocations_stale"
        assert time.monotonic() - began < 15
        until(lambda: server.count(FEED) >= 3)
        assert len(caplog.records) == 1
        assert word in caplog.text
        assert CREDENTIAL not in caplog.text
        assert CREDENTIAL not in repr(Reach(server.url, CREDENTIAL))
        del server.instead[FEED]
        until(lambda: verdict(guard, server.fake.mint()) == "accepted")


def test_an_issuer_that_has_moved_its_feed_is_found(server: FeedServer) -> None:
    """What is not there any more makes us read the metadata again."""
    with server.guard() as guard:
        assert verdict(guard, server.fake.mint()) == "accepted"
        server.instead[FEED] = lambda *_: reply({}, 404)
        until(lambda: server.count(METADATA) >= 2)
        del server.instead[FEED]
        until(lambda: guard.status().last_error is None)


def test_an_issuer_that_holds_answers_for_less_long_now_is_asked_for_less(server: FeedServer) -> None:
    """What is refused may be the wait of another day: all would be read from the beginning each time."""
    server.revoke("session", "s1")
    with server.guard() as guard:
        assert verdict(guard, server.fake.mint()) == "accepted"
        server.metadata["revocation_wait_seconds"] = 2
        server.instead[FEED] = lambda query, _: reply({}, 422) if "wait=5" in query else None
        server.revoke("session", "s2")  # ends the request that is held
        until(lambda: server.queries()[-1].get("wait") == "2")
        assert server.count(METADATA) == 2


@pytest.mark.parametrize("status", [404, 410])
def test_an_issuer_that_has_moved_its_keys_is_found(server: FeedServer, status: int) -> None:
    """The feed stays where it was, and goes on to be read; the keys would run out for ever."""
    server.max_age = 10
    elapsed = Clock(5000)
    with server.guard(elapsed=elapsed) as guard:
        assert verdict(guard, server.fake.mint()) == "accepted"
        server.instead[JWKS] = lambda *_: reply({}, status)
        server.instead["/keys"] = lambda *_: (200, {}, server.fake.jwks())
        server.metadata["jwks_uri"] = server.url + "/keys"
        elapsed.now += 11
        server.revoke("session", "another")  # ends the request that is held
        until(lambda: verdict(guard, server.fake.mint()) == "accepted")
        assert guard.status().entries == 1


def test_keys_that_somebody_else_fetched_are_no_trouble_any_more(server: FeedServer) -> None:
    """A fetch failed, and before the next try a token of an unknown key made us fetch: the feed is asked in peace."""
    server.instead[JWKS] = lambda *_: reply({}, 503, Retry_After="2")
    with server.guard(start_seconds=0.2) as guard:
        guard.start()
        until(lambda: "keys" in (guard.status().last_error or "") and server.count(FEED) >= 2)
        del server.instead[JWKS]
        assert verdict(guard, server.fake.mint()) == "keys_unavailable"
        assert guard._source.keys.find("nobody's") is None
        assert guard.status().kids == (server.fake.active_kid,)
        until(lambda: guard.status().last_error is None)
        until(lambda: "wait" in server.queries()[-1])
        assert server.count(FEED) < 12


def test_a_credential_that_is_not_accepted_says_nothing_about_tokens(server: FeedServer) -> None:
    """The answer to both is 401; of a good token it would make clients log their users out."""
    token = server.fake.mint()
    server.revoked_tokens.add(token)
    with server.guard(when_stale="ask", max_stale_seconds=0) as guard:
        assert verdict(guard, token) == "token_revoked"
        server.instead[FEED] = server.instead[VERIFY] = lambda *_: reply({}, 401)
        server.revoke("session", "another")  # ends the request that is held
        until(lambda: "401" in (guard.status().last_error or ""))
        assert verdict(guard, token) == "revocations_stale"
        server.instead.clear()
        until(lambda: verdict(guard, token) == "token_revoked")


def test_a_credential_that_has_just_ended_says_nothing_about_tokens_either(server: FeedServer) -> None:
    """The request that is held does not end with it: what is asked meanwhile is not to be taken for a bad token."""
    token = server.fake.mint()
    with server.guard(when_stale="ask", max_stale_seconds=0) as guard:
        assert verdict(guard, token) == "accepted"
        until(lambda: any("wait" in query for query in server.queries()))
        server.instead[FEED] = server.instead[VERIFY] = lambda *_: reply({}, 401)
        assert verdict(guard, token) == "revocations_stale"
        assert guard.status().last_error is None


def test_a_credential_for_asking_alone_is_believed(server: FeedServer) -> None:
    """It is known, and lacks the scope of the feed: a refusal is about the token."""
    token = server.fake.mint()
    server.revoked_tokens.add(token)
    server.instead[FEED] = lambda *_: reply({}, 403)
    with server.guard(when_stale="ask", max_stale_seconds=0) as guard:
        assert [verdict(guard, token), verdict(guard, server.fake.mint())] == ["token_revoked", "accepted"]


def test_without_a_credential_a_refusal_is_about_the_token(server: FeedServer) -> None:
    """Whoever may ask without one, and not follow, has nothing else that could be refused."""
    token = server.fake.mint()
    server.revoked_tokens.add(token)
    server.instead[FEED] = lambda *_: reply({}, 401)
    with server.guard(when_stale="ask", max_stale_seconds=0, credential=None) as guard:
        assert [verdict(guard, token), verdict(guard, server.fake.mint())] == ["token_revoked", "accepted"]


def test_retry_after_is_obeyed(server: FeedServer) -> None:
    """A server that is overloaded decides when we come back."""
    times: list[float] = []

    def overloaded(*_: object) -> Reply | None:
        times.append(time.monotonic())
        return reply({}, 503, Retry_After="1") if len(times) == 1 else None

    server.instead[FEED] = overloaded
    with server.guard() as guard:
        assert verdict(guard, server.fake.mint()) == "accepted"
        assert times[1] - times[0] >= 0.99


@pytest.mark.parametrize("status", [400, 422])
def test_a_cursor_that_is_not_understood_any_more_is_let_go(server: FeedServer, status: int) -> None:
    """It reads from the beginning then, by itself (25), and what it knows holds meanwhile."""
    server.revoke("session", "session-1")
    token = server.fake.mint()
    with server.guard() as guard:
        assert verdict(guard, token) == "token_revoked"
        server.instead[FEED] = lambda query, _: reply({}, status) if "after=a." in query else None
        server.restore(0, "b")
        until(lambda: verdict(guard, token) == "accepted")
        assert "after" in server.queries()[1]


@pytest.mark.parametrize("path", [METADATA, JWKS, FEED])
def test_it_goes_nowhere_else(server: FeedServer, path: str) -> None:
    """A redirect is refused, and nobody else gets to see the credential."""
    with serving() as stranger:
        server.instead[path] = lambda *_: reply({}, 302, Location=stranger.url + path)
        with server.guard(start_seconds=0.5) as guard:
            assert verdict(guard, server.fake.mint()) in {"keys_unavailable", "revocations_stale"}
            until(lambda: "elsewhere" in (guard.status().last_error or ""))
            assert stranger.asked == []


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"data":{"cursor":"a.1"}}', b'{"data":"' + b"x" * (4 * 2**20) + b'"}'],
    ids=["empty", "broken", "array", "incomplete", "huge"],
)
def test_an_answer_that_can_t_be_used_is_none(server: FeedServer, body: bytes) -> None:
    """Nothing is fresh by it; and the next good one is taken."""
    server.instead[FEED] = lambda *_: (200, {}, body)
    with server.guard(start_seconds=0.5) as guard:
        assert verdict(guard, server.fake.mint()) == "revocations_stale"
        del server.instead[FEED]
        until(lambda: verdict(guard, server.fake.mint()) == "accepted")


def test_more_that_never_comes_is_no_reason_to_run_in_circles(server: FeedServer) -> None:
    """A server that always promises more, at the same place, is asked at a growing distance."""
    data = {"cursor": "a.0", "restart": False, "more": True, "waited_seconds": 0, "entries": []}
    server.instead[FEED] = lambda *_: reply({"data": data})
    with server.guard(start_seconds=1) as guard:
        assert verdict(guard, server.fake.mint()) == "revocations_stale"
        assert server.count(FEED) < 12


def test_a_server_that_does_not_hold_its_answers_is_not_run_over(server: FeedServer) -> None:
    """It answers at once, with nothing: we ask once in a while."""
    data = {"cursor": "a.0", "restart": False, "more": False, "waited_seconds": 0, "entries": []}
    server.instead[FEED] = lambda *_: reply({"data": data})
    with server.guard() as guard:
        assert verdict(guard, server.fake.mint()) == "accepted"
        until(lambda: server.count(FEED) >= 3)
        began, count = time.monotonic(), server.count(FEED)
        until(lambda: time.monotonic() - began > 1)
        assert server.count(FEED) - count <= 3


def test_news_that_are_told_again_and_again_are_no_news(server: FeedServer) -> None:
    """The place does not move: we ask once in a while, and not as fast as we can."""
    server.revoke("session", "s1")
    data = {"cursor": "a.0", "restart": False, "more": False, "waited_seconds": 0, "entries": server.entries}
    server.instead[FEED] = lambda *_: reply({"data": data})
    with server.guard() as guard:
        assert verdict(guard, server.fake.mint()) == "accepted"
        until(lambda: server.count(FEED) >= 3)
        began, count = time.monotonic(), server.count(FEED)
        until(lambda: time.monotonic() - began > 1)
        assert server.count(FEED) - count <= 3


def test_what_a_cache_has_held_is_as_old_as_it_says(server: FeedServer) -> None:
    """None of them should answer, and they are told so; one that does makes nothing fresh."""
    elapsed = Clock(5000)
    data = {"cursor": "a.0", "restart": False, "more": False, "waited_seconds": 0, "entries": []}
    server.instead[FEED] = lambda *_: reply({"data": data}, Age="11")
    with server.guard(elapsed=elapsed, start_seconds=1) as guard:
        assert verdict(guard, server.fake.mint()) == "revocations_stale"
        assert guard.revocations.as_of == 5000 - 11
        assert {headers["Cache-Control"] for _, _, headers in server.asked} == {"no-cache"}


def test_nothing_is_known_of_the_future(server: FeedServer) -> None:
    """A server that says it has waited for a year makes us no fresher than now."""
    elapsed = Clock(5000)
    data = {"cursor": "a.0", "restart": False, "more": False, "waited_seconds": 3e7, "entries": []}
    server.instead[FEED] = lambda *_: reply({"data": data})
    with server.guard(elapsed=elapsed) as guard:
        assert verdict(guard, server.fake.mint()) == "accepted"
        assert guard.revocations.as_of == 5000


def test_it_ends_within_a_moment(server: FeedServer) -> None:
    """Also while an answer is held; then nothing is asked any more, and what is known grows old."""
    elapsed = Clock(5000)
    guard = server.guard(elapsed=elapsed)
    token = server.fake.mint()
    assert verdict(guard, token) == "accepted"
    until(lambda: any("wait" in query for query in server.queries()))
    began = time.monotonic()
    guard.close()
    assert time.monotonic() - began < 10  # and not as long as the answer is held
    assert not [thread for thread in threading.enumerate() if thread.name == "payymo-guard"]
    count = len(server.asked)
    assert verdict(guard, token) == "accepted"
    elapsed.now += 11
    assert verdict(guard, token) == "revocations_stale"
    assert len(server.asked) == count


def test_a_guard_that_nobody_has_any_more_follows_nobody(server: FeedServer) -> None:
    """Applications that are made and forgotten, as in tests, would leave a thread and a connection behind each."""
    guard = server.guard()
    assert verdict(guard, server.fake.mint()) == "accepted"
    until(lambda: any("wait" in query for query in server.queries()))
    del guard
    gc.collect()
    server.revoke("session", "another")  # ends the request that is held
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "payymo-guard"])


def test_a_server_that_never_answers_makes_nobody_wait_for_ever(server: FeedServer) -> None:
    """The first one waits for as long as it was told, the next one not at all."""
    gone = threading.Event()

    def silent(*_: object) -> Reply | None:
        gone.wait(20)
        return None

    server.instead[FEED] = silent
    with server.guard(start_seconds=2) as guard:
        for least, most in ((1.9, 15), (0, 1.9)):
            began = time.monotonic()
            assert verdict(guard, server.fake.mint()) == "revocations_stale"
            assert least <= time.monotonic() - began < most
        began = time.monotonic()
        guard.close()
        assert time.monotonic() - began < 10
        gone.set()


def test_one_answer_that_is_lost_on_the_way_makes_nothing_stale(server: FeedServer) -> None:
    """Something between swallows what was held: it is asked again before anybody is refused for that."""
    token, lost, gone = server.fake.mint(), threading.Event(), threading.Event()
    asked: list[int] = []

    def swallowed(query: str, _: Mapping[str, str]) -> Reply | None:
        asked.append(len(asked))
        if "wait=" in query and not lost.is_set():
            lost.set()
            gone.wait(20)
        return None

    server.instead[FEED] = swallowed
    verdicts = set[str]()
    with server.guard(max_stale_seconds=6) as guard:
        verdicts.add(verdict(guard, token))
        until(lost.is_set)
        before = len(asked)
        until(lambda: verdicts.add(verdict(guard, token)) or len(asked) > before + 1)
        gone.set()
    assert verdicts == {"accepted"}


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://other.test"},
        {"issuer": "URL/"},
        {"jwks_uri": "https://other.test/jwks"},
        {"revocations_uri": "http://127.0.0.1:1/feed"},
        {"revocations_uri": "file:///etc/passwd"},
        {"introspection_endpoint": "https://user@other.test/x"},
        {"jwks_uri": None},
        {"jwks_max_age_seconds": -1},
    ],
)
def test_metadata_of_somebody_else_is_refused(server: FeedServer, changes: dict[str, object]) -> None:
    """The issuer must be the very one, and everything must be at its own address."""
    server.metadata = {
        name: value.replace("URL", server.url) if isinstance(value, str) else value for name, value in changes.items()
    }
    with server.guard(start_seconds=0.5) as guard:
        assert verdict(guard, server.fake.mint()) == "keys_unavailable"
        assert {path for path, _, _ in server.asked} == {METADATA}
        assert "metadata" in (guard.status().last_error or "")


def test_it_may_be_reached_at_another_address() -> None:
    """`discovery_url`: the issuer's name is public, and inside it has another address; the name still has to fit."""
    with serving() as server:
        public = "https://auth.example.test"
        server.metadata = {
            "issuer": public,
            "jwks_uri": public + JWKS,
            "revocations_uri": public + FEED,
            "introspection_endpoint": public + "/api/auth/token/verify",
        }
        server.fake.issuer = public
        with server.guard(issuer=public, discovery_url=server.url + METADATA) as guard:
            assert verdict(guard, server.fake.mint()) == "accepted"


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "http://auth.example.test"},
        {"issuer": "auth.example.test"},
        {"discovery_url": "ftp://127.0.0.1/x"},
        {"discovery_url": "http://10.0.0.1/x"},
        {"credential": "payymo_secret"},
        {"credential": CREDENTIAL + "\r\nX: y"},
    ],
)
def test_what_can_t_be_right_is_refused_at_construction(changes: dict[str, str]) -> None:
    """Plain HTTP beyond the loopback, other schemes, what is no credential; and no credential is in the message."""
    wanted = {"issuer": "https://auth.example.test", "audience": "a"}
    with pytest.raises(ValueError, match=r"address|https|credential") as caught:
        Guard(**(wanted | changes))  # type: ignore[arg-type]
    assert "payymo_0" not in str(caught.value)
    assert "secret" not in str(caught.value)
