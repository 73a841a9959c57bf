"""Registers users and checks who they are. Ending what they have started is `payymo.sessions`' business."""

import uuid
from collections.abc import Sequence
from dataclasses import replace

from payymo.audit.log import AuditLog
from payymo.clock import Clock
from payymo.db.work import Transaction, Work
from payymo.entropy import Entropy
from payymo.errors import Conflict, InvalidInput, NotFound, Overloaded, TenantSuspended
from payymo.logs import BY_ITSELF, Event, Trace
from payymo.roles.model import MEMBER
from payymo.roles.service import Actor, Grants, Roles, authority_of
from payymo.users import store
from payymo.users.model import (
    Account,
    Proof,
    User,
    UserStatus,
    canonical_email,
    canonical_username,
    name_problems,
    require_names,
)
from payymo.users.passwords import Passwords
from payymo.users.policies import PasswordPolicies

UNVERIFIED_SECONDS = 7 * 86_400
"""How long a registration may wait for its link to be opened: so long its names are taken."""
PRUNED_AT_ONCE = 500


class Users:
    """The users of each tenant."""

    def __init__(
        self,
        work: Work,
        clock: Clock,
        entropy: Entropy,
        *,
        passwords: Passwords,
        policies: PasswordPolicies,
        roles: Roles,
        audit: AuditLog,
    ) -> None:
        self._work = work
        self._clock = clock
        self._entropy = entropy
        self._passwords = passwords
        self._policies = policies
        self._roles = roles
        self._audit = audit

    def create(
        self,
        tenant_id: uuid.UUID,
        *,
        email: str,
        username: str,
        password: str,
        roles: Sequence[str] = (MEMBER,),
        language: str | None = None,
        by: Actor | None,
        trace: Trace,
    ) -> User:
        """A new, active user, made on the word of `by`. `language`: the code of that in which they are written to.

        Raises InvalidInput with each problem, AlreadyTaken, InsufficientScope, Overloaded. A taken name costs the same
        time as a free one: the password is hashed either way.
        """
        new = (tenant_id, email, username, password, roles)
        return self._add(*new, by=by, language=language, trace=trace)[0]

    def register(
        self, tenant_id: uuid.UUID, *, email: str, username: str, password: str, language: str | None, trace: Trace
    ) -> Proof:
        """A new user by their own wish, and the proof that it is them. Raises what `create` raises, TenantSuspended."""
        new = (tenant_id, email, username, password, (MEMBER,))
        user, password_hash = self._add(*new, by=None, language=language, trace=trace, from_outside=True)
        return Proof(user.id, password_hash, user.status)

    def _add(
        self,
        tenant_id: uuid.UUID,
        email: str,
        username: str,
        password: str,
        roles: Sequence[str],
        *,
        by: Actor | None,
        trace: Trace,
        language: str | None,
        from_outside: bool = False,
    ) -> tuple[User, str]:
        password_hash = self.new_users_hash(tenant_id, email=email, username=username, password=password)
        now = int(self._clock())
        # Who makes an account for somebody else vouches for the address.
        verified_at = None if from_outside else now
        user = User(self._entropy.uuid(), tenant_id, email, username, "active", now, verified_at, language)
        with self._work(tenant_id) as tx:
            if from_outside and not store.is_tenant_active(tx):  # it was, before the password was hashed
                raise TenantSuspended
            authority = authority_of(by, tx)
            self._add_in(tx, user, password_hash, roles, authority)
            name = "user.registered" if from_outside else "user.created"
            self._audit.record(tx, newcomer_event(name, user, roles, trace))
        return user, password_hash

    def _add_in(
        self, tx: Transaction, user: User, password_hash: str, roles: Sequence[str], authority: Sequence[str]
    ) -> None:
        email_key, username_key = require_names(user.email, user.username)
        store.add_user(tx, user, email_key=email_key, username_key=username_key, password_hash=password_hash)
        self._roles.assign(tx, user.id, roles, by=authority)

    def new_users_hash(self, tenant_id: uuid.UUID, *, email: str, username: str, password: str) -> str:
        """The hash of the password of a user who could be added. Raises InvalidInput with each problem, Overloaded."""
        problems = [
            *name_problems(email, username),
            *self._policies.problems(tenant_id, password, email=email, username=username),
        ]
        if problems:
            raise InvalidInput(problems)
        return self._passwords.hash(password)

    def add_unverified(
        self,
        tx: Transaction,
        tenant_id: uuid.UUID,
        *,
        email: str,
        username: str,
        password_hash: str,
        roles: Sequence[str] = (MEMBER,),
        by: Actor | None = None,
        language: str | None = None,
    ) -> Account:
        """Step: a new user, who logs in once the address is verified. Raises what `create` does of names and roles."""
        now = int(self._clock())
        user = User(self._entropy.uuid(), tenant_id, email, username, "unverified", now, language=language)
        self._add_in(tx, user, password_hash, roles, authority_of(by, tx))
        return Account(user, canonical_email(email) or "", password_hash, is_in_active_tenant=True)

    def prove(self, tenant_id: uuid.UUID, email: str, password: str) -> tuple[Proof | None, uuid.UUID | None]:
        """The proof that these are a user's e-mail address and password, or None; and whose address it is, or None.

        The same work is done for nobody as for somebody. No transaction is open while the hash is computed. A hash of
        an older scheme is replaced.
        """
        key = canonical_email(email)
        with self._work.reading(tenant_id) as tx:
            # An address that can't be one is looked up like any other, so that it takes as long.
            proof = store.find_proof(tx, key or "-")
        if proof is None:
            self._passwords.dummy_password_check(password)
            return None, None
        return self._check(tenant_id, proof, password), proof.user_id

    def prove_again(self, tenant_id: uuid.UUID, user_id: uuid.UUID, password: str) -> Proof | None:
        """The proof that this is the user's present password, or None."""
        with self._work.reading(tenant_id) as tx:
            proof = store.find_proof_of(tx, user_id)
        return proof and self._check(tenant_id, proof, password)

    def lock_proven(self, tx: Transaction, proof: Proof) -> User | None:
        """Step: the user, if what was proven still holds. Nobody changes them before this transaction ends.

        A login that was under way while the password was changed, or the user or the tenant disabled, must not start a
        session.
        """
        user, password_hash = store.lock_active(tx, proof.user_id) or (None, None)
        return user if password_hash == proof.password_hash else None

    def _check(self, tenant_id: uuid.UUID, proof: Proof, password: str) -> Proof | None:
        if not self._passwords.verify(password, proof.password_hash) or proof.status != "active":
            return None
        if not self._passwords.needs_replacement(proof.password_hash):
            return proof
        try:
            replacement = self._passwords.hash(password)
        except Overloaded:  # what is old may get older; a right password must not be told apart by a 503
            return proof
        with self._work(tenant_id) as tx:
            replaced = store.replace_hash(tx, proof.user_id, old=proof.password_hash, new=replacement)
            if replaced:
                self._audit.record(tx, Event("user.password-rehashed", trace=BY_ITSELF, user_id=proof.user_id))
        if not replaced:  # a login beside this one was faster, or the password is another one now
            return self.prove_again(tenant_id, proof.user_id, password)
        return replace(proof, password_hash=replacement)

    def new_password_hash(self, user: User, password: str) -> str:
        """The hash of an acceptable new password. Raises InvalidInput, Overloaded."""
        problems = self._policies.problems(user.tenant_id, password, email=user.email, username=user.username)
        if problems:
            raise InvalidInput(problems)
        return self._passwords.hash(password)

    def get(self, tenant_id: uuid.UUID, user_id: uuid.UUID) -> tuple[User, Grants]:
        """The user and what they hold. Raises NotFound, also for another tenant's user."""
        with self._work.reading(tenant_id) as tx:
            return self.get_in(tx, user_id), self._roles.grants_of(tx, user_id)

    def get_by_email(self, tenant_id: uuid.UUID, email: str) -> User:
        """The user with this address. Raises NotFound."""
        with self._work.reading(tenant_id) as tx:
            found = store.find_by_email(tx, canonical_email(email) or "-")
        if found is None:
            raise NotFound("There is no user with this e-mail address.")
        return found

    def list_users(self, tenant_id: uuid.UUID, *, after: str, count: int) -> tuple[tuple[User, Grants], ...]:
        """A page of users with what they hold, by user name."""
        with self._work.reading(tenant_id) as tx:
            found = store.list_users(tx, after=after, count=count)
            return tuple((user, self._roles.grants_of(tx, user.id)) for user in found)

    def get_in(self, tx: Transaction, user_id: uuid.UUID) -> User:
        """Step: the user. Raises NotFound."""
        found = store.find_user(tx, user_id)
        if found is None:
            raise NotFound
        return found

    def lock(self, tx: Transaction, user_id: uuid.UUID, *, by: Actor | None) -> None:
        """Step: nobody else changes this user, or who changes them, before this transaction ends. Raises NotFound."""
        if user_id not in store.lock(tx, [user_id] if by is None else [user_id, by.user_id]):
            raise NotFound

    def lock_active(self, tx: Transaction, user_id: uuid.UUID) -> User | None:
        """Step: the user, if they and their tenant are active. They stay so until this transaction ends."""
        user, _ = store.lock_active(tx, user_id) or (None, None)
        return user

    def change_status(self, tx: Transaction, user_id: uuid.UUID, status: UserStatus) -> None:
        """Step: disable or enable. Raises Conflict: that is not to stand in for verifying an address."""
        if self.get_in(tx, user_id).status == "unverified":
            raise Conflict("This user has yet to verify their address, and can't log in before. Erase them instead.")
        store.set_status(tx, user_id, status)

    def change_password(self, tx: Transaction, user_id: uuid.UUID, password_hash: str) -> None:
        """Step: store the hash of a new password."""
        store.set_password(tx, user_id, password_hash, now=int(self._clock()))

    def unusable_hash(self) -> str:
        """The hash of a password that nobody knows, and that costs what others cost. Raises Overloaded."""
        return self._passwords.hash(self._entropy.token(32))

    def proof_of(self, tx: Transaction, user_id: uuid.UUID) -> Proof | None:
        """Step: what stands for the proof of a user who has just logged in, or None: they are not active."""
        proof = store.find_proof_of(tx, user_id)
        return proof if proof is not None and proof.status == "active" else None

    def find_account(self, tx: Transaction, user_id: uuid.UUID) -> Account | None:
        """Step: the user with what links are bound to."""
        return store.find_account(tx, user_id)

    def lock_account(self, tx: Transaction, user_id: uuid.UUID) -> Account | None:
        """Step: the same; nobody changes them before this transaction ends."""
        return store.lock_account(tx, user_id)

    def lock_account_at(self, tx: Transaction, email: str) -> Account | None:
        """Step: the same for whoever has this address, in whatever spelling."""
        return store.lock_account_at(tx, canonical_email(email) or "-")

    def is_username_taken(self, tx: Transaction, username: str) -> bool:
        """Step: whether somebody has this name, in whatever spelling."""
        return store.is_username_taken(tx, canonical_username(username) or "-")

    def mark_verified(self, tx: Transaction, user_id: uuid.UUID) -> None:
        """Step: the address is theirs. Who has waited for that may log in from now on."""
        store.mark_verified(tx, user_id, now=int(self._clock()))

    def change_email(self, tx: Transaction, user_id: uuid.UUID, email: str) -> None:
        """Step: another address, of which a link has shown that it is theirs. Raises AlreadyTaken."""
        store.set_email(tx, user_id, email=email, email_key=canonical_email(email) or "")
        self.mark_verified(tx, user_id)

    def remove(self, tx: Transaction, user_id: uuid.UUID) -> None:
        """Step: delete a user, with roles, sessions, devices and links."""
        store.remove_user(tx, user_id)

    def list_unverified(self, tx: Transaction) -> Sequence[tuple[uuid.UUID, uuid.UUID]]:
        """Platform step: tenants and ids of some of those who registered and never came back."""
        return store.list_unverified(tx, before=int(self._clock()) - UNVERIFIED_SECONDS, count=PRUNED_AT_ONCE)

    def remove_unverified(self, tx: Transaction, user_ids: Sequence[uuid.UUID]) -> int:
        """Platform step: delete those of them who have still not come back. Answers how many."""
        return store.remove_unverified(tx, user_ids)


def newcomer_event(name: str, user: User, roles: Sequence[str], trace: Trace) -> Event:
    """What goes on record of a new user."""
    new = {"status": user.status, "roles": sorted(roles)}
    return Event(name, trace=trace, user_id=user.id, new=new, personal={"email": user.email, "username": user.username})
