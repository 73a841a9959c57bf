"""What the calendar asks of certificates: take over, end, warn. Safe for several processes at once."""

from payymo.audit.log import AuditLog
from payymo.certificates import store
from payymo.certificates.lifecycle import Lifecycle
from payymo.certificates.model import EXPIRED, CertificateVersion, is_due, is_over, one, warning_of
from payymo.clock import Clock
from payymo.db.work import Transaction, Work
from payymo.logs import Event, Trace

Happening = tuple[str, CertificateVersion, str]
"""What happened to which version, and for what reason."""


REASONS = {EXPIRED: "expired", 1: "1-day", 7: "7-days", 30: "30-days"}


class CertificateRotation:
    """Does what is due."""

    def __init__(self, work: Work, lifecycle: Lifecycle, clock: Clock, audit: AuditLog) -> None:
        self._work = work
        self._lifecycle = lifecycle
        self._clock = clock
        self._audit = audit

    def do_duties(self, trace: Trace) -> int:
        """Activate, retire and warn by the calendar. Answers how many private halves were destroyed."""
        now = int(self._clock())
        with self._work.platform(writes=False) as tx:
            is_needed = any(self._is_needed(of_name, now) for of_name in _by_name(store.list_alive(tx)))
        if not is_needed:
            return 0
        happened: list[Happening] = []
        with self._work.platform() as tx:
            store.lock(tx)
            for of_name in _by_name(store.list_alive(tx)):
                happened += self._do(tx, of_name, now)
            for act, version, reason in happened:
                event = Event(
                    f"certificate.{act}",
                    "error" if reason == "expired" else "success",
                    trace=trace,
                    certificate=version.name,
                    version=version.version,
                    reason=reason,
                )
                self._audit.record(tx, event)
        return sum(act == "retired" for act, _, _ in happened)

    def _is_needed(self, versions: list[CertificateVersion], now: int) -> bool:
        active, following = one(versions, "active"), one(versions, "next")
        if following is not None and is_due(following, active, now, self._lifecycle.policy):
            return True
        return any(is_over(version, now) for version in versions) or _unwarned(active, following, now) is not None

    def _do(self, tx: Transaction, versions: list[CertificateVersion], now: int) -> list[Happening]:
        happened: list[Happening] = []
        active, following = one(versions, "active"), one(versions, "next")
        if following is not None and is_due(following, active, now, self._lifecycle.policy):
            self._lifecycle.activate(tx, following, versions, now)
            happened.append(("activated", following, "calendar"))
            versions = list(store.list_versions(tx, following.name))
            active, following = one(versions, "active"), None
        for version in versions:
            if is_over(version, now):
                store.destroy(tx, version, "retired", now)
                happened.append(("retired", version, "calendar"))
        days = _unwarned(active, following, now)
        if active is not None and days is not None:
            store.warn(tx, active, days)
            happened.append(("expiring", active, REASONS[days]))
        return happened


def _unwarned(active: CertificateVersion | None, following: CertificateVersion | None, now: int) -> int | None:
    """The threshold that has been reached and not been warned of. Those before it count as warned of."""
    days = None if active is None else warning_of(active, following, now)
    if active is None or days is None or (active.warned_days is not None and active.warned_days <= days):
        return None
    return days


def _by_name(versions: tuple[CertificateVersion, ...]) -> list[list[CertificateVersion]]:
    names: dict[str, list[CertificateVersion]] = {}
    for version in versions:
        names.setdefault(version.name, []).append(version)
    return list(names.values())
