"""The keys as this process knows them: read again when they are a second old, private halves loaded once.

Reading needs no lock. What is known is never older than `FRESH_SECONDS`, unless the database does not answer.
"""

import threading
from dataclasses import dataclass
from types import MappingProxyType

from payymo.clock import Clock
from payymo.db.work import Work
from payymo.errors import Unavailable
from payymo.keys import store
from payymo.keys.keeper import KeyGone, KeyKeeper
from payymo.keys.model import PURPOSES, Purpose, SigningKey
from payymo.keys.signer import Sign
from payymo_guard import VerificationKey

FRESH_SECONDS = 1.0
"""How long a process relies on what it has read. Looking again costs one small query per second and process."""
SEARCH_SECONDS = 0.1
"""How often an unknown kid makes a process look again at once."""


@dataclass(frozen=True, slots=True)
class Ring:
    """A snapshot, replaced as a whole, so that readers need no lock."""

    keys: tuple[SigningKey, ...]
    verification: MappingProxyType[tuple[Purpose, str], VerificationKey]
    active: MappingProxyType[Purpose, str]
    read_at: float

    def active_kid(self, purpose: Purpose) -> str:
        """The kid of the key that signs. Raises Unavailable."""
        found = self.active.get(purpose)
        if found is None:
            raise Unavailable(private=f"there is no {purpose} key that signs")
        return found


class KnownKeys:
    """What this process has read, and the keys that it signs with. Thread-safe."""

    def __init__(self, work: Work, keeper: KeyKeeper, clock: Clock) -> None:
        self._work = work
        self._keeper = keeper
        self._clock = clock
        self._signers: dict[str, Sign] = {}
        self._reading = threading.Lock()
        self._searched_at = float("-inf")
        self._ring = Ring((), MappingProxyType({}), MappingProxyType({}), float("-inf"))

    def is_loaded(self, kid: str) -> bool:
        """Whether the private half is at hand."""
        return kid in self._signers

    def load(self, key: SigningKey) -> Sign:
        """What signs with this key, fetched anew. Raises KeyGone, Misconfigured, Unavailable."""
        sign = self._signers[key.kid] = self._keeper.load(key)
        return sign

    def load_active(self) -> None:
        """Fetch what signs now. Raises as `load` does."""
        for key in self.read().keys:
            if key.state == "active":
                self.load(key)

    def require_signers(self) -> int:
        """How many keys sign, one for each purpose. Raises as `load` does, for the first that could not sign now."""
        for purpose in PURPOSES:
            self.signer_of(self.get(purpose, self.fresh().active_kid(purpose)))
        return len(PURPOSES)

    def signer_of(self, key: SigningKey) -> Sign:
        """What signs with this key. Raises as `load` does."""
        return self._signers.get(key.kid) or self.load(key)

    def get(self, purpose: Purpose, kid: str) -> SigningKey:
        """A key that still verifies. Raises KeyGone, Unavailable."""
        found = next((key for key in self.fresh().keys if (key.purpose, key.kid) == (purpose, kid)), None)
        if found is None:
            raise KeyGone(private=f"there is no signing key {kid}")
        return found

    def find(self, purpose: Purpose, kid: str) -> VerificationKey | None:
        """The public half of a key that still verifies, or None.

        An unknown kid may be one that another process has made a moment ago: then it is looked for once more.
        Strangers can name kids, too, so that this happens at most ten times a second.
        """
        found = self.fresh().verification.get((purpose, kid))
        if found is None and not 0 <= self._clock() - self._searched_at < SEARCH_SECONDS:
            self._searched_at = self._clock()
            try:
                found = self.read().verification.get((purpose, kid))
            except Unavailable:
                return None
        return found

    def fresh(self) -> Ring:
        """What is known, a second old at most while the database answers. Raises Unavailable: nothing is known yet."""
        ring = self._ring
        if 0 <= self._clock() - ring.read_at < FRESH_SECONDS:  # a clock that went back makes nothing fresh
            return ring
        if not self._reading.acquire(blocking=not ring.keys):
            return ring  # another thread is reading; what we have is a second old at most
        try:
            return self.read()
        except Unavailable:
            # What is in memory still tells garbage from tokens; whether a token counts is asked of the database anyway,
            # and that question fails closed. Calling every token false during an outage would log everybody out.
            if not ring.keys:
                raise
            return ring
        finally:
            self._reading.release()

    def read(self) -> Ring:
        """What is there now. Raises Unavailable."""
        now = self._clock()
        with self._work.platform(writes=False) as tx:
            keys = tuple(key for key in store.list_keys(tx) if key.verifies_at(int(now)))
        known = {old.kid: old for old in self._ring.verification.values()}
        verification = {
            (key.purpose, key.kid): known.get(key.kid) or VerificationKey.from_jwk(key.public_jwk) for key in keys
        }
        active = {key.purpose: key.kid for key in keys if key.state == "active"}
        for gone in self._signers.keys() - {key.kid for key in keys}:
            self._signers.pop(gone, None)  # what is destroyed in the database is forgotten here, too
        self._ring = Ring(keys, MappingProxyType(verification), MappingProxyType(active), now)
        return self._ring
