"""A header says alg, kid and typ, and nothing that it says is believed beyond finding the key."""

import json

import pytest

from payymo_guard import KeySet, RefreshClaims, VerificationKey, Verifier
from payymo_guard.testing import FakeIssuer, public_jwk
from tests.guard.forge import Clock, compact, issuer, private_key, refusal

INTRUDER = VerificationKey("intruder", "EdDSA", private_key("EdDSA", 2).public_key())
EXTRA_MEMBERS = {
    "jwk": public_jwk(INTRUDER),
    "jku": "http://127.0.0.1:9/jwks.json",
    "x5u": "http://127.0.0.1:9/cert.pem",
    "x5c": ["MIIB"],
    "x5t": "AA",
    "x5t#S256": "AA",
    "cty": "JWT",
    "zip": "DEF",
    "enc": "A256GCM",
    "b64": False,
    "p2c": 2_000_000_000,
    "epk": {},
    "exp": 1,
    "Alg": "none",
    "": 1,
}
CRITS = [["exp"], ["unknown"], [], ["b64"], ["alg"], ["b64", "b64"], [1], "b64", None, 1, {}, [["exp"]], True]


@pytest.mark.parametrize("member", EXTRA_MEMBERS)
def test_any_further_member_is_refused(member: str) -> None:
    """A rightly signed token is refused if its header holds any fourth member."""
    fake = issuer()
    header = {"alg": "EdDSA", "typ": "at+jwt", "kid": fake.active_kid, member: EXTRA_MEMBERS[member]}
    assert refusal(fake.verifier(), fake.sign(fake.claims(), header=header)) == "token_malformed"


@pytest.mark.parametrize("crit", CRITS)
def test_crit_is_refused_whatever_it_says(crit: object) -> None:
    """Unknown, empty, duplicate, standard and non-string crit are all refused, with the member named or not."""
    fake = issuer()
    header = {"alg": "EdDSA", "typ": "at+jwt", "kid": fake.active_kid, "crit": crit}
    assert refusal(fake.verifier(), fake.sign(fake.claims(), header=header)) == "token_malformed"
    header |= {"unknown": 1, "b64": True, "exp": 1}
    assert refusal(fake.verifier(), fake.sign(fake.claims(), header=header)) == "token_malformed"


@pytest.mark.parametrize("kid", ["intruder", "key-2"])
def test_embedded_key_verifies_nothing(kid: str) -> None:
    """A token signed by a stranger's key that it brings along is refused, and no key is looked up for it."""
    fake = issuer()
    asked: list[str] = []

    def keys(wanted: str) -> VerificationKey | None:
        asked.append(wanted)
        return fake.find(wanted)

    stranger = FakeIssuer(algorithm="EdDSA", clock=fake.clock)
    header = {"alg": "EdDSA", "typ": "at+jwt", "kid": kid, "jwk": public_jwk(INTRUDER)}
    verifier = Verifier(issuer=fake.issuer, audience=fake.audience, keys=keys, clock=fake.clock)
    assert refusal(verifier, stranger.sign(fake.claims(), header=header)) == "token_malformed"
    assert asked == []


@pytest.mark.parametrize(
    "typ",
    ["JWT", "AT+JWT", "at+JWT", "application/at+jwt", "at+jwt ", " at+jwt", "rt+jwt", "at", "", None, 1, ["at+jwt"]],
)
def test_typ_is_compared_as_a_whole(typ: object) -> None:
    """Any typ but the very one is refused, also those that RFC 7515 §4.1.9 would call the same."""
    fake = issuer()
    header = {"alg": "EdDSA", "typ": typ, "kid": fake.active_kid}
    assert refusal(fake.verifier(), fake.sign(fake.claims(), header=header)) == "type_wrong"


def test_missing_typ_is_refused() -> None:
    """A token without typ could be anything, so it is refused."""
    fake = issuer()
    token = fake.sign(fake.claims(), header={"alg": "EdDSA", "kid": fake.active_kid})
    assert refusal(fake.verifier(), token) == "type_wrong"


def refresh_verifier(fake: FakeIssuer) -> Verifier[RefreshClaims]:
    """Return a verifier of refresh tokens that trusts the same keys and audience: the worst of cases."""
    return Verifier(
        issuer=fake.issuer,
        audience=fake.audience,
        keys=fake.find,
        token_type="rt+jwt",
        claims_type=RefreshClaims,
        clock=fake.clock,
    )


def test_refresh_and_access_tokens_do_not_stand_in_for_each_other() -> None:
    """Although keys, issuer, audience and claims agree, each kind is accepted at its own place only."""
    fake = issuer()
    access = fake.mint()
    refresh = fake.sign(fake.claims(), header={"alg": "EdDSA", "typ": "rt+jwt", "kid": fake.active_kid})
    assert refusal(fake.verifier(), access) == "accepted"
    assert refusal(fake.verifier(), refresh) == "type_wrong"
    assert isinstance(refresh_verifier(fake).verify(refresh), RefreshClaims)
    assert refusal(refresh_verifier(fake), access) == "type_wrong"  # type: ignore[arg-type]  # the code is what counts


def test_verifiers_share_no_state() -> None:
    """Ten thousand interleaved calls of two verifiers, one per kind of token, never lend each other an answer."""
    fake = issuer()
    access = fake.mint()
    refresh = fake.sign(fake.claims(), header={"alg": "EdDSA", "typ": "rt+jwt", "kid": fake.active_kid})
    one = fake.verifier(cache_size=4)
    other = refresh_verifier(fake)
    for _ in range(2500):
        answers = (refusal(one, access), refusal(other, access), refusal(one, refresh), refusal(other, refresh))  # type: ignore[arg-type]  # as above
        assert answers == ("accepted", "type_wrong", "type_wrong", "accepted")


@pytest.mark.parametrize("kid", ["unknown", "KEY-2", "key-2 ", "key-2/../key-2", "key-1"])
def test_unknown_kid_is_refused(kid: str) -> None:
    """A kid that names no key is refused; the only key there is isn't tried instead."""
    fake = issuer()
    header = {"alg": "EdDSA", "typ": "at+jwt", "kid": kid}
    assert refusal(fake.verifier(), fake.sign(fake.claims(), header=header)) == "key_unknown"


@pytest.mark.parametrize("kid", ["", "k" * 129, "key\x00", "key\n", "schlüssel", None, 1, ["key-2"], {"a": 1}, True])
def test_kid_is_a_short_printable_string(kid: object) -> None:
    """A kid of another type, too long or unprintable never reaches the look-up."""
    fake = issuer()

    def keys(_: str) -> VerificationKey | None:
        pytest.fail("the kid reached the look-up")

    verifier = Verifier(issuer=fake.issuer, audience=fake.audience, keys=keys, clock=fake.clock)
    header = {"alg": "EdDSA", "typ": "at+jwt", "kid": kid}
    assert refusal(verifier, fake.sign(fake.claims(), header=header)) == "token_malformed"


def test_missing_kid_is_refused() -> None:
    """A token has to name its key."""
    fake = issuer()
    token = fake.sign(fake.claims(), header={"alg": "EdDSA", "typ": "at+jwt"})
    assert refusal(fake.verifier(), token) == "token_malformed"


def test_removed_key_is_refused_at_once() -> None:
    """A key that is gone refuses its tokens with the next call, however often they were accepted before."""
    fake = issuer()
    verifier = fake.verifier()
    token = fake.mint()
    assert [refusal(verifier, token) for _ in range(3)] == ["accepted"] * 3
    fake.retire(fake.active_kid)
    assert refusal(verifier, token) == "key_unknown"


def test_kid_of_another_algorithm_is_refused() -> None:
    """Pointing a token at another published key of another algorithm is refused."""
    fake = issuer("EdDSA")
    own = fake.active_kid
    other = fake.rotate("ES256", private_key("ES256"))
    header = {"alg": "EdDSA", "typ": "at+jwt", "kid": other}
    assert refusal(fake.verifier(), fake.sign(fake.claims(), kid=own, header=header)) == "algorithm_refused"


@pytest.mark.parametrize("answer", [True, 1, "key", object(), private_key("EdDSA").public_key(), INTRUDER])
def test_look_up_that_answers_nonsense_is_refused(answer: object) -> None:
    """What isn't a verification key of that very name verifies nothing."""
    fake = issuer()
    verifier = Verifier(
        issuer=fake.issuer,
        audience=fake.audience,
        keys=lambda _: answer,  # type: ignore[arg-type,return-value]  # a faulty look-up is the point
        clock=Clock(),
    )
    assert refusal(verifier, fake.mint()) == "key_unknown"


@pytest.mark.parametrize("fault", [OSError("down"), KeyError("kid"), RuntimeError(), MemoryError(), RecursionError()])
def test_look_up_that_fails_is_a_refusal(fault: Exception) -> None:
    """A failing look-up refuses, whether the token was accepted before or not, and says why to the log only."""
    fake = issuer()
    failing = False

    def keys(kid: str) -> VerificationKey | None:
        if failing:
            raise fault
        return fake.find(kid)

    verifier = Verifier(issuer=fake.issuer, audience=fake.audience, keys=keys, clock=fake.clock, cache_size=8)
    token = fake.mint()
    assert refusal(verifier, token) == "accepted"
    failing = True
    assert refusal(verifier, token) == "key_unknown"
    assert refusal(verifier, fake.mint()) == "key_unknown"


@pytest.mark.parametrize(
    "text",
    [
        '{"alg":"EdDSA","typ":"at+jwt","kid":"key-2","kid":"key-2"}',
        '{"alg":"none","alg":"EdDSA","typ":"at+jwt","kid":"key-2"}',
        '{"alg":"EdDSA","typ":"at+jwt","kid":"key-2","\\u0061lg":"EdDSA"}',
        '["EdDSA","at+jwt","key-2"]',
        '"alg"',
        "null",
        "",
        "{}x",
        '{"alg":"EdDSA","typ":"at+jwt","kid":"key-2"}{}',
        '{"alg":"EdDSA","typ":"at+jwt","kid":"key-2",}',
        "{'alg':'EdDSA','typ':'at+jwt','kid':'key-2'}",
        '{"alg":"EdDSA","typ":"at+jwt","kid":"key-2","x":' + "[" * 2000 + "]" * 2000 + "}",
        '\ufeff{"alg":"EdDSA","typ":"at+jwt","kid":"key-2"}',
        '{"alg":"EdDSA","typ":"at+jwt","kid":"\\ud800"}',
    ],
)
def test_header_is_strict_json(text: str) -> None:
    """Duplicates (also escaped), other JSON, trailing text, deep nesting and lone surrogates are refused."""
    fake = issuer()
    assert refusal(fake.verifier(), fake.sign(fake.claims(), header=text.encode() or b" ")) == "token_malformed"


def test_header_is_utf8() -> None:
    """A header in another encoding is refused."""
    fake = issuer()
    text = json.dumps({"alg": "EdDSA", "typ": "at+jwt", "kid": fake.active_kid})
    for encoding in ("utf-16", "utf-16-le", "utf-32"):
        assert refusal(fake.verifier(), fake.sign(fake.claims(), header=text.encode(encoding))) == "token_malformed"
    assert refusal(fake.verifier(), fake.sign(fake.claims(), header=b'{"alg":"\xff"}')) == "token_malformed"


def test_order_and_spacing_of_the_header_are_free() -> None:
    """The header's members may come in any order and with spaces; what counts is what they say."""
    fake = issuer()
    text = b'{ "kid" : "key-2",\n "typ": "at+jwt", "alg": "EdDSA" }'
    assert refusal(fake.verifier(), fake.sign(fake.claims(), header=text)) == "accepted"


def test_strangers_headers_are_not_remembered() -> None:
    """Headers are remembered when a signature has vouched for them, and few of them."""
    fake = issuer()
    verifier = fake.verifier()
    for number in range(200):
        header = {"alg": "EdDSA", "typ": "at+jwt", "kid": f"stranger-{number}"}
        refusal(verifier, compact(header, fake.claims(), bytes(64)))
        refusal(verifier, compact({"alg": "EdDSA", "typ": "at+jwt", "kid": fake.active_kid}, {"n": number}, bytes(64)))
    assert len(verifier._headers) == 0
    for spaces in range(200):
        header = b'{"alg":"EdDSA","typ":"at+jwt","kid":"key-2"' + b" " * spaces + b"}"
        assert refusal(verifier, fake.sign(fake.claims(), header=header)) == "accepted"
    assert len(verifier._headers) == 64


def test_empty_key_set_refuses() -> None:
    """With no keys at all, every token is refused."""
    fake = issuer()
    verifier = Verifier(issuer=fake.issuer, audience=fake.audience, keys=KeySet().find, clock=fake.clock)
    assert refusal(verifier, fake.mint()) == "key_unknown"
