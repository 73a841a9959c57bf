"""A span for each request, named by its route: what of a request a tracer is told, and what it is not."""

import ipaddress
from collections.abc import Callable
from typing import Final

from flask import Flask, Response, g, request

from payymo.spans import Answered, Begin, Network
from payymo.web.caller import Caller
from payymo.web.measuring import UNMATCHED

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER: Final = "_OTHER"
"""For a method that a stranger has made up (OpenTelemetry's semantic conventions say so, too)."""


def trace(app: Flask, begin: Begin, *, accept_from: tuple[Network, ...], request_id: Callable[[], str]) -> None:
    """Let a tracer hear of every request. One that is left waiting is told of when it comes again.

    `accept_from`: whose `traceparent` (W3C Trace Context) is believed; others would choose what is sampled, and could
    write into traces that are not theirs.
    """

    def enter() -> None:
        g.payymo_span = begin(request.headers.get("traceparent") if _is_in(accept_from) else None)

    def answer(response: Response) -> Response:
        rule = request.url_rule
        met: Caller | None = g.get("payymo_met")
        tenant_id = None if met is None else met.known_tenant_id
        if "payymo_is_parked" not in g:
            g.payymo_answered = Answered(
                route=UNMATCHED if rule is None else rule.rule,
                method=request.method if request.method in METHODS else OTHER,
                status=response.status_code,
                request_id=request_id(),
                tenant_id=None if tenant_id is None else str(tenant_id),
            )
        return response

    def leave(_error: BaseException | None) -> None:
        end = g.pop("payymo_span", None)
        if end is not None:
            end(g.pop("payymo_answered", None))

    app.before_request(enter)
    app.after_request(answer)
    app.teardown_request(leave)


def _is_in(networks: tuple[Network, ...]) -> bool:
    """Whether the present request comes from there, by its connection: a proxy passes the header on, or writes it."""
    try:
        peer = ipaddress.ip_address(request.environ.get("REMOTE_ADDR", ""))
    except ValueError:
        return False
    return any(peer in network for network in networks)
