"""`payymo token`: explain a token, or refuse one from now on."""

import sys
import uuid
from typing import Any

import click

from payymo.cli.common import CONSOLE, as_json, ask, confirmed, politely, services
from payymo.cli.output import show
from payymo.errors import InvalidToken, PayymoError
from payymo.feed.model import Bearer
from payymo.services import Services
from payymo_guard import Refused
from payymo_guard.verify import inspect


@click.group()
def token() -> None:
    """Look at tokens."""


@token.command(name="inspect")
@click.argument("text", metavar="TOKEN")
@as_json
@politely
def explain(*, text: str, as_json: bool) -> None:
    """Show what TOKEN (- reads standard input) claims, and whether it is accepted. Exits with 1 when it is refused."""
    text = sys.stdin.readline().strip() if text == "-" else text
    try:
        found = inspect(text)
        facts: dict[str, Any] = {**found.untrusted_header, **found.untrusted_claims}
    except Refused as refused:
        show({"accepted": False, "why": refused.code, "explanation": refused.detail}, json_wanted=as_json)
        sys.exit(1)
    with services() as opened:
        why, explanation = _verdict(opened, text, facts)
    show({**facts, "accepted": why is None, "why": why, "explanation": explanation}, json_wanted=as_json)
    sys.exit(0 if why is None else 1)


def _verdict(opened: Services, text: str, facts: dict[str, Any]) -> tuple[str | None, str | None]:
    """The code and the sentence of a refusal; nothing for a token that is accepted as an access token."""
    if facts.get("typ") == "rt+jwt":
        return "type_wrong", "This is a refresh token: it is good for /api/auth/refresh alone."
    try:
        claims = opened.verifier.verify(text)
        refused = opened.feed.is_refused(Bearer.of(claims))
    except Refused as error:
        return error.code, error.detail
    except PayymoError as error:
        return error.code, error.detail
    if refused:
        return "token_revoked", "Its session has ended, it was revoked, or its tenant is suspended."
    return None, None


@token.command()
@click.argument("text", metavar="TOKEN")
@confirmed
@as_json
@politely
def revoke(*, text: str, yes: bool, as_json: bool) -> None:
    """Refuse this access TOKEN (- reads standard input) from now on. Its session goes on."""
    text = sys.stdin.readline().strip() if text == "-" else text
    with services() as opened:
        try:
            claims = opened.verifier.verify(text)
        except Refused as refused:
            raise InvalidToken(refused.detail) from None
        ask("Refuse this token from now on?", yes=yes)
        tenant_id, user_id, token_id = (uuid.UUID(found) for found in (claims.tenant_id, claims.sub, claims.jti))
        whose = None if claims.is_service else user_id
        opened.feed.revoke_token(
            tenant_id,
            whose,
            token_id=token_id,
            expires_at=claims.exp,
            reason="ended-by-administrator",
            trace=CONSOLE,
        )
    show({"revoked": token_id}, json_wanted=as_json)
