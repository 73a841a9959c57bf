"""An administrator acts as somebody else: openly, for a while, on record, and with no more than they may do anyway.

What comes of it is a session of the user's, marked with who acts in it: whatever ends sessions ends it. It ends besides
with the session that it was begun from, and whenever the permissions of either change (`payymo.sessions.revocations`).
"""

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from payymo.audit.log import AuditLog
from payymo.clock import Clock
from payymo.db.work import Transaction, Work
from payymo.entropy import Entropy
from payymo.errors import Conflict, InsufficientScope, InvalidCredentials, InvalidToken, NotFound
from payymo.logs import Event, Trace
from payymo.roles.model import covers
from payymo.roles.service import Actor, Roles, authority_of
from payymo.sessions import store
from payymo.sessions.beginning import Beginning, Begun
from payymo.sessions.credentials import Credentials
from payymo.sessions.model import Live, Reason, Session
from payymo.sessions.notices import Notices
from payymo.sessions.revocations import Revocations
from payymo.tokens import Subject, TokenMinter
from payymo.users.model import Proof, User
from payymo.users.service import Users

PERMISSION: Final = "impersonation:write"
"""Of a resource of its own: neither `users:*` nor any built-in role of a tenant covers it."""
WHY_MAX: Final = 200
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class ImpersonationPolicy:
    """For how many seconds somebody acts as somebody else at most, and with one access token."""

    longest_seconds: int
    access_seconds: int


@dataclass(frozen=True, slots=True)
class Wish:
    """Who wants to act as whom: from which session of theirs, and why, in their own words."""

    user_id: uuid.UUID
    by: Actor
    session_id: uuid.UUID
    why: str
    trace: Trace


@dataclass(frozen=True, slots=True, repr=False)
class ActingToken:
    """An access token with which somebody acts as the user. There is no other one after it."""

    user: User
    session_id: uuid.UUID
    access_token: str
    expires_in: int


class Impersonation:
    """The sessions in which an administrator acts as somebody else."""

    def __init__(
        self,
        work: Work,
        clock: Clock,
        entropy: Entropy,
        *,
        users: Users,
        roles: Roles,
        credentials: Credentials,
        beginning: Beginning,
        minter: TokenMinter,
        revocations: Revocations,
        notices: Notices,
        policy: ImpersonationPolicy,
        audit: AuditLog,
    ) -> None:
        self._work = work
        self._clock = clock
        self._entropy = entropy
        self._users = users
        self._roles = roles
        self._credentials = credentials
        self._beginning = beginning
        self._minter = minter
        self._revocations = revocations
        self._notices = notices
        self._policy = policy
        self._audit = audit

    def begin_with_token(self, tenant_id: uuid.UUID, wish: Wish, *, password: str | None) -> ActingToken:
        """Act as a user by an access token, which can't be refreshed, and lives no longer than others do.

        `password`: the administrator's own. Raises what `begin` raises, InvalidCredentials, LoginTooOld, Overloaded.
        """
        plan = self._minter.plan()
        proof = self._credentials.prove_again(tenant_id, wish.by.user_id, wish.session_id, password)
        if proof is None:
            self._audit.record_apart(_refusal(tenant_id, wish, InvalidCredentials.code))
            raise InvalidCredentials("The current password is wrong.")
        seconds = min(self._policy.longest_seconds, self._policy.access_seconds)
        begun, _ = self.begin(tenant_id, wish, proof=proof, access_seconds=seconds, inside=lambda _tx, _begun: None)
        now, grants = int(self._clock()), begun.grants
        expires_at = min(now + seconds, begun.live.expires_at)
        if expires_at <= now:
            raise InvalidToken(private="the session ran out meanwhile")
        subject = Subject(
            *(tenant_id, begun.user.id, begun.session_id, grants.roles, grants.permissions),
            position=begun.live.position,
            actor_id=wish.by.user_id,
        )
        token = self._minter.mint_access(subject, kid=plan.access_kid, issued_at=now, expires_at=expires_at)
        return ActingToken(begun.user, begun.session_id, token, expires_at - now)

    def begin(
        self,
        tenant_id: uuid.UUID,
        wish: Wish,
        *,
        proof: Proof | None,
        access_seconds: int,
        inside: Callable[[Transaction, Begun], Made],
    ) -> tuple[Begun, Made]:
        """A session of the user's, in which the administrator acts. `proof`: that it is them; None: asked before.

        Raises NotFound, InsufficientScope (they may not, or the user may do more than they), Conflict (themselves, or
        somebody who is not active), InvalidToken, InvalidCredentials, Impersonated.
        """
        try:
            with self._work(tenant_id) as tx:
                begun = self._begin(tx, wish, proof, access_seconds)
                return begun, inside(tx, begun)
        except (InsufficientScope, Conflict, InvalidCredentials) as refused:
            self._audit.record_apart(_refusal(tenant_id, wish, refused.code))
            raise

    def _begin(self, tx: Transaction, wish: Wish, proof: Proof | None, access_seconds: int) -> Begun:
        """Step: everything that has to hold is locked before it is looked at, and so holds when this commits.

        What takes it away afterwards waits for that, and then finds the session and ends it.
        """
        self._users.lock(tx, wish.user_id, by=wish.by)
        own = store.lock_session(tx, wish.session_id)
        self._roles.lock_held(tx, wish.user_id, wish.by.user_id)
        authority = authority_of(wish.by, tx)
        if own is None or not own.is_alive_at(int(self._clock())) or own.user_id != wish.by.user_id:
            raise InvalidToken(private="the actor's session ended meanwhile")
        if proof is not None and self._users.lock_proven(tx, proof) is None:
            raise InvalidCredentials("The current password is wrong.")
        if wish.user_id == wish.by.user_id:
            raise Conflict("This is you.")
        grants, user = self._roles.grants_of(tx, wish.user_id), self._users.lock_active(tx, wish.user_id)
        if not covers(authority, grants.permissions):
            raise InsufficientScope("This user may do more than you may.")
        if user is None:
            raise Conflict("This user can't sign in, and so nobody can act as them.")
        session = self._new_session(own, user, access_seconds)
        position = store.add_session(tx, session)
        if position is None:
            raise NotFound
        self._tell(tx, session, user, wish)
        return Begun(user, grants, session.id, Live(user.id, session.expires_at, session.live, position))

    def _new_session(self, own: Session, user: User, access_seconds: int) -> Session:
        """It outlives neither its time nor the administrator's own. Where they sit is no business of the user's."""
        now = int(self._clock())
        expires_at = min(now + self._policy.longest_seconds, own.expires_at)
        return Session(
            id=self._entropy.uuid(),
            tenant_id=user.tenant_id,
            user_id=user.id,
            started_at=now,
            last_seen_at=now,
            expires_at=expires_at,
            access_expires_at=min(now + access_seconds, expires_at),
            ended_at=None,
            address="",
            user_agent="",
            live=self._beginning.refresh_token(now, seconds=0),
            consumed_id=None,
            replays=0,
            actor_user_id=own.user_id,
            actor_session_id=own.id,
        )

    def _tell(self, tx: Transaction, session: Session, user: User, wish: Wish) -> None:
        """Step: on record, and to the user."""
        event = Event("session.impersonated", trace=wish.trace, user_id=user.id, session_id=session.id)
        new = {"expires_at": session.expires_at}
        self._audit.record(tx, replace(event, new=new, personal={"why": wish.why}))
        who = self._users.get_in(tx, wish.by.user_id).username
        self._notices.tell(tx, "impersonated", user, administrator=who, until=str(session.expires_at))

    def stop(self, tenant_id: uuid.UUID, user_id: uuid.UUID, session_id: uuid.UUID, *, trace: Trace) -> None:
        """Act as the user no more. Stopping what is over succeeds."""
        with self._work(tenant_id) as tx:
            self.stop_in(tx, user_id, session_id, trace=trace)

    def stop_in(self, tx: Transaction, user_id: uuid.UUID, session_id: uuid.UUID, *, trace: Trace) -> bool:
        """Step: the same. Answers whether it was not over yet."""
        reason: Reason = "impersonation-stopped"
        return self._revocations.end_one(tx, session_id, of_user=user_id, reason=reason, trace=trace) > 0

    def names_of_actors(self, tenant_id: uuid.UUID, sessions: Iterable[Session]) -> Mapping[uuid.UUID, str]:
        """Who acts in these sessions: user names by session. Most have nobody.

        Nor has one whose administrator was erased since it was read: it has ended with them.
        """
        actors = {found.id: found.actor_user_id for found in sessions if found.actor_user_id is not None}
        if not actors:
            return {}
        with self._work.reading(tenant_id) as tx:
            found = {session_id: self._users.find_account(tx, actor) for session_id, actor in actors.items()}
        return {session_id: one.user.username for session_id, one in found.items() if one is not None}


def _refusal(tenant_id: uuid.UUID, wish: Wish, reason: str) -> Event:
    event = Event("session.impersonated", "refused", trace=wish.trace, tenant_id=tenant_id, user_id=wish.user_id)
    return replace(event, reason=reason, personal={"why": wish.why})
