"""Asks the issuer itself whether a token is good: slower, for when what is known here is not new enough."""

from typing import Final

import msgspec

from payymo_guard.discovery import Endpoints, Reach
from payymo_guard.errors import Refused
from payymo_guard.http import Client, Unreachable

TIMEOUT_SECONDS: Final = 2
MAX_ANSWER_BYTES: Final = 65_536


class _TokenInfo(msgspec.Struct, frozen=True):
    active: bool


class _Data(msgspec.Struct, frozen=True):
    token_info: _TokenInfo


class _Answer(msgspec.Struct, frozen=True):
    data: _Data


_decode: Final = msgspec.json.Decoder(_Answer).decode


def introspect(reach: Reach, client: Client | None, endpoints: Endpoints | None, token: str) -> None:
    """Return if the issuer says that the token is good now. Raises Refused: also when it does not answer."""
    if client is None or endpoints is None:
        raise Refused("revocations_stale")
    try:
        answer = client.request(
            "POST",
            endpoints.introspection,
            headers={"Content-Type": "application/json", **reach.headers},
            body=msgspec.json.encode({"token": token}),
            timeout_seconds=TIMEOUT_SECONDS,
            max_bytes=MAX_ANSWER_BYTES,
        )
        if answer.status == 401:
            raise Refused("token_revoked", "The issuer does not accept the token any more.")
        is_active = _decode(answer.require_ok("introspection")).data.token_info.active
    except (Unreachable, ValueError, msgspec.MsgspecError) as error:
        raise Refused("revocations_stale") from error
    if not is_active:
        raise Refused("token_revoked")
