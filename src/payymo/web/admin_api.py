"""`/api/admin`: users, roles and sessions of one's own tenant; tenants, for the platform administrator.

The tenant is always the token's. No path, body or query member names one, except on `/api/admin/tenants`, which needs a
permission that only the platform administrator has.
"""

import uuid

from payymo.roles.service import Roles
from payymo.sessions.administration import Administration
from payymo.sessions.service import Sessions
from payymo.tenants.service import Tenants
from payymo.users.service import Users
from payymo.web.caller import Caller
from payymo.web.models import (
    ChangeUserBody,
    ForcedOut,
    NewRoleBody,
    NewTenantBody,
    NewUserBody,
    PageQuery,
    RoleBody,
    RoleOut,
    RolesOut,
    SessionOut,
    SessionsOut,
    TenantOut,
    TenantsOut,
    UserOut,
    UsersOut,
)
from payymo.web.routing import Nothing, route


class UsersApi:
    """The users of one's own tenant, and their sessions."""

    def __init__(self, *, users: Users, sessions: Sessions, administration: Administration) -> None:
        self._users = users
        self._sessions = sessions
        self._administration = administration

    @route("GET", "/api/admin/users", limit="default", authentication="bearer", permission="users:read")
    def list_users(self, caller: Caller, query: PageQuery) -> UsersOut:
        """List users by user name."""
        found = self._users.list_users(caller.principal.tenant_id, after=query.after, count=query.limit)
        last = found[-1][0].username if len(found) == query.limit else None
        return UsersOut(users=[UserOut.of(user, grants) for user, grants in found], next=last)

    @route("POST", "/api/admin/users", limit="default", authentication="bearer", permission="users:write", status=201)
    def create_user(self, caller: Caller, body: NewUserBody) -> UserOut:
        """Create a user with roles that one could hold oneself."""
        who = caller.principal
        user = self._users.create(
            who.tenant_id,
            email=body.email,
            username=body.username,
            password=body.password,
            roles=body.roles,
            language=body.language,
            by=caller.actor,
            trace=caller.trace,
        )
        return UserOut.of(*self._users.get(who.tenant_id, user.id))

    @route("GET", "/api/admin/users/<uuid:user_id>", limit="default", authentication="bearer", permission="users:read")
    def get_user(self, caller: Caller, user_id: uuid.UUID) -> UserOut:
        """Show one user."""
        return UserOut.of(*self._users.get(caller.principal.tenant_id, user_id))

    @route(
        "PATCH", "/api/admin/users/<uuid:user_id>", limit="default", authentication="bearer", permission="users:write"
    )
    def change_user(self, caller: Caller, user_id: uuid.UUID, body: ChangeUserBody) -> UserOut:
        """Disable or enable a user, change their roles, set their password."""
        who = caller.principal
        self._administration.change_user(
            who.tenant_id,
            user_id,
            status=body.status,
            roles=body.roles,
            password=body.password,
            by=caller.actor,
            trace=caller.trace,
        )
        return UserOut.of(*self._users.get(who.tenant_id, user_id))

    @route(
        "POST",
        "/api/admin/users/<uuid:user_id>/unlock",
        limit="default",
        authentication="bearer",
        permission="users:write",
    )
    def unlock_user(self, caller: Caller, user_id: uuid.UUID) -> Nothing:
        """Let a user log in again who has to wait because of failed logins."""
        tenant_id = caller.principal.tenant_id
        self._administration.unlock_user(tenant_id, user_id, by=caller.actor, trace=caller.trace)
        return Nothing()

    @route(
        "POST",
        "/api/admin/users/<uuid:user_id>/force-reset",
        limit="default",
        authentication="bearer",
        permission="users:write",
    )
    def force_reset(self, caller: Caller, user_id: uuid.UUID) -> ForcedOut:
        """Make a user's password worthless, end their sessions, and send them a link for another password."""
        tenant_id = caller.principal.tenant_id
        is_sent = self._administration.force_reset(tenant_id, user_id, by=caller.actor, trace=caller.trace)
        return ForcedOut(mail_sent=is_sent)

    @route(
        "GET",
        "/api/admin/users/<uuid:user_id>/sessions",
        limit="default",
        authentication="bearer",
        permission="sessions:read",
    )
    def list_sessions(self, caller: Caller, user_id: uuid.UUID) -> SessionsOut:
        """List a user's living sessions."""
        tenant_id = caller.principal.tenant_id
        self._users.get(tenant_id, user_id)
        found = self._sessions.list_sessions(tenant_id, user_id)
        return SessionsOut(sessions=[SessionOut.of(session) for session in found])

    @route(
        "DELETE",
        "/api/admin/users/<uuid:user_id>/sessions/<uuid:session_id>",
        limit="default",
        authentication="bearer",
        permission="sessions:write",
    )
    def end_session(self, caller: Caller, user_id: uuid.UUID, session_id: uuid.UUID) -> Nothing:
        """End a user's session."""
        tenant_id = caller.principal.tenant_id
        self._administration.end_session(tenant_id, user_id, session_id, by=caller.actor, trace=caller.trace)
        return Nothing()


class RolesApi:
    """The roles of one's own tenant."""

    def __init__(self, *, roles: Roles) -> None:
        self._roles = roles

    @route("GET", "/api/admin/roles", limit="default", authentication="bearer", permission="roles:read")
    def list_roles(self, caller: Caller) -> RolesOut:
        """List roles: the built-in ones and the tenant's own."""
        found = self._roles.list_roles(caller.principal.tenant_id)
        return RolesOut(roles=[RoleOut.of(role) for role in found])

    @route("POST", "/api/admin/roles", limit="default", authentication="bearer", permission="roles:write", status=201)
    def create_role(self, caller: Caller, body: NewRoleBody) -> RoleOut:
        """Create a role from permissions that one has oneself."""
        tenant_id, by = caller.principal.tenant_id, caller.actor
        return RoleOut.of(self._roles.create(tenant_id, body.name, body.permissions, by=by, trace=caller.trace))

    @route("PUT", "/api/admin/roles/<string:name>", limit="default", authentication="bearer", permission="roles:write")
    def change_role(self, caller: Caller, name: str, body: RoleBody) -> RoleOut:
        """Replace a role's permissions."""
        tenant_id, by = caller.principal.tenant_id, caller.actor
        return RoleOut.of(self._roles.change(tenant_id, name, body.permissions, by=by, trace=caller.trace))

    @route(
        "DELETE", "/api/admin/roles/<string:name>", limit="default", authentication="bearer", permission="roles:write"
    )
    def remove_role(self, caller: Caller, name: str) -> Nothing:
        """Remove a role, also from those who hold it."""
        self._roles.remove(caller.principal.tenant_id, name, by=caller.actor, trace=caller.trace)
        return Nothing()


class TenantsApi:
    """All tenants."""

    def __init__(self, *, tenants: Tenants, administration: Administration) -> None:
        self._tenants = tenants
        self._administration = administration

    @route("GET", "/api/admin/tenants", limit="default", authentication="bearer", permission="tenants:read")
    def list_tenants(self, caller: Caller, query: PageQuery) -> TenantsOut:
        """List tenants by slug."""
        del caller
        found = self._tenants.list_tenants(after=query.after, count=query.limit)
        last = found[-1].slug if len(found) == query.limit else None
        return TenantsOut(tenants=[TenantOut.of(tenant) for tenant in found], next=last)

    @route(
        "POST", "/api/admin/tenants", limit="default", authentication="bearer", permission="tenants:write", status=201
    )
    def create_tenant(self, caller: Caller, body: NewTenantBody) -> TenantOut:
        """Create a tenant."""
        made = self._administration.create_tenant(
            body.slug, body.name, host=body.host, by=caller.actor, trace=caller.trace
        )
        return TenantOut.of(made)

    @route(
        "POST",
        "/api/admin/tenants/<uuid:tenant_id>/suspend",
        limit="default",
        authentication="bearer",
        permission="tenants:write",
    )
    def suspend_tenant(self, caller: Caller, tenant_id: uuid.UUID) -> TenantOut:
        """Suspend a tenant: its sessions end, its tokens stop working."""
        return TenantOut.of(self._administration.suspend(tenant_id, by=caller.actor, trace=caller.trace))

    @route(
        "POST",
        "/api/admin/tenants/<uuid:tenant_id>/resume",
        limit="default",
        authentication="bearer",
        permission="tenants:write",
    )
    def resume_tenant(self, caller: Caller, tenant_id: uuid.UUID) -> TenantOut:
        """Let a suspended tenant's users log in again."""
        return TenantOut.of(self._administration.resume(tenant_id, by=caller.actor, trace=caller.trace))
