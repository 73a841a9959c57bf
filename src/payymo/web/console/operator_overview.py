"""`/operator`: what runs, what is due, what is wrong, on one page. Nothing on it counts a table that grows."""

import platform
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from payymo import __version__
from payymo.db.lease import DUTIES, find_lease
from payymo.guards.model import standing_of
from payymo.keys.model import PURPOSES, due_at, find_one
from payymo.phrases import Phrase
from payymo.production import warnings_about
from payymo.secrets.rotation import MasterInUse
from payymo.services import Services
from payymo.web.console.limit_pictures import HOURS, pictures_of
from payymo.web.console.operator_certificates import warning_about
from payymo.web.console.pages import Answer, Sheet, page
from payymo.web.console.visit import Visit

OVERDUE_SECONDS: Final = 3600
"""As `payymo status` and the alert rule have it."""


class OverviewDesk:
    """What an operator wants to know first: it asks everything, and so has all services."""

    def __init__(self, *, services: Services) -> None:
        self._services = services

    @page("GET", "/operator", permission="platform:read")
    def show(self, visit: Visit) -> Answer:
        """Show how it is."""
        del visit
        services = self._services
        settings, now, health = services.settings, services.clock(), services.health.health()
        lags, masters = services.guards.list_lags(), services.master_rotation.list_known()
        lease = find_lease(services.work, DUTIES)
        proofs, others = pictures_of(services.limit_usage.read_hours(hours=HOURS), now)
        facts = {
            "health": health,
            "proofs": proofs,
            "others": others,
            "wrong": [*self._warn_of_keys(now), *self._warn_of_certificates(int(now)), *_warn_of_sealing(masters)],
            "version": __version__,
            "python": platform.python_version(),
            "environment": settings.env,
            "issuer": settings.issuer,
            "nodes": settings.server.nodes,
            "workers": settings.server.workers,
            "warnings": warnings_about(settings),
            "database": services.engine.dialect.name,
            "connections": services.connections(),
            "lease": lease,
            "is_led": lease is not None and lease.expires_at > now,
            "mail_is_on": services.outbox.is_on,
            "backlog": services.outbox.backlog(),
            "checkpoint": services.checkpoints.newest(None),
            "destinations": services.delivery.lags(),
            "followers": Counter(standing_of(follower, lag, now) for follower, lag in lags),
            "furthest": max((lag for _, lag in lags), default=0),
            "masters": masters,
        }
        return Sheet("operator_overview.html", facts)

    def _warn_of_keys(self, now: float) -> Iterator[str]:
        ring, rotates = self._services.ring, self._services.settings.keys.rotate_automatically
        keys = ring.list_keys()
        for purpose in PURPOSES:
            active = find_one(keys, purpose, "active")
            if active is not None and rotates and now > due_at(active, ring.calendar) + OVERDUE_SECONDS:
                yield Phrase("The {purpose} key should have been changed. The log says why.", purpose=purpose)
            if find_one(keys, purpose, "next") is None:
                yield Phrase("There is no next {purpose} key. The service makes one within a minute.", purpose=purpose)

    def _warn_of_certificates(self, now: int) -> Iterator[str]:
        found = self._services.certificates.list_all()
        for version in found:
            if (warning := warning_about(version, found, now)) is not None:
                yield Phrase("The certificate {name} {warning}.", name=version.name, warning=warning)


def _warn_of_sealing(masters: Sequence[MasterInUse]) -> Iterator[str]:
    if any(known.state == "leaving" for known in masters):
        yield Phrase("A change of the master key is not through: payymo secret rotate-master.")
