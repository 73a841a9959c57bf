"""Service credentials, and who follows the revocation feed: made, listed, revoked, asked for at the door.

A process reads all credentials at once and relies on them for `FRESH_SECONDS`, so that a revoked one is refused within
a second, and strangers who guess cost no queries. When they can't be read, nobody gets in.
"""

import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType

from payymo import opaque
from payymo.audit.log import AuditLog
from payymo.clock import Clock
from payymo.db.permit import Permit, permit_operator
from payymo.db.work import Work
from payymo.entropy import Entropy
from payymo.errors import (
    Conflict,
    FieldError,
    InsufficientScope,
    InvalidInput,
    InvalidToken,
    MissingToken,
    NotFound,
    Unavailable,
)
from payymo.guards import store
from payymo.guards.followers import Followers
from payymo.guards.model import (
    DAY_SECONDS,
    NAME,
    SCOPES,
    Follower,
    GuardPolicy,
    Scope,
    ServiceCredential,
    is_follower_id,
    tidied,
)
from payymo.logs import Event, Fact, SecurityLog, Trace
from payymo.phrases import Phrase

FRESH_SECONDS = 1.0
"""How long a process relies on what it has read."""
SEARCH_SECONDS = 0.1
"""How often an unknown identifier makes a process look again: it may have been made a moment ago."""
USE_SECONDS = 300
"""How coarsely the last use of a credential is known."""
KEEP_SECONDS = 3600
"""How long a follower is remembered that is not heard of any more."""
DEFAULT_DAYS = 365
DAYS_AT_MOST = 3650


@dataclass(frozen=True, slots=True)
class NewCredential:
    """A credential, and the only sight of its text."""

    credential: ServiceCredential
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Known:
    """A snapshot, replaced as a whole, so that readers need no lock."""

    credentials: MappingProxyType[uuid.UUID, ServiceCredential]
    read_at: float


_NOTHING = _Known(MappingProxyType({}), float("-inf"))


class Guards:
    """The services of the operator's that may ask us, and the followers among them."""

    def __init__(
        self, work: Work, clock: Clock, entropy: Entropy, *, policy: GuardPolicy, audit: AuditLog, log: SecurityLog
    ) -> None:
        self._work = work
        self._clock = clock
        self._entropy = entropy
        self._policy = policy
        self._audit = audit
        self._log = log
        self._followers = Followers(work, clock)
        self._nobody = opaque.digest(entropy.bytes(32))
        self._known = _NOTHING
        self._noting = threading.Lock()
        self._noted: dict[uuid.UUID, float] = {}

    def admit(self, authorization: str | None, *, address: str, scope: Scope) -> ServiceCredential | None:
        """The credential in an Authorization header (RFC 6750 §2.1); None: there is none, and none is needed there.

        A bad one is refused wherever it comes from: its owner has to learn of it. Raises MissingToken, InvalidToken,
        InsufficientScope, Unavailable.
        """
        if authorization is None and self._policy.is_open_to(address):
            return None
        scheme, _, text = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            raise MissingToken("Send a service credential: Authorization: Bearer payymo_…")
        return self.authenticate(text, scope=scope)

    def authenticate(self, text: str, *, scope: Scope) -> ServiceCredential:
        """The credential that a text is. Raises InvalidToken, InsufficientScope, Unavailable.

        One answer for what is unknown, wrong, expired or revoked, after the same comparison.
        """
        given = opaque.read(text)
        if given is None:
            raise InvalidToken(private="service credential: malformed")
        found = self._find(given.id)
        is_same = opaque.matches(given.secret, self._nobody if found is None else found.digest)
        if found is None:
            raise InvalidToken(private="service credential: unknown")
        if not is_same:
            raise InvalidToken(private=f"service credential {found.name}: wrong")
        now = self._clock()
        if (state := found.state(now)) != "active":
            raise InvalidToken(private=f"service credential {found.name}: {state}")
        self._note_use(found, now)
        if scope not in found.scopes:
            raise InsufficientScope(private=f"service credential {found.name}: lacks {scope}")
        return found

    def create(
        self,
        name: str,
        *,
        scopes: Iterable[Scope],
        days: int = DEFAULT_DAYS,
        permit: Permit = permit_operator,
        trace: Trace,
    ) -> NewCredential:
        """A new credential. Its text is nowhere else. Raises InvalidInput, Conflict: the name is in use."""
        wanted = tuple(scope for scope in SCOPES if scope in set(scopes))
        _require_sound(name, wanted, days)
        made, now = opaque.make(self._entropy), int(self._clock())
        credential = ServiceCredential(
            made.id, name, opaque.digest(made.secret), wanted, created_at=now, expires_at=now + days * DAY_SECONDS
        )
        with self._work.platform() as tx:
            permit(tx)
            if not store.add_credential(tx, credential):
                raise Conflict(
                    Phrase(
                        "There is a service credential {name} already: revoke it, or take another name.",
                        name=repr(name),
                    )
                )
            new: dict[str, Fact] = {"scopes": wanted, "expires_at": credential.expires_at}
            self._audit.record(tx, Event("service.created", trace=trace, service=name, new=new))
        self._known = _NOTHING
        return NewCredential(credential, made.text)

    def revoke(self, name: str, *, permit: Permit = permit_operator, trace: Trace) -> None:
        """Refuse a credential: within a second, everywhere. Forgets who followed with it. Raises NotFound."""
        with self._work.platform() as tx:
            permit(tx)
            if not store.revoke_credential(tx, name, int(self._clock())):
                raise NotFound(Phrase("There is no service credential {name}.", name=name))
            self._audit.record(tx, Event("service.revoked", trace=trace, service=name))
        self._known = _NOTHING

    def list_credentials(self) -> tuple[ServiceCredential, ...]:
        """Every one there is or was, by name."""
        with self._work.platform(writes=False) as tx:
            return store.list_credentials(tx)

    def acknowledged(self, receiver: ServiceCredential) -> str | None:
        """Up to where in the feed a receiver of events has acknowledged everything. Raises Unavailable."""
        with self._work.platform(writes=False) as tx:
            return store.find_place(tx, receiver.id)

    def acknowledge(self, receiver: ServiceCredential, place: str) -> None:
        """It has acknowledged everything up to there. Raises Unavailable."""
        with self._work.platform() as tx:
            store.save_place(tx, receiver.id, place)

    def report(
        self, follower: str, *, credential: ServiceCredential | None, address: str, seq: int, kids: Iterable[str]
    ) -> None:
        """Take down that a follower asks, what it has read, and the keys that it holds. Never fails.

        A name that can't be one is passed over.
        """
        if is_follower_id(follower):
            now, name = int(self._clock()), credential.name if credential else None
            with self._aside():
                self._followers.report(Follower(follower, name, address, seq, tidied(kids), now, now))

    def list_followers(self, *, within_seconds: int | None = None) -> tuple[Follower, ...]:
        """Who follows the feed, the longest known first; with `within_seconds`, who was heard of lately."""
        since = None if within_seconds is None else int(self._clock()) - within_seconds
        with self._work.platform(writes=False) as tx:
            return store.list_followers(tx, since=since)

    def list_lags(self) -> Sequence[tuple[Follower, int]]:
        """Who follows the feed, and how many entries each has not asked for yet."""
        with self._work.platform(writes=False) as tx:
            last = store.last_seq(tx)
            return [(found, max(0, last - found.cursor_seq)) for found in store.list_followers(tx)]

    def prune(self) -> int:
        """Forget followers that are gone. Answers how many."""
        with self._work.platform() as tx:
            return store.prune_followers(tx, int(self._clock()) - KEEP_SECONDS)

    def _find(self, credential_id: uuid.UUID) -> ServiceCredential | None:
        """Raises Unavailable: what was read is too old, and nothing newer can be read."""
        known = self._known
        age = self._clock() - known.read_at
        is_fresh = 0 <= age < (FRESH_SECONDS if credential_id in known.credentials else SEARCH_SECONDS)
        return (known if is_fresh else self._read()).credentials.get(credential_id)

    def _read(self) -> _Known:
        """Several threads may read at once: waiting for one that hangs would be worse, and old ones expire earlier."""
        now = self._clock()
        found = {one.id: one for one in self.list_credentials()}
        self._known = _Known(MappingProxyType(found), now)
        return self._known

    def _note_use(self, credential: ServiceCredential, now: float) -> None:
        """Once in a while, whether it can be written or not: it is for the operator to see what is still in use."""
        with self._noting:
            last = max(credential.last_used_at or 0, self._noted.get(credential.id, 0.0))
            if 0 <= now - last < USE_SECONDS:
                return
            self._noted[credential.id] = now
        with self._aside(), self._work.platform() as tx:
            store.note_use(tx, credential.id, int(now))

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """For what a request does besides, and must not fail by: also on a database that takes no writes for now."""
        try:
            yield
        except Unavailable:
            pass
        except Exception as error:  # noqa: BLE001 - revocations have to be told, whatever happens here
            self._log.failure(error, trace=Trace())


def _require_sound(name: str, scopes: tuple[Scope, ...], days: int) -> None:
    wrong = {
        "/name": (
            not NAME.fullmatch(name),
            Phrase("1 to 63 of a-z, 0-9, dot, dash, underscore; a letter or digit first"),
        ),
        "/scopes": (not scopes, Phrase("one or more of {scopes}", scopes=", ".join(SCOPES))),
        "/days": (not 1 <= days <= DAYS_AT_MOST, Phrase("1 to {most}", most=DAYS_AT_MOST)),
    }
    if errors := [FieldError(pointer, detail) for pointer, (is_wrong, detail) in wrong.items() if is_wrong]:
        raise InvalidInput(errors)
