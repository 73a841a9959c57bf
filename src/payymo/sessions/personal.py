"""What is stored of a person: handed out, and erased. From every part that keeps something of users."""

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

from payymo.attempts.service import Attempts
from payymo.audit.entries import Entry, Filters, shown_to
from payymo.audit.erasing import Erasing
from payymo.audit.log import AuditLog
from payymo.audit.reader import AuditReader
from payymo.clock import Clock
from payymo.db.work import Transaction, Work
from payymo.errors import InsufficientScope, Overloaded
from payymo.limits.limiter import account_key, user_key
from payymo.links.service import Links
from payymo.logs import BY_ITSELF, Event, Trace
from payymo.mail.outbox import Outbox
from payymo.roles.model import covers
from payymo.roles.service import Actor, Roles, authority_of
from payymo.sessions import store
from payymo.sessions.lockouts import Lockouts
from payymo.sessions.revocations import Revocations
from payymo.users.model import User, counted_name
from payymo.users.service import Users

AGAIN_SECONDS = 5
"""When to try again while somebody else's export is made: most take a moment."""


class PersonalData:
    """The data of one person."""

    def __init__(
        self,
        work: Work,
        clock: Clock,
        *,
        users: Users,
        roles: Roles,
        attempts: Attempts,
        lockouts: Lockouts,
        revocations: Revocations,
        links: Links,
        outbox: Outbox,
        reader: AuditReader,
        erasing: Erasing,
        audit: AuditLog,
    ) -> None:
        self._work = work
        self._clock = clock
        self._users = users
        self._roles = roles
        self._attempts = attempts
        self._lockouts = lockouts
        self._revocations = revocations
        self._links = links
        self._outbox = outbox
        self._reader = reader
        self._erasing = erasing
        self._audit = audit
        self._exporting = threading.Lock()

    def export_whole(self, tenant_id: uuid.UUID, user_id: uuid.UUID, *, reason: str, trace: Trace) -> str:
        """The same as `export`, in one piece. One at a time in a process. Raises NotFound, Overloaded.

        Somebody whose programs refresh all day has a hundred thousand events soon: that is a core for some seconds, and
        as much memory as it takes. Asked for from every thread at once, it would be all of both.
        """
        if not self._exporting.acquire(blocking=False):
            raise Overloaded(AGAIN_SECONDS)
        try:
            return "".join(self.export(tenant_id, user_id, reason=reason, trace=trace))
        finally:
            self._exporting.release()

    def export(self, tenant_id: uuid.UUID, user_id: uuid.UUID, *, reason: str, trace: Trace) -> Iterator[str]:
        """Everything that is stored of a user, as the pieces of one JSON document. Raises NotFound, at once.

        No secrets, and nothing of others: of an administrator's act it says what was done, and not from where. Times
        are seconds since 1970, of events milliseconds. What is not in the log yet follows a second later.
        """
        with self._work(tenant_id) as tx:
            facts = self._facts(tx, self._users.get_in(tx, user_id))
            self._audit.record(tx, Event("user.exported", trace=trace, user_id=user_id, reason=reason))
        return self._write(tenant_id, user_id, facts)

    def erase(
        self,
        tenant_id: uuid.UUID,
        user_id: uuid.UUID,
        *,
        by: Actor | None,
        trace: Trace,
        progress: Callable[[int], None] = lambda _count: None,
        at_most: int | None = None,
    ) -> int:
        """Delete a user, and what is personal of them in the logs. Answers from how many events that was erased.

        With the account go sessions, devices, links, waiting mail and failed logins; tokens are refused. A run that was
        killed can be run again, and is finished by itself; so is one that ends when it has come to `at_most` events.
        Raises NotFound, InsufficientScope.
        """
        with self._work(tenant_id) as tx:
            is_again = self._erasing.has_begun(tx, user_id)
            if is_again:
                authority_of(by, tx)
            else:
                self._delete(tx, user_id, by, trace)
        return self._erasing.erase(tenant_id, user_id, progress=progress, at_most=at_most)

    def forget_unverified(self) -> int:
        """Forget one batch of those who registered and never came back, and what is personal of them in the logs.

        That goes first: once they are gone, nobody could ask for it any more, least of all whose address a stranger
        typed in. Answers how many; call until it is 0.
        """
        with self._work.platform(writes=False) as tx:
            due = self._users.list_unverified(tx)
        for tenant_id, user_id in due:
            self._erasing.erase(tenant_id, user_id, progress=lambda _count: None)
        if not due:
            return 0
        with self._work.platform() as tx:
            if count := self._users.remove_unverified(tx, [user_id for _, user_id in due]):
                self._audit.record(tx, Event("users.pruned", trace=BY_ITSELF, count=count, reason="unverified"))
        return count

    def _delete(self, tx: Transaction, user_id: uuid.UUID, by: Actor | None, trace: Trace) -> None:
        """Step: the account, and all that hangs on it."""
        self._users.lock(tx, user_id, by=by)
        if not covers(authority_of(by, tx), self._roles.grants_of(tx, user_id).permissions):
            raise InsufficientScope("This user may do more than you may.")
        user = self._users.get_in(tx, user_id)
        self._revocations.end_of_user(tx, user_id, reason="user-erased")
        self._lockouts.unlock(tx, user_id)
        self._attempts.forget(tx, *_accounts(user))
        self._outbox.forget(tx, user_id)
        self._users.remove(tx, user_id)
        self._erasing.begin(tx, user_id)
        if by is not None and by.user_id == user_id:  # who erases themselves leaves no address behind in saying so
            trace = replace(trace, address="-")
        self._audit.record(tx, Event("user.erased", trace=trace, user_id=user_id, old={"status": user.status}))

    def _facts(self, tx: Transaction, user: User) -> dict[str, Any]:
        grants = self._roles.grants_of(tx, user.id)
        return {
            "exported_at": int(self._clock()),
            "user": {**asdict(user), "password_changed_at": store.find_password_since(tx, user.id)},
            "roles": grants.roles,
            "permissions": grants.permissions,
            "sessions": store.list_facts(tx, user.id),
            "devices": self._attempts.list_devices(tx, user.id),
            "failed_logins": self._attempts.list_failures(tx, *_accounts(user)),
            "waits": self._attempts.list_waits(tx, *_accounts(user)),
            "notices": self._attempts.list_notices(tx, user.id),
            "links": self._links.list_facts(tx, user.id),
            "mails": [asdict(found) for found in self._outbox.list_of(tx, user.id)],
        }

    def _write(self, tenant_id: uuid.UUID, user_id: uuid.UUID, facts: dict[str, Any]) -> Iterator[str]:
        """Batch by batch: a log may be long."""
        yield json.dumps(facts, default=str).removesuffix("}") + ', "events": ['
        separator = ""
        for entry in self._events(tenant_id, user_id):
            yield separator + json.dumps({**entry.facts(), "personal": shown_to(entry, user_id)}, default=str)
            separator = ", "
        yield "]}"

    def _events(self, tenant_id: uuid.UUID, user_id: uuid.UUID) -> Iterator[Entry]:
        """First what is about them, then what they did to others: each along its index."""
        for batch in self._reader.batches(tenant_id, Filters(user_id=user_id)):
            yield from batch
        for log in (tenant_id, None):
            for batch in self._reader.batches(log, Filters(actor=f"user:{user_id}")):
                yield from (entry for entry in batch if log is None or entry.user_id != user_id)


def _accounts(user: User) -> tuple[str, str]:
    """What tries at their password are counted by."""
    return account_key(user.tenant_id, counted_name(user.email)), user_key(user.tenant_id, user.id)
