"""`/operator/tenants`: all tenants. What can't be undone, deleting one, is left to the command line."""

import uuid
from typing import Annotated, Final

from pydantic import Field

from payymo.sessions.administration import Administration
from payymo.tenants.service import Tenants
from payymo.web.console.pages import Answer, Onward, Sheet, page
from payymo.web.console.visit import Visit
from payymo.web.routing import Input

TENANTS: Final = "/operator/tenants"
TENANTS_A_PAGE: Final = 50


class TenantsQuery(Input):
    """A page of tenants: those after this slug."""

    after: Annotated[str, Field(max_length=63, pattern=r"^[a-z0-9-]*$")] = ""


class TenantForm(Input):
    """A new tenant."""

    slug: Annotated[str, Field(min_length=1, max_length=63)]
    name: Annotated[str, Field(min_length=1, max_length=200)]
    host: Annotated[str, Field(min_length=1, max_length=253)] | None = None


class TenantsDesk:
    """All tenants."""

    def __init__(self, *, tenants: Tenants, administration: Administration) -> None:
        self._tenants = tenants
        self._administration = administration

    @page("GET", TENANTS, permission="tenants:read")
    def list_tenants(self, visit: Visit, query: TenantsQuery) -> Answer:
        """List tenants by slug."""
        found = self._tenants.list_tenants(after=query.after, count=TENANTS_A_PAGE + 1)
        shown = found[:TENANTS_A_PAGE]
        onward = f"{TENANTS}?after={shown[-1].slug}" if len(found) > TENANTS_A_PAGE else None
        facts = {"tenants": shown, "next": onward, "may_write": visit.may("tenants:write")}
        return Sheet("operator_tenants.html", facts)

    @page("GET", f"{TENANTS}/new", permission="tenants:read")
    def show_create(self, visit: Visit) -> Answer:
        """Ask for what makes a tenant."""
        del visit
        return Sheet("operator_tenant_new.html")

    @page("POST", TENANTS, permission="tenants:write", refused="show_create")
    def create(self, visit: Visit, form: TenantForm) -> Answer:
        """Create a tenant."""
        caller = visit.caller
        self._administration.create_tenant(form.slug, form.name, host=form.host, by=caller.actor, trace=caller.trace)
        return Onward(TENANTS, "tenant-created")

    @page("GET", f"{TENANTS}/<uuid:tenant_id>/suspend", permission="tenants:read", is_dangerous=True)
    def show_suspend(self, visit: Visit, tenant_id: uuid.UUID) -> Answer:
        """Say what ends, and ask."""
        facts = {"found": self._tenants.get(tenant_id), "is_own": tenant_id == visit.browser.tenant_id}
        return Sheet("operator_tenant_suspend.html", facts)

    @page(
        "POST",
        f"{TENANTS}/<uuid:tenant_id>/suspend",
        permission="tenants:write",
        is_dangerous=True,
        refused="show_suspend",
    )
    def suspend(self, visit: Visit, tenant_id: uuid.UUID) -> Answer:
        """Suspend a tenant: its sessions end, its tokens stop working."""
        self._administration.suspend(tenant_id, by=visit.caller.actor, trace=visit.caller.trace)
        return Onward(TENANTS, "tenant-suspended")

    @page("POST", f"{TENANTS}/<uuid:tenant_id>/resume", permission="tenants:write", refused="list_tenants")
    def resume(self, visit: Visit, tenant_id: uuid.UUID) -> Answer:
        """Let a suspended tenant's users sign in again."""
        self._administration.resume(tenant_id, by=visit.caller.actor, trace=visit.caller.trace)
        return Onward(TENANTS, "tenant-resumed")
