"""What the guard's tests forge with: fixed keys, a fixed hour, and tokens put together by hand.

Keys are made once per process, since RSA is slow to make. Nothing here decides whether a token is good.
"""

import hashlib
import hmac
import json
from collections.abc import Callable
from functools import cache

from cryptography.hazmat.primitives.asymmetric import rsa

from payymo_guard import Claims, Refused, Verifier
from payymo_guard.keyset import Algorithm
from payymo_guard.testing import FakeIssuer, PrivateKey, generate_key
from payymo_guard.wire import encode_base64url

NOW = 1_800_000_000
ALGORITHMS: tuple[Algorithm, ...] = ("RS256", "PS256", "ES256", "EdDSA")
HMAC_DIGESTS = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}


class Clock:
    """A clock that stands still until a test sets it."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def private_key(algorithm: Algorithm, number: int = 1) -> PrivateKey:
    """Return the n-th key of this process for an algorithm. RS256 and PS256 share theirs, as the confused would."""
    return _made_once("RS256" if algorithm == "PS256" else algorithm, number)


@cache
def _made_once(algorithm: Algorithm, _: int) -> PrivateKey:
    return generate_key(algorithm)


def issuer(algorithm: Algorithm = "EdDSA", clock: Callable[[], float] | None = None) -> FakeIssuer:
    """Return an issuer at NOW whose active key is the process's key for `algorithm`."""
    fake = FakeIssuer(clock=clock or Clock(), algorithm="EdDSA")
    fake.retire(fake.active_kid)
    fake.rotate(algorithm, private_key(algorithm))
    return fake


def rsa_key(number: int = 1) -> rsa.RSAPrivateKey:
    """Return the RSA key behind RS256 and PS256."""
    key = private_key("RS256", number)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def compact(header: object, payload: object, signature: bytes) -> str:
    """Return the compact form of anything: bytes stand as they are, the rest as JSON."""
    return b".".join(encode_base64url(part) for part in (_json(header), _json(payload), signature)).decode()


def with_hmac(fake: FakeIssuer, algorithm: str, secret: bytes, *, label: str | None = None) -> str:
    """Return a token with good claims, authenticated by HMAC; `label` is the alg it states instead of its own."""
    header = {"alg": label or algorithm, "typ": "at+jwt", "kid": fake.active_kid}
    text = compact(header, fake.claims(), b"x").rpartition(".")[0]
    tag = hmac.new(secret, text.encode(), HMAC_DIGESTS[algorithm]).digest()
    return f"{text}.{encode_base64url(tag).decode()}"


def refusal(verifier: Verifier[Claims], token: object, *, tenant_id: str | None = None) -> str:
    """Return the code with which a token is refused, or "accepted"."""
    try:
        verifier.verify(token, tenant_id=tenant_id)  # type: ignore[arg-type]  # strangers send anything
    except Refused as refused:
        return refused.code
    return "accepted"


def _json(value: object) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
