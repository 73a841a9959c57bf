"""The key ring: what is published, what signs, and what is there at every kill point."""

import base64
import hashlib
import json
from collections import Counter
from typing import Any

import pytest
import sqlalchemy as sa

from payymo.db.schema import signing_keys
from payymo.logs import Trace
from tests.support.house import Database, House
from tests.support.moments import kill_points


def keys_of(house: House) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(house.services.ring.jwks())["keys"]
    return found


def states(house: House) -> Counter[tuple[str, str]]:
    owner = house.database.owner()
    with owner.connect() as connection:
        rows = connection.execute(sa.select(signing_keys.c.purpose, signing_keys.c.state)).all()
    owner.dispose()
    return Counter((purpose, state) for purpose, state in rows)


def thumbprint(jwk: dict[str, Any]) -> str:
    """RFC 7638 §3, written down once more."""
    members = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}[jwk["kty"]]
    text = json.dumps({name: jwk[name] for name in members}, separators=(",", ":"), sort_keys=True)
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def test_the_key_set_holds_public_halves_alone(house: House) -> None:
    """Invariant 17; refresh keys are in no public document."""
    published = keys_of(house)
    assert len(published) == 2
    for jwk in published:
        assert set(jwk) == {"kty", "n", "e", "use", "alg", "kid"}
        assert (jwk["use"], jwk["alg"], jwk["kid"]) == ("sig", "RS256", thumbprint(jwk))
        assert len(base64.urlsafe_b64decode(jwk["n"] + "==")) * 8 == 3072
    assert house.services.ring.active_kid("refresh") not in {jwk["kid"] for jwk in published}


def test_a_key_is_published_before_it_signs(house: House) -> None:
    """Invariant 12, over several rotations; invariant 13: no kid comes back."""
    seen = {house.services.ring.active_kid("access")}
    for _ in range(3):
        before = {jwk["kid"] for jwk in keys_of(house)}
        active = house.services.ring.rotate("access", at_once=True)
        assert active in before
        assert active not in seen
        seen.add(active)


def test_a_retiring_key_verifies_until_its_last_token_has_expired(house: House) -> None:
    """Invariant 12: then it is gone, and so is its private half."""
    house.user("alice")
    client = house.logged_in()
    old = house.services.ring.active_kid("access")
    house.services.ring.rotate("access", at_once=True)
    house.clock.advance(899)
    assert client.get("/api/auth/me").status_code == 200
    assert old in {jwk["kid"] for jwk in keys_of(house)}
    house.clock.advance(62)
    assert client.get("/api/auth/me").status_code == 401
    assert old not in {jwk["kid"] for jwk in keys_of(house)}
    house.services.prune()
    owner = house.database.owner()
    with owner.connect() as connection:
        row = connection.execute(
            sa.select(signing_keys.c.state, signing_keys.c.private_key).where(signing_keys.c.kid == old)
        ).one()
    owner.dispose()
    assert (row.state, row.private_key) == ("retired", None)


def header_of(token: str | None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode((token or "").split(".")[0] + "=="))
    return found


@pytest.mark.parametrize("algorithm", ["PS256", "ES256", "EdDSA"])
def test_a_changed_algorithm_is_published_before_it_signs(database: Database, algorithm: str) -> None:
    """Invariant 12: verifiers are given the new kind of key first, and tokens from before go on."""
    before = House(database)
    before.user("alice")
    old = before.logged_in().access_token
    before.close()
    after = House(database, tokens={"algorithm": algorithm, "refresh_algorithm": "EdDSA"})
    first = keys_of(after)
    after.services.do_duties(Trace())
    assert header_of(after.logged_in().access_token)["alg"] == "RS256"
    assert {key["alg"] for key in keys_of(after)} == {"RS256", algorithm}
    after.clock.advance(305)
    after.services.do_duties(Trace())
    client = after.logged_in()
    assert header_of(client.access_token)["alg"] == algorithm
    assert header_of(client.access_token)["kid"] in {key["kid"] for key in first}
    assert header_of(client.refresh_token)["alg"] == "EdDSA"
    assert client.get("/api/auth/me").status_code == 200
    assert client.refresh().status_code == 200
    client.access_token = old
    assert client.get("/api/auth/me").status_code == 200
    assert client.get("/.well-known/payymo").get_json()["access_token_signing_alg_values_supported"] == [
        *sorted({"RS256", algorithm})
    ]
    after.close()


def test_there_is_one_active_key_at_every_kill_point(database: Database) -> None:
    """Invariant 14: a rotation that dies at its n-th statement leaves everything as it was, for every n."""
    house = House(database)
    house.user("alice")
    for dying in kill_points(house):
        with dying:
            house.services.ring.rotate("refresh")
        found = states(house)
        assert found["refresh", "active"] == found["refresh", "next"] == found["access", "active"] == 1
        assert house.logged_in().refresh().status_code == 200
    house.close()
