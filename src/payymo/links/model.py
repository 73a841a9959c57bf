"""What a one-time link is, what it is bound to, and how it is written. Pure."""

import hashlib
import hmac
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlencode

LinkKind = Literal["change-email", "reset-password", "unlock", "verify-email"]
"""A link of one kind is none of another."""


@dataclass(frozen=True, slots=True)
class LinkPolicy:
    """Where each kind of link leads, and for how many seconds it is good."""

    pages: Mapping[LinkKind, str]
    live_seconds: Mapping[LinkKind, int]


@dataclass(frozen=True, slots=True)
class Link:
    """A link as it is kept. `subject`: what it is about, such as the new address. Times in seconds since 1970."""

    id: uuid.UUID
    user_id: uuid.UUID
    kind: LinkKind
    digest: bytes = field(repr=False)
    binding: bytes = field(repr=False)
    subject: str
    expires_at: int

    def is_bound_to(self, *facts: str) -> bool:
        """Whether these are still what they were when the link was made."""
        return hmac.compare_digest(self.binding, bind(*facts))


@dataclass(frozen=True, slots=True)
class IssuedLink:
    """The only sight of a link. `live_seconds`: for how long it is good."""

    url: str = field(repr=False)
    live_seconds: int

    @property
    def facts(self) -> dict[str, str]:
        """What a letter says of it."""
        return {"link": self.url, "life": str(self.live_seconds)}


def bind(*facts: str) -> bytes:
    """What is kept of facts that must not change before the link is used: it tells nobody what they are."""
    digest = hashlib.sha256()
    for fact in facts:
        digest.update(len(fact).to_bytes(4))
        digest.update(fact.encode())
    return digest.digest()


def write_url(page: str, token: str, tenant: str) -> str:
    """The link. Browsers send a fragment to no server, and in no Referer (RFC 9110 §10.1.3): there stands the token."""
    return f"{page}#{urlencode({'token': token, 'tenant': tenant})}"
