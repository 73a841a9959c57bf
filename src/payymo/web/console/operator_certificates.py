"""`/operator/certificates`: the service's own certificates and when they end. They are changed at the command line."""

from collections.abc import Sequence
from typing import Final

from payymo.certificates.model import DAY_SECONDS, EXPIRED, CertificateVersion, one, warning_of
from payymo.certificates.service import Certificates
from payymo.clock import Clock
from payymo.phrases import Phrase
from payymo.web.console.charts import Span, timeline
from payymo.web.console.pages import Answer, Sheet, page
from payymo.web.console.visit import Visit

_ALIVE: Final = ("next", "active", "retiring")


class CertificatesDesk:
    """What is kept of certificates."""

    def __init__(self, *, certificates: Certificates, clock: Clock) -> None:
        self._certificates = certificates
        self._clock = clock

    @page("GET", "/operator/certificates", permission="platform:read")
    def list_certificates(self, visit: Visit) -> Answer:
        """Show every version, with the days that are left."""
        del visit
        found, now = self._certificates.list_all(), int(self._clock())
        alive = [version for version in found if version.state in _ALIVE]
        rows = ((f"{version.name} {version.version}"[:22], _spans(version)) for version in alive)
        facts = {
            "picture": timeline(rows, now=now),
            "rows": [_row(version, found, now) for version in found],
        }
        return Sheet("operator_certificates.html", facts)


def _row(version: CertificateVersion, everything: Sequence[CertificateVersion], now: int) -> dict[str, object]:
    is_alive = version.state in _ALIVE and version.not_after is not None
    return {
        "version": version,
        "days_left": ((version.not_after or 0) - now) // DAY_SECONDS if is_alive else None,
        "warning": warning_about(version, everything, now),
    }


def warning_about(version: CertificateVersion, everything: Sequence[CertificateVersion], now: int) -> str | None:
    """What somebody has to take care of."""
    own = [found for found in everything if found.name == version.name]
    days = warning_of(version, one(own, "next"), now)
    if days is None:
        return None
    if days == EXPIRED:
        return Phrase("has expired")
    return Phrase.counted("ends within {n} day, no successor", "ends within {n} days, no successor", n=days)


def _spans(version: CertificateVersion) -> list[Span]:
    if version.not_before is None or version.not_after is None:
        return []
    looks: dict[str, Span] = {
        "next": Span(version.not_before, version.not_after, "waits", Phrase("next")),
        "active": Span(version.not_before, version.not_after, "works", Phrase("in use")),
        "retiring": Span(version.not_before, version.not_after, "ends", Phrase("still accepted")),
    }
    return [looks[version.state]]
