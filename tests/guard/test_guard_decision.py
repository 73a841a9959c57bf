"""What a guard lets in: proved, not revoked, and known to be so recently enough. Without network, but no less real."""

import math
import threading

import pytest

from payymo_guard import UNAVAILABLE, Claims, Guard, Refused, Staleness, VerificationKey
from payymo_guard.staleness import WhenStale
from payymo_guard.testing import FakeIssuer
from payymo_guard.verify import AHEAD_SECONDS
from tests.guard.forge import NOW, Clock, private_key


def issuer(clock: Clock | None = None, elapsed: Clock | None = None) -> FakeIssuer:
    return FakeIssuer(algorithm="EdDSA", clock=clock or Clock(), elapsed=elapsed or Clock(1000))


def verdict(guard: Guard, token: object, *, tenant_id: str | None = None, staleness: Staleness | None = None) -> str:
    try:
        found = guard.verify(token, tenant_id=tenant_id, staleness=staleness)  # type: ignore[arg-type]
    except Refused as refused:
        return refused.code
    assert isinstance(found, Claims)
    return "accepted"


@pytest.mark.parametrize("cache_size", [0, 10])
@pytest.mark.parametrize("is_warm", [False, True])
@pytest.mark.parametrize(
    ("act", "code"),
    [
        ("token", "token_revoked"),
        ("session", "token_revoked"),
        ("user", "token_revoked"),
        ("tenant", "token_revoked"),
        ("permissions", "permissions_changed"),
        ("key", "key_revoked"),
    ],
)
def test_what_is_revoked_is_refused_with_the_next_call(act: str, code: str, *, is_warm: bool, cache_size: int) -> None:
    """Invariants 1, 2, 11, 12: remembered or not; what is minted afterwards is accepted."""
    fake = issuer()
    guard = fake.guard(cache_size=cache_size)
    token = fake.mint()
    for _ in range(2 * is_warm):
        assert verdict(guard, token) == "accepted"
    match act:
        case "token":
            fake.revoke_token(token)
        case "session":
            fake.revoke_session()
        case "user":
            fake.revoke_user()
        case "tenant":
            fake.revoke_tenant()
        case "permissions":
            fake.change_permissions()
        case _:
            fake.revoke_key()
    assert [verdict(guard, token) for _ in range(2)] == [code, code]
    assert verdict(guard, fake.mint(session_id="session-2")) == "accepted"


def test_others_are_left_alone() -> None:
    """A revocation costs nobody else anything."""
    fake = issuer()
    guard = fake.guard()
    other = fake.mint(subject="user-2", tenant_id="tenant-2", session_id="session-2")
    assert verdict(guard, other) == "accepted"
    fake.revoke_token(fake.mint())
    fake.revoke_session()
    fake.revoke_user()
    fake.revoke_tenant()
    fake.change_permissions()
    assert [verdict(guard, other) for _ in range(2)] == ["accepted"] * 2


def test_a_guard_that_comes_later_knows_what_was_revoked_before() -> None:
    """It reads from the beginning."""
    fake = issuer()
    token = fake.mint()
    fake.revoke_token(token)
    assert verdict(fake.guard(), token) == "token_revoked"
    assert verdict(fake.guard(), fake.mint()) == "accepted"


def test_a_retired_key_is_unknown_and_a_rotated_one_is_accepted() -> None:
    """Invariant 12."""
    fake = issuer()
    guard = fake.guard()
    kid, old = fake.active_kid, fake.mint()
    fake.rotate("EdDSA")
    assert [verdict(guard, token) for token in (old, fake.mint())] == ["accepted", "accepted"]
    fake.retire(kid)
    assert verdict(guard, old) == "key_unknown"


def test_a_revoked_key_stays_refused_while_it_is_published() -> None:
    """Whatever a JWK set says."""
    fake = issuer()
    guard = fake.guard()
    token, kid = fake.mint(), fake.active_kid
    assert verdict(guard, token) == "accepted"
    fake._feed.add("key", kid)
    assert fake.find(kid) is not None
    assert verdict(guard, token) == "key_revoked"
    assert verdict(guard, fake.mint()) == "key_revoked"


@pytest.mark.parametrize("is_warm", [False, True])
def test_time_decides_about_remembered_tokens_too(*, is_warm: bool) -> None:
    """At t - 1 accepted, from t on expired; before its time not yet valid, also with a clock that went back.

    An issuer's clock that is a little ahead is no reason.
    """
    clock = Clock()
    fake = issuer(clock)
    guard = fake.guard()
    token = fake.mint(ttl_seconds=10)
    if is_warm:
        assert verdict(guard, token) == "accepted"
    for moment, code in (
        (NOW + 9, "accepted"),
        (NOW + 10, "token_expired"),
        (NOW + 11, "token_expired"),
        (NOW - AHEAD_SECONDS, "accepted"),
        (NOW - AHEAD_SECONDS - 1, "token_not_yet_valid"),
        (math.nan, "token_expired"),
        (NOW, "accepted"),
    ):
        clock.now = moment
        assert verdict(guard, token) == code


def test_a_remembered_token_is_refused_before_it_was_issued() -> None:
    """Its iat counts as its nbf does, with a clock that went back."""
    clock = Clock(NOW + 5)
    fake = issuer(clock)
    guard = fake.guard()
    token = fake.sign(fake.claims() | {"nbf": NOW})
    earliest = NOW + 5 - AHEAD_SECONDS
    for moment, code in ((earliest, "accepted"), (earliest - 1, "token_not_yet_valid"), (earliest, "accepted")):
        clock.now = moment
        assert verdict(guard, token) == code


def test_leeway_holds_for_remembered_tokens_too() -> None:
    """As much as it says, on both sides."""
    clock = Clock()
    fake = issuer(clock)
    guard = fake.guard(leeway_seconds=8)
    token = fake.mint(ttl_seconds=10)
    for moment, code in (
        (NOW, "accepted"),
        (NOW + 17, "accepted"),
        (NOW + 18, "token_expired"),
        (NOW - 8, "accepted"),
        (NOW - 9, "token_not_yet_valid"),
    ):
        clock.now = moment
        assert verdict(guard, token) == code


@pytest.mark.parametrize("is_warm", [False, True])
def test_tenants_are_kept_apart(*, is_warm: bool) -> None:
    """By the guard's own tenant, by the one that a request is about, and by both."""
    fake = issuer()
    open_to_all, mine = fake.guard(), fake.guard(tenant_id="tenant-1")
    token, other = fake.mint(), fake.mint(tenant_id="tenant-2")
    if is_warm:
        assert [verdict(open_to_all, one) for one in (token, other)] == ["accepted", "accepted"]
    assert verdict(open_to_all, token, tenant_id="tenant-1") == "accepted"
    assert verdict(open_to_all, token, tenant_id="tenant-2") == "tenant_wrong"
    assert [verdict(mine, token), verdict(mine, other)] == ["accepted", "tenant_wrong"]
    assert verdict(mine, other, tenant_id="tenant-2") == "tenant_wrong"
    assert verdict(mine, token, tenant_id="tenant-2") == "tenant_wrong"


@pytest.mark.parametrize("is_warm", [False, True])
@pytest.mark.parametrize(
    ("when_stale", "accepts", "answers"),
    [
        ("refuse", None, {9.9: "accepted", 10: "accepted", 10.1: "revocations_stale", 1e6: "revocations_stale"}),
        ("accept", 60, {10: "accepted", 10.1: "accepted", 60: "accepted", 60.1: "revocations_stale"}),
        ("ask", None, {10: "accepted", 10.1: "accepted", 1e6: "accepted"}),
    ],
)
def test_the_policy_decides_about_knowledge_that_is_too_old(
    when_stale: WhenStale, accepts: float | None, answers: dict[float, str], *, is_warm: bool
) -> None:
    """Invariant 1: whoever is cut off longer than its limit refuses, or does as it was told."""
    fake = issuer()
    guard = fake.guard(when_stale=when_stale, accept_stale_seconds=accepts)
    token = fake.mint()
    if is_warm:
        assert verdict(guard, token) == "accepted"
    for seconds, code in answers.items():
        fake.go_stale(seconds)
        assert verdict(guard, token) == code, seconds
        assert guard.status().stale_seconds == pytest.approx(seconds)
    fake.recover()
    assert verdict(guard, token) == "accepted"


def test_a_call_may_have_a_policy_of_its_own() -> None:
    """Stricter or more patient than the guard's."""
    fake = issuer()
    guard = fake.guard()
    token = fake.mint()
    fake.go_stale(5)
    assert verdict(guard, token) == "accepted"
    assert verdict(guard, token, staleness=Staleness(max_stale_seconds=4)) == "revocations_stale"
    fake.go_stale(50)
    assert verdict(guard, token) == "revocations_stale"
    assert verdict(guard, token, staleness=Staleness(max_stale_seconds=50)) == "accepted"


def test_asking_finds_what_was_revoked_meanwhile() -> None:
    """And who can't be asked accepts nothing; a limit of 0 asks about each token."""
    fake = issuer()
    guard, ask = fake.guard(when_stale="ask"), Staleness(max_stale_seconds=0, when_stale="ask")
    token, other = fake.mint(), fake.mint(session_id="session-2")
    assert verdict(guard, token) == "accepted"
    fake.go_stale(20)
    fake.revoke_session("session-1")
    assert [verdict(guard, token), verdict(guard, other)] == ["token_revoked", "accepted"]
    fake.go_stale(0.1)
    assert [verdict(guard, token), verdict(guard, token, staleness=ask)] == ["accepted", "token_revoked"]
    fake.go_stale(20, can_be_asked=False)
    assert [verdict(guard, token), verdict(guard, other)] == ["revocations_stale", "revocations_stale"]
    fake.recover()
    assert [verdict(guard, token), verdict(guard, other)] == ["token_revoked", "accepted"]


@pytest.mark.parametrize("act", ["change_permissions", "revoke_tenant", "revoke_user"])
def test_an_issuer_that_is_asked_does_not_say_why(act: str) -> None:
    """A fake one no more than a real one, whose answer is 401 and nothing else."""
    fake = issuer()
    guard = fake.guard(when_stale="ask")
    token = fake.mint()
    fake.go_stale(20)
    getattr(fake, act)()
    assert verdict(guard, token) == "token_revoked"


def test_what_is_wrong_with_a_token_is_said_before_what_is_wrong_with_us() -> None:
    """A stranger's token is 401 for good, and not 503; what is known to be revoked is, too."""
    clock = Clock()
    fake = issuer(clock)
    guard = fake.guard()
    expired, revoked = fake.mint(ttl_seconds=1), fake.mint(session_id="gone")
    fake.revoke_session("gone")
    clock.now += 5
    fake.go_stale(100)
    assert verdict(guard, "x") == "token_malformed"
    assert verdict(guard, None) == "token_malformed"
    assert verdict(guard, fake.mint()[:-8] + "AAAAAAAA") == "signature_invalid"
    assert verdict(guard, expired) == "token_expired"
    assert verdict(guard, revoked) == "token_revoked"
    assert verdict(guard, fake.mint()) == "revocations_stale"
    assert {"revocations_stale", "keys_unavailable"} == UNAVAILABLE


def test_how_new_the_knowledge_is_was_read_before_the_knowledge() -> None:
    """News that come while a token is looked at must not make what was looked up before them pass for fresh."""

    class Interrupted(Clock):
        def __call__(self) -> float:
            happens, self.happens = self.happens, lambda: None
            happens()
            return self.now

        happens = staticmethod(lambda: None)

    elapsed = Interrupted(1000)
    fake = issuer(elapsed=elapsed)
    guard = fake.guard()
    token = fake.mint()
    assert verdict(guard, token) == "accepted"
    fake.go_stale(50)
    fake.revoke_session()
    elapsed.happens = fake.recover  # type: ignore[assignment]  # in the middle of the next call
    assert verdict(guard, token) == "token_revoked"


@pytest.mark.parametrize("is_warm", [False, True])
def test_a_surprise_is_a_refusal(*, is_warm: bool) -> None:
    """A clock that fails lets nobody in, and no other error gets out."""
    clock = Clock()
    fake = issuer(clock)
    guard = fake.guard()
    token = fake.mint()
    if is_warm:
        assert verdict(guard, token) == "accepted"
    clock.now = "now"  # type: ignore[assignment]  # the surprise
    assert verdict(guard, token) != "accepted"


def test_a_guard_needs_an_issuer_and_an_audience() -> None:
    """Without them, tokens meant for others would pass; there are no defaults."""
    fake = issuer()
    for missing in ({"issuer": ""}, {"audience": ""}, {"issuer": " "}, {"audience": None}):
        with pytest.raises(ValueError, match="needs its"):
            Guard(**({"issuer": fake.issuer, "audience": fake.audience} | missing))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Guard()  # type: ignore[call-arg]


def test_the_time_that_a_proof_takes_counts() -> None:
    """Keys that are not known are looked for, which takes seconds: what was fresh before is asked for afterwards."""
    elapsed = Clock(1000)
    fake = issuer(elapsed=elapsed)
    guard, find = fake.guard(), fake.find

    def look(kid: str) -> VerificationKey | None:
        elapsed.now += 4
        return find(kid)

    guard._keys.find = look  # type: ignore[method-assign]
    fake.go_stale(7)
    assert verdict(guard, fake.mint()) == "revocations_stale"


@pytest.mark.parametrize(
    ("limit", "when_stale", "accepts"),
    [
        (-1, "refuse", None),
        (0, "refuse", None),
        (0, "accept", 60),
        (math.nan, "refuse", None),
        (math.inf, "refuse", None),
        (10, "panic", None),
        (10, "accept", None),
        (10, "accept", 9),
        (10, "accept", math.inf),
        (10, "refuse", 60),
        (10, "ask", 60),
    ],
)
def test_a_policy_that_can_t_be_meant_is_refused(limit: float, when_stale: WhenStale, accepts: float | None) -> None:
    """At construction, not in the night."""
    with pytest.raises(ValueError, match=r"stale"):
        Staleness(limit, when_stale, accepts)


def test_status_says_what_is_known() -> None:
    """For people and for metrics."""
    fake = issuer()
    guard = fake.guard()
    fake.revoke_session()
    fake.revoke_user()
    found = guard.status()
    assert (found.entries, found.stale_seconds, found.is_trusted) == (2, 0, True)


def test_no_thread_accepts_what_another_has_revoked() -> None:
    """Invariant 1: a call that begins after the revocation refuses, whatever the others do meanwhile."""
    fake = FakeIssuer(algorithm="EdDSA", clock=Clock())
    guard = fake.guard()
    failures: list[int] = []
    tokens = [fake.mint(session_id=f"s-{number}") for number in range(200)]
    revoked = 0

    def read() -> None:
        for turn in range(3000):
            upto = revoked
            number = (turn * 7) % len(tokens)
            answer = verdict(guard, tokens[number])
            if number < upto and answer != "token_revoked":
                failures.append(number)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(len(tokens)):
        fake.revoke_session(f"s-{number}")
        revoked = number + 1
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert {verdict(guard, token) for token in tokens} == {"token_revoked"}


def test_a_key_of_the_same_name_is_another_key() -> None:
    """What was remembered is proved anew."""
    fake = issuer()
    fake.rotate("EdDSA", private_key("EdDSA"))
    guard = fake.guard()
    token, kid = fake.mint(), fake.active_kid
    assert verdict(guard, token) == "accepted"
    fake.retire(kid)
    fake._key_numbers = iter([int(kid.removeprefix("key-"))])  # type: ignore[assignment]  # the same name again
    fake.rotate("EdDSA", private_key("EdDSA", 2))
    assert fake.active_kid == kid
    assert verdict(guard, token) == "signature_invalid"
