"""What must no longer be accepted, in order: written when sessions end, asked on every protected route.

`seq` has no gaps and becomes visible in order, so that a reader who has seen n has seen everything before n. An entry
lives as long as the tokens that it refuses; expired ones are pruned in small batches.
"""

import uuid

from payymo.clock import Clock
from payymo.db.work import Transaction, Work
from payymo.sessions import store
from payymo.sessions.model import Ended, Reason


class Revocations:
    """Ends sessions and remembers it for as long as one of their access tokens could live."""

    def __init__(self, work: Work, clock: Clock) -> None:
        self._work = work
        self._clock = clock
        self._is_refused = work.question(store.IS_REFUSED)

    def is_refused(self, tenant_id: uuid.UUID, *, token_id: uuid.UUID, session_id: uuid.UUID) -> bool:
        """Whether a token, valid in itself, must not be accepted: revoked, session ended, tenant suspended or gone."""
        status, revoked = self._is_refused.ask(tenant_id, token=token_id, session=session_id)
        return bool(revoked) or status != "active"

    def revoke_token(
        self, tenant_id: uuid.UUID, user_id: uuid.UUID, *, token_id: uuid.UUID, expires_at: int, reason: str
    ) -> None:
        """Refuse one access token from now on; its session goes on. Revoking twice succeeds."""
        with self._work(tenant_id) as tx:
            if not store.lock_is_revoked(tx, token_id):
                ended = Ended(token_id, user_id, expires_at)
                store.add_revocations(tx, [ended], kind="token", reason=reason, now=int(self._clock()))

    def end_one(self, tx: Transaction, session_id: uuid.UUID, *, of_user: uuid.UUID, reason: Reason) -> int:
        """Step: end one session of a user. Answers how many ended."""
        now = int(self._clock())
        return self._record(tx, store.end_one(tx, session_id, of_user=of_user, now=now, reason=reason), reason, now)

    def end_of_user(self, tx: Transaction, user_id: uuid.UUID, *, reason: Reason) -> int:
        """Step: end every session of a user. Answers how many ended."""
        now = int(self._clock())
        return self._record(tx, store.end_of_user(tx, user_id, now=now, reason=reason), reason, now)

    def end_all(self, tx: Transaction, *, reason: Reason) -> int:
        """Step: end every session of the tenant. Answers how many ended."""
        now = int(self._clock())
        return self._record(tx, store.end_all(tx, now=now, reason=reason), reason, now)

    def _record(self, tx: Transaction, ended: list[Ended], reason: Reason, now: int) -> int:
        if ended:
            store.add_revocations(tx, ended, kind="session", reason=reason, now=now)
        return len(ended)

    def prune(self, *, batch: int = 500) -> int:
        """Forget one batch of what expired. Answers how many rows went; call again until it answers 0.

        Small batches keep each lock short, so that logins and refreshes don't wait for the cleaner.
        """
        now = int(self._clock())
        with self._work.platform() as tx:
            return store.prune_revocations(tx, now=now, count=batch) + store.prune_sessions(tx, now=now, count=batch)
