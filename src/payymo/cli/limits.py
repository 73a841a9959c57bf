"""`payymo limits`: how rate limits are used, what others would refuse, and who has limits of their own."""

import uuid
from dataclasses import asdict
from typing import Any

import click

from payymo.cli.common import CONSOLE, as_json, find_tenant, politely, services
from payymo.cli.output import show, show_all
from payymo.errors import FieldError, InvalidInput
from payymo.limits.model import TIERS, Tally, UsageKey, parse_limits, report, require_limits, would_refuse
from payymo.limits.usage import KEEP_DAYS
from payymo.services import Services

COLUMNS = ("tier", "counted_by", "limit", "clients", "passed", "refused", "p50", "p95", "p99", "most", "suggestion")
WOULD_REFUSE = "would_refuse"

of_tier = click.argument("tier", type=click.Choice(TIERS))
of_tenant = click.option("--tenant", "tenant_slug", metavar="SLUG", help="A tenant: its requests.")
of_client = click.option("--client", metavar="ADDRESS", help="An address, or a network such as 192.0.2.0/24.")
of_service = click.option("--service", metavar="NAME", help="The name of a service credential.")


@click.group()
def limits() -> None:
    """See how rate limits are used, and give somebody limits of their own."""


@limits.command(name="report")
@click.option("--tier", type=click.Choice(TIERS), help="Only this class of routes.")
@click.option("--days", type=click.IntRange(1, KEEP_DAYS), default=7, show_default=True, help="How far to look back.")
@click.option("--propose", metavar="LIMIT", help="Say what this limit would have refused, such as 20/minute.")
@as_json
@politely
def show_report(*, tier: str | None, days: int, propose: str | None, as_json: bool) -> None:
    """Show how near clients come to each limit.

    p50, p95, p99: the share of the limit that so many of a hundred clients stay within, in each window. A running
    service writes its figures down once a minute.
    """
    proposed = _read_proposal(propose) if propose is not None else None
    with services() as opened:
        used = opened.limit_usage.read(days=days)
    rows = [
        _facts(key, tally, proposed)
        for key, tally in sorted(used.items(), key=lambda item: (item[0].tier, item[0].scope, item[0].amount))
        if tier in {None, key.tier} and (proposed is None or key.window_seconds == proposed[1])
    ]
    columns = COLUMNS if proposed is None else (*COLUMNS, WOULD_REFUSE)
    show_all(rows, columns, json_wanted=as_json)


def _facts(key: UsageKey, tally: Tally, proposed: tuple[int, int] | None) -> dict[str, Any]:
    found = report(key, tally)
    window = _window(key.window_seconds)
    facts: dict[str, Any] = {
        "tier": found.tier,
        "counted_by": found.scope,
        "limit": f"{found.amount}/{window}",
        "clients": found.windows,
        "passed": found.passed,
        "refused": found.refused,
        **{name: f"{getattr(found, name)}%" for name in ("p50", "p95", "p99", "most")},
        "suggestion": f"{found.suggestion}/{window}",
    }
    if proposed is not None:
        facts[WOULD_REFUSE] = would_refuse(key, tally, proposed[0])
    return facts


def _read_proposal(text: str) -> tuple[int, int]:
    """Tries, and the seconds of their window. Raises InvalidInput."""
    first, *more = parse_limits(require_limits(text))
    if more:
        raise InvalidInput([FieldError("/propose", "one limit at a time, such as 20/minute")])
    return first.amount, first.get_expiry()


def _window(seconds: int) -> str:
    named = {1: "second", 60: "minute", 3600: "hour", 86_400: "day"}
    return named.get(seconds, f"{seconds} second")


@limits.command(name="set")
@of_tier
@click.argument("limit")
@of_tenant
@of_client
@of_service
@as_json
@politely
def set_limit(
    *, tier: str, limit: str, tenant_slug: str | None, client: str | None, service: str | None, as_json: bool
) -> None:
    """Give a tenant, a client or a service another limit, such as 20/minute; `exempt`: a service has none.

    Running processes take it up within a few seconds.
    """
    with services() as opened:
        whose = _whose(opened, tenant_slug, client, service)
        opened.limit_overrides.set(tier, limit, **whose, trace=CONSOLE)
    show({"tier": tier, "limits": limit, "whose": tenant_slug or client or service}, json_wanted=as_json)


@limits.command()
@of_tier
@of_tenant
@of_client
@of_service
@as_json
@politely
def unset(*, tier: str, tenant_slug: str | None, client: str | None, service: str | None, as_json: bool) -> None:
    """Give them the usual limit again."""
    with services() as opened:
        whose = _whose(opened, tenant_slug, client, service)
        opened.limit_overrides.unset(tier, **whose, trace=CONSOLE)
    show({"tier": tier, "whose": tenant_slug or client or service}, json_wanted=as_json)


@limits.command(name="list")
@as_json
@politely
def list_all(*, as_json: bool) -> None:
    """List who has limits of their own."""
    with services() as opened:
        found = [asdict(one) for one in opened.limit_overrides.list_all()]
    show_all(found, ("whose", "tier", "limits"), json_wanted=as_json)


def _whose(opened: Services, tenant_slug: str | None, client: str | None, service: str | None) -> dict[str, Any]:
    """Exactly one of the three. Exits with 2 otherwise. Raises NotFound."""
    if [tenant_slug, client, service].count(None) != 2:
        raise click.UsageError("Name one of --tenant, --client and --service.")
    tenant_id: uuid.UUID | None = find_tenant(opened, tenant_slug).id if tenant_slug is not None else None
    return {"tenant_id": tenant_id, "client": client, "service": service}
