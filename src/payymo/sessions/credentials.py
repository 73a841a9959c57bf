"""Passwords that change: by their owner, who knows the old one; by whoever opens a link in a mail; by force.

Who asks for a reset is answered before anybody has looked whether there is such a user: that is an errand of the
courier's. So neither the answer nor its time can tell.
"""

import uuid
from collections.abc import Mapping
from dataclasses import replace

from payymo.audit.log import AuditLog
from payymo.clock import Clock
from payymo.db.work import Transaction, Work
from payymo.errors import InvalidCredentials, InvalidLink, LoginTooOld, MailOff
from payymo.links.service import Links
from payymo.logs import Event, Outcome, Trace
from payymo.mail.model import Message
from payymo.mail.outbox import Outbox
from payymo.sessions import store
from payymo.sessions.lockouts import Lockouts
from payymo.sessions.notices import Notices
from payymo.sessions.redeeming import look_up, redeem
from payymo.sessions.revocations import Revocations
from payymo.users.model import Proof
from payymo.users.service import Users

ERRAND_SECONDS = 3600
"""How long it is tried to do what was asked for: later, nobody waits for the mail any more."""


class Credentials:
    """Changes of passwords, and what they end."""

    def __init__(
        self,
        work: Work,
        clock: Clock,
        *,
        users: Users,
        links: Links,
        outbox: Outbox,
        notices: Notices,
        lockouts: Lockouts,
        revocations: Revocations,
        audit: AuditLog,
    ) -> None:
        self._work = work
        self._clock = clock
        self._users = users
        self._links = links
        self._outbox = outbox
        self._notices = notices
        self._lockouts = lockouts
        self._revocations = revocations
        self._audit = audit

    def prove_again(
        self, tenant_id: uuid.UUID, user_id: uuid.UUID, session_id: uuid.UUID, password: str | None
    ) -> Proof | None:
        """The proof that it is the user who acts: by the password, else by a session that has just begun.

        None: the password is wrong. Raises LoginTooOld: there is none, and the session is older.
        """
        if password is not None:
            return self._users.prove_again(tenant_id, user_id, password)
        with self._work.reading(tenant_id) as tx:
            session = store.find_session(tx, session_id)
            if session is None or not session.is_recent_at(int(self._clock())):
                raise LoginTooOld
            return self._users.proof_of(tx, user_id)

    def change_password(
        self,
        tenant_id: uuid.UUID,
        user_id: uuid.UUID,
        session_id: uuid.UUID,
        *,
        current: str | None,
        new: str,
        trace: Trace,
    ) -> None:
        """Change one's own password, and end every other session. Links that were sent before end, too.

        Raises InvalidCredentials, LoginTooOld, InvalidInput, Overloaded.
        """
        user, _ = self._users.get(tenant_id, user_id)
        proof = self.prove_again(tenant_id, user_id, session_id, current)
        changed = False
        event = Event("user.password-changed", "refused", trace=trace, tenant_id=tenant_id, user_id=user_id)
        if proof is not None:
            new_hash = self._users.new_password_hash(user, new)
            with self._work(tenant_id) as tx:
                if changed := self._users.lock_proven(tx, proof) is not None:
                    self._users.change_password(tx, user_id, new_hash)
                    self._revocations.end_others(tx, user_id, kept=session_id, reason="password-changed")
                    self._notices.tell(tx, "password-changed", user)
                self._audit.record(tx, replace(event, outcome="success") if changed else event)
        else:
            self._audit.record_apart(event)
        if not changed:
            raise InvalidCredentials("The current password is wrong.")

    def request_reset(self, tenant_id: uuid.UUID, email: str, *, is_wanted: bool, trace: Trace) -> None:
        """Have a link sent to whoever has this address. The same happens here for everybody and nobody.

        Not `is_wanted`: enough letters went there. Raises MailOff.
        """
        require_mail(self._outbox)
        if is_wanted:
            origin = {"request_id": trace.request_id, "address": trace.address}
            with self._work(tenant_id) as tx:
                self._outbox.put(tx, Message("password-reset", email, origin, live_seconds=ERRAND_SECONDS))

    def send_reset(self, tx: Transaction, email: str, origin: Mapping[str, str]) -> None:
        """The errand behind it: a link to the address that is stored, never to the one that was typed in."""
        account = self._users.lock_account_at(tx, email)
        user = None if account is None or not account.may_act else account.user
        if account is not None and user is not None:
            link = self._links.issue(tx, "reset-password", user.id, bound_to=account.binding, ends_earlier=False)
            letter = Message("reset-password", user.email, link.facts, user_id=user.id, live_seconds=link.live_seconds)
            self._outbox.put(tx, replace(letter, language=user.language))
        trace = Trace(origin["request_id"], origin["address"])
        outcome: Outcome = "refused" if user is None else "success"
        whose = None if user is None else user.id
        self._audit.record(tx, Event("user.reset-requested", outcome, trace=trace, user_id=whose))

    def confirm_reset(
        self, tenant_id: uuid.UUID, token: str, new: str, *, devices: tuple[str, ...] = (), trace: Trace
    ) -> tuple[uuid.UUID, str | None]:
        """A new password for whoever was sent this link. Every session of theirs ends, and none begins.

        The password is looked at first, so that a bad one does not use the link up. Who has opened the link has shown
        that the address is theirs. Answers who that is, and the cookie by which their browser is known from now on
        (`Lockouts.know`). Raises InvalidLink, InvalidInput, Overloaded.
        """
        with self._work.reading(tenant_id) as tx:
            seen = look_up(tx, self._links, self._users, token, "reset-password")
        done = None
        cookie: str | None = None
        event = Event("user.password-reset", "refused", trace=trace, tenant_id=tenant_id)
        if seen is not None:
            new_hash = self._users.new_password_hash(seen.user, new)
            with self._work(tenant_id) as tx:
                done = redeem(tx, self._links, self._users, token, "reset-password")
                if done is not None:
                    user = done[0].user
                    self._users.change_password(tx, user.id, new_hash)
                    self._users.mark_verified(tx, user.id)
                    cookie = self._lockouts.know(tx, user.id, devices)
                    self._lockouts.unlock(tx, user.id)
                    self._revocations.end_of_user(tx, user.id, reason="password-changed")
                    self._notices.tell(tx, "password-changed", user)
                    event = replace(event, outcome="success", user_id=user.id)
                self._audit.record(tx, event)
        else:
            self._audit.record_apart(event)
        if done is None:
            raise InvalidLink
        return done[0].user.id, cookie


def require_mail(outbox: Outbox) -> None:
    """Raise MailOff where no mail is sent."""
    if not outbox.is_on:
        raise MailOff
