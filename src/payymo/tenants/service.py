"""Keeps tenants, and says which one a request belongs to.

Who creates and suspends them is somebody with a session, so that these are use cases of `payymo.sessions`.
"""

import uuid
from collections.abc import Callable, Mapping

from payymo.audit.log import AuditLog
from payymo.clock import Clock
from payymo.db.work import Transaction, Work
from payymo.entropy import Entropy
from payymo.errors import Conflict, NotFound, TenantUnknown
from payymo.logs import BY_ITSELF, Event, Trace
from payymo.phrases import Phrase
from payymo.tenants import store
from payymo.tenants.model import Tenant, TenantStatus

REMEMBER_SECONDS = 1.0
REMEMBER_AT_MOST = 1024
ROWS_AT_A_TIME = 500
_MAY_BECOME: Mapping[TenantStatus, tuple[TenantStatus, ...]] = {
    "active": ("active", "suspended"),
    "suspended": ("active", "suspended"),
    "deleted": ("suspended", "deleted"),
}


class Tenants:
    """The tenants of this deployment."""

    def __init__(self, work: Work, clock: Clock, entropy: Entropy, *, default_slug: str, audit: AuditLog) -> None:
        self._work = work
        self._clock = clock
        self._entropy = entropy
        self._audit = audit
        self.default_slug = default_slug
        self._resolved: dict[tuple[str, str | None], tuple[float, Tenant, bool]] = {}

    def resolve(self, host: str, slug: str | None) -> tuple[Tenant, bool]:
        """The tenant of a request, and whether the request named it: by host name, else `X-Tenant`, else the default.

        An answer is remembered for a second; whether a token still counts is never read from it. Raises TenantUnknown.
        """
        now = self._clock()
        remembered = self._resolved.get((host, slug))
        if remembered and 0 <= now - remembered[0] < REMEMBER_SECONDS:
            return remembered[1], remembered[2]
        found, named = self._look_up(host, slug)
        if len(self._resolved) >= REMEMBER_AT_MOST:
            self._resolved.clear()  # a stranger chooses these keys: bounded, and cheap to fill again
        self._resolved[host, slug] = (now, found, named)
        return found, named

    def _look_up(self, host: str, slug: str | None) -> tuple[Tenant, bool]:
        with self._work.platform(writes=False) as tx:
            by_host = store.find_by_host(tx, host)
            if by_host is not None:
                return by_host, True
            found = store.find_by_slug(tx, self.default_slug if slug is None else slug)
        if found is None:
            raise TenantUnknown
        return found, slug is not None

    def add(self, tx: Transaction, slug: str, name: str, *, host: str | None = None, trace: Trace) -> Tenant:
        """Step: a new, active tenant. Raises InvalidInput, Conflict."""
        tenant = Tenant(self._entropy.uuid(), slug, name, host, "active", int(self._clock()))
        store.add_tenant(tx, tenant)
        new = {"slug": slug, "name": name, "host": host, "status": tenant.status}
        self._audit.record(tx, Event("tenant.created", trace=trace, tenant_id=tenant.id, new=new))
        return tenant

    def ensure_default(self) -> Tenant:
        """The default tenant, made when it is missing."""
        with self._work.platform(writes=False) as tx:
            found = store.find_by_slug(tx, self.default_slug)
        if found is not None:
            return found
        try:
            with self._work.platform() as tx:
                return self.add(tx, self.default_slug, "Default tenant", trace=BY_ITSELF)
        except Conflict:  # another process, which begins at the same moment, was faster
            return self.get_by_slug(self.default_slug)

    def get(self, tenant_id: uuid.UUID) -> Tenant:
        """The tenant. Raises NotFound."""
        with self._work.platform(writes=False) as tx:
            return self.get_in(tx, tenant_id)

    def get_by_slug(self, slug: str) -> Tenant:
        """The tenant. Raises NotFound."""
        with self._work.platform(writes=False) as tx:
            found = store.find_by_slug(tx, slug)
        if found is None:
            raise NotFound(Phrase("There is no tenant {slug}.", slug=slug))
        return found

    def list_tenants(self, *, after: str = "", count: int = 100) -> tuple[Tenant, ...]:
        """A page of tenants, by slug."""
        with self._work.platform(writes=False) as tx:
            return store.list_tenants(tx, after=after, count=count)

    def get_in(self, tx: Transaction, tenant_id: uuid.UUID) -> Tenant:
        """Step: the tenant. Raises NotFound."""
        found = store.find_by_id(tx, tenant_id)
        if found is None:
            raise NotFound("There is no such tenant.")
        return found

    def change_status(self, tx: Transaction, tenant_id: uuid.UUID, status: TenantStatus) -> Tenant:
        """Step: suspend, resume, mark as deleted. Raises NotFound, Conflict."""
        if not store.set_status(tx, tenant_id, status, of=_MAY_BECOME[status]):
            found = self.get_in(tx, tenant_id)
            raise Conflict("Suspend this tenant first." if found.is_active else "This tenant is being deleted.")
        self._resolved.clear()
        return self.get_in(tx, tenant_id)

    def delete_rows(self, tenant_id: uuid.UUID, *, progress: Callable[[int], None], trace: Trace) -> None:
        """Delete everything of a tenant that is marked as deleted, in small transactions, and then itself."""
        done = 0
        while True:
            with self._work.platform() as tx:
                deleted = store.delete_some(tx, tenant_id, count=ROWS_AT_A_TIME)
                self._audit.record(tx, Event("tenant.rows-deleted", trace=trace, tenant_id=tenant_id, count=deleted))
                if not deleted:
                    store.delete_tenant(tx, tenant_id)
                    return
            progress(done := done + deleted)
