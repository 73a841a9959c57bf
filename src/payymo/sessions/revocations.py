"""Ends sessions, and tells the feed, in the same transaction: so that what is over is refused everywhere."""

import uuid

from payymo.audit.log import AuditLog
from payymo.clock import Clock
from payymo.db.work import Transaction, Work
from payymo.feed.model import Subject
from payymo.feed.service import Feed
from payymo.logs import BY_ITSELF, Event
from payymo.sessions import store
from payymo.sessions.model import Reason


class Revocations:
    """Ends sessions and has it remembered for as long as one of their access tokens could live."""

    def __init__(self, work: Work, clock: Clock, feed: Feed, *, access_ttl_seconds: int, audit: AuditLog) -> None:
        self._work = work
        self._clock = clock
        self._feed = feed
        self._ttl = access_ttl_seconds
        self._audit = audit

    def end_one(self, tx: Transaction, session_id: uuid.UUID, *, of_user: uuid.UUID, reason: Reason) -> int:
        """Step: end one session of a user. Answers how many ended."""
        ended = store.end_one(tx, session_id, of_user=of_user, now=int(self._clock()), reason=reason)
        self._feed.add(tx, "session", ended, reason=reason)
        return len(ended)

    def end_of_user(self, tx: Transaction, user_id: uuid.UUID, *, reason: Reason) -> int:
        """Step: end every session of a user. Answers how many ended. One mark says it of several."""
        ended = store.end_of_user(tx, user_id, now=int(self._clock()), reason=reason)
        if len(ended) > 1:
            until = max(session.live_until for session in ended)
            self._feed.add(tx, "user", [Subject(user_id, user_id, until)], reason=reason)
        else:
            self._feed.add(tx, "session", ended, reason=reason)
        return len(ended)

    def end_others(self, tx: Transaction, user_id: uuid.UUID, *, kept: uuid.UUID, reason: Reason) -> int:
        """Step: end every session of a user but one. Answers how many ended."""
        ended = store.end_others(tx, user_id, kept=kept, now=int(self._clock()), reason=reason)
        self._feed.add(tx, "session", ended, reason=reason)
        return len(ended)

    def end_all(self, tx: Transaction, *, reason: Reason) -> int:
        """Step: end every session of the tenant. Answers how many ended.

        One mark says it of all, also when there was none: a login may be under way, and its token with it.
        """
        now = int(self._clock())
        until = max(now + self._ttl, store.find_live_until(tx))
        ended = store.end_all(tx, now=now, reason=reason)
        if tx.tenant_id is not None:
            self._feed.add(tx, "tenant", [Subject(tx.tenant_id, None, until)], reason=reason)
        return ended

    def prune(self, *, batch: int = 500) -> int:
        """Forget one batch of what expired. Answers how many rows went; call again until it answers 0.

        Small batches keep each lock short, so that logins and refreshes don't wait for the cleaner.
        """
        with self._work.platform() as tx:
            sessions = store.prune_sessions(tx, now=int(self._clock()), count=batch)
            if sessions:
                self._audit.record(tx, Event("sessions.pruned", trace=BY_ITSELF, count=sessions))
        return sessions + self._feed.prune(batch=batch)
