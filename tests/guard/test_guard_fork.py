"""A guard in a process that forks, as gunicorn does with --preload: the child follows by itself, or lets nobody in."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guard.feed_server import CREDENTIAL, JWKS, FeedServer, serving

NAME_BYTES = 12
PREAMBLE = """
import os, sys, threading
from payymo_guard import Guard, Refused

guard = Guard(issuer=sys.argv[1], audience="https://api.test", credential=sys.argv[2], start_seconds=float(sys.argv[3]))
tokens = sys.argv[4:]

def verdict(token):
    try:
        guard.verify(token)
    except Refused as refused:
        return refused.code
    return "accepted"

def child(work):
    '''What a forked child says; it is ended by a signal if it takes too long.'''
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            import signal
            signal.alarm(60)
            os.write(writing, str(work()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        answer = said.read()
    os.waitpid(pid, 0)
    return answer
"""


@pytest.fixture
def server() -> Iterator[FeedServer]:
    with serving() as found:
        yield found


def run(server: FeedServer, program: str, *tokens: str, start_seconds: float = 30) -> list[str]:
    """The lines that a program prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PREAMBLE + program, server.url, CREDENTIAL, str(start_seconds), *tokens],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONWARNINGS": "error"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_child_follows_by_itself(server: FeedServer) -> None:
    """Before and after the parent has begun: with a thread, a name and connections of its own, from the same place."""
    server.revoke("session", "gone")
    gone, good = server.fake.mint(session_id="gone"), server.fake.mint()
    program = """
work = lambda: [verdict(token) for token in tokens] + [threading.active_count()]
print(child(work).replace(" ", ""))
print(str([verdict(token) for token in tokens]).replace(" ", ""))
print(child(work).replace(" ", ""))
print(str([verdict(token) for token in tokens]).replace(" ", ""))
"""
    both = "'token_revoked','accepted'"
    assert run(server, program, gone, good) == [f"[{both},2]", f"[{both}]", f"[{both},2]", f"[{both}]"]
    assert len({query["follower"] for query in server.queries()}) == 3
    after_fork = [query.get("after") for query in server.queries() if "wait" not in query]
    assert after_fork == [None, None, "a.1"]


def test_a_child_that_hears_nothing_lets_nobody_in(server: FeedServer) -> None:
    """What it was given was fresh for the parent; the child can't know for how long that is true."""
    asked: list[str] = []

    def only_the_parent(query: str, _: object) -> tuple[int, dict[str, str], bytes] | None:
        name = query.partition("follower=")[2][:16]
        asked.append(name)
        return None if name == asked[0] else (500, {}, b"")

    server.instead["/api/revocations"] = only_the_parent
    program = """
print(verdict(tokens[0]), child(lambda: verdict(tokens[0])), verdict(tokens[0]))
"""
    token = server.fake.mint()
    assert run(server, program, token, start_seconds=2) == ["accepted", "revocations_stale", "accepted"]


def test_a_child_knows_what_the_parent_knew(server: FeedServer) -> None:
    """What was revoked stays revoked, whether the child hears anything or not."""
    server.revoke("session", "gone")
    program = """
print(verdict(tokens[0]))
guard.close()
print(child(lambda: verdict(tokens[0])), child(lambda: verdict(tokens[1])))
"""
    tokens = server.fake.mint(session_id="gone"), server.fake.mint()
    assert run(server, program, *tokens) == ["token_revoked", "token_revoked", "revocations_stale"]


def test_a_child_is_not_stopped_by_a_lock_of_the_parent(server: FeedServer) -> None:
    """Whoever held it is not there to let go of it."""
    program = """
assert verdict(tokens[0]) == "accepted"
guard._keys.due_at = 0
for lock in (guard._verifier._turning, guard._keys._lock, guard._source._here.lock):
    assert lock.acquire(timeout=10)
print(child(lambda: verdict(tokens[1])))
"""
    tokens = server.fake.mint(), server.fake.mint(session_id="s2")
    assert run(server, program, *tokens) == ["accepted"]


def test_a_parent_may_be_busy_while_it_forks(server: FeedServer) -> None:
    """Its threads verify, again and again."""
    program = """
done = threading.Event()

def busy():
    while not done.is_set():
        verdict(tokens[1])
        guard._verifier._fresh.clear()
        guard._verifier._faded.clear()

assert verdict(tokens[0]) == "accepted"
threads = [threading.Thread(target=busy) for _ in range(3)]
for thread in threads:
    thread.start()
print(*{child(lambda: verdict(tokens[0])) for _ in range(8)})
done.set()
"""
    tokens = server.fake.mint(), server.fake.mint(session_id="s2")
    assert run(server, program, *tokens) == ["accepted"]


def test_a_child_of_which_python_was_not_told_begins_anew(server: FeedServer) -> None:
    """A fork by other means: what is known lapses after the limit, and then the child follows by itself."""
    program = """
assert verdict(tokens[0]) == "accepted"
def work():
    guard._source._here.pid, guard.revocations.as_of = -1, float("-inf")
    guard._source._here.thread = threading.Thread()
    return verdict(tokens[0])
print(child(work))
"""
    assert run(server, program, server.fake.mint()) == ["accepted"]


def test_a_child_of_which_python_was_not_told_leaves_the_parents_connections_alone(server: FeedServer) -> None:
    """As under uWSGI: two processes on one connection would break it for both. A key that is not known comes early."""
    program = """
from payymo_guard.guard import _guards
_guards.clear()
assert verdict(tokens[0]) == "accepted"
before = guard._source._here.client
print(child(lambda: f"{verdict(tokens[1])} {guard._source._here.client is before}"))
"""
    unknown = server.fake.sign(server.fake.claims(), header={"alg": "EdDSA", "typ": "at+jwt", "kid": "x"})
    assert run(server, program, server.fake.mint(), unknown) == ["key_unknown", "False"]
    assert server.count(JWKS) == 1


def test_a_child_of_which_python_was_not_told_gets_new_keys(server: FeedServer) -> None:
    """Also while the parent's knowledge of revocations is new enough: keys may end sooner."""
    program = """
from payymo_guard.guard import _guards
_guards.clear()
assert verdict(tokens[0]) == "accepted"
def work():
    guard._limit = float("inf")
    guard.staleness = type(guard.staleness)(600_000)
    guard._keys.usable_until = guard._keys.due_at = 0
    first = verdict(tokens[0])
    while verdict(tokens[0]) != "accepted":
        os.sched_yield()
    return first
print(child(work))
"""
    assert run(server, program, server.fake.mint()) == ["keys_unavailable"]


def test_threads_of_a_child_of_which_python_was_not_told_begin_once(
    server: FeedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come at once, and two that follow would read the feed from one place and apply it over one another."""
    both, draw = threading.Barrier(2), os.urandom

    def draw_together(count: int) -> bytes:
        if count == NAME_BYTES:
            both.wait(10)
        return draw(count)

    with server.guard() as guard:
        guard.verify(server.fake.mint())
        before = {thread for thread in threading.enumerate() if thread.name == "payymo-guard"}
        here = guard._source._here  # type: ignore[attr-defined]
        here.pid = -1
        with monkeypatch.context() as patched:
            patched.setattr(os, "urandom", draw_together)
            threads = [threading.Thread(target=guard.start) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20)
        begun = {thread for thread in threading.enumerate() if thread.name == "payymo-guard"} - before
        here.has_ended.set()  # of the parent, which is this process here
        assert len(begun) == 1


def test_a_guard_without_a_network_hears_in_a_child_too(server: FeedServer) -> None:
    """So that tests may fork."""
    program = """
from payymo_guard.testing import FakeIssuer

fake = FakeIssuer()
guard = fake.guard()
good, gone = fake.mint(), fake.mint(session_id="gone")
fake.revoke_session("gone")
print(child(lambda: [verdict(good), verdict(gone)]).replace(" ", ""))
"""
    assert run(server, program) == ["['accepted','token_revoked']"]
