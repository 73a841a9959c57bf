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
from payymo.db.work import Work
from payymo.errors import Conflict, Misconfigured, NotFound, Unavailable
from payymo.feed.service import Feed
from payymo.keys import signer, store
from payymo.keys.keeper import KeyKeeper
from payymo.keys.known import KnownKeys
from payymo.keys.model import (
    PURPOSES,
    Calendar,
    KeyPolicy,
    Purpose,
    Report,
    SigningKey,
    SigningPlan,
    find_one,
    is_due,
    published,
    seconds_until_known,
)
from payymo.keys.succession import Succession
from payymo.logs import BY_ITSELF, Event, Trace
from payymo.phrases import Phrase
from payymo_guard import VerificationKey


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
        self._steps = Succession(work, keeper, clock, policy, known=self._known, audit=audit)

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
        keys = self._steps.list_keys()
        for purpose in PURPOSES:
            self._steps.ensure(purpose, tuple(key for key in keys if key.purpose == purpose))
        self._known.load_active()

    def try_to_ensure(self) -> None:
        """The same for who manages keys and signs nothing: where they were may be gone, and that is to be mended."""
        keys = self._steps.list_keys()
        for purpose in PURPOSES:
            with suppress(Misconfigured, Unavailable):
                self._steps.ensure(purpose, tuple(key for key in keys if key.purpose == purpose))
        self._known.read()

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

        if not self._steps.advance(purpose, is_known, trace, reason="command", permit=permit):
            raise Conflict("The next key can't be used: another one has been made. Try again when verifiers know it.")
        return self._known.read().active_kid(purpose)

    def rotate_due(self) -> tuple[str, ...]:
        """Make what is missing, and rotate what the calendar asks for. Answers the kids that sign from now on.

        Raises Misconfigured, Unavailable: what keeps the keys does not answer.
        """
        self._steps.prepare()
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
            and self._steps.advance(purpose, partial(is_time, purpose), BY_ITSELF, reason="calendar")
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
            if found is not None and self._steps.needs_heir(found.purpose):
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
                self._steps.succeed(tx, found.purpose, heirs, trace)
            if revoked.purpose == "access":  # what refresh keys sign is verified by us alone
                # Whoever has the key signs tokens that live as long as they like, and caches show it for a while yet.
                shown = max(revoked.token_ttl_seconds, self._policy.calendar.jwks_max_age)
                self._feed.key_revoked(tx, kid, live_until=now + shown)
        self._known.read()
        with suppress(Unavailable, Misconfigured):
            self._steps.prepare()
        with suppress(Unavailable, Misconfigured):
            list(self._keeper.destroy_leftovers())
        return True
