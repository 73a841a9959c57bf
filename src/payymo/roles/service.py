"""Makes roles, hands them to users, and says what a user may do. Nobody hands out what they don't have."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from payymo.audit.log import AuditLog
from payymo.clock import Clock
from payymo.db.work import Transaction, Work
from payymo.errors import FieldError, InsufficientScope, InvalidInput, NotFound
from payymo.feed.service import MANY_HOLDERS
from payymo.logs import Event, Fact, Trace
from payymo.roles import store
from payymo.roles.model import BUILT_IN, Role, covers, is_role_name, new_role


@dataclass(frozen=True, slots=True)
class Grants:
    """What a user holds: role names, and the permissions that they come to."""

    roles: tuple[str, ...]
    permissions: tuple[str, ...]


class Actor(Protocol):
    """On whose word something is changed. None stands for the operator at the console."""

    user_id: uuid.UUID

    def authority_in(self, tx: Transaction) -> Sequence[str]:
        """What they may do, from now until the transaction ends. Raises when they may do nothing any more."""
        ...


class Revokes(Protocol):
    """Who makes it count everywhere that permissions have changed."""

    def permissions_changed(self, tx: Transaction, holders: Sequence[uuid.UUID]) -> None:
        """Step: what these users may do has changed. More than `MANY_HOLDERS` stand for everybody."""
        ...


OPERATOR: Final = ("*:*",)
"""What the operator at the console may do."""


def authority_of(by: Actor | None, tx: Transaction) -> Sequence[str]:
    """Step: what somebody may do inside this transaction."""
    return OPERATOR if by is None else by.authority_in(tx)


class Roles:
    """The roles of each tenant."""

    def __init__(self, work: Work, clock: Clock, *, revokes: Revokes, audit: AuditLog) -> None:
        self._work = work
        self._clock = clock
        self._revokes = revokes
        self._audit = audit

    def list_roles(self, tenant_id: uuid.UUID) -> tuple[Role, ...]:
        """The built-in roles and the tenant's own."""
        with self._work.reading(tenant_id) as tx:
            own = store.list_roles(tx)
        return tuple(Role(name, permissions, is_built_in=True) for name, permissions in BUILT_IN.items()) + own

    def create(
        self, tenant_id: uuid.UUID, name: str, permissions: Iterable[str], *, by: Actor | None, trace: Trace
    ) -> Role:
        """A new role, on the word of `by`. Raises InvalidInput, Conflict, InsufficientScope."""
        role = new_role(name, permissions)
        with self._work(tenant_id) as tx:
            _require_covered(authority_of(by, tx), role.permissions)
            store.add_role(tx, role, now=int(self._clock()))
            self._audit.record(tx, Event("role.created", trace=trace, role=role.name, new=_facts(role)))
        return role

    def change(
        self, tenant_id: uuid.UUID, name: str, permissions: Iterable[str], *, by: Actor | None, trace: Trace
    ) -> Role:
        """Replace a role's permissions. Raises NotFound, InvalidInput, InsufficientScope."""
        _require_own(name)
        role = new_role(name, permissions)
        with self._work(tenant_id) as tx:
            authority, old = authority_of(by, tx), self._lock(tx, name)
            _require_covered(authority, old.permissions)
            _require_covered(authority, role.permissions)
            store.change_role(tx, role)
            self._revokes.permissions_changed(tx, store.list_holders(tx, name, count=MANY_HOLDERS + 1))
            self._audit.record(tx, Event("role.changed", trace=trace, role=name, old=_facts(old), new=_facts(role)))
        return role

    def remove(self, tenant_id: uuid.UUID, name: str, *, by: Actor | None, trace: Trace) -> None:
        """Remove a role, also from those who hold it. Raises NotFound, InsufficientScope."""
        _require_own(name)
        with self._work(tenant_id) as tx:
            authority, old = authority_of(by, tx), self._lock(tx, name)  # in this order, as whoever assigns it
            _require_covered(authority, old.permissions)
            holders = store.list_holders(tx, name, count=MANY_HOLDERS + 1)
            tx.take_time()  # everybody may hold it
            store.remove_role(tx, name)
            self._revokes.permissions_changed(tx, holders)
            self._audit.record(tx, Event("role.removed", trace=trace, role=name, old=_facts(old)))

    @staticmethod
    def _lock(tx: Transaction, name: str) -> Role:
        """The role; nobody else assigns, changes or removes it before this transaction ends. Raises NotFound."""
        found = store.lock_role(tx, name, to_change=True)
        if found is None:
            raise NotFound("There is no such role.")
        return found

    def grants_of(self, tx: Transaction, user_id: uuid.UUID) -> Grants:
        """Step: what a user holds now. A role name that stands for nothing grants nothing."""
        held = store.list_held(tx, user_id)
        permissions = {
            permission for name, own in held for permission in (BUILT_IN.get(name, ()) if own is None else own)
        }
        return Grants(tuple(name for name, _ in held), tuple(sorted(permissions)))

    def lock_held(self, tx: Transaction, *user_ids: uuid.UUID) -> None:
        """Step: the roles of these users, who are locked, stay what they are until this transaction ends."""
        held = {name for user_id in user_ids for name, own in store.list_held(tx, user_id) if own is not None}
        for name in sorted(held):
            store.lock_role(tx, name, to_change=False)

    def names_held(self, tx: Transaction, user_ids: Sequence[uuid.UUID]) -> Mapping[uuid.UUID, tuple[str, ...]]:
        """Step: the role names of each of some users who holds any, in one query."""
        found: dict[uuid.UUID, tuple[str, ...]] = {}
        for user_id, name in store.list_names_held(tx, user_ids) if user_ids else ():
            found[user_id] = (*found.get(user_id, ()), name)
        return found

    def assign(self, tx: Transaction, user_id: uuid.UUID, names: Iterable[str], *, by: Sequence[str]) -> None:
        """Step: give a user exactly these roles, on the word of somebody who may do `by`.

        Both what is given and what is taken away has to be covered. The user is locked, or new; the roles stay what
        they are until this transaction ends. Raises InvalidInput, InsufficientScope.
        """
        wanted = tuple(sorted(set(names)))
        found = {name: self._permissions_of(tx, name) for name in wanted}
        if None in found.values():
            raise InvalidInput([FieldError("/roles", "there is no role with one of these names")])
        for permissions in found.values():
            _require_covered(by, permissions or ())
        _require_covered(by, self.grants_of(tx, user_id).permissions)
        store.replace_held(tx, user_id, wanted)

    def why_not(self, tx: Transaction, names: Iterable[str], *, by: Sequence[str]) -> str | None:
        """Step: why somebody who may do `by` can't give these roles to a new user; None: they can, until it ends."""
        for name in sorted(set(names)):
            permissions = self._permissions_of(tx, name)
            if permissions is None:
                return f"there is no role {name!r}"
            if not covers(by, permissions):
                return f"{name!r} grants more than you have"
        return None

    def hand_out(self, tx: Transaction, holdings: Mapping[uuid.UUID, Iterable[str]]) -> None:
        """Step: give new users roles that `why_not` has nothing against in this transaction."""
        store.add_held(tx, [(user_id, name) for user_id, names in holdings.items() for name in sorted(set(names))])

    @staticmethod
    def _permissions_of(tx: Transaction, name: str) -> tuple[str, ...] | None:
        if name in BUILT_IN:
            return BUILT_IN[name]
        found = store.lock_role(tx, name, to_change=False) if is_role_name(name) else None
        return None if found is None else found.permissions


def _facts(role: Role) -> dict[str, Fact]:
    return {"permissions": list(role.permissions)}


def _require_covered(by: Sequence[str], permissions: Iterable[str]) -> None:
    if not covers(by, permissions):
        raise InsufficientScope("This would hand out, or take away, a permission that you don't have yourself.")


def _require_own(name: str) -> None:
    if not is_role_name(name):
        raise NotFound("There is no such role.")
    if name in BUILT_IN:
        raise InvalidInput([FieldError("/name", "built-in roles can't be changed")])
