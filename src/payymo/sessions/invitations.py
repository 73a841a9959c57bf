"""Invites people by mail: an account whose password nobody knows, and a link with which its user chooses one.

The account is like one that was registered and not verified yet: whoever opens the link has shown that the address is
theirs, and who does not come within a week is forgotten with it.
"""

import uuid
from collections.abc import Sequence

from payymo.audit.log import AuditLog
from payymo.db.work import Work
from payymo.links.service import Links
from payymo.logs import Trace
from payymo.mail.model import Message
from payymo.mail.outbox import Outbox
from payymo.roles.service import Actor
from payymo.sessions.credentials import require_mail
from payymo.users.model import User, require_names
from payymo.users.service import UNVERIFIED_SECONDS, Users, newcomer_event


class Invitations:
    """New users, who are written to."""

    def __init__(self, work: Work, *, users: Users, links: Links, outbox: Outbox, audit: AuditLog) -> None:
        self._work = work
        self._users = users
        self._links = links
        self._outbox = outbox
        self._audit = audit

    def invite(
        self,
        tenant_id: uuid.UUID,
        *,
        email: str,
        username: str,
        roles: Sequence[str],
        by: Actor | None,
        trace: Trace,
    ) -> User:
        """A new user, who can't log in before they have chosen a password with the link that they are sent.

        Raises MailOff, InvalidInput, AlreadyTaken, InsufficientScope, Overloaded.
        """
        require_mail(self._outbox)
        require_names(email, username)
        worthless = self._users.unusable_hash()
        with self._work(tenant_id) as tx:
            account = self._users.add_unverified(
                tx, tenant_id, email=email, username=username, password_hash=worthless, roles=roles, by=by
            )
            user = account.user
            link = self._links.issue(
                tx, "reset-password", user.id, bound_to=account.binding, live_seconds=UNVERIFIED_SECONDS
            )
            facts = {**link.facts, "username": username}
            self._outbox.put(tx, Message("invitation", email, facts, user.id, link.live_seconds))
            self._audit.record(tx, newcomer_event("user.invited", user, roles, trace))
        return user
