"""Each claim is there, has its type and its meaning; times are exact; permissions cover what they say."""

import json
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from payymo_guard import Claims, RefreshClaims, Verifier, permits
from payymo_guard.testing import FakeIssuer
from payymo_guard.verify import AHEAD_SECONDS
from payymo_guard.wire import is_written_as
from tests.guard.forge import NOW, Clock, issuer, refusal

FAKE = issuer()
VERIFIER = FAKE.verifier()
ISSUER, AUDIENCE = FAKE.issuer, FAKE.audience
STRINGS = ("iss", "aud", "sub", "jti", "client_id", "sid", "tenant_id")
TIMES = ("exp", "nbf", "iat")
LISTS = ("permissions", "roles")
ALL = STRINGS + TIMES + LISTS


def outcome(pinned: str | None = None, /, **changes: object) -> str:
    """Return how a token with these changed claims is answered."""
    return refusal(VERIFIER, FAKE.sign(FAKE.claims() | changes), tenant_id=pinned)


def outcome_of(payload: str | bytes) -> str:
    """Return how a rightly signed token with this very payload is answered."""
    return refusal(VERIFIER, FAKE.sign(payload if isinstance(payload, bytes) else payload.encode()))


def with_text(claim: str, text: str) -> str:
    """Return a payload in which one claim's value is spelled by hand."""
    return json.dumps(FAKE.claims() | {claim: "@@"}).replace('"@@"', text)


def test_claims_come_out_as_they_were_signed() -> None:
    """A valid token's claims are handed on complete and unchanged, aud as one string or several."""
    payload = FAKE.claims(permissions=("a:read",), roles=("one", "two"))
    assert msgspec.to_builtins(VERIFIER.verify(FAKE.sign(payload))) == payload
    several = VERIFIER.verify(FAKE.sign(payload | {"aud": ["https://other.test", AUDIENCE]}))
    assert several.aud == ("https://other.test", AUDIENCE)


def test_the_last_revocation_that_is_known_may_be_left_out() -> None:
    """Tokens from before there was `rev` know of none; and those that have it last are read the short way."""
    payload = FAKE.claims(rev=7)
    claims = VERIFIER.verify(FAKE.sign(payload))
    assert claims.rev == 7
    assert list(payload)[-1] == "rev"
    assert is_written_as(claims, msgspec.json.encode(payload))
    del payload["rev"]
    assert VERIFIER.verify(FAKE.sign(payload)).rev == 0
    assert not is_written_as(VERIFIER.verify(FAKE.sign(payload)), msgspec.json.encode(payload))


@pytest.mark.parametrize("value", ["-1", "1.5", "true", "null", '"7"', "[]", "9223372036854775808", "1e400"])
def test_the_last_revocation_is_a_whole_number(value: str) -> None:
    """Anything else could be greater than each of the feed's."""
    assert outcome_of(with_text("rev", value)) == "claims_invalid"


@pytest.mark.parametrize("claim", ALL)
def test_every_claim_is_required(claim: str) -> None:
    """A token without any one of the claims is refused."""
    payload = FAKE.claims()
    del payload[claim]
    assert refusal(VERIFIER, FAKE.sign(payload)) == "claims_invalid"


@pytest.mark.parametrize("claim", ALL)
@pytest.mark.parametrize("value", [None, True, False, 1.5, {}, {"a": 1}, [[]], [None], [1], [{}]])
def test_every_claim_has_its_type(claim: str, value: object) -> None:
    """Null, booleans, fractions, objects and lists of the wrong things are refused for each claim."""
    assert outcome(**{claim: value}) == "claims_invalid"


@pytest.mark.parametrize("claim", STRINGS)
@pytest.mark.parametrize("value", [0, 1, NOW, "", "x" * 3000, []])
def test_strings_are_strings_of_sensible_size(claim: str, value: object) -> None:
    """Numbers, nothing, too much and lists are no names."""
    assert outcome(**{claim: value}) == "claims_invalid"


@pytest.mark.parametrize("claim", LISTS)
@pytest.mark.parametrize("value", ["admin", "", 1, {"admin": True}, ["a", 1], [""], ["x" * 256], [["a"]]])
def test_permissions_and_roles_are_lists_of_strings(claim: str, value: object) -> None:
    """A bare string, a mapping or a mixed list is refused: a string would be read letter by letter."""
    assert outcome(**{claim: value}) == "claims_invalid"


@pytest.mark.parametrize("claim", TIMES)
@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "Infinity",
        "-Infinity",
        "1e400",
        "-1e400",
        "1800000000.0",
        "1800000000.5",
        "18e8",
        '"1800000000"',
        "true",
        "false",
        "null",
        "-1",
        "-1800000000",
        "253402300800",
        "1" + "0" * 30,
        "9" * 5000,
        "[1800000000]",
        "01800000000",
        "+1",
        "0x1",
        '""',
    ],
)
def test_times_are_whole_seconds(claim: str, text: str) -> None:
    """NaN, infinity, fractions, exponents, strings, booleans, negative and absurd numbers are refused."""
    assert outcome_of(with_text(claim, text)) == "claims_invalid"


@pytest.mark.parametrize(
    "value",
    [
        ISSUER + "/",
        ISSUER + "x",
        ISSUER[:-1],
        ISSUER[1:],
        ISSUER.upper(),
        " " + ISSUER,
        ISSUER + "\n",
        ISSUER + "\x00",
        "https",
        ISSUER + "@evil.test",
        ISSUER.replace("https", "http"),
        f"{ISSUER},{ISSUER}",
        "https://іssuer.test",
    ],
)
def test_issuer_is_compared_as_a_whole(value: str) -> None:
    """Prefix, suffix, substring, other case, slash, blanks and lookalikes of the issuer are refused."""
    assert outcome(iss=value) == "issuer_wrong"


@pytest.mark.parametrize("value", [[ISSUER], {"0": ISSUER}, [ISSUER, "x"], True])
def test_issuer_is_one_string(value: object) -> None:
    """An issuer in a list or object is refused."""
    assert outcome(iss=value) == "claims_invalid"


@pytest.mark.parametrize(
    "value",
    [
        AUDIENCE + "/",
        AUDIENCE[:-1],
        AUDIENCE[1:],
        AUDIENCE + "x",
        AUDIENCE.upper(),
        " " + AUDIENCE,
        f"{AUDIENCE} x",
        "a",
        ISSUER,
        ["other"],
        [AUDIENCE + "/"],
        [AUDIENCE[:-1], AUDIENCE + "x"],
        [AUDIENCE.upper()],
        [f"{AUDIENCE},other"],
    ],
)
def test_audience_is_compared_as_a_whole(value: object) -> None:
    """An audience is the expected one or a list with it; parts, cases and joined lists are refused."""
    assert outcome(aud=value) == "audience_wrong"


@pytest.mark.parametrize(
    "value", [[], [[AUDIENCE]], {AUDIENCE: True}, [AUDIENCE, None], [AUDIENCE, ""], ["x"] * 33, ""]
)
def test_audience_is_a_string_or_a_list_of_strings(value: object) -> None:
    """Empty, nested, mixed and endless audiences are refused, the right one among them or not."""
    assert outcome(aud=value) == "claims_invalid"


@pytest.mark.parametrize("value", [AUDIENCE, [AUDIENCE], ["other", AUDIENCE], [AUDIENCE, "other"]])
def test_expected_audience_is_accepted(value: object) -> None:
    """The expected audience alone or among others is accepted."""
    assert outcome(aud=value) == "accepted"


@pytest.mark.parametrize("leeway", [0, 1, 60])
def test_token_ends_with_its_exp(leeway: int) -> None:
    """The last moment before exp (plus leeway) is in, exp itself and anything later is out."""
    clock = Clock()
    fake = issuer(clock=clock)
    token = fake.mint(ttl_seconds=100)
    end = NOW + 100 + leeway
    for moment, answer in (
        (end - 1, "accepted"),
        (end - 0.001, "accepted"),
        (end, "token_expired"),
        (end + 1, "token_expired"),
    ):
        clock.now = moment
        assert refusal(fake.verifier(leeway_seconds=leeway), token) == answer


@pytest.mark.parametrize("claim", ["nbf", "iat"])
@pytest.mark.parametrize("leeway", [0, 1, 60])
def test_token_begins_with_its_nbf_and_iat(claim: str, leeway: int) -> None:
    """The moment of nbf and iat is in, and as much before as clocks may be apart (or leeway says); earlier is out."""
    clock = Clock(NOW)
    fake = issuer(clock=clock)
    token = fake.sign(fake.claims() | {"nbf": NOW - 500, "iat": NOW - 500, claim: NOW + 100})
    begin = NOW + 100 - max(leeway, AHEAD_SECONDS)
    for moment, answer in (
        (begin - 1, "token_not_yet_valid"),
        (begin - 0.001, "token_not_yet_valid"),
        (begin, "accepted"),
        (begin + 1, "accepted"),
    ):
        clock.now = moment
        assert refusal(fake.verifier(leeway_seconds=leeway), token) == answer


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_token_that_ends_before_it_begins_is_refused(claim: str) -> None:
    """An exp at or before nbf or iat is refused, also where leeway would let it pass."""
    verifier = FAKE.verifier(leeway_seconds=60)
    for exp in (NOW - 1, NOW):
        token = FAKE.sign(FAKE.claims() | {"nbf": NOW - 9, "iat": NOW - 9, claim: NOW, "exp": exp})
        assert refusal(verifier, token) == "claims_invalid"


@pytest.mark.parametrize(
    ("moment", "code"),
    [(float("nan"), "token_expired"), (float("inf"), "token_expired"), (float("-inf"), "token_not_yet_valid")],
)
def test_broken_clock_refuses(moment: float, code: str) -> None:
    """A clock that answers no time lets nothing pass, remembered or not."""
    clock = Clock()
    fake = issuer(clock=clock)
    token = fake.mint()
    verifier = fake.verifier(cache_size=4)
    assert refusal(verifier, token) == "accepted"
    clock.now = moment
    assert refusal(verifier, token) == code
    assert refusal(fake.verifier(), token) == code


@pytest.mark.parametrize("fault", [OSError("clock"), ValueError("clock"), RecursionError(), MemoryError()])
def test_unexpected_failures_refuse(fault: Exception) -> None:
    """Whatever fails inside, also in the last step, is a refusal."""

    def failing() -> float:
        raise fault

    fake = issuer()
    verifier = Verifier(issuer=fake.issuer, audience=fake.audience, keys=fake.find, clock=failing)
    assert refusal(verifier, fake.mint()) == "token_malformed"


class Suspicious(Claims, frozen=True):
    """Claims with a rule of their own."""

    def __post_init__(self) -> None:
        if "evil" in self.roles:
            raise ValueError("evil")


def test_own_claims_types_may_refuse() -> None:
    """A frozen struct with further rules can stand in for Claims; what it raises is a refusal."""
    verifier = Verifier(issuer=ISSUER, audience=AUDIENCE, keys=FAKE.find, claims_type=Suspicious, clock=FAKE.clock)
    assert type(verifier.verify(FAKE.mint())) is Suspicious
    assert refusal(verifier, FAKE.mint(roles=("evil",))) == "claims_invalid"  # type: ignore[arg-type]  # any verifier


@pytest.mark.parametrize(
    "tenant_id", ["tenant-2", "tenant", "TENANT-1", "tenant-1 ", "", "*", b"tenant-1", 1, ("tenant-1",)]
)
def test_tenant_is_pinned_exactly(tenant_id: str) -> None:
    """Asked for one tenant, a token of any other is refused; an empty pin is a pin."""
    assert outcome(tenant_id) == "tenant_wrong"


def test_tenant_that_is_asked_for_is_accepted() -> None:
    """The token's own tenant passes, and so does not asking."""
    assert outcome("tenant-1") == "accepted"
    assert outcome(None) == "accepted"


@pytest.mark.parametrize(
    ("find", "replacement"),
    [
        ('"sub":', '"sub": "admin", "sub":'),
        ('"exp":', '"exp": 1, "exp":'),
        ('"roles":', '"r\\u006fles": ["admin"], "roles":'),
        ('"roles":', '"x": 1, "x": 1, "roles":'),
        ('"roles":', '"x": {"a": 1, "a": 2}, "roles":'),
        ('"roles":', '"x": [[{"y": {"": 1, "": 2}}]], "roles":'),
        ('"roles":', '"x": {"a": 1, "\\u0061": 2}, "roles":'),
    ],
)
def test_duplicate_members_are_refused_at_any_depth(find: str, replacement: str) -> None:
    """Two members of one name are refused, in known and unknown claims, nested, escaped and equal."""
    payload = json.dumps(FAKE.claims())
    assert outcome_of(payload) == "accepted"
    assert outcome_of(payload.replace(find, replacement)) == "claims_invalid"
    compact = json.dumps(FAKE.claims(), separators=(",", ":"))
    assert outcome_of(compact.replace(find, replacement.replace(" ", ""))) == "claims_invalid"


def test_order_spacing_and_further_claims_are_free() -> None:
    """Claims in another order, with spaces, escapes or others among them are tolerated (RFC 9068 §2.2)."""
    payload = FAKE.claims()
    assert outcome_of(json.dumps(dict(reversed(payload.items())))) == "accepted"
    assert outcome_of(json.dumps({"may_act": {"sub": "x", "act": {"sub": "x"}}, **payload}, indent=4)) == "accepted"
    assert outcome_of(json.dumps(payload | {"name": "Zoë 😀"})) == "accepted"
    assert outcome_of(with_text("further", "[" * 31 + "]" * 31)) == "accepted"
    assert (
        outcome_of(json.dumps(payload | {"rate": 1.5, "big": 10**25, "sub": "Zoë"}, ensure_ascii=False)) == "accepted"
    )


@pytest.mark.parametrize(
    "payload",
    [
        "null",
        "[]",
        "1",
        '"x"',
        "{}",
        "{",
        " ",
        "x",
        "{}{}",
        "[" * 3000,
        '{"a":' * 900 + "1" + "}" * 900,
        '{"iss":"\\ud800"}',
    ],
)
def test_payload_is_one_json_object(payload: str) -> None:
    """Other JSON, cut JSON, two objects and bottomless nesting are refused."""
    assert outcome_of(payload) == "claims_invalid"


@pytest.mark.parametrize(
    "text",
    [
        "[" * 2500 + "]" * 2500,
        '{"":' * 800 + "1" + "}" * 800,
        "[" * 32 + "]" * 32,
        '{"":' * 31 + "[]" + "}" * 31,
        '"\\ud800"',
        '"\\udc00\\ud800"',
        "NaN",
        "Infinity",
        "01",
        '"\x01"',
        "1e400",
        "'x'",
    ],
)
def test_further_claims_are_strict_json_too(text: str) -> None:
    """In claims that nobody reads, bottomless nesting, lone surrogates, NaN and control characters are refused."""
    assert outcome_of(with_text("further", text)) == "claims_invalid"


def test_payload_is_utf8() -> None:
    """Bytes that are no UTF-8 are refused in known and unknown claims and names, as are other encodings."""
    payload = json.dumps(FAKE.claims() | {"further": "@@"}).encode()
    for bad in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82"):
        assert outcome_of(payload.replace(b"@@", bad)) == "claims_invalid"
        assert outcome_of(payload.replace(b"further", bad)) == "claims_invalid"
        assert outcome_of(payload.replace(b"user-1", bad)) == "claims_invalid"
    assert outcome_of(b"\xef\xbb\xbf" + payload) == "claims_invalid"
    assert outcome_of(payload.decode().encode("utf-16")) == "claims_invalid"


@pytest.mark.parametrize("missing", ["", " ", "\t\n", None, 1, ["x"]])
@pytest.mark.parametrize("name", ["issuer", "audience", "token_type"])
def test_verifier_needs_issuer_audience_and_type(name: str, missing: object) -> None:
    """A verifier that would not check one of them can't be made."""
    arguments = {"issuer": ISSUER, "audience": AUDIENCE, "keys": FAKE.find, name: missing}
    with pytest.raises(ValueError, match=name):
        Verifier(**arguments)


def test_issuer_and_audience_have_no_defaults() -> None:
    """Leaving issuer, audience or keys out is an error of the program."""
    arguments = {"issuer": ISSUER, "audience": AUDIENCE, "keys": FAKE.find}
    for name in arguments:
        with pytest.raises(TypeError, match=name):
            Verifier(**{key: value for key, value in arguments.items() if key != name})


@pytest.mark.parametrize("leeway", [-1, 61, 3600, 0.5, True, None, "1", float("nan")])
def test_leeway_is_at_most_a_minute(leeway: int) -> None:
    """A negative, endless or fractional leeway is refused at construction."""
    with pytest.raises(ValueError, match="leeway_seconds"):
        Verifier(issuer=ISSUER, audience=AUDIENCE, keys=FAKE.find, leeway_seconds=leeway)


def test_claims_types_are_frozen_structs() -> None:
    """Claims that a caller could change are refused at construction, since callers may share them."""
    for claims_type in (msgspec.defstruct("Loose", [("iss", str)]), dict, FakeIssuer):
        with pytest.raises(ValueError, match="frozen"):
            Verifier(issuer=ISSUER, audience=AUDIENCE, keys=FAKE.find, claims_type=claims_type)


@pytest.mark.parametrize("make", [FAKE.claims])
def test_claims_can_not_be_changed(make: Callable[[], dict[str, object]]) -> None:
    """Claims are facts: neither kind can be changed."""
    payload = make()
    for claims in (msgspec.convert(payload, Claims), msgspec.convert(payload, RefreshClaims)):
        with pytest.raises(AttributeError):
            claims.sub = "admin"  # type: ignore[misc]  # that it is refused is the point


@pytest.mark.parametrize(
    ("granted", "required"),
    [
        ("invoices:read", "invoices:read"),
        ("invoices:*", "invoices:read"),
        ("*:read", "invoices:read"),
        ("*:*", "invoices:read"),
    ],
)
def test_permission_covers(granted: str, required: str) -> None:
    """A permission covers itself, and a wildcard covers its side."""
    assert permits([granted], required)
    assert permits(iter(("x:y", granted)), required)


@pytest.mark.parametrize(
    "granted",
    [
        "*",
        "",
        ":",
        "*:",
        ":*",
        "**:*",
        "invoices",
        "invoices:",
        ":read",
        "Invoices:read",
        "invoices:READ",
        "invoices:re",
        "inv*:read",
        "invoices:read ",
        "invoices:write",
        "payments:*",
        "*:write",
        "invoices:read:x",
        "invoices*:*",
        "invoices:*:*",
        "!invoices:read",
    ],
)
def test_permission_does_not_cover(granted: str) -> None:
    """Halves, bare stars, partial stars, other cases and other permissions grant nothing."""
    assert not permits([granted], "invoices:read")


@pytest.mark.parametrize(
    "required", ["*", "", ":", "invoices", "invoices:", ":read", "invoices:*", "*:read", "*:*", "a:b:c", "inv*:read"]
)
def test_only_concrete_permissions_are_ever_permitted(required: str) -> None:
    """Asking for a wildcard or half a permission is never permitted, not even by the same text or by everything."""
    assert not permits([required, "*:*", "invoices:*", "*:read"], required)


@given(st.lists(st.text("ab:*", max_size=4)), st.text("ab:*", max_size=4))
def test_more_permissions_never_permit_less(granted: list[str], required: str) -> None:
    """What is permitted stays permitted with more grants, and nothing is permitted by none."""
    assert not permits((), required)
    if permits(granted, required):
        assert permits([*granted, "x:y"], required)


def test_claims_allow_what_their_permissions_permit() -> None:
    """Claims.allows asks the token's permissions and not its roles."""
    claims = VERIFIER.verify(FAKE.mint(permissions=("invoices:*",), roles=("payments:read",)))
    assert claims.allows("invoices:read")
    assert not claims.allows("payments:read")
