"""`payymo audit retention`: how long a log keeps its events."""

import uuid

import click

from payymo.audit.retention import FOR_EVER
from payymo.cli.audit_logs import find_log, of_log
from payymo.cli.common import CONSOLE, as_json, ask, confirmed, politely, services
from payymo.cli.output import show
from payymo.errors import InvalidInput
from payymo.services import Services


@click.group()
def retention() -> None:
    """How long a log keeps its events. Without anything set, as long as PAYYMO_AUDIT__KEEP_DAYS says."""


@retention.command(name="show")
@of_log
@as_json
@politely
def show_one(*, tenant_slug: str | None, platform: bool, as_json: bool) -> None:
    """Show it."""
    with services() as opened:
        _show(opened, find_log(opened, tenant_slug, platform=platform), json_wanted=as_json)


@retention.command(name="set")
@click.argument("days", type=click.IntRange(1, 36_500), required=False)
@click.option("--forever", is_flag=True, help="Instead of DAYS.")
@confirmed
@of_log
@as_json
@politely
def set_one(
    *, days: int | None, forever: bool, yes: bool, tenant_slug: str | None, platform: bool, as_json: bool
) -> None:
    """Keep events for DAYS days, and remove older ones. What was removed, and when, stays on record."""
    if (days is None) == (not forever):
        raise InvalidInput(detail="DAYS or --forever: one of them")
    with services() as opened:
        log = find_log(opened, tenant_slug, platform=platform)
        if days is not None:
            ask(f"Remove events that are older than {days} days, now and from now on, for ever?", yes=yes)
        opened.retention.set(log, FOR_EVER if days is None else days, trace=CONSOLE)
        _show(opened, log, json_wanted=as_json)


@retention.command()
@confirmed
@of_log
@as_json
@politely
def unset(*, yes: bool, tenant_slug: str | None, platform: bool, as_json: bool) -> None:
    """Keep events as long as the settings say. It asks where that is shorter."""
    with services() as opened:
        log = find_log(opened, tenant_slug, platform=platform)
        days, usual = opened.retention.get(log)[0], opened.settings.audit.keep_days
        if usual and (days == FOR_EVER or days > usual):
            ask(f"Remove events that are older than {usual} days, now and from now on, for ever?", yes=yes)
        opened.retention.set(log, None, trace=CONSOLE)
        _show(opened, log, json_wanted=as_json)


def _show(opened: Services, log: uuid.UUID | None, *, json_wanted: bool) -> None:
    days, is_own = opened.retention.get(log)
    show({"keep_days": days or None, "set_by": "log" if is_own else "settings"}, json_wanted=json_wanted)
