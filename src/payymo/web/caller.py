"""Who asks: request id, client address, tenant, and the principal or the service behind a bearer token.

Nothing that the client claims is believed: addresses come from the connection unless a trusted proxy forwards them, the
tenant of a protected route comes from the token, and a host name or `X-Tenant` that says otherwise refuses the token.
"""

import ipaddress
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from flask import Request

from payymo.errors import (
    InsufficientScope,
    InvalidToken,
    KeysNotAllowed,
    MissingToken,
    TenantUnknown,
    TooManyRequests,
)
from payymo.feed.model import Bearer
from payymo.feed.service import Feed
from payymo.guards.model import Scope, ServiceCredential
from payymo.guards.service import Guards
from payymo.logs import Trace
from payymo.opaque import PREFIX
from payymo.roles.service import Actor
from payymo.sessions.model import Device
from payymo.tenants.model import Tenant, host_of
from payymo.tenants.service import Tenants
from payymo_guard import Claims, Refused, Verifier

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
SLUG_MAX = 63
UNKNOWN = "unknown"
WAITED = "payymo.waited"
"""In the environment of a request that was left waiting and comes again: for how long, in seconds."""
DEVICE_COOKIE = "payymo-device"
"""How the names of such cookies begin, after their prefix."""
NEWS = "payymo.news"
"""Beside it: when what it has waited for was not there yet, by the monotonic clock."""


@dataclass(frozen=True, slots=True)
class Principal:
    """The user behind a valid access token, or behind the cookie of a browser; in a host application, an API key, too.

    `permissions`: what the token says; of a browser, what they hold now. `claims`: None of a browser.
    """

    tenant_id: uuid.UUID
    user_id: uuid.UUID
    session_id: uuid.UUID
    permissions: tuple[str, ...]
    claims: Claims | None = None
    actor_id: uuid.UUID | None = None
    """The administrator who acts as this user; None: it is the user."""

    @property
    def is_service(self) -> bool:
        """Whether it is an API key, and nobody of `user_id` and `session_id`: they name the key."""
        return self.claims is not None and self.claims.is_service


@dataclass(slots=True)
class Caller:
    """One request, as the routes see it. What most requests don't need is found out when it is asked for."""

    request: Request
    name_request: Callable[[], str]
    tenants: Tenants
    trusted_proxies: tuple[Network, ...]
    user: Principal | None = None
    permitted: Actor | None = None
    """The caller, as one who changes things. Known on routes that name a permission."""
    slug: str | None = None
    """The tenant that a page names, whose visitors send no `X-Tenant`."""
    too_many: TooManyRequests | None = None
    """The limit of the address is used up, and only who comes from a device that is known for the account may pass."""
    service: ServiceCredential | None = None
    """What a service has proven itself with, on routes that name a scope. None: it needs nothing, where it is."""
    _origin: tuple[str, bool] | None = field(default=None, init=False)
    _resolved: tuple[Tenant, bool] | None = field(default=None, init=False)

    @property
    def request_id(self) -> str:
        """The identifier of the request, in the log and in `X-Request-ID`."""
        return self.name_request()

    @property
    def address(self) -> str:
        """The client's address, as far as it can be believed."""
        return self._locate()[0]

    @property
    def is_located(self) -> bool:
        """Whether the address is the client's, and not that of a proxy that nobody trusts or that told no address."""
        return self._locate()[1]

    def _locate(self) -> tuple[str, bool]:
        if self._origin is None:
            peer = self.request.environ.get("REMOTE_ADDR", "")
            forwarded = self.request.headers.get("X-Forwarded-For")
            self._origin = client_address(peer, forwarded, self.trusted_proxies)
        return self._origin

    @property
    def principal(self) -> Principal:
        """The authenticated user. Only for routes that ask for one."""
        if self.user is None:
            raise MissingToken
        return self.user

    @property
    def actor(self) -> Actor:
        """The caller, on whose word something is changed: never nobody, for that would be the operator."""
        if self.permitted is None:
            raise InsufficientScope
        return self.permitted

    @property
    def comes_again(self) -> bool:
        """Whether this is the second half of a request that waited: it was counted when it came."""
        return WAITED in self.request.environ

    @property
    def trace(self) -> Trace:
        """For the log. Whoever acts as somebody else has done it, and not who they act as."""
        user = self.user
        if user is None or user.is_service:
            return Trace(self.request_id, self.address)
        if user.actor_id is None:
            return Trace(self.request_id, self.address, user.user_id)
        return Trace(self.request_id, self.address, user.actor_id, on_behalf_of=user.user_id)

    @property
    def device(self) -> Device:
        """For the list of sessions."""
        agent = "".join(c for c in self.request.headers.get("User-Agent", "") if c.isprintable())
        return Device(self.address, agent[:200])

    @property
    def tenant(self) -> Tenant:
        """The tenant that the request resolves to. Raises TenantUnknown."""
        return self._resolve()[0]

    @property
    def known_tenant_id(self) -> uuid.UUID | None:
        """The tenant, as far as anybody has asked by now."""
        if self.user is not None:
            return self.user.tenant_id
        return None if self._resolved is None else self._resolved[0].id

    @property
    def named_tenant_id(self) -> uuid.UUID | None:
        """The tenant that the request names; None when it falls to the default. Raises TenantUnknown."""
        tenant, named = self._resolve()
        return tenant.id if named else None

    def name_tenant(self, slug: str | None) -> None:
        """Take this for the tenant that the request names, if neither its host nor a header does."""
        self.slug, self._resolved = slug, None

    def _resolve(self) -> tuple[Tenant, bool]:
        if self._resolved is None:
            host = host_of(str(self.request.environ.get("HTTP_HOST", self.request.environ["SERVER_NAME"])))
            slug = self.request.headers.get("X-Tenant", self.slug)
            if host is None or (slug is not None and not _may_be_slug(slug)):
                raise TenantUnknown  # not even asked: PostgreSQL fails on NUL, and what was asked is remembered
            self._resolved = self.tenants.resolve(host, slug)
        return self._resolved


def _may_be_slug(text: str) -> bool:
    return len(text) <= SLUG_MAX and text.isascii() and text.isprintable()


class Gate:
    """Lets callers in who prove who they are."""

    def __init__(
        self,
        *,
        tenants: Tenants,
        verifier: Verifier[Claims],
        feed: Feed,
        guards: Guards,
        trusted_proxies: tuple[Network, ...],
    ) -> None:
        self._tenants = tenants
        self._guards = guards
        self._verifier = verifier
        self._feed = feed
        self._trusted = trusted_proxies

    def meet(self, request: Request, name_request: Callable[[], str]) -> Caller:
        """The caller behind a request, not authenticated."""
        return Caller(request, name_request, self._tenants, self._trusted)

    def authenticate(self, caller: Caller, *, takes_keys: bool = False) -> Principal:
        """The user behind the bearer token (RFC 6750 §2.1); with `takes_keys` an API key, too.

        Raises MissingToken, InvalidToken, KeysNotAllowed.
        """
        header = caller.request.headers.get("Authorization")
        if header is None:
            raise MissingToken
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            raise MissingToken
        claims, bearer = self.check(token, named_tenant_id=caller.named_tenant_id)
        if claims.is_service and not takes_keys:
            raise KeysNotAllowed
        try:
            actor_id = None if claims.actor is None else uuid.UUID(claims.actor)
        except ValueError:
            raise InvalidToken(private="the actor is not a UUID") from None
        permissions = tuple(claims.permissions)
        return Principal(bearer.tenant_id, bearer.user_id, bearer.session_id, permissions, claims, actor_id)

    def admit(self, caller: Caller, scope: Scope) -> ServiceCredential | None:
        """The service credential of the request; None: where it comes from, none is needed.

        Raises MissingToken, InvalidToken, InsufficientScope, Unavailable.
        """
        header = caller.request.headers.get("Authorization")
        address = caller.address if caller.is_located else UNKNOWN
        return self._guards.admit(header, address=address, scope=scope)

    def check(self, token: str, *, named_tenant_id: uuid.UUID | None, elsewhere: bool = False) -> tuple[Claims, Bearer]:
        """What an access token says, and whose it is, if it is valid now, not revoked, and of the named tenant.

        `elsewhere`: it is somebody else who asks, and will go by the permissions in it.
        Raises InvalidToken, Unavailable: when the revocations can't be asked, nobody gets in.
        """
        try:
            claims = self._verifier.verify(token, tenant_id=str(named_tenant_id) if named_tenant_id else None)
            bearer = Bearer.of(claims)
        except Refused as refused:
            raise InvalidToken(private=refused.code) from None
        except ValueError:
            raise InvalidToken(private="an identifier is not a UUID") from None
        if self._feed.is_refused(bearer, elsewhere=elsewhere):
            raise InvalidToken(private="token_revoked")
        return claims, bearer


def brings_device(request: Request) -> bool:
    """Whether there is a cookie that may make its device known."""
    return any(DEVICE_COOKIE in name for name in request.cookies)


def brings_credential(caller: Caller) -> bool:
    """Whether the Authorization header holds what is meant to be a service credential, and no user's token."""
    scheme, _, text = caller.request.headers.get("Authorization", "").partition(" ")
    return scheme.lower() == "bearer" and text.startswith(PREFIX)


def client_address(peer: str, forwarded: str | None, trusted: tuple[Network, ...]) -> tuple[str, bool]:
    """The nearest address that no trusted proxy stands behind, counted from the right; and whether it is the client's.

    What stands further to the left was written by strangers. The address of a proxy that can't be believed, or told
    none, is good for counting; it must not open to everybody what is open to the proxy's network.
    """
    address = _parse(peer)
    if address is None:
        return UNKNOWN, False
    if forwarded is not None and not any(address in network for network in trusted):
        return str(address), False
    hops = [part.strip() for part in (forwarded or "").split(",")] if forwarded else []
    while hops and any(address in network for network in trusted):
        nearer = _parse(hops.pop())
        if nearer is None:
            return str(address), False
        address = nearer
    return str(address), True


def _parse(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address without a zone (RFC 4007): a zone is free text, and means nothing on another machine."""
    try:
        address = ipaddress.ip_address(text.strip().strip("[]").partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address
