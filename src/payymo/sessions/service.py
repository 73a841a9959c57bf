"""Login, refresh, logout: the use cases. Each opens its own transactions and answers after they have committed.

Refusals that must be remembered (a refresh token that was used twice) are values until then: raising inside the
transaction would roll the memory back, and the thief's next token would work.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import assert_never

from payymo.audit.log import AuditLog
from payymo.clock import Clock
from payymo.db.work import Transaction, Work
from payymo.errors import FieldError, InvalidInput, InvalidToken, NotFound
from payymo.keys.keeper import KeyGone
from payymo.keys.model import SigningPlan
from payymo.logs import Event, Trace
from payymo.roles.service import Grants, Roles
from payymo.sessions import store
from payymo.sessions.beginning import Beginning, Begun, Terms
from payymo.sessions.model import (
    NEWEST,
    Decision,
    Device,
    Listed,
    Live,
    Over,
    Place,
    RefreshPolicy,
    Replay,
    Reused,
    Rotate,
    Session,
    TokenPair,
    decide,
)
from payymo.sessions.revocations import Revocations
from payymo.tokens import Subject, TokenMinter
from payymo.users.model import User
from payymo_guard import RefreshClaims, Refused, Verifier


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A login's outcome: who, what they hold, and the tokens."""

    user: User
    grants: Grants
    tokens: TokenPair
    session_id: uuid.UUID


@dataclass(frozen=True, slots=True)
class SessionPage:
    """Sessions of a tenant, the newest first. `next`: what the next page comes after; None: this is the last one."""

    sessions: tuple[Listed, ...]
    next: str | None


class Sessions:
    """The sessions of each tenant."""

    def __init__(
        self,
        work: Work,
        clock: Clock,
        *,
        beginning: Beginning,
        roles: Roles,
        minter: TokenMinter,
        refresh_verifier: Verifier[RefreshClaims],
        revocations: Revocations,
        policy: RefreshPolicy,
        audit: AuditLog,
    ) -> None:
        self._work = work
        self._clock = clock
        self._beginning = beginning
        self._roles = roles
        self._minter = minter
        self._refresh_verifier = refresh_verifier
        self._revocations = revocations
        self._policy = policy
        self._audit = audit
        self._access_ttl = minter.policy.access_ttl_seconds
        self._terms = Terms(policy.session_ttl_seconds, self._access_ttl, policy.refresh_ttl_seconds)

    def register(
        self,
        tenant_id: uuid.UUID,
        *,
        email: str,
        username: str,
        password: str,
        language: str | None = None,
        device: Device,
        trace: Trace,
    ) -> LoggedIn:
        """A new user of the tenant, logged in; `language`: the code of that in which they are written to.

        Raises what `Users.register` raises, TenantSuspended.
        """
        plan = self._minter.plan()
        begun, pair = self._beginning.register(
            tenant_id,
            email=email,
            username=username,
            password=password,
            language=language,
            device=device,
            terms=self._terms,
            inside=self._risky_pair(plan),
            trace=trace,
        )
        return self._logged_in(tenant_id, begun, pair, plan)

    def log_in(self, tenant_id: uuid.UUID, *, email: str, password: str, device: Device, trace: Trace) -> LoggedIn:
        """Start a session. Raises InvalidCredentials (one sentence for every reason), Overloaded."""
        plan = self._minter.plan()
        begun, pair = self._beginning.log_in(
            tenant_id,
            email=email,
            password=password,
            device=device,
            terms=self._terms,
            inside=self._risky_pair(plan),
            trace=trace,
        )
        return self._logged_in(tenant_id, begun, pair, plan)

    def _risky_pair(self, plan: SigningPlan) -> Callable[[Transaction, Begun], TokenPair | None]:
        """Makes the tokens before the commit, where making them may fail."""

        def make(tx: Transaction, begun: Begun) -> TokenPair | None:
            if not plan.may_fail or tx.tenant_id is None:
                return None
            return self._pair(_subject_of(tx.tenant_id, begun.session_id, begun.live, begun.grants), begun.live, plan)

        return make

    def _logged_in(self, tenant_id: uuid.UUID, begun: Begun, pair: TokenPair | None, plan: SigningPlan) -> LoggedIn:
        subject = _subject_of(tenant_id, begun.session_id, begun.live, begun.grants)
        return LoggedIn(begun.user, begun.grants, pair or self._pair(subject, begun.live, plan), begun.session_id)

    def refresh(self, refresh_token: str, *, tenant_id: uuid.UUID | None, trace: Trace) -> TokenPair:
        """Exchange a refresh token for its successor and a new access token.

        `tenant_id`: the tenant that the request named, if any. Raises InvalidToken, also in a suspended tenant.
        """
        claims = self._read_refresh_token(refresh_token, tenant_id)
        own, session_id, presented_id = (uuid.UUID(text) for text in (claims.tenant_id, claims.sid, claims.jti))
        plan = self._minter.plan()
        with self._work(own) as tx:
            live = self._rotate(tx, session_id, presented_id, int(self._clock()))
            outcome: Decision = Rotate()
            if live is None:
                live, outcome = self._decide(tx, session_id, presented_id)
            pair, subject = None, None
            if live is not None:
                grants = self._roles.grants_of(tx, live.user_id)
                subject = _subject_of(own, session_id, live, grants)
                # Whoever keeps the key may not answer. After the commit the client would have lost its only token.
                pair = self._pair(subject, live, plan) if plan.may_fail else None
            self._record_refresh(tx, outcome, claims, trace)
        # Only now, after the commit, may a refusal be raised.
        if live is None or subject is None:
            raise InvalidToken(private=type(outcome).__name__)
        return pair or self._pair(subject, live, plan)

    def _rotate(self, tx: Transaction, session_id: uuid.UUID, presented_id: uuid.UUID, now: int) -> Live | None:
        successor = self._beginning.refresh_token(now, seconds=self._policy.refresh_ttl_seconds)
        return store.rotate(tx, session_id, presented_id, successor, access_expires_at=now + self._access_ttl)

    def _decide(self, tx: Transaction, session_id: uuid.UUID, presented_id: uuid.UUID) -> tuple[Live | None, Decision]:
        """What comes of a token that could not simply be rotated; and what lives on, if anything does."""
        session = store.lock_session(tx, session_id)
        if session is None:
            return None, Over()
        # Only now: the clock of somebody who waited would show a time before the successor was issued.
        now = int(self._clock())
        outcome = decide(session, presented_id, now, self._policy)
        match outcome:
            case Rotate():  # its tenant was resumed a moment ago
                return self._rotate(tx, session_id, presented_id, now), outcome
            case Replay(successor):
                position = store.count_replay(tx, session_id, access_expires_at=now + self._access_ttl)
                return Live(session.user_id, session.expires_at, successor, position), outcome
            case Reused():
                self._revocations.end_one(tx, session_id, of_user=session.user_id, reason="refresh-reuse")
                return None, outcome
            case Over():
                return None, outcome
            case _:
                assert_never(outcome)

    def _read_refresh_token(self, text: str, tenant_id: uuid.UUID | None) -> RefreshClaims:
        """The signature keeps garbage away from the database; what counts is the session's row."""
        try:
            return self._refresh_verifier.verify(text, tenant_id=str(tenant_id) if tenant_id else None)
        except Refused as refused:
            raise InvalidToken(private=refused.code) from None

    def _record_refresh(self, tx: Transaction, outcome: Decision, claims: RefreshClaims, trace: Trace) -> None:
        user_id = uuid.UUID(claims.sub)
        if isinstance(outcome, Over) and not store.is_user(tx, user_id):
            trace = replace(trace, address="-")  # who was erased, days ago maybe, leaves nothing personal any more
        event = Event(
            "session.refresh",
            "success" if isinstance(outcome, Rotate | Replay) else "refused",
            trace=trace,
            user_id=user_id,
            session_id=uuid.UUID(claims.sid),
            reason=type(outcome).__name__.lower(),
        )
        self._audit.record(tx, event)

    def _pair(self, subject: Subject, live: Live, plan: SigningPlan) -> TokenPair:
        """The tokens with which a session goes on, and which it outlives. Raises InvalidToken when it is over."""
        now, token = int(self._clock()), live.token
        expires_at = min(now + self._access_ttl, live.expires_at)
        if expires_at <= now:
            raise InvalidToken(private="the session ran out meanwhile")
        try:
            refresh_token = self._minter.mint_refresh(
                subject, token_id=token.id, kid=token.kid, issued_at=token.issued_at, expires_at=token.expires_at
            )
        except KeyGone as gone:
            raise InvalidToken(private=gone.private) from None
        access_token = self._minter.mint_access(subject, kid=plan.access_kid, issued_at=now, expires_at=expires_at)
        return TokenPair(access_token, refresh_token, expires_at - now)

    def log_out(
        self, tenant_id: uuid.UUID, user_id: uuid.UUID, session_id: uuid.UUID, *, everywhere: bool, trace: Trace
    ) -> None:
        """End this session, or every session of the user: access tokens and refresh families."""
        with self._work(tenant_id) as tx:
            if everywhere:
                self._revocations.end_of_user(tx, user_id, reason="logout-everywhere")
            else:
                self._revocations.end_one(tx, session_id, of_user=user_id, reason="logout")
            name = "session.logout-everywhere" if everywhere else "session.logout"
            self._audit.record(tx, Event(name, trace=trace, user_id=user_id, session_id=session_id))

    def list_sessions(self, tenant_id: uuid.UUID, user_id: uuid.UUID, *, count: int = 100) -> tuple[Session, ...]:
        """The user's living sessions, the newest first."""
        with self._work.reading(tenant_id) as tx:
            return store.list_sessions(tx, user_id, now=int(self._clock()), count=count)

    def page(self, tenant_id: uuid.UUID, *, after: str, count: int) -> SessionPage:
        """The tenant's living sessions. `after`: the `next` of the page before, or empty. Raises InvalidInput.

        It reads no more rows in a large tenant than in a small one.
        """
        try:
            place = Place.read(after) if after else NEWEST
        except ValueError:
            raise InvalidInput([FieldError("/after", "not a place in this list: begin again without one")]) from None
        with self._work.reading(tenant_id) as tx:
            found = store.list_of_tenant(tx, place, now=int(self._clock()), count=count + 1)
        shown = found[:count]
        last = shown[-1].session if len(found) > count else None
        return SessionPage(shown, None if last is None else str(Place(last.started_at, last.id)))

    def get(self, tenant_id: uuid.UUID, session_id: uuid.UUID) -> Session:
        """The session. Raises NotFound, also for another tenant's session."""
        with self._work.reading(tenant_id) as tx:
            found = store.find_session(tx, session_id)
        if found is None:
            raise NotFound
        return found

    def end(self, tenant_id: uuid.UUID, user_id: uuid.UUID, session_id: uuid.UUID, *, trace: Trace) -> None:
        """End one of one's own sessions. Ending what has ended succeeds. Raises NotFound when it is not theirs."""
        with self._work(tenant_id) as tx:
            session = store.find_session(tx, session_id)
            is_theirs = session is not None and session.user_id == user_id
            if is_theirs:
                self._revocations.end_one(tx, session_id, of_user=user_id, reason="ended-by-user")
                self._audit.record(tx, Event("session.ended", trace=trace, user_id=user_id, session_id=session_id))
        if not is_theirs:
            raise NotFound

    def end_others(self, tenant_id: uuid.UUID, user_id: uuid.UUID, kept: uuid.UUID, *, trace: Trace) -> int:
        """End every session of one's own but one. Answers how many ended."""
        with self._work(tenant_id) as tx:
            count = self._revocations.end_others(tx, user_id, kept=kept, reason="ended-by-user")
            self._audit.record(
                tx, Event("session.others-ended", trace=trace, user_id=user_id, session_id=kept, count=count)
            )
        return count


def _subject_of(tenant_id: uuid.UUID, session_id: uuid.UUID, live: Live, grants: Grants) -> Subject:
    return Subject(tenant_id, live.user_id, session_id, grants.roles, grants.permissions, live.position)
