"""How a session begins: after a proof, and in one transaction with its event, if what was proven still holds then.

Whoever comes by the API gets tokens for it, and whoever comes by a browser a cookie: that is made `inside`.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from payymo.audit.log import AuditLog
from payymo.clock import Clock
from payymo.db.work import Transaction, Work
from payymo.entropy import Entropy
from payymo.errors import InvalidCredentials, TenantSuspended
from payymo.logs import Event, Trace
from payymo.roles.service import Grants, Roles
from payymo.sessions import store
from payymo.sessions.model import Device, Live, RefreshToken, Session
from payymo.sessions.notices import Notices
from payymo.users.model import Proof, User
from payymo.users.service import Users

USER_AGENT_MAX = 200
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Terms:
    """How long a session lives at most, and the tokens that are made with it. In seconds; 0: none is made."""

    session_seconds: int
    access_seconds: int
    refresh_seconds: int


@dataclass(frozen=True, slots=True)
class Begun:
    """A session that has begun: whose it is, and what they hold."""

    user: User
    grants: Grants
    session_id: uuid.UUID
    live: Live


class Beginning:
    """Begins sessions for who proves themselves."""

    def __init__(
        self,
        work: Work,
        clock: Clock,
        entropy: Entropy,
        *,
        users: Users,
        roles: Roles,
        refresh_kid: Callable[[], str],
        notices: Notices,
        audit: AuditLog,
    ) -> None:
        self._work = work
        self._clock = clock
        self._entropy = entropy
        self._users = users
        self._roles = roles
        self._refresh_kid = refresh_kid
        self._notices = notices
        self._audit = audit

    def register(
        self,
        tenant_id: uuid.UUID,
        *,
        email: str,
        username: str,
        password: str,
        language: str | None,
        device: Device,
        terms: Terms,
        inside: Callable[[Transaction, Begun], Made],
        trace: Trace,
    ) -> tuple[Begun, Made]:
        """A new user of the tenant, and their first session. Raises what `Users.register` raises, TenantSuspended."""
        self._require_active_tenant(tenant_id)
        proof = self._users.register(
            tenant_id, email=email, username=username, password=password, language=language, trace=trace
        )
        try:
            return self._begin(tenant_id, proof, proof.user_id, device=device, terms=terms, inside=inside, trace=trace)
        except InvalidCredentials:
            self._require_active_tenant(tenant_id)  # suspended a moment ago: that is what is to be said
            raise

    def log_in(
        self,
        tenant_id: uuid.UUID,
        *,
        email: str,
        password: str,
        device: Device,
        terms: Terms,
        inside: Callable[[Transaction, Begun], Made],
        trace: Trace,
    ) -> tuple[Begun, Made]:
        """A session of whose address and password these are. Raises InvalidCredentials (for every reason), Overloaded.

        `inside` is called when all is settled, before the commit.
        """
        proof, whose = self._users.prove(tenant_id, email, password)
        return self._begin(tenant_id, proof, whose, device=device, terms=terms, inside=inside, trace=trace)

    def refresh_token(self, now: int, *, seconds: int) -> RefreshToken:
        """The facts of a refresh token that nobody has had."""
        return RefreshToken(self._entropy.uuid(), self._refresh_kid(), now, now + seconds)

    def _begin(
        self,
        tenant_id: uuid.UUID,
        proof: Proof | None,
        whose: uuid.UUID | None,
        *,
        device: Device,
        terms: Terms,
        inside: Callable[[Transaction, Begun], Made],
        trace: Trace,
    ) -> tuple[Begun, Made]:
        """`whose`: whom a refusal is on record of; the same is written down when it is nobody."""
        begun: tuple[Begun, Made] | None = None
        refused = Event("session.login", "refused", trace=trace, tenant_id=tenant_id, user_id=whose)
        if proof is not None:
            with self._work(tenant_id) as tx:
                user = self._users.lock_proven(tx, proof)
                session = self._new_session(tenant_id, proof.user_id, device, terms)
                position = None if user is None else store.add_session(tx, session)
                # A tenant that was suspended in between keeps the row, without tokens, until it is resumed.
                if user is not None and position is not None:
                    live = Live(user.id, session.expires_at, session.live, position)
                    made = Begun(user, self._roles.grants_of(tx, user.id), session.id, live)
                    begun = made, inside(tx, made)
                    self._notices.tell_of_login(tx, user, session.id, device)
                    self._record(tx, session, trace)
                else:
                    self._audit.record(tx, refused)
        if begun is None:
            if proof is None:
                self._audit.record_apart(refused)
            raise InvalidCredentials
        return begun

    def _record(self, tx: Transaction, session: Session, trace: Trace) -> None:
        personal = {"user_agent": session.user_agent} if session.user_agent else None
        event = Event("session.login", trace=trace, user_id=session.user_id, session_id=session.id, personal=personal)
        self._audit.record(tx, event)

    def _new_session(self, tenant_id: uuid.UUID, user_id: uuid.UUID, device: Device, terms: Terms) -> Session:
        now = int(self._clock())
        return Session(
            id=self._entropy.uuid(),
            tenant_id=tenant_id,
            user_id=user_id,
            started_at=now,
            last_seen_at=now,
            expires_at=now + terms.session_seconds,
            access_expires_at=now + terms.access_seconds,
            ended_at=None,
            address=device.address,
            user_agent=device.user_agent[:USER_AGENT_MAX],
            live=self.refresh_token(now, seconds=terms.refresh_seconds),
            consumed_id=None,
            replays=0,
        )

    def _require_active_tenant(self, tenant_id: uuid.UUID) -> None:
        with self._work.reading(tenant_id) as tx:
            if store.find_tenant_status(tx) != "active":
                raise TenantSuspended
