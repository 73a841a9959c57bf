"""Private keys in files and in hardware tokens: one contract, and the life of the key ring on them."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from payymo.compose import compose
from payymo.db.schema import signing_keys
from payymo.entropy import Entropy
from payymo.errors import Conflict, Misconfigured, Unavailable
from payymo.keys.hardware import HardwareKeys
from payymo.keys.model import PURPOSES, place_of
from payymo.keys.places import FileKeys, KeyPlace, KeyPlaces, require_place
from payymo.keys.signer import public_jwk
from payymo.logs import Trace
from payymo.secrets.hsm import find_objects, hardware_token
from payymo.secrets.hsm_master import make_master_key
from payymo.services import Services
from payymo_guard import Refused, VerificationKey
from tests.support.crew import Crew
from tests.support.house import Database, House, fresh_name, settings_for
from tests.support.moments import before, kill_points
from tests.support.softhsm import LABEL, SoftHsm

KINDS = ("file", "token")
ELSEWHERE = [("file", "RS256"), ("file", "EdDSA"), ("token", "RS256"), ("token", "PS256"), ("token", "ES256")]


class Place:
    """A place, and what is really in it."""

    def __init__(self, kind: str, hsm: SoftHsm, folder: Path) -> None:
        self.kind = kind
        self.hsm = hsm
        self.folder = folder / "keys"
        self.uri = f"file:{self.folder}" if kind == "file" else f"pkcs11:token={LABEL}"
        self._strangers = self._labels() if kind == "token" else frozenset()

    def open(self) -> KeyPlace:
        """The place itself."""
        return KeyPlaces(self.hsm.access, Entropy()).open(self.uri)

    def content(self) -> frozenset[str]:
        """The names of the private keys of this test that are there."""
        if self.kind == "file":
            return frozenset(path.name for path in self.folder.iterdir()) if self.folder.exists() else frozenset()
        return self._labels() - self._strangers

    def remove(self, name: str) -> None:
        """As a thief would, or a careless hand."""
        if self.kind == "file":
            (self.folder / name).unlink()
        else:
            self.open().destroy(f"{self.uri};object={name}")

    @property
    def settings(self) -> dict[str, Any]:
        """What makes a service use it for access tokens.

        Making an RSA key takes a token a second. The life of a key is the same for all kinds.
        """
        return {"keys": {"access_at": self.uri}, "pkcs11": self.hsm.settings, "tokens": {"algorithm": "ES256"}}

    def _labels(self) -> frozenset[str]:
        import pkcs11  # noqa: PLC0415 - of the token alone

        def labels(session: Any) -> frozenset[str]:
            kind = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY}
            return frozenset(found[pkcs11.Attribute.LABEL] for found in session.get_objects(kind))

        return hardware_token(self.hsm.token, LABEL, "here").use(labels)


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, hsm: SoftHsm, tmp_path: Path) -> Place:
    return Place(request.param, hsm, tmp_path)


@pytest.fixture
def elsewhere(place: Place, database: Database) -> Iterator[House]:
    """A service whose keys from before are in the database, and whose next key is in the place."""
    house = House(database, **place.settings)
    house.user("alice")
    yield house
    house.close()


def rows(house: House, state: str) -> list[Any]:
    owner = house.database.owner()
    with owner.connect() as connection:
        found = connection.execute(sa.select(signing_keys).where(signing_keys.c.state == state)).all()
    owner.dispose()
    return [row for row in found if row.purpose == "access"]


def name_of(location: str) -> str:
    return location.rpartition("object=")[2] if "object=" in location else location.rpartition("/")[2]


# ── the contract ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("kind", "algorithm"), ELSEWHERE)
def test_what_it_signs_verifies(hsm: SoftHsm, tmp_path: Path, kind: str, algorithm: str) -> None:
    """With the public half that came out, and with no other; also for who opens the place anew, from many threads."""
    place = Place(kind, hsm, tmp_path)
    public, location = place.open().make(algorithm)
    verifier = VerificationKey.from_jwk(public_jwk(public, algorithm))
    sign = place.open().signer(location, algorithm)
    with Crew(4) as pool:
        for signature in pool.map(sign, [b"message"] * 8):
            verifier.verify(signature, b"message")
    with pytest.raises(Refused):
        verifier.verify(sign(b"message"), b"another")
    assert place_of(location) == place.uri
    assert place.content() == {name_of(location)}


def test_what_is_destroyed_signs_nothing_any_more(place: Place) -> None:
    """Destroying it again is no mistake: the first time may have been cut short."""
    _, location = place.open().make("RS256")
    place.open().destroy(location)
    assert place.content() == frozenset()
    with pytest.raises(Misconfigured, match=name_of(location)):
        place.open().signer(location, "RS256")
    place.open().destroy(location)


def test_files_are_for_their_owner_alone(hsm: SoftHsm, tmp_path: Path) -> None:
    """Whatever the umask; and what others could read, or put there, is refused."""
    place = Place("file", hsm, tmp_path)
    before = os.umask(0)
    try:
        _, location = place.open().make("EdDSA")
    finally:
        os.umask(before)
    path = Path(location.removeprefix("file:"))
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    path.chmod(0o640)
    with pytest.raises(Misconfigured, match="chmod 600"):
        place.open().signer(location, "EdDSA")
    path.chmod(0o600)
    path.parent.chmod(0o770)
    for refused in (lambda: place.open().signer(location, "EdDSA"), lambda: place.open().make("EdDSA")):
        with pytest.raises(Misconfigured, match="chmod 700"):
            refused()
    path.parent.chmod(0o700)
    path.write_text("not a key")
    with pytest.raises(Misconfigured, match=r"\.pem"):
        FileKeys(path.parent, Entropy()).signer(location, "EdDSA")


def test_a_token_refuses_what_it_does_not_sign(hsm: SoftHsm) -> None:
    """With a sentence that says what it does."""
    with pytest.raises(Misconfigured, match="RS256, PS256, ES256"):
        HardwareKeys(f"pkcs11:token={LABEL}", hsm.access, Entropy()).make("EdDSA")


@pytest.mark.parametrize("uri", ["", "database", "file:", "file:keys", "pkcs11:", "pkcs11:token=a;object=b", "vault:a"])
def test_another_place_is_refused(uri: str) -> None:
    """By the name of the setting."""
    with pytest.raises(Misconfigured, match="THE_SETTING"):
        require_place(uri, "THE_SETTING")


# ── the key ring on it ───────────────────────────────────────────────────────────────────────────────────────────────


def test_another_place_is_moved_to_by_the_calendar(elsewhere: House, place: Place) -> None:
    """Invariant 12: published first; and the way back is the same. Nobody is logged out."""
    assert [row.location for row in rows(elsewhere, "active")] == [None]
    [following] = rows(elsewhere, "next")
    assert place_of(following.location) == place.uri
    assert following.private_key is None
    client = elsewhere.logged_in()
    elsewhere.clock.advance(305)
    elsewhere.services.do_duties(Trace())
    assert [row.kid for row in rows(elsewhere, "active")] == [following.kid]
    assert client.get("/api/auth/me").status_code == 200
    assert client.refresh().status_code == 200
    assert client.get("/api/auth/me").status_code == 200
    back = House(elsewhere.database, clock=elsewhere.clock, pkcs11=place.hsm.settings)
    elsewhere.clock.advance(305)
    back.services.do_duties(Trace())
    assert [row.location for row in rows(back, "active")] == [None]
    client.http = back.app.test_client()
    assert client.get("/api/auth/me").status_code == 200
    back.close()


def test_private_halves_are_destroyed_with_their_keys(elsewhere: House, place: Place) -> None:
    """Invariant 12: when the last token has expired; what the place holds is what the database knows."""
    for _ in range(3):
        elsewhere.services.ring.rotate("access", at_once=True)
    assert len(place.content()) == 4
    elsewhere.clock.advance(2000)
    elsewhere.services.do_duties(Trace())
    alive = {row.kid: row.location for state in ("active", "next") for row in rows(elsewhere, state)}
    assert place.content() == {name_of(location) for location in alive.values()}
    assert [row.location for row in rows(elsewhere, "retired")] == [None] * len(rows(elsewhere, "retired"))
    events = [event["event"] for event in elsewhere.events()]
    assert events.count("key.destroyed") == 2


def test_a_revoked_key_is_destroyed(elsewhere: House, place: Place) -> None:
    """At once nothing it signed counts; its private half goes with the next duties at the latest."""
    elsewhere.services.ring.rotate("access", at_once=True)
    client = elsewhere.logged_in()
    [active] = rows(elsewhere, "active")
    assert elsewhere.services.ring.revoke(active.kid)
    assert client.get("/api/auth/me").status_code == 401
    elsewhere.services.do_duties(Trace())
    assert name_of(active.location) not in place.content()
    assert len(place.content()) == 2
    assert elsewhere.logged_in().get("/api/auth/me").status_code == 200


def test_what_loses_a_race_leaves_no_key_behind(elsewhere: House, place: Place) -> None:
    """Two nodes rotate at once: each step is made once, and the place holds the keys that the database knows."""
    elsewhere.clock.advance(31 * 86_400)
    other = House(elsewhere.database, clock=elsewhere.clock, **place.settings)
    start = threading.Barrier(4)

    def turn(number: int) -> tuple[str, ...]:
        start.wait()
        return (elsewhere, other)[number % 2].services.ring.rotate_due()

    with Crew(4) as pool:
        turned = [kid for kids in pool.map(turn, range(4)) for kid in kids]
    assert len(turned) == len(set(turned)) == len(PURPOSES)  # each by whoever came first
    assert len(rows(elsewhere, "active")) == len(rows(elsewhere, "next")) == 1
    known = [row for state in ("active", "next", "retiring") for row in rows(elsewhere, state)]
    assert place.content() == {name_of(row.location) for row in known if row.location}
    other.close()


def test_there_is_one_active_key_at_every_kill_point(place: Place, database: Database) -> None:
    """Invariant 14: of the rotation, of the revocation that follows it, and of the clearing up."""
    house = House(database, **place.settings)
    house.user("alice")
    client = house.logged_in()
    acts: list[Callable[[], object]] = [
        lambda: house.services.ring.rotate("access", at_once=True),
        lambda: house.services.ring.revoke(rows(house, "active")[0].kid),
        lambda: list(house.services.keeper.destroy_leftovers()),
    ]
    for act in acts:
        for dying in kill_points(house):
            with dying:
                act()
            assert len(rows(house, "active")) == 1
            assert client.refresh().status_code == 200
    house.services.do_duties(Trace())
    assert len(rows(house, "next")) == 1
    house.clock.advance(2000)
    house.services.do_duties(Trace())
    named = {name_of(row.location) for state in ("active", "next") for row in rows(house, state) if row.location}
    assert named <= place.content()
    house.close()


def test_another_key_in_its_place_is_refused(elsewhere: House, place: Place) -> None:
    """It would sign what nobody can verify: the service does not start, and names the location."""
    elsewhere.services.ring.rotate("access", at_once=True)
    [active] = rows(elsewhere, "active")
    _, other = place.open().make("ES256")
    owner = elsewhere.database.owner()
    with owner.begin() as connection:
        connection.execute(sa.update(signing_keys).where(signing_keys.c.kid == active.kid).values(location=other))
    owner.dispose()
    with pytest.raises(Misconfigured, match=name_of(other)):
        House(elsewhere.database, clock=elsewhere.clock, **place.settings)


def test_a_key_that_is_gone_is_named(elsewhere: House, place: Place) -> None:
    """The service does not start without the key that signs."""
    elsewhere.services.ring.rotate("access", at_once=True)
    [active] = rows(elsewhere, "active")
    place.remove(name_of(active.location))
    with pytest.raises(Misconfigured, match=name_of(active.location)):
        House(elsewhere.database, clock=elsewhere.clock, **place.settings)


# ── a token that does not answer ─────────────────────────────────────────────────────────────────────────────────────


class Away:
    """While it lasts, the token does not answer."""

    def __init__(self, hsm: SoftHsm) -> None:
        self._tokens = hsm.configuration.parent / "tokens"

    def __enter__(self) -> None:
        self._tokens.rename(self._tokens.with_name("away"))

    def __exit__(self, *_: object) -> None:
        self._tokens.with_name("away").rename(self._tokens)


@pytest.fixture
def hardware(hsm: SoftHsm, database: Database, tmp_path: Path) -> Iterator[House]:
    """A service whose access tokens are signed in a token."""
    house = House(database, **Place("token", hsm, tmp_path).settings)
    house.user("alice")
    house.services.ring.rotate("access", at_once=True)
    yield house
    house.close()


def test_an_outage_of_the_token_costs_nobody_the_session(hsm: SoftHsm, hardware: House) -> None:
    """Whatever can fail comes before the point of no return: however long it lasts, the refresh token stays good."""
    client = hardware.logged_in()
    token = client.refresh_token
    with Away(hsm):
        for _ in range(3):
            client.refresh_token = token
            answer = client.refresh()
            assert (answer.status_code, answer.get_json()["code"]) == (503, "unavailable")
            assert "Retry-After" in answer.headers
            hardware.clock.advance(60)
        assert client.get("/api/auth/me").status_code == 200
        assert (
            hardware.client()
            .call("POST", "/api/auth/login", {"email": "alice@example.com", "password": "x"})
            .status_code
            == 401
        )
    client.refresh_token = token
    assert client.refresh().status_code == 200
    assert client.get("/api/auth/me").status_code == 200


def test_a_login_during_an_outage_leaves_no_session(hsm: SoftHsm, hardware: House) -> None:
    """Nobody was given its tokens."""
    client = hardware.logged_in()
    with Away(hsm):
        body = {"email": "alice@example.com", "password": "SecurePassword123!"}
        assert hardware.client().call("POST", "/api/auth/login", body).status_code == 503
    assert len(client.get("/api/auth/sessions").get_json()["data"]["sessions"]) == 1


def test_revocation_does_not_wait_for_the_token(hsm: SoftHsm, hardware: House) -> None:
    """The emergency may be that the token was stolen. The next key, and the end of the old one, follow later."""
    client = hardware.logged_in()
    [active], [following] = rows(hardware, "active"), rows(hardware, "next")
    with Away(hsm):
        assert hardware.services.ring.revoke(active.kid)
        assert client.get("/api/auth/me").status_code == 401
        assert [row.kid for row in rows(hardware, "active")] == [following.kid]
    assert rows(hardware, "next") == []
    hardware.services.do_duties(Trace())
    assert len(rows(hardware, "next")) == 1
    assert [row.location for row in rows(hardware, "revoked")] == [None]
    assert json.loads(hardware.services.ring.jwks())["keys"][0]["kid"] != active.kid


@pytest.mark.parametrize(("algorithm", "secret"), [("ES256", "VALUE"), ("RS256", "PRIVATE_EXPONENT")])
def test_a_private_key_can_not_be_taken_out(
    hsm: SoftHsm, sqlite_database: Database, tmp_path: Path, algorithm: str, secret: str
) -> None:
    """Invariant 17, for each kind of key that signs there."""
    import pkcs11  # noqa: PLC0415 - of the token alone

    hardware = House(sqlite_database, **Place("token", hsm, tmp_path).settings | {"tokens": {"algorithm": algorithm}})
    hardware.user("alice")
    hardware.services.ring.rotate("access", at_once=True)
    assert hardware.logged_in().get("/api/auth/me").status_code == 200
    [active] = rows(hardware, "active")
    hardware.close()

    def look(session: Any) -> None:
        [found] = find_objects(session, pkcs11.ObjectClass.PRIVATE_KEY, name_of(active.location))
        assert not found[pkcs11.Attribute.EXTRACTABLE]
        with pytest.raises(pkcs11.exceptions.AttributeSensitive):
            found[pkcs11.Attribute[secret]]

    hardware_token(hsm.token, LABEL, "here").use(look)


def test_a_key_that_has_yet_to_be_opened_costs_nobody_the_session(hsm: SoftHsm, database: Database) -> None:
    """It is sealed in the database, under a data key that the token has to unwrap first; and another node made it."""
    uri = make_master_key(f"pkcs11:token={LABEL};object={fresh_name()}", "here", hsm.access)
    moving = House(database, next_master_key=uri, pkcs11=hsm.settings)
    moving.user("alice")
    following = moving.services.next_master_key
    assert following is not None
    moving.services.master_rotation.run(following, progress=lambda *_: None, trace=Trace())
    moving.close()
    here = House(database, master_key=uri, pkcs11=hsm.settings)
    there = House(database, clock=here.clock, master_key=uri, pkcs11=hsm.settings)
    client = here.logged_in()
    there.services.reencryption.run(progress=lambda *_: None, pause=lambda _: None, trace=Trace(), whatever_age=True)
    there.services.ring.rotate("access", at_once=True)
    here.clock.advance(2)
    token = client.refresh_token
    with Away(hsm):
        for _ in range(2):
            client.refresh_token = token
            assert client.refresh().status_code == 503
            here.clock.advance(60)
    client.refresh_token = token
    assert client.refresh().status_code == 200
    assert client.get("/api/auth/me").status_code == 200
    here.close()
    there.close()


# ── what is gone for good ────────────────────────────────────────────────────────────────────────────────────────────


def managed(house: House, **settings: Any) -> Services:
    """What a command opens."""
    built = compose(settings_for(house.database, **settings), clock=house.clock, log=house.services.log, signs=False)
    assert not built.ring._known._signers
    return built


def test_a_lost_key_can_be_revoked_and_left_behind(elsewhere: House, place: Place) -> None:
    """A revocation waits for nobody, and the way back to the database is open to commands."""
    elsewhere.services.ring.rotate("access", at_once=True)
    [active], [following] = rows(elsewhere, "active"), rows(elsewhere, "next")
    for row in (active, following):
        place.remove(name_of(row.location))
    with pytest.raises(Misconfigured):
        House(elsewhere.database, clock=elsewhere.clock, pkcs11=place.hsm.settings)
    services = managed(elsewhere, pkcs11=place.hsm.settings)  # new keys go to the database
    assert [row.location for row in rows(elsewhere, "next")] == [None]
    assert services.ring.revoke(active.kid)
    services.close()
    after = House(elsewhere.database, clock=elsewhere.clock, pkcs11=place.hsm.settings)
    assert after.logged_in().get("/api/auth/me").status_code == 200
    assert [row.location for row in rows(after, "active")] == [None]
    after.close()


def test_a_next_key_that_is_lost_never_signs(elsewhere: House, place: Place) -> None:
    """It gives way to another one, which waits its time; what signs goes on."""
    [active], [lost] = rows(elsewhere, "active"), rows(elsewhere, "next")
    place.remove(name_of(lost.location))
    with pytest.raises(Conflict, match="can't be used"):
        elsewhere.services.ring.rotate("access", at_once=True)
    elsewhere.clock.advance(31 * 86_400)
    elsewhere.services.do_duties(Trace())
    assert lost.kid not in {row.kid for state in ("active", "next") for row in rows(elsewhere, state)}
    assert elsewhere.logged_in().refresh().status_code == 200
    elsewhere.clock.advance(305)
    elsewhere.services.do_duties(Trace())
    [now] = rows(elsewhere, "active")
    assert now.kid not in {active.kid, lost.kid}
    assert place_of(now.location) == place.uri
    assert elsewhere.logged_in().refresh().status_code == 200


def test_one_key_that_can_not_be_destroyed_holds_up_no_other(elsewhere: House, place: Place) -> None:
    """The next duties try again, and say so until it is done."""
    for _ in range(3):
        elsewhere.services.ring.rotate("access", at_once=True)
    stuck, *others = [row for row in rows(elsewhere, "retiring") if row.location]
    owner = elsewhere.database.owner()
    with owner.begin() as connection:
        values = {"location": "pkcs11:token=nowhere;object=payymo-x"}
        connection.execute(sa.update(signing_keys).where(signing_keys.c.kid == stuck.kid).values(values))
    owner.dispose()
    elsewhere.clock.advance(2000)
    elsewhere.services.prune()
    destroyed = []
    with pytest.raises((Misconfigured, Unavailable)):
        destroyed.extend(elsewhere.services.keeper.destroy_leftovers())
    assert {kid for kid, _ in elsewhere.services.keeper.list_leftovers()} == {stuck.kid}
    assert not {name_of(row.location) for row in others} & place.content()


def test_a_rotation_in_mid_refresh_changes_nothing_for_it(
    hsm: SoftHsm, postgres_database: Database, tmp_path: Path
) -> None:
    """The key was chosen before: another one, in a token that does not answer, is for the next refresh."""
    place = Place("token", hsm, tmp_path)
    here = House(postgres_database, **place.settings)
    here.user("alice")
    there = House(postgres_database, clock=here.clock, **place.settings)
    client = here.logged_in()
    away = Away(hsm)

    def act() -> None:
        there.services.ring.rotate("access", at_once=True)
        here.clock.advance(2)
        away.__enter__()

    try:
        with before(here, lambda statement: "UPDATE sessions" in statement, act):
            assert client.refresh().status_code == 200
    finally:
        away.__exit__()
    assert client.get("/api/auth/me").status_code == 200
    here.close()
    there.close()
