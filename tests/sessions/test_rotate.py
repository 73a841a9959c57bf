"""The one statement of an ordinary refresh: it rotates exactly when the state machine says so."""

import itertools
import uuid

import pytest
import sqlalchemy as sa

from payymo.db.schema import sessions
from payymo.sessions import store
from payymo.sessions.model import RefreshPolicy, RefreshToken, Rotate, Session, decide
from tests.support.house import House

NOW = 1_800_000_000
TTL = 600
POLICY = RefreshPolicy(refresh_ttl_seconds=TTL, session_ttl_seconds=6000, grace_seconds=10, grace_replays=3)
EDGES = (-1, 0, 1, TTL + 1)


@pytest.mark.parametrize("ended_at", [None, NOW - 1], ids=["running", "ended"])
def test_the_statement_and_the_state_machine_agree(house: House, ended_at: int | None) -> None:
    """Invariants 3 and 4: at every edge of both expiries, for the live token, its predecessor and an older one."""
    user = house.user("alice")
    tenant, new_id = house.default.id, house.services.entropy.uuid
    live, consumed, older, successor = (new_id() for _ in range(4))
    edges = itertools.product(EDGES, EDGES, (live, consumed, older))
    for (session_edge, token_edge, presented), access in zip(edges, itertools.cycle((60, 900, 1200)), strict=False):
        session = Session(
            id=new_id(),
            tenant_id=tenant,
            user_id=user.id,
            started_at=NOW - 5,
            last_seen_at=NOW - 5,
            expires_at=NOW + session_edge,
            access_expires_at=NOW + 900,
            ended_at=ended_at,
            address="192.0.2.1",
            user_agent="test",
            live=RefreshToken(live, "kid", NOW - 5, NOW + token_edge),
            consumed_id=consumed,
            replays=0,
        )
        with house.by_hand(tenant) as tx:
            store.add_session(tx, session)
            tx.execute(
                sa.update(sessions)
                .where(sessions.c.tenant_id == store.TENANT, sessions.c.id == session.id)
                .values(ended_at=ended_at, consumed_id=consumed)
            )
            found = store.rotate(
                tx,
                session.id,
                presented,
                RefreshToken(successor, "new", NOW, NOW + TTL),
                access_expires_at=NOW + access,
            )
            after = store.find_session(tx, session.id)
        rotates = isinstance(decide(session, presented, NOW, POLICY), Rotate)
        assert (found is not None) is rotates
        if found is None:
            assert after == session
        else:
            assert found.user_id == user.id
            assert after is not None
            assert after.live == found.token == RefreshToken(successor, "new", NOW, min(NOW + TTL, session.expires_at))
            assert found.expires_at == session.expires_at
            assert after.access_expires_at == NOW + max(access, 900)
            assert (after.consumed_id, after.replays, after.last_seen_at) == (live, 0, NOW)


def test_nothing_rotates_in_a_suspended_tenant(house: House) -> None:
    """Invariant 2: also in the statement itself, before anything has ended the sessions."""
    house.user("alice")
    session_id = uuid.UUID(house.services.verifier.verify(house.logged_in().access_token or "").sid)
    with house.by_hand() as platform:
        house.services.tenants.change_status(platform, house.default.id, "suspended")
    now = int(house.clock())
    with house.by_hand(house.default.id) as tx:
        session = store.find_session(tx, session_id)
        assert session is not None
        successor = RefreshToken(house.services.entropy.uuid(), "new", now, now + TTL)
        assert store.rotate(tx, session_id, session.live.id, successor, access_expires_at=now + 60) is None
