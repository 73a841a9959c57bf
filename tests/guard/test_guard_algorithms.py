"""No token can choose how it is verified: key and algorithm confusion, `none`, and near misses of signatures."""

import hashlib
import itertools
import re
from collections.abc import Callable

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from payymo_guard import Refused, VerificationKey
from payymo_guard.keyset import Algorithm
from payymo_guard.testing import FakeIssuer, sign
from payymo_guard.wire import decode_base64url, encode_base64url
from tests.guard.forge import ALGORITHMS, HMAC_DIGESTS, compact, issuer, private_key, refusal, rsa_key, with_hmac

DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
FORGED_BLOCKS: dict[str, Callable[[int, bytes, bytes], bytes]] = {
    "padding that ends early": lambda size, info, _: (
        b"\0\1" + b"\xff" * 8 + b"\0" + info + bytes(size - 11 - len(info))
    ),
    "garbage after it": lambda size, info, _: b"\0\1" + b"\xff" * (size - 55) + b"\0" + info + b"!",
    "garbage before it": lambda size, info, _: b"\0\1" + b"\xff" * (size - 55) + b"\0!" + info,
    "padding of other octets": lambda size, info, _: b"\0\1" + b"\xff" * (size - 55) + b"\xfe\0" + info,
    "padding that is random": lambda size, info, _: b"\0\2" + b"\xff" * (size - 54) + b"\0" + info,
    "padding of zeros": lambda size, info, _: b"\0\0" + bytes(size - 54) + b"\0" + info,
    "no zero behind it": lambda size, info, _: b"\0\1" + b"\xff" * (size - 53) + info,
    "a digest alone": lambda size, _, digest: b"\0\1" + b"\xff" * (size - 35) + b"\0" + digest,
    "no parameters": lambda size, _, digest: (
        b"\0\1" + b"\xff" * (size - 52) + b"\0" + bytes.fromhex("302f300b0609608648016503040201") + b"\4\x20" + digest
    ),
    "a long form of a length": lambda size, _, digest: (
        b"\0\1" + b"\xff" * (size - 55) + b"\0" + bytes.fromhex("308131300d060960864801650304020105000420") + digest
    ),
    "another digest's name": lambda size, _, digest: (
        b"\0\1" + b"\xff" * (size - 54) + b"\0" + bytes.fromhex("3031300d060960864801650304020205000420") + digest
    ),
    "another text": lambda size, _, __: (
        b"\0\1" + b"\xff" * (size - 54) + b"\0" + DIGEST_INFO + hashlib.sha256(b"texT").digest()
    ),
    "nothing": lambda size, _, __: bytes(size - 1) + b"\1",
}
"""What RSA makes of a signature, of this size, with the octets that name the digest and the digest."""
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
NONES = (
    "none",
    "None",
    "NONE",
    "nOnE",
    "noNe",
    " none",
    "none ",
    "none\t",
    "none\n",
    "\x00none",
    "none\x00",
    "ｎone",
    "",
)


def public_texts(algorithm: Algorithm, fake: FakeIssuer) -> dict[str, bytes]:
    """Return every public spelling of a key that somebody once took for a secret."""
    public = private_key(algorithm).public_key()
    encoding, form = serialization.Encoding, serialization.PublicFormat
    spki = public.public_bytes(encoding.PEM, form.SubjectPublicKeyInfo)
    jwks = fake.jwks()
    texts = {
        "spki pem": spki,
        "spki der": public.public_bytes(encoding.DER, form.SubjectPublicKeyInfo),
        "ssh": public.public_bytes(encoding.OpenSSH, form.OpenSSH),
        "jwks": jwks,
        "jwk": jwks[len(b'{"keys":[') : -len(b"]}")],
        "empty": b"",
        **whitespace_mutations("spki", spki),
    }
    if algorithm in {"RS256", "PS256"}:
        pkcs1 = public.public_bytes(encoding.PEM, form.PKCS1)
        texts |= {"pkcs1 pem": pkcs1, "pkcs1 der": public.public_bytes(encoding.DER, form.PKCS1)}
        texts |= whitespace_mutations("pkcs1", pkcs1)
    return texts


def whitespace_mutations(name: str, pem: bytes) -> dict[str, bytes]:
    """Return the spellings of a PEM that got past lists of forbidden secrets."""
    return {
        f"{name} stripped": pem.strip(),
        f"{name} crlf": pem.replace(b"\n", b"\r\n"),
        f"{name} cr only": pem.replace(b"\n", b"\r"),
        f"{name} one line": pem.replace(b"\n", b" "),
        f"{name} no breaks": pem.replace(b"\n", b""),
        f"{name} indented": re.sub(rb"(?m)^", b"  ", pem),
        f"{name} indented end": pem.replace(b"-----END", b"  -----END"),
        f"{name} blank before": b"\n\n" + pem,
        f"{name} nul after": pem + b"\x00",
    }


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("hmac_algorithm", HMAC_DIGESTS)
def test_public_key_is_never_a_secret(algorithm: Algorithm, hmac_algorithm: str) -> None:
    """HMAC keyed with any public text of the key is refused, whichever algorithm the header states."""
    fake = issuer(algorithm)
    verifier = fake.verifier()
    for name, secret in public_texts(algorithm, fake).items():
        assert refusal(verifier, with_hmac(fake, hmac_algorithm, secret)) == "algorithm_refused", name
        labelled = with_hmac(fake, hmac_algorithm, secret, label=algorithm)
        assert refusal(verifier, labelled) == "signature_invalid", name


@pytest.mark.parametrize("none", NONES)
def test_none_is_refused_in_every_spelling(none: str) -> None:
    """`none` is refused in any case and with any blanks, with no signature, a false one and a right one."""
    fake = issuer()
    header = {"alg": none, "typ": "at+jwt", "kid": fake.active_kid}
    assert refusal(fake.verifier(), compact(header, fake.claims(), b"")) == "token_malformed"
    assert refusal(fake.verifier(), compact(header, fake.claims(), b"x")) == "algorithm_refused"
    assert refusal(fake.verifier(), fake.sign(fake.claims(), header=header)) == "algorithm_refused"


@pytest.mark.parametrize("algorithm", [["EdDSA"], 1, 0, None, True, {"EdDSA": 1}, [], "eddsa", "EDDSA", "EdDSA "])
def test_alg_is_one_exact_string(algorithm: object) -> None:
    """An alg of another type, case or spacing is refused although the signature is right."""
    fake = issuer()
    header = {"alg": algorithm, "typ": "at+jwt", "kid": fake.active_kid}
    assert refusal(fake.verifier(), fake.sign(fake.claims(), header=header)) == "algorithm_refused"


def test_missing_alg_is_refused() -> None:
    """A header without alg is refused: the key's own algorithm is no default."""
    fake = issuer()
    token = fake.sign(fake.claims(), header={"typ": "at+jwt", "kid": fake.active_kid})
    assert refusal(fake.verifier(), token) == "algorithm_refused"


@pytest.mark.parametrize(
    "algorithm", ["RS384", "RS512", "PS512", "ES384", "ES256K", "RSA1_5", "RSA-OAEP", "dir", "Ed25519"]
)
def test_other_algorithms_do_not_exist(algorithm: str) -> None:
    """Algorithms outside of the four are refused, encryption included."""
    fake = issuer()
    header = {"alg": algorithm, "typ": "at+jwt", "kid": fake.active_kid}
    assert refusal(fake.verifier(), fake.sign(fake.claims(), header=header)) == "algorithm_refused"


@pytest.mark.parametrize("stated", ALGORITHMS)
@pytest.mark.parametrize("own", ALGORITHMS)
def test_key_has_one_algorithm(own: Algorithm, stated: Algorithm) -> None:
    """A token is accepted if it states the key's own algorithm, and no other although it may be a true one."""
    fake = issuer(own)
    header = {"alg": stated, "typ": "at+jwt", "kid": fake.active_kid}
    token = fake.sign(fake.claims(), header=header)
    assert refusal(fake.verifier(), token) == ("accepted" if own == stated else "algorithm_refused")


@pytest.mark.parametrize(("own", "other"), [("RS256", "PS256"), ("PS256", "RS256")])
def test_same_rsa_key_does_not_swap_padding(own: Algorithm, other: Algorithm) -> None:
    """A true PS256 signature by an RS256 key is refused, and the reverse, whichever of the two is stated."""
    fake = issuer(own)
    for stated, code in ((other, "algorithm_refused"), (own, "signature_invalid")):
        header = {"alg": stated, "typ": "at+jwt", "kid": fake.active_kid}
        text = compact(header, fake.claims(), b"x").rpartition(".")[0]
        signature = encode_base64url(sign(other, private_key(other), text.encode())).decode()
        assert refusal(fake.verifier(), f"{text}.{signature}") == code


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_other_keys_signature_is_refused(algorithm: Algorithm) -> None:
    """A signature by another key of the same kind is refused."""
    fake = issuer(algorithm)
    text = fake.mint().rpartition(".")[0]
    signature = sign(algorithm, private_key(algorithm, 2), text.encode())
    assert refusal(fake.verifier(), f"{text}.{encode_base64url(signature).decode()}") == "signature_invalid"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_signature_belongs_to_its_text(algorithm: Algorithm) -> None:
    """A true signature under the claims of another token is refused."""
    fake = issuer(algorithm)
    text = fake.mint(roles=("admin",)).rpartition(".")[0]
    signature = fake.mint().rpartition(".")[2]
    assert refusal(fake.verifier(), f"{text}.{signature}") == "signature_invalid"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_signature_has_its_exact_length(algorithm: Algorithm) -> None:
    """A signature with octets before or behind, or without its last, is refused."""
    fake = issuer(algorithm)
    text, _, encoded = fake.mint().rpartition(".")
    signature = decode_base64url(encoded.encode())
    for changed in (b"\x00" + signature, signature + b"\x00", signature[:-1], signature[1:], signature * 2):
        token = f"{text}.{encode_base64url(changed).decode()}"
        assert refusal(fake.verifier(), token) == "signature_invalid"


@pytest.mark.parametrize("block", ["right", *FORGED_BLOCKS])
def test_rs256_takes_one_block_for_each_text(block: str) -> None:
    """RFC 8017 §8.2.2: the whole of it is compared, whatever a lenient parser would find in it (Bleichenbacher 2006).

    What OpenSSL's own verification says of the same signature is the measure.
    """
    key = rsa_key()
    size, numbers, digest = key.key_size // 8, key.private_numbers(), hashlib.sha256(b"text").digest()
    info = DIGEST_INFO + digest
    made = {"right": b"\0\1" + b"\xff" * (size - 54) + b"\0" + info} | {
        name: make(size, info, digest) for name, make in FORGED_BLOCKS.items()
    }
    assert len(made[block]) == size
    value = pow(int.from_bytes(made[block]), numbers.d, numbers.public_numbers.n)
    signature = value.to_bytes(size)
    ours = VerificationKey("kid", "RS256", key.public_key())
    if block == "right":
        ours.verify(signature, b"text")
        key.public_key().verify(signature, b"text", padding.PKCS1v15(), hashes.SHA256())
        return
    with pytest.raises(Refused, match="signature_invalid"):
        ours.verify(signature, b"text")
    with pytest.raises(InvalidSignature):
        key.public_key().verify(signature, b"text", padding.PKCS1v15(), hashes.SHA256())


def test_rs256_signatures_are_below_the_modulus() -> None:
    """RFC 8017 §5.2.2: a signature has one representative; the same one plus the modulus is no other spelling."""
    key = rsa_key()
    modulus, bits = key.private_numbers().public_numbers.n, key.key_size
    ours = VerificationKey("kid", "RS256", key.public_key())
    for text in map(b"%d".__mod__, itertools.count()):
        signature = sign("RS256", key, text)
        ours.verify(signature, text)
        if (other := int.from_bytes(signature) + modulus) < 1 << bits:
            break
    with pytest.raises(Refused, match="signature_invalid"):
        ours.verify(other.to_bytes(bits // 8), text)


def test_es256_is_raw_on_the_wire() -> None:
    """The DER form of a true ES256 signature is refused: one signature, one spelling."""
    fake = issuer("ES256")
    text, _, encoded = fake.mint().rpartition(".")
    raw = decode_base64url(encoded.encode())
    der = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    assert refusal(fake.verifier(), f"{text}.{encode_base64url(der).decode()}") == "signature_invalid"


def test_es256_has_no_second_spelling_of_its_numbers() -> None:
    """A true r and s with a zero octet between them, which changes neither number, is refused."""
    fake = issuer("ES256")
    text, _, encoded = fake.mint().rpartition(".")
    raw = decode_base64url(encoded.encode())
    padded = encode_base64url(raw[:32] + b"\x00" + raw[32:]).decode()
    assert refusal(fake.verifier(), f"{text}.{padded}") == "signature_invalid"


def test_es256_numbers_are_in_range() -> None:
    """Signatures of zeros, of the order, and of values beyond it are refused (CVE-2022-21449 and kin)."""
    fake = issuer("ES256")
    text = fake.mint().rpartition(".")[0]
    key = private_key("ES256")
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    top = 2**256 - 1
    pairs = ((0, 0), (0, s), (r, 0), (P256_ORDER, s), (r, P256_ORDER), (1, P256_ORDER), (top, top), (s, r))
    for pair in pairs:
        signature = b"".join(number.to_bytes(32) for number in pair)
        assert refusal(fake.verifier(), f"{text}.{encode_base64url(signature).decode()}") == "signature_invalid"


@pytest.mark.parametrize("salt", [0, 20, 31, 33, 64])
def test_ps256_salt_is_as_long_as_the_digest(salt: int) -> None:
    """A PSS signature with another length of salt is refused (RFC 7518 §3.5)."""
    fake = issuer("PS256")
    text = fake.mint().rpartition(".")[0]
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), salt)
    signature = rsa_key().sign(text.encode(), pss, hashes.SHA256())
    assert refusal(fake.verifier(), f"{text}.{encode_base64url(signature).decode()}") == "signature_invalid"


@pytest.mark.parametrize("digest", [hashes.SHA224(), hashes.SHA384(), hashes.SHA512()])
def test_rs256_is_sha256(digest: hashes.HashAlgorithm) -> None:
    """A PKCS #1 signature over another digest is refused."""
    fake = issuer("RS256")
    text = fake.mint().rpartition(".")[0]
    signature = rsa_key().sign(text.encode(), padding.PKCS1v15(), digest)
    assert refusal(fake.verifier(), f"{text}.{encode_base64url(signature).decode()}") == "signature_invalid"
