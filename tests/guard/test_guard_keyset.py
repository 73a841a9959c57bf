"""Which keys exist at all: public, asymmetric, strong, named, and of one algorithm."""

import dataclasses
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from payymo_guard import KeySet, Refused, VerificationKey
from payymo_guard.keyset import Algorithm
from payymo_guard.testing import public_jwk, sign
from payymo_guard.wire import encode_base64url
from tests.guard.forge import ALGORITHMS, private_key, rsa_key


def jwk(algorithm: Algorithm, **changes: object) -> dict[str, object]:
    """Return a good public JWK with changes; None takes a member away."""
    members = public_jwk(VerificationKey("kid", algorithm, private_key(algorithm).public_key())) | changes
    return {name: value for name, value in members.items() if value is not None}


def number(value: int) -> str:
    """Return a Base64urlUInt."""
    return encode_base64url(value.to_bytes((value.bit_length() + 7) // 8)).decode()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_jwk_verifies_what_its_private_half_signed(algorithm: Algorithm) -> None:
    """A key read from its JWK accepts its own signatures and raises on others."""
    key = VerificationKey.from_jwk(jwk(algorithm))
    assert (key.kid, key.algorithm) == ("kid", algorithm)
    signature = sign(algorithm, private_key(algorithm), b"text")
    key.verify(signature, b"text")
    for wrong, text in (
        (signature, b"texT"),
        (bytes(len(signature)), b"text"),
        (b"", b"text"),
        (signature[1:], b"text"),
    ):
        with pytest.raises(Refused, match="signature_invalid"):
            key.verify(wrong, text)


@pytest.mark.parametrize(
    "changes", [{"use": None}, {"key_ops": ["verify"]}, {"key_ops": ["verify", "encrypt"]}, {"x5t": "AA", "extra": 1}]
)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_harmless_members_are_tolerated(algorithm: Algorithm, changes: dict[str, object]) -> None:
    """A JWK may leave use out, state its operations, and say more than we read."""
    assert VerificationKey.from_jwk(jwk(algorithm, **changes)).kid == "kid"


@pytest.mark.parametrize(
    "changes",
    [
        {"kid": None},
        {"kid": ""},
        {"kid": 1},
        {"kid": "k" * 129},
        {"kid": "a\x00"},
        {"alg": None},
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "RS512"},
        {"alg": ["RS256"]},
        {"alg": "rs256"},
        {"kty": None},
        {"kty": "oct"},
        {"kty": "oct", "k": "AAAA"},
        {"kty": "AKP"},
        {"use": "enc"},
        {"use": ""},
        {"use": ["sig"]},
        {"key_ops": []},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"key_ops": {"verify": 1}},
        {"k": "AAAA"},
        {"d": "AAAA"},
        {"oth": []},
    ],
)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_unfit_jwk_is_refused(algorithm: Algorithm, changes: dict[str, object]) -> None:
    """No name, no accepted algorithm, another use, symmetric or private members: no key."""
    with pytest.raises(ValueError, match=r"JWK|kid"):
        VerificationKey.from_jwk(jwk(algorithm, **changes))


@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"])
def test_private_members_are_refused(member: str) -> None:
    """A JWK with any private member is refused: a published private key is an accident to be noticed."""
    with pytest.raises(ValueError, match="private"):
        VerificationKey.from_jwk(jwk("RS256", **{member: "AAAA"}))


@pytest.mark.parametrize("own", ALGORITHMS)
@pytest.mark.parametrize("stated", ALGORITHMS)
def test_algorithm_fits_its_kind_of_key(own: Algorithm, stated: Algorithm) -> None:
    """RSA keys are for RS256 and PS256, P-256 for ES256, Ed25519 for EdDSA, in JWK and by hand."""
    if private_key(own) is private_key(stated):
        assert VerificationKey.from_jwk(jwk(own, alg=stated)).algorithm == stated
        return
    with pytest.raises(ValueError, match="kty"):
        VerificationKey.from_jwk(jwk(own, alg=stated))
    with pytest.raises(ValueError, match="fit"):
        VerificationKey("kid", stated, private_key(own).public_key())


@pytest.mark.parametrize("bits", [512, 1024, 2040, 2047])
def test_small_rsa_keys_are_refused(bits: int) -> None:
    """RSA below 2048 bits is refused (RFC 7518 §3.3)."""
    modulus = (1 << bits - 1) | 0x1_0001
    with pytest.raises(ValueError, match=r"bits|key"):
        VerificationKey.from_jwk(jwk("RS256", n=number(modulus)))


@pytest.mark.parametrize("bits", [2049, 8200, 16384])
def test_odd_and_huge_rsa_keys_are_refused(bits: int) -> None:
    """RSA of broken octets, or so large that one verification is an attack, is refused."""
    with pytest.raises(ValueError, match=r"bits|number"):
        VerificationKey.from_jwk(jwk("RS256", n=number((1 << bits - 1) | 1)))


@pytest.mark.parametrize("exponent", [1, 2, 3, 17, 65_535, 65_536, 65_538, 2**32 + 1, 2**64 + 1])
def test_rsa_exponents_are_odd_and_sensible(exponent: int) -> None:
    """Exponents that are even, small or slow are refused, read from a JWK or in a key made by hand."""
    with pytest.raises(ValueError, match=r"exponent|e must"):
        VerificationKey.from_jwk(jwk("RS256", e=number(exponent)))


def test_weak_rsa_is_refused_by_hand_too() -> None:
    """The constructor has the same rules as the JWK."""
    weak = rsa.RSAPublicNumbers(3, rsa_key().public_key().public_numbers().n).public_key()
    with pytest.raises(ValueError, match="exponent"):
        VerificationKey("kid", "RS256", weak)


@pytest.mark.parametrize("value", ["", "AA", "AAEAAQ", "AQAB=", "AQ AB", "AQA+", None, 65537, "A", "Zoë"])
def test_rsa_numbers_have_one_spelling(value: object) -> None:
    """Numbers with leading zeros, padding, blanks, or that are no strings are refused."""
    with pytest.raises(ValueError, match=r"JWK|base64url"):
        VerificationKey.from_jwk(jwk("RS256", e=value))


def test_points_are_on_the_curve() -> None:
    """A point off P-256 is refused: with it, signatures mean nothing."""
    with pytest.raises(ValueError, match=r".*"):
        VerificationKey.from_jwk(jwk("ES256", x=encode_base64url(bytes(31) + b"\x07").decode()))
    with pytest.raises(ValueError, match=r".*"):
        VerificationKey.from_jwk(
            jwk("ES256", x=encode_base64url(bytes(32)).decode(), y=encode_base64url(bytes(32)).decode())
        )


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
@pytest.mark.parametrize(
    "changes", [{"crv": "P-384"}, {"crv": "Ed448"}, {"crv": None}, {"crv": 1}, {"x": "AAAA"}, {"x": None}, {"x": ""}]
)
def test_curve_and_coordinates_are_exact(algorithm: Algorithm, changes: dict[str, object]) -> None:
    """Other curves and coordinates of another length are refused."""
    with pytest.raises(ValueError, match="JWK"):
        VerificationKey.from_jwk(jwk(algorithm, **changes))


def test_other_curves_are_refused_by_hand_too() -> None:
    """P-384 and Ed448 keys are no ES256 and EdDSA keys here."""
    with pytest.raises(ValueError, match="fit"):
        VerificationKey("kid", "ES256", ec.generate_private_key(ec.SECP384R1()).public_key())
    with pytest.raises(ValueError, match="fit"):
        VerificationKey("kid", "EdDSA", ed448.Ed448PrivateKey.generate().public_key())  # type: ignore[arg-type]  # the point
    with pytest.raises(ValueError, match="fit"):
        VerificationKey("kid", "EdDSA", ed25519.Ed25519PrivateKey.generate())  # type: ignore[arg-type]  # a private key


def test_jwks_is_read_whole() -> None:
    """Each key of a set is found by its name, and nothing else is."""
    document = {"keys": [jwk(algorithm, kid=f"k-{algorithm}") for algorithm in ALGORITHMS], "further": 1}
    keys = KeySet.from_jwks(json.dumps(document).encode())
    assert len(keys) == 4
    assert [key.algorithm for key in keys] == list(ALGORITHMS)
    for algorithm in ALGORITHMS:
        found = keys.find(f"k-{algorithm}")
        assert found is not None
        assert found.algorithm == algorithm
    assert keys.find("kid") is None
    assert len(KeySet.from_jwks(b'{"keys":[]}')) == 0


GOOD = json.dumps(jwk("EdDSA"))


@pytest.mark.parametrize(
    "document",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"keys":{}}',
        '{"keys":null}',
        '{"keys":[1]}',
        '{"keys":[[]]}',
        '{"keys":[{}]}',
        GOOD,
        f'{{"keys":[{GOOD},{GOOD}]}}',
        f'{{"keys":[{GOOD},{json.dumps(jwk("ES256"))}]}}',
        f'{{"keys":[{GOOD}],"keys":[{GOOD}]}}',
        f'{{"keys":[],"keys":[{GOOD}]}}',
        f'{{"keys":[{GOOD[:-1]},"kid":"other"}}]}}',
        f'{{"keys":[{GOOD},{{"kty":"oct","kid":"s","alg":"HS256","k":"AAAA"}}]}}',
        f'{{"keys":[{GOOD}]}}x',
        f'{{"keys":[{GOOD}]',
        '{"keys":' + "[" * 100_000 + "]" * 100_000 + "}",
        f'{{"keys":[{GOOD}],"x":"{"x" * 300_000}"}}',
    ],
)
def test_bad_jwks_is_refused_as_a_whole(document: str) -> None:
    """Duplicate names or members, an unfit key, other JSON, too much of it: no set at all."""
    with pytest.raises(ValueError, match=r".*"):
        KeySet.from_jwks(document.encode())


def test_two_keys_of_one_name_are_refused() -> None:
    """Also by hand, a name can't stand for two keys."""
    key = VerificationKey("kid", "EdDSA", private_key("EdDSA").public_key())
    with pytest.raises(ValueError, match="same kid"):
        KeySet([key, VerificationKey("kid", "EdDSA", private_key("EdDSA", 2).public_key())])


def test_keys_and_sets_never_change() -> None:
    """Neither a key nor a set can be changed after it was checked, and a key is equal to itself only."""
    key = VerificationKey("kid", "EdDSA", private_key("EdDSA").public_key())
    keys = KeySet([key])
    with pytest.raises(dataclasses.FrozenInstanceError):
        key.algorithm = "RS256"  # type: ignore[misc]  # that it is refused is the point
    with pytest.raises(dataclasses.FrozenInstanceError):
        keys._keys = {}  # type: ignore[misc]  # that it is refused is the point
    with pytest.raises(TypeError):
        keys._keys["kid"] = key  # type: ignore[index]  # that it is refused is the point
    assert key != VerificationKey("kid", "EdDSA", private_key("EdDSA").public_key())
