"""`/admin/audit` and `/operator/audit`: what is on record of one's own tenant, and of the platform.

Which log it is depends on the page alone, as it does in the API.
"""

import uuid
from typing import Final

from payymo.web.console.explorer import Explorer, ExplorerQuery
from payymo.web.console.pages import Answer, page
from payymo.web.console.visit import Visit

OWN: Final = "/admin/audit"
PLATFORM: Final = "/operator/audit"


class AuditDesk:
    """The log of one's own tenant."""

    def __init__(self, *, explorer: Explorer) -> None:
        self._explorer = explorer

    @page("GET", OWN, permission="audit:read", refused="list_events")
    def list_events(self, visit: Visit, query: ExplorerQuery) -> Answer:
        """Show what is on record in one's own tenant."""
        return self._explorer.page(visit.browser.tenant_id, query, path=OWN)

    @page("GET", f"{OWN}/<uuid:event_id>", permission="audit:read")
    def show_event(self, visit: Visit, event_id: uuid.UUID) -> Answer:
        """Show an event, and check its proof."""
        return self._explorer.event(visit.browser.tenant_id, event_id, path=OWN)

    @page("GET", f"{OWN}/<uuid:event_id>/proof", permission="audit:read")
    def download_proof(self, visit: Visit, event_id: uuid.UUID) -> Answer:
        """The proof of an event, to be checked elsewhere."""
        return self._explorer.proof(visit.browser.tenant_id, event_id)


class PlatformAuditDesk:
    """The platform's own log."""

    def __init__(self, *, explorer: Explorer) -> None:
        self._explorer = explorer

    @page("GET", PLATFORM, permission="platform:read", refused="list_events")
    def list_events(self, visit: Visit, query: ExplorerQuery) -> Answer:
        """Show what is on record of the platform."""
        del visit
        return self._explorer.page(None, query, path=PLATFORM)

    @page("GET", f"{PLATFORM}/<uuid:event_id>", permission="platform:read")
    def show_event(self, visit: Visit, event_id: uuid.UUID) -> Answer:
        """Show an event of the platform, and check its proof."""
        del visit
        return self._explorer.event(None, event_id, path=PLATFORM)

    @page("GET", f"{PLATFORM}/<uuid:event_id>/proof", permission="platform:read")
    def download_proof(self, visit: Visit, event_id: uuid.UUID) -> Answer:
        """The proof of an event of the platform, to be checked elsewhere."""
        del visit
        return self._explorer.proof(None, event_id)
