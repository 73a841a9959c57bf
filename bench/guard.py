"""What a guard costs in a resource server: a token's first sight, a token seen before, a guarded route.

Beside it others do the same checks, as their documentation says. Nothing here needs the service.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable
from itertools import cycle
from typing import Any

import jwt as pyjwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from flask import Flask
from flask_jwt_extended import JWTManager, create_access_token, jwt_required
from flask_sqlalchemy import SQLAlchemy
from joserfc import jwk, jwt

from bench.measure import Act, Effort, Figure, Rounds, interleave, ratio, timed
from bench.scene import Request, Stage
from payymo.entropy import Entropy
from payymo.keys.signer import RSA_BITS
from payymo_guard.flask import FlaskGuard
from payymo_guard.testing import FakeIssuer
from payymo_guard.wire import split

TOKENS = 64
REQUIRED = ["iss", "aud", "sub", "exp", "nbf", "iat", "jti", "client_id", "sid", "tenant_id", "permissions", "roles"]
PERMISSIONS = ("invoices:read", "invoices:write", "customers:read", "reports:*")
MILLION = 1_000_000
"""With fewer, the memory would be that of empty tables."""
_new_id = Entropy().uuid


def first_sight(_stage: Stage, effort: Effort) -> list[Figure]:
    """A token that is not remembered, against the one thing that has to be done about it: to verify the signature.

    The guard remembers a quarter of the tokens, so that the one whose turn it is has been forgotten again.
    """
    issuer, key = _issuer()
    tokens = [_mint(issuer) for _ in range(TOKENS)]
    acts: dict[str, Callable[[str], object]] = {
        "guard": issuer.guard(cache_size=TOKENS // 4).verify,
        "bare": _bare(key, tokens),
        "PyJWT": _with_pyjwt(issuer, key),
        "joserfc": _with_joserfc(issuer),
    }
    samples = {name: timed(_in_turn(act, tokens), repeat=TOKENS) for name, act in acts.items()}
    found = interleave(samples, rounds=effort.rounds * 4)
    name = f"first sight of a token / bare RSA-{RSA_BITS} verification"
    return [
        Figure(name, ratio(found, "guard", "bare"), at_most=1.2, parts=_microseconds(found)),
        Figure("PyJWT / first sight of a token", ratio(found, "PyJWT", "guard"), at_least=3.3),
        Figure("joserfc / first sight of a token", ratio(found, "joserfc", "guard"), at_least=2.0),
    ]


def seen(_stage: Stage, effort: Effort) -> list[Figure]:
    """A token that was seen before, among many revocations; and what these take. In a process of its own each.

    A guard looks revocations up when it has heard of a new one, and remembers that it has: both are measured.
    """
    figures = []
    for count, limit in ((MILLION, 2.0), (MILLION * 10, 3.0)):
        if count > max(effort.many, MILLION):
            continue
        words = [sys.executable, "-m", "bench.seen", str(count), str(effort.rounds * 10)]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        found: dict[str, float] = json.loads(done.stdout)
        millions = count / MILLION
        figures += [
            Figure(f"token seen before, {count:,} revocations", found["quiet"], "us", at_most=limit),
            Figure(f"the same, when another was revoked, {count:,}", found["news"], "us", at_most=limit),
            Figure(
                f"memory per million, of {count:,} revocations",
                found["grown"] / millions,
                "MB",
                at_most=15.0,
                parts=f"tables {found['tables'] / millions:.1f} MB, heard in {found['heard']:.2f} us each",
            ),
        ]
    return figures


def route(stage: Stage, effort: Effort) -> list[Figure]:
    """A guarded route of a Flask application against an open one, and against Flask-JWT-Extended. In process.

    Its documentation shows the blocklist on SQLite in memory, so that the example runs. Whoever has more than one
    process needs a database that they share: with the same lines, on PostgreSQL.
    """
    issuer, key = _issuer()
    app = _guarded(issuer)
    memory, shared = "sqlite://", stage.empty_postgres("blocklist")
    theirs, theirs_rsa = _Extended(effort.few, memory), _Extended(effort.few, memory, key)
    acts: dict[str, Act] = {
        "open": Request(app, "/open").send,
        "guarded": Request(app, "/guarded", token=_mint(issuer)).send,
        "Flask-JWT-Extended": theirs.request(),
        "the same with RS256": theirs_rsa.request(),
        "the same on PostgreSQL": _Extended(effort.few, shared).request(),
    }
    found = interleave({name: timed(act, repeat=100) for name, act in acts.items()}, rounds=effort.rounds * 5)
    return [
        Figure("guarded / open route", ratio(found, "open", "guarded"), at_least=0.85, parts=_microseconds(found)),
        Figure(
            "guarded route / Flask-JWT-Extended, HS256, SQLite in memory",
            ratio(found, "Flask-JWT-Extended", "guarded"),
            at_least=10.0,
            parts=f"with an open route instead of ours {ratio(found, 'Flask-JWT-Extended', 'open'):.1f}",
        ),
        Figure(
            "guarded route / Flask-JWT-Extended, HS256, PostgreSQL",
            ratio(found, "the same on PostgreSQL", "guarded"),
            at_least=10.0,
        ),
        Figure(
            f"guarded route / Flask-JWT-Extended, RS256 ({RSA_BITS}), SQLite in memory",
            ratio(found, "the same with RS256", "guarded"),
            at_least=10.0,
        ),
    ]


def _issuer() -> tuple[FakeIssuer, rsa.RSAPrivateKey]:
    """An issuer that signs as the service does."""
    issuer, key = FakeIssuer(), rsa.generate_private_key(65537, RSA_BITS)
    issuer.retire(issuer.active_kid)
    issuer.rotate("RS256", key)
    return issuer, key


def _mint(issuer: FakeIssuer) -> str:
    """A token as long as the service's."""
    subject, tenant_id, session_id, token_id = (str(_new_id()) for _ in range(4))
    claims = issuer.claims(
        subject=subject, tenant_id=tenant_id, session_id=session_id, permissions=PERMISSIONS, roles=("member",)
    )
    return issuer.sign(claims | {"jti": token_id})


def _in_turn(act: Callable[[str], object], tokens: Iterable[str]) -> Act:
    turn = cycle(tokens)
    return lambda: act(next(turn))


def _bare(key: rsa.RSAPrivateKey, tokens: Iterable[str]) -> Callable[[str], object]:
    """Nothing but the signature, of what is decoded already."""
    public, scheme, digest = key.public_key(), padding.PKCS1v15(), hashes.SHA256()
    ready = {}
    for token in tokens:
        *_, signature, text = split(token)
        ready[token] = (signature, text)

    def verify(token: str) -> None:
        signature, text = ready[token]
        public.verify(signature, text, scheme, digest)

    return verify


def _with_pyjwt(issuer: FakeIssuer, key: rsa.RSAPrivateKey) -> Callable[[str], object]:
    keys = {issuer.active_kid: key.public_key()}

    def verify(token: str) -> object:
        header = pyjwt.get_unverified_header(token)
        if header.get("typ") != "at+jwt":
            raise ValueError("typ")
        return pyjwt.decode(
            token,
            keys[header["kid"]],
            algorithms=["RS256"],
            issuer=issuer.issuer,
            audience=issuer.audience,
            options={"require": REQUIRED},
        )

    return verify


def _with_joserfc(issuer: FakeIssuer) -> Callable[[str], object]:
    keys = jwk.KeySet.import_key_set(json.loads(issuer.jwks()))
    options: dict[str, Any] = {name: {"essential": True} for name in REQUIRED}
    options["iss"]["value"], options["aud"]["value"] = issuer.issuer, issuer.audience
    for name in ("permissions", "roles"):
        options[name]["allow_blank"] = True

    def verify(token: str) -> object:
        found = jwt.decode(token, keys, algorithms=["RS256"])
        if found.header.get("typ") != "at+jwt":
            raise ValueError("typ")
        jwt.JWTClaimsRegistry(**options).validate(found.claims)
        return found.claims

    return verify


def _guarded(issuer: FakeIssuer) -> Flask:
    app, guard = Flask("guarded"), FlaskGuard(issuer.guard())
    guard.init_app(app)
    app.add_url_rule("/open", endpoint="open", view_func=_say_ok)
    app.add_url_rule("/guarded", endpoint="guarded", view_func=guard.require("invoices:read")(_say_ok))
    return app


class _Extended:
    """An application with Flask-JWT-Extended and its documented blocklist: SQLAlchemy, a query per request."""

    def __init__(self, count: int, url: str, key: rsa.RSAPrivateKey | None = None) -> None:
        self._app = Flask("extended")
        self._app.config |= {"SQLALCHEMY_DATABASE_URI": url, "JWT_ACCESS_TOKEN_EXPIRES": 3600}
        self._app.config |= {"JWT_SECRET_KEY": "k" * 64} if key is None else _rs256(key)
        manager, database = JWTManager(self._app), SQLAlchemy(self._app)
        self._app.add_url_rule("/guarded", view_func=jwt_required()(_say_ok))

        class Blocked(database.Model):  # type: ignore[name-defined,misc]
            id = database.Column(database.Integer, primary_key=True)
            jti = database.Column(database.String(36), nullable=False, index=True)

        @manager.token_in_blocklist_loader
        def is_blocked(_header: dict[str, Any], payload: dict[str, Any]) -> bool:
            return database.session.query(Blocked.id).filter_by(jti=payload["jti"]).scalar() is not None

        with self._app.app_context():
            database.create_all()
            database.session.add_all(Blocked(jti=str(_new_id())) for _ in range(count))
            database.session.commit()

    def request(self) -> Act:
        """An act: one request with a token that is not blocked."""
        with self._app.app_context():
            token = create_access_token("alice", additional_claims={"permissions": PERMISSIONS})
        return Request(self._app, "/guarded", token=token).send


def _rs256(key: rsa.RSAPrivateKey) -> dict[str, str]:
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    return {"JWT_ALGORITHM": "RS256", "JWT_PRIVATE_KEY": private.decode(), "JWT_PUBLIC_KEY": public.decode()}


def _say_ok() -> dict[str, bool]:
    return {"ok": True}


def _microseconds(found: Rounds) -> str:
    return ", ".join(f"{name} {statistics.median(values) * 1e6:.1f} us" for name, values in found.items())
