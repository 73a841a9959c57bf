"""The refresh family as a state machine, without a database: every edge at t-1, t and t+1."""

import uuid
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payymo.sessions.model import (
    Over,
    RefreshPolicy,
    RefreshToken,
    Replay,
    Reused,
    Rotate,
    Session,
    decide,
)

POLICY = RefreshPolicy(refresh_ttl_seconds=600, session_ttl_seconds=6000, grace_seconds=10, grace_replays=3)
T = 1_800_000_000
LIVE, CONSUMED, OLDER = (uuid.UUID(int=number, version=4) for number in (1, 2, 3))
SESSION = Session(
    id=uuid.UUID(int=9, version=4),
    tenant_id=uuid.UUID(int=8, version=4),
    user_id=uuid.UUID(int=7, version=4),
    started_at=T,
    last_seen_at=T,
    expires_at=T + 6000,
    access_expires_at=T + 60,
    ended_at=None,
    address="192.0.2.1",
    user_agent="test",
    live=RefreshToken(LIVE, "kid", issued_at=T, expires_at=T + 600),
    consumed_id=CONSUMED,
    replays=0,
)


@pytest.mark.parametrize(("seconds", "expected"), [(599, Rotate), (600, Over), (601, Over)])
def test_the_live_token_rotates_until_its_expiry(seconds: int, expected: type) -> None:
    """`exp` is the first second at which a token is no longer good (RFC 7519 §4.1.4)."""
    assert isinstance(decide(SESSION, LIVE, T + seconds, POLICY), expected)


@pytest.mark.parametrize(("seconds", "expected"), [(5999, Rotate), (6000, Over), (6001, Over)])
def test_a_session_ends_absolutely(seconds: int, expected: type) -> None:
    """Sliding never reaches past the session's own end."""
    living = replace(SESSION, live=replace(SESSION.live, expires_at=T + 100_000))
    assert isinstance(decide(living, LIVE, T + seconds, POLICY), expected)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-6, Reused), (-5, Replay), (-1, Replay), (0, Replay), (9, Replay), (10, Replay), (11, Reused)],
)
def test_the_consumed_token_is_a_retry_only_within_the_grace_window(seconds: int, expected: type) -> None:
    """Invariant 4, also where the node that rotated has a clock that is ahead: who retried lost their session.

    A clock that went back opens no window (invariant 18).
    """
    assert isinstance(decide(SESSION, CONSUMED, T + seconds, POLICY), expected)


def test_without_a_grace_window_there_is_no_retry() -> None:
    """Not even within the same second."""
    assert isinstance(decide(SESSION, CONSUMED, T, replace(POLICY, grace_seconds=0)), Reused)


@pytest.mark.parametrize(("replays", "expected"), [(0, Replay), (2, Replay), (3, Reused), (4, Reused)])
def test_retries_are_counted(replays: int, expected: type) -> None:
    """Invariant 3: a bounded number of times."""
    assert isinstance(decide(replace(SESSION, replays=replays), CONSUMED, T + 1, POLICY), expected)


def test_a_retry_gets_the_live_token_itself() -> None:
    """Invariant 3: *the same* successor."""
    assert decide(SESSION, CONSUMED, T + 1, POLICY) == Replay(SESSION.live)


def test_an_older_token_is_reuse_even_within_the_grace_window() -> None:
    """Invariant 4: once the successor was used, its predecessor's predecessor is not a retry."""
    assert decide(SESSION, OLDER, T + 1, POLICY) == Reused()


def test_nothing_wakes_an_ended_session() -> None:
    """Invariant 4: forever, whatever is presented."""
    ended = replace(SESSION, ended_at=T)
    assert {type(decide(ended, token, T + 1, POLICY)) for token in (LIVE, CONSUMED, OLDER)} == {Over}


@given(
    gaps=st.lists(st.integers(0, 700), max_size=30),
    picks=st.lists(st.integers(0, 40), max_size=30),
)
def test_whatever_is_presented_when_there_is_at_most_one_live_token(gaps: list[int], picks: list[int]) -> None:
    """Invariants 3 and 4 as a model: replay any history of tokens at any time.

    A token that rotated once never rotates again, replays hand out the live token alone and at most `grace_replays`
    times per rotation, and after reuse nothing succeeds.
    """
    session, now, history, rotated, replays = SESSION, T, [CONSUMED, LIVE], {CONSUMED}, 0
    for number, (gap, pick) in enumerate(zip(gaps, picks, strict=False)):
        now += gap
        presented = history[pick % len(history)]
        match decide(session, presented, now, POLICY):
            case Rotate():
                assert presented not in rotated
                rotated.add(presented)
                fresh = uuid.UUID(int=1000 + number, version=4)
                expires_at = min(now + POLICY.refresh_ttl_seconds, session.expires_at)
                history.append(fresh)
                session = replace(
                    session, consumed_id=presented, replays=0, live=RefreshToken(fresh, "kid", now, expires_at)
                )
                replays = 0
            case Replay(successor):
                replays += 1
                assert successor == session.live
                assert replays <= POLICY.grace_replays
                session = replace(session, replays=session.replays + 1)
            case Reused():
                session = replace(session, ended_at=now)
            case Over():
                assert session.ended_at is not None or now >= min(session.expires_at, session.live.expires_at)
