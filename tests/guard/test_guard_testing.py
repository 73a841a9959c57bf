"""What users of the guard lean on: stable codes, the fake issuer, the inspection, and independence from the service."""

import pickle
import subprocess
import sys
import time
from typing import Any, get_args

import msgspec
import pytest

import payymo_guard
from payymo_guard import KeySet, Refused, Verifier
from payymo_guard.errors import DETAILS, RefusalCode
from payymo_guard.keyset import Algorithm
from payymo_guard.testing import FakeIssuer
from payymo_guard.verify import inspect
from tests.guard.forge import ALGORITHMS, NOW, Clock, compact, issuer, refusal


def test_every_code_has_a_sentence() -> None:
    """The list of codes is closed, and each has a sentence of its own."""
    assert set(DETAILS) == set(get_args(RefusalCode))
    assert len(set(DETAILS.values())) == len(DETAILS)


def test_refusal_says_code_and_detail() -> None:
    """A refusal shows its code and sentence, and survives being sent to another process."""
    refused = pickle.loads(pickle.dumps(Refused("token_expired")))  # noqa: S301 - our own bytes
    assert (refused.code, refused.detail) == ("token_expired", DETAILS["token_expired"])
    assert str(refused) == "token_expired: The token has expired."
    assert Refused("claims_invalid", "Other words.").detail == "Other words."


@pytest.mark.parametrize(
    "changes", [{"iss": "SECRET"}, {"aud": "SECRET"}, {"exp": "SECRET"}, {"tenant_id": "SECRET", "exp": 1}]
)
def test_refusal_repeats_nothing_from_the_token(changes: dict[str, object]) -> None:
    """The sentence is safe for strangers: nothing from the token stands in it."""
    fake = issuer()
    with pytest.raises(Refused) as caught:
        fake.verifier().verify(fake.sign(fake.claims() | changes), tenant_id="tenant-1")
    assert "SECRET" not in str(caught.value)
    assert "SECRET" not in caught.value.detail


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_fake_issuer_is_believed_by_a_verifier_of_its_jwks(algorithm: Algorithm) -> None:
    """What the fake issuer mints passes a verifier that knows it by its published document only."""
    fake = issuer(algorithm)
    keys = KeySet.from_jwks(fake.jwks())
    verifier = Verifier(issuer=fake.issuer, audience=fake.audience, keys=keys.find, clock=fake.clock)
    claims = verifier.verify(fake.mint(subject="zoë", permissions=("a:b",), roles=("r",)), tenant_id="tenant-1")
    assert (claims.sub, claims.permissions, claims.roles) == ("zoë", ("a:b",), ("r",))
    assert claims.jti != verifier.verify(fake.mint()).jti


def test_fake_issuer_works_as_it_comes() -> None:
    """Without any argument, the fake issuer's tokens are valid now."""
    fake = FakeIssuer()
    assert refusal(fake.verifier(), fake.mint()) == "accepted"
    assert refusal(FakeIssuer().verifier(), fake.mint()) == "signature_invalid"


def test_fake_issuer_rotates_and_retires() -> None:
    """After a rotation both keys count; after the retirement only the new one."""
    fake = FakeIssuer(clock=Clock())
    verifier = fake.verifier()
    first, old = fake.active_kid, fake.mint()
    fake.rotate("EdDSA")
    new = fake.mint()
    assert [refusal(verifier, token) for token in (old, new)] == ["accepted", "accepted"]
    fake.retire(first)
    assert [refusal(verifier, token) for token in (old, new)] == ["key_unknown", "accepted"]


def test_fake_issuer_mints_expired_tokens() -> None:
    """Time to live is what it says, to the second."""
    clock = Clock()
    fake = issuer(clock=clock)
    token = fake.mint(ttl_seconds=5)
    clock.now = NOW + 5
    assert refusal(fake.verifier(), token) == "token_expired"
    assert refusal(fake.verifier(), fake.mint(ttl_seconds=0)) != "accepted"


def test_the_fake_issuer_goes_by_the_time_that_a_test_has_put_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries such as freezegun replace `time.time`: a token expires then, however early the issuer was made."""
    fake = FakeIssuer()
    guard, token = fake.guard(), fake.mint(ttl_seconds=900)
    later = guard.verify(token).iat + 900
    monkeypatch.setattr(time, "time", lambda: float(later))
    with pytest.raises(Refused, match="token_expired"):
        guard.verify(token)
    assert guard.verify(fake.mint()).iat == later


@pytest.mark.parametrize(
    ("wrong", "where"), [({"permissions": "orders:read"}, "permissions"), ({"ttl_seconds": 0.5}, "exp")]
)
def test_what_can_t_be_a_claim_is_an_error_where_it_is_written(wrong: dict[str, Any], where: str) -> None:
    """A forgotten comma made `permissions` a string, and a token that was refused for no reason to be seen."""
    for mint in (FakeIssuer().mint, FakeIssuer().mint_service):
        with pytest.raises(msgspec.ValidationError, match=where):
            mint(**wrong)


def test_inspection_shows_any_token_and_calls_it_untrusted() -> None:
    """Any header and claims are shown, unverified, under names that say so."""
    shown = inspect(compact({"alg": "none", "crit": ["x"]}, {"sub": "admin", "exp": "soon"}, b"x"))
    assert shown.untrusted_header == {"alg": "none", "crit": ["x"]}
    assert shown.untrusted_claims == {"sub": "admin", "exp": "soon"}
    assert not hasattr(shown, "claims")


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a.b",
        "a.b.c",
        "e30.e30.",
        ".e30.e30",
        "e30.e30.e30.e30",
        "e31.e30.AA",
        "e30.e31.AA",
        "e30.e30.AB",
        "W10.e30.AA",
        "e30.W10.AA",
        "e30=.e30.AA",
        "e30.e30.AA\n",
        compact(b'{"a":1,"a":2}', {}, b"x"),
        compact({}, b'{"x":{"a":1,"a":2}}', b"x"),
        None,
        b"e30.e30.AA",
        compact({}, b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}", b"x"),
    ],
)
def test_inspection_refuses_what_is_no_token(token: str) -> None:
    """Garbage, second spellings and duplicates aren't explained but refused."""
    with pytest.raises(Refused, match="token_malformed"):
        inspect(token)
    with pytest.raises(Refused, match="token_too_large"):
        inspect("." * 9000)


def test_guard_stands_alone() -> None:
    """Importing all of the guard brings neither the service nor a web framework nor somebody else's HTTP client."""
    program = (
        "import sys, payymo_guard, payymo_guard.testing\n"
        "strangers = {'payymo', 'flask', 'werkzeug', 'sqlalchemy', 'httpx', 'urllib3', 'requests', 'pytest'}\n"
        "print(sorted(strangers & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_public_names_are_there() -> None:
    """The package exports what it promises."""
    assert set(payymo_guard.__all__) == {
        "UNAVAILABLE",
        "Act",
        "Claims",
        "Guard",
        "GuardStatus",
        "KeySet",
        "RefreshClaims",
        "Refused",
        "Staleness",
        "VerificationKey",
        "Verifier",
        "permits",
    }
    assert all(hasattr(payymo_guard, name) for name in payymo_guard.__all__)


def test_a_program_is_told_from_a_person_and_revoked_as_a_whole() -> None:
    """RFC 9068 §2.2: client and subject are one; ending its session ends whatever its key was exchanged for."""
    forged = FakeIssuer()
    guard = forged.guard()
    person, tokens = guard.verify(forged.mint()), [forged.mint_service("job", permissions=("a:b",)) for _ in range(2)]
    assert not person.is_service
    for token in tokens:
        claims = guard.verify(token)
        assert (claims.is_service, claims.sub, claims.permissions) == (True, "job", ("a:b",))
    forged.revoke_session("job")
    for token in tokens:
        with pytest.raises(Refused, match="token_revoked"):
            guard.verify(token)
    guard.verify(forged.mint())
