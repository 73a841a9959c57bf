"""What an entry of the feed says, and how a place in the feed is written. Pure."""

import functools
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from payymo_guard import Claims

Kind = Literal["token", "session", "user", "tenant", "permissions", "key"]
"""token, session: refuse this one · user, tenant: refuse what is older than the entry · permissions: the same, because
of what such tokens may do · key: refuse whatever it has signed."""
MARGIN_SECONDS = 60
"""How much longer than a token its revocation is kept: tokens are signed a moment after what allows them is written,
and the clocks of several nodes don't agree to the second."""
CURSOR_MAX = 64
SEQ_MAX = 2**63 - 1
"""What a database can write down: followers report where they are."""
_CURSOR = re.compile(r"(0|[1-9][0-9]{0,18})\.([0-9a-f]{16})")


@dataclass(frozen=True, slots=True)
class Subject:
    """What is refused, and until when tokens that it concerns may live."""

    id: uuid.UUID
    user_id: uuid.UUID | None
    live_until: int


_read_uuid = functools.lru_cache(4096)(uuid.UUID)
"""The same few tokens come again and again; reading an identifier costs a tenth of a whole check."""


@dataclass(frozen=True, slots=True)
class Bearer:
    """What a token says about itself, as far as revocations ask for it."""

    tenant_id: uuid.UUID
    user_id: uuid.UUID
    session_id: uuid.UUID
    token_id: uuid.UUID
    position: int
    """The last number of the feed that it knows of: the claim `rev`."""

    @classmethod
    def of(cls, claims: Claims) -> "Bearer":
        """Whose token says this. Raises ValueError: an identifier of ours is a UUID."""
        tenant_id, user_id, session_id, token_id = map(
            _read_uuid, (claims.tenant_id, claims.sub, claims.sid, claims.jti)
        )
        return cls(tenant_id, user_id, session_id, token_id, claims.rev)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the feed: everything up to `seq` is known.

    The nonce is drawn anew whenever numbers are taken, and the next entry repeats it. A database that was restored from
    a backup takes the same numbers again for other entries, but not the same nonces: that is how a follower is found to
    know another history.
    """

    seq: int
    nonce: str

    def __str__(self) -> str:
        """As followers keep it."""
        return f"{self.seq}.{self.nonce}"

    @classmethod
    def parse(cls, text: str) -> "Cursor | None":
        """Of what a follower brings; None when it is none of ours."""
        found = _CURSOR.fullmatch(text)
        return cls(int(found[1]), found[2]) if found and int(found[1]) <= SEQ_MAX else None


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry, as followers get it."""

    cursor: Cursor
    """The place behind it."""
    kind: Kind
    id: str
    tenant_id: str | None
    not_before: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class Page:
    """Entries after a place, in order."""

    entries: Sequence[Entry]
    cursor: Cursor
    more: bool
    """Whether there are more already."""
    restart: bool
    """Whether it begins at the beginning, though the follower had a place: that belonged to another history."""
