"""`/admin/api-keys`: what the tenant's own programs prove themselves with: made, listed, revoked."""

import uuid
from typing import Annotated, Final

from pydantic import Field

from payymo.apikeys.model import DAYS_AT_MOST, DEFAULT_DAYS, NAME_MAX, Draft
from payymo.apikeys.service import ApiKeys
from payymo.clock import Clock
from payymo.roles.model import covers
from payymo.roles.service import Roles
from payymo.web.console.admin_roles import PermissionsForm, at_fields
from payymo.web.console.pages import Answer, Onward, Sheet, page
from payymo.web.console.visit import Visit

KEYS: Final = "/admin/api-keys"
REVOKE: Final = f"{KEYS}/<uuid:api_key_id>/revoke"
OFFERED_AT_MOST: Final = 100


class NewKeyForm(PermissionsForm):
    """A new key."""

    name: Annotated[str, Field(min_length=1, max_length=NAME_MAX)]
    days: Annotated[int, Field(ge=1, le=DAYS_AT_MOST)] = DEFAULT_DAYS


class AdminApiKeysDesk:
    """The API keys of one's own tenant."""

    def __init__(self, *, keys: ApiKeys, roles: Roles, clock: Clock, token_endpoint: str) -> None:
        self._keys = keys
        self._roles = roles
        self._clock = clock
        self._token_endpoint = token_endpoint

    @page("GET", KEYS, permission="apikeys:read")
    def list_keys(self, visit: Visit) -> Answer:
        """List keys, the living ones first."""
        now = self._clock()
        found = [(one, one.key.state(now)) for one in self._keys.list_keys(visit.tenant_id)]
        return Sheet("admin_api_keys.html", {"keys": found, "may_write": visit.may("apikeys:write")})

    @page("GET", f"{KEYS}/new", permission="apikeys:write", is_dangerous=True)
    def show_new(self, visit: Visit) -> Answer:
        """Ask for a name, permissions, and how long it lives."""
        return Sheet("admin_api_key_new.html", {"offered": self._offered(visit), "default_days": str(DEFAULT_DAYS)})

    @page("POST", f"{KEYS}/new", permission="apikeys:write", is_dangerous=True, refused="show_new")
    def create(self, visit: Visit, form: NewKeyForm) -> Answer:
        """Make a key, and show its secret: nobody can show it again."""
        with at_fields():
            draft = Draft(form.name, tuple(form.all), form.days)
        made = self._keys.create(visit.tenant_id, draft, by=visit.caller.actor, trace=visit.caller.trace)
        facts = {"key": made.key, "secret": made.secret, "token_endpoint": self._token_endpoint}
        return Sheet("admin_api_key.html", facts, 201)

    @page("GET", REVOKE, permission="apikeys:write", is_dangerous=True)
    def show_revoke(self, visit: Visit, api_key_id: uuid.UUID) -> Answer:
        """Say what ends, and ask."""
        return Sheet("admin_api_key_revoke.html", {"key": self._keys.get(visit.tenant_id, api_key_id)})

    @page("POST", REVOKE, permission="apikeys:write", is_dangerous=True, refused="show_revoke")
    def revoke(self, visit: Visit, api_key_id: uuid.UUID) -> Answer:
        """Refuse a key from now on, and every token that it was exchanged for."""
        self._keys.revoke(visit.tenant_id, api_key_id, by=visit.caller.actor, trace=visit.caller.trace)
        return Onward(KEYS, "api-key-revoked")

    def _offered(self, visit: Visit) -> list[str]:
        """What the tenant's own roles grant, as far as they could give it: permissions of the tenant's programs."""
        own = (role for role in self._roles.list_roles(visit.tenant_id) if not role.is_built_in)
        named = {permission for role in own for permission in role.permissions}
        held = visit.who.grants.permissions
        return sorted(one for one in named if covers(held, (one,)))[:OFFERED_AT_MOST]
