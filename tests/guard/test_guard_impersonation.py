"""An administrator who acts as somebody else: the claim `act`, and what is for the person alone."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from flask import Blueprint, Flask

from payymo_guard import Act, Guard
from payymo_guard.asgi import ASGIGuard, Scope, protect
from payymo_guard.bearer import Answer, admit
from payymo_guard.fastapi import FastAPIGuard
from payymo_guard.flask import FlaskGuard
from payymo_guard.wire import is_written_as
from tests.guard.forge import issuer, refusal

FAKE = issuer()
VERIFIER = FAKE.verifier()
OWN = FAKE.mint(permissions=("payments:write",))
ACTED = FAKE.mint(permissions=("payments:write",), actor="boss-1")


def test_who_acts_comes_out_as_it_was_signed() -> None:
    """RFC 8693 §4.1: `sub` is the person, `act` who acts as them; both kinds of token are read the short way."""
    for token, actor in ((OWN, None), (ACTED, "boss-1")):
        claims = VERIFIER.verify(token)
        assert claims.sub == "user-1"
        assert claims.actor == actor
        payload = FAKE.claims() if actor is None else FAKE.claims(actor=actor)
        assert is_written_as(VERIFIER.verify(FAKE.sign(payload)), msgspec.json.encode(payload))
    assert VERIFIER.verify(ACTED).act == Act("boss-1")


@pytest.mark.parametrize(
    "act",
    [
        None,
        "boss-1",
        ["boss-1"],
        {},
        {"sub": ""},
        {"sub": None},
        {"sub": 7},
        {"sub": "x" * 256},
        {"sub": "boss-1", "act": {"sub": "boss-2"}},
        {"sub": "boss-1", "iss": "https://elsewhere.test"},
    ],
    ids=repr,
)
def test_an_actor_that_is_not_understood_lets_nobody_in(act: object) -> None:
    """A chain of actors, or anything else that could mean something, is not passed over."""
    assert refusal(VERIFIER, FAKE.sign(FAKE.claims() | {"act": act})) == "claims_invalid"


def _flask(guard: Guard) -> Callable[[str, str], int]:
    app, door = Flask(__name__), FlaskGuard(guard)
    inner = Blueprint("inner", __name__, url_prefix="/inner")
    door.protect(inner, impersonated=False)
    app.get("/all", endpoint="all")(door.require("payments:write")(lambda: "in"))
    app.get("/own", endpoint="own")(door.require("payments:write", impersonated=False)(lambda: "in"))
    inner.get("/own")(lambda: "in")
    app.register_blueprint(inner)

    def ask(path: str, token: str) -> int:
        return app.test_client().get(path, headers={"Authorization": f"Bearer {token}"}).status_code

    return ask


def _fastapi(guard: Guard) -> Callable[[str, str], int]:
    app, door = FastAPI(), FastAPIGuard(guard)
    door.init_app(app)
    app.get("/all", dependencies=[Depends(door.require("payments:write"))])(lambda: "in")
    app.get("/own", dependencies=[Depends(door.require("payments:write", impersonated=False))])(lambda: "in")
    app.get("/inner/own", dependencies=[Depends(door.require(impersonated=False))])(lambda: "in")
    client = TestClient(app)
    return lambda path, token: client.get(path, headers={"Authorization": f"Bearer {token}"}).status_code


def _asgi(guard: Guard) -> Callable[[str, str], int]:
    async def app(scope: Scope, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"in"})

    rules = [protect("/all", "payments:write"), protect("/own", "payments:write", impersonated=False)]
    guarded = ASGIGuard(app, guard, [*rules, protect("/inner/*", impersonated=False)])

    def ask(path: str, token: str) -> int:
        found: list[int] = []

        async def send(message: Any) -> None:
            found.extend([message["status"]] if "status" in message else [])

        headers = [(b"authorization", f"Bearer {token}".encode())]
        scope = {"type": "http", "method": "GET", "path": path, "headers": headers}
        asyncio.run(guarded(scope, lambda: None, send))  # type: ignore[arg-type, return-value]
        return found[0]

    return ask


@pytest.mark.parametrize("framework", [_flask, _fastapi, _asgi], ids=lambda made: made.__name__)
def test_what_is_for_the_person_alone_refuses_who_acts_as_them(framework: Any) -> None:
    """Everywhere by the same word; what does not say it lets both in, since to act is what it is for."""
    ask = framework(FAKE.guard())
    for path in ("/all", "/own", "/inner/own"):
        assert ask(path, OWN) == 200
    assert ask("/all", ACTED) == 200
    assert ask("/own", ACTED) == 403
    assert ask("/inner/own", ACTED) == 403


def test_the_refusal_says_why_and_asks_for_no_other_token() -> None:
    """Its code is stable, and another token of the same kind would not help."""
    answer = admit(FAKE.guard(), [f"Bearer {ACTED}"], impersonated=False)
    assert isinstance(answer, Answer)
    assert b'"code": "impersonated"' in answer.body
    assert "WWW-Authenticate" not in dict(answer.headers)


def test_ending_the_session_ends_it_here() -> None:
    """It is a session of the person's: the feed's entry for it refuses the actor, and nobody else."""
    fake = issuer()
    guard = fake.guard()
    own, acted = fake.mint(session_id="own"), fake.mint(session_id="acted", actor="boss-1")
    assert guard.verify(acted).actor == "boss-1"
    fake.revoke_session("acted")
    assert refusal(guard, acted) == "token_revoked"
    assert guard.verify(own).actor is None
