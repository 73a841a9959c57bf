"""What a service credential is, what it is good for, and who follows the revocation feed. Pure."""

import ipaddress
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Scope = Literal["feed", "introspection"]
SCOPES: tuple[Scope, ...] = ("feed", "introspection")
"""feed: may follow the revocations · introspection: may ask about tokens without being counted by address."""
State = Literal["active", "expired", "revoked"]
Standing = Literal["current", "behind", "silent"]
"""current: has everything · behind: asks, and has not asked for the newest yet · silent: does not ask any more."""
STANDINGS: tuple[Standing, ...] = ("current", "behind", "silent")
SILENT_SECONDS = 60
"""They ask every twenty seconds, and it is written down within five."""
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
FOLLOWER = re.compile(r"[0-9A-Za-z_-]{8,64}", re.ASCII)
_KID = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)
KIDS_AT_MOST = 16
DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class ServiceCredential:
    """What a service of the operator's proves with that it may ask us. Its secret is known to nobody but its owner."""

    id: uuid.UUID
    name: str
    digest: bytes = field(repr=False)
    scopes: tuple[Scope, ...]
    created_at: int
    expires_at: int
    revoked_at: int | None = None
    last_used_at: int | None = None
    """Coarsely: see `payymo.guards.service`."""

    def state(self, now: float) -> State:
        """Whether it counts, and if not, why."""
        if self.revoked_at is not None:
            # One that had expired gave its name to another, and has ended at that moment: nobody has revoked it.
            return "expired" if self.revoked_at == self.expires_at else "revoked"
        return "active" if now < self.expires_at else "expired"


@dataclass(frozen=True, slots=True)
class Follower:
    """One process that follows the revocation feed, as it said itself."""

    id: str
    credential: str | None
    """The name of its credential; None: it needs none, where it is."""
    address: str
    cursor_seq: int
    """The last entry of the feed that it has."""
    kids: tuple[str, ...]
    """The published keys that it holds, in alphabetical order."""
    first_seen_at: int
    last_seen_at: int


@dataclass(frozen=True, slots=True)
class GuardPolicy:
    """From where the feed may be followed without a credential."""

    open_to: tuple[Network, ...] = ()

    def is_open_to(self, address: str) -> bool:
        """Whether an address is in one of those networks. What is no address is in none."""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self.open_to)


def standing_of(follower: Follower, lag: int, now: float) -> Standing:
    """How well a follower follows. `lag`: how many entries it has not asked for yet."""
    if now - follower.last_seen_at > SILENT_SECONDS:
        return "silent"
    return "behind" if lag else "current"


def is_follower_id(text: str) -> bool:
    """Whether a follower can be called so."""
    return FOLLOWER.fullmatch(text) is not None


def tidied(kids: Iterable[str]) -> tuple[str, ...]:
    """Those that can be identifiers of keys, each once, in order, and not more of them than are ever published."""
    return tuple(sorted({kid for kid in kids if _KID.fullmatch(kid)}))[:KIDS_AT_MOST]
