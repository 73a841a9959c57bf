"""Registers users and checks who they are. Ending what they have started is `payymo.sessions`' business."""

import uuid
from collections.abc import Sequence
from dataclasses import replace

from payymo.clock import Clock
from payymo.db.work import Transaction, Work
from payymo.entropy import Entropy
from payymo.errors import InvalidInput, NotFound, Overloaded, TenantSuspended
from payymo.logs import SecurityLog, Trace
from payymo.roles.model import MEMBER
from payymo.roles.service import Actor, Grants, Roles, authority_of
from payymo.users import store
from payymo.users.model import Proof, User, UserStatus, canonical_email, name_problems, require_names
from payymo.users.passwords import Passwords, needs_replacement, password_problems


class Users:
    """The users of each tenant."""

    def __init__(
        self, work: Work, clock: Clock, entropy: Entropy, *, passwords: Passwords, roles: Roles, log: SecurityLog
    ) -> None:
        self._work = work
        self._clock = clock
        self._entropy = entropy
        self._passwords = passwords
        self._roles = roles
        self._log = log

    def create(
        self,
        tenant_id: uuid.UUID,
        *,
        email: str,
        username: str,
        password: str,
        roles: Sequence[str] = (MEMBER,),
        by: Actor | None,
        trace: Trace,
    ) -> User:
        """A new, active user, made on the word of `by`.

        Raises InvalidInput with each problem, AlreadyTaken, InsufficientScope, Overloaded. A taken name costs the same
        time as a free one: the password is hashed either way.
        """
        user, _ = self._add(tenant_id, email=email, username=username, password=password, roles=roles, by=by)
        self._log.event("user.created", "success", trace=trace, tenant_id=tenant_id, user_id=user.id)
        return user

    def register(self, tenant_id: uuid.UUID, *, email: str, username: str, password: str, trace: Trace) -> Proof:
        """A new user by their own wish, and the proof that it is them. Raises what `create` raises, TenantSuspended."""
        user, password_hash = self._add(
            tenant_id, email=email, username=username, password=password, roles=(MEMBER,), by=None, from_outside=True
        )
        self._log.event("user.registered", "success", trace=trace, tenant_id=tenant_id, user_id=user.id)
        return Proof(user.id, password_hash, user.status)

    def _add(
        self,
        tenant_id: uuid.UUID,
        *,
        email: str,
        username: str,
        password: str,
        roles: Sequence[str],
        by: Actor | None,
        from_outside: bool = False,
    ) -> tuple[User, str]:
        problems = [
            *name_problems(email, username),
            *password_problems(password, email=email, username=username),
        ]
        if problems:
            raise InvalidInput(problems)
        email_key, username_key = require_names(email, username)
        password_hash = self._passwords.hash(password)
        user = User(self._entropy.uuid(), tenant_id, email, username, "active", int(self._clock()))
        with self._work(tenant_id) as tx:
            if from_outside and not store.is_tenant_active(tx):  # it was, before the password was hashed
                raise TenantSuspended
            authority = authority_of(by, tx)
            store.add_user(tx, user, email_key=email_key, username_key=username_key, password_hash=password_hash)
            self._roles.assign(tx, user.id, roles, by=authority)
        return user, password_hash

    def prove(self, tenant_id: uuid.UUID, email: str, password: str) -> Proof | None:
        """The proof that these are a user's e-mail address and password, or None.

        The same work is done for nobody as for somebody. No transaction is open while the hash is computed. A hash of
        an older scheme is replaced.
        """
        key = canonical_email(email)
        with self._work.reading(tenant_id) as tx:
            # An address that can't be one is looked up like any other, so that it takes as long.
            proof = store.find_proof(tx, key or "-")
        if proof is None:
            self._passwords.dummy_password_check(password)
            return None
        return self._check(tenant_id, proof, password)

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
        if not needs_replacement(proof.password_hash):
            return proof
        try:
            replacement = self._passwords.hash(password)
        except Overloaded:  # what is old may get older; a right password must not be told apart by a 503
            return proof
        with self._work(tenant_id) as tx:
            replaced = store.replace_hash(tx, proof.user_id, old=proof.password_hash, new=replacement)
        if not replaced:  # a login beside this one was faster, or the password is another one now
            return self.prove_again(tenant_id, proof.user_id, password)
        return replace(proof, password_hash=replacement)

    def new_password_hash(self, user: User, password: str) -> str:
        """The hash of an acceptable new password. Raises InvalidInput, Overloaded."""
        problems = password_problems(password, email=user.email, username=user.username)
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
        """Step: disable or enable."""
        store.set_status(tx, user_id, status)

    def change_password(self, tx: Transaction, user_id: uuid.UUID, password_hash: str) -> None:
        """Step: store the hash of a new password."""
        store.set_password(tx, user_id, password_hash, now=int(self._clock()))
