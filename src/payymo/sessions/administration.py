"""What an administrator or operator does to users, tenants and keys: above all what ends sessions.

The change and the end of what it covers commit together, so that nothing slips in between.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from payymo.audit.log import AuditLog
from payymo.db.work import Transaction, Work
from payymo.errors import Conflict, FieldError, InsufficientScope, InvalidInput, NotFound
from payymo.feed.service import Feed
from payymo.keys.service import KeyRing
from payymo.links.service import Links
from payymo.logs import Event, Fact, Trace
from payymo.mail.model import DAY_SECONDS, Message
from payymo.mail.outbox import Outbox
from payymo.roles.model import covers
from payymo.roles.service import Actor, Roles, authority_of
from payymo.secrets.envelope import shred
from payymo.sessions import store
from payymo.sessions.lockouts import Lockouts
from payymo.sessions.notices import Notices
from payymo.sessions.revocations import Revocations
from payymo.tenants.model import Tenant
from payymo.tenants.service import Tenants
from payymo.users.model import UserStatus
from payymo.users.service import Users


class Administration:
    """The acts of administrators, and of the operator at the console."""

    def __init__(
        self,
        work: Work,
        *,
        tenants: Tenants,
        users: Users,
        roles: Roles,
        revocations: Revocations,
        lockouts: Lockouts,
        feed: Feed,
        ring: KeyRing,
        links: Links,
        outbox: Outbox,
        notices: Notices,
        audit: AuditLog,
    ) -> None:
        self._work = work
        self._tenants = tenants
        self._users = users
        self._roles = roles
        self._revocations = revocations
        self._lockouts = lockouts
        self._feed = feed
        self._ring = ring
        self._links = links
        self._outbox = outbox
        self._notices = notices
        self._audit = audit

    def change_user(
        self,
        tenant_id: uuid.UUID,
        user_id: uuid.UUID,
        *,
        status: UserStatus | None = None,
        roles: Sequence[str] | None = None,
        password: str | None = None,
        by: Actor | None,
        trace: Trace,
    ) -> None:
        """Change what is given; all of it or nothing.

        Disabling and a new password end the user's sessions. Nobody changes a user who may do more than they may:
        taking over such an account would be gaining its permissions. Nor their own password, for which they would not
        be asked: whoever has found their token would have the account. Raises NotFound, InvalidInput,
        InsufficientScope, Conflict: the status of somebody whose address is not verified yet.
        """
        if status is None and roles is None and password is None:
            raise InvalidInput([FieldError("", "give at least one of status, roles, password")])
        new_hash = None
        if password is not None:
            _require_another(user_id, by)
            with self._work(tenant_id) as tx:  # nobody gets a hash computed for what they may not do
                self._require_authority(tx, user_id, by)
            user, _ = self._users.get(tenant_id, user_id)
            new_hash = self._users.new_password_hash(user, password)
        with self._work(tenant_id) as tx:
            authority = self._require_authority(tx, user_id, by)
            held = self._roles.grants_of(tx, user_id).roles
            before: dict[str, Fact] = {"status": self._users.get_in(tx, user_id).status, "roles": sorted(held)}
            if roles is not None:
                self._roles.assign(tx, user_id, roles, by=authority)
            if status is not None:
                self._users.change_status(tx, user_id, status)
            if new_hash is not None:
                self._users.change_password(tx, user_id, new_hash)
                self._lockouts.unlock(tx, user_id)
                self._notices.tell(tx, "password-changed", self._users.get_in(tx, user_id))
            if status == "disabled":
                self._revocations.end_of_user(tx, user_id, reason="user-disabled")
            elif new_hash is not None:
                self._revocations.end_of_user(tx, user_id, reason="password-changed")
            if roles is not None:
                self._revocations.permissions_changed(tx, [user_id])
            after: dict[str, Fact] = {"status": status, "roles": None if roles is None else sorted(set(roles))}
            self._note_changes(tx, user_id, before, after, trace)
            if new_hash is not None:
                event = Event("user.password-changed", trace=trace, user_id=user_id, reason="by-administrator")
                self._audit.record(tx, event)

    def _note_changes(
        self,
        tx: Transaction,
        user_id: uuid.UUID,
        before: Mapping[str, Fact],
        after: Mapping[str, Fact],
        trace: Trace,
    ) -> None:
        """Step: put on record what was given, one event for each."""
        for name, value in after.items():
            if value is not None:
                event = Event(f"user.{name}-changed", trace=trace, user_id=user_id, reason="by-administrator")
                self._audit.record(tx, replace(event, old={name: before[name]}, new={name: value}))

    def unlock_user(self, tenant_id: uuid.UUID, user_id: uuid.UUID, *, by: Actor | None, trace: Trace) -> None:
        """Admit logins of a user again who has to wait because of failed ones. Unlocking who is not locked succeeds.

        Raises NotFound, InsufficientScope.
        """
        with self._work(tenant_id) as tx:
            self._require_authority(tx, user_id, by)
            self._lockouts.unlock(tx, user_id)
            self._audit.record(tx, Event("user.unlocked", trace=trace, user_id=user_id, reason="by-administrator"))

    def force_reset(self, tenant_id: uuid.UUID, user_id: uuid.UUID, *, by: Actor | None, trace: Trace) -> bool:
        """Make a password worthless that somebody else may know, and end the user's sessions.

        In its place comes the hash of one that nobody knows: the old one is refused like any wrong one, after the same
        work. Answers whether a link was sent with which the user chooses another. Raises NotFound, InsufficientScope.
        """
        with self._work(tenant_id) as tx:  # nobody gets a hash computed for what they may not do
            self._require_authority(tx, user_id, by)
        worthless = self._users.unusable_hash()
        with self._work(tenant_id) as tx:
            self._require_authority(tx, user_id, by)
            self._users.change_password(tx, user_id, worthless)
            self._lockouts.unlock(tx, user_id)
            self._revocations.end_of_user(tx, user_id, reason="password-changed")
            account = self._users.lock_account(tx, user_id)
            is_sent = account is not None and account.may_act and self._outbox.is_on
            if account is not None and is_sent:
                link = self._links.issue(
                    tx, "reset-password", user_id, bound_to=account.binding, live_seconds=DAY_SECONDS
                )
                letter = Message("password-forced", account.user.email, link.facts, user_id, link.live_seconds)
                self._outbox.put(tx, replace(letter, language=account.user.language))
            self._audit.record(tx, Event("user.reset-forced", trace=trace, user_id=user_id))
        return is_sent

    def end_session(
        self, tenant_id: uuid.UUID, user_id: uuid.UUID, session_id: uuid.UUID, *, by: Actor | None, trace: Trace
    ) -> None:
        """End a session of a user who may do no more than the actor. Ending what has ended succeeds.

        Raises NotFound, InsufficientScope.
        """
        with self._work(tenant_id) as tx:
            self._require_authority(tx, user_id, by)
            session = store.find_session(tx, session_id)
            if session is None or session.user_id != user_id:
                raise NotFound
            self._revocations.end_one(tx, session_id, of_user=user_id, reason="ended-by-administrator")
            event = Event("session.ended", trace=trace, user_id=user_id, session_id=session_id)
            self._audit.record(tx, replace(event, reason="by-administrator"))

    def end_sessions(self, tenant_id: uuid.UUID, user_id: uuid.UUID, *, by: Actor | None, trace: Trace) -> int:
        """End every session of a user who may do no more than the actor. Answers how many ended.

        Raises NotFound, InsufficientScope.
        """
        with self._work(tenant_id) as tx:
            self._require_authority(tx, user_id, by)
            count = self._revocations.end_of_user(tx, user_id, reason="ended-by-administrator")
            event = Event("session.all-ended", trace=trace, user_id=user_id, count=count, reason="by-administrator")
            self._audit.record(tx, event)
        return count

    def _require_authority(self, tx: Transaction, user_id: uuid.UUID, by: Actor | None) -> Sequence[str]:
        """Step: what the actor may do. They and the user are locked then. Raises NotFound, InsufficientScope."""
        self._users.lock(tx, user_id, by=by)
        authority = authority_of(by, tx)
        if not covers(authority, self._roles.grants_of(tx, user_id).permissions):
            raise InsufficientScope("This user may do more than you may.")
        return authority

    def create_tenant(self, slug: str, name: str, *, host: str | None = None, by: Actor | None, trace: Trace) -> Tenant:
        """A new, active tenant. Raises InvalidInput, Conflict, InsufficientScope."""
        with self._work.platform() as tx:
            authority_of(by, tx)
            return self._tenants.add(tx, slug, name, host=host, trace=trace)

    def suspend(self, tenant_id: uuid.UUID, *, by: Actor | None, trace: Trace) -> Tenant:
        """Suspend a tenant, and end all of its sessions. Raises NotFound, InsufficientScope."""
        with self._work.platform() as tx:
            authority_of(by, tx)
            tenant = self._tenants.change_status(tx, tenant_id, "suspended")
            with tx.within(tenant_id) as own:
                count = self._revocations.end_all(own, reason="tenant-suspended")
                self._audit.record(own, _ended(count, "tenant-suspended", trace))
            self._audit.record(tx, Event("tenant.suspended", trace=trace, tenant_id=tenant_id))
        return tenant

    def resume(self, tenant_id: uuid.UUID, *, by: Actor | None, trace: Trace) -> Tenant:
        """Let a tenant's users log in again. Sessions from before stay ended. Raises NotFound, InsufficientScope.

        A login that was under way at the suspension may have left a session. It ends while the tenant is still
        suspended, when nothing in it works and nobody logs in.
        """
        with self._work.platform(writes=False) as tx:
            authority_of(by, tx)
            tenant = self._tenants.get_in(tx, tenant_id)
        if tenant.is_active:
            return tenant
        with self._work(tenant_id) as tx:
            count = self._revocations.end_all(tx, reason="tenant-suspended")
            self._audit.record(tx, _ended(count, "tenant-suspended", trace))
        with self._work.platform() as tx:
            authority_of(by, tx)
            tenant = self._tenants.change_status(tx, tenant_id, "active")
            self._audit.record(tx, Event("tenant.active", trace=trace, tenant_id=tenant_id))
        return tenant

    def delete_tenant(
        self, tenant_id: uuid.UUID, *, by: Actor | None, progress: Callable[[int], None], trace: Trace
    ) -> None:
        """Delete a suspended tenant. Its data keys go first: what was sealed for it is unreadable from then on.

        The rows follow in small transactions; a run that was killed is finished by the next one. `progress` is told how
        many are gone. Raises NotFound, InsufficientScope, Conflict (it is not suspended, or the default tenant).
        """
        with self._work.platform() as tx:
            authority_of(by, tx)
            if self._tenants.get_in(tx, tenant_id).slug == self._tenants.default_slug:
                raise Conflict("The default tenant can't be deleted.")
            self._tenants.change_status(tx, tenant_id, "deleted")
            shred(tx, tenant_id)
            self._feed.tenant_deleted(tx, tenant_id)
            self._audit.record(tx, Event("tenant.deleted", trace=trace, tenant_id=tenant_id))
        self._tenants.delete_rows(tenant_id, progress=progress, trace=trace)

    def revoke_key(self, kid: str, *, keep_sessions: bool, by: Actor | None = None, trace: Trace) -> int:
        """Refuse whatever a signing key has signed, because somebody else may have it. Answers how many sessions ended.

        Whoever had the key could act as anybody, so all sessions of all tenants end, unless they are to live on by
        refresh. A run that was killed is finished by the next one. Raises NotFound, InsufficientScope.
        """
        self._ring.revoke(kid, permit=partial(authority_of, by), trace=trace)
        if keep_sessions:
            return 0
        ended, after = 0, ""
        while page := self._tenants.list_tenants(after=after):
            for tenant in page:
                with self._work(tenant.id) as tx:
                    if store.find_tenant_status(tx) in {None, "deleted"}:  # meanwhile: nothing in it is accepted
                        continue
                    count = self._revocations.end_all(tx, reason="key-compromised")
                    self._audit.record(tx, _ended(count, "key-compromised", trace))
                ended += count
            after = page[-1].slug
        return ended


def _ended(count: int, reason: str, trace: Trace) -> Event:
    """In a tenant's log, of who acts from the platform. Where they sit stands in the platform's, by the same request.

    That is not for the tenant to read, and here it would not be erased with them.
    """
    return Event("sessions.ended", trace=replace(trace, address="-"), count=count, reason=reason)


def _require_another(user_id: uuid.UUID, by: Actor | None) -> None:
    if by is not None and by.user_id == user_id:
        raise InsufficientScope("Change your own password on the pages of your account.")
