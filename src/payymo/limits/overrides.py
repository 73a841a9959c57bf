"""Limits that a tenant, a network or a service has instead of the configured ones.

A process reads all of them at once and relies on them for two seconds, so that a change is everywhere within a moment
and asking costs nothing. When they can't be read, those that were read last stay.
"""

import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from limits import RateLimitItem

from payymo.audit.log import AuditLog
from payymo.clock import Clock
from payymo.db.work import Work
from payymo.errors import Conflict, NotFound, Unavailable
from payymo.limits import store
from payymo.limits.model import (
    EXEMPT,
    SERVICE,
    nearest,
    network_client,
    parse_limits,
    require_counted,
    require_limits,
    require_tier,
    service_client,
)
from payymo.logs import Event, Trace

FRESH_SECONDS = 2.0
AT_MOST = 1_000
Items = tuple[RateLimitItem, ...]


@dataclass(frozen=True, slots=True)
class Override:
    """One of them, as an operator reads it."""

    whose: str
    tier: str
    limits: str


@dataclass(frozen=True, slots=True)
class _Known:
    """A snapshot, replaced as a whole, so that readers need no lock."""

    read_at: float
    tenants: Mapping[tuple[uuid.UUID, str], Items] = field(default_factory=dict)
    clients: Mapping[str, Mapping[str, Items]] = field(default_factory=dict)
    """By tier, then by client."""


class Overrides:
    """The exceptions from the rate limits."""

    def __init__(self, work: Work, clock: Clock, audit: AuditLog) -> None:
        self._work = work
        self._clock = clock
        self._audit = audit
        self._reading = threading.Lock()
        self._known = _Known(float("-inf"))

    @property
    def are_for_tenants(self) -> bool:
        """Whether any tenant has limits of its own: otherwise nobody need ask which tenant a request is for."""
        return bool(self._fresh().tenants)

    def of_tenant(self, tenant_id: uuid.UUID, tier: str) -> Items | None:
        """The limits of a tenant; None: the usual ones."""
        return self._fresh().tenants.get((tenant_id, tier))

    def of_address(self, who: str, tier: str) -> Items | None:
        """The limits of the narrowest network that an address, or a /64, is in; None: the usual ones."""
        clients = self._fresh().clients.get(tier)
        client = nearest(clients, who) if clients else None
        return clients[client] if clients and client else None

    def of_service(self, name: str, tier: str) -> Items | None:
        """The limits of a service; empty: it is exempt; None: the usual ones."""
        return self._fresh().clients.get(tier, {}).get(SERVICE + name)

    def set(
        self,
        tier: str,
        limits: str,
        *,
        tenant_id: uuid.UUID | None = None,
        client: str | None = None,
        service: str | None = None,
        trace: Trace,
    ) -> None:
        """Give a tenant, a network or a service limits of their own; a service may be `exempt`.

        Raises InvalidInput, Conflict: there are a thousand of them already.
        """
        require_tier(tier)
        require_counted(tier, network=client is not None, service=service is not None)
        kept = "" if limits == EXEMPT and service is not None else require_limits(limits)
        with self._work.platform() as tx:
            if store.count_overrides(tx) >= AT_MOST:
                raise Conflict(f"There are {AT_MOST} exceptions already: unset some.")
            if tenant_id is not None:
                store.set_tenant(tx, tenant_id, tier, kept)
            else:
                store.set_client(tx, _client(client, service), tier, kept)
            event = Event("limit.set", trace=trace, tenant_id=tenant_id, service=service, reason=tier)
            self._audit.record(tx, replace(event, new={"limits": limits}, personal=_personal(client)))
        self._forget()

    def unset(
        self,
        tier: str,
        *,
        tenant_id: uuid.UUID | None = None,
        client: str | None = None,
        service: str | None = None,
        trace: Trace,
    ) -> None:
        """Give them the usual limits again. Raises InvalidInput, NotFound: they have no others."""
        require_tier(tier)
        with self._work.platform() as tx:
            if tenant_id is not None:
                found = store.unset_tenant(tx, tenant_id, tier)
            else:
                found = store.unset_client(tx, _client(client, service), tier)
            if not found:
                raise NotFound(f"They have no {tier} limits of their own.")
            event = Event("limit.unset", trace=trace, tenant_id=tenant_id, service=service, reason=tier)
            self._audit.record(tx, replace(event, personal=_personal(client)))
        self._forget()

    def list_all(self) -> tuple[Override, ...]:
        """Every one, tenants first."""
        with self._work.platform(writes=False) as tx:
            of_tenants, of_clients = store.list_of_tenants(tx), store.list_of_clients(tx)
        return (
            *(Override(f"tenant:{slug}", tier, limits) for _, slug, tier, limits in of_tenants),
            *(Override(client, tier, limits or EXEMPT) for client, tier, limits in of_clients),
        )

    def _fresh(self) -> _Known:
        known = self._known
        if not 0 <= self._clock() - known.read_at < FRESH_SECONDS and self._reading.acquire(blocking=False):
            try:
                self._known = known = self._read(known)
            finally:
                self._reading.release()
        return known

    def _read(self, before: _Known) -> _Known:
        now = self._clock()
        try:
            with self._work.platform(writes=False) as tx:
                of_tenants, of_clients = store.list_of_tenants(tx), store.list_of_clients(tx)
        except Unavailable:
            return _Known(self._clock(), before.tenants, before.clients)
        clients: dict[str, dict[str, Items]] = {}
        for client, tier, limits in of_clients:
            clients.setdefault(tier, {})[client] = parse_limits(limits)
        tenants = {(tenant_id, tier): parse_limits(limits) for tenant_id, _, tier, limits in of_tenants}
        return _Known(now, MappingProxyType(tenants), MappingProxyType(clients))

    def _forget(self) -> None:
        self._known = _Known(float("-inf"), self._known.tenants, self._known.clients)


def _personal(client: str | None) -> dict[str, str]:
    return {} if client is None else {"client": client}


def _client(client: str | None, service: str | None) -> str:
    return service_client(service) if service is not None else network_client(client or "")
