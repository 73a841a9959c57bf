"""Addresses that are proven: registration with a link, and the change of an address.

With verification required, whoever registers is answered before anybody has looked whether the address or the name is
taken: that is an errand of the courier's. What came of it stands in a mail, which the owner of the address reads.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace

from payymo.audit.log import AuditLog
from payymo.db.work import Transaction, Work
from payymo.errors import FieldError, InvalidCredentials, InvalidInput, InvalidLink, TenantSuspended
from payymo.links.model import IssuedLink
from payymo.links.service import Links
from payymo.logs import Event, Outcome, Trace
from payymo.mail.model import DAY_SECONDS, Kind, Message
from payymo.mail.outbox import Outbox
from payymo.sessions import store
from payymo.sessions.credentials import Credentials, require_mail
from payymo.sessions.lockouts import Lockouts
from payymo.sessions.notices import Notices
from payymo.sessions.redeeming import redeem
from payymo.users.model import Account, canonical_email
from payymo.users.service import Users


class Addresses:
    """Who has which e-mail address, and how they show it."""

    def __init__(
        self,
        work: Work,
        *,
        users: Users,
        credentials: Credentials,
        links: Links,
        outbox: Outbox,
        notices: Notices,
        lockouts: Lockouts,
        audit: AuditLog,
    ) -> None:
        self._work = work
        self._users = users
        self._credentials = credentials
        self._links = links
        self._outbox = outbox
        self._notices = notices
        self._lockouts = lockouts
        self._audit = audit

    def request_registration(
        self,
        tenant_id: uuid.UUID,
        *,
        email: str,
        username: str,
        password: str,
        language: str | None,
        is_wanted: Callable[[], bool],
        trace: Trace,
    ) -> None:
        """Take a registration down. The same happens here whether its names are taken or not.

        `language`: the code of that in which they would rather be written to. `is_wanted`: whether a letter may go to
        this address; to ask is to count one, so that it is asked last. Raises InvalidInput, TenantSuspended,
        Overloaded, MailOff.
        """
        require_mail(self._outbox)
        with self._work.reading(tenant_id) as tx:
            if store.find_tenant_status(tx) != "active":
                raise TenantSuspended
        password_hash = self._users.new_users_hash(tenant_id, email=email, username=username, password=password)
        facts = {
            "username": username,
            "password_hash": password_hash,
            "request_id": trace.request_id,
            "address": trace.address,
            **({} if language is None else {"language": language}),
        }
        if is_wanted():
            with self._work(tenant_id) as tx:
                self._outbox.put(tx, Message("registration", email, facts, live_seconds=DAY_SECONDS))

    def register(self, tx: Transaction, email: str, facts: Mapping[str, str]) -> None:
        """The errand behind it: a new user and a link, or a letter that says why not. Raises AlreadyTaken in a race."""
        tenant_id, trace = tx.tenant_id, Trace(facts["request_id"], facts["address"])
        account = self._users.lock_account_at(tx, email)
        user_id: uuid.UUID | None = None
        is_open = tenant_id is not None and store.find_tenant_status(tx) == "active"
        if account is not None:
            self._answer_namesake(tx, account)
        elif is_open and tenant_id is not None:
            user_id = self._add(tx, tenant_id, email, facts)
        event = Event("user.registered", "refused", trace=trace)  # names that nobody has are nobody's to have erased
        if user_id is not None:
            personal = {"email": email, "username": facts["username"]}
            event = replace(event, outcome="success", user_id=user_id, personal=personal)
        self._audit.record(tx, event)

    def _add(self, tx: Transaction, tenant_id: uuid.UUID, email: str, facts: Mapping[str, str]) -> uuid.UUID | None:
        username, language = facts["username"], facts.get("language")
        if self._users.is_username_taken(tx, username):
            told = {"username": username}
            self._outbox.put(tx, Message("username-taken", email, told, live_seconds=DAY_SECONDS, language=language))
            return None
        made = self._users.add_unverified(
            tx, tenant_id, email=email, username=username, password_hash=facts["password_hash"], language=language
        )
        link = self._links.issue(tx, "verify-email", made.user.id, bound_to=made.binding)
        self._send(tx, "verify-email", made, link)
        return made.user.id

    def _answer_namesake(self, tx: Transaction, account: Account) -> None:
        """A letter to who has the address already.

        Of several who registered with one address and never verified it, nobody knows who its owner is. Whoever opens
        the link chooses the password, so that nobody gets into an account with one that a stranger has put there.
        """
        user = account.user
        if not account.may_act:
            return
        if user.status == "unverified":
            self._links.end(tx, user.id, "verify-email")
            link = self._links.issue(tx, "reset-password", user.id, bound_to=account.binding, ends_earlier=False)
            self._send(tx, "choose-password", account, link)
            return
        letter = Message("account-exists", user.email, user_id=user.id, live_seconds=DAY_SECONDS)
        self._outbox.put(tx, replace(letter, language=user.language))

    def verify(self, tenant_id: uuid.UUID, token: str, *, devices: tuple[str, ...] = (), trace: Trace) -> str | None:
        """The address is theirs: from now on they log in. Raises InvalidLink.

        Answers the cookie by which their browser is known from now on (`Lockouts.know`).
        """
        cookie: str | None = None
        with self._work(tenant_id) as tx:
            done = redeem(tx, self._links, self._users, token, "verify-email")
            if done is not None:
                self._users.mark_verified(tx, done[0].user.id)
                cookie = self._lockouts.know(tx, done[0].user.id, devices)
                self._lockouts.unlock(tx, done[0].user.id)  # what was tried before was tried at nobody's password
            self._note(tx, "user.email-verified", done and done[0], trace)
        _require(done)
        return cookie

    def request_change(
        self,
        tenant_id: uuid.UUID,
        user_id: uuid.UUID,
        session_id: uuid.UUID,
        *,
        new_email: str,
        current_password: str | None,
        is_wanted: Callable[[], bool],
        trace: Trace,
    ) -> None:
        """Have a link sent to a new address. Whether somebody else has it, only its owner will learn.

        `is_wanted`: whether a letter may go there; to ask is to count one. If not, who asks isn't told, for it may be
        somebody else's mailbox. Raises InvalidInput, InvalidCredentials, LoginTooOld, Overloaded, MailOff.
        """
        require_mail(self._outbox)
        if canonical_email(new_email) is None:
            raise InvalidInput([FieldError("/new_email", "an e-mail address in ASCII, at most 254 characters")])
        proof = self._credentials.prove_again(tenant_id, user_id, session_id, current_password)
        account = None
        event = Event("user.email-change-requested", "refused", trace=trace, tenant_id=tenant_id, user_id=user_id)
        if proof is not None:
            may_go = is_wanted()  # by a connection of its own: before the transaction
            with self._work(tenant_id) as tx:
                is_proven = self._users.lock_proven(tx, proof) is not None
                account = self._users.find_account(tx, user_id) if is_proven else None
                if account is not None:
                    if may_go:
                        self._send_change(tx, account, new_email)
                    event = replace(event, outcome="success", personal={"new_email": new_email})
                self._audit.record(tx, event)
        else:
            self._audit.record_apart(event)
        if account is None:
            raise InvalidCredentials("The current password is wrong.")

    def _send_change(self, tx: Transaction, account: Account, new_email: str) -> None:
        link = self._links.issue(tx, "change-email", account.user.id, bound_to=account.binding, subject=new_email)
        self._send(tx, "change-email", replace(account, user=replace(account.user, email=new_email)), link)

    def confirm_change(self, tenant_id: uuid.UUID, token: str, *, trace: Trace) -> None:
        """The new address is theirs, and takes the place of the old one, which is told.

        A link for an address that is taken is not used up: it may yet become free. Raises InvalidLink, AlreadyTaken.
        """
        with self._work(tenant_id) as tx:
            done = redeem(tx, self._links, self._users, token, "change-email")
            if done is not None:
                account, link = done
                self._users.change_email(tx, account.user.id, link.subject)
                self._lockouts.unlock(tx, account.user.id)  # at the new address: see above
                self._lockouts.leave_address(tx, account.user)
                self._notices.tell(tx, "email-changed", account.user)
            personal = {} if done is None else {"old_email": done[0].user.email, "new_email": done[1].subject}
            self._note(tx, "user.email-changed", done and done[0], trace, personal)
        _require(done)

    def _send(self, tx: Transaction, kind: Kind, account: Account, link: IssuedLink) -> None:
        user = account.user
        letter = Message(kind, user.email, link.facts, user_id=user.id, live_seconds=link.live_seconds)
        self._outbox.put(tx, replace(letter, language=user.language))

    def _note(
        self,
        tx: Transaction,
        name: str,
        account: Account | None,
        trace: Trace,
        personal: Mapping[str, str] | None = None,
    ) -> None:
        """Step: what came of a link."""
        outcome: Outcome = "refused" if account is None else "success"
        whose = None if account is None else account.user.id
        self._audit.record(tx, Event(name, outcome, trace=trace, user_id=whose, personal=personal))


def _require(done: object | None) -> None:
    if done is None:
        raise InvalidLink
