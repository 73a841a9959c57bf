"""Service credentials: shown once, refused alike for every reason, within a second everywhere."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from payymo import opaque
from payymo.errors import (
    Conflict,
    InsufficientScope,
    InvalidInput,
    InvalidToken,
    MissingToken,
    NotFound,
    PayymoError,
    Unavailable,
)
from payymo.guards.service import FRESH_SECONDS, USE_SECONDS, Guards, NewCredential
from payymo.logs import Trace
from tests.support.house import Database, House
from tests.web.scene import contents

DAY = 86_400


def make(house: House, name: str = "billing", **more) -> NewCredential:
    return house.services.guards.create(name, **({"scopes": ["feed"], "trace": Trace()} | more))


def is_accepted(guards: Guards, text: str, scope="feed") -> bool:
    try:
        return guards.authenticate(text, scope=scope) is not None
    except InvalidToken:
        return False


def altered(text: str) -> str:
    """The same identifier with another secret."""
    made = opaque.read(text)
    assert made is not None
    return opaque.Opaque(made.id, bytes(32)).text


def test_a_credential_is_accepted_for_what_it_is_good_for(house: House) -> None:
    """And for nothing else: that is a refusal of its own, for its owner's eyes."""
    made = make(house)
    found = house.services.guards.authenticate(made.text, scope="feed")
    assert (found.name, found.scopes) == ("billing", ("feed",))
    with pytest.raises(InsufficientScope):
        house.services.guards.authenticate(made.text, scope="introspection")
    both = make(house, "both", scopes=["introspection", "feed", "feed"])
    assert both.credential.scopes == ("feed", "introspection")
    for scope in ("feed", "introspection"):
        assert is_accepted(house.services.guards, both.text, scope)


def test_the_secret_of_a_credential_is_nowhere_but_in_its_text(house: House) -> None:
    """Invariant 17: not in the database, the log, a representation or a list."""
    made = make(house)
    read = opaque.read(made.text)
    assert read is not None
    _, secret = made.text[len("payymo_") :].split("_", 1)
    everything = f"{contents(house)} {house.log_lines.getvalue()} {made!r} {house.services.guards.list_credentials()!r}"
    for form in (secret, repr(read.secret)[2:-1], read.secret.hex()):
        assert form not in everything
    [row] = contents(house)["service_credentials"]
    assert repr(opaque.digest(read.secret)) in row


def test_every_refusal_of_a_credential_is_the_same(house: House) -> None:
    """Unknown, wrong, malformed, expired, revoked: a stranger learns nothing. The reason is for the log."""
    old, gone, good = make(house, "old", days=1), make(house, "gone"), make(house, "good")
    house.services.guards.revoke("gone", trace=Trace())
    house.clock.advance(DAY)
    unknown = opaque.make(house.services.entropy).text
    given = {
        unknown: "unknown",
        altered(good.text): "good: wrong",
        altered(gone.text): "gone: wrong",
        "x": "malformed",
        "": "malformed",
        old.text: "old: expired",
        gone.text: "gone: revoked",
    }
    for text, reason in given.items():
        with pytest.raises(InvalidToken) as refused:
            house.services.guards.authenticate(text, scope="introspection")
        assert (refused.value.detail, refused.value.code) == (InvalidToken.default_detail, "invalid_token")
        assert (refused.value.private or "").endswith(reason)
    assert is_accepted(house.services.guards, good.text)


def test_an_unknown_credential_costs_the_same_comparison(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody finds out by the clock which identifiers there are."""
    made, compared = make(house), []
    real = opaque.matches
    monkeypatch.setattr(opaque, "matches", lambda *given: compared.append(given) or real(*given))
    for text in (made.text, altered(made.text), opaque.make(house.services.entropy).text):
        is_accepted(house.services.guards, text)
    assert [len(kept) for _, kept in compared] == [32] * 3


@pytest.mark.parametrize(("seconds", "accepted"), [(-1, True), (0, False), (1, False)])
def test_a_credential_expires_to_the_second(house: House, seconds: int, accepted: bool) -> None:  # noqa: FBT001
    """Asked at use: no cleaner has to come by first."""
    made = make(house, days=2)
    house.clock.advance(2 * DAY + seconds)
    assert is_accepted(house.services.guards, made.text) is accepted


def test_a_revoked_credential_is_refused_within_a_second_elsewhere_and_at_once_here(database: Database) -> None:
    """Invariant 1, for those who ask instead of those who are asked about."""
    here = House(database)
    there = House(database, clock=here.clock)
    made = make(here)
    assert is_accepted(there.services.guards, made.text)
    here.services.guards.revoke("billing", trace=Trace())
    assert not is_accepted(here.services.guards, made.text)
    here.clock.advance(FRESH_SECONDS)
    assert not is_accepted(there.services.guards, made.text)
    here.close()
    there.close()


def test_a_credential_that_was_made_a_moment_ago_is_known_elsewhere(database: Database) -> None:
    """Whoever has just made one is not told that it is wrong."""
    here = House(database)
    there = House(database, clock=here.clock)
    assert is_accepted(there.services.guards, make(here, "first").text)
    here.clock.advance(0.2)
    assert is_accepted(there.services.guards, make(here, "second").text)
    here.close()
    there.close()


def test_strangers_who_guess_do_not_keep_the_database_busy(sqlite_house: House) -> None:
    """However many ask, it is looked at once in a tenth of a second."""
    asked: list[str] = []
    event.listen(sqlite_house.services.engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    for _ in range(100):
        assert not is_accepted(sqlite_house.services.guards, opaque.make(sqlite_house.services.entropy).text)
    assert sum("service_credentials" in statement for statement in asked) == 1


def test_nobody_gets_in_while_the_database_is_away(sqlite_house: House) -> None:
    """Fails closed once what was read is a second old; and is well again by itself (invariant 25)."""
    made, guards = make(sqlite_house), sqlite_house.services.guards
    assert is_accepted(guards, made.text)
    sqlite_house.clock.advance(FRESH_SECONDS)

    def away(*_: object) -> None:
        raise sa.exc.OperationalError("select", {}, Exception("away"))

    event.listen(sqlite_house.services.engine, "before_cursor_execute", away)
    with pytest.raises(Unavailable):
        guards.authenticate(made.text, scope="feed")
    event.remove(sqlite_house.services.engine, "before_cursor_execute", away)
    assert is_accepted(guards, made.text)


def test_a_clock_that_goes_back_makes_nothing_fresh(database: Database) -> None:
    """Invariant 18: what was read in the future is read again."""
    here = House(database)
    there = House(database, clock=here.clock)
    made = make(here)
    assert is_accepted(there.services.guards, made.text)
    here.services.guards.revoke("billing", trace=Trace())
    here.clock.advance(-3600)
    assert not is_accepted(there.services.guards, made.text)
    here.close()
    there.close()


def test_a_name_is_unique_among_the_living(house: House) -> None:
    """What was revoked, or has expired, frees its name, and stays in the list as what it was."""
    first = make(house, days=1)
    with pytest.raises(Conflict):
        make(house)
    house.clock.advance(DAY)
    second = make(house)
    house.services.guards.revoke("billing", trace=Trace())
    with pytest.raises(NotFound):
        house.services.guards.revoke("billing", trace=Trace())
    third = make(house)
    accepted = [is_accepted(house.services.guards, made.text) for made in (first, second, third)]
    assert accepted == [False, False, True]
    found = [one.state(house.clock()) for one in house.services.guards.list_credentials()]
    assert sorted(found) == ["active", "expired", "revoked"]


def test_of_many_who_make_the_same_name_at_once_one_does(house: House) -> None:
    """The index decides, not a look beforehand."""

    def attempt(_: int) -> NewCredential | None:
        try:
            return make(house)
        except Conflict:
            return None

    with ThreadPoolExecutor(8) as pool:
        made = [found for found in pool.map(attempt, range(8)) if found]
    assert len(made) == 1
    assert is_accepted(house.services.guards, made[0].text)


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({"name": "Billing"}, "/name"),
        ({"name": ""}, "/name"),
        ({"name": "a" * 64}, "/name"),
        ({"name": "a\n"}, "/name"),
        ({"name": "-a"}, "/name"),
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["everything"]}, "/scopes"),
        ({"days": 0}, "/days"),
        ({"days": 3651}, "/days"),
    ],
)
def test_a_credential_that_makes_no_sense_is_refused(sqlite_house: House, given: dict, pointer: str) -> None:
    """By member."""
    with pytest.raises(InvalidInput) as refused:
        make(sqlite_house, **({"name": "billing"} | given))
    assert [found.pointer for found in refused.value.errors] == [pointer]
    assert sqlite_house.services.guards.list_credentials() == ()


def test_the_last_use_is_known_coarsely(house: House) -> None:
    """Written once in five minutes, whoever asks how often."""
    made, guards = make(house), house.services.guards

    def last_use() -> int | None:
        return guards.list_credentials()[0].last_used_at

    assert last_use() is None
    begin = int(house.clock())
    is_accepted(guards, made.text)
    assert last_use() == begin
    house.clock.advance(USE_SECONDS - 1)
    is_accepted(guards, made.text)
    assert last_use() == begin
    house.clock.advance(1)
    is_accepted(guards, altered(made.text))
    assert last_use() == begin
    is_accepted(guards, made.text)
    assert last_use() == begin + USE_SECONDS


@pytest.mark.parametrize("failure", [sa.exc.OperationalError, sa.exc.InternalError])
def test_a_use_that_can_not_be_written_down_is_no_refusal(sqlite_house: House, failure: type) -> None:
    """A database that is busy, or takes no writes after a failover: who proves themselves gets in."""
    made = make(sqlite_house)

    def refuse(*args: object) -> None:
        if str(args[2]).startswith("UPDATE service_credentials"):
            raise failure("update", {}, Exception("read only"))

    event.listen(sqlite_house.services.engine, "before_cursor_execute", refuse)
    assert is_accepted(sqlite_house.services.guards, made.text)


def test_what_is_made_and_revoked_stands_in_the_log(sqlite_house: House) -> None:
    """Who, when, which; never the secret."""
    made = make(sqlite_house)
    sqlite_house.services.guards.revoke("billing", trace=Trace("console"))
    events = [(e["event"], e["service"], e["outcome"]) for e in sqlite_house.events()]
    assert events == [("service.created", "billing", "success"), ("service.revoked", "billing", "success")]
    assert made.text[40:] not in sqlite_house.log_lines.getvalue()


# ── at the door ──────────────────────────────────────────────────────────────────────────────────────────────────────

OPEN = {"feed": {"open_to": ["10.0.0.0/8"]}}


def outcome(guards: Guards, header: str | None, address: str, scope="feed") -> object:
    try:
        found = guards.admit(header, address=address, scope=scope)
    except PayymoError as error:
        return type(error)
    return None if found is None else found.name


def test_who_is_admitted(sqlite_database: Database) -> None:
    """Without a credential from open networks alone; with a bad one from nowhere, so that its owner learns of it."""
    house = House(sqlite_database, **OPEN)
    made, guards = make(house), house.services.guards
    good, bad = f"Bearer {made.text}", f"Bearer {altered(made.text)}"
    for inside, outside in (("10.1.1.1", "11.1.1.1"), ("10.1.1.1", "unknown")):
        assert outcome(guards, None, inside) is None
        assert outcome(guards, None, outside) is MissingToken
        for address in (inside, outside):
            assert outcome(guards, good, address) == "billing"
            assert outcome(guards, good.replace("Bearer", "bEARER"), address) == "billing"
            assert outcome(guards, good, address, "introspection") is InsufficientScope
            assert outcome(guards, bad, address) is InvalidToken
            assert outcome(guards, "Bearer", address) is InvalidToken
            assert outcome(guards, f"Basic {made.text}", address) is MissingToken
            assert outcome(guards, "", address) is MissingToken
    house.close()


def test_in_development_the_loopback_is_open_unless_it_is_closed(sqlite_database: Database) -> None:
    """A first try needs no ceremony; and it can be tried as it will be."""
    for settings, expected in (({}, None), ({"feed": {"open_to": []}}, MissingToken)):
        house = House(sqlite_database, **settings)
        for address in ("127.0.0.1", "127.9.9.9", "::1"):
            assert outcome(house.services.guards, None, address) is expected
        assert outcome(house.services.guards, None, "192.168.1.1") is MissingToken
        house.close()
