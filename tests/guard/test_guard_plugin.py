"""What users get for their own tests: an issuer that revokes, a guard without network, fixtures; and what asking is."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from payymo_guard import Guard, Refused, Staleness
from payymo_guard.testing import FakeIssuer
from tests.guard.feed_server import CREDENTIAL, FEED, VERIFY, FeedServer, reply, serving, until
from tests.guard.forge import Clock

ASK = Staleness(max_stale_seconds=0, when_stale="ask")


@pytest.fixture
def server() -> Iterator[FeedServer]:
    with serving() as found:
        yield found


def verdict(guard: Guard, token: str, staleness: Staleness | None = None) -> str:
    try:
        guard.verify(token, staleness=staleness)
    except Refused as refused:
        return refused.code
    return "accepted"


def test_fixtures_are_there_for_who_asks_for_them(tmp_path: Path) -> None:
    """One line in a conftest.py; without it, nothing of ours is loaded."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["payymo_guard.pytest_plugin"]\n')
    (tmp_path / "test_it.py").write_text(
        """
import pytest
from payymo_guard import Refused

def test_mint_and_revoke(payymo_issuer, payymo_guard):
    token = payymo_issuer.mint(permissions=("invoices:read",))
    assert payymo_guard.verify(token).allows("invoices:read")
    payymo_issuer.revoke_token(token)
    with pytest.raises(Refused, match="token_revoked"):
        payymo_guard.verify(token)

def test_each_test_has_its_own(payymo_issuer, payymo_guard):
    payymo_guard.verify(payymo_issuer.mint())
    payymo_issuer.go_stale(60)
    with pytest.raises(Refused, match="revocations_stale"):
        payymo_guard.verify(payymo_issuer.mint())
"""
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=100,
        env=os.environ | {"PYTEST_ADDOPTS": ""},
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_tokens_say_which_revocations_they_know_of() -> None:
    """The last one, unless it is said otherwise; a guard goes by it."""
    fake = FakeIssuer(clock=Clock())
    guard = fake.guard()
    assert guard.verify(fake.mint()).rev == 0
    fake.revoke_user("somebody")
    fake.revoke_user()
    assert guard.verify(fake.mint()).rev == 2
    assert verdict(guard, fake.mint(rev=1)) == "token_revoked"
    assert verdict(guard, fake.mint(rev=2)) == "accepted"


def test_sessions_of_a_test_can_be_told_apart() -> None:
    """By default there is one, as there was."""
    fake = FakeIssuer(clock=Clock())
    guard = fake.guard()
    assert guard.verify(fake.mint()).sid == "session-1"
    fake.revoke_session("session-2")
    assert [verdict(guard, fake.mint(session_id=sid)) for sid in ("session-1", "session-2")] == [
        "accepted",
        "token_revoked",
    ]


def test_guards_of_one_issuer_hear_the_same() -> None:
    """However many, and whenever they were made."""
    fake = FakeIssuer(clock=Clock())
    token = fake.mint()
    guards = [fake.guard(), fake.guard(cache_size=0)]
    fake.revoke_token(token)
    guards.append(fake.guard())
    assert {verdict(guard, token) for guard in guards} == {"token_revoked"}


def test_revoking_a_key_that_does_not_sign_changes_nothing_else() -> None:
    """Only the active one is replaced."""
    fake = FakeIssuer(clock=Clock())
    old = fake.active_kid
    new = fake.rotate("EdDSA")
    assert fake.revoke_key(old) == new
    assert fake.revoke_key() != new


def test_the_issuer_is_asked_about_each_token(server: FeedServer) -> None:
    """With the service's own credential; what it does not accept any more is refused, although nothing was heard."""
    token, other = server.fake.mint(), server.fake.mint()
    with server.guard() as guard:
        assert verdict(guard, token) == "accepted"
        server.revoked_tokens.add(token)
        assert [verdict(guard, one, ASK) for one in (token, other)] == ["token_revoked", "accepted"]
        assert verdict(guard, token) == "accepted"
        asked = [headers for path, _, headers in server.asked if path == VERIFY]
        assert [headers["Authorization"] for headers in asked] == [f"Bearer {CREDENTIAL}"] * 2


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (reply({"data": {"token_info": {"active": False}}}), "token_revoked"),
        (reply({"data": {"token_info": {}}}), "revocations_stale"),
        (reply({"data": {"token_info": {"active": "yes"}}}), "revocations_stale"),
        (reply({}), "revocations_stale"),
        ((200, {}, b"{"), "revocations_stale"),
        ((200, {}, b'{"data":{"token_info":{"active":true}},"x":"' + b"x" * 65_536 + b'"}'), "revocations_stale"),
        (reply({}, 403), "revocations_stale"),
        (reply({}, 503), "revocations_stale"),
        (reply({}, 302, Location="/"), "revocations_stale"),
    ],
)
def test_no_good_answer_is_no_yes(server: FeedServer, answer: tuple[int, dict[str, str], bytes], code: str) -> None:
    """Only an active token is accepted; a no is a no, and everything else means that nobody knows."""
    server.instead[VERIFY] = lambda *_: answer
    with server.guard() as guard:
        assert verdict(guard, server.fake.mint()) == "accepted"
        assert verdict(guard, server.fake.mint(), ASK) == code


def test_who_can_t_be_asked_says_no(server: FeedServer) -> None:
    """Within a short time."""
    with server.guard(when_stale="ask", start_seconds=0.5) as guard:
        server.instead[FEED] = lambda *_: reply({}, 500)
        token = server.fake.mint()
        assert verdict(guard, token) == "accepted"
        server.shut()
        until(lambda: "refused" in (guard.status().last_error or ""))
        assert verdict(guard, token) == "revocations_stale"
