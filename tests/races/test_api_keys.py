"""API keys in races, on both databases: exchanged while they are revoked, and made by several at once."""

import uuid

from payymo.apikeys import model, service
from payymo.apikeys.model import ApiKey, Draft
from payymo.errors import Conflict, InvalidClient
from payymo.feed.model import Bearer
from payymo.logs import Trace
from tests.races.test_threads import at_once
from tests.support.house import Database, House
from tests.support.processes import bearer, servers


def made(house: House, name: str) -> ApiKey | None:
    """A new key; None: refused."""
    try:
        return house.services.api_keys.create(house.default.id, Draft(name, ("a:b",)), by=None, trace=Trace()).key
    except Conflict:
        return None


def exchanged(house: House, key: ApiKey) -> str | None:
    """An access token; None: refused."""
    try:
        return house.services.api_keys.exchange(key, scope=None, trace=Trace()).token
    except InvalidClient:
        return None


def revoked(house: House, key_id: uuid.UUID) -> None:
    """No token: it is refused from now on."""
    house.services.api_keys.revoke(house.default.id, key_id, by=None, trace=Trace())


def test_after_an_acknowledged_revocation_no_token_of_a_key_is_accepted(house: House) -> None:
    """Invariant 1: whether it was minted before, meanwhile or after."""
    minted = 0
    for number in range(10):
        key = made(house, f"key-{number}")
        assert key is not None
        tokens = at_once(
            *[lambda key=key: exchanged(house, key)] * 3,
            lambda key=key: revoked(house, key.id),
            *[lambda key=key: exchanged(house, key)] * 3,
        )
        for token in filter(None, tokens):
            minted += 1
            assert house.services.feed.is_refused(Bearer.of(house.services.verifier.verify(token)))
        assert exchanged(house, key) is None
    assert minted


def test_parallel_exchanges_all_succeed_and_note_the_use_once(house: House) -> None:
    """Many processes of one program share its key, and begin at the same moment."""
    key = made(house, "nightly")
    assert key is not None
    tokens = at_once(*[lambda: exchanged(house, key)] * 8)
    assert None not in tokens
    assert len(set(tokens)) == 8
    found = house.services.api_keys.get(house.default.id, key.id)
    assert (
        found.access_expires_at == int(house.clock()) + house.settings.tokens.access_ttl_seconds + service.USE_SECONDS
    )


def test_a_name_and_the_last_place_are_given_once(house: House) -> None:
    """Who comes second is refused: by the name, and by the number of keys that there may be."""
    assert sum(key is not None for key in at_once(*[lambda: made(house, "nightly")] * 6)) == 1
    for number in range(2, model.KEYS_AT_MOST):
        assert made(house, f"key-{number}") is not None
    last = at_once(*[lambda number=number: made(house, f"last-{number}") for number in range(6)])
    assert sum(key is not None for key in last) == 1


def test_a_key_that_is_revoked_on_one_node_is_refused_on_the_other_at_once(database: Database) -> None:
    """Invariant 1, between two processes, without any wait: the key, and what it was exchanged for."""
    house = House(database)
    drafts = [Draft(f"key-{number}", ("a:b",)) for number in range(3)]
    keys = [house.services.api_keys.create(house.default.id, draft, by=None, trace=Trace()) for draft in drafts]
    grant = {"grant_type": "client_credentials"}
    with servers(database, 2) as (one, two), one.client() as here, two.client() as there:
        for key in keys:
            basic = (str(key.key.id), key.secret)
            token = here.post("/api/auth/token", data=grant, auth=basic).json()["access_token"]
            verify = {"token": token}
            assert there.post("/api/auth/token/verify", json=verify).status_code == 200
            assert there.get("/api/auth/me", headers=bearer(token)).json()["code"] == "keys_not_allowed"
            revoked(house, key.key.id)
            for client in (here, there):
                assert client.post("/api/auth/token/verify", json=verify).status_code == 401
                assert client.post("/api/auth/token", data=grant, auth=basic).json()["error"] == "invalid_client"
    house.close()
