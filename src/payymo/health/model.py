"""What a check finds, and what all of them come to. Pure.

`failing` means that this process must not get requests; `degraded`, that somebody should look, and that it serves.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

Standing = Literal["ok", "degraded", "failing"]
STANDINGS: Final[tuple[Standing, ...]] = get_args(Standing)
Name = Literal["database", "migrations", "keys", "clock", "feed", "outbox", "audit", "duties"]
NAMES: Final[tuple[Name, ...]] = get_args(Name)
"""Public: strangers read them in `/health/ready`, Prometheus in a label."""

CLOCK_DEGRADED_SECONDS: Final = 5.0
"""As far apart as two nodes may be without anybody noticing (`payymo.sessions.model`, `payymo_guard.verify`)."""
CLOCK_FAILING_SECONDS: Final = 30.0
"""Half of the margin by which revocations are kept longer than tokens (`payymo.feed.model`): two nodes may be off to
different sides."""
OUTBOX_SECONDS: Final = 600
"""How long mail may be due, or a mail server be away."""
AUDIT_SECONDS: Final = 10
"""How long an event may wait for its position."""
MISSED_ROUNDS: Final = 10
"""How many intervals may go by in which nobody finishes the duties. The alert rule says the same."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has found. The reason and the remedy are for operators; strangers see the standing alone."""

    standing: Standing
    reason: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One question. `worst`: how it stands when nobody answers. `needs`: it is not asked while one of these fails."""

    name: Name
    ask: Callable[[], Finding]
    """Raises whatever it likes."""
    worst: Standing = "failing"
    needs: tuple[Name, ...] = ()
    remedy: str | None = None
    """What to do when it raises."""


@dataclass(frozen=True, slots=True)
class Health:
    """What every check has found, in their order."""

    findings: Mapping[Name, Finding]

    @property
    def is_ready(self) -> bool:
        """Whether this process can serve."""
        return all(found.standing != "failing" for found in self.findings.values())


def clock_finding(skew: float) -> Finding:
    """What it means that this machine's clock is so many seconds ahead of the database's."""
    off = abs(skew)
    if off <= CLOCK_DEGRADED_SECONDS:
        return Finding("ok", "this machine and the database agree on the time")
    side = "ahead of" if skew > 0 else "behind"
    standing: Standing = "failing" if off > CLOCK_FAILING_SECONDS else "degraded"
    return Finding(standing, f"this machine is {off:.0f} s {side} the database", "let NTP set both clocks")


def audit_finding(oldest_at: int | None, damaged: int, now: float) -> Finding:
    """Of when the oldest event happened that has no position yet, and how many logs do not grow any more."""
    if damaged:
        return Finding("degraded", f"the stored tree of {damaged} logs was changed", "payymo audit verify says where")
    if oldest_at is not None and now - oldest_at > AUDIT_SECONDS:
        waits = f"an event has waited for its position for {now - oldest_at:.0f} s"
        return Finding("degraded", waits, "look for failure with the request id audit in the log")
    return Finding("ok", "every event has its position")


def outbox_finding(stuck_since: int | None, now: float) -> Finding:
    """What it means that mail has been stuck since then."""
    waited = 0 if stuck_since is None else int(now) - stuck_since
    if waited <= OUTBOX_SECONDS:
        return Finding("ok", "mail goes out")
    return Finding("degraded", f"mail has been stuck for {waited} s", "payymo mail list says why")


def duties_finding(last_done_at: int | None, now: float, *, since: float, every_seconds: float) -> Finding:
    """What it means that the duties were last done then. `since`: from when on somebody could have done them."""
    said = "never" if last_done_at is None else f"{max(0, int(now) - last_done_at)} s ago"
    if now - (since if last_done_at is None else last_done_at) <= MISSED_ROUNDS * every_seconds:
        return Finding("ok", f"last done {said}")
    remedy = "look for `failure` with the request id `maintenance` in the log; one process of payymo serve has to run"
    return Finding("degraded", f"last done {said}: nothing expires, rotates or is renewed", remedy)
