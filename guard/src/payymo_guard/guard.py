"""The guard of a resource server: verifies tokens, and knows what was revoked since they were issued.

Decides by what is in memory. How keys and revocations get there is the source's business (`payymo_guard.follower`).
"""

import os
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from payymo_guard.claims import Claims
from payymo_guard.discovery import Reach
from payymo_guard.elapsed import system_elapsed
from payymo_guard.errors import Refused
from payymo_guard.follower import Follower
from payymo_guard.keyset import VerificationKey
from payymo_guard.revocations import Revocations
from payymo_guard.source import Source
from payymo_guard.staleness import Staleness, WhenStale
from payymo_guard.verify import AHEAD_SECONDS, Verifier

_system_clock: Final = time.time  # noqa: TID251 - the default of the one parameter by which time is handed in


@dataclass(frozen=True, slots=True)
class GuardStatus:
    """What a guard knows, for people and for metrics."""

    stale_seconds: float
    """How old its knowledge of revocations is; infinite before it has any."""
    entries: int
    cursor: str | None
    kids: tuple[str, ...]
    started_at: float | None
    """When it began to follow the feed, in seconds since 1970."""
    is_trusted: bool
    """False: the feed told something that this version does not understand, and nothing counts as fresh."""
    last_error: str | None


class Guard:
    """Verifies access tokens of one issuer for one audience, and refuses what is revoked. May be shared by threads.

    Begins to follow the issuer with the first token, or with `start`. Make one in each application, before or after it
    forks.
    """

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        credential: str | None = None,
        tenant_id: str | None = None,
        leeway_seconds: int = 0,
        cache_size: int = 10_000,
        max_stale_seconds: float = 10,
        when_stale: WhenStale = "refuse",
        accept_stale_seconds: float | None = None,
        start_seconds: float = 5,
        discovery_url: str | None = None,
        ca_file: str | Path | None = None,
        clock: Callable[[], float] = _system_clock,
        elapsed: Callable[[], float] = system_elapsed,
        source: Callable[[Revocations], Source] | None = None,
    ) -> None:
        """`credential`: the service's own, that lets it read the feed. `tenant_id`: let in tokens of this tenant alone.

        `start_seconds`: how long the first request waits for keys and feed. `discovery_url`: where the metadata is, if
        not at the issuer. `elapsed`, `source`: for tests. Raises ValueError.
        """
        self.staleness = Staleness(max_stale_seconds, when_stale, accept_stale_seconds)
        self.revocations = Revocations()
        self.tenant_id = tenant_id
        self._clock = clock
        self._elapsed = elapsed
        self._leeway, self._ahead = leeway_seconds, max(leeway_seconds, AHEAD_SECONDS)
        self._limit = max_stale_seconds
        self._verifier: Verifier[Claims] = Verifier(
            issuer=issuer,
            audience=audience,
            keys=self._find_key,
            leeway_seconds=leeway_seconds,
            clock=clock,
            cache_size=cache_size,
        )
        if source is None:
            reach = Reach(issuer, credential, discovery_url, None if ca_file is None else Path(ca_file), start_seconds)
            guard = weakref.ref(self)  # the thread must not keep alive what nobody else wants
            self._source: Source = Follower(
                reach,
                self.revocations,
                max_stale_seconds,
                clock=clock,
                elapsed=elapsed,
                is_wanted=lambda: guard() is not None,
            )
        else:
            self._source = source(self.revocations)
        self._keys = self._source.keys
        self._recall = self._verifier.remembered.get
        _guards.add(self)

    def verify(self, token: str, *, tenant_id: str | None = None, staleness: Staleness | None = None) -> Claims:
        """Return the claims of a token that is valid here and now and not revoked, or raise Refused.

        Of `revocations_stale` and `keys_unavailable` the token is not to blame (`payymo_guard.errors.UNAVAILABLE`).
        """
        # The usual token was here before and nothing was revoked since. All of that in one place, for each request
        # passes here. How new the knowledge is has to be read before the knowledge.
        try:
            revocations, keys = self.revocations, self._keys
            as_of, revision, passed = revocations.as_of, revocations.revision, self._elapsed()
            known = self._recall(token) if type(token) is str else None
            if (
                known is None
                or not passed - as_of <= self._limit
                or not passed <= keys.usable_until
                or staleness is not None
                or keys.find(known.key.kid) is not known.key
            ):
                return self._verify_anew(token, tenant_id, staleness or self.staleness, passed)
            claims, now = known.claims, self._clock()
            latest = now + self._ahead
            if not (now < claims.exp + self._leeway and claims.nbf <= latest and claims.iat <= latest):
                self._verifier.check_now(claims, None)
            if known.revision != revision:
                revocations.check(claims, known.key.kid)
                known.revision = revision
            self._require_tenant(claims, tenant_id)
        except Refused:
            raise
        except Exception as error:
            # Whatever this was, the token has not passed every check, and it may not be its fault.
            raise Refused("revocations_stale") from error
        return claims

    def start(self) -> None:
        """Begin to follow the issuer, instead of with the first token. Does not wait."""
        self._source.start()

    def close(self) -> None:
        """Stop following. Nothing is accepted once what is known has become stale."""
        self._source.close()

    def status(self) -> GuardStatus:
        """What is known, and how things are going."""
        found, revocations = self._source.status(), self.revocations
        return GuardStatus(
            stale_seconds=max(0.0, self._elapsed() - revocations.as_of),
            entries=len(revocations),
            cursor=found.cursor,
            kids=found.kids,
            started_at=found.started_at,
            is_trusted=revocations.is_trusted,
            last_error=found.last_error,
        )

    def __enter__(self) -> "Guard":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _verify_anew(self, token: str, tenant_id: str | None, staleness: Staleness, passed: float) -> Claims:
        """The same, with everything that may have to be done first: begin, wait, prove, look up, ask."""
        revocations, limit = self.revocations, staleness.max_stale_seconds
        if not passed - revocations.as_of <= limit:
            self._source.start()
            self._source.wait()
        # May take seconds: it looks for keys that are not known.
        proven = self._verifier.recall(token) or self._verifier.prove(token)
        as_of, revision, passed = revocations.as_of, revocations.revision, self._elapsed()
        self._verifier.check_now(proven.claims, None)
        if tenant_id is not None or self.tenant_id is not None:
            self._require_tenant(proven.claims, tenant_id)
        if proven.revision != revision:
            revocations.check(proven.claims, proven.key.kid)
            proven.revision = revision
        if not passed - as_of <= limit:
            self._require_policy(token, passed - as_of, staleness)
        return proven.claims

    def _require_policy(self, token: str, stale_seconds: float, staleness: Staleness) -> None:
        """What is left to the policy: a token against which nothing is known, but not by knowledge that is new."""
        if staleness.when_stale == "ask":
            self._source.ask(token)
        elif staleness.accept_stale_seconds is None or not stale_seconds <= staleness.accept_stale_seconds:
            raise Refused("revocations_stale")

    def _require_tenant(self, claims: Claims, tenant_id: str | None) -> None:
        """The tenant of the guard and the one that the request is about."""
        mine = claims.tenant_id
        if (tenant_id is not None and mine != tenant_id) or (self.tenant_id is not None and mine != self.tenant_id):
            raise Refused("tenant_wrong")

    def _find_key(self, kid: str) -> VerificationKey | None:
        """A key that is revoked may be there still: `Revocations.check` refuses whatever it has proved."""
        if not self._elapsed() <= self._keys.usable_until:
            self._source.start()  # in a child of which nobody told us, nobody fetches them, whatever else is new enough
            raise Refused("keys_unavailable")
        key = self._keys.find(kid)
        if key is None:
            self._source.start()  # the same
            self.revocations.check_key(kid)  # that it was revoked says more than that nobody knows it
        return key

    def _after_fork(self) -> None:
        self.revocations.distrust_copy()
        self._verifier.renew_locks()
        self._source.after_fork()


_guards: "weakref.WeakSet[Guard]" = weakref.WeakSet()


def _after_fork() -> None:
    for guard in list(_guards):
        guard._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
