"""The steps of a signing key's life: made, next, active, retiring. Each is one transaction, under one lock.

`payymo.keys.service` says whether a step is wanted: by the calendar, by hand, because a key was revoked. Here is what
it takes, and that there is one active key before it and after it.
"""

from collections.abc import Callable

from payymo.audit.log import AuditLog
from payymo.clock import Clock
from payymo.db.permit import Permit, permit_operator
from payymo.db.work import Transaction, Work
from payymo.errors import Misconfigured
from payymo.keys import signer, store
from payymo.keys.keeper import KeyGone, KeyKeeper
from payymo.keys.known import KnownKeys
from payymo.keys.model import DATABASE, PURPOSES, KeyPolicy, Purpose, SigningKey, State, find_one
from payymo.logs import BY_ITSELF, Event, Trace

MARGIN_SECONDS = 60
"""How much longer than the last token a key verifies: other processes sign with it until they have looked again."""


class Succession:
    """Lets the signing keys of this deployment follow one another."""

    def __init__(
        self, work: Work, keeper: KeyKeeper, clock: Clock, policy: KeyPolicy, *, known: KnownKeys, audit: AuditLog
    ) -> None:
        self._work = work
        self._keeper = keeper
        self._clock = clock
        self._policy = policy
        self._known = known
        self._audit = audit

    def ensure(self, purpose: Purpose, keys: tuple[SigningKey, ...]) -> None:
        """Make what `keys`, those of a purpose, lack: one that signs, and a next one as it is configured.

        Tokens may have come to live longer than a key was to verify; it lives longer, too. Raises Misconfigured,
        Unavailable.
        """
        wanted = self._policy.algorithm_of(purpose), self._policy.place_of(purpose)

        def is_begun(now: tuple[SigningKey, ...]) -> bool:
            return find_one(now, purpose, "active") is not None

        def is_prepared(now: tuple[SigningKey, ...]) -> bool:
            following = find_one(now, purpose, "next")
            return following is not None and (following.algorithm, following.place) == wanted

        if not is_begun(keys):
            self.advance(purpose, lambda now: not is_begun(now), BY_ITSELF, reason="start")
        elif not is_prepared(keys):
            with self._keeper.made(purpose, "next") as [fresh], self._work.platform() as tx:
                store.lock(tx)
                if not is_prepared(store.list_keys(tx)):
                    store.drop_next(tx, purpose, int(self._clock()))
                    self._keeper.add(tx, fresh, trace=BY_ITSELF)
        ttl = self._policy.token_ttl_of(purpose)
        if any(key.token_ttl_seconds < ttl for key in keys):
            with self._work.platform() as tx:
                store.lengthen(tx, purpose, ttl)
                new = {"purpose": purpose, "token_ttl_seconds": ttl}
                self._audit.record(tx, Event("keys.lengthened", trace=BY_ITSELF, new=new))

    def prepare(self) -> None:
        """Make the active and next keys that are missing. Raises Misconfigured, Unavailable."""
        keys = self.list_keys()
        for purpose in PURPOSES:
            if None in (find_one(keys, purpose, "active"), find_one(keys, purpose, "next")):
                self.ensure(purpose, tuple(key for key in keys if key.purpose == purpose))
        self._known.read()

    def advance(
        self,
        purpose: Purpose,
        is_wanted: Callable[[tuple[SigningKey, ...]], bool],
        trace: Trace,
        *,
        reason: str,
        permit: Permit = permit_operator,
    ) -> bool:
        """One step of the life cycle, in one transaction: there is one active key before it and after it.

        Keys are made beforehand, because making an RSA key takes longer than a transaction should. Whether the step is
        wanted is asked under the lock: another process may have made it meanwhile. Answers whether it was. A next key
        that can't be used gives way to another one, and nothing else happens.
        """
        now = int(self._clock())
        candidate = find_one(self.list_keys(), purpose, "next")
        if candidate is not None and not self._is_usable(candidate):
            return False
        states: tuple[State, ...] = ("next",) if candidate else ("next", "active")
        with self._keeper.made(purpose, *states) as [fresh, *spare], self._work.platform() as tx:
            permit(tx)
            store.lock(tx)
            keys = store.list_keys(tx)
            if not is_wanted(keys):
                return False
            active, following = find_one(keys, purpose, "active"), find_one(keys, purpose, "next")
            ttl = max(self._policy.token_ttl_of(purpose), active.token_ttl_seconds if active else 0)
            store.retire_active(tx, purpose, now + ttl + MARGIN_SECONDS)
            if following is not None:
                store.activate_next(tx, purpose, now)
                old = None if active is None else {"kid": active.kid}
                self._audit.record(tx, Event("key.rotated", trace=trace, kid=following.kid, reason=reason, old=old))
            for new in [fresh] if following is not None else [fresh, *spare]:
                self._keeper.add(tx, new, trace=trace)
        return True

    def needs_heir(self, purpose: Purpose) -> bool:
        """Whether a key is made before one is revoked: where that is quick, or nothing is there to follow it."""
        is_local = self._policy.place_of(purpose) == DATABASE
        return is_local or find_one(self.list_keys(), purpose, "next") is None

    def succeed(self, tx: Transaction, purpose: Purpose, heirs: list[signer.NewKey], trace: Trace) -> None:
        """Fill the place that a revoked key has left: the next key signs, and an heir is the next.

        Without a next key the heir signs, though nobody could fetch it yet: nothing at all is worse.
        """
        self._promote(tx, purpose, trace)
        if find_one(store.list_keys(tx), purpose, "next") is None:
            for heir in heirs:
                self._keeper.add(tx, heir, trace=trace)
            self._promote(tx, purpose, trace)

    def list_keys(self) -> tuple[SigningKey, ...]:
        """Every key that still does something, as the database has it now."""
        with self._work.platform(writes=False) as tx:
            return store.list_keys(tx)

    def _promote(self, tx: Transaction, purpose: Purpose, trace: Trace) -> None:
        keys = store.list_keys(tx)
        following = find_one(keys, purpose, "next")
        if find_one(keys, purpose, "active") is None and following is not None:
            store.activate_next(tx, purpose, int(self._clock()))
            self._audit.record(tx, Event("key.rotated", trace=trace, kid=following.kid, reason="revocation"))

    def _is_usable(self, candidate: SigningKey) -> bool:
        """Whether a next key signs. If not, another one has taken its place. Raises Unavailable."""
        try:
            self._known.load(candidate)
        except (Misconfigured, KeyGone):
            with self._keeper.made(candidate.purpose, "next") as [fresh], self._work.platform() as tx:
                store.lock(tx)
                following = find_one(store.list_keys(tx), candidate.purpose, "next")
                if following is not None and following.kid == candidate.kid:
                    store.drop_next(tx, candidate.purpose, int(self._clock()))
                    self._keeper.add(tx, fresh, trace=BY_ITSELF)
            return False
        return True
