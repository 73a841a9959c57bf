"""The feed: written in the transaction that revokes, asked on every protected route, read by who verifies elsewhere.

`seq` has no gaps and becomes visible in order, so that a reader who has seen n has seen everything before n. An entry
lives as long as the tokens that it refuses; expired ones are pruned in small batches.
"""

import uuid
from collections.abc import Sequence
from typing import Final, NamedTuple

from payymo.audit.log import AuditLog
from payymo.clock import Clock
from payymo.db.work import Transaction, Work
from payymo.entropy import Entropy
from payymo.feed import store
from payymo.feed.model import Bearer, Cursor, Kind, Page, Subject
from payymo.logs import Event, Trace

PAGE: Final = 5000
"""Entries in an answer at most."""
NEWS: Final = 100
"""Places up to which pages are kept, and entries in such a page at most: what followers that keep up ask for."""
MANY_HOLDERS: Final = 1000
"""When a role of more people changes, one mark for their tenant is cheaper for everybody."""


class _News(NamedTuple):
    """What has been read up to a head, by the place behind which it begins."""

    head: Cursor
    pages: dict[str, Page]

    def keep(self, text: str, page: Page) -> None:
        """Keep a page, if it is one of few and small."""
        if len(self.pages) < NEWS and len(page.entries) <= NEWS:
            self.pages[text] = page


class Feed:
    """Entries in order. What revokes calls a step inside its own transaction, and calls it last."""

    def __init__(self, work: Work, clock: Clock, entropy: Entropy, *, access_ttl_seconds: int, audit: AuditLog) -> None:
        self._work = work
        self._clock = clock
        self._entropy = entropy
        self._ttl = access_ttl_seconds
        self._audit = audit
        self._is_refused = work.question(store.IS_REFUSED)
        self._is_refused_elsewhere = work.question(store.IS_REFUSED_ELSEWHERE)
        self._head = work.question(store.HEAD)
        self._news = _News(Cursor(-1, ""), {})

    def is_refused(self, bearer: Bearer, *, elsewhere: bool = False) -> bool:
        """Whether a token, valid in itself, must not be accepted: revoked, session ended, tenant suspended or gone.

        `elsewhere`: by somebody who goes by the permissions in it. Then they must not have changed either.
        """
        question = self._is_refused_elsewhere if elsewhere else self._is_refused
        status, revoked = question.ask(
            bearer.tenant_id,
            token=bearer.token_id,
            session=bearer.session_id,
            user=bearer.user_id,
            tenant=bearer.tenant_id,
            position=bearer.position,
        )
        return bool(revoked) or status != "active"

    def revoke_token(
        self,
        tenant_id: uuid.UUID,
        user_id: uuid.UUID | None,
        *,
        token_id: uuid.UUID,
        expires_at: int,
        reason: str,
        trace: Trace,
    ) -> None:
        """Refuse one access token from now on; its session goes on. Revoking twice succeeds.

        `user_id`: None of an API key's.
        """
        with self._work(tenant_id) as tx:
            if not store.lock_is_revoked(tx, token_id):
                self.add(tx, "token", [Subject(token_id, user_id, expires_at)], reason=reason)
                new = {"jti": str(token_id)}
                self._audit.record(tx, Event("token.revoked", trace=trace, user_id=user_id, reason=reason, new=new))

    def add(self, tx: Transaction, kind: Kind, subjects: Sequence[Subject], *, reason: str) -> None:
        """Step: refuse these from now on."""
        if subjects:
            now = int(self._clock())
            store.add(tx, kind, subjects, reason=reason, now=now, nonce=self._entropy.token(8))

    def permissions_changed(self, tx: Transaction, holders: Sequence[uuid.UUID]) -> None:
        """Step: what these users may do has changed. Their tokens say what they could do before, and count no more.

        Whether somebody has a token is not asked: one may be on its way. More than `MANY_HOLDERS` stand for everybody.
        """
        if len(holders) > MANY_HOLDERS and tx.tenant_id is not None:
            everybody = Subject(tx.tenant_id, None, self.live_until(tx))
            self.add(tx, "permissions", [everybody], reason="role-changed")
        elif holders:
            until = self.live_until(tx, of_users=holders)
            subjects = [Subject(user_id, user_id, until) for user_id in holders]
            self.add(tx, "permissions", subjects, reason="role-changed")

    def key_revoked(self, tx: Transaction, kid: str, *, live_until: int) -> None:
        """Platform step: whatever this key has signed is refused."""
        self._add_for_service(tx, "key", kid, live_until)

    def tenant_deleted(self, tx: Transaction, tenant_id: uuid.UUID) -> None:
        """Platform step: tokens of the tenant are refused, also when its own entries are gone."""
        with tx.within(tenant_id) as own:
            until = self.live_until(own)
        self._add_for_service(tx, "tenant", str(tenant_id), until)

    def live_until(self, tx: Transaction, *, of_users: Sequence[uuid.UUID] | None = None) -> int:
        """Step: as long as a token lives that is on its way, or one from before lifetimes were shortened."""
        return max(int(self._clock()) + self._ttl, store.find_live_until(tx, of_users=of_users))

    def _add_for_service(self, tx: Transaction, kind: Kind, subject: str, live_until: int) -> None:
        nonce, now = self._entropy.token(8), int(self._clock())
        store.add_for_service(tx, kind, subject, live_until=live_until, now=now, nonce=nonce)

    def head(self) -> Cursor:
        """Where the feed ends now. Raises Unavailable."""
        seq, nonce = self._head.ask()
        return Cursor(seq, nonce)

    def last(self) -> tuple[int, int | None]:
        """The number of the newest entry, and when it was made; None when it is gone, or there was none yet."""
        with self._work.platform(writes=False) as tx:
            return store.find_last(tx)

    def read(self, text: str | None, *, count: int = PAGE) -> Page:
        """What comes after a follower's place; from the beginning, when there is none or it is no place of ours.

        The beginning is whatever has not expired: a snapshot. Raises Unavailable.

        Whoever follows asks for nothing but news, all of them for the same at the same time. A head is of one history
        (its nonce), so what comes between a place and a head is read once, and never is another.
        """
        if not text:
            return self._read(None, count)
        head = self.head()  # first: what is answered goes at least as far
        if text == str(head):
            return Page((), head, more=False, restart=False)
        if self._news.head != head:
            self._news = _News(head, {})
        news = self._news
        known = news.pages.get(text)
        if known is not None and len(known.entries) < count:
            return known
        page = self._read(text, count)
        if page.cursor == head and not (page.more or page.restart):
            news.keep(text, page)
        return page

    def _read(self, text: str | None, count: int) -> Page:
        place = Cursor.parse(text) if text else None
        with self._work.platform(writes=False) as tx:
            head = store.find_head(tx)  # first: what is read afterwards goes at least as far
            restart = bool(text) and not (place and self._is_ours(tx, place, head))
            after = 0 if place is None or restart else place.seq
            entries = store.read(tx, after=after, count=count)
        more = bool(entries) and entries[0].cursor.seq + count <= head.seq
        last = entries[-1].cursor if entries else head
        if not more and last.seq < head.seq:
            last = head
        return Page(entries, last, more, restart)

    @staticmethod
    def _is_ours(tx: Transaction, place: Cursor, head: Cursor) -> bool:
        """Whether the place is one of this history, as far as that can still be seen.

        The entry at the place says so, too: between two pages there are gaps where something has expired.
        """
        if place.seq >= head.seq:
            return place == head
        return place.nonce in store.list_nonces(tx, place.seq)

    def prune(self, *, batch: int) -> int:
        """Forget one batch of what has expired. Answers how many rows went."""
        with self._work.platform() as tx:
            return store.prune(tx, now=int(self._clock()), count=batch)
