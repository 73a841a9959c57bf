"""What the feed of revocations says, as it stands on the wire: entries in order, and a cursor to go on from.

Parsing only. What an entry does is the business of `payymo_guard.revocations`; fetching, of `payymo_guard.follower`.
"""

from typing import Annotated, Final

import msgspec

from payymo_guard.claims import MAX_TIME

MAX_ENTRIES: Final = 5_000
"""In one answer."""
MAX_PAGE_BYTES: Final = 4 * 2**20

_Natural = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Seconds = Annotated[int, msgspec.Meta(ge=0, le=MAX_TIME)]


class Entry(msgspec.Struct, frozen=True, gc=False):
    """Some tokens are not accepted any more: `kind` and `id` say which. There may be kinds that we don't know."""

    seq: _Natural
    kind: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    not_before: _Seconds
    """When it was revoked, by the issuer's clock."""
    expires_at: _Seconds
    """When the last token that it is about has expired."""
    tenant_id: str | None = None


class Page(msgspec.Struct, frozen=True):
    """One answer of the feed."""

    cursor: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z._-]{1,64}$")]
    entries: Annotated[list[Entry], msgspec.Meta(max_length=MAX_ENTRIES)]
    restart: bool = False
    """These entries begin from the beginning: the cursor that was sent belongs to another history."""
    more: bool = False
    waited_seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0


class _Answer(msgspec.Struct, frozen=True):
    data: Page


_decode: Final = msgspec.json.Decoder(_Answer).decode


def read_page(body: bytes) -> Page:
    """One answer of the feed. Raises ValueError."""
    try:
        return _decode(body).data
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"the feed's answer can't be understood: {error}") from error
