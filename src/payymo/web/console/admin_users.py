"""`/admin/users`: a tenant's users: looked through, searched, created and invited."""

from typing import Annotated, Final, Literal
from urllib.parse import urlencode

from pydantic import Field

from payymo.errors import AlreadyTaken, FieldError, InvalidInput
from payymo.limits.limiter import RateLimiter, account_key
from payymo.roles.model import covers
from payymo.roles.service import Roles
from payymo.sessions.invitations import Invitations
from payymo.users.directory import Directory
from payymo.users.model import counted_name
from payymo.users.service import Users
from payymo.web.console.pages import Answer, Onward, Sheet, page
from payymo.web.console.visit import Visit
from payymo.web.models import Email, Name, Password
from payymo.web.routing import Input

USERS: Final = "/admin/users"
USERS_A_PAGE: Final = 50
RoleNames = Annotated[list[Name], Field(max_length=20, default_factory=list)]


class UsersQuery(Input):
    """`q`: how the user name or the address begins. `after`: where the page before has ended."""

    q: Annotated[str, Field(max_length=254)] = ""
    after: Annotated[str, Field(max_length=254)] = ""


class NewUserForm(Input):
    """A new user, and how they come to a password."""

    email: Email
    username: Name
    roles: RoleNames
    how: Literal["mail", "password"]
    password: Password | None = None


class AdminUsersDesk:
    """The users of one's own tenant."""

    def __init__(
        self,
        *,
        directory: Directory,
        users: Users,
        invitations: Invitations,
        roles: Roles,
        limiter: RateLimiter,
    ) -> None:
        self._directory = directory
        self._users = users
        self._invitations = invitations
        self._roles = roles
        self._limiter = limiter

    @page("GET", USERS, permission="users:read")
    def list_users(self, visit: Visit, query: UsersQuery) -> Answer:
        """List users by user name, or those whose names begin like what was typed."""
        beginning = query.q.strip()
        found = self._directory.page(visit.tenant_id, beginning, after=query.after, count=USERS_A_PAGE)
        given = {"q": beginning} if beginning else {}
        facts = {
            "q": beginning,
            "found": found.users,
            "first": f"{USERS}?{urlencode(given)}" if query.after else None,
            "next": None if found.next is None else f"{USERS}?{urlencode({**given, 'after': found.next})}",
        }
        return Sheet("admin_users.html", facts)

    @page("GET", f"{USERS}/new", permission="users:write", is_dangerous=True)
    def show_new(self, visit: Visit) -> Answer:
        """Ask who it is."""
        return Sheet("admin_user_new.html", {"offered": offered_roles(self._roles, visit)})

    @page("POST", f"{USERS}/new", permission="users:write", is_dangerous=True, refused="show_new")
    def create(self, visit: Visit, form: NewUserForm) -> Answer:
        """Create a user: with a password that one tells them, or with a link that is sent to them."""
        try:
            return self._invite(visit, form) if form.how == "mail" else self._create(visit, form)
        except AlreadyTaken:
            raise AlreadyTaken("Somebody here has this address or this user name already.") from None

    def _create(self, visit: Visit, form: NewUserForm) -> Answer:
        if form.password is None:
            raise InvalidInput([FieldError("/password", "Please fill this in.")])
        made = self._users.create(
            visit.tenant_id,
            email=form.email,
            username=form.username,
            password=form.password,
            roles=form.roles,
            by=visit.caller.actor,
            trace=visit.caller.trace,
        )
        return Onward(f"{USERS}/{made.id}", "user-created")

    def _invite(self, visit: Visit, form: NewUserForm) -> Answer:
        """Letters to one address are limited, whoever asks for them."""
        tenant_id = visit.tenant_id
        self._limiter.spend(
            "mail", "account", account_key(tenant_id, counted_name(form.email)), tenant=lambda: tenant_id
        )
        made = self._invitations.invite(
            tenant_id,
            email=form.email,
            username=form.username,
            roles=form.roles,
            by=visit.caller.actor,
            trace=visit.caller.trace,
        )
        return Onward(f"{USERS}/{made.id}", "user-invited")


def offered_roles(roles: Roles, visit: Visit) -> list[str]:
    """The roles that they could give: they have every permission of them. The tenant's own, if they may see those."""
    held = visit.who.grants.permissions
    return [
        role.name
        for role in roles.list_roles(visit.tenant_id)
        if covers(held, role.permissions) and (role.is_built_in or visit.may("roles:read"))
    ]
