"""What a browser is known by while somebody is signed in with it, and for how long. Pure."""

import re
import uuid
from dataclasses import dataclass, field
from typing import Final

from payymo import opaque
from payymo.roles.service import Grants
from payymo.sessions.model import is_within
from payymo.users.model import User

FRESH_SECONDS: Final = 300
"""How long after the password was given dangerous acts need not ask for it."""
TOUCH_SECONDS: Final = 60
"""How often it is written down that a browser is in use."""
_SHAPE: Final = re.compile(r"([0-9a-f]{32})\.(\S{1,200})", re.ASCII)


@dataclass(frozen=True, slots=True)
class BrowserPolicy:
    """How long a session in a browser lives at most, and unused. In seconds."""

    session_seconds: int
    idle_seconds: int


@dataclass(frozen=True, slots=True)
class Browser:
    """A session as a browser has it. Times in seconds since 1970."""

    id: uuid.UUID
    tenant_id: uuid.UUID
    session_id: uuid.UUID
    user_id: uuid.UUID
    digest: bytes = field(repr=False)
    proven_at: int
    used_at: int
    expires_at: int
    tenant_slug: str
    tenant_name: str
    actor_session_id: uuid.UUID | None = None
    """Of whoever acts as the user in it: the session that they do it from."""

    def is_alive_at(self, now: int, *, idle_seconds: int) -> bool:
        """Whether it has neither run out nor been left alone for too long."""
        return now < min(self.expires_at, self.used_at + idle_seconds)

    def is_fresh_at(self, now: int) -> bool:
        """Whether the password was given so lately that it need not be asked for."""
        return is_within(FRESH_SECONDS, self.proven_at, now)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who is behind a cookie: the browser, the user, and what they hold now."""

    browser: Browser
    user: User
    grants: Grants
    secret: bytes = field(repr=False)
    """The cookie's, which only the browser and this request know."""
    actor: "Visitor | None" = None
    """Who it really is that acts as the user, in the same browser. What both may do is held then."""


@dataclass(frozen=True, slots=True)
class Cookie:
    """What a browser proves itself with: in which tenant its session is, and an opaque secret."""

    tenant_id: uuid.UUID
    secret: opaque.Opaque

    @property
    def text(self) -> str:
        """What the browser keeps."""
        return f"{self.tenant_id.hex}.{self.secret.text}"


def read_cookie(text: str) -> Cookie | None:
    """The cookie behind a text, or None: it has another shape. Each has one spelling."""
    found = _SHAPE.fullmatch(text)
    secret = None if found is None else opaque.read(found[2])
    return None if found is None or secret is None else Cookie(uuid.UUID(found[1]), secret)
