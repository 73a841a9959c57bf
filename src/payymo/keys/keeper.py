"""Makes private keys, puts them where they belong, and opens them: in the database, in files, in a hardware token."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Final

from payymo.audit.log import AuditLog
from payymo.clock import Clock
from payymo.db.work import Transaction, Work
from payymo.errors import Misconfigured, PayymoError, Unavailable
from payymo.keys import signer, store
from payymo.keys.model import DATABASE, KeyPolicy, Purpose, SigningKey, State, place_of
from payymo.keys.places import KeyPlaces
from payymo.logs import BY_ITSELF, Event, Trace
from payymo.secrets.encryption import SealBroken
from payymo.secrets.envelope import Column, Envelope
from payymo_guard import Refused, VerificationKey

PRIVATE_KEYS: Final = Column("signing-keys", store.list_sealed, store.count_sealed, store.reseal)
PROBE: Final = b"payymo: is this the private half of the key?"


class KeyGone(PayymoError):
    """A key was to sign that has been retired or revoked."""

    code = "internal_error"


class KeyKeeper:
    """The private halves."""

    def __init__(
        self, work: Work, envelope: Envelope, places: KeyPlaces, clock: Clock, policy: KeyPolicy, *, audit: AuditLog
    ) -> None:
        self._work = work
        self._envelope = envelope
        self._places = places
        self._clock = clock
        self._policy = policy
        self._audit = audit

    @contextmanager
    def made(self, purpose: Purpose, *states: State) -> Iterator[list[signer.NewKey]]:
        """New keys. What is elsewhere, and what the database does not know of in the end, is destroyed again."""
        made: list[signer.NewKey] = []
        try:
            made.extend(self._make(purpose, state) for state in states)
            yield made
        finally:
            if elsewhere := [new.key for new in made if new.key.location is not None]:
                with self._work.platform(writes=False) as tx:
                    known = {key.kid for key in store.list_keys(tx)}
                for key in elsewhere:
                    if key.kid not in known and key.location is not None:
                        with suppress(Unavailable, Misconfigured):  # what nobody knows of does no harm
                            self._places.open(key.place).destroy(key.location)

    def add(self, tx: Transaction, new: signer.NewKey, *, trace: Trace) -> None:
        """Step: let the database know of a new key."""
        sealed = None
        if new.private is not None:
            sealed = self._envelope.seal(tx, PRIVATE_KEYS.purpose, new.private, *store.key_place(new.key.kid))
        store.add_key(tx, new.key, sealed)
        facts = {"purpose": new.key.purpose, "algorithm": new.key.algorithm, "state": new.key.state}
        self._audit.record(tx, Event("key.created", trace=trace, kid=new.key.kid, new=facts))

    def load(self, key: SigningKey) -> signer.Sign:
        """What signs with the key. Raises KeyGone, Misconfigured (its private half is not what it was), Unavailable."""
        if key.location is None:
            return self._unseal(key)
        sign = self._places.open(key.place).signer(key.location, key.algorithm)
        try:
            VerificationKey.from_jwk(key.public_jwk).verify(sign(PROBE), PROBE)
        except (Refused, ValueError, TypeError):
            raise Misconfigured([f"{key.location}: not the private half of the signing key {key.kid}"]) from None
        return sign

    def _unseal(self, key: SigningKey) -> signer.Sign:
        if key.sealed is None:
            raise KeyGone(private=f"the private half of {key.kid} is destroyed")
        try:
            with self._work.platform(writes=False) as tx:
                private = self._envelope.open(tx, key.sealed, *store.key_place(key.kid))
        except SealBroken:
            raise Misconfigured([f"the signing key {key.kid} does not open under this master key"]) from None
        return signer.signer(signer.deserialize(private), key.algorithm)

    def retire_expired(self) -> int:
        """Retire keys whose last token has expired, and destroy private halves in the database. Answers how many."""
        with self._work.platform() as tx:
            if count := store.retire_expired(tx, int(self._clock())):
                self._audit.record(tx, Event("keys.retired", trace=BY_ITSELF, count=count))
        return count

    def destroy_leftovers(self) -> Iterator[str]:
        """Destroy private halves, elsewhere than in the database, of keys that do nothing any more. Answers which.

        What can't be destroyed now stays noted for the next time, and is no reason not to try the others. Raises
        Misconfigured, Unavailable, in the end.
        """
        failure: PayymoError | None = None
        for kid, location in self.list_leftovers():
            try:
                self._places.open(place_of(location)).destroy(location)
            except (Misconfigured, Unavailable) as error:
                failure = error
                continue
            with self._work.platform() as tx:
                store.forget_location(tx, kid)
                self._audit.record(tx, Event("key.destroyed", trace=BY_ITSELF, kid=kid))
            yield kid
        if failure is not None:
            raise failure

    def list_leftovers(self) -> tuple[tuple[str, str], ...]:
        """Keys that do nothing any more, and where private halves of theirs still are."""
        with self._work.platform(writes=False) as tx:
            return store.list_leftovers(tx)

    def _make(self, purpose: Purpose, state: State) -> signer.NewKey:
        place, algorithm = self._policy.place_of(purpose), self._policy.algorithm_of(purpose)
        location, private = None, None
        if place == DATABASE:
            key = signer.generate(algorithm)
            public, private = key.public_key(), signer.serialize(key)
        else:
            public, location = self._places.open(place).make(algorithm)
        described = signer.describe_key(public, purpose, state, self._policy, int(self._clock()))
        return signer.NewKey(replace(described, location=location), private)
