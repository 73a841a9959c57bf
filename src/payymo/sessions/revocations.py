"""Ends sessions, and tells the feed, in the same transaction: so that what is over is refused everywhere."""

import uuid
from collections.abc import Sequence
from dataclasses import replace

from payymo.audit.log import AuditLog
from payymo.clock import Clock
from payymo.db.work import Transaction, Work
from payymo.feed.model import Subject
from payymo.feed.service import MANY_HOLDERS, Feed
from payymo.logs import BY_ITSELF, Event, Trace
from payymo.sessions import ending_rows
from payymo.sessions.model import Ended, Reason


class Revocations:
    """Ends sessions and has it remembered for as long as one of their access tokens could live."""

    def __init__(self, work: Work, clock: Clock, feed: Feed, *, audit: AuditLog) -> None:
        self._work = work
        self._clock = clock
        self._feed = feed
        self._audit = audit

    def end_one(
        self,
        tx: Transaction,
        session_id: uuid.UUID,
        *,
        of_user: uuid.UUID,
        reason: Reason,
        trace: Trace = BY_ITSELF,
    ) -> int:
        """Step: end one session of a user, and those in which they act as somebody since. Answers how many ended.

        The session first: who is about to act from it has it locked, and is found afterwards.
        """
        now = int(self._clock())
        ended = ending_rows.end_one(tx, session_id, of_user=of_user, now=now, reason=reason)
        acted = ending_rows.end_acted(tx, of_user, session_id=session_id, now=now, reason="actor-ended")
        self._note_acted(tx, ended, reason, trace)
        self._note_acted(tx, acted, "actor-ended", BY_ITSELF)
        self._feed.add(tx, "session", [*ended, *acted], reason=reason)
        return len(ended)

    def end_of_user(self, tx: Transaction, user_id: uuid.UUID, *, reason: Reason) -> int:
        """Step: end every session of a user, and in which they act as somebody. Answers how many of theirs ended.

        One mark says it of several.
        """
        now = int(self._clock())
        ended = ending_rows.end_of_user(tx, user_id, now=now, reason=reason)
        acted = self._end_acted(tx, user_id, now)
        self._note_acted(tx, ended, reason, BY_ITSELF)
        if len(ended) > 1:
            until = max(session.live_until for session in ended)
            self._feed.add(tx, "user", [Subject(user_id, user_id, until)], reason=reason)
            self._feed.add(tx, "session", acted, reason="actor-ended")
        else:
            self._feed.add(tx, "session", [*ended, *acted], reason=reason)
        return len(ended)

    def end_others(self, tx: Transaction, user_id: uuid.UUID, *, kept: uuid.UUID, reason: Reason) -> int:
        """Step: end every session of a user but one, and in which they act as somebody. Answers how many of theirs."""
        now = int(self._clock())
        ended = ending_rows.end_others(tx, user_id, kept=kept, now=now, reason=reason)
        acted = self._end_acted(tx, user_id, now)
        self._note_acted(tx, ended, reason, BY_ITSELF)
        self._feed.add(tx, "session", [*ended, *acted], reason=reason)
        return len(ended)

    def permissions_changed(self, tx: Transaction, holders: Sequence[uuid.UUID]) -> None:
        """Step: what these users may do has changed: tokens that say otherwise count no more.

        Whoever of them acts as somebody, or is acted as, might get more than the one who acts has: that ends.
        """
        everybody = len(holders) > MANY_HOLDERS
        acted = ending_rows.end_acted_around(
            tx, None if everybody else holders, now=int(self._clock()), reason="permissions-changed"
        )
        self._note_acted(tx, acted, "permissions-changed", BY_ITSELF)
        self._feed.add(tx, "session", acted, reason="permissions-changed")
        self._feed.permissions_changed(tx, holders)

    def _end_acted(self, tx: Transaction, by: uuid.UUID, now: int) -> list[Ended]:
        acted = ending_rows.end_acted(tx, by, now=now, reason="actor-ended")
        self._note_acted(tx, acted, "actor-ended", BY_ITSELF)
        return acted

    def _note_acted(self, tx: Transaction, ended: Sequence[Ended], reason: Reason, trace: Trace) -> None:
        """Step: put on record of each in which somebody acted as another one that it has ended."""
        for one in ended:
            if one.actor_user_id is not None:
                event = Event("session.impersonation-ended", trace=trace, user_id=one.user_id, session_id=one.id)
                self._audit.record(tx, replace(event, reason=reason))

    def end_all(self, tx: Transaction, *, reason: Reason) -> int:
        """Step: end every session of the tenant. Answers how many ended.

        One mark says it of all, also when there was none: a login may be under way, and its token with it. Those in
        which somebody acts come last, as they do where one session ends, and so in no deadlock with it.
        """
        tx.take_time()  # a tenant has as many as its people have devices, and is to be suspended all the same
        until, now = self._feed.live_until(tx), int(self._clock())
        ended = ending_rows.end_all_own(tx, now=now, reason=reason)
        acted = ending_rows.end_acted_around(tx, None, now=now, reason=reason)
        self._note_acted(tx, acted, reason, BY_ITSELF)
        ended += len(acted)
        if tx.tenant_id is not None:
            self._feed.add(tx, "tenant", [Subject(tx.tenant_id, None, until)], reason=reason)
        return ended

    def prune(self, *, batch: int = 500) -> int:
        """Forget one batch of what expired. Answers how many rows went; call again until it answers 0.

        Where somebody acted as another one until the time was over, that is put on record now: nobody else saw it end.
        Small batches keep each lock short, so that logins and refreshes don't wait for the cleaner.
        """
        with self._work.platform() as tx:
            pruned = ending_rows.prune(tx, now=int(self._clock()), count=batch)
            for one in pruned:
                if one.session.actor_user_id is not None and not one.had_ended:
                    with tx.within(one.tenant_id) as own:
                        self._note_acted(own, [one.session], "expired", BY_ITSELF)
            if pruned:
                self._audit.record(tx, Event("sessions.pruned", trace=BY_ITSELF, count=len(pruned)))
        return len(pruned) + self._feed.prune(batch=batch)
