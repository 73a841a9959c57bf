"""Tokens that are not valid here and now, over HTTP: on `/me`, `/token/verify` and `/refresh` they are all one 401."""

import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from werkzeug.test import TestResponse

from payymo.db.schema import sessions, users
from payymo.keys.model import Purpose
from payymo.tokens import Subject, TokenMinter, TokenPolicy
from payymo_guard.testing import sign
from payymo_guard.verify import AHEAD_SECONDS
from payymo_guard.wire import encode_base64url
from tests.conftest import Copied
from tests.support.house import Client, House

INVALID = 'Bearer realm="payymo", error="invalid_token"'
MISSING = 'Bearer realm="payymo"'
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65_537, 2048)


@pytest.fixture(scope="module")
def standing(copied: Copied, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A service for all whose time stands still, on SQLite: tokens are judged before the database is asked."""
    with copied("sqlite", tmp_path_factory.mktemp("tokens")) as database:
        house = House(database)
        house.user("alice")
        yield house
        house.close()


@pytest.fixture
def alice(standing: House) -> "Holder":
    """Alice, logged in anew."""
    return Holder(standing, standing.logged_in())


@pytest.fixture
def alone(sqlite_house: House) -> "Holder":
    """Alice on a service of this test's own, where time may pass."""
    sqlite_house.user("alice")
    return Holder(sqlite_house, sqlite_house.logged_in())


class Holder:
    """Somebody with good tokens, from which bad ones are made."""

    def __init__(self, house: House, client: Client) -> None:
        self.house = house
        self.client = client
        assert client.access_token is not None
        assert client.refresh_token is not None
        self.access, self.refresh = client.access_token, client.refresh_token

    def present(self, token: str) -> list[TestResponse]:
        """The answers of every place that takes a token."""
        stranger = self.house.client()
        stranger.http.environ_base["HTTP_AUTHORIZATION"] = (
            f"Bearer {token}"  # line breaks too, which no header can hold
        )
        return [
            stranger.get("/api/auth/me"),
            stranger.post("/api/auth/token/verify", {"token": token}),
            stranger.post("/api/auth/refresh", {"refresh_token": token}),
        ]

    def is_still_valid(self) -> bool:
        """Whether the good tokens have taken no harm."""
        return self.client.get("/api/auth/me").status_code == 200 and self.client.refresh().status_code == 200

    def forged(self, header: dict[str, Any], claims: dict[str, Any], *, purpose: Purpose = "access") -> str:
        """A token of exactly this header and these claims, rightly signed by a key of ours."""
        ring = self.house.services.ring
        kid = ring.active_kid(purpose)
        text = f"{_encode(header)}.{_encode(claims)}"
        return f"{text}.{encode_base64url(ring.sign(purpose, text.encode(), kid=kid)).decode()}"

    def header(self, purpose: Purpose = "access") -> dict[str, Any]:
        """The header of a good token."""
        return _decode((self.access if purpose == "access" else self.refresh).split(".")[0])

    def claims(self, purpose: Purpose = "access") -> dict[str, Any]:
        """The claims of a good token, under another `jti`."""
        found = _decode((self.access if purpose == "access" else self.refresh).split(".")[1])
        return found | {"jti": str(uuid.UUID(int=7))}


def _encode(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    return encode_base64url(data).decode()


def _decode(segment: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(segment + "=="))
    return found


def assert_refused(answers: list[TestResponse], what: object = "") -> None:
    """Every answer is the one 401 of RFC 6750 §3.1, and says nothing about why."""
    for answer in answers:
        assert answer.status_code == 401, (what, answer.get_data())
        assert answer.headers.getlist("WWW-Authenticate") == [INVALID]
        document = answer.get_json()
        assert document.pop("request_id") == answer.headers["X-Request-ID"]
        assert document == {
            "type": "urn:payymo:problem:invalid_token",
            "title": "Invalid token",
            "status": 401,
            "detail": "The token is not valid. Log in again, or refresh.",
            "code": "invalid_token",
        }


def test_forging_as_we_do_it_makes_good_tokens(alice: Holder) -> None:
    """What the tests below forge is refused for its one fault, since without a fault it is accepted."""
    good = alice.forged(alice.header(), alice.claims())
    assert [answer.status_code for answer in alice.present(good)] == [200, 200, 401]
    again = alice.forged(alice.header("refresh"), _decode(alice.refresh.split(".")[1]), purpose="refresh")
    assert [answer.status_code for answer in alice.present(again)] == [401, 401, 200]


@pytest.mark.parametrize(
    "token", ["x", ".", "..", "...", "a.b", "a.b.c", "a.b.c.d", "a.b.c.d.e", "null", "{}", "=.=.="]
)
def test_malformed_token_is_refused(alice: Holder, token: str) -> None:
    """Three parts of base64url, or nothing."""
    assert_refused(alice.present(token))


@pytest.mark.parametrize(
    "value", [None, "", "Basic YWxpY2U6cGFzc3dvcmQ=", "Digest x", "bearertoken", "Negotiate", "DPoP x"]
)
def test_missing_token_is_told_nothing_about_errors(alice: Holder, value: str | None) -> None:
    """RFC 6750 §3: without bearer authentication the challenge has no error attribute."""
    answer = alice.house.client().call("GET", "/api/auth/me", headers={} if value is None else {"Authorization": value})
    assert answer.status_code == 401
    assert answer.headers.getlist("WWW-Authenticate") == [MISSING]
    assert answer.get_json()["code"] == "missing_token"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_scheme_is_compared_without_regard_to_case(alice: Holder, scheme: str) -> None:
    """RFC 9110 §11.1: authentication schemes have no case."""
    answer = alice.house.client().call("GET", "/api/auth/me", headers={"Authorization": f"{scheme} {alice.access}"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "pattern",
    [
        "Bearer {0} {0}",
        "Bearer {0},{0}",
        "Bearer {0}, Bearer {0}",
        "Bearer Bearer {0}",
        "Bearer  {0}",
        "Bearer {0} ",
        "Bearer",
        "Bearer ",
        'Bearer "{0}"',
        "Bearer token={0}",
        "Bearer {0}\t",
        "Bearer {0}\x00",
    ],
)
def test_header_holds_one_token_and_nothing_else(alice: Holder, pattern: str) -> None:
    """RFC 6750 §2.1: two readers who pick different tokens out of one header would be an attack."""
    answer = alice.house.client().call("GET", "/api/auth/me", headers={"Authorization": pattern.format(alice.access)})
    assert_refused([answer])


def test_token_in_the_query_or_a_cookie_is_no_token(alice: Holder) -> None:
    """Only the header counts: addresses end in logs, and cookies are sent by other people's pages."""
    http = alice.house.app.test_client()
    http.set_cookie("access_token", alice.access)
    assert http.get(f"/api/auth/me?access_token={alice.access}").headers["WWW-Authenticate"] == MISSING


@pytest.mark.parametrize("purpose", ["access", "refresh"])
@pytest.mark.parametrize("part", [0, 1, 2])
def test_tampered_token_is_refused(alice: Holder, purpose: Purpose, part: int) -> None:
    """One changed, missing or further character in any segment is enough. CVE-2026-27840."""
    segments = (alice.access if purpose == "access" else alice.refresh).split(".")
    whole = segments[part]
    changed = [
        whole[:at] + ALPHABET[ALPHABET.index(whole[at]) ^ 1] + whole[at + 1 :] for at in (0, len(whole) // 2, -2)
    ]
    for text in (
        *changed,
        whole[:-1],
        whole[:-4],
        whole[1:],
        whole + "A",
        whole + "AAAA",
        whole + "=",
        whole.swapcase(),
        "",
    ):
        assert_refused(alice.present(".".join([*segments[:part], text, *segments[part + 1 :]])), text)
    assert alice.is_still_valid()


def test_access_token_is_expired_at_exactly_its_exp(alone: Holder) -> None:
    """RFC 7519 §4.1.4: valid at exp - 1, refused at exp."""
    life = alone.claims()["exp"] - alone.house.clock.now
    alone.house.clock.advance(life - 1)
    assert [answer.status_code for answer in alone.present(alone.access)[:2]] == [200, 200]
    alone.house.clock.advance(0.999)
    assert [answer.status_code for answer in alone.present(alone.access)[:2]] == [200, 200]
    alone.house.clock.advance(0.001)
    assert_refused(alone.present(alone.access))


@pytest.mark.parametrize(("seconds", "status"), [(-1, 200), (0, 401), (1, 401)])
def test_refresh_token_is_expired_at_exactly_its_exp(alone: Holder, seconds: int, status: int) -> None:
    """The refresh token's own clock is as exact."""
    alone.house.clock.now = alone.claims("refresh")["exp"] + seconds
    assert alone.client.refresh().status_code == status


@pytest.mark.parametrize("name", ["nbf", "iat"])
@pytest.mark.parametrize(("seconds", "status"), [(0, 200), (AHEAD_SECONDS, 200), (AHEAD_SECONDS + 1, 401), (3600, 401)])
def test_token_is_not_valid_before_it_begins(alice: Holder, name: str, seconds: int, status: int) -> None:
    """A token from the future was not issued by us yet, unless by a node whose clock is a little ahead."""
    now = int(alice.house.clock.now)
    token = alice.forged(alice.header(), alice.claims() | {name: now + seconds, "exp": now + 7200})
    assert [answer.status_code for answer in alice.present(token)[:2]] == [status] * 2


def test_time_going_back_revives_nothing_that_was_refused(alone: Holder) -> None:
    """Invariant 18: a session that ended stays ended on a clock that jumped back."""
    alone.client.post("/api/auth/logout")
    alone.house.clock.advance(-1)
    assert_refused(alone.present(alone.access) + alone.present(alone.refresh))


def test_access_and_refresh_tokens_do_not_stand_in_for_each_other(alice: Holder) -> None:
    """Each kind is refused where the other is asked for, and takes no harm from it."""
    assert_refused([alice.present(alice.access)[2], *alice.present(alice.refresh)[:2]])
    assert alice.is_still_valid()


def _wrong_claims() -> Iterator[tuple[str, Any]]:
    for value in ("", "http://127.0.0.1", "http://127.0.0.1:5000/", "HTTP://127.0.0.1:5000", "http://127.0.0.1:50000"):
        yield "iss", value
    yield from (("iss", value) for value in (["http://127.0.0.1:5000"], None, 1, {}))
    for value in ("", "payymo", "payymo-ap", "payymo-api ", "PAYYMO-API", "payymo-refresh", "payymo-api,x", "*"):
        yield "aud", value
    yield from (
        ("aud", value) for value in ([], [["payymo-api"]], ["payymo-refresh"], None, 1, {"payymo-api": 1}, [None])
    )
    for name in ("sub", "sid", "jti", "tenant_id"):
        yield from ((name, value) for value in ("", "x", "' OR 1=1 --", "../x", None, 1, [], "\x00"))
        yield name, str(uuid.UUID(int=0)) if name == "tenant_id" else "0" * 31
    for name in ("exp", "nbf", "iat"):
        yield from ((name, value) for value in (None, True, "1900000000", 1.5, -1, 10**30, [], "x"))
    yield from (("permissions", value) for value in (None, "*:*", [1], {"*:*": 1}, [[]]))
    yield from (("roles", value) for value in (None, "member", [None], {}))


@pytest.mark.parametrize(("name", "value"), list(_wrong_claims()))
def test_wrong_claim_under_a_good_signature_is_refused(alice: Holder, name: str, value: Any) -> None:
    """CVE-2024-53861, CVE-2020-26160: every claim is compared whole, and has its type."""
    assert_refused(alice.present(alice.forged(alice.header(), alice.claims() | {name: value})), (name, value))


@pytest.mark.parametrize(
    "name", ["iss", "aud", "sub", "exp", "nbf", "iat", "jti", "sid", "tenant_id", "permissions", "roles"]
)
def test_missing_claim_under_a_good_signature_is_refused(alice: Holder, name: str) -> None:
    """CVE-2026-55669: what a token does not say can't have been checked."""
    claims = {key: value for key, value in alice.claims().items() if key != name}
    assert_refused(alice.present(alice.forged(alice.header(), claims)))


@pytest.mark.parametrize(
    "none", ["none", "None", "NONE", "nOnE", "none ", " none", "none\x00", "n\u043ene", "", None, 0, [], ["none"]]
)
@pytest.mark.parametrize("signature", ["", "AA", "own"])
def test_alg_none_is_refused_in_every_spelling(alice: Holder, none: object, signature: str) -> None:
    """RFC 8725 §3.1: no spelling of "none" lets an unsigned token in, with or without somebody's signature."""
    own = alice.access.rpartition(".")[2] if signature == "own" else signature
    for header in (alice.header() | {"alg": none}, {"alg": none}):
        assert_refused(alice.present(f"{_encode(header)}.{_encode(alice.claims())}.{own}"), header)


def _public_forms(alice: Holder) -> Iterator[tuple[str, bytes]]:
    """Every text of our public keys that a confused verifier could take for a secret."""
    body = alice.house.client().get("/.well-known/jwks.json").get_data()
    yield "jwks", body
    yield "jwks with newline", body + b"\n"
    encoding, form = serialization.Encoding, serialization.PublicFormat
    for member in json.loads(body)["keys"]:
        yield "jwk", json.dumps(member, separators=(",", ":")).encode()
        yield "jwk spaced", json.dumps(member).encode()
        yield "jwk sorted", json.dumps(member, sort_keys=True, separators=(",", ":")).encode()
        yield "n", member["n"].encode()
        yield "n octets", base64.urlsafe_b64decode(member["n"] + "==")
        yield "kid", member["kid"].encode()
        key = alice.house.services.ring.find_access_key(member["kid"])
        assert key is not None
        public = key.public_key
        for name, made in (
            ("SPKI PEM", public.public_bytes(encoding.PEM, form.SubjectPublicKeyInfo)),
            ("PKCS1 PEM", public.public_bytes(encoding.PEM, form.PKCS1)),
        ):
            yield name, made
            yield f"{name} stripped", made.strip()
            yield f"{name} CRLF", made.replace(b"\n", b"\r\n")
            yield f"{name} CR", made.replace(b"\n", b"\r")
            yield f"{name} one line", made.replace(b"\n", b"")
        yield "SPKI DER", public.public_bytes(encoding.DER, form.SubjectPublicKeyInfo)
        yield "PKCS1 DER", public.public_bytes(encoding.DER, form.PKCS1)
        yield "SSH", public.public_bytes(encoding.OpenSSH, form.OpenSSH)
    yield "empty", b""


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_public_key_is_never_a_secret(alice: Holder, algorithm: str) -> None:
    """CVE-2022-29217, CVE-2026-85394, CVE-2026-102273: no form of our public key serves as an HMAC secret."""
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}[algorithm]
    for name, secret in _public_forms(alice):
        for stated in (algorithm, "RS256"):
            text = f"{_encode(alice.header() | {'alg': stated})}.{_encode(alice.claims())}"
            token = f"{text}.{_encode(hmac.new(secret, text.encode(), digest).digest())}"
            assert_refused(alice.present(token), (name, stated))


def _numbers() -> dict[str, str]:
    numbers = RSA_KEY.public_key().public_numbers()
    return {"kty": "RSA", "n": _encode(numbers.n.to_bytes(256)), "e": "AQAB", "alg": "RS256", "kid": "theirs"}


@pytest.mark.parametrize(
    "extra",
    [
        {"jwk": _numbers()},
        {"jwk": _numbers(), "kid": "theirs"},
        {"jku": "http://127.0.0.1:1/jwks.json"},
        {"jku": "file:///etc/passwd", "kid": "theirs"},
        {"x5u": "http://127.0.0.1:1/chain.pem"},
        {"x5c": ["MIIB"]},
        {"x5t": "x"},
        {"x5t#S256": "x"},
        {"crit": []},
        {"crit": ["exp"], "exp": 1},
        {"crit": ["b64"], "b64": False},
        {"crit": "alg"},
        {"b64": False},
        {"zip": "DEF"},
        {"enc": "A256GCM"},
        {"cty": "JWT"},
        {"typ": "JWT"},
        {"typ": "AT+JWT"},
        {"typ": "application/at+jwt"},
        {"typ": "rt+jwt"},
        {"typ": None},
    ],
    ids="+".join,
)
def test_header_that_says_more_is_refused_whoever_signed(alice: Holder, extra: dict[str, Any]) -> None:
    """CVE-2026-27962, CVE-2025-59420: a header can bring no key and change no rule, even under our own signature."""
    header = alice.header() | extra
    text = f"{_encode(header)}.{_encode(alice.claims())}"
    theirs = f"{text}.{encode_base64url(sign('RS256', RSA_KEY, text.encode())).decode()}"
    assert_refused(alice.present(theirs) + alice.present(alice.forged(header, alice.claims())))


@pytest.mark.parametrize(
    "kid",
    [
        "",
        "unknown",
        "../../../../dev/null",
        "/dev/null",
        "/proc/sys/kernel/randomize_va_space",
        "file:///etc/hostname",
        "x' UNION SELECT 'secret' --",
        "' OR '1'='1",
        "key\x00",
        "\u202e",
        "x" * 129,
        "x" * 5_000,
        None,
        0,
        [],
        {"$ne": ""},
        "; ls |",
    ],
    ids=lambda kid: str(kid)[:20].encode("unicode_escape").decode(),
)
def test_strange_kid_is_refused(alice: Holder, kid: object) -> None:
    """A kid is a name in our own set of keys: no path, no query, no address; and not there means refused."""
    header = alice.header() | {"kid": kid}
    text = f"{_encode(header)}.{_encode(alice.claims())}"
    for secret in (b"", b"\x00", b"secret"):
        token = f"{text}.{_encode(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"
        assert_refused(alice.present(token))
    assert_refused(alice.present(alice.forged(header, alice.claims())))


def test_key_that_is_not_used_for_a_purpose_does_not_vouch_for_it(alice: Holder) -> None:
    """A refresh key signs no access token and an access key no refresh token, under either key's name."""
    for kind, purpose in (("access", "refresh"), ("refresh", "access")):
        for named in ("access", "refresh"):
            header = alice.header(kind) | {key: alice.header(named)[key] for key in ("kid", "alg")}  # type: ignore[arg-type]
            assert_refused(alice.present(alice.forged(header, alice.claims(kind), purpose=purpose)))  # type: ignore[arg-type]
    assert alice.is_still_valid()


def test_next_key_is_known_and_a_key_of_nobody_is_not(alice: Holder) -> None:
    """A signature by a stranger's key is refused under every kid that we publish."""
    keys = json.loads(alice.house.client().get("/.well-known/jwks.json").get_data())["keys"]
    for kid in [key["kid"] for key in keys]:
        text = f"{_encode(alice.header() | {'kid': kid})}.{_encode(alice.claims())}"
        assert_refused(alice.present(f"{text}.{encode_base64url(sign('RS256', RSA_KEY, text.encode())).decode()}"))


@pytest.mark.parametrize(
    "algorithm", ["PS256", "ES256", "EdDSA", "RS384", "RS512", "RS1", "rs256", "ES256K", "dir", "RSA1_5"]
)
def test_algorithm_is_the_keys_own(alice: Holder, algorithm: str) -> None:
    """CVE-2026-48523: a header can't choose another algorithm for a key, not even one that we know."""
    header = alice.header() | {"alg": algorithm}
    text = f"{_encode(header)}.{_encode(alice.claims())}"
    forgeries = [alice.forged(header, alice.claims())]
    if algorithm == "ES256":
        forgeries.append(f"{text}.{encode_base64url(sign('ES256', EC_KEY, text.encode())).decode()}")
    if algorithm == "PS256":
        forgeries.append(f"{text}.{encode_base64url(sign('PS256', RSA_KEY, text.encode())).decode()}")
    for token in forgeries:
        assert_refused(alice.present(token))


def test_token_of_another_deployment_is_refused(alice: Holder) -> None:
    """The same issuer, audience and claims, signed by another installation's keys: not ours."""
    ring = alice.house.services.ring
    policy = alice.house.services.minter.policy
    claims = alice.claims()
    subject = Subject(*(uuid.UUID(claims[name]) for name in ("tenant_id", "sub", "sid")))
    now = int(alice.house.clock.now)

    def mint(by: TokenPolicy) -> str:
        minter = TokenMinter(ring, alice.house.services.entropy, by)
        return minter.mint_access(subject, kid=minter.plan().access_kid, issued_at=now, expires_at=now + 900)

    assert alice.present(mint(policy))[0].status_code == 200
    assert_refused(
        alice.present(mint(TokenPolicy("https://elsewhere.example", policy.audience, policy.refresh_audience, 900)))
    )
    text = f"{_encode(alice.header() | {'kid': 'theirs'})}.{_encode(claims)}"
    assert_refused(alice.present(f"{text}.{encode_base64url(sign('RS256', RSA_KEY, text.encode())).decode()}"))


def test_revoked_token_is_refused_however_it_is_spelt(alice: Holder) -> None:
    """CVE-2026-102269: what is remembered is the token's id, and there is one spelling of a token anyway."""
    alice.client.post("/api/auth/logout")
    segments = alice.access.split(".")
    assert_refused(alice.present(alice.access))
    for part, whole in enumerate(segments):
        twins = (ALPHABET[ALPHABET.index(whole[-1]) ^ bit] for bit in (1, 2, 3, 4, 8))
        spellings = [whole[:-1] + twin for twin in twins]
        spellings += [whole + tail for tail in ("=", "==", "%3D", "\n", " ", "\t", "\x00", "A", ".")]
        spellings += [whole.replace("-", "+").replace("_", "/") + "=", "\n" + whole, whole[:10] + "\n" + whole[10:]]
        for text in spellings:
            assert_refused(alice.present(".".join([*segments[:part], text, *segments[part + 1 :]])), text)
    spaced = alice.forged(alice.header(), _decode(segments[1]) | {"extra": " "})
    assert_refused(alice.present(spaced))


@pytest.mark.parametrize("shape", ["flattened", "general", "with unprotected header", "as list"])
def test_json_serialisation_is_refused(alice: Holder, shape: str) -> None:
    """CVE-2022-39227: only the compact form is a token; JSON around good parts is none."""
    header, payload, signature = alice.access.split(".")
    flat = {"protected": header, "payload": payload, "signature": signature}
    made: dict[str, object] = {
        "flattened": flat,
        "general": {"payload": payload, "signatures": [{"protected": header, "signature": signature}]},
        "with unprotected header": flat | {"header": {"alg": "none"}, f"{header}.{payload}.{signature}": ""},
        "as list": [header, payload, signature],
    }
    assert_refused(alice.present(json.dumps(made[shape])))


@pytest.mark.parametrize("table", [sessions, users])
def test_a_token_of_a_session_that_a_restored_database_does_not_know_says_to_log_in(
    alone: Holder, table: sa.Table
) -> None:
    """It was begun after the backup: to call that "not found" would leave clients where they are."""
    owner = alone.house.database.owner()
    with owner.begin() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")
        connection.execute(table.delete())
    owner.dispose()
    answer = alone.client.get("/api/auth/me")
    assert (answer.status_code, answer.get_json()["code"]) == (401, "invalid_token")
