"""Asks a guard on an event loop without holding it up: at once where the answer is in memory, in a thread elsewhere.

A guard may wait for the network with its first tokens, when it knows a key's name not yet, and when it asks the issuer.
A thread costs ten times what the answer costs, so it is taken only where one of these can happen.
"""

import asyncio
import weakref
from typing import Final, Protocol

from payymo_guard.claims import Claims
from payymo_guard.guard import Guard
from payymo_guard.verify import Verifier, inspect

MAX_HEADERS: Final = 64
"""One per key is what an issuer writes, so this is many at a time."""
_SURELY_FRESH: Final = 0.9
"""Of the limit: what is fresh when we look has to be so when the guard does, a moment later."""

_headers: "weakref.WeakKeyDictionary[Guard, dict[str, str]]" = weakref.WeakKeyDictionary()
"""By guard: what tokens that it let in begin with, and the name of their key. Strangers can't fill it."""


class Verifies(Protocol):
    """What an adapter needs: a `Guard`, a `Verifier`, or the like."""

    def verify(self, token: str, *, tenant_id: str | None = None) -> Claims:
        """The claims of a token that counts here and now. Raises Refused."""


async def verify(core: Verifies, token: str, *, tenant_id: str | None) -> Claims:
    """The claims of a token that counts here and now. Raises Refused."""
    if isinstance(core, Verifier) or (isinstance(core, Guard) and answers_at_once(core, token)):
        return core.verify(token, tenant_id=tenant_id)
    claims = await asyncio.to_thread(core.verify, token, tenant_id=tenant_id)
    if isinstance(core, Guard):
        known = _headers.setdefault(core, {})
        header = _header_of(token)
        if header not in known:
            if len(known) >= MAX_HEADERS:
                known.clear()  # of keys that are gone, most of them
            known[header] = str(inspect(token).untrusted_header["kid"])  # it has just been trusted
    return claims


def answers_at_once(guard: Guard, token: str) -> bool:
    """Whether everything that decides on this token is in memory: its key, and revocations that are new enough."""
    kid = _headers.get(guard, {}).get(_header_of(token))
    if kid is None:
        return False
    status = guard.status()
    return kid in status.kids and status.stale_seconds <= guard.staleness.max_stale_seconds * _SURELY_FRESH


def _header_of(token: str) -> str:
    return token.partition(".")[0]
