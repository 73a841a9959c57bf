"""A tenant's API keys: made, listed, revoked, and exchanged for short access tokens (RFC 6749 §4.4).

A key is looked at before anything is counted or written, so that strangers who guess leave nothing behind. What it is
exchanged for is decided anew, in one transaction with its event. A token says of itself `sid`: the key. So one entry of
the feed refuses everything that a key has ever been exchanged for, also what is on its way while it is revoked.
"""

import uuid
from dataclasses import dataclass, field, replace
from typing import Final

from payymo import opaque
from payymo.apikeys import store
from payymo.apikeys.model import DAY_SECONDS, KEYS_AT_MOST, ApiKey, Draft, narrowed
from payymo.audit.log import AuditLog
from payymo.clock import Clock
from payymo.db.work import Work
from payymo.entropy import Entropy
from payymo.errors import Conflict, InsufficientScope, InvalidClient, InvalidScope, NotFound
from payymo.feed.model import Subject as Refused
from payymo.feed.service import Feed
from payymo.logs import Event, Fact, Trace
from payymo.phrases import Phrase
from payymo.roles.model import covers
from payymo.roles.service import Actor, authority_of
from payymo.tokens import Subject, TokenMinter

USE_SECONDS: Final = 60
"""How coarsely the last use of a key is known: so seldom is it written."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key, and the only sight of its secret."""

    key: ApiKey
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Listed:
    """A key, and the name of who made it; None: the operator, or somebody who is gone."""

    key: ApiKey
    creator: str | None


@dataclass(frozen=True, slots=True)
class Sight:
    """What was found of who asks for a token. `reason`: why they are refused; None: they have proven themselves."""

    key: ApiKey | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Issued:
    """An access token, for how many seconds it is good, and what for."""

    token: str = field(repr=False)
    expires_in: int
    permissions: tuple[str, ...]


class ApiKeys:
    """The API keys of each tenant."""

    def __init__(
        self, work: Work, clock: Clock, entropy: Entropy, *, minter: TokenMinter, feed: Feed, audit: AuditLog
    ) -> None:
        self._work = work
        self._clock = clock
        self._entropy = entropy
        self._minter = minter
        self._feed = feed
        self._audit = audit
        self._ttl = minter.policy.access_ttl_seconds
        self._nobody = opaque.digest(entropy.bytes(32))

    def list_keys(self, tenant_id: uuid.UUID) -> tuple[Listed, ...]:
        """Every living key, then the newest of those that have ended."""
        with self._work.reading(tenant_id) as tx:
            return tuple(Listed(*found) for found in store.list_keys(tx, now=int(self._clock())))

    def get(self, tenant_id: uuid.UUID, key_id: uuid.UUID) -> ApiKey:
        """One of them. Raises NotFound."""
        with self._work.reading(tenant_id) as tx:
            return _found(store.find(tx, key_id))

    def create(self, tenant_id: uuid.UUID, draft: Draft, *, by: Actor | None, trace: Trace) -> NewKey:
        """A new key, on the word of `by`, who can't give it what they may not do themselves; and its secret.

        Raises InsufficientScope, Conflict: the name is in use, there are too many.
        """
        made, now = opaque.make(self._entropy), int(self._clock())
        key = ApiKey(
            tenant_id=tenant_id,
            id=made.id,
            name=draft.name,
            digest=opaque.digest(made.secret),
            permissions=draft.permissions,
            created_by=None if by is None else by.user_id,
            created_at=now,
            expires_at=now + draft.days * DAY_SECONDS,
        )
        with self._work(tenant_id) as tx:
            if not covers(authority_of(by, tx), key.permissions):
                raise InsufficientScope("This would hand out a permission that you don't have yourself.")
            if store.count_living(tx, now=now) >= KEYS_AT_MOST:
                raise Conflict(Phrase("There are {most} API keys already: revoke some.", most=KEYS_AT_MOST))
            if not store.add(tx, key):
                raise Conflict(
                    Phrase("There is an API key {name} already: revoke it, or take another name.", name=key.name)
                )
            new: dict[str, Fact] = {"name": key.name, "permissions": key.permissions, "expires_at": key.expires_at}
            self._audit.record(tx, Event("apikey.created", trace=trace, apikey=key.id, new=new))
        return NewKey(key, made.text)

    def revoke(self, tenant_id: uuid.UUID, key_id: uuid.UUID, *, by: Actor | None, trace: Trace) -> ApiKey:
        """Refuse a key, and whatever it was exchanged for, from now on. Revoking twice succeeds.

        Who may revoke need not have what the key may do: whoever sees that one has leaked can stop it. Raises NotFound.
        """
        with self._work(tenant_id) as tx:
            authority_of(by, tx)
            key = _found(store.lock(tx, key_id))
            if key.revoked_at is None:
                now = int(self._clock())
                store.end(tx, key_id, now=now)
                self._audit.record(tx, Event("apikey.revoked", trace=trace, apikey=key_id, old={"name": key.name}))
                until = max(now + self._ttl, key.access_expires_at)
                self._feed.add(tx, "session", [Refused(key_id, None, until)], reason="apikey-revoked")
        return key

    def look_at(self, client_id: str, secret: str, *, named_tenant_id: uuid.UUID | None) -> Sight:
        """What there is to say of an identifier and a secret. Nothing is written.

        `named_tenant_id`: the tenant that the request named, if any. Raises Unavailable.
        """
        brought = opaque.read(secret)
        if brought is None or str(brought.id) != client_id:
            return Sight(None, "malformed")
        with self._work.platform(writes=False) as tx:
            found = store.find_anywhere(tx, brought.id)
        is_right = opaque.matches(brought.secret, self._nobody if found is None else found[0].digest)
        if found is None:
            return Sight(None, "unknown")
        key, tenant_status = found
        if not is_right:
            return Sight(key, "wrong-secret")
        if named_tenant_id is not None and named_tenant_id != key.tenant_id:
            return Sight(key, "another-tenant")
        return Sight(key, self._reason(key, key.revoked_at, tenant_status))

    def _reason(self, key: ApiKey, revoked_at: int | None, tenant_status: str | None) -> str | None:
        """Why a key does not count; None: it does."""
        state = replace(key, revoked_at=revoked_at).state(self._clock())
        if state != "active":
            return state
        return None if tenant_status == "active" else "inactive-tenant"

    def refuse(self, sight: Sight, *, trace: Trace) -> InvalidClient:
        """The refusal, the same for every reason; of a key that there is, it is on record in its tenant."""
        if sight.key is not None:
            event = Event("apikey.exchange", "refused", trace=trace, tenant_id=sight.key.tenant_id)
            self._audit.record_apart(replace(event, apikey=sight.key.id, reason=sight.reason))
        return InvalidClient(private=sight.reason)

    def exchange(self, key: ApiKey, *, scope: str | None, trace: Trace) -> Issued:
        """An access token for a key that has proven itself. Raises InvalidScope, InvalidClient: it ended meanwhile."""
        event = Event("apikey.exchange", trace=trace, tenant_id=key.tenant_id, apikey=key.id)
        permissions = narrowed(key.permissions, scope)
        if permissions is None:
            self._audit.record_apart(replace(event, outcome="refused", reason="scope"))
            raise InvalidScope
        plan = self._minter.plan()
        # Before it is asked whether the key counts: a token of a key that is revoked after that lives no longer than
        # the entry that refuses it.
        now = int(self._clock())
        expires_at = min(now + self._ttl, key.expires_at)
        with self._work(key.tenant_id) as tx:
            standing = store.find_standing(tx, key.id)
            reason = "revoked" if standing is None else self._reason(key, standing.revoked_at, standing.tenant_status)
            least = now + self._ttl
            if standing is not None and reason is None and standing.access_expires_at < least:
                store.note_use(tx, key.id, now=now, address=trace.address, least=least, until=least + USE_SECONDS)
            self._audit.record(tx, event if reason is None else replace(event, outcome="refused", reason=reason))
        if standing is None or reason is not None:
            raise InvalidClient(private=reason)
        subject = Subject(key.tenant_id, key.id, key.id, (), permissions, standing.position, client_id=str(key.id))
        token = self._minter.mint_access(subject, kid=plan.access_kid, issued_at=now, expires_at=expires_at)
        return Issued(token, expires_at - now, permissions)

    def permissions_of(self, tenant_id: uuid.UUID, key_id: uuid.UUID) -> tuple[str, ...]:
        """What a key may do now: nothing, when it is revoked, expired or gone."""
        with self._work.reading(tenant_id) as tx:
            key = store.find(tx, key_id)
        return () if key is None or key.state(self._clock()) != "active" else key.permissions


def _found(key: ApiKey | None) -> ApiKey:
    if key is None:
        raise NotFound("There is no such API key.")
    return key
