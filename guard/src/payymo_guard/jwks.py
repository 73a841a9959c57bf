"""The issuer's published keys: fetched ahead of time, kept for as long as the issuer allows, and not a second longer.

A key that is unchanged stays the same object: what is remembered of tokens hangs on it. A name that nobody knows makes
us look again, but once in a while only, whoever invents how many names.
"""

import math
import os
import re
import threading
from collections.abc import Callable
from typing import Final

from payymo_guard.discovery import Endpoints
from payymo_guard.http import Client, Unreachable
from payymo_guard.keyset import MAX_DOCUMENT_BYTES, KeySet, VerificationKey

COOL_DOWN_SECONDS: Final = 30
"""Between two looks for keys that were not known."""
FETCH_SECONDS: Final = 5
LOOK_SECONDS: Final = 2
"""A request of a stranger waits for a fetch no longer than this."""
MAX_AGE: Final = range(10, 86_400 + 1)
_MAX_AGE = re.compile(r"(?:^|[ ,])max-age=([0-9]{1,9})(?:$|[ ,])")


class PublishedKeys:
    """The keys of one JWK set. `find` may be called by any thread, and takes no lock for a key that is there."""

    def __init__(self, is_revoked: Callable[[str], bool], elapsed: Callable[[], float]) -> None:
        self.usable_until = -math.inf
        """In elapsed time. Also when they can't be fetched again: then nobody could tell us that one is compromised."""
        self.due_at = -math.inf
        """When they should be fetched again, in elapsed time."""
        self._is_revoked = is_revoked
        self._elapsed = elapsed
        self._keys: dict[str, VerificationKey] = {}
        self._server: tuple[Client, Endpoints] | None = None
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._is_fetching = False
        self._look_from = -math.inf

    @property
    def kids(self) -> tuple[str, ...]:
        """The names of the keys that are there."""
        return tuple(self._keys)

    def connect(self, client: Client, endpoints: Endpoints) -> None:
        """Fetch them from there from now on."""
        self._server = client, endpoints

    def renew(self) -> None:
        """After a fork, in the child: the keys stay, connections and locks don't."""
        self._server = None
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._is_fetching = False

    def find(self, kid: str) -> VerificationKey | None:
        """The key of this name, or None."""
        return self._keys.get(kid) or self._look_for(kid)

    def refresh(self, timeout_seconds: float = FETCH_SECONDS) -> None:
        """Fetch them. Raises Unreachable, and leaves what is there."""
        with self._lock:
            self._fetch(timeout_seconds)

    def _look_for(self, kid: str) -> VerificationKey | None:
        """Fetch once more, unless it was tried a while ago. Who comes meanwhile waits for what that one finds."""
        # Of a fork that Python was not told of, connections and locks are the parent's. And who can't look yet, because
        # it is not known where, uses up no turn.
        if self._pid != os.getpid() or self._server is None:
            return None
        if self._is_revoked(kid) or (not self._is_fetching and self._elapsed() < self._look_from):
            return None
        if not self._lock.acquire(timeout=LOOK_SECONDS):
            return None
        try:
            found = self._keys.get(kid)
            if found is not None or self._elapsed() < self._look_from:
                return found
            self._look_from = self._elapsed() + COOL_DOWN_SECONDS
            self._fetch(LOOK_SECONDS)
            return self._keys.get(kid)
        except Unreachable:
            return None
        finally:
            self._lock.release()

    def _fetch(self, timeout_seconds: float) -> None:
        """Only while holding the lock."""
        if self._server is None:
            raise Unreachable("keys: where they are is not known yet")
        client, endpoints = self._server
        sent = self._elapsed()
        self._is_fetching = True
        try:
            answer = client.request(
                "GET", endpoints.jwks, headers={}, timeout_seconds=timeout_seconds, max_bytes=MAX_DOCUMENT_BYTES
            )
            body = answer.require_ok("keys")
            try:
                published = KeySet.from_jwks(body)
            except ValueError as error:
                raise Unreachable(f"keys: {error}") from error
        finally:
            self._is_fetching = False
        self._keys = {key.kid: self._same(key) for key in published if not self._is_revoked(key.kid)}
        max_age = _max_age(answer.headers.get("cache-control", ""), endpoints.jwks_max_age_seconds)
        began = sent - answer.age_seconds  # in a cache between, part of their time has passed (RFC 9111 §4.2)
        self.usable_until, self.due_at = began + max_age, max(began + max_age / 2, sent + MAX_AGE.start / 2)

    def _same(self, key: VerificationKey) -> VerificationKey:
        """The object that is there already, if it is the same key."""
        known = self._keys.get(key.kid)
        is_same = known is not None and known.algorithm == key.algorithm and known.public_key == key.public_key
        return known if known is not None and is_same else key


def _max_age(cache_control: str, otherwise: int) -> int:
    found = _MAX_AGE.search(cache_control.lower())
    seconds = int(found[1]) if found else otherwise
    return min(max(seconds, MAX_AGE.start), MAX_AGE.stop - 1)
