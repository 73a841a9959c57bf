"""Who is logged in and changes something: what they may do is asked again inside the transaction that changes it.

Between the check at the door and the change, somebody may have disabled them, or taken a role away. Whoever does that
locks the same row, so that one of the two comes first, and the other one knows.
"""

import uuid
from collections.abc import Sequence

from payymo.clock import Clock
from payymo.db.work import Transaction
from payymo.errors import Impersonated, InsufficientScope, InvalidToken
from payymo.roles.model import common
from payymo.roles.service import Roles
from payymo.sessions import store
from payymo.users.service import Users
from payymo_guard import permits


class Administrator:
    """A user with a session and a token, on a route that needs a permission."""

    def __init__(
        self,
        users: Users,
        roles: Roles,
        clock: Clock,
        *,
        tenant_id: uuid.UUID,
        user_id: uuid.UUID,
        session_id: uuid.UUID,
        permissions: Sequence[str],
        needs: str,
    ) -> None:
        self.user_id = user_id
        self._tenant_id = tenant_id
        self._users = users
        self._roles = roles
        self._clock = clock
        self._session_id = session_id
        self._permissions = permissions
        self._needs = needs

    def authority_in(self, tx: Transaction) -> tuple[str, ...]:
        """What they may hand out: in the token, and granted now. It stays so until the transaction ends.

        In platform work their own tenant is looked into. Raises InvalidToken when they, their session or their tenant
        are no longer active, InsufficientScope, Impersonated: they only act as this user.
        """
        if tx.tenant_id is not None:
            return self._authority_in(tx)
        with tx.within(self._tenant_id) as own:
            return self._authority_in(own)

    def _authority_in(self, tx: Transaction) -> tuple[str, ...]:
        session = store.find_session(tx, self._session_id) if self._users.lock_active(tx, self.user_id) else None
        if session is None or not session.is_alive_at(int(self._clock())):
            raise InvalidToken(private="the actor's session ended meanwhile")
        if session.actor_user_id is not None:
            raise Impersonated
        authority = common(self._permissions, self._roles.grants_of(tx, self.user_id).permissions)
        if not permits(authority, self._needs):
            raise InsufficientScope
        return authority
