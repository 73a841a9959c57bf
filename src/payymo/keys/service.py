"""The key ring: signs with the active key, publishes what verifies, rotates with overlap, by calendar or by hand.

A *next* key is always published beside the active one. Rotation makes it active, so that no token is ever signed by a
key that verifiers could not fetch already. What changed in the database reaches every process within a second:
`payymo.keys.known`.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial

import msgspec

from payymo.audit.log import AuditLog
from payymo.clock import Clock
from payymo.db.permit import Permit, permit_operator
from payymo.db.work import Transaction, Work
from payymo.errors import Conflict, Misconfigured, NotFound, Unavailable
from payymo.feed.service import Feed
from payymo.keys import signer, store
from payymo.keys.keeper import KeyGone, KeyKeeper
from payymo.keys.known import KnownKeys
from payymo.keys.model import (
    DATABASE,
    PURPOSES,
    Calendar,
    KeyPolicy,
    Purpose,
    Report,
    SigningKey,
    SigningPlan,
    State,
    find_one,
    is_due,
    published,
    seconds_until_known,
)
from payymo.logs import BY_ITSELF, Event, Trace
from payymo.phrases import Phrase
from payymo_guard import VerificationKey

MARGIN_SECONDS = 60
"""How much longer than the last token a key verifies: other processes sign with it until they have looked again."""


class KeyRing:
    """The signing keys of this deployment."""

    def __init__(
        self,
        work: Work,
        keeper: KeyKeeper,
        clock: Clock,
        policy: KeyPolicy,
        *,
        feed: Feed,
        reports: Callable[[], Sequence[Report]],
        audit: AuditLog,
    ) -> None:
        self._work = work
        self._keeper = keeper
        self._feed = feed
        self._clock = clock
        self._policy = policy
        self._reports = reports
        self._audit = audit
        self._known = KnownKeys(work, keeper, clock)

    def sign(self, purpose: Purpose, message: bytes, *, kid: str) -> bytes:
        """The signature over `message` by a key that still verifies.

        Raises KeyGone, Misconfigured (a broken seal, a private half that is not where it was), Unavailable.
        """
        return self._known.signer_of(self._known.get(purpose, kid))(message)

    def plan(self) -> SigningPlan:
        """What signs the next access token, and whether that may fail. Raises Unavailable, as `active_kid` does."""
        ring = self._known.fresh()
        active = [key for key in ring.keys if key.state == "active"]
        may_fail = any(key.location is not None or not self._known.is_loaded(key.kid) for key in active)
        return SigningPlan(ring.active_kid("access"), may_fail)

    def active_kid(self, purpose: Purpose) -> str:
        """The kid of the key that signs now. Raises Unavailable: it was revoked, and no other could be made yet."""
        return self._known.fresh().active_kid(purpose)

    def algorithms(self) -> list[str]:
        """The algorithms of access tokens that are accepted now, or may be signed soon."""
        return sorted({jwk["alg"] for jwk in published(self._known.fresh().keys, int(self._clock()))})

    def algorithm_of(self, purpose: Purpose, kid: str) -> str:
        """The algorithm of a key that still verifies. Raises KeyGone."""
        return self._known.get(purpose, kid).algorithm

    def find_access_key(self, kid: str) -> VerificationKey | None:
        """The public half that verifies access tokens signed by `kid`, or None."""
        return self._known.find("access", kid)

    def find_refresh_key(self, kid: str) -> VerificationKey | None:
        """The public half that verifies refresh tokens signed by `kid`, or None."""
        return self._known.find("refresh", kid)

    def jwks(self) -> bytes:
        """The public JWK set (RFC 7517 §5)."""
        return msgspec.json.encode({"keys": published(self._known.fresh().keys, int(self._clock()))})

    def require_signers(self) -> int:
        """How many keys sign, each of them at hand. Raises KeyGone, Misconfigured, Unavailable: one is not."""
        return self._known.require_signers()

    @property
    def calendar(self) -> Calendar:
        """How often keys change."""
        return self._policy.calendar

    def list_keys(self) -> tuple[SigningKey, ...]:
        """Every key that still does something."""
        return self._known.read().keys

    def list_ever(self, purpose: Purpose) -> tuple[SigningKey, ...]:
        """Every key of a purpose that there ever was, the oldest first: what it has signed may outlive it."""
        with self._work.platform(writes=False) as tx:
            return store.list_ever(tx, purpose)

    def ensure(self) -> None:
        """Make the keys that are missing; a next key of another algorithm or place than configured gives way to one.

        What signs goes on signing: verifiers have to be given the new key first. Raises Misconfigured, Unavailable:
        what signs, or what is to be made, is not there.
        """
        keys = self._list()
        for purpose in PURPOSES:
            self._ensure(purpose, tuple(key for key in keys if key.purpose == purpose))
        self._known.load_active()

    def try_to_ensure(self) -> None:
        """The same for who manages keys and signs nothing: where they were may be gone, and that is to be mended."""
        keys = self._list()
        for purpose in PURPOSES:
            with suppress(Misconfigured, Unavailable):
                self._ensure(purpose, tuple(key for key in keys if key.purpose == purpose))
        self._known.read()

    def _ensure(self, purpose: Purpose, keys: tuple[SigningKey, ...]) -> None:
        wanted = self._policy.algorithm_of(purpose), self._policy.place_of(purpose)

        def is_begun(now: tuple[SigningKey, ...]) -> bool:
            return find_one(now, purpose, "active") is not None

        def is_prepared(now: tuple[SigningKey, ...]) -> bool:
            following = find_one(now, purpose, "next")
            return following is not None and (following.algorithm, following.place) == wanted

        if not is_begun(keys):
            self._advance(purpose, lambda now: not is_begun(now), BY_ITSELF, reason="start")
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

    def rotate(
        self,
        purpose: Purpose = "access",
        *,
        at_once: bool = False,
        permit: Permit = permit_operator,
        trace: Trace = BY_ITSELF,
    ) -> str:
        """Let the next key sign from now on, and the one before it verify until its last token has expired.

        Answers the kid that signs now. Raises Conflict while verifiers may not know the next key, unless `at_once`.
        """
        reports = self._reports()  # before the transaction, which may have the only connection

        def is_known(keys: tuple[SigningKey, ...]) -> bool:
            following = find_one(keys, purpose, "next")
            if following is None:
                raise Conflict("There is no next key yet. The service makes one within a minute.")
            wait = seconds_until_known(following, int(self._clock()), self._policy.calendar, reports)
            if wait and not at_once:
                raise Conflict(
                    Phrase(
                        "Some verifiers may not know the next key yet. They will in {seconds} seconds.", seconds=wait
                    )
                )
            return True

        if not self._advance(purpose, is_known, trace, reason="command", permit=permit):
            raise Conflict("The next key can't be used: another one has been made. Try again when verifiers know it.")
        return self._known.read().active_kid(purpose)

    def rotate_due(self) -> tuple[str, ...]:
        """Make what is missing, and rotate what the calendar asks for. Answers the kids that sign from now on.

        Raises Misconfigured, Unavailable: what keeps the keys does not answer.
        """
        self._prepare()
        reports = self._reports()

        def is_time(purpose: Purpose, keys: tuple[SigningKey, ...]) -> bool:
            active, following = find_one(keys, purpose, "active"), find_one(keys, purpose, "next")
            if active is None or following is None:
                return False
            return is_due(active, following, int(self._clock()), self._policy.calendar, reports)

        turned = [
            purpose
            for purpose in PURPOSES
            if is_time(purpose, self._known.read().keys)
            and self._advance(purpose, partial(is_time, purpose), BY_ITSELF, reason="calendar")
        ]
        return tuple(self._known.read().active_kid(purpose) for purpose in turned)

    def revoke(self, kid: str, *, permit: Permit = permit_operator, trace: Trace = BY_ITSELF) -> bool:
        """Refuse from now on whatever this key has signed, and destroy it.

        When it was the active key, the next one signs, whether verifiers know it yet or not. Revoking again answers
        False. Where keys are kept by somebody who may not answer, the next key is made afterwards, or later by the
        maintenance: nothing holds the revocation up. Raises NotFound.
        """
        found = next((key for key in self._known.read().keys if key.kid == kid and key.state != "retiring"), None)
        with ExitStack() as stack:
            heirs: list[signer.NewKey] = []
            if found is not None and self._needs_heir(found.purpose):
                with suppress(Unavailable, Misconfigured):
                    heirs = stack.enter_context(self._keeper.made(found.purpose, "next"))
            tx = stack.enter_context(self._work.platform())
            permit(tx)
            store.lock(tx)
            now = int(self._clock())
            revoked = store.revoke(tx, kid, now)
            if revoked is None:
                if not store.is_known(tx, kid):
                    raise NotFound("There is no such key.")
                return False
            self._audit.record(tx, Event("key.revoked", trace=trace, kid=kid))
            if found is not None:
                self._succeed(tx, found.purpose, heirs, trace)
            if revoked.purpose == "access":  # what refresh keys sign is verified by us alone
                # Whoever has the key signs tokens that live as long as they like, and caches show it for a while yet.
                shown = max(revoked.token_ttl_seconds, self._policy.calendar.jwks_max_age)
                self._feed.key_revoked(tx, kid, live_until=now + shown)
        self._known.read()
        with suppress(Unavailable, Misconfigured):
            self._prepare()
        with suppress(Unavailable, Misconfigured):
            list(self._keeper.destroy_leftovers())
        return True

    def _succeed(self, tx: Transaction, purpose: Purpose, heirs: list[signer.NewKey], trace: Trace) -> None:
        """Fill the place that a revoked key has left: the next key signs, and an heir is the next.

        Without a next key the heir signs, though nobody could fetch it yet: nothing at all is worse.
        """
        self._promote(tx, purpose, trace)
        if find_one(store.list_keys(tx), purpose, "next") is None:
            for heir in heirs:
                self._keeper.add(tx, heir, trace=trace)
            self._promote(tx, purpose, trace)

    def _promote(self, tx: Transaction, purpose: Purpose, trace: Trace) -> None:
        keys = store.list_keys(tx)
        following = find_one(keys, purpose, "next")
        if find_one(keys, purpose, "active") is None and following is not None:
            store.activate_next(tx, purpose, int(self._clock()))
            self._audit.record(tx, Event("key.rotated", trace=trace, kid=following.kid, reason="revocation"))

    def _needs_heir(self, purpose: Purpose) -> bool:
        """Whether a key is made before one is revoked: where that is quick, or nothing is there to follow it."""
        is_local = self._policy.place_of(purpose) == DATABASE
        return is_local or find_one(self._list(), purpose, "next") is None

    def _prepare(self) -> None:
        """Make the active and next keys that are missing. Raises Misconfigured, Unavailable."""
        keys = self._list()
        for purpose in PURPOSES:
            if None in (find_one(keys, purpose, "active"), find_one(keys, purpose, "next")):
                self._ensure(purpose, tuple(key for key in keys if key.purpose == purpose))
        self._known.read()

    def _advance(
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
        candidate = find_one(self._list(), purpose, "next")
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

    def _list(self) -> tuple[SigningKey, ...]:
        with self._work.platform(writes=False) as tx:
            return store.list_keys(tx)
