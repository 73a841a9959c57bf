"""What came up against the limits in the last day, hour by hour. Pure: a few rows an hour, however much there was."""

from collections.abc import Iterable, Mapping
from typing import Final

from payymo.limits.model import Tally, UsageKey
from payymo.web.console.charts import Histogram, columns

HOURS: Final = 24
_HOUR: Final = 3600
_PROOFS: Final = "login"


def pictures_of(usage: Mapping[UsageKey, Tally], now: float) -> tuple[Histogram | None, Histogram | None]:
    """Tries to prove a password, and everything else that is limited: let through, and refused by a limit."""
    proofs = {key: tally for key, tally in usage.items() if key.tier == _PROOFS}
    others = {key: tally for key, tally in usage.items() if key.tier != _PROOFS}
    return _picture(proofs, now), _picture(others, now)


def _picture(usage: Mapping[UsageKey, Tally], now: float) -> Histogram | None:
    last = int(now) // _HOUR
    hours = range(last - HOURS + 1, last + 1)
    counts = [_count((key, tally) for key, tally in usage.items() if key.hour == hour) for hour in hours]
    return columns(hours[0] * _HOUR, _HOUR, counts)


def _count(usage: Iterable[tuple[UsageKey, Tally]]) -> tuple[int, int]:
    """One try is counted by every limit that it meets: by the one that met most, each once; and refused by one."""
    passed: dict[str, int] = {}
    refused = 0
    for key, tally in usage:
        passed[key.tier] = max(passed.get(key.tier, 0), sum(tally.steps))
        refused += tally.refused
    return sum(passed.values()), refused
