"""What is revoked, as far as the feed has told: entries are applied in order, and tokens are checked against them.

Without network, threads and clocks of its own. One thread applies; any number check, without a lock. Whoever checks
reads `as_of` and `revision` first, and only then looks anything up: then what they answer is at least as new as that.
"""

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from payymo_guard.claims import Claims
from payymo_guard.errors import Refused
from payymo_guard.feed import Entry
from payymo_guard.revoked import RevokedIds

KINDS: Final = frozenset({"token", "session", "user", "tenant", "permissions", "key"})
SKEW_SECONDS: Final = 60
"""How far clocks may be apart: the issuer's machines' from one another, and the guard's from theirs."""
_log = logging.getLogger("payymo_guard")


class Mark(NamedTuple):
    """Tokens of somebody that are refused: those that knew too little, or are from before."""

    rev: int
    """Tokens that know of no entry from this one on are refused."""
    issued_from: int
    """Tokens that were issued earlier are refused, whatever they know: their numbers may be of another history."""
    ends_at: int


@dataclass(slots=True)
class _History:
    """What one history of the feed has told."""

    ids: RevokedIds = field(default_factory=RevokedIds)
    users: dict[str, Mark] = field(default_factory=dict)
    tenants: dict[str, Mark] = field(default_factory=dict)
    permissions: dict[str, Mark] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)

    def apply(self, entry: Entry) -> None:
        match entry.kind:
            case "token" | "session":
                self.ids.add(entry.id, entry.expires_at)
            case "user":
                _mark(self.users, entry)
            case "tenant":
                _mark(self.tenants, entry)
            case "permissions":
                _mark(self.permissions, entry)
            case "key":
                self.keys[entry.id] = max(entry.expires_at, self.keys.get(entry.id, 0))

    def forget(self, until: float) -> None:
        self.ids.forget(until)
        for marks in (self.users, self.tenants, self.permissions):
            for name in [name for name, mark in marks.items() if mark.ends_at <= until]:
                del marks[name]
        for kid in [kid for kid, ends_at in self.keys.items() if ends_at <= until]:
            del self.keys[kid]


class Revocations:
    """What is revoked now, and how new this knowledge is."""

    def __init__(self) -> None:
        self.as_of = -math.inf
        """All that was revoked until this moment of the elapsed time (`payymo_guard.elapsed`) is in here."""
        self.revision = 0
        """Another number after each entry: who has checked a token at this one need not check it again."""
        self.is_trusted = True
        """False for ever, once there was an entry that this version can't understand."""
        self._now = _History()
        self._next: _History | None = None
        self._forgotten_until: float = 0
        self._issuer_ahead = -math.inf

    def __len__(self) -> int:
        now = self._now
        return len(now.ids) + len(now.users) + len(now.tenants) + len(now.permissions) + len(now.keys)

    @property
    def ids_bytes(self) -> int:
        """What the set of identifiers takes in memory."""
        return self._now.ids.table_bytes

    def begin_again(self) -> None:
        """Another history follows, from its beginning. What is known stays in force until `complete`."""
        self._next = _History()

    def apply(self, entries: Iterable[Entry], *, elapsed: float) -> None:
        """Take over what the feed has told at this moment of the elapsed time."""
        histories = [self._now] if self._next is None else [self._now, self._next]
        has_any = False
        for entry in entries:
            has_any = True
            if entry.kind not in KINDS:
                self._distrust(entry)
            for history in histories:
                history.apply(entry)
            self._issuer_ahead = max(self._issuer_ahead, entry.not_before - elapsed)
        if has_any:
            self.revision += 1

    def complete(self, as_of: float) -> None:
        """All that there is has been applied, as of this moment of the elapsed time."""
        if self._next is not None:
            # No new revision: what was checked against both holds against one of them.
            self._now, self._next = self._next, None
        if self.is_trusted:
            self.as_of = as_of

    def distrust_copy(self) -> None:
        """After a fork, in the child: this is as old as nobody knows, until it has heard of the feed itself."""
        self.as_of = -math.inf

    def check(self, claims: Claims, kid: str | None = None) -> None:
        """Raise Refused if this token is revoked: token_revoked, permissions_changed; key_revoked: its key `kid` is."""
        now = self._now
        if kid in now.keys:
            raise Refused("key_revoked")
        if now.ids.has_any((claims.sid, claims.jti)):
            raise Refused("token_revoked")
        if now.users and _is_marked(now.users.get(claims.sub), claims):
            raise Refused("token_revoked")
        if now.tenants and _is_marked(now.tenants.get(claims.tenant_id), claims):
            raise Refused("token_revoked")
        if now.permissions and (
            _is_marked(now.permissions.get(claims.sub), claims)
            or _is_marked(now.permissions.get(claims.tenant_id), claims)
        ):
            raise Refused("permissions_changed")
        if claims.exp <= self._forgotten_until:
            # Only with a clock that went back is this a token that has not expired, and its revocation is forgotten.
            raise Refused("token_expired")

    def check_key(self, kid: str) -> None:
        """Raise Refused (key_revoked) if the key of this name is revoked, whoever publishes it."""
        if kid in self._now.keys:
            raise Refused("key_revoked")

    def is_key_revoked(self, kid: str) -> bool:
        """Whether the key of this name is revoked."""
        return kid in self._now.keys

    def forget(self, *, now: float, elapsed: float) -> None:
        """Forget what has ended: by the wall clock, and by a lower bound of the issuer's that no jump of ours moves.

        A clock of ours that is an hour ahead for a moment must not make us forget what is still to be refused; one that
        is behind still accepts tokens that have ended for the issuer.
        """
        until = min(now, self._issuer_ahead + elapsed) - SKEW_SECONDS
        if until <= self._forgotten_until:
            return
        self._forgotten_until = until
        for history in (self._now, self._next):
            if history is not None:
                history.forget(until)

    def _distrust(self, entry: Entry) -> None:
        if self.is_trusted:
            _log.critical(
                "the feed of revocations has an entry of a kind that this version does not know (%.64r): "
                "nothing is taken for fresh until payymo-guard is brought up to date and the process started again",
                entry.kind,
            )
        self.is_trusted = False
        self.as_of = -math.inf


def _mark(marks: dict[str, Mark], entry: Entry) -> None:
    """Set a mark; of two, the stricter of each part counts."""
    mark = Mark(entry.seq, entry.not_before - SKEW_SECONDS, entry.expires_at)
    known = marks.get(entry.id)
    marks[entry.id] = mark if known is None else Mark(*map(max, mark, known))


def _is_marked(mark: Mark | None, claims: Claims) -> bool:
    return mark is not None and (claims.rev < mark.rev or claims.iat < mark.issued_from)
