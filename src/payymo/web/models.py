"""The shapes that the routes take and give."""

import uuid
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from payymo.languages import list_codes
from payymo.roles.model import Role
from payymo.roles.service import Grants
from payymo.sessions.model import Session, TokenPair
from payymo.sessions.service import LoggedIn
from payymo.tenants.model import Tenant
from payymo.users.model import User
from payymo.web.routing import Input, Output

Email = Annotated[str, Field(min_length=1, max_length=254)]
Password = Annotated[str, Field(min_length=1, max_length=1024)]
Token = Annotated[str, Field(min_length=1, max_length=8192)]
Name = Annotated[str, Field(min_length=1, max_length=64)]
if TYPE_CHECKING:
    LanguageCode = str
else:
    LanguageCode = Literal[list_codes()]


class RegisterBody(Input):
    """A new user. `language`: in which they are written to; without it, that of the tenant."""

    email: Email
    username: Annotated[str, Field(min_length=1, max_length=64)]
    password: Password
    language: LanguageCode | None = None


class LoginBody(Input):
    """Who, and the proof."""

    email: Email
    password: Password


class RefreshBody(Input):
    """The refresh token to exchange."""

    refresh_token: Token


class LogoutBody(Input):
    """Which sessions to end."""

    everywhere: bool = False


class VerifyBody(Input):
    """The access token to look at."""

    token: Token


class ForcedOut(Output):
    """Whether the user was sent a link with which they choose a new password."""

    mail_sent: bool


class PageQuery(Input):
    """A page of a list: what comes after `after`, at most `limit` of it."""

    after: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9_-]*$")] = ""
    limit: Annotated[int, Field(ge=1, le=100)] = 50


class UserOut(Output):
    """A user. `language`: in which they are written to; null: in that of the tenant."""

    id: uuid.UUID
    email: str
    username: str
    tenant_id: uuid.UUID
    status: str
    email_verified: bool
    language: str | None
    roles: list[str]
    permissions: list[str]

    @classmethod
    def of(cls, user: User, grants: Grants) -> "UserOut":
        """The user with what they hold."""
        return cls(
            id=user.id,
            email=user.email,
            username=user.username,
            tenant_id=user.tenant_id,
            status=user.status,
            email_verified=user.email_verified_at is not None,
            language=user.language,
            roles=list(grants.roles),
            permissions=list(grants.permissions),
        )


class SessionOut(Output):
    """A session. Times are whole seconds since 1970."""

    id: uuid.UUID
    user_id: uuid.UUID
    started_at: int
    last_seen_at: int
    expires_at: int
    address: str
    user_agent: str
    current: bool
    actor_id: uuid.UUID | None
    """The administrator who acts as the user in it. From where they do is not told."""

    @classmethod
    def of(cls, session: Session, *, current: uuid.UUID | None = None) -> "SessionOut":
        """The session, without its refresh family."""
        return cls(
            id=session.id,
            user_id=session.user_id,
            started_at=session.started_at,
            last_seen_at=session.last_seen_at,
            expires_at=session.expires_at,
            address=session.address,
            user_agent=session.user_agent,
            current=session.id == current,
            actor_id=session.actor_user_id,
        )


class TokensOut(Output):
    """A new pair of tokens (RFC 6749 §5.1). `expires_in`: seconds that the access token lives."""

    access_token: str
    refresh_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a scheme, not a secret
    expires_in: int

    @classmethod
    def of(cls, pair: TokenPair) -> "TokensOut":
        """The pair."""
        return cls(access_token=pair.access_token, refresh_token=pair.refresh_token, expires_in=pair.expires_in)


class LoginOut(TokensOut):
    """A new pair of tokens, and whose they are."""

    user: UserOut

    @classmethod
    def of_login(cls, login: LoggedIn) -> "LoginOut":
        """The outcome of a login."""
        return cls(
            access_token=login.tokens.access_token,
            refresh_token=login.tokens.refresh_token,
            expires_in=login.tokens.expires_in,
            user=UserOut.of(login.user, login.grants),
        )


class MeOut(Output):
    """The user who asks, and the session they ask from."""

    user: UserOut
    session: SessionOut


class SessionsOut(Output):
    """Sessions, the newest first."""

    sessions: list[SessionOut]


class ActorInfo(Output):
    """Who acts as the user (RFC 8693 §4.1)."""

    sub: str


class TokenInfo(Output):
    """What an access token says, verified just now. Times are whole seconds since 1970.

    `is_service`: it is an API key's, and no user's; `user_id`, `session_id` and `client_id` are the key then.
    """

    active: Literal[True] = True
    user_id: str
    tenant_id: str
    session_id: str
    token_id: str
    client_id: str
    is_service: bool
    permissions: list[str]
    roles: list[str]
    issued_at: int
    expires_at: int
    act: ActorInfo | None


class VerifyOut(Output):
    """The facts of a valid token."""

    token_info: TokenInfo


class RoleBody(Input):
    """A role's permissions."""

    permissions: Annotated[list[Annotated[str, Field(max_length=100)]], Field(min_length=1, max_length=100)]


class NewRoleBody(RoleBody):
    """A new role."""

    name: Name


class RoleOut(Output):
    """A role."""

    name: str
    permissions: list[str]
    built_in: bool

    @classmethod
    def of(cls, role: Role) -> "RoleOut":
        """The role."""
        return cls(name=role.name, permissions=list(role.permissions), built_in=role.is_built_in)


class RolesOut(Output):
    """Roles, built-in ones first."""

    roles: list[RoleOut]


class NewUserBody(RegisterBody):
    """A new user with roles."""

    roles: Annotated[list[Name], Field(min_length=1, max_length=20, default_factory=lambda: ["member"])]


class ChangeUserBody(Input):
    """What to change; the rest stays."""

    status: Literal["active", "disabled"] | None = None
    roles: Annotated[list[Name], Field(max_length=20)] | None = None
    password: Password | None = None


class UsersOut(Output):
    """A page of users, by user name. `next`: give it as `after` to go on; null on the last page."""

    users: list[UserOut]
    next: str | None


class NewTenantBody(Input):
    """A new tenant."""

    slug: Name
    name: Annotated[str, Field(min_length=1, max_length=200)]
    host: Annotated[str, Field(min_length=1, max_length=253)] | None = None


class TenantOut(Output):
    """A tenant. `created_at`: whole seconds since 1970."""

    id: uuid.UUID
    slug: str
    name: str
    host: str | None
    status: str
    created_at: int

    @classmethod
    def of(cls, tenant: Tenant) -> "TenantOut":
        """The tenant."""
        return cls(
            id=tenant.id,
            slug=tenant.slug,
            name=tenant.name,
            host=tenant.host,
            status=tenant.status,
            created_at=tenant.created_at,
        )


class TenantsOut(Output):
    """A page of tenants, by slug. `next`: give it as `after` to go on; null on the last page."""

    tenants: list[TenantOut]
    next: str | None
