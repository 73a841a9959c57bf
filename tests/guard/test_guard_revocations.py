"""What entries of the feed do to tokens: each kind its own, in order, until its end, and never less than was told."""

import logging
import math
from typing import Any

import msgspec
import pytest

from payymo_guard import Claims, Refused
from payymo_guard.feed import Entry, read_page
from payymo_guard.revocations import Revocations
from tests.guard.forge import NOW, issuer

CLAIMS = msgspec.convert(
    issuer().claims(subject="u", tenant_id="t", session_id="s", rev=5) | {"jti": "j"}, Claims, strict=True
)
DAY = 86_400


def entry(kind: str, identifier: str, **more: Any) -> Entry:
    values = {"seq": 6, "kind": kind, "id": identifier, "not_before": NOW, "expires_at": NOW + 960, "tenant_id": None}
    return Entry(**(values | more))


def told(*entries: Entry, elapsed: float = 0) -> Revocations:
    known = Revocations()
    known.apply(entries, elapsed=elapsed)
    known.complete(elapsed)
    return known


def verdict(known: Revocations, **changes: Any) -> str:
    try:
        known.check(msgspec.structs.replace(CLAIMS, **changes))
    except Refused as refused:
        return refused.code
    return "accepted"


def key_verdict(known: Revocations, kid: str) -> str:
    try:
        known.check_key(kid)
    except Refused as refused:
        return refused.code
    return "accepted"


@pytest.mark.parametrize(
    ("kind", "identifier", "code"),
    [
        ("token", "j", "token_revoked"),
        ("session", "s", "token_revoked"),
        ("user", "u", "token_revoked"),
        ("tenant", "t", "token_revoked"),
        ("permissions", "u", "permissions_changed"),
        ("permissions", "t", "permissions_changed"),
    ],
)
def test_each_kind_refuses_its_own(kind: str, identifier: str, code: str) -> None:
    """Nobody else's tokens, and with the code of the contract."""
    assert verdict(told()) == "accepted"
    assert verdict(told(entry(kind, identifier))) == code
    assert verdict(told(entry(kind, "other"))) == "accepted"


@pytest.mark.parametrize(("kind", "identifier"), [("token", "u"), ("user", "s"), ("tenant", "u"), ("user", "t")])
def test_kinds_are_not_mixed_up(kind: str, identifier: str) -> None:
    """An identifier of another kind of thing means nothing."""
    assert verdict(told(entry(kind, identifier))) == "accepted"


@pytest.mark.parametrize("kind", ["user", "tenant", "permissions"])
def test_a_mark_refuses_what_knew_too_little_or_is_from_before(kind: str) -> None:
    """Tokens with rev < seq, and with iat < not_before - 60; at the border they are accepted."""
    identifier = "t" if kind == "tenant" else "u"
    known = told(entry(kind, identifier, seq=6))
    code = "permissions_changed" if kind == "permissions" else "token_revoked"
    assert [verdict(known, rev=rev) for rev in (0, 5, 6, 7)] == [code, code, "accepted", "accepted"]
    assert [verdict(known, rev=9, iat=iat) for iat in (0, NOW - 61, NOW - 60, NOW - 59)] == [
        code,
        code,
        "accepted",
        "accepted",
    ]


@pytest.mark.parametrize("kind", ["token", "session"])
def test_what_is_revoked_by_name_is_revoked_whatever_it_knows(kind: str) -> None:
    """A high rev saves neither a token nor a session."""
    assert verdict(told(entry(kind, "j" if kind == "token" else "s")), rev=99, iat=NOW + 900) == "token_revoked"


def test_of_two_marks_the_stricter_parts_count() -> None:
    """Invariant 11: a removal takes effect, in whatever order two of them are told."""
    one, other = entry("user", "u", seq=6, not_before=NOW + 100), entry("user", "u", seq=9, not_before=NOW)
    for known in (told(one, other), told(other, one)):
        assert verdict(known, rev=8, iat=NOW + 500) == "token_revoked"
        assert verdict(known, rev=9, iat=NOW + 39) == "token_revoked"
        assert verdict(known, rev=9, iat=NOW + 40) == "accepted"


def test_a_revoked_key_is_refused_by_name() -> None:
    """Invariant 12."""
    known = told(entry("key", "k1"))
    assert key_verdict(known, "k1") == "key_revoked"
    assert known.is_key_revoked("k1")
    assert key_verdict(known, "k2") == "accepted"
    assert verdict(known) == "accepted"


@pytest.mark.parametrize("kind", ["token", "session", "user", "tenant", "permissions", "key"])
def test_an_entry_holds_until_a_minute_after_its_end(kind: str) -> None:
    """At t - 1 it holds; at t it may be forgotten, and is, within a unit of the set."""
    identifier = {"token": "j", "session": "s", "tenant": "t", "key": "k"}.get(kind, "u")
    known = told(entry(kind, identifier, expires_at=NOW + 960), elapsed=500)
    known.forget(now=NOW + 960 + 59, elapsed=500 + 960 + 59)
    assert key_verdict(known, "k") == "key_revoked" if kind == "key" else verdict(known) != "accepted"
    assert len(known) == 1
    for _ in range(20):
        known.forget(now=NOW + 960 + 200 + _, elapsed=500 + 960 + 200 + _)
    assert len(known) == 0
    assert key_verdict(known, "k") == "accepted"
    assert verdict(known, exp=NOW + DAY) == "accepted"


@pytest.mark.parametrize("kind", ["session", "user", "permissions", "key"])
def test_a_clock_that_jumps_ahead_makes_nobody_forget(kind: str) -> None:
    """Invariant 18: an hour ahead, or a year, and back again: what was revoked is still refused."""
    identifier = {"session": "s", "key": "k"}.get(kind, "u")
    known = told(entry(kind, identifier), elapsed=500)
    for step in range(40):
        known.forget(now=NOW + 3600 * (1 + step * 200), elapsed=500 + step)
    assert key_verdict(known, "k") == "key_revoked" if kind == "key" else verdict(known) != "accepted"


def test_a_clock_that_is_behind_makes_nobody_forget() -> None:
    """Its tokens have not expired here, so their revocation holds."""
    known = told(entry("session", "s"), elapsed=500)
    for step in range(40):
        known.forget(now=NOW + 900, elapsed=500 + 5000 + step)
    assert verdict(known) == "token_revoked"


def test_what_is_forgotten_stays_dead_when_the_clock_goes_back() -> None:
    """Invariant 18: time going back never revives a token."""
    known = told(entry("session", "s", expires_at=CLAIMS.exp), elapsed=500)
    for step in range(40):
        known.forget(now=NOW + 2000 + step, elapsed=500 + 2000 + step)
    assert len(known) == 0
    assert verdict(known) == "token_expired"


def test_an_issuer_whose_clock_was_wrong_does_not_keep_us_from_forgetting() -> None:
    """An entry from the future leaves our own clock as the measure."""
    known = told(entry("session", "s"), entry("user", "u", not_before=NOW + DAY), elapsed=500)
    known.forget(now=NOW, elapsed=501)
    assert verdict(known) == "token_revoked"


def test_each_entry_has_a_revision_of_its_own() -> None:
    """Who has checked a token at one revision may lean on it until there is another; a heartbeat is none."""
    known = told()
    seen = [known.revision]
    for made in (entry("token", "a"), entry("user", "b"), entry("key", "c")):
        known.apply([made], elapsed=0)
        seen.append(known.revision)
    assert len(set(seen)) == 4
    known.apply([], elapsed=0)
    known.complete(1)
    assert known.revision == seen[-1]


def test_an_unknown_kind_makes_everything_stale_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    """Fail closed: whatever is completed later, nothing is fresh; it is said once, and what is known holds."""
    known = told(entry("session", "s"))
    assert known.as_of == 0
    with caplog.at_level(logging.CRITICAL):
        known.apply([entry("device", "d"), entry("device", "e"), entry("user", "u2")], elapsed=1)
    known.complete(1)
    known.begin_again()
    known.complete(2)
    assert known.as_of == -math.inf
    assert not known.is_trusted
    assert len(caplog.records) == 1
    assert "device" in caplog.text
    assert verdict(told(entry("session", "s"), entry("device", "d"))) == "token_revoked"


def test_another_history_replaces_the_old_one_when_it_is_complete() -> None:
    """Until then both hold; then what the new one does not tell is forgotten."""
    known = told(entry("session", "s"), entry("user", "u2"), entry("key", "k1"))
    known.begin_again()
    known.apply([entry("session", "s3", seq=1)], elapsed=1)
    assert verdict(known) == "token_revoked"
    assert verdict(known, sid="s3") == "token_revoked"
    assert key_verdict(known, "k1") == "key_revoked"
    known.apply([entry("key", "k2", seq=2)], elapsed=2)
    known.complete(2)
    assert verdict(known) == "accepted"
    assert key_verdict(known, "k1") == "accepted"
    assert verdict(known, sid="s3") == "token_revoked"
    assert key_verdict(known, "k2") == "key_revoked"
    assert (len(known), known.as_of) == (2, 2)


def test_a_history_that_begins_twice_keeps_the_union() -> None:
    """Restored again while it is read again: nothing is forgotten before one of them is complete."""
    known = told(entry("session", "s"))
    for number in (1, 2):
        known.begin_again()
        known.apply([entry("session", f"n{number}", seq=1)], elapsed=1)
    assert [verdict(known, sid=sid) for sid in ("s", "n1", "n2")] == ["token_revoked"] * 3
    known.complete(2)
    assert [verdict(known, sid=sid) for sid in ("s", "n1", "n2")] == ["accepted", "accepted", "token_revoked"]


def test_tokens_of_a_lost_history_are_refused_by_their_age() -> None:
    """Invariant 19: their numbers are higher than any that the restored issuer has given out."""
    known = told(entry("user", "u", seq=900))
    known.begin_again()
    known.apply([entry("user", "u", seq=3, not_before=NOW + 600)], elapsed=1)
    known.complete(1)
    assert verdict(known, rev=900) == "token_revoked"
    assert verdict(known, rev=3, iat=NOW + 600) == "accepted"


GOOD = b'{"data":{"cursor":"a.1","restart":false,"more":false,"waited_seconds":0.5,"entries":[%s]}}'
ENTRY = b'{"seq":7,"kind":"key","id":"k","tenant_id":null,"not_before":1,"expires_at":2}'


def test_an_answer_is_read_as_the_contract_has_it() -> None:
    """Members that we don't know are no trouble; kinds that we don't know are read, to be distrusted."""
    page = read_page(GOOD % ENTRY)
    assert (page.cursor, page.restart, page.more, page.waited_seconds) == ("a.1", False, False, 0.5)
    assert page.entries == [Entry(7, "key", "k", 1, 2, None)]
    assert read_page(GOOD % ENTRY.replace(b'"key"', b'"later"').replace(b"{", b'{"x":1,')).entries[0].kind == "later"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'{"data":{}}',
        GOOD % ENTRY.replace(b"7", b"-7"),
        GOOD % ENTRY.replace(b'"id":"k",', b""),
        GOOD % ENTRY.replace(b'"k"', b'""'),
        GOOD % ENTRY.replace(b'"k"', b"null"),
        GOOD % ENTRY.replace(b":2}", b":2.5}"),
        GOOD % ENTRY.replace(b":2}", b":253402300800}"),
        (GOOD % ENTRY).replace(b"a.1", b"a&b"),
        (GOOD % ENTRY).replace(b"a.1", b"a" * 65),
        (GOOD % ENTRY).replace(b"a.1", b""),
        (GOOD % ENTRY).replace(b"0.5", b"-1"),
        (GOOD % ENTRY).replace(b"0.5", b"NaN"),
        GOOD % b",".join([ENTRY] * 5001),
        (GOOD % ENTRY)[:-1],
        b"[" * 100_000,
    ],
)
def test_an_answer_that_can_t_be_right_is_none(body: bytes) -> None:
    """Nothing of it is applied."""
    with pytest.raises(ValueError, match="understood"):
        read_page(body)
    assert len(read_page(GOOD % b",".join([ENTRY] * 5000)).entries) == 5000
