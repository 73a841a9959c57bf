"""`/admin/roles`: which role grants what, as a table; and the tenant's own roles, made, changed and removed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field

from payymo.errors import FieldError, InvalidInput, NotFound
from payymo.roles.model import Role, covers
from payymo.roles.service import Roles
from payymo.web.console.pages import Answer, Onward, Sheet, page
from payymo.web.console.visit import Visit
from payymo.web.models import Name
from payymo.web.routing import Input

ROLES: Final = "/admin/roles"
NEW: Final = f"{ROLES}/_new"
"""No role has this name."""
ROLE: Final = f"{ROLES}/<string:name>"
OWN_A_PAGE: Final = 12
"""Own roles in one table, beside the built-in ones: more would be wider than anybody reads."""
KNOWN: Final = (
    "account:read",
    "account:write",
    "apikeys:read",
    "apikeys:write",
    "audit:read",
    "impersonation:write",
    "policies:read",
    "policies:write",
    "roles:read",
    "roles:write",
    "sessions:read",
    "sessions:write",
    "users:read",
    "users:write",
    "webhooks:read",
    "webhooks:write",
)
"""What the service itself asks for within a tenant. Every other permission is of a program that asks for it."""
Permissions = Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=100, default_factory=list)]


class RolesQuery(Input):
    """Own roles whose names come after this one."""

    after: Annotated[str, Field(max_length=64)] = ""


class PermissionsForm(Input):
    """What a role grants. `others`: permissions of programs, separated by lines or spaces."""

    permissions: Permissions
    others: Annotated[str, Field(max_length=12_000)] = ""

    @property
    def all(self) -> list[str]:
        """All of them."""
        return [*self.permissions, *self.others.split()]


class NewRoleForm(PermissionsForm):
    """A new role."""

    name: Name


@dataclass(frozen=True, slots=True)
class Line:
    """A permission, and which of the roles in the table grant it, by itself or by a wildcard."""

    permission: str
    granted: tuple[bool, ...]


class AdminRolesDesk:
    """The roles of one's own tenant."""

    def __init__(self, *, roles: Roles) -> None:
        self._roles = roles

    @page("GET", ROLES, permission="roles:read")
    def list_roles(self, visit: Visit, query: RolesQuery) -> Answer:
        """Show which role grants what: the built-in ones, and a page of the tenant's own."""
        every = self._roles.list_roles(visit.tenant_id)
        own = [role for role in every if not role.is_built_in and role.name > query.after]
        shown = [*(role for role in every if role.is_built_in), *own[:OWN_A_PAGE]]
        more = len(own) > OWN_A_PAGE
        facts = {
            "roles": shown,
            "lines": table_of(shown),
            "first": ROLES if query.after else None,
            "next": f"{ROLES}?after={shown[-1].name}" if more else None,
        }
        return Sheet("admin_roles.html", facts)

    @page("GET", NEW, permission="roles:write", is_dangerous=True)
    def show_new(self, visit: Visit) -> Answer:
        """Ask for a name and permissions."""
        return Sheet("admin_role_new.html", {"known": _offered(visit, ())})

    @page("POST", NEW, permission="roles:write", is_dangerous=True, refused="show_new")
    def create(self, visit: Visit, form: NewRoleForm) -> Answer:
        """Create a role from permissions that one has oneself."""
        with at_fields():
            self._roles.create(visit.tenant_id, form.name, form.all, by=visit.caller.actor, trace=visit.caller.trace)
        return Onward(ROLES, "saved")

    @page("GET", ROLE, permission="roles:read")
    def show_role(self, visit: Visit, name: str) -> Answer:
        """Show what a role grants, to be changed."""
        role = self._get(visit, name)
        may_write = not role.is_built_in and visit.may("roles:write")
        known = _offered(visit, role.permissions)
        others = [permission for permission in role.permissions if permission not in known]
        return Sheet("admin_role.html", {"role": role, "known": known, "others": others, "may_write": may_write})

    @page("POST", ROLE, permission="roles:write", is_dangerous=True, refused="show_role")
    def change(self, visit: Visit, name: str, form: PermissionsForm) -> Answer:
        """Replace its permissions. Whoever holds it has others at once."""
        with at_fields():
            self._roles.change(visit.tenant_id, name, form.all, by=visit.caller.actor, trace=visit.caller.trace)
        return Onward(ROLES, "saved")

    @page("GET", f"{ROLE}/remove", permission="roles:write", is_dangerous=True)
    def show_remove(self, visit: Visit, name: str) -> Answer:
        """Say what goes."""
        return Sheet("admin_role_remove.html", {"role": self._get(visit, name)})

    @page("POST", f"{ROLE}/remove", permission="roles:write", is_dangerous=True, refused="show_remove")
    def remove(self, visit: Visit, name: str) -> Answer:
        """Remove it, also from those who hold it."""
        self._roles.remove(visit.tenant_id, name, by=visit.caller.actor, trace=visit.caller.trace)
        return Onward(ROLES, "role-removed")

    def _get(self, visit: Visit, name: str) -> Role:
        for role in self._roles.list_roles(visit.tenant_id):
            if role.name == name:
                return role
        raise NotFound("There is no such role.")


def table_of(roles: Sequence[Role]) -> list[Line]:
    """Each permission that a role names, and which of the roles grant it."""
    named = sorted({permission for role in roles for permission in role.permissions} | set(KNOWN))
    return [Line(permission, tuple(covers(role.permissions, (permission,)) for role in roles)) for permission in named]


def _offered(visit: Visit, chosen: Sequence[str]) -> list[str]:
    """The service's own permissions that they could give, and those that the role has."""
    held = visit.who.grants.permissions
    return [permission for permission in KNOWN if permission in chosen or covers(held, (permission,))]


@contextmanager
def at_fields() -> Iterator[None]:
    """What is wrong with a permission is said where it was typed."""
    try:
        yield
    except InvalidInput as refused:
        raise InvalidInput(
            [FieldError(found.pointer.replace("/permissions", "/others"), found.detail) for found in refused.errors]
        ) from None
