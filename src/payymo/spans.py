"""What a tracer is told: names of ours, identifiers, numbers. There is no way to hand in a path, a header or a body.

Whoever takes time says so by a span's name, and does not know whether anybody listens. `payymo.tracing` does.
"""

import ipaddress
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Span: TypeAlias = Callable[[str], AbstractContextManager[object]]
"""What happens inside is a part of the present request, under a name from our source."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A request, when it was answered. `route`: its template; `method`: one of HTTP's, or `_OTHER`."""

    route: str
    method: str
    status: int
    request_id: str
    tenant_id: str | None


Begin: TypeAlias = Callable[[str | None], Callable[[Answered | None], None]]
"""A request begins, in the trace that a `traceparent` names, or in one of its own. Answers how to end it; with None it
is forgotten."""


@dataclass(frozen=True, slots=True)
class TracingPolicy:
    """Where spans go, how many of them, and from where a trace is taken over."""

    endpoint: str
    headers: Mapping[str, str] = field(repr=False)
    ca_file: Path | None
    service_name: str
    share: float
    accept_from: tuple[Network, ...]


def untraced(_name: str) -> AbstractContextManager[object]:
    """Nobody listens."""
    return nullcontext()
