"""`/api/admin/api-keys`: what a tenant's own programs prove themselves with; and `/api/auth/token`, where they do.

The token endpoint is OAuth's (RFC 6749 §4.4): any client library can speak to it. So forms, answers and refusals are
of that form there; a refusal is one of ours all the same, with the members that OAuth asks for.
"""

import base64
import binascii
import uuid
from typing import Annotated, Final, Literal

from flask import Response
from pydantic import BaseModel, ConfigDict, Field

from payymo.apikeys.model import DAYS_AT_MOST, DEFAULT_DAYS, NAME_MAX, PERMISSIONS_AT_MOST, Draft, State
from payymo.apikeys.service import ApiKeys, Listed
from payymo.clock import Clock
from payymo.errors import InvalidClient, NotFound, UnsupportedGrantType
from payymo.limits.limiter import RateLimiter, address_key
from payymo.limits.model import Tier
from payymo.web.caller import Caller
from payymo.web.headers import add_quota
from payymo.web.pacing import TOKEN_PROOF
from payymo.web.routing import Input, Nothing, Output, route

KEYS: Final = "/api/admin/api-keys"
TIER: Final[Tier] = "refresh"
"""To a program, an exchange is what a refresh is to a person."""
SECRET_MAX: Final = 200
Permission = Annotated[str, Field(min_length=1, max_length=100)]


class NewApiKeyBody(Input):
    """A new key. `permissions`: of those that one has oneself. `days`: how long it lives."""

    name: Annotated[str, Field(min_length=1, max_length=NAME_MAX)]
    permissions: Annotated[list[Permission], Field(min_length=1, max_length=PERMISSIONS_AT_MOST)]
    days: Annotated[int, Field(ge=1, le=DAYS_AT_MOST)] = DEFAULT_DAYS


class ApiKeyOut(Output):
    """A key, without its secret. Times are whole seconds since 1970; the last use is known to a minute.

    `created_by`: the user name of who made it; null: the operator, or somebody who is gone.
    """

    id: uuid.UUID
    name: str
    permissions: list[str]
    state: State
    created_by: str | None
    created_at: int
    expires_at: int
    revoked_at: int | None
    last_used_at: int | None
    last_used_address: str | None

    @classmethod
    def of(cls, found: Listed, *, now: float) -> "ApiKeyOut":
        """The key."""
        key = found.key
        return cls(
            id=key.id,
            name=key.name,
            permissions=list(key.permissions),
            state=key.state(now),
            created_by=found.creator,
            created_at=key.created_at,
            expires_at=key.expires_at,
            revoked_at=key.revoked_at,
            last_used_at=key.last_used_at,
            last_used_address=key.last_used_address,
        )


class ApiKeysOut(Output):
    """Every living key, then the newest of those that have ended; two hundred at most."""

    api_keys: list[ApiKeyOut]


class NewApiKeyOut(Output):
    """A new key, and its secret, which is told this once."""

    id: uuid.UUID
    name: str
    permissions: list[str]
    expires_at: int
    secret: str


class ApiKeysApi:
    """The API keys of one's own tenant."""

    def __init__(self, *, keys: ApiKeys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock

    @route("GET", KEYS, limit="default", authentication="bearer", permission="apikeys:read")
    def list_api_keys(self, caller: Caller) -> ApiKeysOut:
        """List API keys, the living ones first."""
        now, found = self._clock(), self._keys.list_keys(caller.principal.tenant_id)
        return ApiKeysOut(api_keys=[ApiKeyOut.of(one, now=now) for one in found])

    @route("POST", KEYS, limit="default", authentication="bearer", permission="apikeys:write", status=201)
    def create_api_key(self, caller: Caller, body: NewApiKeyBody) -> NewApiKeyOut:
        """Create an API key from permissions that one has oneself; its secret is told this once."""
        draft = Draft(body.name, tuple(body.permissions), body.days)
        made = self._keys.create(caller.principal.tenant_id, draft, by=caller.actor, trace=caller.trace)
        key = made.key
        return NewApiKeyOut(
            id=key.id,
            name=key.name,
            permissions=list(key.permissions),
            expires_at=key.expires_at,
            secret=made.secret,
        )

    @route(
        "DELETE",
        f"{KEYS}/<uuid:api_key_id>",
        limit="default",
        authentication="bearer",
        permission="apikeys:write",
    )
    def revoke_api_key(self, caller: Caller, api_key_id: uuid.UUID) -> Nothing:
        """Revoke an API key, and every token that it was exchanged for."""
        self._keys.revoke(caller.principal.tenant_id, api_key_id, by=caller.actor, trace=caller.trace)
        return Nothing()


class TokenForm(BaseModel):
    """What a client asks for (RFC 6749 §4.4.2). `scope`: permissions, separated by spaces; all of the key's without."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    grant_type: Annotated[str, Field(min_length=1, max_length=100)]
    scope: Annotated[str, Field(max_length=8192)] | None = None


class AccessTokenOut(Output):
    """An access token (RFC 6749 §5.1). `expires_in`: seconds that it lives."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a scheme, not a secret
    expires_in: int
    scope: str


class TokenApi:
    """Access tokens for programs."""

    def __init__(self, *, keys: ApiKeys, limiter: RateLimiter) -> None:
        self._keys = keys
        self._limiter = limiter

    @route("POST", "/api/auth/token", limit=TIER, authentication="client", pace=TOKEN_PROOF, shape=AccessTokenOut)
    def issue_token(self, caller: Caller, form: TokenForm) -> Response:
        """Exchange an API key for a short access token (OAuth client credentials).

        Counting comes second, as for services: whoever knows a key's identifier must not use its limit up. What is
        refused is counted by address.
        """
        try:
            return self._issue(caller, form)
        except NotFound:
            raise InvalidClient(private="its tenant was deleted meanwhile") from None

    def _issue(self, caller: Caller, form: TokenForm) -> Response:
        client_id, secret = read_basic(caller.request.headers.get("Authorization"))
        sight = self._keys.look_at(client_id, secret, named_tenant_id=caller.named_tenant_id)
        key = sight.key
        if key is None or sight.reason is not None:
            self._limiter.spend(TIER, "address", address_key(caller.address))
            raise self._keys.refuse(sight, trace=caller.trace)
        quota = self._limiter.spend(TIER, "credential", key.id.hex, tenant=lambda: key.tenant_id)
        if form.grant_type != "client_credentials":
            raise UnsupportedGrantType
        issued = self._keys.exchange(key, scope=form.scope, trace=caller.trace)
        answer = AccessTokenOut(
            access_token=issued.token, expires_in=issued.expires_in, scope=" ".join(issued.permissions)
        )
        response = Response(answer.model_dump_json(), content_type="application/json")
        response.headers["Pragma"] = "no-cache"  # RFC 6749 §5.1; Cache-Control: no-store is everywhere
        if quota is not None:
            add_quota(response, quota)
        return response


def read_basic(authorization: str | None) -> tuple[str, str]:
    """The identifier and the secret in an Authorization header (RFC 7617; RFC 6749 §2.3.1); nothing, if it has none.

    Both consist of characters that stay what they are when they are encoded for a form.
    """
    scheme, _, text = (authorization or "").partition(" ")
    try:
        if scheme.lower() == "basic" and len(text) <= SECRET_MAX:
            client_id, _, secret = base64.b64decode(text.strip(), validate=True).decode("ascii").partition(":")
            return client_id, secret
    except (binascii.Error, ValueError):
        pass
    return "", ""
