"""What rate limits say about their use: how near clients come, and what another limit would have refused. Pure.

A try knows which one of its window it was. So many tries that were the k-th are so many clients that came as far as k:
from counts of tries alone, without remembering a single client, it can be told how far clients go.
"""

import ipaddress
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from limits import RateLimitItem, parse_many

from payymo.errors import FieldError, InvalidInput

Tier = Literal["login", "refresh", "verify", "registration", "default", "mail", "service"]
Counted = Literal["address", "account", "credential"]
TIERS: Final[tuple[Tier, ...]] = ("login", "refresh", "verify", "registration", "default", "mail", "service")
STEPS: Final = 20
"""Into how many steps a limit is divided."""
EXEMPT: Final = "exempt"
NETWORK: Final = "network:"
SERVICE: Final = "service:"
_LIMIT = r"[1-9][0-9]{0,6}/(?:[1-9][0-9]{0,3} ?)?(?:second|minute|hour|day)"
_LIMITS = re.compile(rf"{_LIMIT}(?:;{_LIMIT}){{0,3}}", re.ASCII)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MAPPED_BITS: Final = 96
_ROUND = (1, 2, 3, 5, 10)
HEADROOM: Final = 2
"""A suggested limit is so many times what 99 of 100 clients need."""


@dataclass(frozen=True, slots=True)
class UsageKey:
    """A limit in one hour: hours since 1970, `amount` tries in `window_seconds`."""

    hour: int
    tier: str
    scope: str
    amount: int
    window_seconds: int


@dataclass(slots=True)
class Tally:
    """How a limit was used. `windows`: tries that were the first of theirs."""

    windows: int = 0
    refused: int = 0
    steps: list[int] = field(default_factory=lambda: [0] * STEPS)

    def count(self, used: int, amount: int) -> None:
        """A try was let through, and was number `used` of its window."""
        self.windows += used <= 1
        self.steps[step_of(used, amount)] += 1

    def add(self, other: "Tally") -> None:
        """Both together."""
        self.windows += other.windows
        self.refused += other.refused
        self.steps = [mine + theirs for mine, theirs in zip(self.steps, other.steps, strict=True)]


@dataclass(frozen=True, slots=True)
class Report:
    """How near clients come to a limit. Shares are in percent of it; `p95`: 95 of 100 clients stay within it."""

    tier: str
    scope: str
    amount: int
    window_seconds: int
    windows: int
    passed: int
    refused: int
    p50: int
    p95: int
    p99: int
    most: int
    suggestion: int


def step_of(used: int, amount: int) -> int:
    """The step (0 to 19) that try number `used` of `amount` falls into."""
    return min(STEPS, max(1, math.ceil(used * STEPS / amount))) - 1


def report(key: UsageKey, tally: Tally) -> Report:
    """What a tally says."""
    reached = _reached(tally, key.amount)
    p50, p95, p99 = (_share_within(reached, percent) for percent in (50, 95, 99))
    most = max((step + 1 for step in range(STEPS) if tally.steps[step]), default=0) * 100 // STEPS
    return Report(
        key.tier,
        key.scope,
        key.amount,
        key.window_seconds,
        max(tally.windows, round(reached[0])),
        sum(tally.steps),
        tally.refused,
        p50,
        p95,
        p99,
        most,
        suggest(math.ceil(key.amount * p99 / 100)),
    )


def would_refuse(key: UsageKey, tally: Tally, amount: int) -> int:
    """How many tries a limit of `amount` in the same window would have refused.

    Of what was refused nobody knows how far it would have gone: above the present limit all of it counts.
    """
    beyond = 0.0
    for step, tries in enumerate(tally.steps):
        ranks = _ranks(step, key.amount)
        if ranks:
            beyond += tries * sum(rank > amount for rank in ranks) / len(ranks)
    return round(beyond) + tally.refused


def suggest(needed: int) -> int:
    """A round limit with room above what 99 of 100 clients need."""
    wanted = max(HEADROOM * needed, 5)
    magnitude = int("1".ljust(len(str(wanted)), "0"))
    return next(number * magnitude for number in _ROUND if number * magnitude >= wanted)


def _ranks(step: int, amount: int) -> range:
    """The numbers of the tries that fall into a step."""
    return range(step * amount // STEPS + 1, (step + 1) * amount // STEPS + 1)


def _reached(tally: Tally, amount: int) -> list[float]:
    """How many windows came into each step, about: as many as had each of its tries. Never more than before it."""
    each = [tries / len(ranks) if (ranks := _ranks(step, amount)) else 0.0 for step, tries in enumerate(tally.steps)]
    reached = [max(each[step:]) for step in range(STEPS)]
    reached[0] = max(reached[0], tally.windows)
    return reached


def _share_within(reached: list[float], percent: int) -> int:
    """The share of the limit, in percent, that so many of a hundred windows stay within."""
    beyond = reached[0] * (100 - percent) / 100
    for step in range(STEPS - 1):
        if reached[step + 1] <= beyond:
            return (step + 1) * 100 // STEPS if reached[0] else 0
    return 100


def parse_limits(text: str) -> tuple[RateLimitItem, ...]:
    """The limits that `5/hour;20/day` stands for; none for an empty text."""
    return tuple(parse_many(text)) if text else ()


def require_limits(text: str) -> str:
    """A text that stands for limits and nothing else. Raises InvalidInput."""
    if _LIMITS.fullmatch(text) is None:
        raise InvalidInput([FieldError("/limits", "write limits like 20/minute or 5/hour;20/day")])
    return text


def require_tier(text: str) -> str:
    """A class of routes. Raises InvalidInput."""
    if text not in TIERS:
        raise InvalidInput([FieldError("/tier", f"one of {', '.join(TIERS)}")])
    return text


def require_counted(tier: str, *, network: bool, service: bool) -> None:
    """Raise InvalidInput where such a client is never counted: a limit that is shown, and holds for nobody."""
    if service and tier != "service":
        raise InvalidInput([FieldError("/tier", "what a service asks is counted as service, whatever it is")])
    if network and tier == "mail":
        raise InvalidInput([FieldError("/tier", "mail is counted by who gets it, and not by who asks for it")])


def network_client(text: str) -> str:
    """How a client at an address or in a network is written. IPv6: a /64 or wider. Raises InvalidInput."""
    try:
        network = _unmapped(ipaddress.ip_network(text.strip()))
    except ValueError:
        network = None
    if network is None or (network.version == 6 and network.prefixlen > 64 and "/" in text):
        raise InvalidInput([FieldError("/client", "an address such as 192.0.2.7, or a network such as 192.0.2.0/24")])
    if network.version == 6 and network.prefixlen > 64:
        network = network.supernet(new_prefix=64)  # an IPv6 user is counted by that
    return f"{NETWORK}{network}"


def _unmapped(network: _Network) -> _Network:
    """An IPv4 network that is written in IPv6 (RFC 4291 §2.5.5.2), as some logs do: it is counted as IPv4."""
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is None or network.prefixlen < _MAPPED_BITS:
        return network
    return ipaddress.IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))


def service_client(name: str) -> str:
    """How a client with a service credential is written. Raises InvalidInput."""
    if _NAME.fullmatch(name) is None:
        raise InvalidInput([FieldError("/service", "the name of a service credential")])
    return f"{SERVICE}{name}"


def nearest(networks: Mapping[str, object], who: str) -> str | None:
    """The narrowest of these clients that an address, or a /64, is in."""
    try:
        whole = ipaddress.ip_network(who, strict=False)
    except ValueError:
        return None
    for length in range(whole.prefixlen, -1, -1):
        if (client := f"{NETWORK}{whole.supernet(new_prefix=length)}") in networks:
            return client
    return None
